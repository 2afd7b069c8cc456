"""Carries out a plan: blocks from the converter into writers, counts into the report."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mwaconvert import _core
from mwaconvert.conversion.converter import Buffers, Converter
from mwaconvert.conversion.flag_files import FlagOutput, add_flag_files
from mwaconvert.conversion.flagmask import FlagMask
from mwaconvert.conversion.outputs import open_writers, output_paths
from mwaconvert.conversion.steps import ARRAY_RFI
from mwaconvert.errors import Error, ResourceError
from mwaconvert.formats.visfile import FileHeader
from mwaconvert.formats.visibility import Block, VisHeader

if TYPE_CHECKING:
    from mwaconvert.conversion.array_rfi import ArrayRfi
    from mwaconvert.conversion.plan import Plan
    from mwaconvert.conversion.report import Report

#: called with input bytes done and in all
Progress = Callable[[int, int], None]


def stream_blocks(plan: Plan, mask: FlagMask | None = None) -> Iterator[Block]:
    """The blocks of a plan in one reused buffer, without the cells that `mask` flags (default: `detect`)."""
    if mask is None:
        mask, _ = detect(plan)
    with Converter(plan, mask) as converter:
        buffers = converter.make_buffers()
        for block, _ in converter.blocks(lambda: buffers):
            yield block


def detect(plan: Plan) -> tuple[FlagMask | None, ArrayRfi | None]:
    """Read flag files, and look for interference in the raw data as far as the options ask for it."""
    mask, found = _detect_array_rfi(plan)
    if plan.flag_files:
        whole = FlagMask.for_plan(plan)
        add_flag_files(plan.flag_files, plan, whole)
        if mask is not None:
            whole.bits |= mask.bits
        mask = whole
    return mask, found


def _detect_array_rfi(plan: Plan) -> tuple[FlagMask | None, ArrayRfi | None]:
    if not any(step.name == ARRAY_RFI and step.applied for step in plan.steps):
        return None, None
    from mwaconvert.conversion.array_rfi import detect_array_rfi

    found = detect_array_rfi(plan)
    mask = FlagMask(len(plan.timesteps), len(plan.coarse), 1, plan.metadata.n_fine)
    found.add_to(mask)
    # all rows share the same bits
    shape = (*mask.bits.shape[:2], plan.n_rows, mask.bits.shape[3])
    mask.bits = np.broadcast_to(mask.bits, shape)
    return mask, found


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
    counts = FlagCounts(plan.header, plan.options.threads)
    sinks: list[Callable[[Block], None]] = [counts.add]
    collector = None
    if qa is not None:
        from mwaconvert.qa import QaCollector
        from mwaconvert.qa.statistics import channel_static

        collector = QaCollector(
            plan.header, qa, overwrite=plan.options.overwrite, static=channel_static(plan)
        )
        sinks.append(collector.add)
    statistics = None
    if plan.options.statistics:
        from mwaconvert.qa.statistics import QualityStatistics

        statistics = QualityStatistics.of_plan(plan)
        sinks.append(statistics.add)
    input_bytes = plan.input_bytes()
    writers = open_writers(plan, outputs)
    sinks += [writer.write for writer in writers]
    try:
        mask, array_rfi = detect(plan)
        for writer in writers:
            if isinstance(writer, FlagOutput):
                writer.put_mask(mask)
        with Converter(plan, mask) as converter:
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
            if statistics is not None:
                writer.put_statistics(statistics)
            writer.close()
    except BaseException as error:
        for writer in writers:
            writer.abort()
        if isinstance(error, OSError) and not isinstance(error, Error):
            raise ResourceError(f"{outputs[0]}: writing failed: {error.strerror}") from error
        raise
    targets = [target for path in outputs for target in output_paths(plan, path)]
    report = make_report(
        plan, targets, counts, statistics, array_rfi, input_bytes, time.perf_counter() - started
    )
    if collector is not None:
        collector.write(report)
    return report


class FlagCounts:
    """Numbers of flagged values by row, channel and timestep."""

    def __init__(self, header: VisHeader | FileHeader, threads: int = 0) -> None:
        self._threads = threads
        n_times, n_rows = len(header.time_mjd), len(header.antenna1)
        n_channels = sum(w.n_chan for w in header.spectral_windows)
        self.values_per_row = n_channels * 4 * n_times
        self.by_row = np.zeros(n_rows, np.int64)
        self.by_channel = np.zeros(n_channels, np.int64)
        self.by_time = np.zeros(n_times, np.int64)
        self.bad_cells = np.zeros(n_rows, np.int64)

    def add(self, block: Block) -> None:
        by_row = np.zeros(len(block.weight), np.int64)
        _core.count_flags(block.weight, by_row, self.by_channel, self._threads)
        self.by_row[block.rows] += by_row
        self.by_time[block.time_index] += by_row.sum()
