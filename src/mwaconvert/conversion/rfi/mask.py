"""Flags of single input cells, found by looking at the data: bits, in memory or in a temporary file."""

from __future__ import annotations

from types import TracebackType

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.arrays import BoolArray
from mwaconvert.conversion.plan import Plan, Selection
from mwaconvert.machine import map_temporary


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
            in_file=plan.resources.mask_in_file,
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


def mask_bytes(selection: Selection, n_rows: int) -> int:
    """Size of the mask of a selection."""
    n_cells = len(selection.timesteps) * len(selection.coarse) * n_rows
    return n_cells * -(-selection.metadata.n_fine // 8)
