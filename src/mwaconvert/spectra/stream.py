"""Spectra that are read piece by piece: what every reader of a file offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import FormatError, InputError
from mwaconvert.spectra.dispersion import K_DM
from mwaconvert.spectra.spectra import Spectra

Data = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Weights = npt.NDArray[np.float32] | None

MOST_CHANNELS = 1 << 20


@dataclass(kw_only=True)
class Stream:
    """A file of spectra of which pieces can be read.

    Readers fill in what the file says, in its own order of channels, and define `read`; here it is checked and turned
    so that frequencies ascend.

    Parameters
    ----------
    path : file
    kind : name of its format
    freqs : (n_chan) MHz, centres of the channels
    dt : seconds per sample
    nsamp : number of samples
    dtype : of the values: uint8 or float32
    weighted : `read` may return weights
    dm : pc/cm^3, to which the data are dedispersed already
    start_mjd : UTC of the beginning of the first sample
    source : name
    k_dm : dispersion constant, MHz^2 s cm^3 / pc
    notes : what there is to say of the file
    fields : what else its header holds, by the format's own names

    Raises
    ------
    FormatError : frequencies or times that make no sense
    """

    path: Path
    kind: str
    freqs: npt.NDArray[np.float64]
    dt: float
    nsamp: int
    dtype: npt.DTypeLike = np.uint8
    weighted: bool = False
    dm: float = 0.0
    start_mjd: float | None = None
    source: str = ""
    k_dm: float = K_DM
    notes: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        freqs = np.ascontiguousarray(self.freqs, np.float64)
        if freqs.ndim != 1 or not 1 <= freqs.size <= MOST_CHANNELS:
            raise FormatError(
                f"{self.path}: frequencies of the shape {freqs.shape}: expected 1 to {MOST_CHANNELS} channels"
            )
        steps = np.diff(freqs)
        if not (np.isfinite(freqs).all() and (freqs > 0).all() and ((steps > 0).all() or (steps < 0).all())):
            raise FormatError(
                f"{self.path}: the {freqs.size} channels, from {freqs[0]:g} to {freqs[-1]:g} MHz, are not at positive "
                "frequencies, each at its own"
            )
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise FormatError(f"{self.path}: a sample takes {self.dt} s: expected a positive number")
        if not np.isfinite(self.dm):
            raise FormatError(f"{self.path}: a DM of {self.dm}")
        if self.nsamp < 1:
            raise FormatError(f"{self.path}: there is no sample in it")
        if self.start_mjd is not None and not np.isfinite(self.start_mjd):
            self.start_mjd = None
            self.notes = (*self.notes, "the start time is not a number and was left out")
        self.descending = bool(steps.size and steps[0] < 0)
        self.freqs = np.ascontiguousarray(freqs[::-1]) if self.descending else freqs

    #: whether `read` takes hardly more memory than what it returns, however much that is
    frugal: ClassVar[bool] = False

    @property
    def nchan(self) -> int:
        """Number of channels."""
        return int(self.freqs.size)

    @property
    def df(self) -> float:
        """MHz per channel (of a single channel: 0)."""
        return float(self.freqs[-1] - self.freqs[0]) / max(1, self.nchan - 1)

    @property
    def bytes_per_sample(self) -> int:
        """Memory that one sample of all channels takes, with its weights."""
        return self.nchan * (np.dtype(self.dtype).itemsize + (4 if self.weighted else 0))

    def read(self, first: int, count: int, nthreads: int = 0) -> tuple[Data, Weights]:
        """Read samples.

        Parameters
        ----------
        first, count : within the file
        nthreads : 0 for all cores

        Returns
        -------
        data, weights
            (n_chan, count) channels from the lowest to the highest; None if all weights are 1
        """
        raise NotImplementedError

    def spectra(self, first: int = 0, count: int | None = None, nthreads: int = 0) -> Spectra:
        """Read samples, by default all of them.

        Parameters
        ----------
        first, count : within the file
        nthreads : 0 for all cores

        Returns
        -------
        Spectra

        Raises
        ------
        InputError : they are not within the file
        FormatError : the file is damaged
        """
        count = self.nsamp - first if count is None else count
        if first < 0 or count < 1 or first + count > self.nsamp:
            raise InputError(f"{self.path}: samples {first} to {first + count} of {self.nsamp}")
        data, weights = self.read(first, count, nthreads)
        start = None if self.start_mjd is None else self.start_mjd + first * self.dt / 86400
        return Spectra(
            data,
            self.freqs,
            self.dt,
            weights=weights,
            dm=self.dm,
            start_mjd=start,
            source=self.source,
            k_dm=self.k_dm,
            notes=self.notes,
        )

    def close(self) -> None:
        """Let go of the file."""


class ArrayStream(Stream):
    """Spectra in memory."""

    def __init__(
        self, spectra: Spectra, path: Path, kind: str, fields: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(
            path=path,
            kind=kind,
            freqs=spectra.freqs,
            dt=spectra.dt,
            nsamp=spectra.nsamp,
            dtype=spectra.data.dtype,
            weighted=spectra.weights is not None,
            dm=spectra.dm,
            start_mjd=spectra.start_mjd,
            source=spectra.source,
            k_dm=spectra.k_dm,
            notes=spectra.notes,
            fields=fields or {},
        )
        self._data, self._weights = spectra.data, spectra.weights

    def read(self, first: int, count: int, nthreads: int = 0) -> tuple[Data, Weights]:  # noqa: ARG002
        part = slice(first, first + count)
        weights = self._weights
        return self._data[:, part], weights if weights is None or weights.ndim == 1 else weights[:, part]


class StreamPart(Stream):
    """Some samples of a file, as if they were all there are.

    Parameters
    ----------
    whole : the file
    first, count : its samples

    Raises
    ------
    InputError : they are not within the file
    """

    def __init__(self, whole: Stream, first: int, count: int) -> None:
        if first < 0 or count < 1 or first + count > whole.nsamp:
            raise InputError(f"{whole.path}: samples {first} to {first + count} of {whole.nsamp}")
        start = None if whole.start_mjd is None else whole.start_mjd + first * whole.dt / 86400
        names = [f.name for f in fields(Stream)]
        super().__init__(
            **{name: getattr(whole, name) for name in names} | {"nsamp": count, "start_mjd": start}
        )
        self._whole, self._first = whole, first

    def read(self, first: int, count: int, nthreads: int = 0) -> tuple[Data, Weights]:
        return self._whole.read(self._first + first, count, nthreads)

    def close(self) -> None:
        self._whole.close()
