"""Looking things up: jobs and what belongs to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from mwaconvert.jobs.control.schema import attempts, gates, jobs, products
from mwaconvert.jobs.control.states import ACTIVE, Fault, State
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
from mwaconvert.jobs.control.work import Attempt, Decision, Job, Product, Standing, UnknownError

_IDS_AT_ONCE = 5000  # databases limit how many numbers a query may have
_ATTEMPTS = sa.select(attempts).where(attempts.c.job_id == sa.bindparam("job_id")).order_by(attempts.c.id)
_GATES = sa.select(gates).where(gates.c.job_id == sa.bindparam("job_id")).order_by(gates.c.id)
_STANDINGS = (
    sa.select(
        jobs.c.id, jobs.c.name, jobs.c.owner, jobs.c.state, jobs.c.step, jobs.c.fault, jobs.c.progress_text
    )
    .where(~jobs.c.hidden, jobs.c.name.is_not(None))
    .order_by(jobs.c.id)
)


@dataclass(frozen=True)
class Selection:
    """Which jobs are wanted: all conditions that are given hold.

    Attributes
    ----------
    steps
        Of jobs that run: their current step; None: they have not begun any.
    text
        Stands in the name, owner, parameters or error of a job, or is its id; case does not count.
    created_from, created_to
        Seconds since 1970.
    active_or_from
        Has not ended, or was submitted since then.
    canonical
        Name of a canonical parameter -> the text that it is.
    hidden
        Also those that were taken out of the lists.
    """

    owner: str | None = None
    kinds: tuple[str, ...] | None = None
    states: tuple[State, ...] | None = None
    steps: tuple[str | None, ...] | None = None
    text: str = ""
    created_from: float | None = None
    created_to: float | None = None
    active_or_from: float | None = None
    canonical: Mapping[str, str] = field(default_factory=dict)
    hidden: bool = False

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """All of it in the words of the database."""
        wanted: list[sa.ColumnElement[bool]] = [] if self.hidden else [~jobs.c.hidden]
        if self.owner is not None:
            wanted.append(jobs.c.owner == self.owner)
        if self.kinds is not None:
            wanted.append(jobs.c.kind.in_(self.kinds))
        if self.states is not None:
            wanted.append(jobs.c.state.in_([state.value for state in self.states]))
        if self.steps is not None:
            named = jobs.c.step.in_([step for step in self.steps if step is not None])
            wanted.append(sa.or_(named, jobs.c.step.is_(None)) if None in self.steps else named)
        if self.created_from is not None:
            wanted.append(jobs.c.created >= self.created_from)
        if self.created_to is not None:
            wanted.append(jobs.c.created <= self.created_to)
        if self.active_or_from is not None:
            active = jobs.c.state.in_([state.value for state in ACTIVE])
            wanted.append(sa.or_(jobs.c.created >= self.active_or_from, active))
        wanted += [jobs.c.canonical[name].as_string() == text for name, text in self.canonical.items()]
        if self.text:
            wanted.append(_mentions(self.text))
        return wanted


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
        wanted = Selection(
            owner=owner,
            kinds=None if kind is None else (kind,),
            states=None if states is None else tuple(states),
            text=text,
            hidden=hidden,
        )
        return self.selected(wanted, before=before, limit=limit)

    def selected(
        self, wanted: Selection, *, before: int | None = None, offset: int = 0, limit: int | None = 100
    ) -> list[Job]:
        """Jobs of a selection, newest first."""
        query = sa.select(jobs).where(*wanted.conditions()).order_by(jobs.c.id.desc())
        if before is not None:
            query = query.where(jobs.c.id < before)
        if limit is not None:
            query = query.limit(limit).offset(offset)
        return [job_of(row) for row in self._read(lambda c: all_rows(c, query))]

    def standings(self, kind: str) -> list[Standing]:
        """How the listed jobs of a kind stand that have names, oldest first."""
        query = _STANDINGS.where(jobs.c.kind == kind)
        return [
            Standing(job_id, name, owner, State(state), step, None if fault is None else Fault(fault), text)
            for job_id, name, owner, state, step, fault, text in self._read(lambda c: c.execute(query).all())
        ]

    def count(self, wanted: Selection) -> int:
        """How many jobs a selection has."""
        query = sa.select(sa.func.count()).select_from(jobs).where(*wanted.conditions())
        return self._read(lambda c: c.execute(query).scalar()) or 0

    def jobs_with(self, job_ids: Iterable[int]) -> list[Job]:
        """The listed ones of some jobs."""
        wanted, found = sorted(job_ids), []
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            some = wanted[start : start + _IDS_AT_ONCE]
            query = sa.select(jobs).where(jobs.c.id.in_(some), ~jobs.c.hidden)
            found += self._read(lambda c, query=query: all_rows(c, query))  # type: ignore[misc]
        return [job_of(row) for row in found]

    def counts(self, *, owner: str | None = None, kind: str | None = None) -> dict[State, int]:
        """How many listed jobs are in each state."""
        wanted = Selection(owner=owner, kinds=None if kind is None else (kind,))
        query = sa.select(jobs.c.state, sa.func.count()).where(*wanted.conditions()).group_by(jobs.c.state)
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


def _mentions(text: str) -> sa.ColumnElement[bool]:
    """Jobs in which a text stands."""
    told = [jobs.c.name, jobs.c.owner, jobs.c.error_text, sa.cast(jobs.c.given, sa.Text)]
    found = [column.icontains(text, autoescape=True) for column in told]
    if text.isdecimal() and len(text) < 10:
        found.append(jobs.c.id == int(text))
    return sa.or_(*found)
