"""Another program cuts an input while it is read: a sentence, and no process that a signal ends (SIGBUS)."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from chime_files import chunk_items, write_chunk

import mwaconvert
from mwaconvert.formats.spectra.presto import SeriesInfo, write_series
from mwaconvert.formats.spectra.psrfits_writer import SearchWriter
from mwaconvert.simulate import simulate

#: open, cut, read what is gone
_WORK = {
    "series": "s = open_stream(path); cut(); s.spectra(1 << 19, 10)",
    "chunks": "s = open_stream(path); cut(); s.waterfall(1.0, 128)",
    "chunks by value": "s = open_stream(path); cut(); s.spectra()",
    "search mode": "s = open_stream(path); cut(); s.spectra(900, 100)",
    "flags": "f = read_flag_files([path])[0]; cut(); f.unpacked(f.n_times - 1)",
    "uvfits": "f = open_visibilities(path); cut(); all(f.blocks())",
}
_CHILD = """
import os, sys
from pathlib import Path
from mwaconvert.errors import FormatError
from mwaconvert.formats.mwaf import read_flag_files
from mwaconvert.formats.visibilities.reader import open_visibilities
from mwaconvert.transients import open_stream
path = Path(sys.argv[1])
def cut(): os.truncate(path, path.stat().st_size // 4)
try:
    {work}
    print("whole")
except FormatError as error:
    print(error)
"""


def _make(kind: str, folder: Path) -> Path:
    rng = np.random.default_rng(1)
    if kind == "series":
        n = 1 << 20
        write_series(
            folder / "a.dat", SeriesInfo(1e-3, n, 0.0, 1400.0, 1.0, 1, 59000.0), [np.ones(n, np.float32)]
        )
        return folder / "a.dat"
    if kind.startswith("chunks"):
        return write_chunk(folder, chunk_items(rng.integers(0, 256, (16384, 64), dtype=np.uint8), 0))
    if kind == "search mode":
        with SearchWriter(folder / "a.sf", 1400.0 + np.arange(64), 1e-3, 32) as out:
            out.write(rng.normal(size=(64, 1000)).astype(np.float32))
        return folder / "a.sf"
    sim = simulate(folder / "raw", "mwax-128", n_tiles=32, duration_s=16, coarse_channels=1, noise_jy=3)
    mwaconvert.convert(sim.metafits, folder / {"flags": "a_%%%.mwaf", "uvfits": "a.uvfits"}[kind])
    return next(folder.glob("a*"))


@pytest.mark.parametrize("kind", _WORK)
def test_cut_while_it_is_read(tmp_path, kind):
    path = _make(kind, tmp_path)
    words = [sys.executable, "-c", _CHILD.format(work=_WORK[kind]), str(path)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    said = f"{path}: " + ("the file ends at byte" if kind == "chunks" else "became shorter while it was read")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(said)
