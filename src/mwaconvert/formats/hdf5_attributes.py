"""Attributes of HDF5 files, also of damaged ones.

Text of any length is in heaps of the file. Where the sizes in a heap are damaged the HDF5 library walks it for ever, and
no signal gets through to it: heaps are checked as they are read. Source: HDF5 file format 3.0, section III.E.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

from mwaconvert.errors import FormatError
from mwaconvert.extras import need

if TYPE_CHECKING:
    from typing_extensions import Buffer

_HEAD = struct.Struct("<4sB3xQ")  # signature, version, bytes of the whole heap
_OBJECT = struct.Struct("<HHIQ")  # number, references, nothing, bytes


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
    h5py = need("h5py", "hdf5", "HDF5")
    h5t = h5py.h5t
    plain = (h5t.TypeIntegerID, h5t.TypeFloatID, h5t.TypeEnumID, h5t.TypeStringID)
    kinds = {name: held.attrs.get_id(name).get_type() for name in held.attrs}
    in_heap = {
        name for name, kind in kinds.items() if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()
    }
    values = {
        name: held.attrs[name]
        for name, kind in kinds.items()
        if isinstance(kind, plain) and name not in in_heap
    }
    if in_heap:
        with _CheckedFile(held.file.filename) as raw, h5py.File(raw, "r") as file:
            values |= {name: file[held.name].attrs[name] for name in in_heap}
    return values


class _CheckedFile(io.FileIO):
    """A file that refuses to be read where a heap in it is damaged."""

    def readinto(self, buffer: Buffer, /) -> int | None:
        n_bytes = super().readinto(buffer)
        heap = memoryview(buffer).cast("B")[: n_bytes or 0]
        if heap[:4].tobytes() == b"GCOL" and not _is_sound(heap):
            raise FormatError(f"{self.name}: a heap of texts is damaged")
        return n_bytes


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
