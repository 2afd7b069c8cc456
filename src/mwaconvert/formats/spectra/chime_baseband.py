"""Voltages of CHIME/FRB (baseband): of inputs as they were recorded, or of beams that were formed of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mwaconvert.constants import SECONDS_PER_DAY, UNIX_EPOCH_MJD
from mwaconvert.errors import Error, FormatError, InputError
from mwaconvert.extras import need
from mwaconvert.formats.hdf5_file import open_hdf5_file, read_attributes
from mwaconvert.formats.promises import check_promise
from mwaconvert.staging import Kind, StagedPath

FRAME_S = 2.56e-6
N_COARSE = 1024
WIDTH_MHZ = 0.390625
TOP_MHZ = 800.0  # centre of frequency 0
#: of a channel: number of the first frame, and its time (s since 1970) in two parts, as one float64 is too coarse
TIME0 = np.dtype([("fpga_count", "<u8"), ("ctime", "<f8"), ("ctime_offset", "<f8")])
_FREQ = np.dtype([("centre", "<f8"), ("id", "<u4")])
_TIME = np.dtype([("offset_fpga", "<u8"), ("offset_s", "<f8")])
_LARGEST_CHUNK = 1 << 30  # bytes that are unpacked at a time
_DAMAGED = (OSError, RuntimeError, ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError)

Complex = npt.NDArray[np.complex64]


class Of(Enum):
    """What voltages are of: the name of the dataset, and of its second axis."""

    INPUTS = ("baseband", "input")
    BEAMS = ("tiedbeam_baseband", "beam")  #: two polarisations, S and E, of each pointing

    @property
    def dataset(self) -> str:
        return str(self.value[0])

    @property
    def axis(self) -> str:
        return str(self.value[1])


@dataclass(kw_only=True, eq=False, repr=False)
class Baseband:
    """Voltages by channel, each from its own first frame on; readers define `read`.

    Frequencies within a channel run against those of the sky, as the correlator leaves them.

    Parameters
    ----------
    path : file, or the first of several
    of : inputs or beams
    freq_id : (n_chan) numbers of the channels, ascending: centres at 800 - 0.390625 * freq_id MHz
    time0 : (n_chan) of `TIME0`
    n_input : inputs, or two for each pointing
    n_times : most samples of a channel, of 2.56 us
    dm : pc/cm^3 of which dispersion within channels is removed already
    event : its number, or None
    locations : of the beams, as the file has them, or None

    Raises
    ------
    FormatError : channels or times that make no sense
    """

    path: Path
    of: Of
    freq_id: npt.NDArray[np.int64]
    time0: npt.NDArray[np.void]
    n_input: int
    n_times: int
    dm: float = 0.0
    event: int | None = None
    locations: npt.NDArray[Any] | None = None

    def __post_init__(self) -> None:
        ids = self.freq_id
        if (
            ids.ndim != 1
            or not ids.size
            or ids.min() < 0
            or ids.max() >= N_COARSE
            or (np.diff(ids) <= 0).any()
        ):
            raise FormatError(
                f"{self.path}: channels must be numbers of 0 to {N_COARSE - 1}, ascending, each once"
            )
        times = self.time0["ctime"], self.time0["ctime_offset"]
        if self.time0.shape != ids.shape or not all(np.isfinite(t).all() for t in times):
            raise FormatError(f"{self.path}: expected a start time of each of {ids.size} channels")
        if self.n_input < 1 or self.n_times < 1 or (self.of is Of.BEAMS and self.n_input % 2):
            raise FormatError(f"{self.path}: {self.n_input} {self.of.axis}s of {self.n_times} samples")
        if not np.isfinite(self.dm):
            raise FormatError(f"{self.path}: a DM of {self.dm}")
        spread = np.abs(self.starts_s()).max()
        if spread > 60:
            raise FormatError(f"{self.path}: channels begin {spread:g} s from each other: not one event")

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.path}: {self.freq_id.size} of {N_COARSE} channels, {self.n_input} "
            f"{self.of.axis}s, {self.n_times} samples, DM {self.dm:g}>"
        )

    @property
    def freq_mhz(self) -> npt.NDArray[np.float64]:
        """(n_chan) centres, descending."""
        return np.asarray(TOP_MHZ - WIDTH_MHZ * self.freq_id, np.float64)

    @property
    def start_mjd(self) -> float:
        """UTC of the first sample of the highest channel."""
        first = self.time0[0]
        return UNIX_EPOCH_MJD + (float(first["ctime"]) + float(first["ctime_offset"])) / SECONDS_PER_DAY

    def starts_s(self) -> npt.NDArray[np.float64]:
        """(n_chan) seconds from the start of the highest channel to that of each, to a nanosecond."""
        whole = self.time0["ctime"] - self.time0["ctime"][0]
        part = self.time0["ctime_offset"] - self.time0["ctime_offset"][0]
        return np.asarray(whole + part, np.float64)

    def read(self, channel: int) -> Complex:
        """Voltages of a channel.

        Parameters
        ----------
        channel : counted from the highest that is there

        Returns
        -------
        (n_input, n) complex64, NaN where there is none
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ArrayBaseband(Baseband):
    """Voltages in memory: (n_chan, n_input, n_times) complex64."""

    def __init__(self, data: Complex, **facts: Any) -> None:
        super().__init__(path=Path("memory"), n_input=data.shape[1], n_times=data.shape[2], **facts)
        self._data = data

    def read(self, channel: int) -> Complex:
        return np.asarray(self._data[channel], np.complex64)


class _Singlefile(Baseband):
    """All channels in a file, as analyses write it."""

    def __init__(self, path: Path, file: Any, of: Of) -> None:
        data = _own(path, file, of.dataset)
        if data.ndim != 3 or 0 in data.shape or data.dtype != np.complex64:
            raise FormatError(
                f"{path}: {of.dataset}: expected complex64 (freq, {of.axis}, time), found {data.dtype} of the shape "
                f"{data.shape}"
            )
        check_promise(path, of.dataset, int(data.nbytes), int(data.id.get_storage_size()), at_once=False)
        index = _table(path, file, "index_map/freq")
        ids = np.asarray(index["id"], np.int64)
        off = np.abs(np.asarray(index["centre"], np.float64) - (TOP_MHZ - WIDTH_MHZ * ids))
        if ids.shape != data.shape[:1] or not (off < 0.01 * WIDTH_MHZ).all():
            raise FormatError(f"{path}: index_map/freq: centres are not those of their numbers")
        time0 = _table(path, file, "time0")
        if not set(TIME0.names or ()) <= set(time0.dtype.names or ()):
            raise FormatError(f"{path}: time0: expected {', '.join(TIME0.names or ())}")
        locations = None
        if of is Of.BEAMS and "tiedbeam_locations" in file:
            locations = _table(path, file, "tiedbeam_locations")
        self._order = np.argsort(ids, kind="stable")
        of_data, of_file = read_attributes(data), read_attributes(file)
        super().__init__(
            path=path,
            of=of,
            freq_id=ids[self._order],
            time0=np.array([tuple(row[n] for n in TIME0.names or ()) for row in time0], TIME0)[self._order],
            n_input=int(data.shape[1]),
            n_times=int(data.shape[2]),
            dm=float(of_data.get("DM", 0.0)),
            event=int(of_file["event_id"]) if "event_id" in of_file else None,
            locations=locations,
        )
        self._file, self._data = file, data
        # formed beams have one sense or the other, and say which if it is that of the correlator
        self._turned = of is Of.BEAMS and not bool(of_data.get("conjugate_beamform", 0))

    def read(self, channel: int) -> Complex:
        try:
            values = np.asarray(self._data[int(self._order[channel])], np.complex64)
        except _DAMAGED as error:
            raise FormatError(f"{self.path}: {self.of.dataset}: {error}") from error
        return values.conj() if self._turned else values

    def close(self) -> None:
        self._file.close()


class _RawFiles(Baseband):
    """A file for each channel, as the correlator writes it: bytes of 4 bits real and 4 bits imaginary."""

    def __init__(self, paths: Sequence[Path]) -> None:
        heads = sorted((_raw_head(path) for path in paths), key=lambda head: head[1])
        shapes = {head[3][1] for head in heads}
        if len(shapes) > 1:
            raise FormatError(
                f"{paths[0]}: files of {', '.join(map(str, sorted(shapes)))} inputs: not one event"
            )
        events = {head[4] for head in heads}
        if len(events) > 1:
            raise FormatError(
                f"{paths[0]}: files of the events {', '.join(map(str, sorted(events, key=str)))}"
            )
        self._paths = [head[0] for head in heads]
        super().__init__(
            path=self._paths[0],
            of=Of.INPUTS,
            freq_id=np.array([head[1] for head in heads], np.int64),
            time0=np.array([head[2] for head in heads], TIME0),
            n_input=shapes.pop(),
            n_times=max(head[3][0] for head in heads),
            event=events.pop(),
        )

    def read(self, channel: int) -> Complex:
        path = self._paths[channel]
        with open_hdf5_file(path) as file:
            try:
                raw = np.asarray(_own(path, file, "baseband")[...], np.uint8)
            except _DAMAGED as error:
                raise FormatError(f"{path}: baseband: {error}") from error
        return unpacked(raw).T


def unpacked(raw: npt.NDArray[np.uint8]) -> Complex:
    """Voltages of bytes: 4 bits real, 4 bits imaginary, each 8 too high; 0 is missing.

    Examples
    --------
    >>> unpacked(np.array([0x88, 0xF1, 0], np.uint8))
    array([ 0.+0.j,  7.-7.j, nan+nanj], dtype=complex64)
    """
    values = np.arange(256)
    table = (values >> 4) - 8.0 + 1j * ((values & 15) - 8.0)
    table[0] = complex(np.nan, np.nan)
    return np.asarray(table.astype(np.complex64)[raw])


def open_baseband(path: Path | Sequence[Path]) -> Baseband:
    """Open voltages of an event.

    Parameters
    ----------
    path : an HDF5 file of all channels (`baseband` or `tiedbeam_baseband`), files of the correlator (one for each
        channel), or the folder of these

    Raises
    ------
    InputError : the packages for it are not installed, or there is no file
    FormatError : a file is damaged, or holds something else
    """
    paths = [path] if isinstance(path, Path) else list(path)
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        paths = sorted(p for p in folder.iterdir() if re.fullmatch(r"baseband_\d+_\d+\.h5", p.name))
        if not paths:
            raise InputError(f"{folder}: there are no files baseband_EVENT_FREQUENCY.h5 in it", path=folder)
    if not paths:
        raise InputError("no file of baseband was given")
    file = open_hdf5_file(paths[0])
    try:
        of = next((o for o in (Of.BEAMS, Of.INPUTS) if o.dataset in file), None)
        if of is None:
            names = ", ".join(ascii(name)[1:-1] for name in sorted(file)[:12]) or "nothing"
            raise FormatError(f"{paths[0]}: expected tiedbeam_baseband or baseband, found {names}")
        if len(paths) == 1 and "time0" in file:
            return _Singlefile(paths[0], file, of)
    except Error:
        file.close()
        raise
    except _DAMAGED as error:
        file.close()
        raise FormatError(f"{paths[0]}: {error}") from error
    file.close()
    return _RawFiles(paths)


def write_baseband(path: Path, baseband: Baseband, *, overwrite: bool = False) -> None:
    """Write voltages as analyses of CHIME/FRB read them, channel by channel.

    Parameters
    ----------
    path : .h5
    baseband : what is written; the sense of the correlator is kept, and said
    overwrite : replace an existing file
    """
    h5py = need("h5py", "hdf5", "writing baseband")
    ids = baseband.freq_id
    with StagedPath(path, overwrite, Kind.HDF5) as staged, h5py.File(staged.temporary, "w") as file:
        file.attrs.update({"delta_time": FRAME_S, "__memh5_subclass": "mwaconvert"})
        if baseband.event is not None:
            file.attrs["event_id"] = baseband.event
        index = file.create_group("index_map")
        index["freq"] = np.array(list(zip(baseband.freq_mhz, ids, strict=True)), _FREQ)
        frames = np.arange(baseband.n_times)
        index["time"] = np.array(list(zip(frames, frames * FRAME_S, strict=True)), _TIME)
        index[baseband.of.axis] = np.arange(baseband.n_input)
        file["time0"] = baseband.time0
        file["time0"].attrs["axis"] = ["freq"]
        if baseband.locations is not None:
            file["tiedbeam_locations"] = baseband.locations
        shape = (ids.size, baseband.n_input, baseband.n_times)
        data = file.create_dataset(baseband.of.dataset, shape, np.complex64, chunks=(1, 1, baseband.n_times))
        data.attrs["axis"] = ["freq", baseband.of.axis, "time"]
        data.attrs.update({"DM": baseband.dm, "conjugate_beamform": 1, "fill_value": np.nan})
        for channel in range(ids.size):
            values = baseband.read(channel)
            whole = np.full(shape[1:], np.nan, np.complex64)
            whole[:, : values.shape[1]] = values
            data[channel] = whole


def _own(path: Path, file: Any, name: str) -> Any:
    """A dataset whose values are in this file: others may be anywhere.

    Raises
    ------
    FormatError : it is none, or it refers to other files
    """
    h5py = need("h5py", "hdf5", "HDF5")
    at = file
    for part in name.split("/"):
        link = at.get(part, getlink=True)
        if link is None:
            raise FormatError(f"{path}: there is no {name} in it")
        if not isinstance(link, h5py.HardLink):
            raise FormatError(f"{path}: {name} is a link to somewhere else, which is not followed")
        at = at[part]
    if not isinstance(at, h5py.Dataset):
        raise FormatError(f"{path}: {name} is not a dataset")
    if at.is_virtual or at.external:
        raise FormatError(f"{path}: {name} refers to other files, which are not read")
    if int(np.prod(at.chunks or (0,))) * at.dtype.itemsize > _LARGEST_CHUNK:
        raise FormatError(f"{path}: {name}: pieces of {at.chunks}: damaged, nobody writes so large ones")
    return at


def _table(path: Path, file: Any, name: str) -> npt.NDArray[Any]:
    """A table of a row for each channel or beam."""
    data = _own(path, file, name)
    if data.dtype.names is None or data.ndim != 1:
        raise FormatError(f"{path}: {name}: expected a table, found {data.dtype} of the shape {data.shape}")
    check_promise(path, name, int(data.nbytes), int(data.id.get_storage_size()))
    return np.asarray(data[...])


def _raw_head(path: Path) -> tuple[Path, int, tuple[int, float, float], tuple[int, int], int | None]:
    """Channel, time of the first frame, shape and event of a file of the correlator."""
    with open_hdf5_file(path) as file:
        try:
            data, facts = _own(path, file, "baseband"), read_attributes(file)
            if data.ndim != 2 or 0 in data.shape or data.dtype != np.uint8:
                raise FormatError(
                    f"{path}: baseband: expected uint8 (time, input), found {data.dtype} of the shape {data.shape}"
                )
            check_promise(path, "baseband", 8 * int(data.nbytes), 8 * int(data.id.get_storage_size()))
            delta_s = float(facts.get("delta_time", FRAME_S))
            if abs(delta_s - FRAME_S) > 1e-9:
                raise FormatError(f"{path}: samples of {delta_s} s, expected {FRAME_S}")
            start = (
                int(facts["time0_fpga_count"]),
                float(facts["time0_ctime"]),
                float(facts.get("time0_ctime_offset", 0.0)),
            )
            event = int(facts["event_id"]) if "event_id" in facts else None
            return path, int(facts["freq_id"]), start, (int(data.shape[0]), int(data.shape[1])), event
        except Error:
            raise
        except _DAMAGED as error:
            raise FormatError(f"{path}: {error}") from error
