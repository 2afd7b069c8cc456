"""Spectra that are read piece by piece: what every reader of a file offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import FormatError, InputError
from mwaconvert.spectra.aliases import old_keywords, old_names
from mwaconvert.spectra.describe import facts_of, in_a_line
from mwaconvert.spectra.dispersion import K_DM
from mwaconvert.spectra.recording import NOT_RECORDED, Recording
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.text import html_facts, size_text

Data = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Weights = npt.NDArray[np.float32] | None

MOST_CHANNELS = 1 << 20


@old_names("nchan", "nsamp", "freqs", "dt", "df")
@dataclass(kw_only=True, repr=False)
class Stream:
    """A file of spectra of which pieces can be read.

    Readers fill in what the file says, in its own order of channels, and define `read`; here it is checked and turned
    so that frequencies ascend.

    Parameters
    ----------
    path : file
    kind : name of its format
    freq_mhz : (n_chan) MHz, centres of the channels
    dt_s : seconds per sample
    n_times : number of samples
    dtype : of the values: uint8 or float32
    weighted : `read` may return weights
    dm : pc/cm^3, to which the data are dedispersed already
    start_mjd : of the beginning of the first sample; UTC unless the frame of the recording says otherwise
    source : name
    k_dm : dispersion constant, MHz^2 s cm^3 / pc
    notes : what there is to say of the file
    fields : what else its header holds, by the format's own names
    recording : telescope, direction, beam and frame of time

    Raises
    ------
    FormatError : frequencies or times that make no sense
    """

    path: Path
    kind: str
    freq_mhz: npt.NDArray[np.float64]
    dt_s: float
    n_times: int
    dtype: npt.DTypeLike = np.uint8
    weighted: bool = False
    dm: float = 0.0
    start_mjd: float | None = None
    source: str = ""
    k_dm: float = K_DM
    notes: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    recording: Recording = NOT_RECORDED

    def __post_init__(self) -> None:
        freq_mhz = np.ascontiguousarray(self.freq_mhz, np.float64)
        if freq_mhz.ndim != 1 or not 1 <= freq_mhz.size <= MOST_CHANNELS:
            raise FormatError(
                f"{self.path}: frequencies of the shape {freq_mhz.shape}: expected 1 to {MOST_CHANNELS} channels"
            )
        steps = np.diff(freq_mhz)
        if not (
            np.isfinite(freq_mhz).all() and (freq_mhz > 0).all() and ((steps > 0).all() or (steps < 0).all())
        ):
            raise FormatError(
                f"{self.path}: the {freq_mhz.size} channels, from {freq_mhz[0]:g} to {freq_mhz[-1]:g} MHz, are "
                "not at positive frequencies, each at its own"
            )
        if not (np.isfinite(self.dt_s) and self.dt_s > 0):
            raise FormatError(f"{self.path}: a sample takes {self.dt_s} s: expected a positive number")
        if not np.isfinite(self.dm):
            raise FormatError(f"{self.path}: a DM of {self.dm}")
        if self.n_times < 1:
            raise FormatError(f"{self.path}: there is no sample in it")
        if self.start_mjd is not None and not np.isfinite(self.start_mjd):
            self.start_mjd = None
            self.notes = (*self.notes, "the start time is not a number and was left out")
        self.descending = bool(steps.size and steps[0] < 0)
        self.freq_mhz = np.ascontiguousarray(freq_mhz[::-1]) if self.descending else freq_mhz

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} ({self.kind}): {in_a_line(self)}>"

    def _repr_html_(self) -> str:
        return html_facts(self.facts())

    def facts(self) -> dict[str, str]:
        """The file in a few lines, by name."""
        facts = facts_of(self)
        held = size_text(self.bytes_per_sample * self.n_times)
        return {
            "file": f"{self.path} ({self.kind})",
            "source": facts["source"],
            "channels": facts["channels"],
            "samples": facts["samples"],
            "values": f"{np.dtype(self.dtype).name}, {held} in memory",
            "start": facts["start"],
            "DM of the data": facts["DM of the data"],
        } | self.recording.facts()

    #: whether `read` takes hardly more memory than what it returns, however much that is
    frugal: ClassVar[bool] = False

    @property
    def n_chan(self) -> int:
        """Number of channels."""
        return int(self.freq_mhz.size)

    @property
    def df_mhz(self) -> float:
        """MHz per channel (of a single channel: 0)."""
        return float(self.freq_mhz[-1] - self.freq_mhz[0]) / max(1, self.n_chan - 1)

    @property
    def bytes_per_sample(self) -> int:
        """Memory that one sample of all channels takes, with its weights."""
        return self.n_chan * (np.dtype(self.dtype).itemsize + (4 if self.weighted else 0))

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:
        """Read samples.

        Parameters
        ----------
        first, count : within the file
        threads : 0 for all cores

        Returns
        -------
        data, weights
            (n_chan, count) channels from the lowest to the highest; None if all weights are 1
        """
        raise NotImplementedError

    @old_keywords("nthreads")
    def spectra(self, first: int = 0, count: int | None = None, threads: int = 0) -> Spectra:
        """Read samples, by default all of them.

        Parameters
        ----------
        first, count : within the file
        threads : 0 for all cores

        Returns
        -------
        Spectra

        Raises
        ------
        InputError : they are not within the file
        FormatError : the file is damaged
        """
        count = self.n_times - first if count is None else count
        if first < 0 or count < 1 or first + count > self.n_times:
            raise InputError(f"{self.path}: samples {first} to {first + count} of {self.n_times}")
        data, weights = self.read(first, count, threads)
        start = None if self.start_mjd is None else self.start_mjd + first * self.dt_s / 86400
        return Spectra(
            data,
            self.freq_mhz,
            self.dt_s,
            weights=weights,
            dm=self.dm,
            start_mjd=start,
            source=self.source,
            k_dm=self.k_dm,
            notes=self.notes,
            recording=self.recording,
        )

    def close(self) -> None:
        """Let go of the file."""


class ArrayStream(Stream):
    """Spectra in memory.

    Examples
    --------
    >>> spectra = Spectra(np.ones((4, 10)), 400 + np.arange(4), 1e-3)
    >>> stream = ArrayStream(spectra, Path("ones"), "memory")
    >>> stream
    <ArrayStream ones (memory): 4 channels, 400 to 403 MHz, 10 samples of 1000 us, DM 0>
    >>> stream.spectra(2, 3).n_times
    3
    """

    def __init__(
        self, spectra: Spectra, path: Path, kind: str, fields: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(
            path=path,
            kind=kind,
            freq_mhz=spectra.freq_mhz,
            dt_s=spectra.dt_s,
            n_times=spectra.n_times,
            dtype=spectra.data.dtype,
            weighted=spectra.weights is not None,
            dm=spectra.dm,
            start_mjd=spectra.start_mjd,
            source=spectra.source,
            k_dm=spectra.k_dm,
            notes=spectra.notes,
            fields=fields or {},
            recording=spectra.recording,
        )
        self._data, self._weights = spectra.data, spectra.weights

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:  # noqa: ARG002
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
        if first < 0 or count < 1 or first + count > whole.n_times:
            raise InputError(f"{whole.path}: samples {first} to {first + count} of {whole.n_times}")
        start = None if whole.start_mjd is None else whole.start_mjd + first * whole.dt_s / 86400
        names = [f.name for f in fields(Stream)]
        super().__init__(
            **{name: getattr(whole, name) for name in names} | {"n_times": count, "start_mjd": start}
        )
        self._whole, self._first = whole, first

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:
        return self._whole.read(self._first + first, count, threads)

    def close(self) -> None:
        self._whole.close()
