"""Times of the archive's catalogue and of comparing measurement sets: python benchmarks/archive.py [URL]

The catalogue holds 10 000 member sets and 100 000 execution blocks, in SQLite unless the URL of an empty database is
given. Two measurement sets of half a gigabyte are written by python-casacore, read through arcae, then compared.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from mwaconvert.archive.catalog import Catalog, Look, Run, RunState
from mwaconvert.archive.compare import compare_measurement_sets
from mwaconvert.archive.identifiers import EntityUid, ExecBlockUid, StatusUid, Uid
from mwaconvert.archive.sources.snapshot import MemberSnapshot, NewMember
from mwaconvert.archive.units import ExecBlock, Level, ProductFile, SchedBlock, Session, UnitSet

PROJECT, N_MEMBERS, N_ROWS = "2017.1.00886.L", 10_000, 150_000
NOW = datetime(2018, 6, 1, tzinfo=UTC)


def status(document: int, part: int) -> StatusUid:
    return StatusUid(Uid("A001", f"X{document:x}", f"X{part:x}"))


def best(name: str, do: Callable[[], object], repeat: int = 3) -> float:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        do()
        times.append(time.perf_counter() - start)
    print(f"{name:<48}{min(times):9.3f} s")
    return min(times)


def member(number: int, group: StatusUid) -> MemberSnapshot:
    block = EntityUid(Uid("A001", "X5", f"X{number:x}"))
    executions = [ExecBlockUid(Uid("A002", f"X{number:x}", f"X{k:x}")) for k in range(10)]
    sessions = (Session(1, tuple(executions[:5])), Session(2, tuple(executions[5:])))
    unit = UnitSet(
        status(4, number), "Delivered", parent=group, block_statuses=(status(6, number),), sessions=sessions
    )
    return MemberSnapshot(
        unit,
        sched_blocks=(SchedBlock(block, status(6, number)),),
        exec_blocks=tuple(ExecBlock(uid, block, NOW) for uid in executions),
        files=(ProductFile("a.fits", "science"),),
        release_date=NOW,
        qa2="Pass",
    )


def catalogue(url: str) -> None:
    """Fill a catalogue as the program does, then time what is asked of it."""
    with Catalog(url) as catalog:
        groups = [status(3, n) for n in range(1000)]
        above = [(UnitSet(status(1, 1), "Processing"), Level.PROGRAM)]
        above += [(UnitSet(uid, "Processing", parent=status(1, 1)), Level.GROUP) for uid in groups]
        catalog.put_units(PROJECT, above, NOW)
        members = [member(number, groups[number % 1000]) for number in range(N_MEMBERS)]
        looks = {m.unit.status_uid: Look("Delivered", "Pass", NOW, m.calibration) for m in members}
        new = [NewMember(PROJECT, m) for m in members]
        best("10 000 member sets put in", lambda: catalog.enter(new, "bench", NOW), repeat=1)
        for number in range(1000):
            state = RunState.WAITING if number % 2 else RunState.RUNNING
            catalog.put_run(Run(f"run{number}", "srdp", str(status(4, number)), state=state), (), NOW)
        best("tree of the project, 11001 sets", lambda: catalog.tree(PROJECT))
        best("one member set", lambda: catalog.member(status(4, 77)))
        best("QA queue of 500", catalog.qa_queue)
        best("update pass, nothing changed", lambda: catalog.update(looks, "bench", NOW))
        passes = iter(range(1, 100))

        def changed() -> None:
            day = next(passes)
            new = {
                uid: dataclasses.replace(look, qa2=f"pass {day}") for uid, look in list(looks.items())[::100]
            }
            catalog.update(looks | new, "bench", NOW + timedelta(days=day))

        best("update pass, 100 changed", changed)

        def all_changed() -> None:
            day = next(passes)
            at = NOW + timedelta(days=day)
            new = {
                uid: dataclasses.replace(look, qa2=f"pass {day}", release_date=at)
                for uid, look in looks.items()
            }
            start = time.perf_counter()
            catalog.update(new, "bench", at)
            times.append(time.perf_counter() - start)

        times: list[float] = []
        best("update pass, all changed, and the looks made", all_changed)
        print(f"{'update pass, all changed':<48}{min(times):9.3f} s")


def write_set(path: Path) -> None:
    from casacore.tables import default_ms, makearrcoldesc, maketabdesc, required_ms_desc

    shape = [64, 4]
    description = required_ms_desc()
    description.update(
        maketabdesc(
            [
                makearrcoldesc("DATA", 0j, ndim=2, valuetype="complex", shape=shape),
                makearrcoldesc("WEIGHT_SPECTRUM", 0.0, ndim=2, valuetype="float", shape=shape),
            ]
        )
    )
    description["FLAG"].update(shape=shape, option=4)
    managers = {
        f"*{n}": {
            "NAME": f"T{c}",
            "TYPE": "TiledColumnStMan",
            "SPEC": {"DEFAULTTILESHAPE": [4, 64, 64]},
            "COLUMNS": [c],
        }
        for n, c in enumerate(("DATA", "FLAG", "WEIGHT_SPECTRUM"))
    }
    random = np.random.default_rng(0)
    with default_ms(str(path), description, managers) as ms:
        ms.addrows(N_ROWS)
        for start in range(0, N_ROWS, 10_000):
            values = random.normal(size=(10_000, *shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
            ms.putcol("DATA", values, start, 10_000)
            ms.putcol("FLAG", random.random((10_000, *shape)) < 0.1, start, 10_000)
            ms.putcol("WEIGHT_SPECTRUM", np.ones((10_000, *shape), np.float32), start, 10_000)
        ms.putcol("ANTENNA1", np.arange(N_ROWS) % 128)
        ms.putcol("TIME", np.arange(N_ROWS) // 128 * 1.0)
        for name in ("WEIGHT", "SIGMA"):
            ms.putcol(name, np.ones((N_ROWS, 4), np.float32))


def read_set(path: Path) -> None:
    """All columns of the main table, as fast as it goes: pieces of 2 MiB into memory that is used again."""
    from arcae.lib.arrow_tables import Table

    table = Table.from_filename(str(path), readonly=True)
    for column in table.columns():
        if column == "FLAG_CATEGORY":  # never written
            continue
        first = table.getcol(column, index=(np.arange(1),))
        step, held = (2 << 20) // first.nbytes, None
        for start in range(0, N_ROWS, step):
            rows = np.arange(start, min(N_ROWS, start + step))
            found = table.getcol(column, index=(rows,), result=None if held is None else held[: len(rows)])
            held = found if held is None else held


def comparison(folder: Path) -> None:
    """Reading both sets, and comparing them."""
    one, two = folder / "a.ms", folder / "b.ms"
    write_set(one)
    shutil.copytree(one, two)
    reading = best("reading both sets", lambda: (read_set(one), read_set(two)))
    comparing = best("comparing them, all tables", lambda: compare_measurement_sets(one, two))
    print(f"speed of reading kept: {reading / comparing:.2f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        catalogue(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{scratch}/archive.db")
        comparison(Path(scratch))
