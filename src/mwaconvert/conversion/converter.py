"""Turns the raw files of a plan into blocks, through the kernels, in bounded memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.conversion.calibration import JonesTables
from mwaconvert.conversion.flagmask import FlagMask
from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.formats.visibility import Block
from mwaconvert.observation.legacy import product_table, slot_inputs
from mwaconvert.qa.statistics import storage_bytes

if TYPE_CHECKING:
    from mwaconvert.conversion.plan import Plan

#: aimed at for the buffers of a block: large enough to amortise a call, small beside an integration
BLOCK_BYTES = 64 << 20
#: one value of a block: complex64 and a float32 weight
VALUE_BYTES = 12


class Buffers:
    """Memory of one block."""

    def __init__(self, n_rows: int, n_channels: int) -> None:
        self.vis = np.empty((n_rows, n_channels, 4), np.complex64)
        self.weight = np.empty((n_rows, n_channels, 4), np.float32)


class OpenFiles:
    """Descriptors of the raw files in use; an observation may have more files than a process may open."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._open: dict[int, int] = {}

    def need(self, files: set[int]) -> dict[int, int]:
        """Open these files, close all others; file index -> descriptor."""
        for index in set(self._open) - files:
            os.close(self._open.pop(index))
        for index in files - set(self._open):
            try:
                self._open[index] = os.open(self._paths[index], os.O_RDONLY)
            except OSError as error:
                raise ResourceError(f"{self._paths[index]}: cannot be opened: {error.strerror}") from None
        return self._open

    def close(self) -> None:
        self.need(set())


class Converter:
    """Turns the raw files of a plan into blocks, without the cells that `mask` flags."""

    def __init__(self, plan: Plan, mask: FlagMask | None = None) -> None:
        self.plan = plan
        self._mask = mask
        meta = plan.metadata
        self._legacy = meta.correlator == "legacy"
        self._files = OpenFiles([f.path for f in plan.observation.files])
        self._spool = Spool()
        self._state = plan.chunk_state()
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
        self._files.close()
        self._spool.close()

    def make_buffers(self) -> Buffers:
        return Buffers(self.rows_per_block, self.plan.n_channels)

    def blocks(self, next_buffers: Callable[[], Buffers]) -> Iterator[tuple[Block, Buffers]]:
        """All blocks in order, each in the buffers that `next_buffers` hands out."""
        plan = self.plan
        for time_index in range(plan.n_times):
            steps = plan.input_steps(time_index)
            chunks = self.chunks(steps)
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
        common = (
            chunks,
            plan.metadata.n_fine,
            plan.freq_factor,
            plan.averaged,
            self._antenna1[rows],
            self._antenna2[rows],
            plan.row_flagged[rows],
            plan.factors if self._tables is None else self._tables.factors,
            jones,
            plan.channel_weight,
            plan.channel_flagged,
            None if mask is None else mask[:, :, rows],
            phasors,
        )
        last = (vis, weight, self.bad_cells[rows], plan.options.threads)
        with self.naming_files(chunks):
            if self._legacy:
                products = len(self._slot_antenna), self._product[rows], self._conjugated[rows]
                _core.convert_legacy(*common, *products, plan.van_vleck_samples, *last)
            else:
                _core.convert_mwax(*common, plan.file_rows[rows], not plan.options.ignore_weights, *last)

    @contextmanager
    def naming_files(self, chunks: npt.NDArray[np.void]) -> Iterator[None]:
        """Name the files that a kernel was reading when it failed."""
        try:
            yield
        except (FormatError, ResourceError) as error:
            files = self.plan.observation.files
            names = sorted({str(files[f].path) for f in chunks["file"].ravel() if f >= 0})
            where = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
            raise type(error)(f"{where}: {error}") from None

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

    def chunks(self, steps: range) -> npt.NDArray[np.void]:
        """Where the data of these timesteps lie: (n_times, n_coarse) for the kernels."""
        plan, observation = self.plan, self.plan.observation
        index = observation.hdu_index[steps.start : steps.stop][:, list(plan.coarse)]
        hdus = observation.hdus[np.maximum(index, 0)]
        chunks = np.zeros(index.shape, _core.chunk_dtype)
        for name in set(chunks.dtype.names or ()) & set(hdus.dtype.names or ()):
            chunks[name] = hdus[name]
        first = steps.start - plan.timesteps.start
        chunks["state"] = self._state[first : first + len(steps)]
        there = index >= 0
        chunks["file"][~there] = -1
        descriptors = self._files.need({int(f) for f in chunks["file"][there]})
        for file, descriptor in descriptors.items():
            chunks["fd"][chunks["file"] == file] = descriptor
        self._spool.clear()
        for where in zip(*np.nonzero(there & (chunks["kind"] > 2)), strict=True):
            hdu = hdus[where]
            path = observation.files[int(hdu["file"])].path
            chunks["fd"][where], chunks["data_offset"][where] = self._spool.add(path, int(hdu["hdu"]))
            chunks["kind"][where] = 0
        return chunks

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


class Spool:
    """HDUs of formats that the kernels do not read, decoded into a temporary file as plain big-endian floats.

    Holds one output timestep, on disk, so that memory stays bounded.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def add(self, path: Path, hdu: int) -> tuple[int, int]:
        """Decode one HDU; returns descriptor and offset of the floats."""
        from mwaconvert.formats.slow_fits import decode_hdu

        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="mwaconvert-")  # noqa: SIM115, lives as long as the spool
        offset = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(decode_hdu(path, hdu).astype(">f4").tobytes())
            self._file.flush()
        except OSError as error:
            raise ResourceError(
                f"{tempfile.gettempdir()}: cannot spool decoded data: {error.strerror}"
            ) from None
        return self._file.fileno(), offset

    def clear(self) -> None:
        if self._file is not None:
            self._file.truncate(0)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


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
    if plan.flag_files:
        factors += len(plan.timesteps) * len(plan.coarse) * plan.n_rows * -(-meta.n_fine // 8)
    if plan.calibration is not None:
        n_tables = 2 if plan.calibration.constant else 5
        factors += meta.n_antennas * len(plan.freqs_hz) * 32 * n_tables + 2 * plan.calibration.jones.nbytes
    threads = plan.options.threads or _core.available_threads()
    scratch = threads * (20 << 20)
    statistics = 0
    if plan.options.statistics:
        statistics = storage_bytes(plan.n_rows, len(plan.header.spectral_windows))
    return phasors + factors + scratch + statistics + (200 << 20)


def memory_bytes(plan: Plan) -> int:
    """Estimate of the peak memory of `run`."""
    return fixed_bytes(plan) + 2 * rows_per_block(plan) * plan.n_channels * 4 * VALUE_BYTES
