"""The table of requirements in docs/archive.md names what exists, and every requirement once."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "archive.md"
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|", 2))
    for line in PAGE.read_text().splitlines()
    if re.match(r"\| \d+ \|", line)
]
#: names within a cell that are not modules
WORDS = {
    "calibrated",
    "tests/cli/test_archive.py",
    "mwaconvert archive ...",
    "mwaconvert archive compare",
    "mwaconvert archive ppr make",
    "mwaconvert archive update",
    "mwaconvert restore",
    *(f"mwaconvert srdp {verb}" for verb in ("fetch", "image", "ingest", "qa-pass", "rerun")),
}


def exists(name: str) -> bool:
    """Whether a dotted name is a module or attribute of the archive, its jobs or its face; members may be short."""
    home = {"archives": "mwaconvert.jobs.workflows", "archive": "mwaconvert.services", "jobs": "mwaconvert"}
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            base = home.get(parts[0], "mwaconvert.archive")
            found: object = importlib.import_module(".".join([base, *parts[:n]]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            holders = [found, *(value for value in vars(found).values() if isinstance(value, type))]
            holder = next((h for h in holders if hasattr(h, part)), None)
            if holder is None:
                return part in getattr(found, "__annotations__", {})
            found = getattr(holder, part)
        return True
    return False


def test_every_requirement_is_there_once() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 136))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"R{row[0]}")
def test_what_a_row_names_exists(row: tuple[str, str, str]) -> None:
    before = ""
    for span in re.findall(r"`([^`]+)`", row[2]):
        for name in (re.sub(r"\s*\(.*", "", part).strip() for part in span.split(",")):
            if name.startswith("test_"):
                assert list(HERE.parent.rglob(f"{name}.py")), name
            elif name and name not in WORDS and not name.endswith((".txt", ".py", ")")):
                # a function may follow another of its module, a class may stand without its module
                homes = ["", before.rpartition(".")[0], "units", "quality.notes", "packages"]
                assert any(exists(f"{home}.{name}".strip(".")) for home in homes), name
                before = name
