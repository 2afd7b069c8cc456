"""Tiles that are dead or unlike the others, by their autocorrelations."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.arrays import FloatArray, IntArray
from mwaconvert.conversion.converter import BLOCK_BYTES, VALUE_BYTES, Buffers, RowKernels
from mwaconvert.conversion.options import Options
from mwaconvert.conversion.plan import Corrections, Flags, Rows, Selection
from mwaconvert.conversion.steps import State, Step, StepKind, unasked
from mwaconvert.conversion.tables import axes
from mwaconvert.conversion.tables.corrections import antenna_factors
from mwaconvert.observation.model import Metadata

#: integrations looked at, spread over the observation
SAMPLES = 5
#: fewer tiles cannot be compared with each other
LEAST_TILES = 5
#: power of a tile relative to the median tile below which it is called dead
DEAD_DB = -20.0
#: robust standard deviations over the tiles
OUTLIER_SIGMA = 6.0
#: least deviations that count, however much alike the other tiles are
LEAST_LEVEL_DB = 3.0
LEAST_SHAPE_DB = 1.0


def find_bad_tiles(
    selection: Selection, flags: Flags, corrections: Corrections, options: Options
) -> dict[int, str]:
    """Reasons to flag, by antenna index, of tiles that nothing flags yet.

    Looks at the autocorrelations of a few good integrations, with the digital gains taken out.

    Parameters
    ----------
    flags : by all other rules
    corrections : of the conversion: what is not the factors of tiles is applied here, too
    """
    tiles = np.flatnonzero(~flags.antennas)
    if len(tiles) < LEAST_TILES or flags.nothing_left:
        return {}
    return judge(tiles, auto_spectra(selection, flags, corrections, options, tiles))


def auto_spectra(
    selection: Selection, flags: Flags, corrections: Corrections, options: Options, tiles: IntArray
) -> FloatArray:
    """(n_tile, n_channel, 2 pol) median autocorrelation of unflagged channels; NaN where there is none."""
    n_good = (flags.chunks == _core.CHUNK_GOOD).sum(axis=1)
    good = np.flatnonzero((n_good > 0) & (n_good == n_good.max()))
    if len(good) == 0:
        return np.full((len(tiles), 1, 2), np.nan)
    chosen = good[np.unique(np.linspace(0, len(good) - 1, min(SAMPLES, len(good))).astype(int))]
    kernels = _auto_kernels(selection, flags, corrections, options, tiles)
    with closing(kernels):
        spectra = np.array([_powers(kernels, selection, step, len(tiles)) for step in chosen.tolist()])
    present = np.isfinite(spectra).any(axis=(0, 1, 3))
    if not present.any():
        return np.full((len(tiles), 1, 2), np.nan)
    return _median(spectra[:, :, present], 0)


def _auto_kernels(
    selection: Selection, flags: Flags, corrections: Corrections, options: Options, tiles: IntArray
) -> RowKernels:
    """Kernels that leave channels and times as they are and correct nothing of a tile but its digital gains."""
    meta = selection.metadata
    factors = antenna_factors(
        meta,
        selection.coarse,
        selection.freqs_hz,
        cable=False,
        digital_gains=not meta.digital_gains_applied,
        passband_kind="none",
    )
    autos = Rows(
        antenna1=tiles,
        antenna2=tiles,
        in_file=tiles * (2 * meta.n_antennas - tiles + 1) // 2,
        flagged=np.zeros(len(tiles), np.uint8),
    )
    return RowKernels(
        replace(selection, time_factor=1, freq_factor=1),
        flags,
        autos,
        replace(corrections, factors=np.ascontiguousarray(factors.transpose(0, 2, 1)), rotate=False),
        use_weights=not options.ignore_weights,
        threads=options.threads,
    )


def _powers(kernels: RowKernels, selection: Selection, step: int, n_tiles: int) -> FloatArray:
    """(n_tile, n_channel, 2 pol) autocorrelations of one integration; NaN where they are flagged."""
    at = selection.timesteps[step : step + 1]
    moment = kernels.moment(at, float(axes.gps_s(selection.metadata, selection.input_mjd(at)[0])))
    n_channels = len(selection.freqs_hz)
    at_once = int(np.clip(BLOCK_BYTES // (n_channels * 4 * VALUE_BYTES), 1, n_tiles))
    buffers = Buffers(at_once, n_channels)
    powers = np.full((n_tiles, n_channels, 2), np.nan)
    for start in range(0, n_tiles, at_once):
        rows = slice(start, min(start + at_once, n_tiles))
        vis, weight = buffers.vis[: rows.stop - start], buffers.weight[: rows.stop - start]
        kernels.convert(moment, rows, vis, weight)
        power = vis[..., [0, 3]].real
        usable = ~np.signbit(weight[..., [0, 3]]) & np.isfinite(power)
        powers[rows] = np.where(usable, power, np.nan)
    return powers


def judge(tiles: IntArray, spectra: FloatArray) -> dict[int, str]:
    """Reasons to flag, by antenna index.

    Parameters
    ----------
    tiles : (n_tile,) antenna indices
    spectra : (n_tile, n_channel, 2 pol) power of their autocorrelations
    """
    reasons: dict[int, list[str]] = {}
    for pol, name in enumerate("XY"):
        power = spectra[..., pol]
        level = _median(power, 1)  # (n_tile,)
        typical = float(_median(level[level > 0], 0)) if (level > 0).any() else 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            level_db = 10 * np.log10(np.where(level > 0, level, np.nan) / typical)
            shape_db = 10 * np.log10(np.where(power > 0, power, np.nan) / level[:, None])
        dead = ~(level_db > DEAD_DB)
        shape_db[dead] = np.nan
        roughness = np.sqrt(_mean((shape_db - _median(shape_db, 0)) ** 2))
        alive_db, rough = level_db[~dead], roughness[~dead]
        most_db = max(LEAST_LEVEL_DB, OUTLIER_SIGMA * _deviation(alive_db))
        typical_rough = float(_median(rough, 0)) if rough.size else 0.0
        most_rough = max(LEAST_SHAPE_DB, typical_rough + OUTLIER_SIGMA * _deviation(rough))
        centre_db = float(_median(alive_db, 0)) if alive_db.size else 0.0
        for k, tile in enumerate(tiles.tolist()):
            if dead[k]:
                reasons.setdefault(tile, []).append(f"{name} dead")
            elif abs(level_db[k] - centre_db) > most_db:
                reasons.setdefault(tile, []).append(f"{name} {level_db[k] - centre_db:+.1f} dB")
            elif roughness[k] > most_rough:
                reasons.setdefault(tile, []).append(f"{name} spectrum off by {roughness[k]:.1f} dB")
    return {tile: ", ".join(reasons[tile]) for tile in sorted(reasons)}


def bad_tile_step(
    metadata: Metadata,
    flagged: npt.NDArray[np.bool_],
    bad: Mapping[int, str] | None,
    *,
    nothing: bool = False,
) -> Step:
    """What was found, in words.

    Parameters
    ----------
    flagged : (n_antenna,) by other rules
    bad : None: it was not looked for
    nothing : there was nothing to compare
    """
    if bad is None:
        return unasked(StepKind.BAD_TILES)
    n = int((~flagged).sum())
    if n < LEAST_TILES:
        return Step(
            StepKind.BAD_TILES, State.IDLE, f"{n} tiles are too few to compare, it takes {LEAST_TILES}"
        )
    if nothing:
        return Step(StepKind.BAD_TILES, State.IDLE, "no unflagged data to compare")
    if not bad:
        return Step(StepKind.BAD_TILES, State.IDLE, f"the autocorrelations of all {n} tiles are alike")
    names = metadata.antennas
    told = "; ".join(f"{names[tile].name} ({reason})" for tile, reason in bad.items())
    return Step(StepKind.BAD_TILES, State.APPLIED, f"{len(bad)} of {n} by their autocorrelations: {told}")


def _median(values: FloatArray, axis: int) -> FloatArray:
    """Median along an axis of what is finite; NaN where nothing is."""
    finite = np.where(np.isfinite(values), values, np.nan)
    some = np.isfinite(finite).any(axis=axis, keepdims=True)
    filled = np.where(some, finite, 0)
    return np.where(np.squeeze(some, axis), np.nanmedian(filled, axis=axis), np.nan)


def _mean(values: FloatArray) -> FloatArray:
    """Mean along the last axis of what is finite; 0 where nothing is."""
    good = np.isfinite(values)
    return np.asarray(np.where(good, values, 0).sum(axis=-1) / np.maximum(1, good.sum(axis=-1)))


def _deviation(values: FloatArray) -> float:
    """Standard deviation, from the median distance to the median."""
    if values.size == 0:
        return 0.0
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
