"""Flags and amplitudes in temporary files, as those of large observations are; a TMPDIR that fills up."""

import contextlib
import dataclasses
import tempfile

import pytest

import mwaconvert
from mwaconvert.conversion import planner, resources
from mwaconvert.conversion.rfi import images
from mwaconvert.errors import ResourceError
from mwaconvert.simulate import simulate


@pytest.fixture(scope="module")
def rice(tmp_path_factory):
    """Compressed files cannot be read in parts: amplitudes have to be kept."""
    sim = simulate(
        tmp_path_factory.mktemp("rice"),
        "legacy-128",
        duration_s=8,
        fine_khz=160.0,
        coarse_channels=2,
        noise_jy=3,
        rfi_fraction=0.05,
        compress=True,
    )
    return sim.metafits


@pytest.fixture
def spilling(monkeypatch):
    """Temporary files whatever memory there is; how many were made."""
    plan, made, temporary = planner.plan_detection, [], tempfile.TemporaryFile

    def counted(*words, **more):
        made.append(1)
        return temporary(*words, **more)

    monkeypatch.setattr(tempfile, "TemporaryFile", counted)
    monkeypatch.setattr(resources, "mask_in_file", lambda *_: True)
    monkeypatch.setattr(
        planner, "plan_detection", lambda *a: dataclasses.replace(plan(*a), spill_in_file=True)
    )
    return made


def fill(folder):
    with (folder / "other").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_same_output(rice, tmp_path, monkeypatch, request):
    mwaconvert.convert(rice, tmp_path / "a.uvfits")
    made = request.getfixturevalue("spilling")
    monkeypatch.setattr(images.KeptImages, "PIECE_BYTES", 1 << 20)
    mwaconvert.convert(rice, tmp_path / "b.uvfits")
    assert len(made) == 2
    assert (tmp_path / "a.uvfits").read_bytes() == (tmp_path / "b.uvfits").read_bytes()


@pytest.mark.parametrize("piece", [1, 3])
def test_temporary_disk_that_fills_up_under_way(rice, tmp_path, spilling, small_disk, monkeypatch, piece):
    spill, count = images.KeptImages._spill, 0

    def filled(self, values):
        nonlocal count
        count += 1
        if count == piece:
            fill(small_disk)
        spill(self, values)

    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    monkeypatch.setattr(images.KeptImages, "PIECE_BYTES", 1 << 20)
    monkeypatch.setattr(images.KeptImages, "_spill", filled)
    with pytest.raises(
        ResourceError, match=r"amplitudes cannot be written: No space left on device; set TMPDIR to"
    ):
        mwaconvert.convert(rice, tmp_path / "a.uvfits")
    assert count == piece
    assert len(spilling) == 2
    assert not list(tmp_path.glob("*uvfits*"))
    assert [path.name for path in small_disk.iterdir()] == ["other"]
