"""What arrives at all frequencies at once, told from pulses of low DM by its shape in DM and time.

In the sum over all channels an impulse at DM 0 is as sharp as it is; a pulse of some DM is sharper at that DM. So
each excess in that sum is dedispersed, from sums over sub-bands, at DMs on either side of 0. If no positive DM makes it
stronger it is interference: the mean over the channels, times a spectrum, is subtracted from the samples it fills, and
samples in which channels still differ more than the noise are masked. Else it stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mwaconvert import _core

Floats = npt.NDArray[np.float32]

_EXCESS = 6.0  # S/N of impulses
_LEAST_NOISE = (
    0.5  # of the sum, over that of channels that are independent: else it was taken away already (zero-DM)
)
_PASSES = 12  # of finding the best boxcars, and taking them away
_UNEVEN = 6.0  # samples whose variation over the channels is so unusual are masked
_STRONGER = (1.0, 1.03)  # S/N at another DM: more than so much, and than so many times, above that at DM 0
_MOST = 3000  # impulses that are looked at one by one
_WIDTHS = (0.25, 0.5, 1.0, 2.0)  # boxcars, over that of the impulse


@dataclass(frozen=True, eq=False)
class Impulses:
    """What was found, and what is to be done about it."""

    keep: npt.NDArray[np.uint8]  #: (n_times) 0 where all channels are masked
    spans: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    #: (n, 2) first sample and end of what is taken away
    widths: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    #: (n) samples of the best boxcar of each
    models: list[Floats] = field(default_factory=list)
    #: (n_sub, end - first) of each: what to subtract from the channels of sub-bands, in units of their noise
    dispersed: int = 0  #: excesses that a positive DM makes stronger: left as they are
    storm: bool = False  #: too many to look at one by one: all were taken away

    @cached_property
    def inside(self) -> npt.NDArray[np.bool_]:
        """(n_times) whether something is taken away from a sample."""
        return _inside(self.spans, self.keep.size)

    def subtract_from(self, common: Floats) -> None:
        """Add the models to what is subtracted from the channels, (n_sub, n_times)."""
        for (first, end), model in zip(self.spans, self.models, strict=True):
            common[:, first:end] += model


def among_impulses(widths_s: npt.NDArray[np.float64], sweep_s: float, dm_min: float) -> str:
    """What pulses may have been taken away as impulses, in a sentence; empty if none that are searched.

    Parameters
    ----------
    widths_s : (n) of what was taken away
    sweep_s : across the band, for a unit of DM
    dm_min : the lowest DM of interest, above that of the data

    Examples
    --------
    >>> among_impulses(np.array([1e-3, 0.02]), 1e-3, 0.0)[:70]
    'impulses at DM 0, 1 to 20 ms wide, were taken away: pulses so wide, of'
    >>> among_impulses(np.array([1e-3, 0.02]), 1e-3, 30.0)
    ''
    """
    if not widths_s.size or sweep_s * dm_min >= widths_s.max() / 2:
        return ""
    low, high = (float(width_s) for width_s in (widths_s.min(), widths_s.max()))
    dms = " to ".join(dict.fromkeys(f"{w / 2 / sweep_s:.3g}" for w in (low, high))) if sweep_s > 0 else "any"
    return (
        f"impulses at DM 0, {' to '.join(dict.fromkeys(f'{1e3 * w:.3g}' for w in (low, high)))} ms wide, were taken "
        f"away: pulses so wide, of a DM below {dms}, would be among them, and bright pulsars lose S/N; see `impulses`"
    )


def find_impulses(
    sums: Floats,
    squares: Floats,
    n_used: Floats,
    delays: npt.NDArray[np.float64],
    *,
    n_width: int,
    sweep: int,
) -> Impulses:
    """Find impulses.

    Parameters
    ----------
    sums : (n_sub, n_times) sums over the channels of sub-bands, in units of the noise of a channel; impulses are
        taken away from them
    squares : (n_times) sum over all channels of squares
    n_used : (n_sub, n_times) channels in these sums
    delays : (n_sub) of the sub-bands, 0 at the top of the band and 1 at its bottom
    n_width : boxcars of 1, 2, 4, ... 2^(n_width - 1) samples
    sweep : samples that the highest DM takes to cross the band
    """
    number = n_used.sum(0)
    total = sums.sum(0)
    series = total / np.sqrt(np.maximum(number, 1))
    spans, signs, sigma = _excesses(series, n_width)
    keep = np.ones(total.size, np.uint8)
    if not len(spans) or sigma < _LEAST_NOISE:
        return Impulses(keep)
    storm = len(spans) > _MOST
    alone = sums / np.float32(sigma)
    for first, end, _ in spans:
        alone[:, first:end] = 0
    guilty = np.ones(len(spans), bool)
    if not storm:
        for k in np.flatnonzero(signs > 0):
            first, end, width = spans[k]
            alone[:, first:end] = sums[:, first:end] / np.float32(sigma)
            guilty[k] = not _is_dispersed(alone, n_used, delays, (first, end, width), sweep)
            alone[:, first:end] = 0
    found, widths = spans[guilty, :2], spans[guilty, 2]
    keep[_uneven(sums, squares, n_used, _inside(found, total.size))] = 0
    # short ones first, each with a spectrum of its own; what is taken away once is gone for those that overlap
    order = np.argsort(found[:, 1] - found[:, 0], kind="stable")
    found, widths = found[order], widths[order]
    models = []
    for first, end in found:
        part, number = sums[:, first:end], n_used[:, first:end]
        models.append(_model(part, number))
        part -= number * models[-1]
        rest = (part**2 / np.maximum(number, 1)).sum(0)
        freedom = max(1, sums.shape[0] - 1)
        keep[first:end][rest > freedom + _UNEVEN * np.sqrt(2 * freedom)] = 0
    return Impulses(keep, found, widths, models, int((~guilty).sum()), storm)


def _inside(spans: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.bool_]:
    """(n) whether samples are in one of some spans."""
    inside = np.zeros(n, bool)
    for first, end in spans:
        inside[first:end] = True
    return inside


def _model(sums: Floats, n_used: Floats) -> Floats:
    """The mean over all channels, times a spectrum that does not change within the impulse.

    sums, n_used : (n_sub, n)
    """
    mean = sums.sum(0) / np.maximum(n_used.sum(0), 1)
    power = n_used @ (mean**2)
    spectrum = np.divide(sums @ mean, power, out=np.zeros_like(power), where=power > 0)
    return np.asarray(spectrum[:, None] * mean, np.float32)


def _excesses(series: Floats, n_width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]:
    """(n, 3) first sample, end and best width of neighbouring boxcars that stand out; their signs; the noise.

    The best boxcars are taken away, and again the best of what is left, until nothing stands out.
    """
    left = series.copy()
    picked: list[tuple[int, int, int, int]] = []
    n_width = max(1, min(n_width, int(np.log2(max(2, series.size // 4)))))
    sigma = 1.0
    for step in range(_PASSES):
        new = []
        for sign in (1, -1):
            found, noise = _boxcars(left * np.float32(sign), n_width)
            if step == 0:
                sigma = noise
            new += [(float(b["snr"]), int(b["start"]), int(b["width"]), sign) for b in found]
        new.sort(reverse=True)
        taken = np.zeros(series.size, bool)
        for _, start, width, sign in new:
            if not taken[start : start + width].any():
                taken[start : start + width] = True
                picked.append((start, start + width, width, sign))
        if not taken.any():
            break
        left[taken] = 0
    return *_joined(picked), sigma


def _boxcars(series: Floats, n_width: int) -> tuple[npt.NDArray[np.void], float]:
    mean, sigma, snr = (np.empty(1, np.float32) for _ in range(3))
    start, width = (np.empty(1, np.int32) for _ in range(2))
    found = _core.search_series(
        series=series[None],
        share=np.empty((0, 0), np.float32),
        row=np.empty(0, np.int32),
        n_width=n_width,
        threshold=_EXCESS,
        mean=mean,
        sigma=sigma,
        snr=snr,
        start=start,
        width=width,
        threads=1,
    )
    return found, float(sigma[0]) or 1.0


def _joined(
    picked: list[tuple[int, int, int, int]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Boxcars of one sign that touch are one excess, whose width is that of the first picked, the strongest."""
    out: list[list[int]] = []
    for rank, (first, end, width, sign) in sorted(enumerate(picked), key=lambda p: p[1][0]):
        last = out[-1] if out else None
        if last is not None and last[3] == sign and first <= last[1] + 1:
            last[1] = max(last[1], end)
            if rank < last[4]:
                last[2], last[4] = width, rank
        else:
            out.append([first, end, width, sign, rank])
    table = np.array(out, np.int64).reshape(-1, 5)
    return table[:, :3], table[:, 3]


def _is_dispersed(
    sums: Floats,
    n_used: Floats,
    delays: npt.NDArray[np.float64],
    span: tuple[int, int, int],
    sweep: int,
) -> bool:
    """Whether a positive DM makes an excess stronger than DM 0 and all negative ones do.

    Sweeps are 0 and half the width times powers of 2; boxcars are placed around the middle of the band.
    """
    first, end, width = (int(x) for x in span)
    steps = max(width, 2) / 2 * 2.0 ** np.arange(0, 40)
    steps = steps[steps <= max(sweep, 1)]
    if not steps.size:
        return False
    sweeps = np.concatenate([-steps[::-1], [0.0], steps])
    # at most some sixty places, of boxcars that begin within the excess
    reach = end - first + width
    places = first - width // 2 + np.arange(0, reach, max(1, reach // 48))
    shifts = np.rint(sweeps[:, None] * (delays - 0.5)).astype(np.int64)  # (n_sweep, n_sub)
    low = max(0, first + int(shifts.min()) - 2 * width)
    high = min(sums.shape[1], end + int(shifts.max()) + 4 * width + 2)
    total = np.zeros((sums.shape[0], high - low + 1))
    np.cumsum(sums[:, low:high], axis=1, out=total[:, 1:])
    middle = min((first + end) // 2, n_used.shape[1] - 1)
    rows = np.arange(sums.shape[0])[None, :, None]
    begin = places[None, None, :] + shifts[:, :, None] - low
    best = np.full(sweeps.size, -np.inf)
    for part in _WIDTHS:
        w = max(1, int(width * part))
        a = begin.clip(0, high - low)
        b = (begin + w).clip(0, high - low)
        snr = (total[rows, b] - total[rows, a]).sum(1) / np.sqrt(w * max(1.0, float(n_used[:, middle].sum())))
        best = np.maximum(best, snr.max(1))
    zero = steps.size
    rest = max(best[zero], best[:zero].max())
    return bool(best[zero + 1 :].max() > max(rest + _STRONGER[0], rest * _STRONGER[1]))


def _uneven(
    sums: Floats, squares: Floats, n_used: Floats, inside: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Samples in which channels differ from the mean of their sub-band unlike they do elsewhere."""
    freedom = np.maximum(n_used - 1, 0).sum(0)
    within = squares - (sums**2 / np.maximum(n_used, 1)).sum(0)
    variation = within / np.maximum(freedom, 1)
    rest = variation[~inside & (freedom > 0)]
    if rest.size < 16:
        return inside
    low, middle, high = np.percentile(rest, [25, 50, 75])
    sigma = max((high - low) / 1.349, 1e-6)
    uneven: npt.NDArray[np.bool_] = inside & (np.abs(variation - middle) > _UNEVEN * sigma)
    return uneven
