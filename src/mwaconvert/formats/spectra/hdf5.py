"""HDF5 files of spectra: filterbanks of blimpy (FBH5), intensities of CHIME/FRB, waterfalls of its first catalogue."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import __version__
from mwaconvert.constants import SECONDS_PER_DAY, UNIX_EPOCH_MJD
from mwaconvert.errors import Error, FormatError, InputError
from mwaconvert.extras import need
from mwaconvert.formats.hdf5_file import open_hdf5_file, read_attributes
from mwaconvert.formats.promises import check_promise
from mwaconvert.formats.spectra.sigproc import DEDISPERSED
from mwaconvert.spectra.aliases import old_keywords
from mwaconvert.spectra.recording import Recording
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import ArrayStream, Data, Stream, Weights
from mwaconvert.staging import Kind, StagedPath, check_target
from mwaconvert.text import size_text

_UNIX = (9e8, 1e10)  # s: times that can only be seconds since 1970
_CHIME_EDGE_MHZ = (
    400.1953125  # of CHIME's band; edges of channels are whole channels from it, centres half ones
)
_FRAME_S = 2.56e-6  # of CHIME
_CHUNK = 1024  # samples
_LARGEST_CHUNK = 1 << 30  # bytes of what is unpacked at a time
_DAMAGED = (OSError, RuntimeError, ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError)


def open_hdf5(path: Path, pol: int | None = None) -> Stream:
    """Open an HDF5 file of spectra.

    Parameters
    ----------
    path : file of blimpy, of ch_frb_io, or a waterfall of the first CHIME/FRB catalogue
    pol : of a file of blimpy: read this feed only, counted from 0

    Returns
    -------
    Stream

    Raises
    ------
    InputError : the packages for it are not installed
    FormatError : it is none of these, or it is damaged
    """
    file = open_hdf5_file(path)
    try:
        names = set(file)
        if "data" in names and _text(_attributes(file).get("CLASS")) == "FILTERBANK":
            return _FilterbankH5(path, file, pol)
        if pol is not None:
            raise InputError(f"{path}: `pol` chooses a feed of files of blimpy only", option="pol")
        if {"intensity", "index_map"} <= names:
            return _ChimeIntensity(path, file)
        if "frb" in names:
            return _catalogue(path, file)
        raise FormatError(
            f"{path}: expected a filterbank (CLASS = FILTERBANK), intensity with index_map, or frb, found "
            f"{', '.join(ascii(name)[1:-1] for name in sorted(names)[:12]) or 'nothing'}"
        )
    except Error:
        file.close()
        raise
    except _DAMAGED as error:
        file.close()
        raise FormatError(f"{path}: {error}") from error
    except BaseException:
        file.close()
        raise


class _FilterbankH5(Stream):
    """Data of (time, feed, frequency), with the keywords of SIGPROC as attributes."""

    def __init__(self, path: Path, file: Any, pol: int | None) -> None:
        data = file["data"]
        head = _attributes(data)
        if data.ndim != 3 or 0 in data.shape or data.dtype.kind not in "uif":
            raise FormatError(
                f"{path}: data: expected (time, feed, frequency), found {data.dtype} of the shape {data.shape}"
            )
        _promised(path, data, at_once=False)
        for key in ("fch1", "foff", "tsamp"):
            if not isinstance(head.get(key), int | float):
                raise FormatError(f"{path}: data: the attribute {key} is missing or not a number")
        self._file, self._dataset = file, data
        if pol is not None and not 0 <= pol < data.shape[1]:
            raise InputError(
                f"{path}: there is no feed {pol}: expected 0 to {data.shape[1] - 1}", option="pol"
            )
        self._feed, self._n_sum = pol or 0, 2 if data.shape[1] == 2 and pol is None else 1
        notes = []
        if data.shape[1] > 2 and pol is None:
            notes.append(f"the first of {data.shape[1]} feeds was read; see `pol`")
        start, dm = head.get("tstart"), head.get("refdm", 0.0)
        super().__init__(
            path=path,
            kind="FBH5",
            freq_mhz=float(head["fch1"]) + float(head["foff"]) * np.arange(data.shape[2], dtype=np.float64),
            dt_s=float(head["tsamp"]),
            n_times=int(data.shape[0]),
            dtype=np.uint8 if data.dtype == np.uint8 and self._n_sum == 1 else np.float32,
            dm=float(dm) if head.get("data_type") in DEDISPERSED else 0.0,
            start_mjd=float(start) if isinstance(start, int | float) else None,
            source=str(head.get("source_name", "")),
            notes=tuple(notes),
            recording=Recording.of_sigproc(head),
            fields={key: value for key, value in head.items() if key != "DIMENSION_LABELS"},
        )

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:  # noqa: ARG002
        block = _read(
            self.path, self._dataset, np.s_[first : first + count, self._feed : self._feed + self._n_sum]
        )
        values = block[:, 0] if self._n_sum == 1 else block.sum(1, dtype=np.float32)
        values = values[:, ::-1] if self.descending else values
        return np.ascontiguousarray(values.T, self.dtype), None

    def close(self) -> None:
        self._file.close()


class _ChimeIntensity(Stream):
    """Intensity and weight of (frequency, polarisation, time); Stokes I is the weighted mean of the polarisations."""

    def __init__(self, path: Path, file: Any) -> None:
        intensity, index = file["intensity"], file["index_map"]
        weight = file["weight"] if "weight" in file else file["weights"]
        if intensity.ndim != 3 or 0 in intensity.shape or weight.shape != intensity.shape:
            raise FormatError(
                f"{path}: expected intensity and weight of (frequency, pol, time), found the shapes {intensity.shape} "
                f"and {weight.shape}"
            )
        freq_mhz = np.asarray(_promised(path, index["freq"]), np.float64) / 1e6
        _promised(path, intensity, at_once=False)
        _promised(path, weight, at_once=False)
        times = np.asarray(_promised(path, index["time"]), np.float64)
        if freq_mhz.shape != intensity.shape[:1] or times.shape != intensity.shape[2:]:
            raise FormatError(
                f"{path}: index_map: {freq_mhz.size} frequencies and {times.size} times for an intensity of the shape "
                f"{intensity.shape}"
            )
        freq_mhz, notes = _centres(freq_mhz)
        at, dt_s = _places(path, times)
        n_times = int(at[-1]) + 1
        missing = n_times - at.size
        if missing:
            notes.append(f"{missing} samples are missing and have weight 0")
        self._file, self._intensity, self._weight, self._at = file, intensity, weight, at
        super().__init__(
            path=path,
            kind="CHIME/FRB intensity",
            freq_mhz=freq_mhz,
            dt_s=dt_s,
            n_times=n_times,
            dtype=np.float32,
            weighted=True,
            start_mjd=UNIX_EPOCH_MJD + times[0] / SECONDS_PER_DAY if _UNIX[0] < times[0] < _UNIX[1] else None,
            notes=tuple(notes),
            fields=_attributes(file),
        )

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:  # noqa: ARG002
        rows = slice(*np.searchsorted(self._at, [first, first + count]).tolist())
        data = np.zeros((self.n_chan, count), np.float32)
        weights = np.zeros_like(data)
        if rows.start < rows.stop:
            x = np.asarray(_read(self.path, self._intensity, np.s_[:, :, rows]), np.float64)
            w = np.asarray(_read(self.path, self._weight, np.s_[:, :, rows]), np.float64)
            w = np.where(np.isfinite(x) & (w > 0), w, 0)
            total = w.sum(1)
            mean = (np.where(w > 0, x, 0) * w).sum(1) / np.where(total > 0, total, 1)
            order = slice(None, None, -1) if self.descending else slice(None)
            place = self._at[rows] - first
            data[:, place] = mean[order]
            weights[:, place] = total[order] / w.shape[1]
        return data, weights

    def close(self) -> None:
        self._file.close()


class Fbh5Writer:
    """Writes spectra as blimpy does; a context manager, which gives the file its name when it is whole.

    Parameters
    ----------
    path : .h5
    freq_mhz : (n_chan) MHz, ascending; written from the highest to the lowest
    dt_s : seconds per sample
    dtype : uint8 or float32
    header : further keywords of SIGPROC
    overwrite : replace an existing file
    """

    @old_keywords("freqs", "dt")
    def __init__(
        self,
        path: Path,
        freq_mhz: npt.NDArray[np.float64],
        dt_s: float,
        dtype: npt.DTypeLike,
        *,
        header: dict[str, Any],
        overwrite: bool = False,
    ) -> None:
        self._h5py, self._plugin = (
            need("h5py", "hdf5", "writing .h5"),
            need("hdf5plugin", "hdf5", "writing .h5"),
        )
        check_target(path, Kind.HDF5, overwrite=overwrite)  # better now than after the work
        self._path, self._overwrite = path, overwrite
        self._dtype, self._n = np.dtype(dtype), freq_mhz.size
        step = (float(freq_mhz[0]) - float(freq_mhz[-1])) / (freq_mhz.size - 1) if freq_mhz.size > 1 else -1.0
        self._head = {
            "fch1": float(freq_mhz[-1]),
            "foff": step,
            "nchans": freq_mhz.size,
            "nifs": 1,
            "nbits": 8 * self._dtype.itemsize,
            "tsamp": dt_s,
            "data_type": 1,
            "machine_id": 0,
            "telescope_id": 0,
        } | header

    def __enter__(self) -> Fbh5Writer:
        self._staged = StagedPath(self._path, self._overwrite, Kind.HDF5)
        try:
            self._begin()
        except BaseException:
            self._staged.discard()
            raise
        return self

    def _begin(self) -> None:
        self._file = self._h5py.File(self._staged.temporary, "w")
        self._file.attrs.update(
            {"CLASS": "FILTERBANK", "VERSION": "1.0", "program": f"mwaconvert {__version__}"}
        )
        self._data = self._file.create_dataset(
            "data",
            (0, 1, self._n),
            self._dtype,
            maxshape=(None, 1, self._n),
            chunks=(min(_CHUNK, max(1, (1 << 20) // self._n)), 1, self._n),
            **self._plugin.Bitshuffle(),
        )
        self._data.attrs.update({key: value for key, value in self._head.items() if value is not None})
        for axis, name in enumerate(("time", "feed_id", "frequency")):
            self._data.dims[axis].label = name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._staged:
            self._file.close()
            if error is not None:
                raise error

    def write(self, data: npt.NDArray[Any]) -> None:
        """Append spectra: (n_chan, n_times), channels from the lowest to the highest."""
        done, n = self._data.shape[0], data.shape[1]
        self._data.resize(done + n, 0)
        self._data[done:, 0] = data[::-1].T.astype(self._dtype)


def _catalogue(path: Path, file: Any) -> ArrayStream:
    """A waterfall of the first CHIME/FRB catalogue: rows from the highest frequency, plot_freq from the lowest."""
    group = file["frb"]
    fields = _attributes(group)
    if "dm" not in fields:
        raise FormatError(f"{path}: frb: the attribute dm is missing or not a number")
    data = np.asarray(_promised(path, group["wfall"]), np.float32)[::-1]
    freq_mhz = np.asarray(_promised(path, group["plot_freq"]), np.float64)
    times = np.asarray(_promised(path, group["plot_time"]), np.float64)
    if data.ndim != 2 or times.size < 2:
        raise FormatError(f"{path}: wfall of the shape {data.shape} with {times.size} times")
    if freq_mhz.size != len(data):  # the spectrum may be coarser than the waterfall
        df_mhz = 400.0 / len(data)
        freq_mhz = _CHIME_EDGE_MHZ + df_mhz * (np.arange(len(data), dtype=np.float64) + 0.5)
    dt_s = float(np.median(np.diff(times))) * 1e-3  # ms
    spectra = Spectra(
        data,
        freq_mhz,
        dt_s,
        weights=(np.isfinite(data) & (data != 0)).astype(np.float32),
        dm=float(np.ravel(fields["dm"])[0]),
        source=_text(fields.get("tns_name", "")),
    )
    file.close()
    return ArrayStream(spectra, path, "CHIME/FRB waterfall", fields)


def _centres(freq_mhz: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Centres of channels: some writers name edges, which CHIME's grid of channels tells."""
    if freq_mhz.size < 2:
        return freq_mhz, []
    step = float(freq_mhz[1] - freq_mhz[0])
    if step == 0 or not np.isfinite(step):
        return freq_mhz, []
    place = (float(freq_mhz[0]) - _CHIME_EDGE_MHZ) / abs(step)
    off = abs(place - round(place))
    if off < 0.1:
        return freq_mhz + step / 2, ["frequencies in the file are edges of channels"]
    if off < 0.4:
        return freq_mhz, [
            "frequencies in the file are not on CHIME's grid and were taken as centres of channels"
        ]
    return freq_mhz, []


def _places(path: Path, times: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], float]:
    """Number of each sample, with gaps, and the length of a sample."""
    if times.size < 2:
        raise FormatError(f"{path}: index_map/time: {times.size} times do not tell the length of a sample")
    steps = np.diff(times)
    if not (np.isfinite(times).all() and (steps > 0).all()):
        raise FormatError(f"{path}: index_map/time: times do not ascend")
    shortest = float(np.median(steps[steps < 1.5 * steps.min()]))
    at = np.rint((times - times[0]) / shortest)
    if at[-1] > 100 * times.size or (np.diff(at) < 1).any():
        raise FormatError(
            f"{path}: index_map/time: gaps of up to {steps.max():g} s between samples of {shortest:g} s"
        )
    dt_s = float((times[-1] - times[0]) / at[-1])
    frames = (
        round(dt_s / _FRAME_S) * _FRAME_S
    )  # seconds since 1970 are known to a quarter of a microsecond only
    if abs(frames - dt_s) <= 4 * np.spacing(np.abs(times).max()) / at[-1]:
        dt_s = frames
    return at.astype(np.int64), dt_s


def _attributes(held: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in read_attributes(held).items()}


def _numbers(path: Path, dataset: Any) -> Any:
    """A dataset, if it holds numbers: what was said of attributes."""
    if dataset.dtype.kind not in "uif":
        raise FormatError(f"{path}: {dataset.name}: expected numbers, found {dataset.dtype}")
    chunk = int(np.prod(dataset.chunks or (0,))) * dataset.dtype.itemsize
    if chunk > _LARGEST_CHUNK:
        raise FormatError(
            f"{path}: {dataset.name}: pieces of {size_text(chunk)}: damaged, nobody writes so large ones"
        )
    return dataset


def _promised(path: Path, dataset: Any, *, at_once: bool = True) -> Any:
    """A dataset whose size its file can hold: what was never written takes no room and reads as zeros."""
    held = int(dataset.id.get_storage_size())
    check_promise(path, dataset.name, int(dataset.nbytes), held, at_once=at_once)
    return _numbers(path, dataset)


def _read(path: Path, dataset: Any, part: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(_numbers(path, dataset)[part])
    except _DAMAGED as error:
        raise FormatError(f"{path}: {dataset.name} cannot be read: {error}") from error


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> Any:
    """An attribute as a Python value."""
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.item() if value.size == 1 else value.tolist()
    return value
