"""Where the raw data of a selection lie: open files, and tables of chunks for the kernels."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.conversion.plan import Flags, Selection
from mwaconvert.errors import FormatError, ResourceError


class RawInput:
    """The raw files of a selection. Close it when done."""

    def __init__(self, selection: Selection, flags: Flags) -> None:
        self._selection = selection
        self._files = OpenFiles([f.path for f in selection.observation.files])
        self._spool = Spool()
        self._state = flags.chunks

    def chunks(self, steps: range) -> npt.NDArray[np.void]:
        """Where the data of these timesteps lie: (n_times, n_coarse) for the kernels."""
        selection, observation = self._selection, self._selection.observation
        index = observation.hdu_index[steps.start : steps.stop][:, list(selection.coarse)]
        hdus = observation.hdus[np.maximum(index, 0)]
        chunks = np.zeros(index.shape, _core.chunk_dtype)
        for name in set(chunks.dtype.names or ()) & set(hdus.dtype.names or ()):
            chunks[name] = hdus[name]
        first = steps.start - selection.timesteps.start
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

    @contextmanager
    def naming_files(self, chunks: npt.NDArray[np.void]) -> Iterator[None]:
        """Name the files that a kernel was reading when it failed."""
        try:
            yield
        except (FormatError, ResourceError) as error:
            files = self._selection.observation.files
            names = sorted({str(files[f].path) for f in chunks["file"].ravel() if f >= 0})
            where = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
            raise type(error)(f"{where}: {error}") from None

    def close(self) -> None:
        self._files.close()
        self._spool.close()


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


class Spool:
    """HDUs of formats that the kernels do not read, decoded into a temporary file as plain big-endian floats.

    Holds one output timestep, on disk, so that memory stays bounded.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def add(self, path: Path, hdu: int) -> tuple[int, int]:
        """Decode one HDU; returns descriptor and offset of the floats."""
        from mwaconvert.formats.slow_fits import decode_hdu

        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="mwaconvert-")  # noqa: SIM115, lives as long as the spool
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
