"""HDF5 files of anybody, also damaged ones.

Where sizes in a file are damaged, the library of HDF5 makes room for what the file cannot hold, or walks a heap of texts
for ever, and no signal gets through to it. So all that it reads is looked at here. Source: HDF5 file format 3.0, section
III.E (global heap).
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwaconvert.errors import Error, FormatError
from mwaconvert.extras import need

if TYPE_CHECKING:
    from typing_extensions import Buffer

_HEAD = struct.Struct("<4sB3xQ")  # signature, version, bytes of the whole heap
_OBJECT = struct.Struct("<HHIQ")  # number, references, nothing, bytes
_BLOCK = 1 << 20  # that much more than the file has may be asked for


def open_hdf5_file(path: Path) -> Any:
    """Open a file for reading.

    Parameters
    ----------
    path : of an HDF5 file

    Returns
    -------
    h5py.File

    Raises
    ------
    InputError : the packages for it are not installed
    FormatError : it is no HDF5 file, or damaged
    """
    h5py = need("h5py", "hdf5", f"reading {path.name}")
    need("hdf5plugin", "hdf5", f"reading {path.name}")  # its filters, before the first read
    try:
        return h5py.File(_CheckedFile(path), "r")
    except Error:
        raise
    except (OSError, RuntimeError) as error:
        raise FormatError(f"{path}: not a sound HDF5 file: {error}") from error


def read_attributes(held: Any) -> dict[str, Any]:
    """The attributes that are numbers or text; of a damaged file others lead the HDF5 library out of its memory.

    Parameters
    ----------
    held : file, group or dataset of h5py

    Returns
    -------
    values by name, as h5py gives them

    Raises
    ------
    FormatError : a heap of the file is damaged
    OSError : it cannot be read
    """
    h5t = need("h5py", "hdf5", "HDF5").h5t
    plain = (h5t.TypeIntegerID, h5t.TypeFloatID, h5t.TypeEnumID, h5t.TypeStringID)
    names = [name for name in held.attrs if isinstance(held.attrs.get_id(name).get_type(), plain)]
    return {name: held.attrs[name] for name in names}


class _CheckedFile(io.RawIOBase):
    """A file that refuses to be read where it is damaged."""

    _file = -1

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._file).st_size

    def readinto(self, buffer: Buffer, /) -> int:
        room = memoryview(buffer).cast("B")
        if len(room) > self._size + _BLOCK:
            raise FormatError(
                f"{self._path}: asks for {len(room)} bytes, but has {self._size}: it is damaged"
            )
        n_bytes = os.preadv(self._file, [room], self._at)
        self._at += n_bytes
        heap = room[:n_bytes]
        if heap[:4].tobytes() == b"GCOL" and not _is_sound(heap):
            raise FormatError(f"{self._path}: a heap of texts is damaged")
        return n_bytes

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if not 0 <= at <= self._size:
            raise FormatError(f"{self._path}: looks for byte {at}, but has {self._size}: it is damaged")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
        super().close()


def _is_sound(heap: memoryview) -> bool:
    """Whether each object of a global heap ends within it. One that is not read to its end is read again."""
    if len(heap) < _HEAD.size:
        return True
    size, at = _HEAD.unpack_from(heap)[2], _HEAD.size
    while at + _OBJECT.size <= min(size, len(heap)):
        number, _, _, n_bytes = _OBJECT.unpack_from(heap, at)
        # the room that is left, number 0, counts its own head
        step = n_bytes if number == 0 else _OBJECT.size + -(-n_bytes // 8) * 8
        if not _OBJECT.size <= step <= size - at:
            return False
        at += step
    return True
