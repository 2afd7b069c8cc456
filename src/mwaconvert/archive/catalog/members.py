"""Unit sets and member sets of the catalogue, and passes over all of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from mwaconvert.archive.catalog import rows
from mwaconvert.archive.catalog.database import Database
from mwaconvert.archive.catalog.trail import Action, of_entry
from mwaconvert.archive.identifiers import StatusUid, Uid
from mwaconvert.archive.sources.snapshot import Change, MemberSnapshot, NewMember, changes_since
from mwaconvert.archive.units import Deliveries, Delivery, Level, UnitSet, check_sessions
from mwaconvert.errors import InputError, MetadataError

#: values of one statement, of which databases allow some thousands
_AT_ONCE = 500
_FLAGS = ("official", "complete", "separate")


class Members(Database):
    """What an archive has observed."""

    def put_units(self, project: str, units: Iterable[tuple[UnitSet, Level]], at: datetime) -> None:
        """Put unit sets above members, each after the one that contains it; known ones get their new state."""
        units = list(units)
        fresh: dict[str, dict[str, Any]] = {}
        with self._writing() as connection:
            known = self._known(connection, [unit.status_uid for unit, _ in units])
            for unit, level in units:
                row = rows.of_unit(project, unit, level, at)
                if str(unit.status_uid) in known:
                    self._put(connection, "obs_unit_set", row)
                else:
                    fresh[str(unit.status_uid)] = row
            self._insert(connection, "obs_unit_set", list(fresh.values()))

    def put_member(self, project: str, look: MemberSnapshot, at: datetime) -> tuple[Change, ...]:
        """Put a member set as it is seen now; what changed since the last look, nothing for a new one.

        Raises
        ------
        MetadataError
            A parent that is not in the catalogue, an execution block in two of its sessions, a scheduling block or
            part id that another set has.
        """
        mous = str(look.unit.status_uid)
        check_sessions(look.unit.sessions)
        with self._one_owner(mous), self._writing() as connection:
            known = self._known(connection, [look.unit.status_uid, look.unit.parent])
            _check_parent(look, known)
            if mous in known:
                return self._put_member(connection, project, look, at)
            self._insert_members(connection, [NewMember(project, look)], at)
        return ()

    def enter(self, new: Sequence[NewMember], actor: str, at: datetime) -> list[NewMember]:
        """Put in member sets that are new, the sets that contain them and the audit trail: all of it, or nothing.

        Returns
        -------
        those that entered: another pass may have brought some of them in between

        Raises
        ------
        MetadataError
            As `put_member`.
        """
        above = {unit.status_uid: (m.project, unit, level) for m in new for unit, level in m.above}
        parents = (m.look.unit.parent for m in new)
        what = str(new[0].uid) if len(new) == 1 else f"one of {len(new)} member sets"
        with self._one_owner(what), self._writing() as connection:
            known = self._known(connection, [*above, *parents, *(m.uid for m in new)])
            new = [m for m in new if str(m.uid) not in known]
            units = [
                rows.of_unit(project, unit, level, at)
                for uid, (project, unit, level) in above.items()
                if str(uid) not in known
            ]
            known |= {row["status_uid"] for row in units}
            for member in new:
                check_sessions(member.look.unit.sessions)
                _check_parent(member.look, known)
            self._insert(connection, "obs_unit_set", units)
            self._insert_members(connection, new, at)
            told = [of_entry(Action.CHANGED, str(m.uid), actor, at, detail=m.words) for m in new]
            self._insert(connection, "audit", told)
        return new

    @contextmanager
    def _one_owner(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._clashes:
            raise MetadataError(
                f"{what} has a scheduling block, execution block or part id that another set has"
            ) from None

    def _known(self, connection: Any, uids: Iterable[StatusUid | None]) -> set[str]:
        """Those of the sets that are there."""
        column = self._t["obs_unit_set"].c.status_uid
        names = sorted({str(uid) for uid in uids if uid is not None})
        found: set[str] = set()
        for start in range(0, len(names), _AT_ONCE):
            query = self._sql.select(column).where(column.in_(names[start : start + _AT_ONCE]))
            found.update(row[0] for row in connection.execute(query))
        return found

    def _insert_members(self, connection: Any, new: Iterable[NewMember], at: datetime) -> None:
        """Put in sets with what they contain, a statement for each table, each after those it refers to."""
        tables: dict[str, list[dict[str, Any]]] = {}
        for member in new:
            for table, found in _rows_of_new(member.project, member.look, at).items():
                tables.setdefault(table, []).extend(found)
        for table, found in tables.items():
            self._insert(connection, table, found)

    def _put_member(
        self, connection: Any, project: str, look: MemberSnapshot, at: datetime
    ) -> tuple[Change, ...]:
        """Put a set that is there as it is seen now."""
        mous = str(look.unit.status_uid)
        old = self._member(connection, mous)
        self._put(connection, "obs_unit_set", rows.of_member(project, look, at))
        for table in ("session_eb", "obs_session", "exec_block", "sched_block"):
            self._delete(connection, table, mous=mous)
        self._delete(connection, "product_file", owner=mous)
        for table, found in rows.of_contents(look).items():
            self._insert(connection, table, found)
        if old.release_date != look.release_date:
            delivery = Delivery(at, look.release_date, "changed")
            self._put(connection, "delivery", rows.of_delivery(mous, delivery))
        return changes_since(old, look, at)

    def member(self, mous: StatusUid) -> MemberSnapshot:
        """A member set as it was last seen; `InputError` for one the catalogue does not know."""
        with self._reading() as connection:
            return self._member(connection, str(mous))

    def _member(self, connection: Any, mous: str) -> MemberSnapshot:
        unit = self._rows(connection, "obs_unit_set", status_uid=mous)
        if not unit:
            raise InputError(f"{mous} is not in the catalogue")
        contents = {
            table: self._rows(connection, table, order=order, mous=mous)
            for table, order in (("sched_block", "uid"), ("obs_session", "ordinal"), ("exec_block", "start"))
        }
        contents["session_eb"] = self._rows(connection, "session_eb", order="position", mous=mous)
        contents["product_file"] = self._rows(connection, "product_file", order="name", owner=mous)
        return rows.to_member(unit[0], self._chain(connection, mous)[1:], contents)

    def chain(self, uid: StatusUid) -> tuple[StatusUid, ...]:
        """A unit set and those that contain it, up to the top; empty if it is not known."""
        with self._reading() as connection:
            return self._chain(connection, str(uid))

    def _chain(self, connection: Any, uid: str) -> tuple[StatusUid, ...]:
        sql, units = self._sql, self._t["obs_unit_set"]
        start = sql.select(units.c.status_uid, units.c.parent, sql.literal(0).label("depth"))
        walk = start.where(units.c.status_uid == uid).cte("walk", recursive=True)
        step = sql.select(units.c.status_uid, units.c.parent, walk.c.depth + 1)
        walk = walk.union_all(step.where(units.c.status_uid == walk.c.parent, walk.c.depth < 64))
        found = connection.execute(sql.select(walk.c.status_uid).order_by(walk.c.depth))
        return tuple(StatusUid(Uid.parse(row[0])) for row in found)

    def project_of(self, uid: StatusUid) -> str:
        """The code of the project of a unit set; `InputError` for one the catalogue does not know."""
        with self._reading() as connection:
            found = self._rows(connection, "obs_unit_set", status_uid=str(uid))
        if not found:
            raise InputError(f"{uid} is not in the catalogue")
        return str(found[0]["project"])

    def find(self, name: str) -> tuple[StatusUid, ...]:
        """Member sets that go by a name elsewhere; an execution block may be in several.

        Parameters
        ----------
        name : uid of the set, of its scheduling block, the status of that, or an execution block, in either form; or a
            name that holds one, of a delivery or file

        Raises
        ------
        InputError
            A name without a uid.
        """
        uid = Uid.within(name) or Uid.parse(name)
        units, blocks, runs = (self._t[table] for table in ("obs_unit_set", "sched_block", "exec_block"))
        member, text = units.c.level == Level.MEMBER.value, str(uid)
        queries = (
            self._sql.select(units.c.status_uid).where(member, units.c.status_uid == text),
            self._sql.select(blocks.c.mous).where((blocks.c.uid == text) | (blocks.c.status_uid == text)),
            self._sql.select(runs.c.mous).where(runs.c.uid == text),
        )
        with self._reading() as connection:
            found = {row[0] for row in connection.execute(self._sql.union(*queries))}
        return tuple(sorted(StatusUid(Uid.parse(mous)) for mous in found))

    def members(self) -> dict[StatusUid, str]:
        """All member sets, with the codes of their projects."""
        units = self._t["obs_unit_set"]
        query = self._sql.select(units.c.status_uid, units.c.project)
        with self._reading() as connection:
            found = connection.execute(query.where(units.c.level == Level.MEMBER.value))
            return {StatusUid(Uid.parse(row[0])): row[1] for row in found}

    def looks(self) -> dict[StatusUid, rows.Look]:
        """Short looks at all member sets, as they were last seen."""
        units = self._t["obs_unit_set"]
        query = self._sql.select(units).where(units.c.level == Level.MEMBER.value)
        with self._reading() as connection:
            found = connection.execute(query).mappings()
            return {StatusUid(Uid.parse(row["status_uid"])): rows.to_look(row) for row in found}

    def projects(self) -> tuple[str, ...]:
        """Codes of all projects."""
        column = self._t["obs_unit_set"].c.project
        with self._reading() as connection:
            return tuple(
                row[0] for row in connection.execute(self._sql.select(column).distinct().order_by(column))
            )

    def tree(self, project: str) -> tuple[tuple[StatusUid, StatusUid | None, str, int], ...]:
        """Unit sets of a project from the top: uid, parent, state, number of execution blocks."""
        sql, units, blocks = self._sql, self._t["obs_unit_set"], self._t["exec_block"]
        count = sql.select(sql.func.count()).where(blocks.c.mous == units.c.status_uid).scalar_subquery()
        query = sql.select(units.c.status_uid, units.c.parent, units.c.state, count)
        query = query.where(units.c.project == project).order_by(units.c.status_uid)
        with self._reading() as connection:
            return tuple(
                (StatusUid(Uid.parse(r[0])), None if r[1] is None else StatusUid(Uid.parse(r[1])), r[2], r[3])
                for r in connection.execute(query)
            )

    def update(
        self, looks: Mapping[StatusUid, rows.Look], actor: str, at: datetime
    ) -> dict[StatusUid, tuple[str, ...]]:
        """One pass over short looks at many member sets: write what changed and the audit trail, tell it in words.

        Sets that the catalogue does not know are left out: they enter whole.
        """
        units = self._t["obs_unit_set"]
        told: dict[StatusUid, tuple[str, ...]] = {}
        changed: list[tuple[Any, ...]] = []
        moved: list[dict[str, Any]] = []
        date, seen = rows.SHORT.index("release_date"), rows.iso(at)
        with self._writing() as connection:
            columns = [units.c.status_uid, *(units.c[name] for name in rows.SHORT)]
            query = self._sql.select(*columns).where(units.c.level == Level.MEMBER.value)
            known = {row[0]: tuple(row[1:]) for row in connection.execute(query)}
            for uid, look in looks.items():
                name, new = str(uid), look.values
                old = known.get(name)
                if old is None or old == new:
                    continue
                told[uid] = rows.differences(old, new)
                changed.append((name, *new, seen))
                if old[date] != new[date]:
                    delivery = Delivery(at, look.release_date, "changed")
                    moved.append(rows.of_delivery(name, delivery))
            self._write_looks(connection, changed)
            self._insert(connection, "delivery", moved)
            entries = [
                of_entry(Action.CHANGED, str(uid), actor, at, detail="; ".join(words))
                for uid, words in told.items()
            ]
            self._insert(connection, "audit", entries)
        return told

    def _write_looks(self, connection: Any, changed: list[tuple[Any, ...]]) -> None:
        """All rows in one statement and one parameter: a statement for each row takes most of a pass."""
        names = (*rows.SHORT, "seen_at")
        given = self._table_of(("uid", *names), changed)
        sets = ", ".join(f"{name} = given.{name}" for name in names)
        sql = f"UPDATE obs_unit_set SET {sets} FROM {given[0]} WHERE status_uid = given.uid"
        connection.execute(self._sql.text(sql), {"given": given[1]})

    def _table_of(self, names: tuple[str, ...], values: list[tuple[Any, ...]]) -> tuple[str, str]:
        """Rows as the table `given` of a statement, and the text of its parameter."""
        if self._is_sqlite:
            columns = ", ".join(f"json_extract(value, '$[{n}]') AS {name}" for n, name in enumerate(names))
            return f"(SELECT {columns} FROM json_each(:given)) AS given", json.dumps(values)
        columns = ", ".join(f"{name} {'boolean' if name in _FLAGS else 'text'}" for name in names)
        rows_ = [dict(zip(names, row, strict=True)) for row in values]
        return f"json_to_recordset(CAST(:given AS json)) AS given({columns})", json.dumps(rows_)

    def deliveries(self, mous: StatusUid) -> Deliveries:
        """Release dates of a member set as they were seen."""
        with self._reading() as connection:
            found = self._rows(connection, "delivery", order="observed_at", mous=str(mous))
        return Deliveries(tuple(rows.to_delivery(row) for row in found))


def _check_parent(look: MemberSnapshot, known: Collection[str]) -> None:
    if look.unit.parent is not None and str(look.unit.parent) not in known:
        raise MetadataError(
            f"{look.unit.status_uid} has the parent {look.unit.parent}, which is not in the catalogue"
        )


def _rows_of_new(project: str, look: MemberSnapshot, at: datetime) -> dict[str, list[dict[str, Any]]]:
    """Rows of a set that was not there, each table after those it refers to."""
    delivery = rows.of_delivery(str(look.unit.status_uid), Delivery(at, look.release_date, ""))
    return {
        "obs_unit_set": [rows.of_member(project, look, at)],
        **rows.of_contents(look),
        "delivery": [delivery],
    }
