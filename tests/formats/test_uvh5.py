"""uvh5 files, read by pyuvdata, hold what uvfits files of the same conversion hold."""

import warnings

import numpy as np
import pytest

import mwaconvert
from mwaconvert.errors import InputError
from mwaconvert.simulate import simulate

pyuvdata = pytest.importorskip("pyuvdata", reason="optional: pip install mwaconvert[pyuvdata]")


def read(path):
    data = pyuvdata.UVData()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.read(path)
    return data


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    sim = simulate(
        tmp_path_factory.mktemp("uvh5"),
        "mwax-128",
        n_tiles=4,
        duration_s=8,
        coarse_channels=[131, 132, 135],
        noise_jy=2,
        missing=["ch=1,t=3"],
    )
    return sim.metafits


def test_same_as_uvfits(observation, tmp_path):
    options = {"sel_chan_ranges": ((0, 1),), "time_res_s": 4.0, "freq_res_khz": 160.0}
    outputs = [tmp_path / "a.uvfits", tmp_path / "a.uvh5"]
    mwaconvert.convert(observation, outputs, **options)
    uvfits, uvh5 = (read(path) for path in outputs)
    for name in ("data_array", "flag_array", "ant_1_array", "ant_2_array", "polarization_array"):
        assert np.array_equal(getattr(uvh5, name), getattr(uvfits, name)), name
    assert uvh5.flag_array.any()
    assert not uvh5.flag_array.all()
    np.testing.assert_allclose(uvh5.nsample_array, uvfits.nsample_array, rtol=1e-6)
    np.testing.assert_allclose(uvh5.uvw_array, uvfits.uvw_array, rtol=1e-6, atol=1e-5)  # float32 in uvfits
    np.testing.assert_allclose(uvh5.freq_array, uvfits.freq_array, rtol=1e-12)
    np.testing.assert_allclose(uvh5.channel_width, uvfits.channel_width, rtol=1e-9)
    np.testing.assert_allclose(uvh5.time_array, uvfits.time_array, rtol=0, atol=1e-9)
    np.testing.assert_allclose(uvh5.integration_time, uvfits.integration_time, rtol=1e-6)
    np.testing.assert_allclose(uvh5.phase_center_app_ra, uvfits.phase_center_app_ra, atol=1e-7)
    np.testing.assert_allclose(uvh5.phase_center_app_dec, uvfits.phase_center_app_dec, atol=1e-7)
    np.testing.assert_allclose(
        uvh5.telescope.antenna_positions, uvfits.telescope.antenna_positions, atol=1e-5
    )
    assert list(uvh5.telescope.antenna_names) == list(uvfits.telescope.antenna_names)
    assert list(uvh5.telescope.mount_type) == list(uvfits.telescope.mount_type)
    (theirs,), (ours,) = uvfits.phase_center_catalog.values(), uvh5.phase_center_catalog.values()
    for key in ("cat_type", "cat_frame", "cat_epoch"):
        assert ours[key] == theirs[key]
    for key in ("cat_lon", "cat_lat"):
        assert ours[key] == pytest.approx(theirs[key], abs=1e-12)
    assert uvh5.check()


def test_several_windows_in_one_file(observation, tmp_path):
    mwaconvert.convert(observation, [tmp_path / "a.uvh5", tmp_path / "a.uvfits"])
    whole = read(tmp_path / "a.uvh5")
    assert whole.Nspws == 2
    parts = [read(tmp_path / f"a_ch{name}.uvfits") for name in ("131-132", "135")]
    both = np.concatenate([part.data_array for part in parts], axis=1)
    assert np.array_equal(whole.data_array, both)
    assert np.bincount(whole.flex_spw_id_array).tolist() == [part.Nfreqs for part in parts]


def test_only_uvh5_is_replaced(observation, tmp_path):
    h5py = pytest.importorskip("h5py")
    target = tmp_path / "a.uvh5"
    mwaconvert.convert(observation, target)
    mwaconvert.convert(observation, target, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.uvh5"]
    with h5py.File(target, "w") as file:
        file["mine"] = np.arange(3)
    with pytest.raises(InputError, match="is never replaced"):
        mwaconvert.convert(observation, target, overwrite=True)


def test_the_same_run_twice_writes_the_same_bytes(observation, tmp_path):
    for name in ("a", "b"):
        mwaconvert.convert(observation, tmp_path / f"{name}.uvh5")
    assert (tmp_path / "a.uvh5").read_bytes() == (tmp_path / "b.uvh5").read_bytes()
