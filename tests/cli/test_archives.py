"""Raw data in folders, tar, zip and gz."""

import gzip
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conversions import read_uvfits

import mwaconvert
from mwaconvert.cli.main import main
from mwaconvert.errors import InputError


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    Path("temporary").mkdir()
    return lambda *words: CliRunner().invoke(main, [*map(str, words), "-q", "--no-rfi"])


@pytest.fixture(scope="module")
def expected(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("expected") / "x.uvfits"
    mwaconvert.convert(small, path, rfi="none")
    return read_uvfits(path)


def assert_converted(result, expected):
    assert result.exit_code == 0, result.stderr
    found = read_uvfits(Path("x.uvfits"))
    for name in ("vis", "weight", "uvw_m"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert list(Path("temporary").iterdir()) == []


def raw_files(small):
    return sorted(small.parent.glob("*_ch*.fits"))


def pack_tar(small, path, mode="w"):
    with tarfile.open(path, mode) as tar:
        for file in (small, *raw_files(small)):
            tar.add(file, f"{small.stem}/{file.name}")
    return path


def test_folders(run, small, expected):
    for k, file in enumerate(raw_files(small)):
        folder = Path(f"data/sub/{k}")
        folder.mkdir(parents=True)
        shutil.copy(file, folder)
    shutil.copy(small, "data")
    assert_converted(run(f"data/{small.name}", "-o", "x.uvfits"), expected)
    Path("x.uvfits").unlink()
    assert_converted(run(small, "data/sub", "-o", "x.uvfits"), expected)
    Path("x.uvfits").unlink()
    assert_converted(run("data", "-o", "x.uvfits"), expected)
    Path("empty").mkdir()
    with pytest.raises(InputError, match="empty: this folder holds no raw files of obsid"):
        mwaconvert.open(small, ["empty"])


@pytest.mark.parametrize(("name", "mode"), [("raw.tar", "w"), ("raw.tar.gz", "w:gz"), ("raw.tgz", "w:gz")])
def test_tar(run, small, expected, name, mode):
    pack_tar(small, Path(name), mode)
    assert_converted(run(name, "-o", "x.uvfits"), expected)


def test_zip_beside_the_metafits(run, small, expected):
    with zipfile.ZipFile("raw.zip", "w") as archive:
        for file in raw_files(small):
            archive.write(file, file.name)
    assert_converted(run(small, "raw.zip", "-o", "x.uvfits"), expected)


def test_gz_of_each_file(run, small, expected):
    packed = []
    for file in raw_files(small):
        packed.append(Path(f"{file.name}.gz"))
        packed[-1].write_bytes(gzip.compress(file.read_bytes(), 1))
    assert_converted(run(small, *packed, "-o", "x.uvfits"), expected)


def test_damaged(run, small):
    whole = pack_tar(small, Path("raw.tar.gz"), "w:gz").read_bytes()
    for name, content, sentence in (
        ("cut.tar.gz", whole[:-500], "damaged, or no gzip file"),
        ("text.gz", b"hello", "damaged, or no gzip file"),
        ("text.zip", b"hello", "damaged, or no tar or zip archive"),
    ):
        Path(name).write_bytes(content)
        result = run(name, "-o", "x.uvfits")
        assert result.exit_code == 2
        assert sentence in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert run("none.tar").exit_code == 2
    assert not Path("x.uvfits").exists()
    assert list(Path("temporary").iterdir()) == []


def test_archives_in_python(run, small, expected):
    """A conversion takes archives; an observation, which outlives the call, does not."""
    archive = pack_tar(small, Path("obs.tar"))
    report = mwaconvert.convert(archive, "x.uvfits", rfi="none")
    assert report.outputs[0].path == Path("x.uvfits")
    np.testing.assert_array_equal(read_uvfits(Path("x.uvfits"))["vis"], expected["vis"])
    assert list(Path("temporary").iterdir()) == []
    with pytest.raises(InputError, match=r"obs\.tar: an archive: unpack it"):
        mwaconvert.open(archive)
    with pytest.raises(InputError, match=r"obs\.tar: an archive: unpack it"):
        mwaconvert.open(small, [archive])
    packed = Path("raw.zip")
    with zipfile.ZipFile(packed, "w") as held:
        for file in raw_files(small):
            held.write(file, file.name)
    mwaconvert.convert(small, "y.uvfits", files=[packed], rfi="none")
    np.testing.assert_array_equal(read_uvfits(Path("y.uvfits"))["vis"], expected["vis"])
