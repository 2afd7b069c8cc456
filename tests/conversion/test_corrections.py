"""Factors and weights: cotter's dumps of single corrections, the equation written out, and the decisions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cotter_csv import FOLDER, TIMES_MJD, Dump, read_dump
from reference import averaged_cell, corrected_visibility

from mwaconvert.conversion.options import Options
from mwaconvert.conversion.tables.channels import fine_channel_frequencies_hz
from mwaconvert.conversion.tables.corrections import (
    SPEED_OF_LIGHT_M_S,
    antenna_factors,
    channel_weights,
    decide_corrections,
)
from mwaconvert.conversion.tables.geometry import antenna_uvw_m, antenna_xyz_m, phase_centre_rad
from mwaconvert.observation.metafits import read_metadata
from mwaconvert.observation.model import COTTER_POSITION, Metadata

ALL_COARSE = range(24)
POLARISATIONS = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.fixture
def obs(mwa_data: Path) -> Metadata:
    return read_metadata(mwa_data / FOLDER / "1254670392.metafits")


@pytest.fixture
def dump(mwa_data: Path):
    return lambda stem: read_dump(mwa_data / FOLDER / f"1254670392.cotter.{stem}.csv")


def frequencies(obs, coarse=ALL_COARSE):
    return np.concatenate([fine_channel_frequencies_hz(obs, k) for k in coarse])


def factors(obs, coarse=ALL_COARSE, *, cable=False, digital_gains=False, passband_kind="none"):
    return antenna_factors(
        obs,
        coarse,
        frequencies(obs, coarse),
        cable=cable,
        digital_gains=digital_gains,
        passband_kind=passband_kind,
    )


def applied(vis, antenna1, antenna2, factors):
    """V e_ip conj(e_jq) for vis (times, baselines, channels, 4)."""
    out = np.empty_like(vis)
    for k, (p, q) in enumerate(POLARISATIONS):
        out[..., k] = vis[..., k] * factors[antenna1, p] * factors[antenna2, q].conj()
    return out


def rotated(obs, dump: Dump):
    uvw = antenna_uvw_m(
        TIMES_MJD, phase_centre_rad(obs, Options()), antenna_xyz_m(obs, COTTER_POSITION), COTTER_POSITION
    )
    w_m = uvw[:, dump.antenna1, 2] - uvw[:, dump.antenna2, 2]
    cycles = w_m[..., None] * frequencies(obs) / SPEED_OF_LIGHT_M_S
    return dump.vis * np.exp(-2j * np.pi * cycles)[..., None]


def relative_error(found, expected):
    present = expected != 0
    return np.max(np.abs(found - expected)[present] / np.abs(expected)[present])


# --- cotter


def test_cable_delays_equal_cotter(obs, dump):
    none, cable = dump("none.uvfits"), dump("cable.uvfits")
    assert none.vis.shape == (2, 12, 768, 4)
    ours = applied(none.vis, none.antenna1, none.antenna2, factors(obs, cable=True).astype(complex))
    assert relative_error(ours, cable.vis) < 2e-7


def test_geometric_delays_equal_cotter(obs, dump):
    assert relative_error(rotated(obs, dump("none.uvfits")), dump("geom.uvfits").vis) < 2e-7


def test_all_delays_equal_cotter(obs, dump):
    none, corrected = dump("none.uvfits"), dump("corrected.ms")
    ours = applied(rotated(obs, none), none.antenna1, none.antenna2, factors(obs, cable=True).astype(complex))
    baselines = list(zip(none.antenna1, none.antenna2, strict=True))
    rows = [baselines.index(b) for b in zip(corrected.antenna1, corrected.antenna2, strict=True)]
    assert len(rows) == 8
    assert relative_error(ours[:1, rows], corrected.vis) < 2e-7


def test_digital_gains_equal_cotter(obs, dump):
    """One dump has gains but no passband, the other passband but no gains; its weights tell which."""
    gains, passband = dump("none.norfi.nopfb.ms"), dump("none.norfi.nodigital.pfb-cotter-40.ms")
    raw = passband.vis * passband.weight / 8
    ours = applied(raw, gains.antenna1, gains.antenna2, factors(obs, digital_gains=True).astype(complex))
    assert relative_error(ours, gains.vis) < 1e-6


def test_passband_equals_cotter(obs, dump):
    gains, passband = dump("none.norfi.nopfb.ms"), dump("none.norfi.nodigital.pfb-cotter-40.ms")
    raw = gains.vis / applied(
        np.ones_like(gains.vis), gains.antenna1, gains.antenna2, factors(obs, digital_gains=True)
    )
    ours = applied(raw, gains.antenna1, gains.antenna2, factors(obs, passband_kind="cotter").astype(complex))
    assert relative_error(ours, passband.vis) < 2e-6
    weights = channel_weights(obs, ALL_COARSE, "cotter")
    np.testing.assert_allclose(
        passband.weight, np.broadcast_to(weights[:, None], passband.weight.shape), 2e-6
    )


def test_averaging_semantics_equal_cotter(obs, dump):
    """The twin used for the averaging kernel: 2 integrations of 4 channels to one of 4 s, 160 kHz."""
    none, averaged = dump("none.uvfits"), dump("none.avg_4s_160khz.uvfits")
    assert (channel_weights(obs, ALL_COARSE, "none") == 8).all()
    for baseline in (0, 1, 7, 11):
        for channel in range(0, 192, 5):
            for pol in range(4):
                block = np.s_[:, baseline, 4 * channel : 4 * channel + 4, pol]
                vis, weight, flag = averaged_cell(none.vis[block], none.weight[block], none.flag[block])
                cell = 0, baseline, channel, pol
                assert weight == averaged.weight[cell]
                assert flag == averaged.flag[cell] or weight == 0
                # the dump prints 8 digits of values that are sums of larger ones
                scale = np.abs(none.vis[block]).mean()
                assert abs(vis - averaged.vis[cell]) <= 1e-7 * scale


# --- the equation


def test_factors_equal_the_equation(obs):
    coarse = [2, 17]
    rng = np.random.default_rng(5)
    obs = replace(obs, digital_gains=rng.uniform(0.5, 2, obs.digital_gains.shape))
    freqs = frequencies(obs, coarse)
    ours = factors(obs, coarse, cable=True, digital_gains=True, passband_kind="cotter")
    assert ours.shape == (128, 2, 64)
    assert ours.dtype == np.complex64
    response = channel_weights(obs, coarse, "cotter") / 8
    for i, j in [(0, 1), (5, 100), (127, 127), (90, 3)]:
        for p, q in POLARISATIONS:
            for channel in (0, 31, 32, 63):
                k = coarse[channel // 32]
                twin = corrected_visibility(
                    1 + 2j,
                    freqs[channel],
                    (obs.antennas[i].electrical_length_m[p], obs.antennas[j].electrical_length_m[q]),
                    (obs.digital_gains[i, p, k], obs.digital_gains[j, q, k]),
                    response[channel],
                )
                found = (1 + 2j) * complex(ours[i, p, channel]) * complex(ours[j, q, channel]).conjugate()
                assert abs(found - twin) < 3e-7 * abs(twin)


def test_autocorrelations_keep_no_phase(obs):
    ours = factors(obs, cable=True, digital_gains=True, passband_kind="cotter")
    products = ours * ours.conj()
    # not 0 where the product is computed with fused operations
    assert np.abs(products.imag / products.real).max() < 1e-7


def test_point_source_at_the_phase_centre_has_phase_zero(obs):
    """Voltages delayed by cable and path, corrected: real visibilities."""
    freqs = frequencies(obs, [0])
    centre = phase_centre_rad(obs, Options())
    uvw = antenna_uvw_m(TIMES_MJD[:1], centre, antenna_xyz_m(obs, COTTER_POSITION), COTTER_POSITION)[0]
    lengths = np.array([a.electrical_length_m for a in obs.antennas])
    # a longer cable delays the signal, a larger w brings it earlier
    delay_m = lengths - uvw[:, 2:]
    voltage = np.exp(-2j * np.pi * delay_m[..., None] * freqs / SPEED_OF_LIGHT_M_S)
    tracked = factors(obs, [0], cable=True) * np.exp(
        -2j * np.pi * uvw[:, 2, None, None] * freqs / SPEED_OF_LIGHT_M_S
    )
    corrected = voltage * tracked
    vis = np.einsum("ipf,jqf->ijpqf", corrected, corrected.conj())
    assert np.abs(np.angle(vis)).max() < 1e-5


def test_inputs_without_gain_are_left_alone(obs):
    gains = obs.digital_gains.copy()
    gains[3, 1] = 0
    obs = replace(obs, digital_gains=gains)
    assert (factors(obs, digital_gains=True)[3, 1] == 1).all()
    step = decide_corrections(obs, Options())[2]
    assert "1 inputs have gain 0" in step.reason


def test_weights(obs):
    obs = replace(obs, int_time_s=0.5, fine_width_hz=20e3, n_fine=64)
    weights = channel_weights(obs, [0, 1, 2], "none")
    assert weights.shape == (192,)
    assert weights.dtype == np.float32
    assert (weights == 1).all()


# --- decisions


def decisions(obs, **options):
    return {step.name: step for step in decide_corrections(obs, Options(**options))}


def test_an_old_observation_needs_everything(obs):
    steps = decisions(obs)
    assert list(steps) == ["cable delays", "geometric delays", "digital gains", "coarse passband"]
    assert all(step.applied for step in steps.values())
    assert "RA 0.0000, Dec -27.0000 deg" in steps["geometric delays"].reason


@pytest.mark.parametrize(
    ("changes", "options", "name", "applied", "words"),
    [
        ({"cabledel": 1}, {}, "cable delays", False, "the correlator applied them (CABLEDEL=1)"),
        ({"cabledel": 2}, {}, "cable delays", False, "CABLEDEL=2"),
        ({}, {"cable_delay": False}, "cable delays", False, "`cable_delay=False`"),
        ({"geodel": 3}, {}, "geometric delays", False, "the correlator tracked RA 0.0000"),
        ({"geodel": 3}, {"phase_centre_deg": (1.0, -27.0)}, "geometric delays", True, "difference"),
        ({"geodel": 3}, {"pointing_centre": True}, "geometric delays", True, "another centre (GEODEL=3)"),
        ({"geodel": 2}, {}, "geometric delays", True, "tile pointing (GEODEL=2)"),
        ({"geodel": 1}, {}, "geometric delays", True, "zenith (GEODEL=1)"),
        ({"geodel": 1}, {"geometric_delay": False}, "geometric delays", False, "`geometric_delay=False`"),
        ({"digital_gains_applied": True}, {}, "digital gains", False, "the correlator applied them"),
        ({}, {"digital_gains": False}, "digital gains", False, "`digital_gains=False`"),
        ({"has_global_gains": True}, {}, "digital gains", True, "CHANGAIN, which has one for all"),
        ({"deripple": True}, {}, "coarse passband", False, "DERIPPLE=1"),
        ({}, {"passband_gains": "none"}, "coarse passband", False, "`passband_gains=none`"),
        ({"oversampled": True}, {}, "coarse passband", True, "OVERSAMP=1"),
    ],
)
def test_decisions(obs, changes, options, name, applied, words):
    step = decisions(replace(obs, **changes), **options)[name]
    assert step.applied == applied
    assert words in step.reason


@pytest.mark.parametrize(("scale", "warned"), [(1.0, False), (64.0, True), (1 / 64, True)])
def test_gains_on_another_scale_are_said(obs, scale, warned):
    step = decisions(replace(obs, digital_gains=obs.digital_gains * scale))["digital gains"]
    assert step.applied
    assert ("factor of 64" in step.reason) == warned


def test_real_observations(mwa_data):
    """Every metafits at hand, of 2014 to 2026, gets decisions; gains are on the usual scale."""
    for path in sorted((mwa_data / "metafits").iterdir()):
        obs = read_metadata(path)
        steps = decisions(obs)
        assert steps["cable delays"].applied == (obs.correlator == "legacy" or obs.cabledel == 0)
        assert "factor of 64" not in steps["digital gains"].reason
        coarse = [0, len(obs.coarse_channels) - 1]
        assert np.isfinite(factors(obs, coarse, cable=True, digital_gains=True)).all()
