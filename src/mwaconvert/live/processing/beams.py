"""Filterbanks of a compound beam: tied-array beams as they are on disk, synthesised beams made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError, MetadataError
from mwaconvert.formats.spectra.reader import open_stream
from mwaconvert.spectra.stream import Data, Stream, Weights


def find_beams(folder: Path, beam: int) -> dict[int, Path]:
    """Files of a compound beam by tied-array beam: CB00_00.fil and so on, of any format that can be read."""
    found: dict[int, Path] = {}
    for path in sorted(folder.glob(f"CB{beam:02d}_[0-9][0-9].*")):
        number = path.name.partition(".")[0].rpartition("_")[2]
        if number.isdigit():
            found.setdefault(int(number), path)
    return found


class SynthesisedStream(Stream):
    """A synthesised beam: of each subband the piece of one tied-array beam. Only beams that it names are opened.

    Parameters
    ----------
    paths : files by tied-array beam
    subbands : (n_subband) tied-array beam of each, the lowest first; a row of `observation.read_beam_table`

    Raises
    ------
    InputError
        A beam that it needs has no file.
    MetadataError
        Files that do not fit together.
    """

    def __init__(self, paths: dict[int, Path], subbands: npt.NDArray[np.int64]) -> None:
        needed = np.unique(subbands).tolist()
        missing = [str(tab) for tab in needed if tab not in paths]
        if missing:
            raise InputError(f"there is no file of the tied-array beams {', '.join(missing)}")
        self._beams = {tab: open_stream(paths[tab]) for tab in needed}
        first = self._beams[needed[0]]
        for stream in self._beams.values():
            if stream.dt_s != first.dt_s or not np.array_equal(stream.freq_mhz, first.freq_mhz):
                raise MetadataError(
                    f"{stream.path} and {first.path}: other channels or samples", path=stream.path
                )
        if first.n_chan % subbands.size:
            raise InputError(f"{first.n_chan} channels cannot be parted in {subbands.size} subbands")
        self._subbands = subbands
        super().__init__(
            path=first.path,
            kind=first.kind,
            freq_mhz=first.freq_mhz,
            dt_s=first.dt_s,
            n_times=min(stream.n_times for stream in self._beams.values()),
            dtype=first.dtype,
            start_mjd=first.start_mjd,
            source=first.source,
        )

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:
        """One beam after the other: memory is that of the piece and of one beam."""
        if len(self._beams) == 1:
            return next(iter(self._beams.values())).read(first, count, threads)
        out = np.empty((self.n_chan, count), self.dtype)
        for tab, stream in self._beams.items():
            data, _ = stream.read(first, count, threads)
            _core.take_subbands(data, self._subbands, tab, out, threads)
        return out, None

    def close(self) -> None:
        for stream in self._beams.values():
            stream.close()


def open_beam(folder: Path, beam: int, synthesised: int, table: npt.NDArray[np.int64] | None) -> Stream:
    """The spectra of a synthesised beam; without a table, of the tied-array beam of that number, or of the only one.

    Raises
    ------
    Error
        No file, or none that can be read.
    """
    paths = find_beams(folder, beam)
    if not paths:
        raise InputError(f"{folder}: holds no filterbank CB{beam:02d}_00.fil")
    if table is None:
        only = next(iter(paths.values())) if len(paths) == 1 else None
        path = paths.get(synthesised, only)
        if path is None:
            raise InputError(
                f"{folder}: there is no CB{beam:02d}_{synthesised:02d}, and no table of synthesised beams"
            )
        return open_stream(path)
    if not 0 <= synthesised < len(table):
        raise InputError(f"synthesised beam {synthesised}: the table has {len(table)}")
    return SynthesisedStream(paths, table[synthesised])
