"""Measurement sets compressed by Dysco, read by python-casacore, against those that are not."""

import numpy as np
import pytest

import mwaconvert
from mwaconvert.errors import InputError
from mwaconvert.simulate import simulate

tables = pytest.importorskip("casacore.tables", reason="optional: pip install python-casacore")


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    sim = simulate(
        tmp_path_factory.mktemp("dysco"),
        "mwax-128",
        n_tiles=8,
        duration_s=8,
        coarse_channels=[131, 133],
        noise_jy=3,
        rfi_fraction=0.02,
        missing=["ch=1,t=3"],
    )
    return sim.metafits


def columns(path, *names):
    with tables.table(str(path), ack=False) as table:
        return [table.getcol(name) for name in names]


@pytest.mark.parametrize("time_res_s", [2.0, 8.0])
def test_accuracy(observation, tmp_path, time_res_s):
    for name, more in (("plain", {}), ("small", {"compress": "dysco"})):
        mwaconvert.convert(
            observation, tmp_path / f"{name}.ms", sel_autos=False, time_res_s=time_res_s, **more
        )
    names = ["DATA", "FLAG", "WEIGHT_SPECTRUM"]
    plain, flags, weights = columns(tmp_path / "plain.ms", *names)
    small, flags_too, weights_too = columns(tmp_path / "small.ms", *names)
    assert np.array_equal(flags, flags_too)
    assert 0 < flags.mean() < 0.9
    good = ~flags
    assert np.isnan(small[flags]).all()
    error = np.abs(small - plain)[good]
    rms = np.sqrt((np.abs(plain[good]) ** 2).mean())
    assert 0.005 * rms < np.sqrt((error**2).mean()) < 0.02 * rms
    # no shift: sources keep their flux
    assert abs((small - plain)[good].mean()) < 0.003 * np.abs(plain[good].mean())
    assert (weights_too[flags] == 0).all()
    np.testing.assert_allclose(weights_too[good], weights[good], atol=weights.max() / 2**12)
    exact = ["UVW", "TIME", "ANTENNA1", "ANTENNA2", "DATA_DESC_ID", "WEIGHT", "FLAG_ROW"]
    for name, ours, theirs in zip(
        exact, columns(tmp_path / "small.ms", *exact), columns(tmp_path / "plain.ms", *exact), strict=True
    ):
        assert np.array_equal(ours, theirs), name


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("a.ms", {}, "would round autocorrelations"),
        ("a.uvfits", {"sel_autos": False}, "no measurement set is written"),
    ],
)
def test_refusals(observation, tmp_path, output, options, message):
    with pytest.raises(InputError, match=message):
        mwaconvert.convert(observation, tmp_path / output, compress="dysco", **options)
    assert not list(tmp_path.iterdir())
