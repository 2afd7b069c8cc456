"""How a run of CASA is judged.

Its exit status proves nothing: a pipeline leaves an empty ``errorexit-*.txt`` in the working folder and returns as if
all were well.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mwaconvert.archive.identifiers import execution_name
from mwaconvert.archive.layouts import Layout

_SEVERE = re.compile(r"\tSEVERE\t|^Traceback \(most recent call last\)|^\*\*\* Error", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `reasons` say why it failed; `severe` are the log lines worth reading, the first few."""

    reasons: tuple[str, ...]
    severe: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        """Whether everything that proves success is there."""
        return not self.reasons


def judge_pipeline_run(layout: Layout, logs: Sequence[Path] = ()) -> Outcome:
    """Judge the run of a request: no errorexit file, a manifest and products are there. Exit status is not asked."""
    reasons = _error_exits(layout)
    products = [p for p in layout.products.glob("*") if p.is_file()] if layout.products.is_dir() else []
    if not any(p.name.endswith("pipeline_manifest.xml") for p in products):
        reasons.append(f"no pipeline manifest in {layout.products.name}")
    if all(p.name.endswith(("pipeline_manifest.xml", ".txt")) for p in products):
        reasons.append(f"no products in {layout.products.name}")
    return Outcome(tuple(reasons), _severe_lines(logs))


def judge_restore(layout: Layout, executions: Collection[str], logs: Sequence[Path] = ()) -> Outcome:
    """Judge a restore: no errorexit file, and a measurement set of each execution block, whatever its ending.

    Parameters
    ----------
    executions : names on disk of the execution blocks that had to be restored
    """
    reasons = _error_exits(layout)
    if not executions:
        reasons.append("no execution block was to be restored")
    folder = layout.measurement_sets
    found = (
        {execution_name(p.parent.name) for p in folder.rglob("*.ms/table.dat")} if folder.is_dir() else set()
    )
    reasons += [f"no measurement set of {name} in {folder.name}" for name in executions if name not in found]
    return Outcome(tuple(reasons), _severe_lines(logs))


def _error_exits(layout: Layout) -> list[str]:
    folders = dict.fromkeys((layout.working, layout.products, layout.script))
    marks = [mark for folder in folders if folder.is_dir() for mark in sorted(folder.glob("errorexit-*.txt"))]
    return [f"{mark.parent.name}/{mark.name}: the pipeline stopped with an error" for mark in marks]


def _severe_lines(logs: Sequence[Path], most: int = 20) -> tuple[str, ...]:
    lines: list[str] = []
    for log in logs:
        with log.open(errors="replace") as file:
            for line in file:
                if _SEVERE.search(line) and len(lines) < most:
                    lines.append(line.rstrip("\n"))
    return tuple(lines)
