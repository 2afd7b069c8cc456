"""Arrays that stay in their file and are read as they are asked for."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import FormatError

_AT_ONCE = 1 << 20  # bytes
_SHORT_ROW = 8 << 10


class StoredArray:
    """An array in a file, of which rows are read.

    A mapping would read them as well, but where another program cuts the file meanwhile, the system ends the process
    that looks at what is gone.

    Parameters
    ----------
    path : the file
    dtype : of a value; a structured one makes rows of a table
    begin : byte of the first value
    shape : slowest axis first

    Attributes
    ----------
    path, dtype, shape : as given

    Raises
    ------
    FormatError : where it is read: the file ends before it
    OSError : where it is read: the file is gone, or cannot be read

    Examples
    --------
    >>> _ = Path("ten").write_bytes(bytes(range(10)))
    >>> stored = StoredArray(Path("ten"), np.dtype(np.uint8), 2, (4, 2))
    >>> stored[1], stored[2:].tolist(), stored.size
    (array([4, 5], dtype=uint8), [[6, 7], [8, 9]], 8)
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], begin: int, shape: tuple[int, ...]) -> None:
        self.path, self.dtype, self.shape = path, dtype, shape
        self._begin, self._row = begin, dtype.itemsize * prod(shape[1:])
        self._columns: dict[str, Any] = dict(dtype.fields or {})

    @property
    def size(self) -> int:
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | slice) -> npt.NDArray[Any]:
        """A row, or consecutive rows."""
        if isinstance(key, slice):
            first, end, step = key.indices(len(self))
            if step != 1:
                raise ValueError("rows that are not consecutive")
            return self._read(first, max(end - first, 0))
        if not 0 <= key < len(self):
            raise IndexError(key)
        row: npt.NDArray[Any] = self._read(key, 1)[0]
        return row

    def part(self, begin: int, shape: tuple[int, ...]) -> StoredArray:
        """Other values of the same type, from a byte of the file on."""
        return StoredArray(self.path, self.dtype, begin, shape)

    def beginnings(self, n_values: int) -> npt.NDArray[Any]:
        """(rows, n_values) first values of each row, of two dimensions: nothing else is read."""
        return self._strided(self.dtype, 0, (n_values,))

    def column(self, name: str) -> npt.NDArray[Any]:
        """(rows, ...) a column of a table: nothing else is read."""
        kind, offset = self._columns[name][:2]
        return self._strided(kind.base, offset, kind.shape)

    def _read(self, first: int, count: int) -> npt.NDArray[Any]:
        out: npt.NDArray[Any] = np.empty((count, *self.shape[1:]), self.dtype)
        with self.path.open("rb", buffering=0) as file:
            self._fill(file.fileno(), out, self._begin + first * self._row)
        return out

    def _strided(self, kind: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        out: npt.NDArray[Any] = np.empty((len(self), *shape), kind)
        parts = out.reshape(len(self), -1).view(np.uint8)  # of the rows, as bytes
        # to read short rows whole is faster than to ask for a part of each
        n = _AT_ONCE // self._row if self._row <= _SHORT_ROW else 1
        whole = np.empty((n, self._row if n > 1 else parts.shape[1]), np.uint8)
        skip = offset if n > 1 else 0
        with self.path.open("rb", buffering=0) as file:
            for k in range(0, len(self), n):
                rows = whole[: len(self) - k]
                self._fill(file.fileno(), rows, self._begin + k * self._row + offset - skip)
                parts[k : k + n] = rows[:, skip : skip + parts.shape[1]]
        return out

    def _fill(self, file: int, out: npt.NDArray[Any], at: int) -> None:
        to = out.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(to):
            got = os.preadv(file, [to[done:]], at + done)
            if got == 0:
                raise FormatError(f"{self.path}: became shorter while it was read", path=self.path)
            done += got
