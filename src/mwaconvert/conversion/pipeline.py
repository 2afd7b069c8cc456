"""Carries out a plan: raw files through the kernels into blocks, blocks into writers, counts into the report."""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.conversion.plan import Plan
from mwaconvert.errors import Error, FormatError, InputError, ResourceError
from mwaconvert.formats.visibility import Block, VisHeader, Writer
from mwaconvert.observation.legacy import product_table, slot_inputs

if TYPE_CHECKING:
    from mwaconvert.conversion.report import Report

#: called with input bytes done and in all
Progress = Callable[[int, int], None]

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
    """Turns the raw files of a plan into blocks."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
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
            chunks = self._chunks(steps)
            phasors = self._rotation(steps)
            uvw = plan.antenna_uvw_m(plan.header.centroid_mjd[time_index : time_index + 1])[0]
            for start in range(0, plan.n_rows, self.rows_per_block):
                rows = slice(start, min(start + self.rows_per_block, plan.n_rows))
                buffers = next_buffers()
                n = rows.stop - rows.start
                vis, weight = buffers.vis[:n], buffers.weight[:n]
                self._convert(chunks, phasors, rows, vis, weight)
                uvw_m = uvw[plan.header.antenna1[rows]] - uvw[plan.header.antenna2[rows]]
                yield Block(time_index, rows, vis, weight, uvw_m), buffers

    def _convert(
        self,
        chunks: npt.NDArray[np.void],
        phasors: npt.NDArray[np.complex64] | None,
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
            plan.factors,
            plan.channel_weight,
            plan.channel_flagged,
            phasors,
        )
        last = (vis, weight, self.bad_cells[rows], plan.options.threads)
        try:
            if self._legacy:
                n_slot = len(self._slot_antenna)
                _core.convert_legacy(*common, n_slot, self._product[rows], self._conjugated[rows], *last)
            else:
                _core.convert_mwax(*common, plan.file_rows[rows], not plan.options.ignore_weights, *last)
        except (FormatError, ResourceError) as error:
            names = sorted({str(plan.observation.files[f].path) for f in chunks["file"].ravel() if f >= 0})
            raise type(error)(f"one of {', '.join(names)}: {error}") from None

    def _chunks(self, steps: range) -> npt.NDArray[np.void]:
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
        self._file: Any = None

    def add(self, path: Path, hdu: int) -> tuple[int, int]:
        """Decode one HDU; returns descriptor and offset of the floats."""
        from mwaconvert.formats.slow_fits import decode_hdu

        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="mwaconvert-")
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
    threads = plan.options.threads or _core.available_threads()
    scratch = threads * (20 << 20)
    return phasors + factors + scratch + (200 << 20)


def memory_bytes(plan: Plan) -> int:
    """Estimate of the peak memory of `run`."""
    return fixed_bytes(plan) + 2 * rows_per_block(plan) * plan.n_channels * 4 * VALUE_BYTES


def stream_blocks(plan: Plan) -> Iterator[Block]:
    """The blocks of a plan in one reused buffer."""
    with Converter(plan) as converter:
        buffers = converter.make_buffers()
        for block, _ in converter.blocks(lambda: buffers):
            yield block


# --- writing ----------------------------------------------------------------------------------------------------


def output_paths(plan: Plan, path: Path) -> list[tuple[Path, tuple[int, ...]]]:
    """Files that one requested output becomes, each with the spectral windows it holds.

    Raises
    ------
    InputError : unknown suffix
    """
    windows = plan.header.spectral_windows
    suffix = path.suffix.lower()
    if suffix not in (".uvfits", ".ms"):
        raise InputError(f"{path}: unknown kind of output; end the name in .uvfits or .ms")
    if len(windows) == 1 or (suffix == ".ms" and not plan.options.split):
        return [(path, tuple(range(len(windows))))]
    names = []
    for k, window in enumerate(windows):
        numbers = [plan.metadata.coarse_channels[c].number for c in (window.coarse[0], window.coarse[-1])]
        label = f"_ch{numbers[0]}" if len(window.coarse) == 1 else f"_ch{numbers[0]}-{numbers[1]}"
        names.append((path.with_name(f"{path.stem}{label}{path.suffix}"), (k,)))
    return names


def output_bytes(plan: Plan, path: Path, windows: tuple[int, ...]) -> int:
    """Size of an output, good to a few per cent for measurement sets."""
    n_chan = sum(plan.header.spectral_windows[k].n_chan for k in windows)
    rows = plan.n_times * plan.n_rows
    per_value = 12 if path.suffix.lower() == ".uvfits" else 13
    per_row = 28 if path.suffix.lower() == ".uvfits" else 200 * len(windows)
    return rows * (n_chan * 4 * per_value + per_row)


def open_writers(plan: Plan, outputs: list[Path]) -> list[Writer]:
    """Check all outputs, then start them."""
    targets = [target for path in outputs for target in output_paths(plan, path)]
    names = [path.resolve() for path, _ in targets]
    if len(set(names)) < len(names):
        raise InputError("two outputs have the same name; give each its own")
    _check_space(plan, targets)
    writers: list[Writer] = []
    try:
        for path, windows in targets:
            writers.append(_open_writer(plan, path, windows))
    except BaseException:
        for writer in writers:
            writer.abort()
        raise
    return writers


def _open_writer(plan: Plan, path: Path, windows: tuple[int, ...]) -> Writer:
    header, options = plan.header, plan.options
    if path.suffix.lower() == ".uvfits":
        from mwaconvert.formats.uvfits import UvfitsWriter

        window = header.spectral_windows[windows[0]]
        return UvfitsWriter(path, header, window, overwrite=options.overwrite, threads=options.threads)
    from dataclasses import replace

    from mwaconvert.formats.ms import MeasurementSetWriter

    chosen: VisHeader = replace(header, spectral_windows=tuple(header.spectral_windows[k] for k in windows))
    return MeasurementSetWriter(path, chosen, overwrite=options.overwrite, threads=options.threads)


def _check_space(plan: Plan, targets: list[tuple[Path, tuple[int, ...]]]) -> None:
    needed: dict[Path, int] = {}
    for path, windows in targets:
        needed[path.parent] = needed.get(path.parent, 0) + output_bytes(plan, path, windows)
    for folder, size in needed.items():
        if not folder.is_dir():
            continue  # the writer says so
        free = shutil.disk_usage(folder).free
        if size > free:
            raise ResourceError(
                f"{folder.resolve()}: the output needs {size / 1e9:.3g} GB, but only {free / 1e9:.3g} GB are free; "
                "average more, or write elsewhere"
            )


class WriterThread:
    """Writes blocks while the next ones are being made."""

    def __init__(self, sinks: list[Callable[[Block], None]], buffers: list[Buffers]) -> None:
        self._sinks = sinks
        self._free: queue.SimpleQueue[Buffers] = queue.SimpleQueue()
        for buffer in buffers:
            self._free.put(buffer)
        self._full: queue.SimpleQueue[tuple[Block, Buffers] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="writer")
        self._thread.start()

    def next_buffers(self) -> Buffers:
        """Buffers that the writer is done with; raises what the writer raised."""
        buffers = self._free.get()
        if self._error is not None:
            raise self._error
        return buffers

    def put(self, block: Block, buffers: Buffers) -> None:
        self._full.put((block, buffers))

    def finish(self) -> None:
        """Wait until all is written."""
        self.stop()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self._full.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (item := self._full.get()) is not None:
            block, buffers = item
            try:
                if self._error is None:
                    for sink in self._sinks:
                        sink(block)
            except BaseException as error:  # handed to the main thread
                self._error = error
            self._free.put(buffers)


def run(
    plan: Plan, outputs: list[Path], *, qa: Path | None = None, progress: Progress | None = None
) -> Report:
    """Convert, write and report; see `Plan.run`."""
    from mwaconvert.conversion.report import make_report

    started = time.perf_counter()
    counts = FlagCounts(plan)
    sinks: list[Callable[[Block], None]] = [counts.add]
    collector = None
    if qa is not None:
        from mwaconvert.qa import QaCollector

        collector = QaCollector(plan.header, qa, overwrite=plan.options.overwrite)
        sinks.append(collector.add)
    input_bytes = plan.input_bytes()
    writers = open_writers(plan, outputs)
    sinks += [writer.write for writer in writers]
    try:
        with Converter(plan) as converter:
            thread = WriterThread(sinks, [converter.make_buffers() for _ in range(2)])
            try:
                total = plan.n_times * plan.n_rows
                for block, buffers in converter.blocks(thread.next_buffers):
                    thread.put(block, buffers)
                    if progress is not None:
                        done = block.time_index * plan.n_rows + block.rows.stop
                        progress(int(input_bytes * done / total), input_bytes)
            except BaseException:
                thread.stop()
                raise
            thread.finish()
            counts.bad_cells = converter.bad_cells
        for writer in writers:
            writer.close()
    except BaseException as error:
        for writer in writers:
            writer.abort()
        if isinstance(error, OSError) and not isinstance(error, Error):
            raise ResourceError(f"{outputs[0]}: writing failed: {error.strerror}") from error
        raise
    targets = [target for path in outputs for target in output_paths(plan, path)]
    report = make_report(plan, targets, counts, input_bytes, time.perf_counter() - started)
    if collector is not None:
        collector.write(report)
    return report


class FlagCounts:
    """Numbers of flagged values by row, channel and timestep."""

    def __init__(self, plan: Plan) -> None:
        self._threads = plan.options.threads
        self.values_per_row = plan.n_channels * 4 * plan.n_times
        self.by_row = np.zeros(plan.n_rows, np.int64)
        self.by_channel = np.zeros(plan.n_channels, np.int64)
        self.by_time = np.zeros(plan.n_times, np.int64)
        self.bad_cells = np.zeros(plan.n_rows, np.int64)

    def add(self, block: Block) -> None:
        by_row = np.zeros(len(block.weight), np.int64)
        _core.count_flags(block.weight, by_row, self.by_channel, self._threads)
        self.by_row[block.rows] += by_row
        self.by_time[block.time_index] += by_row.sum()
