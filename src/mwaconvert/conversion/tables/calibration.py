"""Calibration solutions brought to the channels and times of a plan, as matrices and flags for the kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import BoolArray, FloatArray, IntArray
from mwaconvert.conversion.options import Interpolation
from mwaconvert.formats.solutions import Solutions


@dataclass(frozen=True)
class Between:
    """Where points lie among others: the nearest, and for linear interpolation both neighbours.

    Attributes
    ----------
    nearest, other : indices; `other` is the neighbour on the far side of the point
    share : weight of `other`; 0 for the nearest alone
    """

    nearest: IntArray
    other: IntArray
    share: FloatArray


@dataclass(frozen=True)
class Calibration:
    """Solutions brought to the antennas and input channels of a plan.

    Attributes
    ----------
    jones : (n_blocks, n_antennas, n_solution_channels, 4) complex128, NaN where there is none
    channel : the input channels among those of `jones`
    covered : (n_channels,) input channels that the solutions reach
    times_gps_s : (n_blocks,) centres of the blocks
    """

    solutions: Solutions
    jones: npt.NDArray[np.complex128]
    channel: Between
    covered: BoolArray
    times_gps_s: FloatArray
    time_interpolation: Interpolation

    @property
    def constant(self) -> bool:
        return len(self.times_gps_s) == 1

    def blocks(self, gps_s: float) -> tuple[int, int, float]:
        """Nearest and other block at a time, and the weight of the other."""
        place = locate(np.array([gps_s]), self.times_gps_s, self.time_interpolation)
        return int(place.nearest[0]), int(place.other[0]), float(place.share[0])

    def valid(self, block: int) -> BoolArray:
        """(n_antennas, n_channels) input channels for which a block has a solution."""
        there = np.isfinite(self.jones[block]).all(axis=2)
        found: BoolArray = there[:, self.channel.nearest] & self.covered
        return found

    def in_frequency(self, block: int, at: npt.NDArray[np.integer]) -> npt.NDArray[np.complex128]:
        """(n_antennas, n, 4) matrices of one block at some input channels, NaN where there is none."""
        jones, place = self.jones[block], self.channel
        found: npt.NDArray[np.complex128] = jones[:, place.nearest[at]]
        share = place.share[at][:, None]
        if share.any():
            more = jones[:, place.other[at]]
            complete = np.isfinite(more).all(axis=2, keepdims=True)
            found = np.where(complete & (share > 0), (1 - share) * found + share * more, found)
        found[:, ~self.covered[at]] = np.nan
        found[~np.isfinite(found).all(axis=2)] = np.nan
        return found

    def gaps(
        self, gps_s: FloatArray, antenna_flagged: BoolArray, channel_flagged: BoolArray
    ) -> tuple[BoolArray, BoolArray]:
        """Antennas, and input channels, that have no solution at any of some times.

        Parameters
        ----------
        antenna_flagged, channel_flagged : what need not have one
        """
        used = np.unique(locate(gps_s, self.times_gps_s, "nearest").nearest)
        valid = np.any([self.valid(int(block)) for block in used], axis=0)
        antennas = ~valid[:, ~channel_flagged].any(axis=1) & ~antenna_flagged
        live = ~(antenna_flagged | antennas)
        return antennas, ~valid[live].any(axis=0) & ~channel_flagged


class JonesTables:
    """What the kernels take of a calibration, made anew only where it changes in time.

    Parameters
    ----------
    factors : (n_antennas, n_channels, 2) cable, gain and passband corrections, or None
    freq_factor, n_fine : input channels of an output channel, and of a coarse channel
    antenna1, antenna2 : (n_rows,)

    Attributes
    ----------
    factors : what of the factors the matrices have not taken in
    """

    def __init__(
        self,
        calibration: Calibration,
        factors: npt.NDArray[np.complex64] | None,
        freq_factor: int,
        n_fine: int,
        antenna1: npt.NDArray[np.integer],
        antenna2: npt.NDArray[np.integer],
    ) -> None:
        self._calibration = calibration
        self._antennas, self._n_fine = (antenna1, antenna2), n_fine
        n_channels = len(calibration.covered)
        self._at = np.arange(n_channels)
        self._folded = factors
        self.factors: npt.NDArray[np.complex64] | None = None
        if freq_factor > 1:
            first = np.arange(0, n_fine, freq_factor)
            of_output = np.repeat(first, np.diff(np.append(first, n_fine)))
            same = (np.arange(0, n_channels, n_fine)[:, None] + of_output).ravel()
            place, covered = calibration.channel, calibration.covered
            if (
                not place.share.any()
                and (place.nearest == place.nearest[same]).all()
                and (covered == covered[same]).all()
            ):
                # one matrix for an output channel: it waits until the channel is averaged
                self._at = np.unique(same)
                self._folded, self.factors = None, factors
        self._blocks: dict[int, npt.NDArray[np.complex64]] = {}
        self._made: tuple[int, int, float] | None = None
        self._jones = np.zeros((0, 0, 4), np.complex64)
        self._mask: npt.NDArray[np.uint8] | None = None

    def at(self, gps_s: float) -> npt.NDArray[np.complex64]:
        """(n_antennas, n_channels or output channels, 4); 0 where there is no solution."""
        wanted = self._calibration.blocks(gps_s)
        if wanted != self._made:
            self._make(wanted)
        return self._jones

    def mask(
        self, channel_flagged: npt.NDArray[np.uint8], row_flagged: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8] | None:
        """Cells without solution at the time of the last `at`: (n_coarse, n_rows, n_bytes) bits, as those of
        `FlagMask`, or None if flags of channels and rows say it all.
        """
        assert self._made is not None
        if self._mask is None:
            invalid = ~self._calibration.valid(self._made[0]) & (channel_flagged == 0)
            rows = (invalid[self._antennas[0]] | invalid[self._antennas[1]]) & (row_flagged == 0)[:, None]
            by_coarse = rows.reshape(len(rows), -1, self._n_fine).transpose(1, 0, 2)
            self._mask = np.packbits(by_coarse, axis=2, bitorder="little")
        return self._mask if self._mask.any() else None

    def _make(self, wanted: tuple[int, int, float]) -> None:
        nearest, other, share = wanted
        if self._made is None or self._made[0] != nearest:
            self._mask = None
        self._blocks = {k: v for k, v in self._blocks.items() if k in (nearest, other)}
        found = self._block(nearest)
        if share > 0:
            more = self._block(other)
            mixed = np.float32(1 - share) * found + np.float32(share) * more
            found = np.where(np.isfinite(mixed), mixed, found)
        self._jones = np.ascontiguousarray(np.where(np.isfinite(found), found, 0))
        self._made = wanted

    def _block(self, block: int) -> npt.NDArray[np.complex64]:
        if block not in self._blocks:
            jones = self._calibration.in_frequency(block, self._at)
            if self._folded is not None:
                jones = jones * self._folded[:, :, [0, 1, 0, 1]]
            self._blocks[block] = jones.astype(np.complex64)
        return self._blocks[block]


def locate(points: FloatArray, grid: FloatArray, interpolation: Interpolation) -> Between:
    """Find points in an ascending grid; beyond its ends the last value goes on."""
    above = np.clip(np.searchsorted(grid, points), 1, max(1, len(grid) - 1))
    below = above - 1
    above = np.minimum(above, len(grid) - 1)
    nearest = np.where(points - grid[below] <= grid[above] - points, below, above)
    other = below + above - nearest
    span = np.abs(grid[other] - grid[nearest])
    inside = (points > grid[0]) & (points < grid[-1])
    share = np.zeros(len(points))
    if interpolation == "linear":
        share = np.where(
            inside & (span > 0), np.abs(points - grid[nearest]) / np.where(span > 0, span, 1), 0.0
        )
    return Between(nearest.astype(np.int64), other.astype(np.int64), share)
