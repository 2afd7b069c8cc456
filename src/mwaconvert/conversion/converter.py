"""Turns the raw files of a plan into blocks, through the kernels, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.arrays import FloatArray
from mwaconvert.constants import SECONDS_PER_DAY
from mwaconvert.conversion.plan import Corrections, Flags, Plan, Rows, Selection
from mwaconvert.conversion.rawinput import RawInput
from mwaconvert.conversion.rfi.array import array_rfi_bytes
from mwaconvert.conversion.rfi.mask import FlagMask, mask_bytes
from mwaconvert.conversion.tables.calibration import JonesTables
from mwaconvert.errors import InputError
from mwaconvert.machine import BASE_BYTES
from mwaconvert.observation.legacy import product_table, slot_inputs
from mwaconvert.visibilities.model import Block
from mwaconvert.visibilities.statistics import storage_bytes

#: aimed at for the buffers of a block: large enough to amortise a call, small enough to be in the caches still
#: when statistics and writers read it
BLOCK_BYTES = 8 << 20
#: one value of a block: complex64 and a float32 weight
VALUE_BYTES = 12


class Buffers:
    """Memory of one block."""

    def __init__(self, n_rows: int, n_channels: int) -> None:
        self.vis = np.empty((n_rows, n_channels, 4), np.complex64)
        self.weight = np.empty((n_rows, n_channels, 4), np.float32)


@dataclass(frozen=True)
class Moment:
    """What the kernels take for all rows of one output timestep.

    Attributes
    ----------
    chunks : (n_times, n_coarse) where the data lie
    phasors : of the rotation to the phase centre, if there is one
    jones : matrices of the calibration, if there is one
    mask : (n_times, n_coarse, n_rows, n_bytes) flagged cells
    """

    chunks: npt.NDArray[np.void]
    phasors: npt.NDArray[np.complex64] | None
    jones: npt.NDArray[np.complex64] | None
    mask: npt.NDArray[np.uint8] | None


class RowKernels:
    """The conversion kernels with the tables that they need: rows of an output timestep out of raw data.

    Attributes
    ----------
    bad_cells : (n_bl,) cells left out so far for NaN or infinity
    """

    def __init__(
        self,
        selection: Selection,
        flags: Flags,
        rows: Rows,
        corrections: Corrections,
        *,
        use_weights: bool,
        threads: int,
    ) -> None:
        meta = selection.metadata
        self._selection, self._flags, self._rows, self._corrections = selection, flags, rows, corrections
        self._use_weights, self._threads = use_weights, threads
        self._raw = RawInput(selection, flags)
        self._antenna1 = rows.antenna1.astype(np.int32)
        self._antenna2 = rows.antenna2.astype(np.int32)
        self.bad_cells = np.zeros(len(rows), np.int64)
        self._legacy = meta.correlator == "legacy"
        if self._legacy:
            product, conjugated = product_table(meta)
            self._product = np.ascontiguousarray(product[rows.in_file], np.int32)
            self._conjugated = np.ascontiguousarray(conjugated[rows.in_file], np.uint8)
            self._n_slot = len(slot_inputs(meta))
        self._tables: JonesTables | None = None
        if corrections.calibration is not None:
            self._tables = JonesTables(
                corrections.calibration,
                corrections.factors,
                selection.freq_factor,
                meta.n_fine,
                self._antenna1,
                self._antenna2,
            )

    def moment(
        self,
        steps: range,
        gps_s: float,
        phasors: npt.NDArray[np.complex64] | None = None,
        found: FlagMask | None = None,
    ) -> Moment:
        """What all rows of some input timesteps share.

        Parameters
        ----------
        gps_s : time at which the calibration is taken
        found : cells to flag besides those without a solution
        """
        chunks = self._raw.chunks(steps)
        jones = None if self._tables is None else self._tables.at(gps_s)
        return Moment(chunks, phasors, jones, self._mask(steps, found))

    def convert(
        self, moment: Moment, rows: slice, vis: npt.NDArray[np.complex64], weight: npt.NDArray[np.float32]
    ) -> None:
        """Fill (n_rows, n_channels, 4) values and weights of some rows."""
        selection, corrections = self._selection, self._corrections
        common: dict[str, Any] = {
            "chunks": moment.chunks,
            "n_fine": selection.metadata.n_fine,
            "freq_factor": selection.freq_factor,
            "averaged": selection.averaged,
            "antenna1": self._antenna1[rows],
            "antenna2": self._antenna2[rows],
            "row_flagged": self._rows.flagged[rows],
            "factors": corrections.factors if self._tables is None else self._tables.factors,
            "jones": moment.jones,
            "channel_weight": corrections.channel_weight,
            "channel_flagged": self._flags.channels,
            "mask": None if moment.mask is None else moment.mask[:, :, rows],
            "phasors": moment.phasors,
            "vis": vis,
            "weight": weight,
            "bad_cells": self.bad_cells[rows],
            "threads": self._threads,
        }
        with self._raw.naming_files(moment.chunks):
            if self._legacy:
                _core.convert_legacy(
                    **common,
                    n_slot=self._n_slot,
                    product=self._product[rows],
                    conjugated=self._conjugated[rows],
                    van_vleck_samples=corrections.van_vleck_samples,
                )
            else:
                _core.convert_mwax(**common, file_row=self._rows.in_file[rows], use_weights=self._use_weights)

    def close(self) -> None:
        """Close the raw files."""
        self._raw.close()

    def _mask(self, steps: range, found: FlagMask | None) -> npt.NDArray[np.uint8] | None:
        mask = None
        if found is not None:
            first = steps.start - self._selection.timesteps.start
            mask = found.steps(slice(first, first + len(steps)))
        unsolved = (
            None if self._tables is None else self._tables.mask(self._flags.channels, self._rows.flagged)
        )
        if unsolved is None:
            return mask
        return np.broadcast_to(unsolved, (len(steps), *unsolved.shape)) if mask is None else mask | unsolved


class Converter:
    """Turns the raw files of a plan into blocks, without the cells that `mask` flags."""

    def __init__(self, plan: Plan, mask: FlagMask | None = None) -> None:
        self.plan = plan
        self._mask = mask
        self._kernels = RowKernels(
            plan.selection,
            plan.flags,
            plan.rows,
            plan.corrections,
            use_weights=not plan.options.ignore_weights,
            threads=plan.resources.threads,
        )
        self._start_hz = np.ascontiguousarray(plan.selection.freqs_hz.reshape(-1, plan.metadata.n_fine)[:, 0])
        self.rows_per_block = rows_per_block(plan)
        self._slot_antenna = (
            np.asarray(slot_inputs(plan.metadata))[:, 0] if plan.metadata.correlator == "legacy" else None
        )
        self._phasors = _room_for_phasors(plan) if plan.corrections.rotate else None

    def __enter__(self) -> Converter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kernels.close()

    @property
    def bad_cells(self) -> npt.NDArray[np.int64]:
        """(n_bl,) cells left out for NaN or infinity."""
        return self._kernels.bad_cells

    def make_buffers(self) -> Buffers:
        return Buffers(self.rows_per_block, self.plan.n_channels)

    def blocks(self, next_buffers: Callable[[], Buffers]) -> Iterator[tuple[Block, Buffers]]:
        """All blocks in order, each in the buffers that `next_buffers` hands out."""
        plan = self.plan
        for time_index in range(plan.n_times):
            steps = plan.input_steps(time_index)
            phasors = self._rotation(steps)
            moment = self._kernels.moment(steps, plan.gps_s(time_index), phasors, self._mask)
            uvw = plan.antenna_uvw_m(plan.header.centroid_mjd[time_index : time_index + 1])[0]
            for start in range(0, plan.n_rows, self.rows_per_block):
                rows = slice(start, min(start + self.rows_per_block, plan.n_rows))
                buffers = next_buffers()
                n = rows.stop - rows.start
                vis, weight = buffers.vis[:n], buffers.weight[:n]
                self._kernels.convert(moment, rows, vis, weight)
                uvw_m = uvw[plan.rows.antenna1[rows]] - uvw[plan.rows.antenna2[rows]]
                yield Block(time_index, rows, vis, weight, uvw_m), buffers

    def _rotation(self, steps: range) -> npt.NDArray[np.complex64] | None:
        if self._phasors is None:
            return None
        phasors, mjd = self._phasors[: len(steps)], self.plan.input_mjd(steps)
        self._fill_phasors(mjd, self._start_hz, phasors)
        shift_s = self.plan.selection.shift_s(steps)
        for coarse in np.flatnonzero(shift_s.any(axis=0)):
            # a file with a clock of its own: phases belong to the time that the data have
            own = np.empty_like(phasors[:, coarse : coarse + 1], order="C")
            shifted = mjd + shift_s[:, coarse] / SECONDS_PER_DAY
            self._fill_phasors(shifted, self._start_hz[coarse : coarse + 1], own)
            phasors[:, coarse] = own[:, 0]
        return phasors

    def _fill_phasors(
        self, mjd: FloatArray, start_hz: FloatArray, phasors: npt.NDArray[np.complex64]
    ) -> None:
        legacy = self._slot_antenna is not None
        w = self.plan.antenna_rotation_m(mjd)
        if legacy:
            w = w[:, self._slot_antenna]
        width_hz, threads = self.plan.metadata.fine_width_hz, self.plan.resources.threads
        _core.antenna_phasors(np.ascontiguousarray(w), start_hz, width_hz, legacy, phasors, threads)


def _room_for_phasors(plan: Plan) -> npt.NDArray[np.complex64]:
    meta, selection = plan.metadata, plan.selection
    n_times, n_coarse = min(selection.time_factor, len(plan.timesteps)), len(plan.coarse)
    legacy = meta.correlator == "legacy"
    shape = (meta.n_fine, len(slot_inputs(meta))) if legacy else (meta.n_antennas, meta.n_fine)
    return np.empty((n_times, n_coarse, *shape), np.complex64)


def rows_per_block(plan: Plan) -> int:
    """Rows that a block holds.

    MWAX files are ordered by baseline, so a block of any size reads its own part of them. Legacy files are
    ordered by channel: all rows at once, unless `max_memory_gib` forces several passes over the input.
    """
    row_bytes = plan.n_channels * 4 * VALUE_BYTES
    room = 2 * BLOCK_BYTES if plan.metadata.correlator == "mwax" else None
    if plan.options.max_memory_gib is not None:
        budget = plan.options.max_memory_gib * 2**30 - fixed_bytes(plan)
        if budget < 2 * row_bytes:
            raise InputError(
                f"`max_memory_gib={plan.options.max_memory_gib:g}` GiB is too little: this conversion needs at least "
                f"{(fixed_bytes(plan) + 2 * row_bytes) / 2**30:.2f} GiB",
                option="max_memory_gib",
            )
        room = int(budget) if room is None else min(room, int(budget))
    if room is None:
        return plan.n_rows
    return int(np.clip(room // (2 * row_bytes), 1, plan.n_rows))


def fixed_bytes(plan: Plan) -> int:
    """Memory that does not depend on the block size: interpreter and libraries, tables, scratch of threads."""
    meta, selection, corrections = plan.metadata, plan.selection, plan.corrections
    columns = 2 * meta.n_antennas if meta.correlator == "legacy" else meta.n_antennas
    n_times, n_chan = min(selection.time_factor, len(plan.timesteps)), len(selection.freqs_hz)
    phasors = n_times * n_chan * columns * 8 if corrections.rotate else 0
    factors = 0 if corrections.factors is None else corrections.factors.nbytes
    if corrections.calibration is not None:
        n_tables = 2 if corrections.calibration.constant else 5
        factors += meta.n_antennas * n_chan * 32 * n_tables + 2 * corrections.calibration.jones.nbytes
    scratch = plan.resources.threads * (20 << 20)
    statistics = 0
    if plan.options.statistics:
        statistics = storage_bytes(plan.n_rows, len(plan.header.spectral_windows))
    looks = plan.options.rfi != "none" or plan.options.rfi_array or plan.flag_files
    mask = mask_bytes(selection, plan.n_rows) if looks and not plan.resources.mask_in_file else 0
    return phasors + factors + scratch + statistics + mask + BASE_BYTES


def memory_bytes(plan: Plan) -> int:
    """Estimate of the peak memory of `run`."""
    detection = 0 if plan.detection is None else plan.detection.peak_bytes
    if plan.options.rfi_array:
        detection = max(detection, array_rfi_bytes(len(plan.timesteps), len(plan.selection.freqs_hz)))
    return max(detection, fixed_bytes(plan) + 2 * rows_per_block(plan) * plan.n_channels * 4 * VALUE_BYTES)
