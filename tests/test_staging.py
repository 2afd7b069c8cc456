"""What may be replaced, how names are given, and what becomes of runs that were killed."""

import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mwaconvert import staging
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.staging import Kind, StagedPath, check_input, check_target, check_targets, kind_of, sweep

PNG = b"\x89PNG\r\n\x1a\n"
TABLE = b"\xbe\xbe\xbe\xbe\0\0"
#: how files of each kind begin
HEADS = {
    "a.uvfits": b"SIMPLE  =                    T".ljust(80) + b"GROUPS  =                    T".ljust(80),
    "a.mwaf": b"SIMPLE  =                    T".ljust(80) + b"GPUBOXNO=                  131".ljust(80),
    "a.png": PNG,
    "a.pdf": b"%PDF-1.4\n",
    "a.svg": b'<?xml version="1.0"?>\n<svg>',
    "a.html": b"<!doctype html><html>",
    "a.npz": b"PK\x03\x04",
    "a.h5": b"\x89HDF\r\n\x1a\n",
    "a.fil": b"\x0c\0\0\0HEADER_START",
    "a.tim": b"\x0c\0\0\0HEADER_START",
    "a.inf": b" Data file name without suffix          =  a\n",
    "a.csv": b"# program: mwaconvert 1\n",
    "a.singlepulse": b"# DM      Sigma      Time (s)\n",
    "a.cand": b"12.1\t345\t0.345\t2\t7\t87.5\t3\t343\t347\n",
    "a.trigger": b"# beam_id batch_id\n",
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make_table(folder: Path, *parts: str) -> Path:
    for part in ("", *parts):
        (folder / part).mkdir(exist_ok=True)
        (folder / part / "table.dat").write_bytes(TABLE)
    return folder


def write(path: Path, text: str = "new", **more: object) -> None:
    with StagedPath(path, overwrite=True, **more) as staged:
        staged.temporary.write_text(text)


# what may be replaced


@pytest.mark.parametrize("name", HEADS)
def test_a_file_of_its_kind_is_replaced_and_no_other(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    kind = kind_of(path)
    path.write_bytes(HEADS[name])
    check_target(path, kind, overwrite=True)
    write(path)
    assert path.read_text() == "new"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match=f"{name}: is never replaced: it is not {kind.words}"):
        write(path)
    assert path.read_bytes() == b"precious"
    path.write_bytes(b"")  # as mktemp makes it
    check_target(path, kind, overwrite=True)


def test_reports_are_known_by_their_format(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text(json.dumps({"format": "mwaconvert report", "layout": 1}))
    check_target(path, Kind.JSON, overwrite=True)
    path.write_text(json.dumps({"format": "notes"}))
    with pytest.raises(InputError, match="not a report of mwaconvert"):
        check_target(path, Kind.JSON, overwrite=True)


def test_series_are_known_by_what_is_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(bytes(8))
    with pytest.raises(InputError, match="not a series of PRESTO"):
        check_target(path, Kind.SERIES, overwrite=True)
    (tmp_path / "a.inf").write_bytes(HEADS["a.inf"])
    check_target(path, Kind.SERIES, overwrite=True)


def test_metafits_and_raw_files_are_not_of_a_simulation_unless_they_say_so(
    small: Path, tmp_path: Path
) -> None:
    for path in small.parent.iterdir():
        check_target(path, Kind.SIMULATED if path.suffix != ".npz" else Kind.NPZ, overwrite=True)
    real = tmp_path / "1.metafits"
    real.write_bytes(small.read_bytes().replace(b"simulated by mwaconvert", b"observed by telescope  "))
    for kind in (Kind.SIMULATED, Kind.UVFITS, Kind.FLAGS, Kind.JSON):
        with pytest.raises(InputError, match="never replaced"):
            check_target(real, kind, overwrite=True)


def test_things_that_are_no_files_are_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "link.png").symlink_to("gone")
    (tmp_path / "folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.png"))
    for name, what in {
        "fifo": "a FIFO",
        "link": "a link",
        "folder": "a directory",
        "socket": "a socket",
    }.items():
        path = tmp_path / f"{name}.png"
        with pytest.raises(InputError, match=f"never replaced: it is {what}"):
            check_target(path, Kind.PNG, overwrite=True)
        with pytest.raises(InputError, match=rf"exists already; choose another name \(it is {what}"):
            check_target(path, Kind.PNG, overwrite=False)
    with pytest.raises(InputError, match="/dev/null: is never replaced"):
        check_target(Path("/dev/null"), Kind.PNG, overwrite=True)
    for path in (Path("/"), Path(".."), Path()):
        with pytest.raises(InputError, match="is a directory"):
            check_target(path, Kind.MEASUREMENT_SET, overwrite=True)


def test_directories_that_are_no_measurement_sets_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = Kind.MEASUREMENT_SET
    folder = tmp_path / "a.ms"
    folder.mkdir()
    check_target(folder, kind, overwrite=True)  # holds nothing
    (folder / "notes.txt").touch()
    with pytest.raises(InputError, match="it is a directory, but not a measurement set"):
        check_target(folder, kind, overwrite=True)
    make_table(folder, "ANTENNA")
    with pytest.raises(InputError, match=r"holds notes\.txt, which does not belong to a measurement set"):
        check_target(folder, kind, overwrite=True)
    (folder / "notes.txt").unlink()
    check_target(folder, kind, overwrite=True)
    (folder / "raw").mkdir()
    with pytest.raises(InputError, match="holds raw, which does not belong"):
        check_target(folder, kind, overwrite=True)
    (folder / "raw").rmdir()
    monkeypatch.setenv("HOME", str(folder))
    with pytest.raises(InputError, match="it is the home directory"):
        check_target(folder, kind, overwrite=True)
    (tmp_path / "b.ms").write_bytes(b"")
    with pytest.raises(InputError, match=r"b\.ms: is never replaced"):
        check_target(tmp_path / "b.ms", kind, overwrite=True)


def test_mount_points_stay(small_disk: Path) -> None:
    make_table(small_disk)
    with pytest.raises(InputError, match="another file system is mounted there"):
        check_target(small_disk, Kind.MEASUREMENT_SET, overwrite=True)
    outside = make_table(small_disk.parent / "b.ms", "SOURCE")
    mount = ["mount", "--bind", str(small_disk), str(outside / "SOURCE")]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("bind mounts are not allowed here")
    try:
        with pytest.raises(InputError, match="another file system is mounted on its SOURCE"):
            check_target(outside, Kind.MEASUREMENT_SET, overwrite=True)
    finally:
        subprocess.run(["umount", str(outside / "SOURCE")], check=True)


# inputs, and outputs among each other


@pytest.mark.parametrize("way", ["itself", "hard link", "link to its folder", "target of a link"])
def test_inputs_are_never_outputs(tmp_path: Path, way: str) -> None:
    (tmp_path / "in").mkdir()
    held = tmp_path / "in" / "a.fil"
    held.write_bytes(HEADS["a.fil"])
    read, output = held, held
    if way == "hard link":
        output = tmp_path / "b.fil"
        output.hardlink_to(held)
    elif way == "link to its folder":
        (tmp_path / "other").symlink_to("in")
        output = tmp_path / "other" / "a.fil"
    elif way == "target of a link":
        read = tmp_path / "link.fil"
        read.symlink_to(held)
    with pytest.raises(InputError, match="is an input of this run"):
        check_targets([(output, Kind.SIGPROC)], inputs=[read], overwrite=True)


def test_an_output_directory_may_not_hold_an_input(tmp_path: Path) -> None:
    folder = make_table(tmp_path / "a.ms", "SOURCE")
    raw = folder / "SOURCE" / "raw.fits"
    raw.touch()
    (tmp_path / "link.fits").symlink_to(raw)
    with pytest.raises(InputError, match=r"a\.ms: holds .*raw\.fits, an input of this run"):
        check_targets([(folder, Kind.MEASUREMENT_SET)], inputs=[tmp_path / "link.fits"], overwrite=True)


def test_outputs_differ(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    twice = [tmp_path / "a.png", tmp_path / "b" / ".." / "a.png"]
    with pytest.raises(InputError, match="two outputs have the same name"):
        check_targets([(path, Kind.PNG) for path in twice])
    inside = make_table(tmp_path / "a.ms")
    targets = [(inside, Kind.MEASUREMENT_SET), (inside / "look.png", Kind.PNG)]
    with pytest.raises(InputError, match=r"look\.png: lies within another output"):
        check_targets(targets, overwrite=True)


def test_inputs_are_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, what in {
        tmp_path / "fifo": "found a FIFO",
        tmp_path: "found a directory",
        Path("/dev/zero"): "found a device",
        tmp_path / "gone": "no such flag file",
        tmp_path / ("n" * 300): "cannot be read: File name too long",
    }.items():
        with pytest.raises((InputError, ResourceError), match=what):
            check_input(path, "flag file")


# names


@pytest.mark.parametrize("name", ["n" * 248 + ".png", "n" * 251 + ".png", "n\udcff\u03c3\n.png"])
def test_long_and_strange_names_work(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert names(tmp_path) == [name]


def test_names_that_are_too_long(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be used as a name: File name too long"):
        write(tmp_path / ("n" * 252 + ".png"))
    assert names(tmp_path) == []


@pytest.mark.parametrize("exchange", [True, False])
def test_a_measurement_set_changes_places_with_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(staging, "_renameat2", lambda *_: False)
    old = make_table(tmp_path / "a.ms", "ANTENNA")
    with StagedPath(old, overwrite=True) as staged:
        make_table(staged.temporary, "FIELD")
        assert names(old) == ["ANTENNA", "table.dat"]
    assert names(old) == ["FIELD", "table.dat"]
    assert names(tmp_path) == ["a.ms"]


@pytest.mark.parametrize("in_one_step", [True, False])
def test_two_runs_to_one_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, in_one_step: bool
) -> None:
    if not in_one_step:
        monkeypatch.setattr(staging, "_renameat2", lambda *_: False)
    path = tmp_path / "a.png"
    first = StagedPath(path, overwrite=False)
    first.temporary.write_bytes(PNG + b"first")
    with pytest.raises(InputError, match=r"a\.png: another run is writing it"):
        StagedPath(path, overwrite=False)
    second = StagedPath(path, overwrite=True)
    second.temporary.write_bytes(PNG + b"second")
    second.commit()
    with pytest.raises(InputError, match="another run has written it meanwhile; this one's is discarded"):
        first.commit()
    assert path.read_bytes() == PNG + b"second"
    third, fourth = StagedPath(path, overwrite=True), StagedPath(path, overwrite=True)
    for staged, text in ((third, b"third"), (fourth, b"fourth")):
        staged.temporary.write_bytes(PNG + text)
    third.commit()
    with caplog.at_level(logging.WARNING, "mwaconvert"):
        fourth.commit()
    assert "another run has written it meanwhile; it is replaced" in caplog.text
    assert path.read_bytes() == PNG + b"fourth"
    assert names(tmp_path) == ["a.png"]


def test_something_else_got_the_name_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    staged = StagedPath(path, overwrite=True)
    staged.temporary.write_bytes(PNG)
    path.write_text("notes of a person")
    with pytest.raises(InputError, match="it is not a PNG picture"):
        staged.commit()
    assert path.read_text() == "notes of a person"
    assert names(tmp_path) == ["a.png"]


def test_the_other_run_wins_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the name and the renaming."""
    path = tmp_path / "a.png"

    def late(source: Path, target: Path) -> None:
        target.write_bytes(PNG + b"theirs")
        raise FileExistsError

    monkeypatch.setattr(staging, "_rename_new", late)
    with StagedPath(path, overwrite=True) as staged:
        staged.temporary.write_bytes(PNG + b"ours")
    assert path.read_bytes() == PNG + b"ours"
    path.unlink()
    staged = StagedPath(path, overwrite=False)
    staged.temporary.write_bytes(PNG + b"ours")
    with pytest.raises(InputError, match="this one's is discarded"):
        staged.commit()
    assert path.read_bytes() == PNG + b"theirs"


def test_a_library_fails_again_while_it_tidies_up(tmp_path: Path) -> None:
    def draw() -> None:
        try:
            raise OSError(28, "No space left on device")
        finally:
            [].pos  # noqa: B018, as matplotlib does in its PDF files

    with (
        pytest.raises(ResourceError, match="no space left on its disk"),
        StagedPath(tmp_path / "a.pdf", False),
    ):
        draw()


def test_what_goes_wrong_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(ZeroDivisionError), StagedPath(path, overwrite=False) as staged:
        staged.temporary.write_bytes(PNG[: 1 // 0])
    with (
        pytest.raises(ResourceError, match=r"a\.png: no space left on its disk"),
        StagedPath(path, overwrite=False),
    ):
        raise OSError(28, "No space left on device")
    with (
        pytest.raises(ResourceError, match=r"a\.png: cannot be written: "),
        StagedPath(path, overwrite=False),
    ):
        pass  # nothing was written
    assert names(tmp_path) == []


# runs that were killed

HELD = """
import sys, time
from pathlib import Path
from mwaconvert.staging import StagedPath
staged = StagedPath(Path(sys.argv[1]), overwrite=True)
staged.temporary.write_text("half")
print("under way", flush=True)
time.sleep(60)
"""


def test_left_overs_are_swept_when_their_run_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HELD, str(tmp_path / "a.png")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n"
        (part,) = tmp_path.iterdir()
        assert sweep(tmp_path) == []
        process.send_signal(signal.SIGKILL)
    assert [left.path for left in sweep(tmp_path, dry_run=True)] == [part]
    assert part.exists()
    write(tmp_path / "b.png")  # of any run to the folder
    assert names(tmp_path) == ["b.png"]


def test_what_was_moved_aside_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two renames, where a file system cannot exchange names."""

    def kill(self: Path, target: Path) -> Path:
        if self.parent != tmp_path:
            raise KeyboardInterrupt
        return Path(os.rename(self, target) or target)  # noqa: PTH104, Path.rename is what is replaced

    old = make_table(tmp_path / "a.ms", "ANTENNA")
    monkeypatch.setattr(staging, "_renameat2", lambda *_: False)
    staged = StagedPath(old, overwrite=True)
    make_table(staged.temporary, "FIELD")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", kill)
        patch.setattr(StagedPath, "discard", lambda _: None)
        with pytest.raises(KeyboardInterrupt):
            staged.commit()
    assert not old.exists()
    os.close(staged._lock)
    (left,) = sweep(tmp_path)
    assert left.restored == old
    assert names(old) == ["ANTENNA", "table.dat"]
    assert names(tmp_path) == ["a.ms"]


def test_folders_of_others_stay(tmp_path: Path) -> None:
    """Of another machine, whose locks may not be seen; being made; and what only looks alike."""
    made = tmp_path / f".mwaconvert-{'0' * 8}-{'0' * 16}.part"
    made.mkdir()
    assert sweep(tmp_path) == []
    os.utime(made, (time.time() - 100, time.time() - 100))
    assert [left.path for left in sweep(tmp_path)] == [made]
    made.mkdir()
    (made / "lock").write_text("another kernel")
    assert sweep(tmp_path) == []
    long_ago = time.time() - 2 * 86400
    for path in (made / "lock", made):
        os.utime(path, (long_ago, long_ago))
    assert [left.path for left in sweep(tmp_path)] == [made]
    for name in (".mwaconvert-x.part", ".mwaconvert"):
        (tmp_path / name).mkdir()
    (tmp_path / made.name).write_text("a file")
    assert sweep(tmp_path) == []


def test_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems without locks: runs work, left-overs stay."""

    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    write(tmp_path / "a.png")
    staged = StagedPath(tmp_path / "b.png", overwrite=False)
    assert sweep(tmp_path) == []
    staged.discard()
    assert names(tmp_path) == ["a.png"]


def test_the_verb(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from mwaconvert.cli.main import main

    part = tmp_path / f".mwaconvert-{'0' * 8}-{'0' * 16}.part"
    part.mkdir()
    os.utime(part, (1, 1))
    result = CliRunner().invoke(main, ["sweep", str(tmp_path), "--dry-run"])
    assert (result.exit_code, result.stdout, part.exists()) == (0, f"{part}\n", True)
    result = CliRunner().invoke(main, ["sweep", str(tmp_path)])
    assert (result.exit_code, result.stdout, part.exists()) == (0, f"{part}\n", False)
    result = CliRunner().invoke(main, ["sweep", str(tmp_path / "gone")])
    assert (result.exit_code, result.stderr) == (2, f"mwaconvert: {tmp_path}/gone: no such folder\n")


def test_a_full_disk(small_disk: Path) -> None:
    with (small_disk / "other").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(small_disk).free)
    with pytest.raises(ResourceError, match="no space left on its disk"):
        write(small_disk / "a.png", "new" * 100_000)
    assert names(small_disk) == ["other"]
