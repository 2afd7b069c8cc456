"""Disks that fill up at any moment: one sentence, exit code 2, and nothing half-written; in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Another program fills the disk just before the n-th call of a method of the table under way.
FILLED = """
import os, shutil, sys
from mwaconvert.formats.visibilities.casa_table import CasaTable

method, count = sys.argv[1], int(sys.argv[2])
call = getattr(CasaTable, method)

def filled(self, *arguments, **more):
    global count
    count -= 1
    if count == 0:
        with open("other", "wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    pass
    return call(self, *arguments, **more)

setattr(CasaTable, method, filled)
from mwaconvert.cli.main import main
main(sys.argv[3:])
"""


@pytest.mark.parametrize(
    ("method", "count"),
    [("close", 1), ("close", 2), ("close", 12), ("close", 16), ("put", 2), ("put", 60), ("add_rows", 12)],
)
def test_tables_that_cannot_be_flushed(small: Path, small_disk: Path, method: str, count: int) -> None:
    """casacore throws in destructors there, which ended the process by std::terminate."""
    done = subprocess.run(
        [sys.executable, "-c", FILLED, method, str(count), str(small), "-o", "a.ms", "-q"],
        cwd=small_disk,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith("mwaconvert: a.ms: no space left on its disk")
    assert [path.name for path in small_disk.iterdir()] == ["other"]


def test_the_same_run_twice_writes_the_same_bytes(small: Path, tmp_path: Path) -> None:
    """But for the times in HISTORY; what malloc hands out is filled differently."""
    for name, byte in (("a", "37"), ("b", "181")):
        (tmp_path / name).mkdir()
        code = "from mwaconvert.cli.main import main; main()"
        subprocess.run(
            [sys.executable, "-c", code, str(small), "-o", "x.ms", "-q"],
            cwd=tmp_path / name,
            env=os.environ | {"MALLOC_PERTURB_": byte},
            timeout=60,
            check=True,
        )
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*") if p.is_file())
    differ = [str(f) for f in files if (tmp_path / "a" / f).read_bytes() != (tmp_path / "b" / f).read_bytes()]
    assert differ == ["x.ms/HISTORY/table.f0"]
