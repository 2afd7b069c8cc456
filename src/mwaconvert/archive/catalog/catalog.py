"""What the archive knows, in one database: SQLite by default, PostgreSQL by its URL.

A member set goes in and comes out as a `MemberSnapshot`; a pass over all of them tells what changed. Runs, decisions
and ingests are rows beside. Of two analysts who decide at once the database lets one through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from mwaconvert.archive.catalog import rows
from mwaconvert.archive.catalog.schema import metadata
from mwaconvert.archive.identifiers import StatusUid, Uid
from mwaconvert.archive.quality.ingest import IngestItem
from mwaconvert.archive.quality.notes import QaNotes, QaRecords
from mwaconvert.archive.reruns import RunInput
from mwaconvert.archive.sources.snapshot import Change, MemberSnapshot, changes_since
from mwaconvert.archive.units import Deliveries, Delivery, Level, UnitSet, check_sessions
from mwaconvert.errors import InputError, MetadataError
from mwaconvert.extras import need


class RunState(Enum):
    """Coarse states of a run."""

    RUNNING = "running"
    WAITING = "waiting"  # for an analyst
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a pipeline over a member set or an execution block (`target`)."""

    run_id: str
    kind: str
    target: str
    attempt: int = 1
    parent: str | None = None
    state: RunState = RunState.RUNNING
    assigned_to: str = ""
    casa: str = ""
    pipeline: str = ""
    mpi_servers: int = 0
    procedure: str = ""
    folder: str = ""


class Catalog:
    """A catalogue in a database.

    Parameters
    ----------
    url : of SQLAlchemy, as ``sqlite:///archive.db``; it may hold a password and is never shown

    Examples
    --------
    >>> with Catalog("sqlite://") as catalog:
    ...     catalog.qa_queue()
    ()
    """

    def __init__(self, url: str) -> None:
        self._sql: Any = need("sqlalchemy", "archive", "the catalogue")
        self._t: Mapping[str, Any] = metadata().tables
        try:
            self._engine = self._sql.create_engine(url)
            if self._engine.dialect.name == "sqlite":
                self._sql.event.listen(self._engine, "connect", _sqlite_rules)
            metadata().create_all(self._engine)
        except self._sql.exc.SQLAlchemyError as error:
            raise InputError(f"the catalogue cannot be opened: {type(error).__name__}") from None

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- unit sets and members

    def put_units(self, project: str, units: Iterable[tuple[UnitSet, Level]], at: datetime) -> None:
        """Put unit sets above members, each after the one that contains it; known ones get their new state."""
        with self._engine.begin() as connection:
            for unit, level in units:
                self._put(connection, "obs_unit_set", rows.of_unit(project, unit, level, at))

    def put_member(self, project: str, look: MemberSnapshot, at: datetime) -> tuple[Change, ...]:
        """Put a member set as it is seen now; what changed since the last look, nothing for a new one.

        Raises
        ------
        MetadataError
            A parent that is not in the catalogue, an execution block in two of its sessions.
        """
        return self.put_members(project, [look], at)[look.unit.status_uid]

    def put_members(
        self, project: str, looks: Iterable[MemberSnapshot], at: datetime
    ) -> dict[StatusUid, tuple[Change, ...]]:
        """Put many member sets in one transaction: all or none of them; errors as in `put_member`."""
        with self._engine.begin() as connection:
            return {look.unit.status_uid: self._put_member(connection, project, look, at) for look in looks}

    def _put_member(
        self, connection: Any, project: str, look: MemberSnapshot, at: datetime
    ) -> tuple[Change, ...]:
        mous = str(look.unit.status_uid)
        check_sessions(look.unit.sessions)
        old = self._member(connection, mous)
        parent = None if look.unit.parent is None else str(look.unit.parent)
        if parent is not None and not self._rows(connection, "obs_unit_set", status_uid=parent):
            raise MetadataError(f"{mous} has the parent {parent}, which is not in the catalogue")
        self._put(connection, "obs_unit_set", rows.of_member(project, look, at))
        if old is not None:
            for table in ("session_eb", "obs_session", "exec_block", "sched_block"):
                self._delete(connection, table, mous=mous)
            self._delete(connection, "product_file", owner=mous)
        for table, found in rows.of_contents(look).items():
            if found:
                connection.execute(self._t[table].insert(), found)
        if old is None or old.release_date != look.release_date:
            cause = "" if old is None else "changed"
            self._put(connection, "delivery", rows.of_delivery(mous, Delivery(at, look.release_date, cause)))
        return () if old is None else changes_since(old, look, at)

    def member(self, mous: StatusUid) -> MemberSnapshot:
        """A member set as it was last seen; `InputError` for one the catalogue does not know."""
        with self._engine.connect() as connection:
            found = self._member(connection, str(mous))
        if found is None:
            raise InputError(f"{mous} is not in the catalogue")
        return found

    def _member(self, connection: Any, mous: str) -> MemberSnapshot | None:
        unit = self._rows(connection, "obs_unit_set", status_uid=mous)
        if not unit:
            return None
        contents = {
            table: self._rows(connection, table, order=order, mous=mous)
            for table, order in (("sched_block", "uid"), ("obs_session", "ordinal"), ("exec_block", "start"))
        }
        contents["session_eb"] = self._rows(connection, "session_eb", order="position", mous=mous)
        contents["product_file"] = self._rows(connection, "product_file", order="name", owner=mous)
        return rows.to_member(unit[0], self._chain(connection, mous)[1:], contents)

    def chain(self, uid: StatusUid) -> tuple[StatusUid, ...]:
        """A unit set and those that contain it, up to the top; empty if it is not known."""
        with self._engine.connect() as connection:
            return self._chain(connection, str(uid))

    def _chain(self, connection: Any, uid: str) -> tuple[StatusUid, ...]:
        sql, units = self._sql, self._t["obs_unit_set"]
        start = sql.select(units.c.status_uid, units.c.parent, sql.literal(0).label("depth"))
        walk = start.where(units.c.status_uid == uid).cte("walk", recursive=True)
        step = sql.select(units.c.status_uid, units.c.parent, walk.c.depth + 1)
        walk = walk.union_all(step.where(units.c.status_uid == walk.c.parent, walk.c.depth < 64))
        found = connection.execute(sql.select(walk.c.status_uid).order_by(walk.c.depth))
        return tuple(StatusUid(Uid.parse(row[0])) for row in found)

    def tree(self, project: str) -> tuple[tuple[StatusUid, StatusUid | None, str, int], ...]:
        """Unit sets of a project from the top: uid, parent, state, number of execution blocks."""
        sql, units, blocks = self._sql, self._t["obs_unit_set"], self._t["exec_block"]
        count = sql.select(sql.func.count()).where(blocks.c.mous == units.c.status_uid).scalar_subquery()
        query = sql.select(units.c.status_uid, units.c.parent, units.c.state, count)
        query = query.where(units.c.project == project).order_by(units.c.status_uid)
        with self._engine.connect() as connection:
            return tuple(
                (StatusUid(Uid.parse(r[0])), None if r[1] is None else StatusUid(Uid.parse(r[1])), r[2], r[3])
                for r in connection.execute(query)
            )

    def update(self, looks: Mapping[StatusUid, rows.Look], at: datetime) -> dict[StatusUid, tuple[str, ...]]:
        """One pass over short looks at many member sets: write what changed, tell it in words.

        Sets that the catalogue does not know are told as new and not written: they are put whole.
        """
        units = self._t["obs_unit_set"]
        told: dict[StatusUid, tuple[str, ...]] = {}
        changed: list[dict[str, Any]] = []
        moved: list[dict[str, Any]] = []
        with self._engine.begin() as connection:
            query = self._sql.select(units).where(units.c.level == Level.MEMBER.value)
            known = {row["status_uid"]: row for row in connection.execute(query).mappings()}
            for uid, look in looks.items():
                old = known.get(str(uid))
                words = ("new",) if old is None else rows.differences(old, look)
                if not words:
                    continue
                told[uid] = words
                if old is not None:
                    changed.append({"b_uid": str(uid), **look.columns, "seen_at": rows.iso(at)})
                    if old["release_date"] != look.columns["release_date"]:
                        moved.append(rows.of_delivery(str(uid), Delivery(at, look.release_date, "changed")))
            if changed:
                statement = units.update().where(units.c.status_uid == self._sql.bindparam("b_uid"))
                connection.execute(statement, changed)
            if moved:
                connection.execute(self._t["delivery"].insert(), moved)
        return told

    def deliveries(self, mous: StatusUid) -> Deliveries:
        """Release dates of a member set as they were seen."""
        with self._engine.connect() as connection:
            found = self._rows(connection, "delivery", order="observed_at", mous=str(mous))
        return Deliveries(tuple(rows.to_delivery(row) for row in found))

    # -- runs, decisions, ingests

    def put_run(self, run: Run, inputs: Sequence[RunInput], at: datetime) -> None:
        """Put a run, or its new state; its inputs are written once.

        Raises
        ------
        MetadataError
            Another run of this kind has this attempt at this target.
        """
        row = {name: getattr(run, name) for name in Run.__slots__} | {"state": run.state.value}
        try:
            with self._engine.begin() as connection:
                new = not self._rows(connection, "pipeline_run", run_id=run.run_id)
                self._put(connection, "pipeline_run", {**row, "changed_at": rows.iso(at)})
                if new and inputs:
                    connection.execute(
                        self._t["run_input"].insert(), [rows.of_input(run.run_id, item) for item in inputs]
                    )
        except self._sql.exc.IntegrityError:
            raise MetadataError(f"{run.target} has an attempt {run.attempt} of {run.kind} already") from None

    def run(self, run_id: str) -> Run:
        """A run; `InputError` for one the catalogue does not know."""
        with self._engine.connect() as connection:
            found = self._rows(connection, "pipeline_run", run_id=run_id)
        if not found:
            raise InputError(f"there is no run {run_id}")
        values = {name: found[0][name] for name in Run.__slots__}
        return Run(**{**values, "state": RunState(values["state"])})

    def qa_queue(self, analyst: str | None = None) -> tuple[Run, ...]:
        """Runs that wait for a decision, the longest waiting first; of one analyst, or all."""
        runs = self._t["pipeline_run"]
        query = self._sql.select(runs).where(runs.c.state == RunState.WAITING.value)
        if analyst is not None:
            query = query.where(runs.c.assigned_to == analyst)
        with self._engine.connect() as connection:
            found = connection.execute(query.order_by(runs.c.changed_at, runs.c.run_id)).mappings().all()
        return tuple(
            Run(**{n: row[n] for n in Run.__slots__ if n != "state"}, state=RunState(row["state"]))
            for row in found
        )

    def decisions(self, run_id: str) -> QaRecords:
        """Decisions on a run, oldest first."""
        with self._engine.connect() as connection:
            found = self._rows(connection, "qa_record", order="revision", run_id=run_id)
        return QaRecords(tuple(rows.to_record(row) for row in found))

    def decide(self, run_id: str, notes: QaNotes, by: str, at: datetime, *, seen: int) -> QaRecords:
        """Decide on a run as one who saw `seen` decisions; of two at once the second is refused.

        Raises
        ------
        InputError
            No such run, or someone decided in between.
        """
        self.run(run_id)
        after = self.decisions(run_id).decide(notes, by, at, seen=seen)
        try:
            with self._engine.begin() as connection:
                connection.execute(self._t["qa_record"].insert(), rows.of_record(run_id, after.rows[-1]))
        except self._sql.exc.IntegrityError:
            # between our look and our row another came: its words, not ours
            return self.decisions(run_id).decide(notes, by, at, seen=seen)
        return after

    def put_ingest(self, run_id: str, attempt: int, items: Sequence[IngestItem]) -> None:
        """Put the items of an ingest, or what became of them."""
        with self._engine.begin() as connection:
            for item in items:
                self._put(connection, "ingest_item", rows.of_item(run_id, attempt, item))

    def ingested(self, run_id: str) -> tuple[IngestItem, ...]:
        """Items of the last ingest of a run."""
        with self._engine.connect() as connection:
            found = self._rows(connection, "ingest_item", order="attempt", run_id=run_id)
        last = found[-1]["attempt"] if found else 0
        return tuple(rows.to_item(row) for row in found if row["attempt"] == last)

    # -- the few statements all of these are made of

    def _rows(self, connection: Any, table: str, order: str = "", **equal: str) -> list[Any]:
        source = self._t[table]
        query = self._sql.select(source).where(*(source.c[name] == value for name, value in equal.items()))
        if order:  # unknown values last, on both engines
            keys = [source.c[order].is_(None), source.c[order], *source.primary_key.columns]
            query = query.order_by(*keys)
        return list(connection.execute(query).mappings())

    def _delete(self, connection: Any, table: str, **equal: str) -> None:
        source = self._t[table]
        connection.execute(source.delete().where(*(source.c[name] == value for name, value in equal.items())))

    def _put(self, connection: Any, table: str, row: dict[str, Any]) -> None:
        """Insert a row, or change the one of its key."""
        source = self._t[table]
        keys = [column.name for column in source.primary_key.columns]
        same = [source.c[key] == row[key] for key in keys]
        others = {name: value for name, value in row.items() if name not in keys}
        done = connection.execute(source.update().where(*same).values(others)) if others else None
        if done is None or done.rowcount == 0:
            connection.execute(source.insert(), row)


def _sqlite_rules(connection: Any, _record: object) -> None:
    """SQLite keeps no foreign keys unless told, for each connection."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
