"""A process that converted may fork: the child can convert, and ends."""

import subprocess
import sys

CODE = """
import os, sys, time
from pathlib import Path
import mwaconvert

metafits = sys.argv[1]
for k in range(300):
    mwaconvert.convert(metafits, "a.uvfits", overwrite=True, rfi="none", threads=2)
whole = Path("a.uvfits").read_bytes()
child = os.fork()
if child == 0:
    mwaconvert.convert(metafits, "b.uvfits", threads=2, rfi="none")
    mwaconvert.convert(metafits, "c.uvfits", threads=2)
    os._exit(0 if len(Path("b.uvfits").read_bytes()) == len(whole) else 1)
deadline = time.monotonic() + 240
while time.monotonic() < deadline:
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.01)
os.kill(child, 9)
sys.exit("the child hangs")
"""


def test_fork_after_300_conversions_ends(tmp_path):
    from mwaconvert.simulate import simulate

    sim = simulate(tmp_path / "obs", "mwax-128", n_tiles=2, duration_s=4, coarse_channels=1, fine_khz=320.0)
    done = subprocess.run(
        [sys.executable, "-c", CODE, sim.metafits], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c.uvfits").exists()
    assert (tmp_path / "a.uvfits").stat().st_size == (tmp_path / "b.uvfits").stat().st_size
