"""With every correction and flag off, blocks hold what mwalib reads: bit for bit, but for the sign of the
(noise-level) imaginary part of XX and YY autocorrelations in legacy files."""

import shutil

import numpy as np
import pytest
from conversions import NOTHING, UNFLAGGED, collect, read_with_mwalib

import mwaconvert

OFF = {**NOTHING, **UNFLAGGED}


def assert_copied(metafits, files=None, **options):
    """Blocks of all timesteps hold what mwalib reads, and are flagged where it has nothing."""
    raw = read_with_mwalib(metafits, files)
    observation = mwaconvert.open(metafits, files)
    plan = observation.plan(sel_time=(0, observation.n_timesteps - 1), **OFF, **options)
    np.testing.assert_array_equal(observation.timestep_unix_ms, raw.unix_ms)
    converted = collect(plan)

    coarse = list(plan.coarse)
    expected = raw.vis[:, coarse].transpose(0, 2, 1, 3, 4).reshape(converted.vis.shape)
    there = raw.there[:, coarse].repeat(plan.metadata.n_fine, 1)[:, None, :, None]
    if plan.metadata.correlator == "legacy":
        autos = plan.header.antenna1 == plan.header.antenna2
        for values in (converted.vis, expected):
            values.imag[:, autos] = np.where(
                [True, False, False, True], abs(values.imag[:, autos]), values.imag[:, autos]
            )
    np.testing.assert_array_equal(converted.vis, expected)
    np.testing.assert_array_equal(converted.flags, np.broadcast_to(~there, converted.flags.shape))
    nominal = plan.metadata.int_time_s * plan.metadata.fine_width_hz / 10e3
    np.testing.assert_array_equal(abs(converted.weight), np.float32(nominal))
    return raw


# real layouts


def test_legacy_gzip_tiles(mwa_data):
    """Tiles declared RICE_1 and stored through the GZIP column, float64: the slow path."""
    folder = mwa_data / "1196175296_legacy_synthetic"
    raw = assert_copied(folder / "1196175296.metafits")
    # boxes 1 and 2 of a band above channel 128 are its last two channels
    assert raw.there[:, [22, 23]].all()
    assert raw.vis[raw.there].all(axis=-1).any()


@pytest.mark.parametrize(("changed", "place"), [("adjusted_-1", "gpubox01_00"), ("limited_1", "gpubox01_01")])
def test_legacy_files_of_different_times(mwa_data, tmp_path, changed, place):
    folder = mwa_data / "1196175296_legacy_synthetic"
    files = [path for path in sorted(folder.glob("*.fits")) if place not in path.name]
    files += (folder / changed).glob("*.fits")
    raw = assert_copied(folder / "1196175296.metafits", files)
    assert not raw.there[:, raw.there.any(axis=0)].all()


def test_mwax_integers(mwa_data):
    """The values are those listed beside the files, which count through channel, timestep, baseline, product."""
    folder = mwa_data / "1297526432_mwax_synthetic"
    assert_copied(folder / "1297526432.metafits")
    plan = mwaconvert.open(folder / "1297526432.metafits").plan(**OFF)
    vis = collect(plan).vis
    listed = np.genfromtxt(folder / "1297526432_dump.csv", delimiter=",", skip_header=1, dtype=np.float32)
    coarse, time, baseline, fine = listed[:, [0, 1, 2, 5]].astype(int).T
    in_use = np.isin(time, np.arange(plan.timesteps.start, plan.timesteps.stop))
    assert in_use.any()
    channel = coarse * plan.metadata.n_fine + fine
    cells = vis[time[in_use] - plan.timesteps.start, baseline[in_use], channel[in_use]]
    np.testing.assert_array_equal(cells, listed[in_use, 6:].copy().view(np.complex64))
    assert vis.size == 4 * in_use.sum()


# simulated: each number format of the raw files


@pytest.mark.parametrize(
    "kind",
    [
        {"like": "legacy-128"},
        {"like": "legacy-128", "bscale": 0.25},
        {"like": "legacy-128", "bscale": 0.1},
        {"like": "legacy-128", "compress": True},
        {"like": "mwax-128", "n_tiles": 9},
        {"like": "mwax-128", "n_tiles": 4, "fine_khz": 256.0},
        {"like": "mwax-256", "fine_khz": 640.0},
    ],
    ids=lambda kind: "-".join(str(value) for value in kind.values()),
)
def test_simulated(simulated, kind):
    kind = {"fine_khz": 320.0, "duration_s": 4.0, "coarse_channels": 2, "noise_jy": 100.0, **kind}
    assert_copied(simulated(**kind).metafits)


def test_half_second_batches_with_gaps(simulated):
    for kind in (
        {"like": "legacy-128", "fine_khz": 640.0},
        {"like": "mwax-128", "n_tiles": 9, "fine_khz": 160.0},
    ):
        sim = simulated(
            **kind,
            int_time_s=0.5,
            duration_s=4.0,
            batch_s=2.0,
            coarse_channels=3,
            noise_jy=1.0,
            missing=("ch=0,t=0-1", "ch=1,t=5", "last=1,ch=2", "t=3"),
        )
        raw = assert_copied(sim.metafits)
        expected = sim.present.hdus.copy()
        expected[-1, 2] = False
        np.testing.assert_array_equal(raw.there, expected)


def test_integers_in_mwax_files(simulated, tmp_path):
    """BITPIX 32 in visibility HDUs; the weights stay floats."""
    from astropy.io import fits

    sim = simulated(like="mwax-128", n_tiles=4, fine_khz=160.0, duration_s=4.0, noise_jy=100.0)
    shutil.copy(sim.metafits, tmp_path)
    for path in sim.raw:
        with fits.open(path) as hdus:
            for hdu in hdus[1::2]:
                hdu.data = np.rint(hdu.data).astype(np.int32)
            hdus.writeto(tmp_path / path.name)
    raw = assert_copied(tmp_path / sim.metafits.name)
    assert (raw.vis.real == np.rint(raw.vis.real)).all()
    assert raw.vis.any()
