"""Turns the raw files of a plan into blocks, through the kernels, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.conversion.array_rfi import array_rfi_bytes
from mwaconvert.conversion.calibration import JonesTables
from mwaconvert.conversion.flagmask import BASE_BYTES, FlagMask, mask_bytes, mask_in_file
from mwaconvert.conversion.rawinput import RawInput
from mwaconvert.errors import InputError
from mwaconvert.formats.visibility import Block
from mwaconvert.observation.legacy import product_table, slot_inputs
from mwaconvert.qa.statistics import storage_bytes

if TYPE_CHECKING:
    from mwaconvert.conversion.plan import Plan

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


class Converter:
    """Turns the raw files of a plan into blocks, without the cells that `mask` flags."""

    def __init__(self, plan: Plan, mask: FlagMask | None = None) -> None:
        self.plan = plan
        self._mask = mask
        meta = plan.metadata
        self._legacy = meta.correlator == "legacy"
        self._raw = RawInput(plan)
        self._antenna1 = plan.header.antenna1.astype(np.int32)
        self._antenna2 = plan.header.antenna2.astype(np.int32)
        self._start_hz = np.ascontiguousarray(plan.freqs_hz.reshape(-1, meta.n_fine)[:, 0])
        self.rows_per_block = rows_per_block(plan)
        #: (n_bl,) cells left out for NaN or infinity
        self.bad_cells = np.zeros(plan.n_rows, np.int64)
        if self._legacy:
            product, conjugated = product_table(meta)
            self._product = np.ascontiguousarray(product[plan.file_rows], np.int32)
            self._conjugated = np.ascontiguousarray(conjugated[plan.file_rows], np.uint8)
            self._slot_antenna = np.asarray(slot_inputs(meta))[:, 0]
        self._tables: JonesTables | None = None
        if plan.calibration is not None:
            self._tables = JonesTables(
                plan.calibration,
                plan.factors,
                plan.freq_factor,
                meta.n_fine,
                self._antenna1,
                self._antenna2,
            )
        self._phasors: npt.NDArray[np.complex64] | None = None
        if plan.rotate:
            n_times, n_coarse = min(plan.time_factor, len(plan.timesteps)), len(plan.coarse)
            shape = (meta.n_fine, len(self._slot_antenna)) if self._legacy else (meta.n_antennas, meta.n_fine)
            self._phasors = np.empty((n_times, n_coarse, *shape), np.complex64)

    def __enter__(self) -> Converter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    def make_buffers(self) -> Buffers:
        return Buffers(self.rows_per_block, self.plan.n_channels)

    def blocks(self, next_buffers: Callable[[], Buffers]) -> Iterator[tuple[Block, Buffers]]:
        """All blocks in order, each in the buffers that `next_buffers` hands out."""
        plan = self.plan
        for time_index in range(plan.n_times):
            steps = plan.input_steps(time_index)
            chunks = self._raw.chunks(steps)
            phasors = self._rotation(steps)
            jones = None if self._tables is None else self._tables.at(plan.gps_s(time_index))
            mask = self._step_mask(steps)
            uvw = plan.antenna_uvw_m(plan.header.centroid_mjd[time_index : time_index + 1])[0]
            for start in range(0, plan.n_rows, self.rows_per_block):
                rows = slice(start, min(start + self.rows_per_block, plan.n_rows))
                buffers = next_buffers()
                n = rows.stop - rows.start
                vis, weight = buffers.vis[:n], buffers.weight[:n]
                self._convert(chunks, phasors, jones, mask, rows, vis, weight)
                uvw_m = uvw[plan.header.antenna1[rows]] - uvw[plan.header.antenna2[rows]]
                yield Block(time_index, rows, vis, weight, uvw_m), buffers

    def _convert(
        self,
        chunks: npt.NDArray[np.void],
        phasors: npt.NDArray[np.complex64] | None,
        jones: npt.NDArray[np.complex64] | None,
        mask: npt.NDArray[np.uint8] | None,
        rows: slice,
        vis: npt.NDArray[np.complex64],
        weight: npt.NDArray[np.float32],
    ) -> None:
        plan = self.plan
        common: dict[str, Any] = {
            "chunks": chunks,
            "n_fine": plan.metadata.n_fine,
            "freq_factor": plan.freq_factor,
            "averaged": plan.averaged,
            "antenna1": self._antenna1[rows],
            "antenna2": self._antenna2[rows],
            "row_flagged": plan.row_flagged[rows],
            "factors": plan.factors if self._tables is None else self._tables.factors,
            "jones": jones,
            "channel_weight": plan.channel_weight,
            "channel_flagged": plan.channel_flagged,
            "mask": None if mask is None else mask[:, :, rows],
            "phasors": phasors,
            "vis": vis,
            "weight": weight,
            "bad_cells": self.bad_cells[rows],
            "threads": plan.options.threads,
        }
        with self._raw.naming_files(chunks):
            if self._legacy:
                _core.convert_legacy(
                    **common,
                    n_slot=len(self._slot_antenna),
                    product=self._product[rows],
                    conjugated=self._conjugated[rows],
                    van_vleck_samples=plan.van_vleck_samples,
                )
            else:
                _core.convert_mwax(
                    **common, file_row=plan.file_rows[rows], use_weights=not plan.options.ignore_weights
                )

    def _step_mask(self, steps: range) -> npt.NDArray[np.uint8] | None:
        """(n_times, n_coarse, n_rows, n_bytes) flagged cells: of the mask, and those without a solution."""
        plan = self.plan
        mask = None
        if self._mask is not None:
            first = steps.start - plan.timesteps.start
            mask = self._mask.steps(slice(first, first + len(steps)))
        if self._tables is None:
            return mask
        unsolved = self._tables.mask(plan.channel_flagged, plan.row_flagged)
        if unsolved is None:
            return mask
        return np.broadcast_to(unsolved, (len(steps), *unsolved.shape)) if mask is None else mask | unsolved

    def _rotation(self, steps: range) -> npt.NDArray[np.complex64] | None:
        if self._phasors is None:
            return None
        w = self.plan.antenna_rotation_m(self.plan.input_mjd(steps))
        if self._legacy:
            w = w[:, self._slot_antenna]
        phasors = self._phasors[: len(steps)]
        _core.antenna_phasors(
            np.ascontiguousarray(w),
            self._start_hz,
            self.plan.metadata.fine_width_hz,
            self._legacy,
            phasors,
            self.plan.options.threads,
        )
        return phasors


def rows_per_block(plan: Plan) -> int:
    """Rows that a block holds.

    MWAX files are ordered by baseline, so a block of any size reads its own part of them. Legacy files are
    ordered by channel: all rows at once, unless --max-memory forces several passes over the input.
    """
    row_bytes = plan.n_channels * 4 * VALUE_BYTES
    room = 2 * BLOCK_BYTES if plan.metadata.correlator == "mwax" else None
    if plan.options.max_memory_gib is not None:
        budget = plan.options.max_memory_gib * 2**30 - fixed_bytes(plan)
        if budget < 2 * row_bytes:
            raise InputError(
                f"--max-memory {plan.options.max_memory_gib:g} GiB is too little: this conversion needs at least "
                f"{(fixed_bytes(plan) + 2 * row_bytes) / 2**30:.2f} GiB"
            )
        room = int(budget) if room is None else min(room, int(budget))
    if room is None:
        return plan.n_rows
    return int(np.clip(room // (2 * row_bytes), 1, plan.n_rows))


def fixed_bytes(plan: Plan) -> int:
    """Memory that does not depend on the block size: interpreter and libraries, tables, scratch of threads."""
    meta = plan.metadata
    columns = 2 * meta.n_antennas if meta.correlator == "legacy" else meta.n_antennas
    n_times = min(plan.time_factor, len(plan.timesteps))
    phasors = n_times * len(plan.freqs_hz) * columns * 8 if plan.rotate else 0
    factors = 0 if plan.factors is None else plan.factors.nbytes
    if plan.calibration is not None:
        n_tables = 2 if plan.calibration.constant else 5
        factors += meta.n_antennas * len(plan.freqs_hz) * 32 * n_tables + 2 * plan.calibration.jones.nbytes
    threads = plan.options.threads or _core.available_threads()
    scratch = threads * (20 << 20)
    statistics = 0
    if plan.options.statistics:
        statistics = storage_bytes(plan.n_rows, len(plan.header.spectral_windows))
    looks = plan.options.rfi != "none" or plan.options.rfi_array or plan.flag_files
    mask = mask_bytes(plan) if looks and not mask_in_file(plan) else 0
    return phasors + factors + scratch + statistics + mask + BASE_BYTES


def memory_bytes(plan: Plan) -> int:
    """Estimate of the peak memory of `run`."""
    detection = 0 if plan.detection is None else plan.detection.peak_bytes
    if plan.options.rfi_array:
        detection = max(detection, array_rfi_bytes(len(plan.timesteps), len(plan.freqs_hz)))
    return max(detection, fixed_bytes(plan) + 2 * rows_per_block(plan) * plan.n_channels * 4 * VALUE_BYTES)
