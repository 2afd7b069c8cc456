"""Products end, and jobs are forgotten."""

from __future__ import annotations

import sqlalchemy as sa

from mwaconvert.jobs.control.schema import jobs, products
from mwaconvert.jobs.control.states import TERMINAL, Happening, State
from mwaconvert.jobs.control.store.journal import Journal, change_job, job_row, job_row_or_none
from mwaconvert.jobs.control.store.rows import all_rows, job_of, product_of
from mwaconvert.jobs.control.work import Job, Product


class Expiry(Journal):
    """What ends by its time."""

    def expired_products(self) -> list[Product]:
        """Products whose time is over and whose files are not removed."""
        over = sa.and_(products.c.expires <= self.now(), products.c.removed.is_(None))
        query = sa.select(products).where(over).order_by(products.c.id)
        return [product_of(row) for row in self._read(lambda c: all_rows(c, query))]

    def product_removed(self, product_id: int) -> None:
        """The files of a product are gone; a job without any product left is expired."""

        def work(c: sa.Connection) -> None:
            job_id = c.execute(sa.select(products.c.job_id).where(products.c.id == product_id)).scalar()
            row = job_row_or_none(c, job_id)
            is_left = sa.and_(products.c.id == product_id, products.c.removed.is_(None))
            is_new = c.execute(products.update().where(is_left).values(removed=self.now())).rowcount > 0
            if row is None or not is_new:
                return
            left = sa.select(sa.func.count()).where(products.c.job_id == job_id, products.c.removed.is_(None))
            self._event(c, Happening.PRODUCT_REMOVED, row, product=product_id)
            if row["state"] == State.COMPLETED.value and c.execute(left).scalar() == 0:
                self._event(c, Happening.EXPIRED, change_job(c, row, state=State.EXPIRED))

        self._write(work)

    def extend(self, job_id: int, expires: float | None, by: str) -> None:
        """Give the products of a job another end (None: never)."""

        def work(c: sa.Connection) -> None:
            row = change_job(c, job_row(c, job_id), expires=expires)
            of_job = sa.and_(products.c.job_id == job_id, products.c.removed.is_(None))
            c.execute(products.update().where(of_job).values(expires=expires))
            self._event(c, Happening.PROGRESS, row, expires=expires, by=by)

        self._write(work)

    def old_jobs(self, ended_before: float) -> list[Job]:
        """Jobs that ended before a time and have no product left."""
        has_product = sa.exists().where(products.c.job_id == jobs.c.id, products.c.removed.is_(None))
        query = (
            sa.select(jobs)
            .where(
                jobs.c.state.in_([state.value for state in TERMINAL]),
                jobs.c.finished < ended_before,
                ~has_product,
            )
            .order_by(jobs.c.id)
        )
        return [job_of(row) for row in self._read(lambda c: all_rows(c, query))]

    def delete_job(self, job_id: int) -> None:
        """Forget a job that has ended; its events stay."""

        def work(c: sa.Connection) -> None:
            row = job_row_or_none(c, job_id)
            if row is not None and State(row["state"]).is_terminal:
                c.execute(jobs.delete().where(jobs.c.id == job_id))
                self._event(c, Happening.FORGOTTEN, row)

        self._write(work)
