"""Raw data: all that belong to an observation, what is missing named, what is damaged said."""

import shutil
from pathlib import Path

import pytest
from astropy.io import fits

from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.jobs.delivery.inputs import Span, Wanted, clean_up, find, stage
from mwaconvert.jobs.delivery.places import Bucket, Folder

OBSID = 1110103576


def metafits_of(path: Path, channels: list[int], exposure_s: int = 32) -> None:
    header = fits.Header()
    header["GPSTIME"], header["EXPOSURE"] = OBSID, exposure_s
    header["CHANNELS"] = ",".join(map(str, channels))
    fits.PrimaryHDU(header=header).writeto(path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A root with voltages, flags and metafits of one observation, and files of others."""
    folder = tmp_path / "root" / str(OBSID)
    (folder / "below").mkdir(parents=True)
    metafits_of(folder / f"{OBSID}.metafits", [109, 110, 131])
    for start in range(0, 32, 8):
        for channel in (109, 110, 131):
            (folder / "below" / f"{OBSID}_{OBSID + start}_{channel:03d}.sub").write_bytes(b"v")
    for name in (f"{OBSID}_flags.zip", f"{OBSID}_metafits_ppds.fits", "1110103577.metafits", "README"):
        (folder / name).write_bytes(b"x")
    return tmp_path / "root"


def names(files) -> list[str]:
    return [file.name for file in files]


def test_metadata(archive):
    files = find([Folder(archive)], OBSID, Wanted.METADATA)
    assert names(files) == [f"{OBSID}.metafits", f"{OBSID}_flags.zip", f"{OBSID}_metafits_ppds.fits"]


@pytest.mark.parametrize(
    ("span", "seconds"),
    [
        (Span(0, 32), [0, 8, 16, 24]),
        (Span(0, 8), [0]),
        (Span(7, 1), [0]),
        (Span(7, 2), [0, 8]),
        (Span(8, 8), [8]),
        (Span(25, 1000), [24]),
    ],
)
def test_voltages_of_a_span(archive, tmp_path, span, seconds):
    files = find([Folder(archive)], OBSID, Wanted.VOLTAGES, span)
    assert names(files) == [f"{OBSID}.metafits"] + [
        f"{OBSID}_{OBSID + second}_{channel}.sub" for second in seconds for channel in (109, 110, 131)
    ]
    assert stage(files, tmp_path / "work", span).missing == ()


def test_voltages_of_channels(archive, tmp_path):
    span = Span(0, 16, (110, 131))
    (archive / str(OBSID) / "below" / f"{OBSID}_{OBSID + 8}_131.sub").unlink()
    files = find([Folder(archive)], OBSID, Wanted.VOLTAGES, span)
    assert names(files)[1:] == [
        f"{OBSID}_{OBSID}_110.sub",
        f"{OBSID}_{OBSID}_131.sub",
        f"{OBSID}_{OBSID + 8}_110.sub",
    ]
    assert stage(files, tmp_path / "work", span).missing == (f"{OBSID}_{OBSID + 8}_131.sub",)
    with pytest.raises(InputError, match="no files found"):
        find([Folder(archive)], OBSID, Wanted.VOLTAGES, Span(100, 8))


def test_voltages_of_the_old_recorder(archive, tmp_path):
    folder = archive / str(OBSID)
    shutil.rmtree(folder / "below")
    for second in range(5):
        for channel in (109, 110, 131):
            (folder / f"{OBSID}_{OBSID + second}_ch{channel}.dat").write_bytes(b"v")
        (folder / f"{OBSID}_{OBSID + second}_ics.dat").write_bytes(b"v")
    files = find([Folder(archive)], OBSID, Wanted.VOLTAGES, Span(1, 2))
    assert len(files) == 1 + 2 * 4
    (folder / f"{OBSID}_{OBSID + 2}_ch110.dat").unlink()
    files = find([Folder(archive)], OBSID, Wanted.VOLTAGES, Span(1, 2))
    assert stage(files, tmp_path / "work", Span(1, 2)).missing == (f"{OBSID}_{OBSID + 2}_ch110.dat",)
    assert len(find([Folder(archive)], OBSID, Wanted.VOLTAGES, Span(0, 5, (109, 109)))) == 1 + 5


def test_nothing_there(tmp_path, archive):
    with pytest.raises(InputError, match=r"no metafits .* searched in .*empty/1110103576"):
        find([Folder(tmp_path / "empty")], OBSID, Wanted.METADATA)
    with pytest.raises(InputError, match="no files found"):
        find([Folder(archive)], OBSID, Wanted.VISIBILITIES)


def test_a_bucket_after_a_folder(archive, tmp_path):
    bucket = Bucket("memory:///")
    extra = tmp_path / "extra"
    extra.write_bytes(b"more")
    bucket.deliver(extra, f"{OBSID}/deep/{OBSID}_109.mwaf")
    bucket.deliver(extra, f"{OBSID}/{OBSID}.metafits")  # the folder's comes first
    files = find([Folder(archive), bucket], OBSID, Wanted.METADATA)
    staged = stage(files, tmp_path / "work")
    assert (tmp_path / "work" / f"{OBSID}_109.mwaf").read_bytes() == b"more"
    assert staged.metafits.read_bytes() != b"more"
    assert len(staged.files) == 4


@pytest.fixture
def simulated(small: Path, tmp_path: Path) -> tuple[Path, int]:
    """A root with a copy of the simulated observation."""
    obsid = int(small.name[:10])
    shutil.copytree(small.parent, tmp_path / "root" / str(obsid))
    return tmp_path / "root", obsid


def test_visibilities(simulated, tmp_path):
    root, obsid = simulated
    files = find([Folder(root)], obsid, Wanted.VISIBILITIES)
    staged = stage(files, tmp_path / "work")
    assert staged.missing == ()
    assert staged.damaged == ()
    assert staged.metafits == tmp_path / "work" / f"{obsid}.metafits"
    assert staged.n_bytes == sum(path.stat().st_size for path in staged.files)
    assert stage(files, tmp_path / "work") == staged  # a step that is done again
    clean_up(tmp_path / "work", tmp_path)
    assert not (tmp_path / "work").exists()
    assert len(find([Folder(root)], obsid, Wanted.VISIBILITIES)) == len(files)
    with pytest.raises(InputError, match="not removed"):
        clean_up(root, tmp_path / "work")


def test_a_missing_and_a_truncated_file(simulated, tmp_path):
    root, obsid = simulated
    raw = sorted((root / str(obsid)).glob("*_ch*.fits"))
    gone = raw[0].name
    raw[0].unlink()
    with raw[1].open("r+b") as file:
        file.truncate(raw[1].stat().st_size // 2)
    staged = stage(find([Folder(root)], obsid, Wanted.VISIBILITIES), tmp_path / "work")
    assert staged.missing == (gone,)
    assert len(staged.damaged) == 1
    assert raw[1].name in staged.damaged[0]


def test_missing_boxes_of_the_old_correlator(mwa_data, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(mwa_data / "1196175296_legacy_synthetic", root / "1196175296")
    staged = stage(find([Folder(root)], 1196175296, Wanted.VISIBILITIES), tmp_path / "work")
    assert len(staged.missing) == 22 * 2
    assert staged.missing[0] == "1196175296_20171201145440_gpubox03_00.fits"
    assert staged.missing[-1] == "1196175296_20171201145540_gpubox24_01.fits"


def test_a_file_that_is_still_written(archive, tmp_path):
    files = find([Folder(archive)], OBSID, Wanted.METADATA)
    (archive / str(OBSID) / f"{OBSID}_flags.zip").write_bytes(b"longer")
    with pytest.raises(FormatError, match="still writing"):
        stage(files, tmp_path / "work")


def test_a_metafits_that_is_none(archive, tmp_path):
    (archive / str(OBSID) / f"{OBSID}.metafits").write_bytes(b"nonsense")
    files = find([Folder(archive)], OBSID, Wanted.METADATA)
    with pytest.raises(FormatError, match="metafits"):
        stage(files, tmp_path / "work")


def test_a_full_disk_while_staging(archive, small_disk, tmp_path):
    (archive / str(OBSID) / f"{OBSID}_flags.zip").write_bytes(bytes(30 << 20))
    files = find([Folder(archive)], OBSID, Wanted.METADATA)
    with pytest.raises(ResourceError, match="No space left"):
        stage(files, small_disk / "work")
    assert not (small_disk / "work" / f"{OBSID}_flags.zip").exists()
    assert not list((small_disk / "work").glob(".*"))
