"""Packages, judged by tar, sha256sum and Python's own readers."""

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.jobs.delivery import package as module
from mwaconvert.jobs.delivery.package import Archive, Stem, check_package, package_name, write_package
from mwaconvert.unpacking import list_members, unpack

JOB = {"job_id": 77, "given": {"obs_id": "1110103576", "timeres": "8"}}


@pytest.fixture
def contents(tmp_path: Path) -> dict[str, Path]:
    """What a conversion leaves: a measurement set with an empty folder, large and small files; a metafits."""
    work = tmp_path / "work"
    ms = work / "1110103576.ms"
    (ms / "ANTENNA").mkdir(parents=True)
    (ms / "EMPTY").mkdir()
    (ms / "ANTENNA" / "table.dat").write_bytes(b"antennas")
    (ms / "table.f0").write_bytes(os.urandom((9 << 20) + 17))  # several buffers and a bit
    (ms / "zero").touch()
    (work / "1110103576.metafits").write_bytes(os.urandom(5000))
    os.utime(ms / "table.f0", (1e9 + 0.25, 1e9 + 0.25))
    return {"1110103576.ms": ms, "1110103576.metafits": work / "1110103576.metafits"}


def test_names():
    assert package_name(1110103576, 77, Stem.UVFITS) == "1110103576_77_uvfits.tar"
    assert package_name(1110103576, 77, Stem.METADATA, Archive.ZIP) == "1110103576_77_vis_meta.zip"


def test_a_tar(tmp_path, contents):
    made = write_package(tmp_path / "a.tar", contents, JOB)
    data = made.path.read_bytes()
    assert (made.n_bytes, made.n_members) == (len(data), 6)
    assert made.sha1 == hashlib.sha1(data).hexdigest()
    assert made.sha256 == hashlib.sha256(data).hexdigest()
    assert check_package(made.path) == 6
    assert [path.name for path in tmp_path.iterdir() if path.name != "work"] == ["a.tar"]
    with tarfile.open(made.path, "r:") as archive:
        infos = archive.getmembers()
        assert json.load(archive.extractfile("job.json")) == JOB
    names = [info.name + "/" * info.isdir() for info in infos]
    assert names == [
        "1110103576.ms/",
        "1110103576.ms/ANTENNA/",
        "1110103576.ms/EMPTY/",
        "1110103576.metafits",
        "1110103576.ms/ANTENNA/table.dat",
        "1110103576.ms/table.f0",
        "1110103576.ms/zero",
        "job.json",
        "SHA256SUMS",
    ]
    for info in infos:
        assert isinstance(info.mtime, int)
        assert (info.uid, info.uname, info.pax_headers) == (0, "", {})
        assert info.isdir() or info.isreg()
    assert infos[5].mtime == 1_000_000_000
    assert len(data) % 10240 == 0


@pytest.mark.skipif(shutil.which("tar") is None or shutil.which("sha256sum") is None, reason="no tar")
def test_tar_and_sha256sum_agree(tmp_path, contents):
    made = write_package(tmp_path / "a.tar", contents, JOB)
    out = tmp_path / "out"
    out.mkdir()
    assert subprocess.run(["tar", "xf", made.path, "-C", out], capture_output=True, check=True).stderr == b""
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=out, check=True)
    assert (out / "1110103576.ms" / "table.f0").read_bytes() == (
        contents["1110103576.ms"] / "table.f0"
    ).read_bytes()
    assert (out / "1110103576.ms" / "EMPTY").is_dir()


def test_a_zip(tmp_path, contents):
    made = write_package(tmp_path / "a.zip", contents, JOB, Archive.ZIP)
    data = made.path.read_bytes()
    assert made.sha1 == hashlib.sha1(data).hexdigest()
    assert check_package(made.path) == 6
    with zipfile.ZipFile(made.path) as archive:
        assert archive.testzip() is None
        assert "1110103576.ms/EMPTY/" in archive.namelist()
    (tmp_path / "out").mkdir()
    unpack(made.path, tmp_path / "out")
    assert (tmp_path / "out" / "1110103576.ms" / "table.f0").stat().st_size == (9 << 20) + 17


def test_the_same_contents_make_the_same_archive(tmp_path, contents):
    first = write_package(tmp_path / "a.tar", contents, JOB)
    again = write_package(tmp_path / "a.tar", contents, JOB)
    assert first == again


def test_a_package_unpacks_by_the_rules_for_hostile_ones(tmp_path, contents):
    made = write_package(tmp_path / "a.tar", contents, JOB)
    assert len(list_members(made.path)) == 9


def test_files_above_8_gib(tmp_path, contents, monkeypatch):
    """Headers only: the size field of old tars ends at 8 GiB."""
    info = tarfile.TarInfo("large")
    info.size = 9 << 30
    back = tarfile.TarInfo.frombuf(info.tobuf(tarfile.GNU_FORMAT)[:512], "utf-8", "strict")
    assert back.size == 9 << 30


def test_long_names(tmp_path, contents):
    name = "/".join(["x" * 90] * 4) + "/file"
    made = write_package(tmp_path / "a.tar", {**contents, name: contents["1110103576.metafits"]}, JOB)
    check_package(made.path)
    assert (
        subprocess.run(["tar", "tf", made.path], capture_output=True, check=True).stdout.count(name.encode())
        == 1
    )


def test_what_is_not_packed(tmp_path, contents):
    meta = contents["1110103576.metafits"]
    with pytest.raises(InputError, match="metafits"):
        write_package(tmp_path / "a.tar", {"1110103576.ms": contents["1110103576.ms"]}, JOB)
    with pytest.raises(InputError, match="itself"):
        write_package(tmp_path / "a.tar", {**contents, "job.json": meta}, JOB)
    with pytest.raises(InputError, match="outside"):
        write_package(tmp_path / "a.tar", {**contents, "../x": meta}, JOB)
    with pytest.raises(InputError, match="no such file"):
        write_package(tmp_path / "a.tar", {**contents, "x": tmp_path / "absent"}, JOB)
    (contents["1110103576.ms"] / "link").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="link"):
        write_package(tmp_path / "a.tar", contents, JOB)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


@pytest.mark.parametrize("archive", Archive)
def test_a_disk_that_fills_up_leaves_nothing(small_disk, contents, archive, monkeypatch):
    (contents["1110103576.ms"] / "table.f1").write_bytes(bytes(20 << 20))
    with pytest.raises(ResourceError, match="bytes free"):
        write_package(small_disk / "a", contents, JOB, archive)
    monkeypatch.setattr(module, "_check_room", lambda *_: None)  # somebody else fills it meanwhile
    with pytest.raises(ResourceError, match="No space left"):
        write_package(small_disk / "a", contents, JOB, archive)
    assert list(small_disk.iterdir()) == []


def test_a_limit_of_file_size_leaves_nothing(tmp_path, contents):
    """As a full disk, for those who cannot mount one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(ResourceError, match="large"):
            write_package(tmp_path / "a.tar", contents, JOB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_what_progress_raises_ends_the_work(tmp_path, contents):
    seen: list[int] = []

    def stop(n_bytes: int) -> None:
        seen.append(n_bytes)
        if n_bytes > 5 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_package(tmp_path / "a.tar", contents, JOB, progress=stop)
    assert seen == sorted(seen)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_a_file_that_grows_while_it_is_packed(tmp_path, contents):
    grows = contents["1110103576.metafits"]

    def grow(_: int) -> None:
        with grows.open("ab") as file:
            file.write(b"more")

    with pytest.raises(FormatError, match="changed while"):
        write_package(tmp_path / "a.tar", contents, JOB, progress=grow)
    assert not (tmp_path / "a.tar").exists()


def test_a_killed_packer_leaves_no_package(tmp_path, contents):
    script = (
        "import os, signal, sys; from pathlib import Path; from mwaconvert.jobs.delivery.package import *\n"
        "work = Path(sys.argv[1])\n"
        "write_package(work / 'a.tar', {p.name: p for p in (work / 'work').iterdir()}, {},"
        " progress=lambda n: n > 5_000_000 and os.kill(os.getpid(), signal.SIGKILL))"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.tar").exists()
    check_package(write_package(tmp_path / "a.tar", contents, JOB).path)


@pytest.mark.parametrize("archive", Archive)
def test_damage_is_found(tmp_path, contents, archive):
    made = write_package(tmp_path / "a", contents, JOB, archive)
    good = bytearray(made.path.read_bytes())
    place = good.index((contents["1110103576.ms"] / "table.f0").read_bytes()[:64])
    good[place + 5] ^= 1
    made.path.write_bytes(good)
    with pytest.raises(FormatError, match=r"table\.f0"):
        check_package(made.path)
    made.path.write_bytes(good[: len(good) // 2])
    with pytest.raises(FormatError, match="damaged"):
        check_package(made.path)


def test_members_that_are_not_listed(tmp_path, contents):
    made = write_package(tmp_path / "a.tar", contents, JOB)
    with tarfile.open(made.path, "a") as archive:
        archive.add(contents["1110103576.metafits"], "more")
    with pytest.raises(FormatError, match="more is not listed"):
        check_package(made.path)
