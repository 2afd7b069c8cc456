"""Looking things up: jobs and what belongs to them."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from mwaconvert.jobs.control.schema import attempts, gates, jobs, products
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store.database import Database
from mwaconvert.jobs.control.store.journal import job_row
from mwaconvert.jobs.control.store.rows import (
    all_rows,
    attempt_of,
    decision_of,
    first_row,
    job_of,
    product_of,
)
from mwaconvert.jobs.control.work import Attempt, Decision, Job, Product, UnknownError

_IDS_AT_ONCE = 5000  # databases limit how many numbers a query may have
_ATTEMPTS = sa.select(attempts).where(attempts.c.job_id == sa.bindparam("job_id")).order_by(attempts.c.id)
_GATES = sa.select(gates).where(gates.c.job_id == sa.bindparam("job_id")).order_by(gates.c.id)


class Listing(Database):
    """Reads alone."""

    def job(self, job_id: int) -> Job:
        """One job; UnknownError if there is none of that id."""
        return job_of(self._read(lambda c: job_row(c, job_id)))

    def job_named(self, name: str) -> Job | None:
        """The listed job of that name."""
        query = sa.select(jobs).where(jobs.c.name == name)
        row = self._read(lambda c: first_row(c, query))
        return None if row is None else job_of(row)

    def jobs(
        self,
        *,
        owner: str | None = None,
        kind: str | None = None,
        states: Iterable[State] | None = None,
        text: str = "",
        before: int | None = None,
        limit: int | None = 100,
        hidden: bool = False,
    ) -> list[Job]:
        """Jobs, newest first. The next page begins `before` the last id of this one.

        Parameters
        ----------
        text
            Stands in the name, owner, parameters or error of a job, or is its id; case does not count.
        """
        query = sa.select(jobs).where(*_filters(owner, kind, states, hidden)).order_by(jobs.c.id.desc())
        if text:
            query = query.where(_mentions(text))
        if before is not None:
            query = query.where(jobs.c.id < before)
        if limit is not None:
            query = query.limit(limit)
        return [job_of(row) for row in self._read(lambda c: all_rows(c, query))]

    def counts(self, *, owner: str | None = None, kind: str | None = None) -> dict[State, int]:
        """How many listed jobs are in each state."""
        query = (
            sa.select(jobs.c.state, sa.func.count())
            .where(*_filters(owner, kind, None, False))
            .group_by(jobs.c.state)
        )
        found = dict(self._read(lambda c: [tuple(row) for row in c.execute(query)]))
        return {state: found.get(state.value, 0) for state in State}

    def attempts(self, job_id: int) -> list[Attempt]:
        """All attempts of all steps of a job, oldest first."""
        return [attempt_of(row) for row in self._read(lambda c: all_rows(c, _ATTEMPTS, job_id=job_id))]

    def decisions(self, job_id: int) -> list[Decision]:
        """The gates that a job reached, oldest first."""
        return [decision_of(row) for row in self._read(lambda c: all_rows(c, _GATES, job_id=job_id))]

    def open_gates(self, limit: int = 1000) -> list[Decision]:
        """Gates that wait for an answer, oldest first."""
        query = (
            sa.select(gates)
            .join(jobs, jobs.c.id == gates.c.job_id)
            .where(gates.c.answer.is_(None), ~gates.c.superseded, jobs.c.state == State.WAITING.value)
            .order_by(gates.c.id)
            .limit(limit)
        )
        return [decision_of(row) for row in self._read(lambda c: all_rows(c, query))]

    def products(self, job_id: int) -> list[Product]:
        """Products of a job, those that are removed as well."""
        query = sa.select(products).where(products.c.job_id == job_id).order_by(products.c.id)
        return [product_of(row) for row in self._read(lambda c: all_rows(c, query))]

    def products_of(self, job_ids: Iterable[int]) -> dict[int, list[Product]]:
        """Products that are not removed of many jobs, by job; a job without any is left out."""
        wanted = sorted(job_ids)
        found: dict[int, list[Product]] = {}
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            query = (
                sa.select(products)
                .where(products.c.job_id.in_(wanted[start : start + _IDS_AT_ONCE]))
                .where(products.c.removed.is_(None))
                .order_by(products.c.id)
            )
            for row in self._read(lambda c, query=query: all_rows(c, query)):  # type: ignore[misc]
                found.setdefault(row["job_id"], []).append(product_of(row))
        return found

    def product(self, product_id: int) -> Product:
        """One product; UnknownError if there is none of that id."""
        query = sa.select(products).where(products.c.id == product_id)
        row = self._read(lambda c: first_row(c, query))
        if row is None:
            raise UnknownError(f"there is no product {product_id}")
        return product_of(row)


def _filters(
    owner: str | None, kind: str | None, states: Iterable[State] | None, hidden: bool
) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    if not hidden:
        wanted.append(~jobs.c.hidden)
    if owner is not None:
        wanted.append(jobs.c.owner == owner)
    if kind is not None:
        wanted.append(jobs.c.kind == kind)
    if states is not None:
        wanted.append(jobs.c.state.in_([state.value for state in states]))
    return wanted


def _mentions(text: str) -> sa.ColumnElement[bool]:
    """Jobs in which a text stands."""
    told = [jobs.c.name, jobs.c.owner, jobs.c.error_text, sa.cast(jobs.c.given, sa.Text)]
    found = [column.icontains(text, autoescape=True) for column in told]
    if text.isdecimal() and len(text) < 10:
        found.append(jobs.c.id == int(text))
    return sa.or_(*found)
