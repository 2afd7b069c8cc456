"""PRESTO's time series: .dat, raw float32, described by an .inf of text beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import FormatError
from mwaconvert.formats.stored import StoredArray
from mwaconvert.spectra.recording import Frame, Recording, direction, dms, hms
from mwaconvert.spectra.stream import Data, Stream, Weights
from mwaconvert.staging import Kind, StagedPath


@dataclass(frozen=True)
class SeriesInfo:
    """What an .inf file says."""

    dt_s: float  #: s
    n_times: int
    dm: float  #: pc/cm^3
    low_mhz: float  #: centre of the lowest channel
    width_mhz: float  #: of a channel
    n_chan: int
    start_mjd: float
    source: str = ""
    telescope: str = ""
    barycentric: bool = False
    on: tuple[tuple[int, int], ...] = ()  #: first and last bin of what was recorded, where there are breaks
    notes: str = ""
    ra_deg: float | None = None  #: J2000
    dec_deg: float | None = None
    warnings: tuple[str, ...] = ()  #: what there is to say of the two files

    @property
    def freq_mhz(self) -> npt.NDArray[np.float64]:
        """(n_chan) MHz."""
        return self.low_mhz + self.width_mhz * np.arange(self.n_chan, dtype=np.float64)


def read_info(path: Path) -> SeriesInfo:
    """Read an .inf file.

    Parameters
    ----------
    path : .inf

    Raises
    ------
    FormatError : a line is missing, or its value makes no sense
    """
    try:
        text = path.read_text("latin-1")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error
    head, _, notes = text.partition("Any additional notes")
    lines, pairs = _split(head)

    def find(begin: str, default: str | None = None) -> str:
        for label, value in lines.items():
            if label.startswith(begin.lower()):
                return value
        if default is None:
            raise FormatError(f"{path}: expected a line '{begin} ... =', found none: not a PRESTO .inf file")
        return default

    def number(begin: str, default: str | None = None) -> float:
        value = find(begin, default)
        try:
            return float(value)
        except ValueError:
            raise FormatError(f"{path}: '{begin}': expected a number, found {value!r}") from None

    dt_s, n_times = number("Width of each time series bin"), number("Number of bins in the time series")
    n_chan = number("Number of channels", "1")
    if not (math.isfinite(dt_s) and dt_s > 0):
        raise FormatError(f"{path}: a bin takes {dt_s} s: expected a positive number")
    if not (1 <= n_times < 2**53 and 1 <= n_chan <= 2**20):
        raise FormatError(f"{path}: {n_times:g} bins of {n_chan:g} channels")
    ra_deg, dec_deg = direction(find("J2000 Right Ascension", ""), find("J2000 Declination", ""))
    return SeriesInfo(
        dt_s=dt_s,
        n_times=int(n_times),
        dm=number("Dispersion measure", "0"),
        low_mhz=number("Central freq of low channel", "0"),
        width_mhz=number("Channel bandwidth", "0"),
        n_chan=int(n_chan),
        start_mjd=number("Epoch of observation", "0"),
        source=find("Object being observed", ""),
        telescope=find("Telescope used", ""),
        barycentric=find("Barycentered?", "0") == "1",
        on=tuple(_bins(path, pair) for pair in pairs),
        notes=notes.lstrip(" :\n").strip(),
        ra_deg=ra_deg,
        dec_deg=dec_deg,
    )


def _split(head: str) -> tuple[dict[str, str], list[str]]:
    """Values by label in lower case, and the pairs of bins, of which there may be several."""
    lines, pairs = {}, []
    for line in head.splitlines():
        parts = re.split(r"\s=(?:\s|$)", line, maxsplit=1)
        if len(parts) != 2:
            continue
        label, value = parts[0].strip(), parts[1].strip()
        if label.startswith("On/Off bin pair"):
            pairs.append(value)
        else:
            lines[label.lower()] = value
    return lines, pairs


def _bins(path: Path, pair: str) -> tuple[int, int]:
    try:
        first, last = (int(float(x)) for x in pair.split(","))
    except (ValueError, OverflowError):
        raise FormatError(f"{path}: expected an on/off pair of bins, found {pair!r}") from None
    return first, last


def file_of(path: Path, suffix: str) -> Path:
    """The file of a series with an ending, in any case, given one of its two files.

    Parameters
    ----------
    path : .dat or .inf
    suffix : .dat or .inf
    """
    if path.suffix.lower() == suffix:
        return path
    choices = (path.with_suffix(ending) for ending in (suffix, suffix.upper()))
    return next((choice for choice in choices if choice.is_file()), path.with_suffix(suffix))


def read_series(path: Path) -> tuple[SeriesInfo, npt.NDArray[np.float32]]:
    """Read a time series.

    Parameters
    ----------
    path : .dat or .inf; the other is beside it

    Returns
    -------
    info, (n_times) values

    Raises
    ------
    FormatError : one of the files is missing, or there is no value
    """
    info, values = _stored(path)
    return info, values[:]


class SeriesStream(Stream):
    """A time series as spectra of one channel, at the highest frequency of its band.

    Parameters
    ----------
    path : .dat or .inf; the other is beside it

    Raises
    ------
    FormatError : one of the files is missing, or there is no value
    """

    frugal = True

    def __init__(self, path: Path) -> None:
        info, self._values = _stored(path)
        top = float(info.freq_mhz.max())
        super().__init__(
            path=path,
            kind="PRESTO",
            freq_mhz=np.array([top if top > 0 else 1.0]),
            dt_s=info.dt_s,
            n_times=info.n_times,
            dtype=np.float32,
            dm=info.dm,
            start_mjd=info.start_mjd or None,
            source=info.source,
            notes=(*info.warnings, *(() if top > 0 else ("the .inf file has no frequency",))),
            fields={"telescope": info.telescope, "notes": info.notes},
            recording=Recording(
                telescope="" if info.telescope.lower() == "unknown" else info.telescope,
                ra_deg=info.ra_deg,
                dec_deg=info.dec_deg,
                frame=Frame.BARYCENTRIC if info.barycentric else Frame.TOPOCENTRIC,
            ),
        )

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:  # noqa: ARG002
        return np.asarray(self._values[first : first + count], np.float32)[None], None


def _stored(path: Path) -> tuple[SeriesInfo, StoredArray]:
    """What is known of a series, and its values where they are."""
    described = file_of(path, ".inf")
    info = read_info(described)
    data = file_of(path, ".dat")
    if not data.is_file():
        raise FormatError(f"{data}: no such file, expected beside {described.name}")
    held = data.stat().st_size // 4
    if held < 1:
        raise FormatError(f"{data}: there is no value in it, but its .inf promises {info.n_times}")
    if held != info.n_times:
        said = f"the .inf file promises {info.n_times} values, the .dat file holds {held}: all were read"
        info = replace(info, n_times=held, warnings=(said,))
    return info, StoredArray(data, np.dtype("<f4"), 0, (info.n_times,))


def write_series(
    path: Path, info: SeriesInfo, pieces: Iterable[npt.NDArray[np.float32]], *, overwrite: bool = False
) -> int:
    """Write .dat and .inf.

    Parameters
    ----------
    path : .dat; an odd last value is left out, as PRESTO transforms even numbers only
    info : n_times is replaced by the number of values there are
    pieces : values, one piece after the other
    overwrite : replace existing files

    Returns
    -------
    number of values
    """
    count = 0
    with (
        StagedPath(path.with_suffix(".inf"), overwrite, Kind.INFO) as beside,
        StagedPath(path, overwrite, Kind.SERIES) as staged,
    ):
        with staged.temporary.open("wb") as file:
            for piece in pieces:
                file.write(np.ascontiguousarray(piece, "<f4").tobytes())
                count += piece.size
            count -= count % 2 if count > 1 else 0
            file.truncate(4 * count)
        beside.temporary.write_text(_info_text(path.stem, info, count), "latin-1", "replace")
    return count


def _info_text(name: str, info: SeriesInfo, count: int) -> str:
    lines = {
        "Data file name without suffix": name,
        "Telescope used": info.telescope or "unknown",
        "Instrument used": "unknown",
        "Object being observed": info.source or "unknown",
        "J2000 Right Ascension (hh:mm:ss.ssss)": hms(info.ra_deg or 0.0),
        "J2000 Declination     (dd:mm:ss.ssss)": dms(info.dec_deg or 0.0).lstrip("+"),
        "Data observed by": "unknown",
        "Epoch of observation (MJD)": f"{info.start_mjd:.15f}",
        "Barycentered?           (1=yes, 0=no)": str(int(info.barycentric)),
        "Number of bins in the time series": str(count),
        "Width of each time series bin (sec)": f"{info.dt_s:.15g}",
        "Any breaks in the data? (1=yes, 0=no)": "0",
        "Type of observation (EM band)": "Radio",
        "Beam diameter (arcsec)": "0",
        "Dispersion measure (cm-3 pc)": f"{info.dm:.12g}",
        "Central freq of low channel (Mhz)": f"{info.low_mhz:.12g}",
        "Total bandwidth (Mhz)": f"{info.width_mhz * info.n_chan:.12g}",
        "Number of channels": str(info.n_chan),
        "Channel bandwidth (Mhz)": f"{info.width_mhz:.12g}",
        "Data analyzed by": "mwaconvert",
    }
    text = "".join(f" {label:<37}  =  {value}\n" for label, value in lines.items())
    return f"{text} Any additional notes:\n    {info.notes}\n"
