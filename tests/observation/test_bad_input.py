"""Files that do not belong together: the error class and the sentence."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from rawfiles import mwax_name, write_mwax

from mwaconvert.errors import FormatError, InputError, MetadataError
from mwaconvert.observation.observation import open_observation


@pytest.fixture
def metafits(mwa_data, tmp_path):
    path = tmp_path / "1297526432.metafits"
    shutil.copy(mwa_data / "1297526432_mwax_synthetic" / path.name, path)
    return path


def test_no_files(mwa_data, metafits):
    with pytest.raises(
        InputError, match=r"1297526432\.metafits: no raw files of obsid 1297526432 beside it; "
    ):
        open_observation(metafits)
    with pytest.raises(InputError, match="no raw files were given"):
        open_observation(metafits, [])
    for path in (mwa_data / "metafits").iterdir():
        with pytest.raises(InputError, match=r"no raw files of obsid \d+ beside it"):
            open_observation(path)


def test_file_that_does_not_exist(metafits, tmp_path):
    with pytest.raises(InputError, match=r"ch117_000\.fits: no such raw file"):
        open_observation(metafits, [tmp_path / mwax_name(117)])


def test_name_of_something_else(metafits, tmp_path):
    path = tmp_path / "image.fits"
    path.touch()
    with pytest.raises(
        InputError, match=r"image\.fits: not the name of a raw file; expected <obsid>_<date>_ch"
    ):
        open_observation(metafits, [path])


def test_not_fits(metafits, tmp_path):
    (tmp_path / mwax_name(117)).write_text("no")
    with pytest.raises(FormatError, match=r"ch117_000\.fits: not a FITS file"):
        open_observation(metafits)


def test_wrong_obsid(metafits, tmp_path):
    path = write_mwax(tmp_path, 117, [0], OBSID=1297526999)
    with pytest.raises(
        MetadataError, match=r"belongs to obsid 1297526999, but the metafits .* to 1297526432; give"
    ):
        open_observation(metafits, [path])


@pytest.mark.parametrize(
    ("obsid", "message"),
    [(None, "has no OBSID; is it a raw file"), ("soon", "expected a number for OBSID, found 'soon'")],
)
def test_unusable_obsid(metafits, tmp_path, obsid, message):
    path = write_mwax(tmp_path, 117, [0], OBSID=obsid)
    with pytest.raises(FormatError, match=message):
        open_observation(metafits, [path])


def test_mixed_correlators(mwa_data, metafits, tmp_path):
    legacy = next((mwa_data / "1196175296_legacy_synthetic").glob("*gpubox01_00.fits"))
    with pytest.raises(
        InputError, match=r"gpubox01_00\.fits is of the legacy correlator and .*ch117_000\.fits of MWAX"
    ):
        open_observation(metafits, [legacy, write_mwax(tmp_path, 117, [0])])


def test_name_and_header_disagree(metafits, tmp_path):
    path = write_mwax(tmp_path, 117, [0], CORR_VER=None)
    with pytest.raises(
        FormatError, match="its name says mwax, for which CORR_VER should be 2, but it is absent"
    ):
        open_observation(metafits, [path])
    path = write_mwax(tmp_path, 1, [0], name="1297526432_20210216160014_gpubox01_00.fits")
    with pytest.raises(
        FormatError, match="name says legacy, for which CORR_VER should be absent, but it is 2"
    ):
        open_observation(metafits, [path])


def test_channel_not_in_the_metafits(metafits, tmp_path):
    path = write_mwax(tmp_path, 17, [0])
    with pytest.raises(
        MetadataError, match=r"receiver channel 17 is not in the metafits .*, which has 109-132$"
    ):
        open_observation(metafits, [path])


def test_duplicate(metafits, tmp_path):
    (tmp_path / "copy").mkdir()
    paths = [write_mwax(tmp_path, 117, [0]), write_mwax(tmp_path / "copy", 117, [0])]
    with pytest.raises(InputError, match="are both batch 0 of the same coarse channel"):
        open_observation(metafits, paths)


def test_wrong_dimensions(metafits, tmp_path):
    path = write_mwax(tmp_path, 117, [0], FINECHAN=320.0)
    with pytest.raises(
        FormatError, match="HDU 1: expected 32 x 3 numbers for 2 tiles and 4 fine channels, found 16 x 3"
    ):
        open_observation(metafits, [path])
    path = write_mwax(tmp_path, 118, [0], n_bl=6)
    with pytest.raises(FormatError, match=r"HDU 1: expected 16 x 3 numbers .* found 16 x 6"):
        open_observation(metafits, [path])


def test_other_number_of_tiles(metafits, tmp_path):
    path = write_mwax(tmp_path, 117, [0], NINPUTS=256)
    with pytest.raises(FormatError, match=r"NINPUTS is 256, but the metafits .* lists 4 inputs"):
        open_observation(metafits, [path])


def test_mini_files_under_a_raw_name(mwa_data, tmp_path):
    folder = mwa_data / "1131733552_legacy_mini"
    path = tmp_path / "1131733552_20151116182537_gpubox01_00.fits"
    shutil.copy(folder / "1131733552_20151116182537_mini_gpubox01_00.fits", path)
    with pytest.raises(FormatError, match=r"expected 66048 x 32 numbers for 128 tiles .*, found 66048 x 1"):
        open_observation(folder / "1131733552.metafits", [path])


def test_files_that_disagree(metafits, tmp_path):
    paths = [write_mwax(tmp_path, 117, [0]), write_mwax(tmp_path, 118, [0], int_time_s=1)]
    with pytest.raises(FormatError, match=r"INTTIME differs between the raw files: 0\.5 in .*, 1 in "):
        open_observation(metafits, paths)
    path = write_mwax(tmp_path, 119, [0], FINECHAN=300.0)
    with pytest.raises(MetadataError, match="FINECHAN is 300 kHz, which does not divide a coarse channel"):
        open_observation(metafits, [path])
    path = write_mwax(tmp_path, 120, [0], INTTIME="long")
    with pytest.raises(
        FormatError, match="expected a positive number of at most 1000000 for INTTIME, found 'long'"
    ):
        open_observation(metafits, [path])


@pytest.mark.parametrize(
    ("key", "value"), [("INTTIME", "1E400"), ("INTTIME", "1E30"), ("FINECHAN", "1E400"), ("OBSID", "1E400")]
)
def test_numbers_without_end(metafits, tmp_path, key, value):
    path = write_mwax(tmp_path, 117, [0], **{key: 7})
    sound = path.read_bytes()
    at = next(at for at in range(0, 2880, 80) if sound.startswith(f"{key:8}=".encode(), at))
    path.write_bytes(sound[:at] + f"{key:8}= {value:>20}".ljust(80).encode() + sound[at + 80 :])
    with pytest.raises(FormatError, match=rf"expected a .*number.* for {key}, found (inf|1e\+30)"):
        open_observation(metafits, [path])


def test_times_that_cannot_be(metafits, tmp_path):
    path = write_mwax(tmp_path, 117, [0, 0.5])
    with pytest.raises(
        FormatError, match=r"HDU 3: expected to start at least 0\.5 s after .*, found 0\.25 s"
    ):
        open_observation(metafits, [path])
    early = [
        write_mwax(tmp_path, channel, [-3 * 10**6]) for channel in (118, 119)
    ]  # far from the schedule, both
    late = write_mwax(tmp_path, 120, [10**8])
    with pytest.raises(
        FormatError, match=r"HDU 1 starts 5\.15e\+07 s after HDU 1 of .*; one of the two times is wrong"
    ):
        open_observation(metafits, [*early, late])


def test_nothing_whole_remains(metafits, tmp_path):
    path = write_mwax(tmp_path, 117, [0])
    path.write_bytes(path.read_bytes()[:5800])
    with pytest.raises(InputError, match="none of the 1 raw files holds a whole integration"):
        open_observation(metafits, [path])
    fits.PrimaryHDU(np.zeros(3)).writeto(path, overwrite=True)
    with pytest.raises(FormatError, match="has no OBSID"):
        open_observation(metafits, [path])
