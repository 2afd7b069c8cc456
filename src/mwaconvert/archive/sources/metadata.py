"""The metadata database of ALMA, read through SQLAlchemy, whatever the database; never written.

Tables are reflected, so only the documented columns are asked for. Identifiers go by several names: those of a member
set are put right here, at the boundary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from mwaconvert.archive.catalog.rows import Look
from mwaconvert.archive.identifiers import (
    EntityUid,
    ExecBlockUid,
    StatusUid,
    Uid,
    UnitRef,
    delivery_name,
    is_alma_project,
    safe_name,
)
from mwaconvert.archive.sources.snapshot import LeftOut, MemberSnapshot, NewMember
from mwaconvert.archive.status import read_status
from mwaconvert.archive.times import read_utc, utc
from mwaconvert.archive.units import (
    ExecBlock,
    Level,
    ProductFile,
    Qa0,
    SchedBlock,
    UnitSet,
    calibration_state,
    check_sessions,
)
from mwaconvert.errors import Error, InputError, MetadataError, ResourceError
from mwaconvert.extras import need

_TABLES = (
    "OBS_UNIT_SET_STATUS",
    "SCHED_BLOCK_STATUS",
    "ASA_PRODUCT_FILES",
    "ASA_DELIVERY_STATUS",
    "AQUA_OUS",
    "AQUA_V_EXECBLOCK",
)
_PARENT = "PARENT_OBS_UNIT_SET_STATUS_ID"
#: values of one statement, of which databases allow some thousands
_AT_ONCE = 500
_QA0 = {qa.value.lower(): qa for qa in Qa0}
#: of the sets that contain a member set, from its group up
_LEVELS = (Level.GROUP, Level.SCIENCE_GOAL, Level.PROGRAM)


class MetadataDatabase:
    """The tables of an archive's metadata, open to read.

    Parameters
    ----------
    url : of SQLAlchemy, as ``postgresql://host/alma`` or ``sqlite:///alma.db``; it may hold a password and is never
        shown
    schema : of the tables, where there is one

    Raises
    ------
    InputError
        The database cannot be reached, or lacks a table.
    ResourceError
        By all that reads: it is away since.
    """

    def __init__(self, url: str, schema: str | None = None) -> None:
        self._sql: Any = need("sqlalchemy", "archive", "reading a metadata database")
        try:
            self._engine = self._sql.create_engine(url)
            self._sql.event.listen(self._engine, "connect", _read_only)
            inspector = self._sql.inspect(self._engine)
            names = {name.upper(): name for name in inspector.get_table_names(schema)}
            names |= {name.upper(): name for name in inspector.get_view_names(schema)}
        except self._sql.exc.SQLAlchemyError as error:
            raise InputError(f"the metadata database cannot be opened: {type(error).__name__}") from None
        missing = [table for table in _TABLES if table not in names]
        if missing:
            self._engine.dispose()
            raise InputError(f"the metadata database has no table {', '.join(missing)}")
        metadata = self._sql.MetaData()
        self._tables = {
            table: self._sql.Table(names[table], metadata, schema=schema, autoload_with=self._engine)
            for table in _TABLES
        }
        #: rows and sets of one piece of `members`
        self._held: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
        self._units: dict[StatusUid, UnitSet] = {}

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> MetadataDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except self._sql.exc.SQLAlchemyError as error:
            raise ResourceError(f"the metadata database gave no answer: {type(error).__name__}") from None

    def _rows(self, table: str, column: str, value: str, order: str = "") -> Sequence[dict[str, Any]]:
        """Rows where a column has a value, unknown values of `order` last, on every database."""
        held = self._held.get((table, column), {})
        if value in held:
            return held[value]
        return self._read(table, column, [value], order)

    def _read(self, table: str, column: str, values: Sequence[str], order: str = "") -> list[dict[str, Any]]:
        source = self._tables[table]
        columns = {column.name.upper(): column for column in source.columns}
        if column not in columns:
            raise MetadataError(f"the table {table} has no column {column}")
        query = self._sql.select(source).where(columns[column].in_(values))
        if order:
            query = query.order_by(columns[order].is_(None), columns[order])
        with self._reading() as connection:
            found = connection.execute(query)
            names = [name.upper() for name in found.keys()]  # noqa: SIM118  (of a result, no mapping)
            return [dict(zip(names, row, strict=True)) for row in found]

    def _hold(
        self, table: str, column: str, values: Collection[str], order: str = ""
    ) -> list[dict[str, Any]]:
        """Read the rows of many values in a few statements; `_rows` finds them until they are let go."""
        held = self._held.setdefault((table, column), {})
        wanted = [value for value in values if value not in held]
        held.update({value: [] for value in wanted})
        found = [
            row
            for start in range(0, len(wanted), _AT_ONCE)
            for row in self._read(table, column, wanted[start : start + _AT_ONCE], order)
        ]
        for row in found:
            held[row[column]].append(row)
        return found

    def unit_set(self, uid: StatusUid) -> UnitSet:
        """A unit set of any level: its status document where the table has it, else what the columns tell.

        Raises
        ------
        InputError
            The database does not know it.
        """
        if uid in self._units:
            return self._units[uid]
        row = next(iter(self._rows("OBS_UNIT_SET_STATUS", "STATUS_ENTITY_ID", str(uid))), None)
        if row is None:
            raise InputError(f"{uid} is not in the metadata database")
        parent, project = row.get(_PARENT), row.get("OBS_PROJECT_STATUS_ID")
        unit = UnitSet(uid)
        if row.get("XML"):
            text = row["XML"]
            unit = read_status(text.encode() if isinstance(text, str) else bytes(text), str(uid)).unit
            if unit.status_uid != uid:
                raise MetadataError(f"the status document of {uid} is that of {unit.status_uid}")
        state = row.get("DOMAIN_ENTITY_STATE") or unit.state
        unit = replace(
            unit,
            state=state,
            parent=StatusUid(Uid.parse(parent)) if parent else unit.parent,
            project_status=unit.project_status or (StatusUid(Uid.parse(project)) if project else None),
            unit=unit.unit or _reference(row),
        )
        if self._held:
            self._units[uid] = unit
        return unit

    def chain(self, uid: StatusUid) -> tuple[StatusUid, ...]:
        """The sets that contain one, from its parent to the top.

        Raises
        ------
        MetadataError
            Sets that contain each other.
        """
        found: list[StatusUid] = []
        at = self.unit_set(uid).parent
        while at is not None:
            if at in found or at == uid:
                raise MetadataError(f"{at} contains itself in the metadata database")
            found.append(at)
            at = self.unit_set(at).parent
        return tuple(found)

    def sched_blocks(self, mous: StatusUid) -> tuple[SchedBlock, ...]:
        """Scheduling blocks of a member set."""
        rows = self._rows("SCHED_BLOCK_STATUS", _PARENT, str(mous), "STATUS_ENTITY_ID")
        return tuple(
            SchedBlock(
                EntityUid(Uid.parse(row["DOMAIN_ENTITY_ID"])), StatusUid(Uid.parse(row["STATUS_ENTITY_ID"]))
            )
            for row in rows
        )

    def exec_blocks(self, mous: StatusUid) -> tuple[ExecBlock, ...]:
        """Execution blocks of the scheduling blocks of a member set, by start; ends may be unknown."""
        found = [
            ExecBlock(
                ExecBlockUid(Uid.parse(row["EXECBLOCKUID"])),
                block.uid,
                _time(row.get("STARTTIME")),
                _time(row.get("ENDTIME")),
                _qa0(row.get("QA0STATUS")),
            )
            for block in self.sched_blocks(mous)
            for row in self._rows("AQUA_V_EXECBLOCK", "SCHEDBLOCKUID", str(block.uid), "STARTTIME")
        ]
        return tuple(sorted(found, key=lambda e: (e.start is None, e.start or datetime.min, e.uid)))

    def product_files(self, mous: StatusUid) -> tuple[ProductFile, ...]:
        """Product files of a member set with their classes; roles are told by a table of kinds."""
        rows = self._rows("ASA_PRODUCT_FILES", self._owner_column(), str(mous), "NGAS_FILE_ID")
        return tuple(_product_file(row["NGAS_FILE_ID"], row.get("FILE_CLASS")) for row in rows)

    def _columns(self, table: str) -> set[str]:
        return {column.name.upper() for column in self._tables[table].columns}

    def project_of(self, mous: StatusUid) -> str:
        """The code of the project of a set, from the name of its delivery.

        Raises
        ------
        InputError
            The set was not delivered, so nothing may be handed out.
        """
        names = self._tables["ASA_DELIVERY_STATUS"]
        column = next(column for column in names.columns if column.name.upper() == "DELIVERY_NAME")
        ending = f"_{mous.file_form}"
        query = self._sql.select(column).where(column.endswith(ending, autoescape=True))
        with self._reading() as connection:
            found = {row[0].removesuffix(ending) for row in connection.execute(query)}
        if len(found) != 1:
            raise InputError(f"{mous} has {len(found)} deliveries in the metadata database; expected one")
        return str(found.pop())

    def release_date(self, project: str, mous: StatusUid) -> datetime | None:
        """The release date: the only word on whether data are public. None for sets that were not delivered.

        Raises
        ------
        MetadataError
            Two deliveries of one name that disagree.
        """
        rows = self._rows("ASA_DELIVERY_STATUS", "DELIVERY_NAME", delivery_name(project, mous))
        return _one_date(mous, (row.get("RELEASE_DATE") for row in rows))

    def qa2(self, mous: StatusUid) -> str:
        """The QA2 status of a set, as the archive words it; empty where there is none."""
        row = next(iter(self._rows("AQUA_OUS", "OUS_STATUS_ENTITY_ID", str(mous))), {})
        return str(row.get("QA2STATUS") or "")

    def looks(self, sets: Mapping[StatusUid, str]) -> dict[StatusUid, Look | Error]:
        """Short looks at many member sets (uid -> code of project), each table read once; unknown ones are left out.

        What keeps one from being read stands in its place.
        """
        states = dict(self._columns_of("OBS_UNIT_SET_STATUS", "STATUS_ENTITY_ID", "DOMAIN_ENTITY_STATE"))
        qa2 = dict(self._columns_of("AQUA_OUS", "OUS_STATUS_ENTITY_ID", "QA2STATUS"))
        dates: dict[str, list[object]] = {}
        for name, date in self._columns_of("ASA_DELIVERY_STATUS", "DELIVERY_NAME", "RELEASE_DATE"):
            dates.setdefault(name, []).append(date)
        files: dict[str, list[tuple[str, str | None]]] = {}
        for owner, name, kind in self._columns_of(
            "ASA_PRODUCT_FILES", self._owner_column(), "NGAS_FILE_ID", "FILE_CLASS"
        ):
            files.setdefault(owner, []).append((name, kind))
        found: dict[StatusUid, Look | Error] = {}
        for uid, project in sets.items():
            mous = str(uid)
            if mous not in states:
                continue
            try:
                found[uid] = Look(
                    states[mous] or "",
                    str(qa2.get(mous) or ""),
                    _one_date(uid, dates.get(delivery_name(project, uid), ())),
                    calibration_state([_product_file(name, kind) for name, kind in files.get(mous, ())]),
                )
            except Error as error:
                found[uid] = error
        return found

    def _columns_of(self, table: str, *names: str) -> Iterator[tuple[Any, ...]]:
        columns = {column.name.upper(): column for column in self._tables[table].columns}
        with self._reading() as connection:
            for row in connection.execute(self._sql.select(*(columns[name] for name in names))):
                yield tuple(row)

    def _owner_column(self) -> str:
        return "ASA_OUS_ID" if "ASA_OUS_ID" in self._columns("ASA_PRODUCT_FILES") else "ASA_MOUS_UID"

    def member(self, project: str, mous: StatusUid) -> MemberSnapshot:
        """All that the database tells of a member set.

        Raises
        ------
        InputError, MetadataError, FormatError
            A set it does not know, rows that contradict each other, a status document that cannot be read.
        """
        return MemberSnapshot(
            self.unit_set(mous),
            self.chain(mous),
            self.sched_blocks(mous),
            self.exec_blocks(mous),
            self.product_files(mous),
            self.release_date(project, mous),
            self.qa2(mous),
        )

    def seen(self) -> tuple[dict[StatusUid, str], dict[str, LeftOut]]:
        """All member sets.

        Returns
        -------
        delivered : the codes of their projects
        left_out : why others are not among them, by uid, or name of a delivery
        """
        projects: dict[StatusUid, set[str]] = {}
        left_out = {}
        for (name,) in self._columns_of("ASA_DELIVERY_STATUS", "DELIVERY_NAME"):
            uid = Uid.within(str(name))
            project = "" if uid is None else str(name).removesuffix(f"_{uid.file_form}")
            if uid is not None and is_alma_project(project):
                projects.setdefault(StatusUid(uid), set()).add(project)
            else:
                left_out[str(name)] = LeftOut.NO_SET
        left_out |= {str(uid): LeftOut.TWO_PROJECTS for uid, codes in projects.items() if len(codes) > 1}
        named = {str(uid) for uid in projects}
        for (parent,) in self._columns_of("SCHED_BLOCK_STATUS", _PARENT):  # whose parents are member sets
            if parent and parent not in named:
                left_out[str(parent)] = LeftOut.UNDELIVERED
        return {uid: codes.pop() for uid, codes in projects.items() if len(codes) == 1}, left_out

    def members(self, sets: Mapping[StatusUid, str]) -> Iterator[tuple[StatusUid, NewMember | Error]]:
        """Many member sets (uid -> code of project) as `member` tells them, each with the sets that contain it.

        Tables are read in pieces, not a statement for each set. What keeps one from being read stands in its place.
        """
        names = list(sets)
        for start in range(0, len(names), _AT_ONCE):
            piece = names[start : start + _AT_ONCE]
            self._hold_members([str(uid) for uid in piece], [delivery_name(sets[uid], uid) for uid in piece])
            for uid in piece:
                try:
                    look = self.member(sets[uid], uid)
                    check_sessions(look.unit.sessions)
                    found = NewMember(sets[uid], look, self.above(look.chain))
                except Error as error:
                    yield uid, error
                else:
                    yield uid, found
            self._held.clear()
            self._units.clear()

    def above(self, chain: Sequence[StatusUid]) -> tuple[tuple[UnitSet, Level], ...]:
        """The sets of a `chain` with their levels, the uppermost first; all above the science goal are programs."""
        levels = (_LEVELS[min(n, len(_LEVELS) - 1)] for n in range(len(chain)))
        return tuple((self.unit_set(uid), level) for uid, level in zip(chain, levels, strict=True))[::-1]

    def _hold_members(self, uids: list[str], deliveries: list[str]) -> None:
        at: Collection[str] = uids
        while at:  # each level of containers; a circle ends as its sets are there already
            found = self._hold("OBS_UNIT_SET_STATUS", "STATUS_ENTITY_ID", at)
            at = {row[_PARENT] for row in found if row.get(_PARENT)}
        blocks = self._hold("SCHED_BLOCK_STATUS", _PARENT, uids, "STATUS_ENTITY_ID")
        self._hold(
            "AQUA_V_EXECBLOCK", "SCHEDBLOCKUID", {row["DOMAIN_ENTITY_ID"] for row in blocks}, "STARTTIME"
        )
        self._hold("ASA_PRODUCT_FILES", self._owner_column(), uids, "NGAS_FILE_ID")
        self._hold("ASA_DELIVERY_STATUS", "DELIVERY_NAME", deliveries)
        self._hold("AQUA_OUS", "OUS_STATUS_ENTITY_ID", uids)


def _read_only(connection: Any, _record: object) -> None:
    """Make a connection refuse to write, where the database can."""
    statements = {"sqlite3": "PRAGMA query_only = ON", "psycopg": "SET default_transaction_read_only = on"}
    statement = next(
        (s for module, s in statements.items() if type(connection).__module__.startswith(module)), None
    )
    if statement is not None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        connection.commit()


def _reference(row: Mapping[str, Any]) -> UnitRef | None:
    project, part = row.get("OBS_PROJECT_ID"), row.get("DOMAIN_ENTITY_ID")
    return UnitRef(EntityUid(Uid.parse(project)), part) if project and part else None


def _product_file(name: str, kind: str | None) -> ProductFile:
    return ProductFile(safe_name(name), kind or "")


def _one_date(mous: StatusUid, values: Iterable[object]) -> datetime | None:
    """The release date of deliveries of one name; None without one, `MetadataError` if they disagree."""
    dates = {_time(value) for value in values}
    if len(dates) > 1:
        raise MetadataError(f"{mous} has deliveries of different release dates")
    return dates.pop() if dates else None


def _time(value: object) -> datetime | None:
    if isinstance(value, datetime):
        try:
            return utc(value)
        except Error:
            return read_utc(value.isoformat())  # databases without time zones hold UTC
    return read_utc(None if value is None else str(value))


def _qa0(value: object) -> Qa0:
    return _QA0.get(str(value or "").lower(), Qa0.UNSET)
