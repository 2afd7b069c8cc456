"""A candidate cut out of a filterbank: its S/N, its place, and what classifiers look at.

Steps and numbers are those of DARC, with its faults mended: the DM-time plane is never empty, the arrival time is
moved towards the pulse, a window that begins before the data is filled up, and a bright pulse is not cleaned away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.live.observation import K_AMBER, delay_s
from mwaconvert.live.settings import Extractor
from mwaconvert.spectra.stream import Stream
from mwaconvert.transients.judging.cutouts import piece_of
from mwaconvert.transients.masking import mask_iqrm
from mwaconvert.transients.prepare import Preparation

Floats = npt.NDArray[np.float32]
_WIDEST = 250  # samples: what is wider is interference
_CLIPS = 4
#: the standard deviation that is left of Gaussian noise after the clips
_CLIPPED = 1.048


class Refusal(Enum):
    """Why a candidate is left out; the value is what is said of it."""

    FAINT = "too faint in the data"
    ZERO_DM = "brighter at DM 0"
    NO_DATA = "outside the data"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What AMBER says of a candidate: time at the top of the band in s, DM, S/N, width in samples, synthesised beam."""

    time_s: float
    dm: float
    snr: float
    width: int
    beam: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Extract:
    """A candidate in the data.

    Parameters
    ----------
    wanted : as it was looked for
    time_s, dm, snr, width : as found; time of the middle of the pulse's brightest bin, at the top of the band
    dt_s : seconds a bin
    freq_time : (n_freq, n_time) dedispersed, the lowest frequency first; units of the noise of a channel
    dm_time : (n_dm, n_time)
    dms : (n_dm) pc/cm^3; that of the candidate is in the middle
    """

    wanted: Wanted
    time_s: float
    dm: float
    snr: float
    width: int
    dt_s: float
    freq_time: Floats
    dm_time: Floats
    dms: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """Samples that a candidate needs: from `first` on, `n_times` for its bins, `sweep` more for the dispersion."""

    first: int
    n_times: int
    sweep: int
    before: int  #: samples averaged before dedispersion
    after: int  #: and after
    dms: npt.NDArray[np.float64]

    @property
    def end(self) -> int:
        return self.first + self.n_times + self.sweep


def window_of(stream: Stream, wanted: Wanted, settings: Extractor) -> Window:
    """What must be read, and in which steps."""
    centre_mhz = float(stream.freq_mhz.mean())
    smear_s = 2 * K_AMBER * wanted.dm * abs(stream.df_mhz) * centre_mhz**-3
    before = max(1, int(smear_s / stream.dt_s / 4))
    after = max(1, wanted.width // before)
    n_times = settings.ntime * before * after
    half = settings.dm_halfrange + 5e3 * before * after * stream.dt_s + wanted.dm / 100
    dms = wanted.dm + half * (np.arange(settings.ndm) - settings.ndm // 2) / (settings.ndm / 2)
    dms -= min(0.0, dms[0])
    sweep_s = delay_s(float(dms[-1]), float(stream.freq_mhz[0]), float(stream.freq_mhz[-1]))
    sweep = int(np.ceil(sweep_s / stream.dt_s)) + before
    first = round(wanted.time_s / stream.dt_s) - n_times // 2
    return Window(first, n_times, sweep, before, after, np.asarray(dms, np.float64))


def extract(
    stream: Stream, wanted: Wanted, settings: Extractor | None = None, masked: Sequence[int] = ()
) -> Extract | Refusal:
    """Cut a candidate out.

    Parameters
    ----------
    stream : the synthesised beam; its beginning is that of the observation
    masked : channels that are not used, counted from the lowest

    Raises
    ------
    InputError
        Channels that cannot be parted as the settings want, or all are masked.
    """
    settings = settings or Extractor()
    if stream.n_chan % settings.nfreq:
        raise InputError(
            f"{stream.path}: `nfreq={settings.nfreq}`: does not divide the {stream.n_chan} channels",
            option="nfreq",
        )
    window = window_of(stream, wanted, settings)
    if window.first + window.n_times // 2 >= stream.n_times or window.end <= 0:
        return Refusal.NO_DATA
    prepare = Preparation(masked=_bad_channels(stream, window, settings, masked))
    piece = replace(piece_of(stream, window.first, window.end, prepare), k_dm=K_AMBER).downsample(
        window.before
    )
    n_times = window.n_times // window.before
    widths = range(max(1, window.after // 2), max(2, min(_WIDEST, 2 * window.after)))
    series = piece.series([wanted.dm])[0, :n_times]
    snr, width = best_boxcar(series, widths)
    if snr < settings.snr_min_local:
        return Refusal.FAINT
    at_zero, _ = best_boxcar(piece.series([0.0])[0, :n_times], widths)
    if settings.snr_dm0_filter and at_zero - snr >= settings.snr_dm0_diff_threshold:
        return Refusal.ZERO_DM
    plane = _binned(piece.series(window.dms)[:, :n_times], window.after)
    falls = piece.dedisperse(wanted.dm).data[:, :n_times].reshape(settings.nfreq, -1, n_times).mean(1)
    falls = _binned(falls, window.after)
    off = int(falls.sum(0).argmax()) - settings.ntime // 2
    dt_s = stream.dt_s * window.before * window.after
    return Extract(
        wanted=wanted,
        time_s=wanted.time_s + off * dt_s,
        dm=wanted.dm,
        snr=snr,
        width=width * window.before,
        dt_s=dt_s,
        freq_time=np.roll(falls, -off, axis=1),
        dm_time=np.roll(plane, -off, axis=1),
        dms=window.dms,
    )


def _bad_channels(
    stream: Stream, window: Window, settings: Extractor, masked: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """(n_chan) those of the mask, and those unlike their neighbours: a pulse is alike in neighbours, however bright."""
    bad = np.zeros(stream.n_chan, np.bool_)
    bad[list(masked)] = True
    if settings.rfi_clean_type.lower() != "none":
        first, last = max(0, window.first), min(stream.n_times, window.end)
        read = mask_iqrm(stream.spectra(first, last - first), block=max(2, last - first))
        if read.weights is not None:
            found = bad | ~(read.weights.reshape(stream.n_chan, -1) > 0).any(1)
            bad = bad if found.all() else found
    return bad


def _binned(x: Floats, factor: int) -> Floats:
    """Sums over time."""
    return np.asarray(x.reshape(x.shape[0], -1, factor).sum(2), np.float32)


def best_boxcar(series: Floats, widths: range) -> tuple[float, int]:
    """Highest S/N of boxcars, and the width of the best.

    The noise of the sums of a boxcar is that of those within 3 standard deviations, clipped four times.

    Examples
    --------
    >>> x = np.zeros(64, np.float32); x[::2] = 1; x[30:33] += 20
    >>> best_boxcar(x, range(1, 6))[1]
    3
    """
    best, at = 0.0, widths.start
    total = np.concatenate([[0.0], np.cumsum(series, dtype=np.float64)])
    for width in widths:
        if width >= series.size:
            break
        sums = total[width:] - total[:-width]
        middle = np.median(sums)
        kept = sums - middle
        for _ in range(_CLIPS):
            kept = kept[np.abs(kept) <= 3 * kept.std()]
        sigma = _CLIPPED * kept.std() if kept.size else 0.0
        snr = float((sums.max() - middle) / sigma) if sigma > 0 else 0.0
        if snr > best:
            best, at = snr, width
    return best, at
