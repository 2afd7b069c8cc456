"""Lines of a job file: one job a line, in cells key=value. What the words mean is not known here.

The readers of the released `mwa_client` and of this project differ in what they forgive: `strict` is theirs.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

_BOM = b"\xef\xbb\xbf"
_COMMENT = re.compile(r"(?:^|(?<=[\s,]))#.*")


class JobKind(StrEnum):
    """What a job does, by its letter in a job file."""

    CONVERSION = "c"
    DOWNLOAD = "d"
    VOLTAGES = "v"
    BEAMFORMER = "b"
    IMAGING = "i"


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong with a job file, and where. Lines and columns count from 1."""

    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


@dataclass(frozen=True)
class Cell:
    """One key=value; `column` is where it begins in its line."""

    key: str
    value: str
    column: int


@dataclass(frozen=True)
class Row:
    """One job as written, without its job_type."""

    line: int
    kind: JobKind
    cells: tuple[Cell, ...]

    @property
    def params(self) -> Mapping[str, str]:
        """Values by key; of a key given twice, the last."""
        return {cell.key: cell.value for cell in self.cells}


def read_rows(data: bytes, *, strict: bool = False) -> tuple[tuple[Row, ...], tuple[Problem, ...]]:
    """Take a job file apart.

    Parameters
    ----------
    data : UTF-8
    strict : refuse what the released mwa_client refuses: tabs, lines of blanks, cells with nothing in them,
        comments behind a job, a byte order mark

    Returns
    -------
    rows, and all problems, in the order of lines

    Examples
    --------
    >>> rows, problems = read_rows(b"obs_id=1110103576, job_type=d, download_type=vis")
    >>> rows[0].kind, dict(rows[0].params)
    (<JobKind.DOWNLOAD: 'd'>, {'obs_id': '1110103576', 'download_type': 'vis'})
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    if not strict:
        data = data.removeprefix(_BOM)
    for number, raw in enumerate(data.splitlines(), 1):
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            problems.append(Problem(number, error.start + 1, "not UTF-8 text; save the file as UTF-8"))
            continue
        text = line if strict else _COMMENT.sub("", line)
        if not (line if strict else text.strip(" \t,")) or line.strip().startswith("#"):
            continue
        row, found = _read_row(number, text, strict=strict)
        problems += found
        if row is not None:
            rows.append(row)
    return tuple(rows), tuple(problems)


def _read_row(number: int, line: str, *, strict: bool) -> tuple[Row | None, list[Problem]]:
    problems: list[Problem] = []
    cells: list[Cell] = []
    kind: JobKind | None = None
    known = True
    for text, column in _split(line, strict=strict):
        key, equals, value = text.partition("=")
        if not text and not strict:
            continue
        if not equals or "=" in value:
            problems.append(Problem(number, column, "invalid cell format, must be key=value"))
        elif key == "job_type" and value:
            known = value in list(JobKind)
            if known:
                kind = JobKind(value)
            else:
                problems.append(
                    Problem(number, column, f"unknown job_type {value}; expected c, d, v, b or i")
                )
        elif key and value:
            cells.append(Cell(key, value, column))
    if kind is None and known:
        problems.append(Problem(number, 1, "job_type cell not defined"))
    return (None if problems or kind is None else Row(number, kind, tuple(cells))), problems


def _split(line: str, *, strict: bool) -> list[tuple[str, int]]:
    """Cells of a line without their blanks, and the columns where they begin."""
    found = []
    at = 0
    for cell in next(csv.reader([line], skipinitialspace=not strict), []):
        start = line.find(cell, at)
        start = at if start < 0 else start  # a cell with quotes in it
        at = start + len(cell)
        blanks = len(cell) - len(cell.lstrip())
        found.append((cell.replace(" ", "") if strict else re.sub(r"\s+", "", cell), start + blanks + 1))
    return found
