"""DM plans: the losses they state hold, and a search by them finds what one at full resolution finds."""

import numpy as np
import pytest
from filterbanks import channel_shapes, pulse

from mwaconvert.errors import InputError
from mwaconvert.spectra.dispersion import K_DM, delay_per_dm
from mwaconvert.transients import Spectra
from mwaconvert.transients.trials.dm_plan import averaging_loss, plan_dms

FREQS = 140 + 30 / 256 * (np.arange(256) + 0.5)  # wide channels: much smearing
DT = 1e-3


def measured_loss(factor: int, width: float, smear: float) -> float:
    """Mean over arrival times of the best boxcar, before and after averaging; samples."""
    spread = (np.arange(200) + 0.5) / 200 - 0.5
    best = {1: [], factor: []}
    for phase in (np.arange(32) + 0.5) * factor / 32:
        x = channel_shapes(600 + phase + smear * spread, width, 1280).mean(0)
        for n, found in best.items():
            total = np.concatenate([[0], np.cumsum(x.reshape(-1, n).sum(1))])
            widths = 2 ** np.arange(9)
            found.append(
                max((total[w:] - total[:-w]).max() / np.sqrt(w * n) for w in widths if w < total.size)
            )
    return 1 - np.mean(best[factor]) / np.mean(best[1])


@pytest.mark.parametrize("factor", [2, 8])
@pytest.mark.parametrize(("width", "smear"), [(1.0, 0.0), (2.0, 12.0), (6.0, 20.0), (20.0, 50.0)])
def test_loss_of_averaging(factor, width, smear):
    assert averaging_loss(factor, DT, width * DT, smear * DT) == pytest.approx(
        max(0, measured_loss(factor, width, smear)), abs=4e-3
    )


def test_stages():
    stages = plan_dms(FREQS, DT, 0, 200, 2e-3)
    factors = [s.downsample for s in stages]
    assert factors == sorted(factors)
    assert set(factors) >= {1, 2, 4, 8}
    assert all(s.loss <= 0.01 for s in stages)
    dms = np.concatenate([s.dms for s in stages])
    assert (dms[0], dms[-1]) == (0, 200)
    assert (np.diff(dms) > 0).all()
    steps = [np.diff(s.dms).max() for s in stages if s.dms.size > 1]
    assert steps == sorted(steps)
    # no step is wider than the width at its beginning allows
    across = delay_per_dm(FREQS).max()
    for stage, after in zip(stages, [*stages[1:], None], strict=True):
        ends = np.append(stage.dms, after.dms[0]) if after else stage.dms
        sweep = np.diff(ends).max() * across
        assert 1.386 * sweep**2 / 48 <= 0.0501 * stage.width_s**2
    last = stages[-1]
    low = FREQS[-1] - 30 / 512
    smear = K_DM * last.dms[0] * (low**-2 - (low + 30 / 256) ** -2)
    assert last.width_s == pytest.approx(np.hypot(2e-3, smear * 2.354820045 / 12**0.5), rel=1e-6)


def test_plans_without_smearing_or_with_one_dm():
    fine = 1220 + 300 / 4096 * (np.arange(4096) + 0.5)
    assert {s.downsample for s in plan_dms(fine, 1e-3, 0, 100, 1e-3)} == {1}
    only = plan_dms(FREQS, DT, 50, 50, 1e-3)
    assert [s.dms.tolist() for s in only] == [[50.0]]
    assert plan_dms(FREQS, 1e-4, 100, 110, 1e-3)[0].downsample > 1  # wide from the beginning


@pytest.mark.parametrize("dm", [3.0, 40.0])
def test_search_by_stages(dm):
    # a channel's smear, as the sky makes it
    fine = 140 + 30 / 1024 * (np.arange(1024) + 0.5)
    data = pulse(fine, 12000, DT, dm, 0.6, 3e-3, 60.0).reshape(256, 4, -1).mean(1)
    data = np.rint(100 + (data - 100) * 2).clip(0, 255).astype(np.uint8)
    spectra = Spectra(data, FREQS, DT)
    full = spectra.search(0, 50, width_min_s=2e-3)
    by_stages = spectra.search(0, 50, width_min_s=2e-3, downsample=True)
    assert by_stages.dms.size < 0.8 * full.dms.size
    assert by_stages.loss <= 0.02
    assert by_stages.best.snr == pytest.approx(full.best.snr, rel=0.06)
    assert by_stages.best.dm == pytest.approx(full.best.dm, abs=0.5)
    assert by_stages.best.time_s == pytest.approx(full.best.time_s, abs=0.02)
    again = spectra.search(0, 50, width_min_s=2e-3, downsample=True, threads=1)
    np.testing.assert_array_equal(again.detections, by_stages.detections)


def test_refusals():
    for call in (
        lambda: plan_dms(FREQS, DT, 10, 5, 1e-3),
        lambda: plan_dms(FREQS, DT, 0, np.nan, 1e-3),
        lambda: plan_dms(FREQS, DT, 0, 5, 0.0),
        lambda: Spectra(np.zeros((256, 900)), FREQS, DT).search(0, 1, dms=[0, 1], downsample=True),
        lambda: Spectra(np.zeros((256, 900)), FREQS, DT).search(0, 1, loss=0, downsample=True),
    ):
        with pytest.raises(InputError):
            call()
