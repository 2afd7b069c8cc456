"""A conversion written down from its definition: raw data as mwalib reads them, the metafits as astropy reads it,
and the flags, selections and averages as a test states them in plain numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from conversions import SPEED_OF_LIGHT_M_S, RawData
from reference import FLAGGED, GOOD, MISSING, average_block, standard_geometry

from mwaconvert.observation.model import MWA_POSITION
from mwaconvert.simulate.metafits import Instrument, read_instrument
from mwaconvert.simulate.passband import passband


@dataclass
class Choices:
    """What a test asks for; indices as users count them.

    Attributes
    ----------
    times : raw timesteps
    coarse : indices into the channels of the metafits
    flagged_fine : in each coarse channel
    antennas : that rows are made of
    corrected : cables, gains, passband and geometry
    jones : (n_output_times, n_antennas, n_input_channels, 4) solutions, NaN where there is none
    mask : (n_times, n_rows, n_coarse * n_fine) flagged cells
    """

    times: Sequence[int]
    coarse: Sequence[int]
    time_factor: int = 1
    freq_factor: int = 1
    flagged_times: Sequence[int] = ()
    flagged_fine: Sequence[int] = ()
    flagged_coarse: Sequence[int] = ()
    flagged_antennas: Sequence[int] = ()
    antennas: Sequence[int] | None = None
    autos: bool = True
    flag_autos: bool = False
    use_weights: bool = True
    corrected: bool = True
    centre_deg: tuple[float, float] | None = None
    jones: npt.NDArray[np.complex128] | None = None
    mask: npt.NDArray[np.bool_] | None = None


@dataclass
class Expected:
    """vis, weight (n_times, n_rows, n_chan, 4), sign bit of weight: flagged; scale: size of the values that
    went into each; times in seconds of Unix time."""

    vis: npt.NDArray[np.complex128]
    weight: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    bad_cells: npt.NDArray[np.int64]
    antenna1: npt.NDArray[np.int64]
    antenna2: npt.NDArray[np.int64]
    freq_hz: npt.NDArray[np.float64]
    middle_s: list[float] = field(default_factory=list)
    centroid_s: list[float] = field(default_factory=list)
    interval_s: list[float] = field(default_factory=list)
    exposure_s: list[float] = field(default_factory=list)


def convert_slowly(raw: RawData, metafits: Path, choices: Choices) -> Expected:
    """What the definition gives."""
    with fits.open(metafits) as hdus:
        instrument = read_instrument(hdus)
        dut1_s = hdus[0].header["DUT1"]
    coarse, n_fine = list(choices.coarse), raw.vis.shape[3]
    rows = [
        (i, j)
        for i in range(instrument.n_antennas)
        for j in range(i, instrument.n_antennas)
        if (i != j or choices.autos)
        and (choices.antennas is None or (i in choices.antennas and j in choices.antennas))
    ]
    antenna1, antenna2 = np.array(rows).T
    all_rows = [(i, j) for i in range(instrument.n_antennas) for j in range(i, instrument.n_antennas)]
    in_file = [all_rows.index(row) for row in rows]
    dead = np.isin(antenna1, choices.flagged_antennas) | np.isin(antenna2, choices.flagged_antennas)
    row_flagged = dead | ((antenna1 == antenna2) & choices.flag_autos)

    band = passband(instrument.correlator, False, n_fine) if choices.corrected else np.ones(n_fine)
    nominal = instrument.int_time_s * instrument.fine_width_hz / 10e3
    channel_flagged = (
        np.isin(np.arange(n_fine), choices.flagged_fine)[None, :]
        | np.isin(coarse, choices.flagged_coarse)[:, None]
    )

    out = []
    times = _Times(raw, instrument, choices)
    expected = Expected(
        *(np.zeros(0) for _ in range(4)),  # type: ignore[call-overload]
        antenna1=antenna1,
        antenna2=antenna2,
        freq_hz=_mean_frequencies(raw.freq_hz[coarse], choices.freq_factor),
    )
    for first in range(0, len(choices.times), choices.time_factor):
        steps = list(choices.times[first : first + choices.time_factor])
        state = np.full((len(steps), len(coarse)), GOOD)
        state[np.isin(steps, choices.flagged_times)] = FLAGGED
        state[:, np.isin(coarse, choices.flagged_coarse)] = FLAGGED
        state[~raw.there[steps][:, coarse]] = MISSING
        cells = raw.vis[steps][:, coarse][:, :, in_file].astype(np.complex128)
        if choices.corrected:
            freq = raw.freq_hz[coarse]
            for k, step in enumerate(steps):
                w = times.w_m(step, dut1_s)
                path = (w[antenna1] - w[antenna2])[None, :, None] * freq[:, None, :]
                with np.errstate(invalid="ignore"):  # what is not finite stays so
                    cells[k] *= np.exp(-2j * np.pi / SPEED_OF_LIGHT_M_S * path)[..., None]
        mask = None if choices.mask is None else _by_coarse(choices.mask[first : first + len(steps)], n_fine)
        jones = None
        if choices.jones is not None:
            jones = choices.jones[first // choices.time_factor]
            no_solution = np.isnan(jones).any(axis=2)
            by_row = (no_solution[antenna1] | no_solution[antenna2]).reshape(len(rows), len(coarse), n_fine)
            mask = np.broadcast_to(by_row.swapaxes(0, 1), cells.shape[:4]) | (False if mask is None else mask)
            jones = np.where(no_solution[..., None], 0, jones)
        weight = raw.weight[steps][:, coarse][:, :, in_file].astype(np.float64)
        out.append(
            average_block(
                cells,
                weight if choices.use_weights else np.ones_like(weight),
                state,
                choices.freq_factor,
                choices.freq_factor > 1 or choices.time_factor > 1,
                antenna1,
                antenna2,
                row_flagged.astype(np.uint8),
                _input_factors(instrument, coarse, raw.freq_hz, band) if choices.corrected else None,
                np.tile(nominal * band, len(coarse)),
                channel_flagged.ravel().astype(np.uint8),
                mask,
                jones,
            )
        )
        times.add(expected, steps, state)
    expected.vis, expected.weight, expected.scale = (
        np.stack([getattr(block, name) for block in out]) for name in ("vis", "weight", "scale")
    )
    expected.bad_cells = np.sum([block.bad_cells for block in out], axis=0)
    return expected


def _by_coarse(mask: npt.NDArray[np.bool_], n_fine: int) -> npt.NDArray[np.bool_]:
    """(n_times, n_coarse, n_rows, n_fine)"""
    return mask.reshape(*mask.shape[:2], -1, n_fine).transpose(0, 2, 1, 3)


def _input_factors(
    instrument: Instrument, coarse: list[int], freq_hz: npt.NDArray[np.float64], band: npt.NDArray[np.float64]
) -> npt.NDArray[np.complex128]:
    """(n_antenna, n_coarse * n_fine, 2) what each input is multiplied by."""
    columns = []
    for c in coarse:
        cable = np.exp(2j * np.pi / SPEED_OF_LIGHT_M_S * instrument.cable_m[:, None, :] * freq_hz[c][:, None])
        columns.append(cable / instrument.gains[:, None, :, c] / np.sqrt(band)[:, None])
    return np.concatenate(columns, axis=1)


def _mean_frequencies(freq_hz: npt.NDArray[np.float64], factor: int) -> npt.NDArray[np.float64]:
    return np.array(
        [row[k : k + factor].mean() for row in freq_hz for k in range(0, len(row), factor)], np.float64
    )


class _Times:
    def __init__(self, raw: RawData, instrument: Instrument, choices: Choices) -> None:
        self._instrument = instrument
        self._centre = np.radians(choices.centre_deg or instrument.phase_centre_deg)
        self._middle_s = raw.unix_ms / 1e3 + instrument.int_time_s / 2

    def w_m(self, step: int, dut1_s: float) -> npt.NDArray[np.float64]:
        mjd = 40587 + (self._middle_s[step] + dut1_s) / 86400
        place = MWA_POSITION.latitude_rad, MWA_POSITION.longitude_rad
        return standard_geometry(mjd, *self._centre, self._instrument.position_m, *place).uvw_m[:, 2]

    def add(self, expected: Expected, steps: list[int], state: npt.NDArray[np.int64]) -> None:
        good = (state == GOOD).sum(axis=1)
        moments = self._middle_s[steps]
        middle = (moments[0] + moments[-1]) / 2
        expected.middle_s.append(middle)
        expected.centroid_s.append((good @ moments) / good.sum() if good.any() else middle)
        expected.interval_s.append(len(steps) * self._instrument.int_time_s)
        expected.exposure_s.append((good > 0).sum() * self._instrument.int_time_s)
