"""Carries out a plan: blocks from the converter into writers, counts into the report."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert.conversion import counts
from mwaconvert.conversion.converter import Buffers, Converter
from mwaconvert.conversion.flag_files import FlagOutput, add_flag_files, with_notes
from mwaconvert.conversion.flags_only import count_cells, without_conversion, writes_only_flags
from mwaconvert.conversion.outputs import open_writers, output_paths
from mwaconvert.conversion.plan import Plan
from mwaconvert.conversion.report.numbers import make_report
from mwaconvert.conversion.report.report import Report
from mwaconvert.conversion.rfi.array import add_to_mask, detect_array_rfi
from mwaconvert.conversion.rfi.detection import detect_rfi
from mwaconvert.conversion.rfi.mask import FlagMask
from mwaconvert.errors import Error, ResourceError
from mwaconvert.progress import Progress, Stage
from mwaconvert.text import size_text
from mwaconvert.visibilities.interference import ArrayRfi
from mwaconvert.visibilities.model import Block
from mwaconvert.visibilities.quality import FlagCounts
from mwaconvert.visibilities.statistics import QualityStatistics
from mwaconvert.visibilities.writer import Observer, Writer

_log = logging.getLogger(__name__)


def find_flags(plan: Plan, progress: Callable[[float], None]) -> FoundFlags:
    """Read flag files, and look at the data for what else is to be flagged.

    Parameters
    ----------
    progress : called with the share of the work that is done

    Raises
    ------
    FormatError, ResourceError
    """
    array_rfi = detect_array_rfi(plan) if plan.array_rfi else None
    if plan.detection is None and array_rfi is None and not plan.flag_files:
        return FoundFlags(None, 0, 0, None)
    mask = FlagMask.for_plan(plan)
    file_cells = add_flag_files(plan.flag_files, plan, mask)
    rfi_cells = 0
    if plan.detection is not None:
        rfi_cells = detect_rfi(plan, plan.detection, mask, progress)
    if array_rfi is not None:
        add_to_mask(array_rfi, mask)
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
    plan: Plan, outputs: list[Path], *, picture: Observer | None = None, progress: Progress | None = None
) -> Report:
    """Convert, write and report; see `Plan.run`.

    Parameters
    ----------
    picture : sees all blocks, and what the data made flagged
    """
    started = time.perf_counter()
    plan = with_notes(plan, outputs)
    only_flags = writes_only_flags(outputs, picture=picture is not None)
    if only_flags:
        plan = without_conversion(plan)
    flag_counts = FlagCounts(plan.header, plan.resources.threads)
    observers: list[Callable[[Block], None]] = [flag_counts.add]
    if picture is not None:
        observers.append(picture.add)
    statistics = None
    if plan.options.statistics:
        statistics = counts.quality_statistics(plan)
        observers.append(statistics.add)
    input_bytes = plan.input_bytes()

    def tell(stage: Stage, share: float) -> None:
        if progress is not None:
            progress(stage, int(input_bytes * share), input_bytes)

    _log.info("converting: %s of input", size_text(input_bytes))
    writers = open_writers(plan, outputs, None if picture is None else picture.path)
    with _aborting(writers, outputs):
        found = find_flags(plan, lambda share: tell(Stage.FLAGGING, share))
        flag_counts.file_cells, flag_counts.rfi_cells = found.file_cells, found.rfi_cells
        _log.info(
            "flags: %d cells of files, %d cells of interference found", found.file_cells, found.rfi_cells
        )
        data_flags = counts.data_flags(plan, found.mask)
        if picture is not None:
            picture.data_flags = data_flags
        for writer in writers:
            if isinstance(writer, FlagOutput):
                writer.put_mask(found.mask)
        if only_flags:
            count_cells(flag_counts, plan, found.mask)
        else:
            writes: list[Callable[[Block], None]] = [writer.write for writer in writers]
            flag_counts.bad_cells = _convert(
                plan, found.mask, observers, writes, lambda share: tell(Stage.CONVERTING, share)
            )
        if progress is not None:
            progress(Stage.FINISHING, 0, 0)
        _close(writers, statistics)
    for path in outputs:
        _log.info("written: %s", ", ".join(str(target) for target, _ in output_paths(plan, path)))
    _log.info("done in %.1f s", time.perf_counter() - started)
    return make_report(
        plan,
        [target for path in outputs for target in output_paths(plan, path)],
        flag_counts,
        statistics,
        data_flags,
        found.array_rfi,
        input_bytes if plan.detection is not None or not only_flags or found.array_rfi else 0,
        time.perf_counter() - started,
    )


@contextmanager
def _aborting(writers: Sequence[Writer], outputs: Sequence[Path]) -> Iterator[None]:
    """Let nothing stay of outputs that cannot be finished."""
    try:
        yield
    except BaseException as error:
        for writer in writers:
            writer.abort()
        if isinstance(error, OSError) and not isinstance(error, Error):
            raise ResourceError(f"{outputs[0]}: writing failed: {error.strerror}") from error
        raise


def _close(writers: Sequence[Writer], statistics: QualityStatistics | None) -> None:
    for writer in writers:
        if statistics is not None:
            writer.put_statistics(statistics)
        writer.close()


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
