"""Interference that all baselines share: the sums are those of the raw data, faint shapes are found, noise is not."""

import json

import numpy as np
import pytest
from astropy.io import fits
from conversions import NOTHING, UNFLAGGED, collect

import mwaconvert
from mwaconvert.conversion.pipeline import find_flags
from mwaconvert.conversion.rfi.array import (
    RAYLEIGH,
    incoherent_differences,
    make_shapes,
    match,
)
from mwaconvert.simulate import simulate


def make(folder, like="mwax-128", **more):
    settings = {"duration_s": 16, "coarse_channels": 2, "noise_jy": 20, "seed": 3} | more
    if like == "mwax-128":
        settings.setdefault("n_tiles", 12)
    return simulate(folder, like, **settings).metafits


@pytest.mark.parametrize(
    ("like", "compress"), [("mwax-128", False), ("legacy-128", False), ("legacy-128", True)]
)
@pytest.mark.parametrize("threads", [1, 3])
def test_sums_are_those_of_the_raw_data(tmp_path, like, compress, threads):
    metafits = make(
        tmp_path,
        like,
        duration_s=10,
        fine_khz=160,
        missing=["ch=1,t=3"],
        compress=compress,
        flagged_tiles=[3],
    )
    observation = mwaconvert.open(metafits)
    plan = observation.plan(**NOTHING, **UNFLAGGED | {"flag_metafits": True}, threads=threads)
    sums, counts, n = incoherent_differences(plan)
    vis = collect(plan).vis.astype(np.complex128)
    used = (plan.header.antenna1 != plan.header.antenna2) & (plan.rows.flagged == 0)
    assert n == used.sum()
    expected = np.abs(np.diff(vis[:, used], axis=0)).sum(axis=1)
    there = np.ones(expected.shape, bool)
    there[2:4, 8:] = False  # of the lost integration
    np.testing.assert_allclose(sums, np.where(there, expected, 0), rtol=1e-5)
    np.testing.assert_array_equal(counts, there * n)


def test_nothing_to_look_at(tmp_path):
    plan = mwaconvert.open(make(tmp_path)).plan(sel_ants=(3,), rfi_array=True)
    found = find_flags(plan, lambda _: None).array_rfi
    assert found.summary() == "nothing to look at: no baseline between unflagged tiles"


def test_sums_do_not_depend_on_threads_or_bad_values(tmp_path):
    metafits = make(tmp_path)
    file = next(tmp_path.glob("*_ch*.fits"))
    with fits.open(file, mode="update") as hdus:
        hdus[1].data[5, 8] = np.nan
    found = [
        incoherent_differences(mwaconvert.open(metafits).plan(flag_init_s=0.0, threads=k)) for k in (1, 2, 5)
    ]
    for sums, counts, _ in found[1:]:
        assert sums.tobytes() == found[0][0].tobytes()
        assert counts.tobytes() == found[0][1].tobytes()
    assert np.isfinite(found[0][0]).all()
    assert (found[0][1] == 66).sum() == found[0][1].size - 1


def noise(n_times, n_channels, n_baselines, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n_times, n_channels, 4)
    mean = 5 * (1 + rng.normal(size=shape) * np.sqrt(RAYLEIGH / n_baselines))
    return mean * n_baselines, np.full(shape, n_baselines)


FREQS = 172e6 + 40e3 * np.arange(384)
FLAGGED = np.arange(384) % 32 < 2
SHAPES = make_shapes(FREQS, FLAGGED)


def test_noise_is_left_alone():
    n_found = sum(len(match(*noise(100, 384, 4000, k), FLAGGED, SHAPES)[1].found) for k in range(5))
    assert n_found <= 1  # 1.5 million numbers, of which 1 in 3 million is above 5 sigma


@pytest.mark.parametrize(
    ("name", "channels", "excess"),
    [
        ("television channel 6", (FREQS >= 174e6) & (FREQS < 181e6), 0.004),
        ("streak", np.ones(384, bool), 0.003),
        ("narrowband", np.arange(384) == 100, 0.08),
    ],
)
def test_faint_shapes_are_found(name, channels, excess):
    """Each cell has an excess of less than 1 sigma, but for the single channel."""
    sums, counts = noise(60, 384, 4000)
    sums[20:24, channels] *= 1 + excess
    sums[40, channels] *= 1 + excess
    significance, matches = match(sums, counts, FLAGGED, SHAPES)
    events = matches.events(FREQS - 20e3, FREQS + 20e3, 3)
    assert {event.shape for event in events} == {name}
    assert sorted(event.timesteps for event in events) == [(23, 27), (43, 44)]
    wanted = np.zeros((60, 384), bool)
    wanted[[20, 21, 22, 23, 40]] = channels & ~FLAGGED
    np.testing.assert_array_equal(matches.flags, wanted)
    assert np.isnan(significance[:, FLAGGED]).all()


def test_strong_bursts_do_not_spoil_the_line():
    """A burst of ten thousand times the noise near the end, another of a tenth of it: only they are flagged."""
    sums, counts = noise(29, 384, 2000)
    sums[25:27, 66:76] *= 1e4
    sums[5, 66:76] *= 1e3
    _, matches = match(sums, counts, FLAGGED, SHAPES)
    wanted = np.zeros((29, 384), bool)
    wanted[[5, 25, 26], 66:76] = True
    np.testing.assert_array_equal(matches.flags, wanted & ~FLAGGED)


def test_drift_of_the_receivers_is_no_interference():
    sums, counts = noise(60, 384, 4000)
    sums *= np.linspace(1, 1.05, 60)[:, None, None]
    assert not match(sums, counts, FLAGGED, SHAPES)[1].found


def test_television_channels():
    assert [shape.name for shape in SHAPES] == [
        "television channel 6",
        "television channel 7",
        "streak",
    ]
    inside = make_shapes(175e6 + 40e3 * np.arange(64), np.zeros(64, bool))
    assert [shape.name for shape in inside] == ["streak"]  # within one channel, both would be the same


def test_faint_burst_is_flagged(tmp_path):
    """A burst of an eighth of the noise, invisible on a single baseline."""
    metafits = make(tmp_path, n_tiles=48, duration_s=32, seed=8)
    for file in sorted(tmp_path.glob("*_ch*.fits")):
        with fits.open(file, mode="update") as hdus:
            pairs = hdus[2 * 9 + 1].data.reshape(1176, -1, 2)
            pairs[..., 0] += 0.45 * np.std(pairs[1::7])
    plan = mwaconvert.open(metafits).plan(rfi_array=True, rfi="none", flag_init_s=0.0)
    report = plan.run(tmp_path / "a.uvfits", qa=tmp_path / "a.png")
    assert [(e.shape, e.timesteps) for e in report.array_rfi.events] == [("streak", (8, 10))]
    good = report.occupancy.timestep < 1
    assert np.flatnonzero(~good).tolist() == [8, 9, 10]
    facts = json.loads(report.to_json())
    assert facts["rfi_array"]["events"][0]["shape"] == "streak"
    assert facts["rfi_array"]["baselines"] == 48 * 47 // 2
    assert {r["name"]: r["cells"] for r in facts["flag_rules"]}["array RFI"] == 3 * 56 * 1176
    assert "streak, 1" in report.to_text()
    blocks = collect(plan, find_flags(plan, lambda _: None).mask)
    assert blocks.flags[8:11].all()
    assert not blocks.flags[:8].all()


@pytest.mark.parametrize(("freq_factor", "channels"), [(4, 2), (3, (120, 121, 130))])
def test_picture_of_averaged_data(tmp_path, freq_factor, channels):
    """The search looks at input channels, the rest of the picture at those written."""
    metafits = make(tmp_path, coarse_channels=channels)
    plan = mwaconvert.open(metafits).plan(rfi_array=True, rfi="none", time_factor=2, freq_factor=freq_factor)
    plan.run(tmp_path / "a.ms", qa=tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10000


def test_too_short(tmp_path):
    plan = mwaconvert.open(make(tmp_path, duration_s=4)).plan(rfi_array=True)
    step = next(step for step in plan.steps if step.name == "array RFI")
    assert not step.applied
    assert step.reason == "2 integrations are too few, it takes 4"
    assert plan.run(tmp_path / "a.uvfits").array_rfi is None


def test_too_little_memory(tmp_path):
    observation = mwaconvert.open(make(tmp_path))
    with pytest.raises(mwaconvert.InputError, match=r"0\.01` GiB is too little: `rfi_array` needs"):
        observation.plan(rfi_array=True, max_memory_gib=0.01)
