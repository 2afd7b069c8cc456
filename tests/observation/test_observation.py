"""The time map against mwalib's (acceptance A2, A3), and what is said of unusual files."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rawfiles import OBSID, START_MS, compare_with_mwalib, mwalib_context, mwax_name, write_mwax

from mwaconvert.observation.observation import open_observation


@pytest.fixture
def legacy(mwa_data):
    return mwa_data / "1196175296_legacy_synthetic"


@pytest.fixture
def mwax(mwa_data):
    return mwa_data / "1297526432_mwax_synthetic"


@pytest.fixture
def mwax_metafits(mwax):
    return mwax / "1297526432.metafits"


@pytest.mark.parametrize(
    "chosen",
    [
        ["gpubox01_00", "gpubox01_01", "gpubox02_00", "gpubox02_01"],
        ["gpubox01_01", "gpubox02_01"],
        ["gpubox01_00", "gpubox02_00"],
        ["gpubox01_00", "gpubox01_01", "gpubox02_01"],
        ["gpubox01_00", "gpubox02_00", "gpubox02_01"],
        ["gpubox01_00", "gpubox02_01"],
        ["gpubox02_00", "gpubox02_01"],
        ["gpubox02_01"],
        ["gpubox01_00", "limited_1/gpubox01_01", "gpubox02_00", "gpubox02_01"],
        ["gpubox01_00", "limited_1/gpubox01_01"],
        ["adjusted_-1/gpubox01_00", "gpubox01_01", "gpubox02_00", "gpubox02_01"],
    ],
)
def test_legacy_sets_like_mwalib(legacy, chosen):
    files = []
    for name in chosen:
        folder, _, ending = name.rpartition("/")
        files += sorted((legacy / folder).glob(f"*{ending}.fits"))
    assert len(files) == len(chosen)
    metafits = legacy / "1196175296.metafits"
    observation = open_observation(metafits, files)
    assert observation.int_time_ms == 500
    compare_with_mwalib(observation, mwalib_context(metafits, files))


@pytest.mark.parametrize("pattern", ["*.fits", "*_ch117_*.fits", "*_001.fits", "*_ch11[78]_00[01].fits"])
def test_mwax_sets_like_mwalib(mwax, mwax_metafits, pattern):
    files = sorted(mwax.glob(pattern))
    observation = open_observation(mwax_metafits, files)
    assert observation.metadata.correlator == "mwax"
    context = mwalib_context(mwax_metafits, files)
    compare_with_mwalib(observation, context)
    # the numbers themselves, visibilities and weights
    for step in context.provided_timestep_indices:
        row = np.searchsorted(observation.timestep_unix_ms, context.timesteps[step].unix_time_ms)
        for coarse in context.provided_coarse_chan_indices:
            hdu = observation.hdus[observation.hdu_index[row, coarse]]
            path = observation.files[hdu["file"]].path
            vis = np.fromfile(path, ">i4", hdu["naxis1"] * hdu["naxis2"], offset=hdu["data_offset"])
            np.testing.assert_array_equal(vis, context.read_by_baseline(step, coarse).ravel())
            weights = np.fromfile(path, ">f4", 4 * hdu["naxis2"], offset=hdu["weight_offset"])
            np.testing.assert_array_equal(weights, context.read_weights_by_baseline(step, coarse).ravel())


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("raw")


steps = st.lists(st.integers(0, 7), min_size=1, max_size=5, unique=True).map(sorted)


@settings(max_examples=60, deadline=None)
@given(
    files=st.dictionaries(
        st.tuples(st.sampled_from([109, 117, 131]), st.integers(0, 1)), steps, min_size=1, max_size=5
    )
)
def test_gaps_and_offset_batches_like_mwalib(scratch, request, files):
    metafits = request.getfixturevalue("mwa_data") / "1297526432_mwax_synthetic" / "1297526432.metafits"
    shutil.rmtree(scratch)
    scratch.mkdir()
    paths = [write_mwax(scratch, channel, when, batch) for (channel, batch), when in files.items()]
    compare_with_mwalib(open_observation(metafits, paths), mwalib_context(metafits, paths))


def test_files_beside_the_metafits(mwax, mwax_metafits):
    observation = open_observation(str(mwax_metafits))
    assert [file.path.name for file in observation.files] == [
        f"{OBSID}_20210216160014_ch{channel}_{batch:03d}.fits" for channel in (117, 118) for batch in (0, 1)
    ]
    assert [(file.coarse, file.batch) for file in observation.files] == [(8, 0), (8, 1), (9, 0), (9, 1)]
    assert observation.n_timesteps == 4
    assert observation.common == range(4)
    assert observation.common_good == range(1, 4)
    assert observation.notes == ("Coarse channels without files: 22 of 24.",)
    n_bytes = 4 * 16 * 3  # one HDU
    assert observation.input_bytes(range(1, 3), (8, 9)) == 4 * n_bytes
    assert observation.input_bytes(range(4), (0, 8)) == 4 * n_bytes


def test_hole_and_missing_integrations(mwax_metafits, tmp_path):
    paths = [write_mwax(tmp_path, 117, [0, 1, 4]), write_mwax(tmp_path, 118, [1, 4, 5], batch=1)]
    observation = open_observation(mwax_metafits, paths)
    np.testing.assert_array_equal(observation.timestep_unix_ms, START_MS + 500 * np.arange(6))
    assert observation.hdu_index[:, 8].tolist() == [0, 1, -1, -1, 2, -1]
    assert observation.hdu_index[:, 9].tolist() == [-1, 3, -1, -1, 4, 5]
    assert observation.common == range(1, 2)
    assert observation.notes == (
        "Coarse channels without files: 22 of 24.",
        "Batch 0 is missing for receiver channel 118.",
        "Batch 1 is missing for receiver channel 117.",
        "Timesteps in no file: 2 of 6.",
        "Timesteps missing for receiver channels 117, 118 that other channels have: 1 of 6.",
    )


def test_files_that_never_overlap(mwax_metafits, tmp_path):
    paths = [write_mwax(tmp_path, 117, [0, 1]), write_mwax(tmp_path, 118, [5, 6])]
    observation = open_observation(mwax_metafits, paths)
    assert observation.common == range(0)
    assert not observation.common
    assert observation.n_timesteps == 7


def test_file_off_by_half_an_integration(mwax_metafits, tmp_path):
    paths = [
        write_mwax(tmp_path, 117, [0, 1, 2, 3], int_time_s=2),
        write_mwax(tmp_path, 118, [0.5, 1.5, 2.5], int_time_s=2),
    ]
    observation = open_observation(mwax_metafits, paths)
    assert observation.int_time_ms == 2000
    assert observation.metadata.int_time_s == 2
    np.testing.assert_array_equal(observation.timestep_unix_ms, START_MS + 2000 * np.arange(4))
    assert observation.hdu_index[:, 9].tolist() == [-1, 4, 5, 6]
    assert observation.common == range(1, 4)
    assert (
        "metafits says integrations of 0.5 s, the raw files 2 s; the raw files were followed"
        in observation.notes[0]
    )
    assert observation.notes[1].endswith(
        "ch118_000.fits: integrations start 1000 ms before the timesteps of 2000 ms that most files follow; "
        "each is taken as the nearest timestep, with the phases of its own time."
    )


def test_repeated_times_in_a_later_batch(mwax_metafits, tmp_path):
    paths = [write_mwax(tmp_path, 117, [0, 1, 2]), write_mwax(tmp_path, 117, [2, 3], batch=1)]
    observation = open_observation(mwax_metafits, paths)
    assert observation.hdu_index[:, 8].tolist() == [0, 1, 2, 4]
    assert observation.notes[0].endswith(
        "ch117_001.fits: integrations that repeat times of an earlier batch are not used: 1, from HDU 1 on."
    )


def test_fine_width_of_the_files_wins(mwax_metafits, tmp_path):
    observation = open_observation(mwax_metafits, [write_mwax(tmp_path, 117, [0], n_fine=32)])
    assert observation.metadata.fine_width_hz == 40e3
    assert observation.metadata.n_fine == 32
    assert observation.notes[0] == (
        "The metafits says fine channels of 640 kHz, the raw files 40 kHz; the raw files were followed."
    )


def test_weights_missing(mwax_metafits, tmp_path):
    path = write_mwax(tmp_path, 117, [0, 1], weights=False)
    observation = open_observation(mwax_metafits, [path])
    assert observation.hdus["weight_offset"].tolist() == [-1, -1]
    assert observation.notes[0].endswith(
        "integrations without a weights HDU, whose weights are taken as 1: 2 of 2."
    )


def test_cut_file(mwax_metafits, tmp_path):
    path = write_mwax(tmp_path, 117, [0, 1, 2])
    whole = path.read_bytes()
    # HDU 6, the last weights, starts 5760 bytes before the end
    for size, hdus, weights, cut in [(-2880, 3, 2, 6), (-8640, 2, 2, 5), (-9000, 2, 2, 5), (-14400, 2, 1, 4)]:
        path.write_bytes(whole[:size])
        observation = open_observation(mwax_metafits, [path])
        assert len(observation.hdus) == hdus
        assert (observation.hdus["weight_offset"] > 0).sum() == weights
        assert observation.notes[0] == (
            f"{path}: the file ends inside HDU {cut}; that HDU is treated as missing."
        )


def test_old_names(mwa_data, tmp_path):
    from mwaconvert.observation.rawfiles import parse_name

    name = parse_name(tmp_path / "1065880128_20131015134830_gpubox07.fits")
    assert (name.correlator, name.channel, name.batch) == ("legacy", 7, 0)
    name = parse_name(tmp_path / "1065880128_20131015134830_gpubox24_03.fits")
    assert (name.correlator, name.channel, name.batch) == ("legacy", 24, 3)
    name = parse_name(tmp_path / "1297526432_20210216.160014_ch117_012.fits")
    assert (name.correlator, name.channel, name.batch) == ("mwax", 117, 12)
    for other in ("1065880128.metafits", "1065880128_01.mwaf", mwax_name(7) + ".gz", "x" + mwax_name(117)):
        assert parse_name(tmp_path / other) is None
