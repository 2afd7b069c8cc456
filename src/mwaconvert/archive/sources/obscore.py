"""Member sets from a table of the public TAP service (ivoa.obscore), saved as CSV.

It has no sessions, states, part ids or classes of files: enough to find sets, not to restore them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mwaconvert.archive.identifiers import ExecBlockUid, StatusUid, Uid
from mwaconvert.archive.times import parse_utc
from mwaconvert.errors import FormatError, InputError

_NEEDED = ("proposal_id", "member_ous_uid", "asdm_uid", "obs_release_date")


@dataclass(frozen=True)
class ObscoreMember:
    """A member set of the public table. `qa2_passed` is also true of sets that passed in part."""

    project: str
    mous: StatusUid
    group: StatusUid | None
    exec_blocks: tuple[ExecBlockUid, ...]
    release_date: datetime
    qa2_passed: bool

    def is_public(self, at: datetime) -> bool:
        """Whether the release date has come."""
        return self.release_date <= at


def read_obscore(path: Path) -> tuple[ObscoreMember, ...]:
    """Read member sets from a CSV file with the columns of ivoa.obscore, one row a spectral window.

    Raises
    ------
    FormatError
        A column is missing, a malformed uid or date, or rows of one set that disagree on its release date; of these
        the later date would hold, and nobody should guess.
    """
    groups: dict[str, list[tuple[int, dict[str, str]]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise FormatError(f"{path}: has no column {', '.join(missing)}; expected ivoa.obscore as CSV")
            for number, row in enumerate(reader, 2):
                groups.setdefault(row["member_ous_uid"], []).append((number, row))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path}: is no CSV in UTF-8: {error}") from None
    return tuple(_member(rows, path) for rows in groups.values())


def _member(rows: Iterable[tuple[int, dict[str, str]]], path: Path) -> ObscoreMember:
    found: ObscoreMember | None = None
    blocks: dict[ExecBlockUid, None] = {}
    for number, row in rows:
        try:
            blocks[ExecBlockUid(Uid.parse(row["asdm_uid"]))] = None
            group = row.get("group_ous_uid")
            member = ObscoreMember(
                row["proposal_id"],
                StatusUid(Uid.parse(row["member_ous_uid"])),
                StatusUid(Uid.parse(group)) if group else None,
                (),
                parse_utc(row["obs_release_date"]),
                (row.get("qa2_passed") or "").strip().upper() in ("T", "TRUE", "1"),
            )
        except InputError as error:
            raise FormatError(f"{path}: line {number}: {error}") from None
        if found is not None and member != found:
            raise FormatError(
                f"{path}: line {number}: {member.mous} disagrees with an earlier line of its own"
            )
        found = member
    if found is None:
        raise FormatError(f"{path}: has no rows")
    return ObscoreMember(
        found.project, found.mous, found.group, tuple(blocks), found.release_date, found.qa2_passed
    )
