"""Flags of single input cells, found by looking at the data: bits, in memory or in a temporary file."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import ResourceError

if TYPE_CHECKING:
    from mwaconvert.conversion.plan import Plan

BoolArray = npt.NDArray[np.bool_]

#: interpreter, libraries, small tables
BASE_BYTES = 200 << 20


class FlagMask:
    """Which input cells (timestep, row, channel) of a plan are flagged, besides those that its rules flag.

    Starts with nothing flagged; whoever finds something ORs it in. Close it when done: it may hold a file.

    Parameters
    ----------
    n_times : input timesteps, `len(plan.timesteps)`
    n_coarse, n_rows, n_fine : `len(plan.coarse)`, `plan.n_rows`, `plan.metadata.n_fine`
    in_file : whether to keep the bits in a temporary file (in TMPDIR) instead of in memory

    Attributes
    ----------
    bits : (n_times, n_coarse, n_rows, ceil(n_fine / 8)) uint8; fine channel f is bit f % 8 (1 << f % 8) of byte
        f // 8. Kernels and readers of flag files may OR into it themselves.

    Raises
    ------
    ResourceError : no room for the file
    """

    def __init__(
        self, n_times: int, n_coarse: int, n_rows: int, n_fine: int, *, in_file: bool = False
    ) -> None:
        self.n_fine = n_fine
        shape = (n_times, n_coarse, n_rows, -(-n_fine // 8))
        n_bytes = int(np.prod(shape))
        if in_file and n_bytes:
            self.bits = np.frombuffer(map_temporary(n_bytes, "flags"), np.uint8).reshape(shape)
        else:
            self.bits = np.zeros(shape, np.uint8)

    @classmethod
    def for_plan(cls, plan: Plan) -> FlagMask:
        """A mask of the input cells of a plan; in a file, where it would take too much of the memory."""
        return cls(
            len(plan.timesteps),
            len(plan.coarse),
            plan.n_rows,
            plan.metadata.n_fine,
            in_file=mask_in_file(plan),
        )

    def __enter__(self) -> FlagMask:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_coarse(self, coarse: int, flags: BoolArray, times: slice = slice(None)) -> None:
        """OR in flags of one coarse channel.

        Parameters
        ----------
        coarse : index into `plan.coarse`
        flags : (n_times, n_rows, n_fine), or anything that broadcasts to that
        times : input timesteps, counted from the first of the plan
        """
        self.bits[times, coarse] |= np.packbits(flags, axis=-1, bitorder="little")

    def steps(self, steps: slice) -> npt.NDArray[np.uint8]:
        """Bits of some input timesteps, (n, n_coarse, n_rows, n_bytes), as the conversion kernels take them."""
        return self.bits[steps]

    def unpacked(self, steps: slice, coarse: int) -> BoolArray:
        """Flags of one coarse channel, (n, n_rows, n_fine)."""
        found = np.unpackbits(self.bits[steps, coarse], axis=-1, count=self.n_fine, bitorder="little")
        return found.view(np.bool_)

    def count(
        self,
        rows: BoolArray,
        channels: BoolArray,
        chunks: BoolArray,
        times_per_count: int = 1,
        threads: int = 0,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Numbers of flagged cells.

        Parameters
        ----------
        rows : (n_rows,) to count
        channels : (n_coarse * n_fine,) to count
        chunks : (n_times, n_coarse) to count
        times_per_count : timesteps that are counted together
        threads : 0: all cores

        Returns
        -------
        (n_rows,) over times and channels; (ceil(n_times / times_per_count), n_coarse * n_fine) over rows
        """
        n_times, n_coarse, n_rows, _ = self.bits.shape
        wanted = np.packbits(channels.reshape(n_coarse, self.n_fine), axis=-1, bitorder="little")
        by_row = np.zeros((n_coarse, n_rows), np.int64)
        by_channel = np.zeros((-(-n_times // times_per_count), n_coarse * self.n_fine), np.int32)
        _core.mask_counts(
            bits=self.bits,
            wanted=wanted,
            row=np.ascontiguousarray(rows).view(np.uint8),
            chunk=np.ascontiguousarray(chunks).view(np.uint8),
            n_fine=self.n_fine,
            times_per_count=times_per_count,
            by_row=by_row,
            by_channel=by_channel,
            threads=threads,
        )
        return by_row.sum(axis=0), by_channel

    def close(self) -> None:
        """Give memory and file back."""
        self.bits = np.zeros((0, 0, 0, 0), np.uint8)  # the mapping goes with the array


def mask_bytes(plan: Plan) -> int:
    """Size of the mask of a plan."""
    return len(plan.timesteps) * len(plan.coarse) * plan.n_rows * -(-plan.metadata.n_fine // 8)


def mask_in_file(plan: Plan) -> bool:
    """Whether the mask of a plan would take too much of the memory: more than a quarter."""
    return mask_bytes(plan) > memory_room(plan) // 4


def memory_room(plan: Plan) -> int:
    """Memory for the data of a plan: what --max-memory leaves, else half of what is free."""
    if plan.options.max_memory_gib is not None:
        return int(plan.options.max_memory_gib * 2**30) - BASE_BYTES
    return free_bytes() // 2


def free_bytes() -> int:
    """Memory that is free, as the system sees it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def check_room(n_bytes: int, what: str) -> None:
    """Refuse a temporary file that has no room.

    Raises
    ------
    ResourceError : the folder of temporary files (TMPDIR) is too full
    """
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise ResourceError(
            f"{folder}: {n_bytes / 2**30:.1f} GiB are needed for a temporary file of {what}, "
            f"{free / 2**30:.1f} GiB are free; set TMPDIR to a larger disk or raise --max-memory"
        )


def map_temporary(n_bytes: int, what: str) -> mmap.mmap:
    """A temporary file of zeros, mapped into memory; it has no name and goes with the mapping.

    Raises
    ------
    ResourceError : the folder of temporary files (TMPDIR) has no room
    """
    folder = tempfile.gettempdir()
    try:
        check_room(n_bytes, what)
        with tempfile.TemporaryFile(prefix="mwaconvert-") as file:
            os.posix_fallocate(file.fileno(), 0, n_bytes)  # a full disk says so here, not in a store
            return mmap.mmap(file.fileno(), n_bytes)
    except OSError as error:
        raise ResourceError(
            f"{folder}: no temporary file of {what} can be made there: {error.strerror}"
        ) from error
