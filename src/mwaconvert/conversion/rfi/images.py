"""Images of baselines (time and channel) out of raw files: what RFI detection looks at."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, ClassVar

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.arrays import IntArray
from mwaconvert.conversion.plan import Corrections, DetectionPlan, Plan, Selection
from mwaconvert.conversion.rawinput import RawInput
from mwaconvert.errors import ResourceError
from mwaconvert.machine import check_room
from mwaconvert.observation.legacy import N_PRODUCTS, product_table, slot_inputs
from mwaconvert.observation.model import Metadata
from mwaconvert.observation.rawfiles import KIND_RICE

Images = npt.NDArray[np.float32]

#: read from the temporary file at a time
READ_BYTES = 1 << 25
#: raw files that are open at the same time
MOST_FILES = 512


class _Images:
    """What both correlators share: tables of the kernels, errors with file names."""

    #: share of the time of a detection that `prepare` takes
    READ_SHARE: ClassVar[float] = 0.0

    def __init__(self, plan: Plan, detection: DetectionPlan) -> None:
        self._plan = plan
        self._detection = detection
        self._raw = RawInput(plan.selection, plan.flags)
        self._antenna1 = plan.rows.antenna1[detection.rows].astype(np.int32)
        self._antenna2 = plan.rows.antenna2[detection.rows].astype(np.int32)
        self._factors: dict[tuple[int, int], npt.NDArray[np.complex64]] = {}
        self._groups = _groups_of_steps(plan)
        self._chunks: tuple[range, npt.NDArray[np.void]] | None = None
        self._buffer = np.empty(0, np.float32)

    def __enter__(self) -> _Images:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def prepare(self, progress: Callable[[float], None]) -> None:
        """Whatever has to be read before the first baseline is whole."""
        progress(1.0)

    def read(self, rows: slice, band: slice) -> Images:
        """Images (n_rows, planes, n_times, n_chan) of some of the detection's rows; valid until the next call."""
        out = self._empty(rows, band)
        for steps in self._groups:
            first = steps.start - self._plan.timesteps.start
            self._read_steps(steps, rows, band, out[:, :, first : first + len(steps)])
        return out

    def _read_steps(self, steps: range, rows: slice, band: slice, out: Images) -> None:
        chunks = self._chunks_of(steps, band)
        with self._raw.naming_files(chunks):
            self._read_chunks(chunks, rows, band, out)

    def _read_chunks(self, chunks: npt.NDArray[np.void], rows: slice, band: slice, out: Images) -> None:
        raise NotImplementedError

    def _chunks_of(self, steps: range, band: slice) -> npt.NDArray[np.void]:
        """Where the data of some timesteps and coarse channels lie."""
        # files are open, and spooled, for one table at a time
        if self._chunks is None or self._chunks[0] != steps:
            self._chunks = (steps, self._raw.chunks(steps))
        return np.ascontiguousarray(self._chunks[1][:, band])

    def _empty(self, rows: slice, band: slice) -> Images:
        """Room for the images of some rows."""
        plan = self._plan
        shape = (
            len(self._antenna1[rows]),
            self._detection.planes,
            len(plan.timesteps),
            (band.stop - band.start) * plan.metadata.n_fine,
        )
        if not self._buffer.size:
            widest = max(b.stop - b.start for b in self._detection.bands) * plan.metadata.n_fine
            self._buffer = _cache_lines(self._detection.rows_at_once * int(np.prod(shape[1:3])) * widest)
        return self._buffer[: int(np.prod(shape))].reshape(shape)

    def _factors_of(self, band: slice) -> npt.NDArray[np.complex64] | None:
        """(n_antenna, 2, n_chan) corrections of the inputs."""
        if self._plan.corrections.factors is None:
            return None
        key = (band.start, band.stop)
        if key not in self._factors:
            n_fine = self._plan.metadata.n_fine
            some = self._plan.corrections.factors[:, band.start * n_fine : band.stop * n_fine]
            self._factors = {key: np.ascontiguousarray(some.transpose(0, 2, 1))}
        return self._factors[key]


def _cache_lines(n: int) -> npt.NDArray[np.float32]:
    """Memory for n floats that begins at a cache line: the kernels write whole ones past the caches."""
    memory = np.empty(n + 16, np.float32)
    first = -memory.ctypes.data % 64 // memory.itemsize
    return memory[first : first + n]


class MwaxImages(_Images):
    """MWAX files are ordered by baseline."""

    def __init__(self, plan: Plan, detection: DetectionPlan) -> None:
        super().__init__(plan, detection)
        self._file_rows = plan.rows.in_file[detection.rows]

    def _read_chunks(self, chunks: npt.NDArray[np.void], rows: slice, band: slice, out: Images) -> None:
        _core.rfi_read_mwax(
            chunks=chunks,
            n_fine=self._plan.metadata.n_fine,
            antenna1=self._antenna1[rows],
            antenna2=self._antenna2[rows],
            factors=self._factors_of(band),
            file_row=self._file_rows[rows],
            out=out,
            threads=self._plan.resources.threads,
        )


class _LegacyImages(_Images):
    """Legacy files are ordered by channel."""

    def __init__(self, plan: Plan, detection: DetectionPlan) -> None:
        super().__init__(plan, detection)
        self._product, conjugated = _products(plan.metadata, plan.rows.in_file[detection.rows])
        self._conjugated = conjugated.astype(np.uint8)
        self._n_slot = len(slot_inputs(plan.metadata))

    def _read_chunks(self, chunks: npt.NDArray[np.void], rows: slice, band: slice, out: Images) -> None:
        _core.rfi_read_legacy(
            chunks=chunks,
            n_fine=self._plan.metadata.n_fine,
            antenna1=self._antenna1[rows],
            antenna2=self._antenna2[rows],
            factors=self._factors_of(band),
            n_slot=self._n_slot,
            product=self._product[rows],
            conjugated=self._conjugated[rows],
            van_vleck_samples=self._plan.corrections.van_vleck_samples,
            out=out,
            threads=self._plan.resources.threads,
        )


class LegacyImages(_LegacyImages):
    """Of each channel the stretches that hold a block of baselines are read."""

    @staticmethod
    def suits(selection: Selection, corrections: Corrections, planes: int, free_bytes: int) -> bool:
        """Whether the files can be read in parts, and stay in memory while that is done."""
        observation, steps = selection.observation, selection.timesteps
        index = observation.hdu_index[steps.start : steps.stop][:, list(selection.coarse)]
        plain = bool((observation.hdus["kind"][index[index >= 0]] < KIND_RICE).all())
        small = 2 * selection.input_bytes <= free_bytes
        return plain and planes == 4 and corrections.van_vleck_samples == 0 and small

    @staticmethod
    def blocks(
        metadata: Metadata, in_file: IntArray, rows: IntArray, most: int
    ) -> tuple[IntArray, tuple[slice, ...]]:
        """Blocks of at most `most` rows that lie together in the files.

        Parameters
        ----------
        in_file : baseline numbers of all rows of the plan

        Returns
        -------
        rows in another order, ascending within each block; the blocks
        """
        product, _ = _products(metadata, in_file[rows])
        order = np.argsort(product.min(axis=1), kind="stable")
        first, last = product.min(axis=1)[order], product.max(axis=1)[order]
        # where everything before lies before everything after
        cuts = np.flatnonzero(first[1:] > np.maximum.accumulate(last)[:-1]) + 1
        blocks, begin = [], 0
        while begin < len(rows):
            end = min(begin + most, len(rows))
            inside = cuts[(cuts > begin) & (cuts <= end)]
            if end < len(rows) and len(inside):
                end = int(inside[-1])
            blocks.append(slice(begin, end))
            begin = end
        return np.concatenate([np.sort(rows[order[block]]) for block in blocks]), tuple(blocks)

    def prepare(self, progress: Callable[[float], None]) -> None:
        """Let the system read ahead: the stretches of a block are far apart, which disks do not like."""
        for steps in self._groups if sys.platform == "linux" else ():
            chunks = self._chunks_of(steps, slice(None))
            n_bytes = self._plan.metadata.n_fine * N_PRODUCTS * 8
            for chunk in chunks[chunks["state"] != _core.CHUNK_MISSING]:
                os.posix_fadvise(chunk["fd"], chunk["data_offset"], n_bytes, os.POSIX_FADV_WILLNEED)
        progress(1.0)


@dataclass(frozen=True)
class _Piece:
    """Images (n_rows, planes, n_times, n_chan) of some timesteps and coarse channels, somewhere in the file."""

    steps: slice
    coarse: slice
    offset: int


class KeptImages(_LegacyImages):
    """Where files cannot be read in parts: all is read once, and kept in memory or in a temporary file.

    The file holds one piece after the other, each all rows of as many timesteps as the buffer takes (of some
    of the coarse channels, where not even one timestep fits).
    """

    READ_SHARE = 0.2
    #: of the buffer whose contents go to the file
    PIECE_BYTES = 1 << 28

    def __init__(self, plan: Plan, detection: DetectionPlan) -> None:
        super().__init__(plan, detection)
        self._file: IO[bytes] | None = None
        self._memory: Images | None = None
        self._pieces: list[_Piece] = []

    @staticmethod
    def least_bytes(n_rows: int, planes: int, n_fine: int) -> int:
        """Smallest read buffer: a coarse channel of one timestep."""
        return n_rows * planes * n_fine * 4

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._memory = None
        if self._file is not None:
            self._file.close()

    def prepare(self, progress: Callable[[float], None]) -> None:
        plan, n_fine = self._plan, self._plan.metadata.n_fine
        n_rows, planes = len(self._product), self._detection.planes
        n_times, n_coarse = len(plan.timesteps), len(plan.coarse)
        if not self._detection.spill_in_file:
            self._memory = np.empty((n_rows, planes, n_times, n_coarse * n_fine), np.float32)
            for t in range(n_times):
                self._read_all(slice(t, t + 1), slice(0, n_coarse), self._memory[:, :, t : t + 1])
                progress((t + 1) / n_times)
            return
        check_room(self._detection.spill_bytes, "amplitudes")
        coarse_bytes = self.least_bytes(n_rows, planes, n_fine)
        room = max(coarse_bytes, min(self.PIECE_BYTES, self._detection.room_bytes))
        times_at_once = max(1, room // (n_coarse * coarse_bytes))
        coarse_at_once = min(n_coarse, max(1, room // coarse_bytes))
        self._make_file()
        buffer = np.empty(times_at_once * coarse_at_once * coarse_bytes // 4, np.float32)
        offset = 0
        for t in range(0, n_times, times_at_once):
            steps = slice(t, min(t + times_at_once, n_times))
            for c in range(0, n_coarse, coarse_at_once):
                coarse = slice(c, min(c + coarse_at_once, n_coarse))
                shape = (n_rows, planes, steps.stop - t, (coarse.stop - c) * n_fine)
                piece = buffer[: int(np.prod(shape))].reshape(shape)
                self._read_all(steps, coarse, piece)
                self._pieces.append(_Piece(steps, coarse, offset))
                self._spill(piece)
                offset += piece.nbytes
            progress(steps.stop / n_times)

    def _make_file(self) -> None:
        with _of_amplitudes():
            # no buffer: what is written is written where that is answered for
            self._file = tempfile.TemporaryFile(prefix="mwaconvert-", buffering=0)  # noqa: SIM115, closed with this object

    def _spill(self, piece: Images) -> None:
        assert self._file is not None
        left = piece.data.cast("B")
        with _of_amplitudes():
            while left:
                left = left[self._file.write(left) :]

    def _read_all(self, steps: slice, coarse: slice, out: Images) -> None:
        first = self._plan.timesteps.start
        self._read_steps(range(first + steps.start, first + steps.stop), slice(None), coarse, out)

    def read(self, rows: slice, band: slice) -> Images:
        n_fine = self._plan.metadata.n_fine
        if self._memory is not None:
            return self._memory[rows, :, :, band.start * n_fine : band.stop * n_fine]
        assert self._file is not None
        out = self._empty(rows, band)
        n, planes = out.shape[:2]
        for piece in self._pieces:
            low, high = max(piece.coarse.start, band.start), min(piece.coarse.stop, band.stop)
            if low >= high:
                continue
            n_times = piece.steps.stop - piece.steps.start
            width = (piece.coarse.stop - piece.coarse.start) * n_fine
            row_bytes = planes * n_times * width * 4
            inside = slice((low - piece.coarse.start) * n_fine, (high - piece.coarse.start) * n_fine)
            to = slice((low - band.start) * n_fine, (high - band.start) * n_fine)
            at_once = max(1, READ_BYTES // row_bytes)
            for k in range(0, n, at_once):
                some = slice(k, min(k + at_once, n))
                where = piece.offset + (rows.start + k) * row_bytes
                data = os.pread(self._file.fileno(), (some.stop - k) * row_bytes, where)
                part = np.frombuffer(data, np.float32).reshape(-1, planes, n_times, width)
                out[some, :, piece.steps, to] = part[..., inside]
        return out


@contextmanager
def _of_amplitudes() -> Iterator[None]:
    """What the disk says of the temporary file, in a sentence."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{tempfile.gettempdir()}: the temporary file of amplitudes cannot be written: {error.strerror}; "
            "set TMPDIR to a larger disk"
        ) from error


def _products(metadata: Metadata, in_file: IntArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """(n_rows, 4) where in a channel of a legacy file the products of baselines are; whether conjugated."""
    product, conjugated = product_table(metadata)
    return product[in_file], conjugated[in_file]


def _groups_of_steps(plan: Plan) -> list[range]:
    """The timesteps, cut where too many files would be open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if soft == resource.RLIM_INFINITY else max(1, min(MOST_FILES, soft // 2))
    observation = plan.observation
    steps = plan.timesteps
    index = observation.hdu_index[steps.start : steps.stop][:, list(plan.coarse)]
    groups, first, files = [], 0, set[int]()
    for t, row in enumerate(index):
        here = {int(f) for f in observation.hdus["file"][row[row >= 0]]}
        if t > first and len(files | here) > most:
            groups.append(range(steps.start + first, steps.start + t))
            first, files = t, set()
        files |= here
    return [*groups, range(steps.start + first, steps.stop)]
