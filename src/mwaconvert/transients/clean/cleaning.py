"""Cleaning before a search: channels scaled, baselines taken away, interference masked or subtracted.

What an expert would type, done by default, of a segment at a time, so that results do not depend on threads or gulps.
What comes out are bytes in units of the noise, which the kernels add fastest; masked samples hold the mean, and
`Cleaned.kept` says how many samples count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.spectra.dispersion import delay_per_dm
from mwaconvert.transients.clean.impulses import Impulses, find_impulses
from mwaconvert.transients.clean.levels import level_steps
from mwaconvert.transients.clean.losses import without_lost
from mwaconvert.transients.clean.scales import Floats, Pieces, block_moments, judged, without_impulses

if TYPE_CHECKING:
    from mwaconvert.spectra.spectra import Spectra


STRETCH = 64  #: samples of which `Cleaned.kept` counts those that are kept
ORIGIN, UNIT = (
    60.0,
    10.0,
)  #: byte of the mean; of the noise's standard deviation: from -6 to 19.5 of it fit in
_BLOCK = 256  # samples whose mean and variation are judged at once
_WINDOW = 16  # blocks on either side of the running median that is a channel's baseline
_SUBBANDS = 16  # that tell impulses at DM 0 from pulses of low DM
_FEW = 8  # channels, of which fewer do not tell interference from pulses


@dataclass(frozen=True)
class Cleaning:
    """Which steps are done. Channels are always brought to one scale.

    Parameters
    ----------
    baseline : subtract the running median of each channel, and what is common to all of them and slow
    channels : mask channels, and blocks of time of channels, that are unlike their neighbours
    impulses : take away what arrives at all frequencies at once; not done to data that are dedispersed already

    Of fewer than 8 channels, none is masked and no impulse is taken away.
    """

    baseline: bool = True
    channels: bool = True
    impulses: bool = True


@dataclass(frozen=True, eq=False)
class Cleaned:
    """Spectra that are ready to be searched, and what was masked."""

    spectra: Spectra  #: bytes: ORIGIN is the mean, UNIT the standard deviation of the noise; no weights
    kept: npt.NDArray[
        np.uint8
    ]  #: (n_chan, n_stretch) of the samples of each stretch of STRETCH, those not masked
    impulses: Impulses | None  #: what arrived at all frequencies at once
    stretch: int = STRETCH

    @property
    def masked_part(self) -> float:
        """Part of the samples that are masked."""
        return 1 - float(self.kept.sum(dtype=np.int64)) / self.spectra.data.size

    @property
    def bad_channels(self) -> npt.NDArray[np.intp]:
        """Numbers of the channels of which nothing is kept."""
        return np.flatnonzero(~self.kept.any(1))


def clean(
    spectra: Spectra,
    steps: Cleaning | None = None,
    *,
    n_width: int = 9,
    sweep: int | None = None,
    threads: int = 0,
) -> Cleaned:
    """Clean spectra for a search.

    Parameters
    ----------
    spectra : of any scale; weights of 0 are masked, others are taken as 1
    steps : by default all
    n_width : the widest boxcar that is searched has 2^(n_width - 1) samples: baselines are several times as long
    sweep : samples that the highest DM of interest takes to cross the band; by default a quarter of the data
    threads : 0 for all cores; the result does not depend on it

    Returns
    -------
    Cleaned

    Raises
    ------
    InputError : all channels are masked

    Examples
    --------
    >>> import numpy as np
    >>> from mwaconvert.transients import Spectra
    >>> noise = np.random.default_rng(1).normal(100, 12, (64, 4096))
    >>> cleaned = clean(Spectra(noise, 1500 - np.arange(64.0), 1e-3))
    >>> cleaned.masked_part < 0.01
    True
    """
    steps = _possible(steps or Cleaning(), spectra)
    if spectra.n_times < 2:
        raise InputError("a single sample cannot be searched")
    used = without_lost(spectra.data, _used(spectra), threads)
    block = int(np.clip(1 << max(0, (spectra.n_times // 16).bit_length() - 1), 32, _BLOCK))
    half = max(_WINDOW, (4 << n_width) // block)
    pieces, moments = _pieces(spectra, used, block, steps, threads)
    base, inverse, _ = judged(
        *moments, half, pieces, baseline=steps.baseline, channels=steps.channels, threads=threads
    )
    if not (inverse > 0).any():
        raise InputError("all channels are masked, or hold no number: there is nothing to search")
    edges = _sub_edges(spectra)
    common = np.zeros((edges.size - 1, spectra.n_times), np.float32)
    keep = np.ones(spectra.n_times, np.uint8)
    impulses = None
    if steps.baseline or steps.impulses:
        sums, squares = _band_sums(spectra, used, base, inverse, pieces, edges, threads)
        n_used = _channels_used(inverse > 0, edges, pieces)
        if steps.baseline:
            slow = _slow(sums.sum(0), n_used.sum(0), 4 << n_width, threads)
            sums -= slow * n_used
            common += slow
        if steps.impulses:
            impulses = find_impulses(
                sums,
                squares,
                n_used,
                _sub_delays(spectra, edges),
                n_width=n_width,
                sweep=spectra.n_times // 4 if sweep is None else sweep,
            )
            if steps.baseline and len(impulses.spans):
                base, more = _straightened(
                    impulses,
                    sums,
                    n_used,
                    (moments[1], base, inverse),
                    pieces,
                    half,
                    edges,
                    4 << n_width,
                    threads,
                )
                common += more
            impulses.subtract_from(common)
            keep = impulses.keep
    out = np.empty(spectra.data.shape, np.uint8)
    kept = np.empty((spectra.n_chan, -(-spectra.n_times // STRETCH)), np.uint8)
    for samples, blocks in pieces.slices():
        _core.cleaned_bytes(
            data=spectra.data[:, samples],
            used=used[:, samples],
            base=np.ascontiguousarray(base[:, blocks]),
            inverse=np.ascontiguousarray(inverse[:, blocks]),
            block=block,
            edges=edges,
            common=common[:, samples],
            keep=keep[samples],
            origin=ORIGIN,
            unit=UNIT,
            stretch=STRETCH,
            out=out[:, samples],
            kept=kept[:, samples.start // STRETCH : -(-samples.stop // STRETCH)],
            threads=threads,
        )
    return Cleaned(replace(spectra, data=out, weights=None), kept, impulses)


def _possible(steps: Cleaning, spectra: Spectra) -> Cleaning:
    """Without what cannot be told from few channels, or from data in which pulses are aligned already."""
    if spectra.n_chan < _FEW:
        return replace(steps, channels=False, impulses=False)
    return replace(steps, impulses=steps.impulses and spectra.dm == 0)


def _used(spectra: Spectra) -> npt.NDArray[np.uint8]:
    """(n_chan, n_times) 1 where a sample has weight; no rows where all have."""
    weights = spectra.weights
    if weights is None or (weights > 0).all():
        return np.empty((0, 0), np.uint8)
    whole = weights[:, None] if weights.ndim == 1 else weights
    return np.ascontiguousarray(np.broadcast_to(whole > 0, spectra.data.shape)).view(np.uint8)


def _pieces(
    spectra: Spectra, used: npt.NDArray[np.uint8], block: int, steps: Cleaning, threads: int
) -> tuple[Pieces, tuple[Floats, Floats, Floats]]:
    """Pieces between steps of the gain, and the moments of their blocks."""
    whole = Pieces((0, spectra.n_times), block)
    moments = block_moments(spectra.data, used, whole, threads)
    cuts = level_steps(spectra.data, *moments, block, STRETCH) if steps.baseline else ()
    if not cuts:
        return whole, moments
    pieces = Pieces((0, *cuts, spectra.n_times), block)
    return pieces, block_moments(spectra.data, used, pieces, threads)


def _sub_edges(spectra: Spectra) -> npt.NDArray[np.int32]:
    """(n_sub + 1) channels at which sub-bands begin that are equally wide in delay."""
    delays = delay_per_dm(spectra.freq_mhz, "top", spectra.k_dm)
    n_sub = min(_SUBBANDS, spectra.n_chan)
    inner = np.searchsorted(-delays, -delays[0] * (1 - np.arange(1, n_sub) / n_sub))
    inner = np.clip(inner, 1, max(1, spectra.n_chan - 1))
    return np.unique(np.concatenate([[0], inner, [spectra.n_chan]])).astype(np.int32)


def _band_sums(
    spectra: Spectra,
    used: npt.NDArray[np.uint8],
    base: Floats,
    inverse: Floats,
    pieces: Pieces,
    edges: npt.NDArray[np.int32],
    threads: int,
) -> tuple[Floats, Floats]:
    """Sums over sub-bands, and the sum of squares over all channels."""
    sums = np.empty((edges.size - 1, spectra.n_times), np.float32)
    squares = np.empty(spectra.n_times, np.float32)
    for samples, blocks in pieces.slices():
        _core.band_sums(
            data=spectra.data[:, samples],
            used=used[:, samples],
            base=np.ascontiguousarray(base[:, blocks]),
            inverse=np.ascontiguousarray(inverse[:, blocks]),
            block=pieces.block,
            edges=edges,
            sums=sums[:, samples],
            squares=squares[samples],
            threads=threads,
        )
    return sums, squares


def _channels_used(good: npt.NDArray[np.bool_], edges: npt.NDArray[np.int32], pieces: Pieces) -> Floats:
    """(n_sub, n_times) channels that are not masked."""
    number = np.add.reduceat(good, edges[:-1], axis=0, dtype=np.float32)
    out = np.empty((number.shape[0], pieces.edges[-1]), np.float32)
    for samples, blocks in pieces.slices():
        length = samples.stop - samples.start
        out[:, samples] = np.repeat(number[:, blocks], pieces.block, axis=1)[:, :length]
    return out


def _sub_delays(spectra: Spectra, edges: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """(n_sub) mean delay of each sub-band over that across the whole band."""
    delays = delay_per_dm(spectra.freq_mhz, "top", spectra.k_dm)
    mean = np.add.reduceat(delays, edges[:-1]) / np.diff(edges)
    return np.asarray(mean / delays[0] if delays[0] > 0 else mean, np.float64)


def _straightened(
    impulses: Impulses,
    sums: Floats,
    n_used: Floats,
    blocks: tuple[Floats, Floats, Floats],
    pieces: Pieces,
    half: int,
    edges: npt.NDArray[np.int32],
    window: int,
    threads: int,
) -> tuple[Floats, Floats]:
    """Baselines that impulses do not bend, and what is to be subtracted besides, (n_sub, n_times).

    An impulse lifts the means of blocks, more where it is stronger, and so the medians, most at the ends of the data,
    where these have few blocks. What is left then would have a mean that is not that of masked samples, and of those
    before and after the data; sums over many samples of a part of the band show it.

    sums, n_used : (n_sub, n_times) without the impulses; the former are changed to what the new baselines leave
    blocks : (n_chan, n_block) means, baselines, and inverse of the noise
    """
    mean, base, inverse = blocks
    taken = np.zeros(sums.shape, np.float32)
    impulses.subtract_from(taken)
    added = np.repeat(pieces.block_means(taken), np.diff(edges), axis=0)
    straight = without_impulses(mean, inverse, added, half, pieces, threads)
    lower = pieces.joined(np.add.reduceat((base - straight) * inverse, edges[:-1], axis=0))
    sums += lower
    outside = ~impulses.inside
    more = np.broadcast_to(_slow(sums.sum(0) * outside, n_used.sum(0) * outside, window, threads), sums.shape)
    # what impulses fill was left with a mean of 0 already
    return straight, np.where(outside, more, lower / np.maximum(n_used, 1))


def _slow(total: Floats, n_used: Floats, window: int, threads: int) -> Floats:
    """What is common to all channels and changes slowly: a running median of short means, joined by straight lines."""
    n = total.size
    step = min(STRETCH, n)
    whole = n // step * step
    number = n_used[:whole].reshape(-1, step).sum(1)
    mean = np.where(number > 0, total[:whole].reshape(-1, step).sum(1) / np.maximum(number, 1), np.nan)
    smooth = np.empty((1, mean.size), np.float32)
    half = max(1, window // step // 2)
    _core.running_median(mean[None].astype(np.float32), half, max(1, half // 8), smooth, threads)
    at = (np.arange(mean.size) + 0.5) * step
    out: Floats = np.interp(np.arange(n) + 0.5, at, np.nan_to_num(smooth[0])).astype(np.float32)
    return out
