"""What is left when a run ends early: nothing under the final names, a clear error, and the old output."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mwaconvert
from mwaconvert.errors import FormatError, InputError, ResourceError

OUTPUTS = ["a.uvfits", "a.ms"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def start(code, *arguments, cwd):
    """Python code in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# The command line, held up as soon as the first block has been made.
HELD_UP = """
import sys, time
from mwaconvert.cli.progress import Progress

def hold(self, stage, done, total):
    print("under way", flush=True)
    time.sleep(60)

Progress.__call__ = hold
from mwaconvert.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("stop", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGKILL", -9)]
)
def test_stopped_from_outside(mwax, tmp_path, stop, code):
    process = start(HELD_UP, mwax.metafits, "-o", OUTPUTS[0], "-o", OUTPUTS[1], cwd=tmp_path)
    assert process.stdout.readline() == "under way\n"
    temporary = names(tmp_path)
    assert sorted(name for part in temporary for name in names(tmp_path / part) if name != "lock") == sorted(
        OUTPUTS
    )
    process.send_signal(getattr(signal, stop))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in errors
    if stop == "SIGKILL":
        # nobody could tidy up, but nothing has a final name; the next run does it
        assert names(tmp_path) == temporary
        mwaconvert.convert(mwax.metafits, [tmp_path / name for name in OUTPUTS])
        assert names(tmp_path) == sorted(OUTPUTS)
    else:
        assert names(tmp_path) == []
        if stop == "SIGINT":
            assert "interrupted; no output was left half-written" in errors


def test_an_error_half_way(mwax, tmp_path):
    def fail(stage, done, total):
        raise ZeroDivisionError

    plan = mwaconvert.open(mwax.metafits).plan()
    with pytest.raises(ZeroDivisionError):
        plan.run([tmp_path / name for name in OUTPUTS], progress=fail)
    assert names(tmp_path) == []


def test_raw_file_shrinks_under_way(observation, link_files, tmp_path):
    metafits = link_files(observation, tmp_path / "raw")
    plan = mwaconvert.open(metafits).plan()
    path = metafits.parent / observation.raw[0].name
    os.truncate(path, path.stat().st_size // 2)
    (tmp_path / "out").mkdir()
    with pytest.raises(FormatError, match=rf"{path.name}.*ends at byte \d+"):
        plan.run([tmp_path / "out" / name for name in OUTPUTS])
    assert names(tmp_path / "out") == []


# existing outputs


@pytest.mark.parametrize("name", OUTPUTS)
def test_existing_output(mwax, tmp_path, name):
    observation = mwaconvert.open(mwax.metafits)
    output = tmp_path / name
    observation.plan(flag_antennas=(1,)).run(output)
    keep = output / "table.dat" if name.endswith(".ms") else output
    before = keep.read_bytes()
    with pytest.raises(InputError, match=rf"{name}: exists already; .*`overwrite`"):
        observation.plan().run(output)

    # it stays in place until the new one is whole
    seen = []

    def look(stage, done, total):
        seen.append(keep.read_bytes())

    def fail(stage, done, total):
        raise ZeroDivisionError

    plan = observation.plan(overwrite=True)
    with pytest.raises(ZeroDivisionError):
        plan.run(output, progress=fail)
    assert keep.read_bytes() == before
    inode = output.stat().st_ino
    plan.run(output, progress=look)
    assert set(seen) == {before}
    assert names(tmp_path) == [name]
    assert output.stat().st_ino != inode


@pytest.mark.parametrize(
    "outputs", [["a.uvfits", "./a.uvfits"], ["a.ms", "b.uvfits", "a.ms"], ["a.uvfits", "b/../a.uvfits"]]
)
def test_the_same_output_twice(mwax, tmp_path, monkeypatch, outputs):
    monkeypatch.chdir(tmp_path)
    Path("b").mkdir()
    with pytest.raises(InputError, match="two outputs have the same name"):
        mwaconvert.convert(mwax.metafits, outputs)
    assert names(tmp_path) == ["b"]


def test_second_output_cannot_start(mwax, tmp_path):
    """Nothing of the first is left."""
    (tmp_path / "a.ms").mkdir()
    with pytest.raises(InputError, match=r"a\.ms: exists already"):
        mwaconvert.convert(mwax.metafits, [tmp_path / "b.uvfits", tmp_path / "a.ms"])
    assert names(tmp_path) == ["a.ms"]
    with pytest.raises(InputError, match=r"end the name in \.uvfits, \.ms, \.uvh5 or \.mwaf"):
        mwaconvert.convert(mwax.metafits, [tmp_path / "b.uvfits", tmp_path / "a.fits"])
    assert names(tmp_path) == ["a.ms"]


# disks


@pytest.mark.parametrize("name", OUTPUTS)
def test_no_permission(mwax, tmp_path, name, request):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):  # root may write anywhere but on a disk that nobody may write on
        folder = request.getfixturevalue("small_disk")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    with pytest.raises(ResourceError, match=rf"{name}: no permission to write in {folder}"):
        mwaconvert.convert(mwax.metafits, folder / name)
    with pytest.raises(ResourceError, match=r"its directory .*nowhere does not exist"):
        mwaconvert.convert(mwax.metafits, tmp_path / "nowhere" / name)


@pytest.mark.parametrize("name", OUTPUTS)
def test_output_larger_than_the_disk(simulated, small_disk, name):
    sim = simulated(like="mwax-128", n_tiles=40, fine_khz=40.0, duration_s=60.0)
    with pytest.raises(
        ResourceError, match=r"the output needs 0\.\d+ GB, but only 0\.0\d+ GB are free; average more"
    ):
        mwaconvert.convert(sim.metafits, small_disk / name)
    assert names(small_disk) == []


# In a process of its own: casacore ends the process if it cannot flush. Another program fills the disk under way.
FILLED = """
import sys
from pathlib import Path
from mwaconvert.cli.progress import Progress

def fill(self, stage, done, total):
    with Path("other").open("ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass

Progress.__call__ = fill
from mwaconvert.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("name", OUTPUTS)
def test_disk_fills_up(simulated, small_disk, name):
    sim = simulated(like="mwax-128", n_tiles=40, fine_khz=40.0, duration_s=12.0)
    process = start(FILLED, sim.metafits, "-o", name, "-q", cwd=small_disk)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert name in errors
    assert "no space left" in errors.lower()
    assert len(errors.strip().splitlines()) == 1
    assert names(small_disk) == ["other"]
