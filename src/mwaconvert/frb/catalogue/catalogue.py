"""The catalogue in a database: SQLite or PostgreSQL, the one of the jobs or another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mwaconvert.databases import migrate
from mwaconvert.errors import InputError
from mwaconvert.frb.catalogue import tables
from mwaconvert.frb.catalogue.model import (
    Classification,
    Event,
    Facts,
    Holdings,
    Kind,
    Source,
    SourceType,
    Vote,
    best_measurement,
    number_or_none,
    pipeline_of,
    source_name,
    standings,
)
from mwaconvert.frb.catalogue.tables import (
    candidate_events,
    candidates,
    events,
    measurements,
    records,
    sources,
    verifications,
    votes,
)

Row = dict[str, Any]
#: databases limit how many numbers a query may have
_AT_ONCE = 500
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x667262
_WRITER_LOCK = 0x667263  # numbers of our own among PostgreSQL's advisory locks
#: of what is measured at once, on which lists can be narrowed
_NUMBERS = ("dm", "snr", "ra", "dec")
NO_STATUS = {"baseband_data": False, "intensity_data": False}


@dataclass(frozen=True)
class Range:
    """A number that must lie between two, both counted in; None: no bound."""

    low: float | None = None
    high: float | None = None


class UnknownEntryError(InputError):
    """The catalogue has no such event, source or record."""


class Catalogue:
    """Events, sources, candidates and verifications.

    Parameters
    ----------
    engine
        Of SQLAlchemy. Tables are made, or brought up to date.

    Examples
    --------
    >>> import sqlalchemy
    >>> from mwaconvert.frb.catalogue.model import read_event
    >>> catalogue = Catalogue(sqlalchemy.create_engine("sqlite://"))
    >>> catalogue.put_event(read_event({"id": 9386707, "event_type": "EXTRAGALACTIC"}))
    >>> catalogue.event(9386707)["event_type"]
    'EXTRAGALACTIC'
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        with engine.connect() as c:
            version = None
            if sa.inspect(c).has_table(tables.VERSION_TABLE):
                version = c.execute(sa.text(f"SELECT version_num FROM {tables.VERSION_TABLE}")).scalar()
        if version != tables.VERSION:
            migrate(engine, _MIGRATIONS, _MIGRATION_LOCK, "the catalogue")

    # -- events

    def put_event(self, event: Event) -> None:
        """Take an event in, in place of what was known of its number."""
        with self._writing() as c:
            _put_event(c, event)

    def event(self, number: int) -> Row:
        """An event as clients see it.

        Raises
        ------
        UnknownEntryError : there is none of this number
        """
        found = self.events_of([number])
        if not found:
            raise UnknownEntryError(f"there is no event {number} in the catalogue")
        return found[0]

    def events_of(self, numbers: Iterable[int]) -> list[Row]:
        """Events by their numbers, as far as there are."""
        wanted = sorted(set(numbers))
        found: list[Row] = []
        with self._engine.connect() as c:
            for start in range(0, len(wanted), _AT_ONCE):
                part = wanted[start : start + _AT_ONCE]
                found += _whole_events(c, _all(c, sa.select(events).where(events.c.id.in_(part))))
        return found

    def find_events(
        self,
        *,
        ranges: Mapping[str, Range] | None = None,
        since: str = "",
        until: str = "",
        source: str = "",
        limit: int | None = None,
    ) -> list[Row]:
        """Events in the order of their times, with what stands for each: id, recorded, dm, snr, ra, dec, source.

        Parameters
        ----------
        ranges : by dm, snr, ra or dec
        since, until : UTC, 2018-07-25 or longer; until is not counted in
        """
        query = (
            sa.select(events, sources.c.name.label("source"))
            .outerjoin(candidate_events, candidate_events.c.event_id == events.c.id)
            .outerjoin(candidates, candidates.c.id == candidate_events.c.candidate)
            .outerjoin(sources, sources.c.name == candidates.c.source)
            .order_by(events.c.recorded, events.c.id)
        )
        for name, wanted in (ranges or {}).items():
            if name not in _NUMBERS:
                raise InputError(f"events have no {name}, but {', '.join(_NUMBERS)}")
            if wanted.low is not None:
                query = query.where(events.c[name] >= wanted.low)
            if wanted.high is not None:
                query = query.where(events.c[name] <= wanted.high)
        if since:
            query = query.where(events.c.recorded >= since)
        if until:
            query = query.where(events.c.recorded < until)
        if source:
            query = query.where(sources.c.name == self.source(source)["name"])
        with self._engine.connect() as c:
            found = _all(c, query.limit(limit))
        return [
            {key: row[key] for key in ("id", "recorded", *_NUMBERS, "event_type", "source")} for row in found
        ]

    def numbers_by_name(self) -> dict[str, int]:
        """Numbers of events by the names of their bursts in the TNS."""
        with self._engine.connect() as c:
            rows = _all(c, sa.select(events.c.id, events.c.facts))
        return {
            source_name(str(row["facts"]["tns_name"])): row["id"]
            for row in rows
            if row["facts"].get("tns_name")
        }

    def add_measurements(self, number: int, entries: Sequence[Facts]) -> None:
        """Add what a pipeline measured of an event.

        Raises
        ------
        UnknownEntryError : there is no such event
        """
        with self._writing() as c:
            if c.execute(sa.select(events.c.id).where(events.c.id == number)).first() is None:
                raise UnknownEntryError(f"there is no event {number} in the catalogue")
            _add_measurements(c, number, entries)
            _refresh_event(c, number)

    # -- sources and candidates

    def source(self, name: str) -> Row:
        """A source by its name in the TNS, or another one.

        Raises
        ------
        UnknownEntryError : there is none
        """
        wanted = source_name(name)
        query = sa.select(sources).where(sa.or_(sources.c.name == wanted, sources.c.other_name == wanted))
        with self._engine.connect() as c:
            row = next(iter(_all(c, query.limit(1))), None)
            if row is None:
                raise UnknownEntryError(f"there is no source {name[:80]!r} in the catalogue")
            ids = c.execute(sa.select(candidates.c.id).where(candidates.c.source == row["name"])).scalars()
            return _source(row, sorted(ids))

    def sources(self, kind: SourceType | None = None) -> list[Row]:
        """All sources, or those of a type, by name."""
        query = sa.select(sources).order_by(sources.c.name)
        if kind is not None:
            query = query.where(sources.c.type == kind.value)
        with self._engine.connect() as c:
            of_source: dict[str, list[str]] = {}
            for row in _all(c, sa.select(candidates).order_by(candidates.c.id)):
                of_source.setdefault(row["source"], []).append(row["id"])
            return [_source(row, of_source.get(row["name"], [])) for row in _all(c, query)]

    def candidates(self) -> list[Row]:
        """All candidates, with the numbers of their events."""
        with self._engine.connect() as c:
            numbers: dict[str, list[int]] = {}
            for row in _all(c, sa.select(candidate_events).order_by(candidate_events.c.event_id)):
                numbers.setdefault(row["candidate"], []).append(row["event_id"])
            found = _all(c, sa.select(candidates).order_by(candidates.c.id))
        return [{**row, "events": numbers.get(row["id"], [])} for row in found]

    # -- verifications

    def vote(self, vote: Vote) -> Row:
        """Add what a person calls an event; the verification as it is then."""
        with self._writing() as c:
            _cast(c, [vote])
            _refresh_verifications(c, [vote.event_id])
            return _verifications(c, verifications.c.event_id == vote.event_id)[0]

    def verification(self, number: int) -> Row:
        """The verification of an event.

        Raises
        ------
        UnknownEntryError : there is none
        """
        with self._engine.connect() as c:
            found = _verifications(c, verifications.c.event_id == number)
        if not found:
            raise UnknownEntryError(f"nobody has verified event {number}")
        return found[0]

    def verifications(
        self,
        kind: Classification | None = None,
        *,
        skip: int = 0,
        limit: int | None = None,
        strict: bool = False,
    ) -> list[Row]:
        """Verifications by the number of the event.

        Parameters
        ----------
        kind : None: of all
        strict : by what is not contested; else by the last vote
        """
        wanted: sa.ColumnElement[bool] = sa.true()
        if kind is not None:
            wanted = (verifications.c.agreed if strict else verifications.c.last) == kind.value
        with self._engine.connect() as c:
            return _verifications(c, wanted, skip, limit)

    def conflicting(self) -> list[Row]:
        """Verifications about which people do not agree."""
        contested = sa.and_(verifications.c.last.is_not(None), verifications.c.agreed.is_(None))
        with self._engine.connect() as c:
            return _verifications(c, contested)

    # -- records

    def add_record(self, kind: Kind, key: str, facts: Facts) -> None:
        """Keep a record beside those of its key."""
        with self._writing() as c:
            c.execute(records.insert().values(kind=kind.value, key=key[:256], facts=_kept(facts)))

    def put_record(self, kind: Kind, key: str, facts: Facts) -> None:
        """Keep a record in place of those of its key."""
        with self._writing() as c:
            _remove_records(c, kind, key)
            c.execute(records.insert().values(kind=kind.value, key=key[:256], facts=_kept(facts)))

    def remove_records(self, kind: Kind, key: str) -> bool:
        """Whether there were any."""
        with self._writing() as c:
            return _remove_records(c, kind, key) > 0

    def records(self, kind: Kind, key: str | None = None) -> list[tuple[str, Row]]:
        """(key, record) in the order in which they came."""
        query = sa.select(records).where(records.c.kind == kind.value).order_by(records.c.id)
        if key is not None:
            query = query.where(records.c.key == key)
        with self._engine.connect() as c:
            return [(row["key"], row["facts"]) for row in _all(c, query)]

    # -- loading

    def load(self, holdings: Holdings) -> None:
        """Take all of it in, or nothing. What is loaded again takes the place of what it was; votes of others stay."""
        with self._writing() as c:
            for event in holdings.events:
                _put_event(c, event)
            for number, entries in holdings.measured.items():
                for facts in entries:  # of a pipeline the last counts
                    mine = sa.and_(
                        measurements.c.event_id == number, measurements.c.pipeline == pipeline_of(facts)
                    )
                    c.execute(measurements.delete().where(mine))
                _add_measurements(c, number, entries)
                _refresh_event(c, number)
            for source in holdings.sources:
                _put_source(c, source)
            touched = {vote.event_id for vote in holdings.votes} | set(holdings.status)
            _open_verifications(c, holdings.status)
            for number, status in holdings.status.items():
                change = verifications.update().where(verifications.c.event_id == number)
                c.execute(change.values(data_status={**NO_STATUS, **status}))
            _cast(c, holdings.votes)
            _refresh_verifications(c, touched)

    def _writing(self) -> Any:
        return _Writing(self._engine)


class _Writing:
    """A transaction of the one writer."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def __enter__(self) -> sa.Connection:
        # a writer of SQLite must lock before it reads; the store of jobs listens to this option
        self._connection = self._engine.connect().execution_options(write=True)
        self._transaction = self._connection.begin()
        if self._engine.dialect.name == "postgresql":
            self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITER_LOCK)))
        return self._connection

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._transaction.commit()
            else:
                self._transaction.rollback()
        finally:
            self._connection.close()


def _all(c: sa.Connection, query: sa.Select[Any]) -> list[Row]:
    result = c.execute(query)
    keys = tuple(result.keys())
    return [dict(zip(keys, row, strict=True)) for row in result]


def _kept(facts: Facts) -> Row:
    """What the database keeps; NaN and infinity would come back in no answer."""
    try:
        json.dumps(facts, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise InputError(f"numbers must be finite, and nothing nested too deep: {str(error)[:200]}") from None
    return dict(facts)


def _whole_events(c: sa.Connection, rows: Sequence[Row]) -> list[Row]:
    numbers = [row["id"] for row in rows]
    query = sa.select(measurements).where(measurements.c.event_id.in_(numbers)).order_by(measurements.c.id)
    measured: dict[int, list[Facts]] = {}
    for row in _all(c, query):
        measured.setdefault(row["event_id"], []).append(row["facts"])
    return [
        {"id": row["id"], **row["facts"], "measured_parameters": measured.get(row["id"], [])} for row in rows
    ]


def _put_event(c: sa.Connection, event: Event) -> None:
    c.execute(measurements.delete().where(measurements.c.event_id == event.id))
    c.execute(events.delete().where(events.c.id == event.id))
    kind = event.facts.get("event_type")
    c.execute(
        events.insert().values(id=event.id, event_type=kind and str(kind)[:64], facts=_kept(event.facts))
    )
    _add_measurements(c, event.id, event.measurements)
    _refresh_event(c, event.id)


def _add_measurements(c: sa.Connection, number: int, entries: Sequence[Facts]) -> None:
    for facts in entries:
        row = {"event_id": number, "pipeline": pipeline_of(facts), "facts": _kept(facts)}
        c.execute(measurements.insert().values(row))


def _refresh_event(c: sa.Connection, number: int) -> None:
    query = (
        sa.select(measurements.c.facts).where(measurements.c.event_id == number).order_by(measurements.c.id)
    )
    best = best_measurement(list(c.execute(query).scalars()))
    recorded = best.get("datetime")
    values = {name: number_or_none(best.get(name)) for name in _NUMBERS}
    when = recorded.split(" UTC")[0][:40] if isinstance(recorded, str) else None
    c.execute(events.update().where(events.c.id == number).values(recorded=when, **values))


def _source(row: Row, candidate_ids: list[str]) -> Row:
    return {**row["facts"], "name": row["name"], "type": row["type"], "candidate_id": candidate_ids}


def _put_source(c: sa.Connection, source: Source) -> None:
    mine = sa.select(candidates.c.id).where(candidates.c.source == source.name)
    c.execute(candidate_events.delete().where(candidate_events.c.candidate.in_(mine)))
    c.execute(candidates.delete().where(candidates.c.source == source.name))
    c.execute(sources.delete().where(sources.c.name == source.name))
    other = source.facts.get("previous_name")
    c.execute(
        sources.insert().values(
            name=source.name,
            type=source.type.value,
            other_name=other if isinstance(other, str) else None,
            facts=_kept(source.facts),
        )
    )
    for candidate, numbers in source.candidates.items():
        c.execute(candidates.insert().values(id=candidate, source=source.name))
        for number in sorted(set(numbers)):
            c.execute(candidate_events.insert().values(candidate=candidate, event_id=number))


def _parts(numbers: Iterable[int]) -> Iterator[list[int]]:
    wanted = sorted(set(numbers))
    for start in range(0, len(wanted), _AT_ONCE):
        yield wanted[start : start + _AT_ONCE]


def _open_verifications(c: sa.Connection, numbers: Iterable[int]) -> None:
    for part in _parts(numbers):
        query = sa.select(verifications.c.event_id).where(verifications.c.event_id.in_(part))
        there = set(c.execute(query).scalars())
        new = [{"event_id": number, "data_status": NO_STATUS} for number in part if number not in there]
        if new:
            c.execute(verifications.insert(), new)


def _cast(c: sa.Connection, cast: Sequence[Vote]) -> None:
    """Take votes in; of a user the last counts."""
    _open_verifications(c, [vote.event_id for vote in cast])
    final = {(vote.event_id, vote.user): vote for vote in cast}
    by_user: dict[str, list[int]] = {}
    for number, user in final:
        by_user.setdefault(user, []).append(number)
    for user, numbers in by_user.items():
        for part in _parts(numbers):
            c.execute(votes.delete().where(votes.c.user == user, votes.c.event_id.in_(part)))
    rows = [
        {
            "event_id": vote.event_id,
            "user": vote.user,
            "classification": vote.classification.value,
            "facts": _kept(vote.facts),
        }
        for vote in final.values()
    ]
    if rows:
        c.execute(votes.insert(), rows)


def _refresh_verifications(c: sa.Connection, numbers: Iterable[int]) -> None:
    columns = (votes.c.event_id, votes.c.user, votes.c.classification)
    change = (
        verifications.update()
        .where(verifications.c.event_id == sa.bindparam("number"))
        .values(last=sa.bindparam("last_vote"), agreed=sa.bindparam("agreed_vote"))
    )
    for part in _parts(numbers):
        cast: dict[int, list[tuple[str, str]]] = {number: [] for number in part}
        for number, user, word in c.execute(
            sa.select(*columns).where(votes.c.event_id.in_(part)).order_by(votes.c.id)
        ):
            cast[number].append((user, word))
        stand = {number: standings(of_event) for number, of_event in cast.items()}
        c.execute(
            change,
            [{"number": k, "last_vote": last, "agreed_vote": agreed} for k, (last, agreed) in stand.items()],
        )


def _verifications(
    c: sa.Connection, wanted: sa.ColumnElement[bool], skip: int = 0, limit: int | None = None
) -> list[Row]:
    query = sa.select(verifications).where(wanted).order_by(verifications.c.event_id).offset(skip)
    rows = _all(c, query.limit(limit) if limit is not None else query.limit(2**31 - 1))
    cast: dict[int, list[Row]] = {row["event_id"]: [] for row in rows}
    numbers = list(cast)
    for start in range(0, len(numbers), _AT_ONCE):
        part = numbers[start : start + _AT_ONCE]
        for row in _all(c, sa.select(votes).where(votes.c.event_id.in_(part)).order_by(votes.c.id)):
            vote = {**row["facts"], "classification": row["classification"], "user": row["user"]}
            cast[row["event_id"]].append(vote)
    return [
        {
            "id": row["event_id"],
            "event_id": row["event_id"],
            "data_status": row["data_status"],
            "user_verification": cast[row["event_id"]],
        }
        for row in rows
    ]


def _remove_records(c: sa.Connection, kind: Kind, key: str) -> int:
    mine = sa.and_(records.c.kind == kind.value, records.c.key == key[:256])
    return c.execute(records.delete().where(mine)).rowcount
