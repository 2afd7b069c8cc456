"""Carries out a plan: blocks from the converter into writers, counts into the report."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.conversion.converter import Buffers, Converter
from mwaconvert.conversion.flag_files import FlagOutput, add_flag_files, with_notes
from mwaconvert.conversion.flags_only import cells, without_conversion, writes_only_flags
from mwaconvert.conversion.outputs import open_writers, output_paths
from mwaconvert.conversion.rfi.detection import detect_rfi
from mwaconvert.conversion.rfi.mask import FlagMask
from mwaconvert.conversion.steps import ARRAY_RFI
from mwaconvert.errors import Error, ResourceError
from mwaconvert.visibilities.model import Block, VisHeader
from mwaconvert.visibilities.statistics import DataFlags, QualityStatistics

if TYPE_CHECKING:
    from mwaconvert.conversion.plan import Plan
    from mwaconvert.conversion.report.report import Report
    from mwaconvert.conversion.rfi.array import ArrayRfi
    from mwaconvert.formats.visibilities.existing import FileHeader

#: called with input bytes done and in all
Progress = Callable[[int, int], None]


def find_flags(plan: Plan, progress: Callable[[float], None]) -> FoundFlags:
    """Read flag files, and look at the data for what else is to be flagged.

    Parameters
    ----------
    progress : called with the share of the work that is done

    Raises
    ------
    FormatError, ResourceError
    """
    array_rfi = None
    if any(step.name == ARRAY_RFI and step.applied for step in plan.steps):
        from mwaconvert.conversion.rfi.array import detect_array_rfi

        array_rfi = detect_array_rfi(plan)
    if plan.detection is None and array_rfi is None and not plan.flag_files:
        return FoundFlags(None, 0, 0, None)
    mask = FlagMask.for_plan(plan)
    file_cells = add_flag_files(plan.flag_files, plan, mask)
    rfi_cells = 0
    if plan.detection is not None:
        rfi_cells = detect_rfi(plan, plan.detection, mask, progress)
    if array_rfi is not None:
        array_rfi.add_to(mask)
    return FoundFlags(mask, file_cells, rfi_cells, array_rfi)


def stream_blocks(plan: Plan, mask: FlagMask | None = None) -> Iterator[Block]:
    """The blocks of a plan in one reused buffer.

    Parameters
    ----------
    mask : input cells to flag; None: those that the detection of the plan finds
    """
    if mask is None:
        mask = find_flags(plan, lambda _: None).mask
    with Converter(plan, mask) as converter:
        buffers = converter.make_buffers()
        for block, _ in converter.blocks(lambda: buffers):
            yield block


@dataclass(frozen=True)
class FoundFlags:
    """What looking at the data found.

    Attributes
    ----------
    mask : flagged input cells; None: nothing was looked for
    file_cells : how many flag files held
    rfi_cells : how many the RFI detection of single baselines found
    array_rfi : what the mean over baselines showed; None: not looked at
    """

    mask: FlagMask | None
    file_cells: int
    rfi_cells: int
    array_rfi: ArrayRfi | None


@dataclass
class _Shared:
    """A block on its way through several threads."""

    block: Block
    buffers: Buffers
    users: int


class BlockThreads:
    """Threads that look at each block, side by side, while the next one is being made.

    Parameters
    ----------
    tasks : what each of the threads calls with every block
    buffers : memory of the blocks that are under way
    """

    def __init__(
        self, tasks: Sequence[Sequence[Callable[[Block], None]]], buffers: Sequence[Buffers]
    ) -> None:
        self._free: queue.SimpleQueue[Buffers] = queue.SimpleQueue()
        for buffer in buffers:
            self._free.put(buffer)
        self._error: BaseException | None = None
        self._lock = threading.Lock()  # guards the users of blocks
        self._queues: list[queue.SimpleQueue[_Shared | None]] = [queue.SimpleQueue() for _ in tasks]
        self._threads = [
            threading.Thread(target=self._serve, args=pair) for pair in zip(self._queues, tasks, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def next_buffers(self) -> Buffers:
        """Buffers that all threads are done with; raises what one of them raised."""
        buffers = self._free.get()
        if self._error is not None:
            raise self._error
        return buffers

    def put(self, block: Block, buffers: Buffers) -> None:
        shared = _Shared(block, buffers, len(self._queues))
        for blocks in self._queues:
            blocks.put(shared)

    def finish(self) -> None:
        """Wait until all is done."""
        self.stop()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        for blocks in self._queues:
            blocks.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(
        self, blocks: queue.SimpleQueue[_Shared | None], calls: Sequence[Callable[[Block], None]]
    ) -> None:
        while (shared := blocks.get()) is not None:
            try:
                if self._error is None:
                    for call in calls:
                        call(shared.block)
            except BaseException as error:  # handed to the main thread
                self._error = error
            with self._lock:
                shared.users -= 1
                free = shared.users == 0
            if free:
                self._free.put(shared.buffers)


def run(
    plan: Plan, outputs: list[Path], *, qa: Path | None = None, progress: Progress | None = None
) -> Report:
    """Convert, write and report; see `Plan.run`."""
    from mwaconvert.conversion.report.numbers import make_report

    started = time.perf_counter()
    plan = with_notes(plan, outputs)
    flags_only = writes_only_flags(outputs, qa)
    if flags_only:
        plan = without_conversion(plan)
    counts = FlagCounts(plan.header, plan.options.threads)
    observers: list[Callable[[Block], None]] = [counts.add]
    collector = None
    if qa is not None:
        from mwaconvert.qa.collector import QaCollector

        collector = QaCollector(plan.header, qa, overwrite=plan.options.overwrite)
        observers.append(collector.add)
    statistics = None
    if plan.options.statistics:
        statistics = QualityStatistics.of_plan(plan)
        observers.append(statistics.add)
    input_bytes = plan.input_bytes()
    passes = int(plan.detection is not None) + int(not flags_only)

    def tell(share: float) -> None:  # of passes over the input
        if progress is not None:
            progress(int(input_bytes * share), passes * input_bytes)

    writers = open_writers(plan, outputs, qa)
    try:
        found = find_flags(plan, tell)
        counts.file_cells, counts.rfi_cells = found.file_cells, found.rfi_cells
        data_flags = DataFlags.of_plan(plan, found.mask)
        if collector is not None:
            collector.data_flags = data_flags
        for writer in writers:
            if isinstance(writer, FlagOutput):
                writer.put_mask(found.mask)
        if flags_only:
            counts.add_cells(plan, found.mask)
        else:
            counts.bad_cells = _convert(
                plan,
                found.mask,
                observers,
                [writer.write for writer in writers],
                lambda share: tell(passes - 1 + share),
            )
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
    bytes_read = input_bytes if passes or found.array_rfi else 0
    report = make_report(
        plan,
        targets,
        counts,
        statistics,
        data_flags,
        found.array_rfi,
        bytes_read,
        time.perf_counter() - started,
    )
    if collector is not None:
        collector.write(report)
    return report


def _convert(
    plan: Plan,
    mask: FlagMask | None,
    observers: list[Callable[[Block], None]],
    writers: list[Callable[[Block], None]],
    progress: Callable[[float], None],
) -> npt.NDArray[np.int64]:
    """Blocks to observers and to writers, each in a thread of their own.

    Returns
    -------
    (n_bl,) cells of each row that were left out for NaN or infinity
    """
    with Converter(plan, mask) as converter:
        threads = BlockThreads([observers, writers], [converter.make_buffers() for _ in range(2)])
        try:
            total = plan.n_times * plan.n_rows
            for block, buffers in converter.blocks(threads.next_buffers):
                threads.put(block, buffers)
                progress((block.time_index * plan.n_rows + block.rows.stop) / total)
        except BaseException:
            threads.stop()
            raise
        threads.finish()
        return converter.bad_cells


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
        self.file_cells = 0
        self.rfi_cells = 0

    def add(self, block: Block) -> None:
        by_row = np.zeros(len(block.weight), np.int64)
        _core.count_flags(block.weight, by_row, self.by_channel, self._threads)
        self.by_row[block.rows] += by_row
        self.by_time[block.time_index] += by_row.sum()

    def add_cells(self, plan: Plan, mask: FlagMask | None) -> None:
        """Flags of input cells, where nothing is converted."""
        for time_index, channels, flags in cells(plan, mask):
            by_row = 4 * flags.sum(axis=1)
            self.by_row += by_row
            self.by_channel[channels] += 4 * flags.sum(axis=0)
            self.by_time[time_index] += by_row.sum()
