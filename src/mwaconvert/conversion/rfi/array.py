"""Interference too faint for single baselines, found in the mean over all of them.

After Wilensky, Morales, Hazelton et al. 2019, PASP 131, 114507 (SSINS): the difference of neighbouring
integrations takes the sky out; the mean of its amplitude over N baselines of pure noise scatters by only
sqrt((4 / pi - 1) / N) of itself, so that what all baselines share stands out. Shapes in frequency are matched
against it, the strongest first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.arrays import BoolArray, FloatArray
from mwaconvert.conversion.options import Options
from mwaconvert.conversion.plan import Plan
from mwaconvert.conversion.rawinput import RawInput
from mwaconvert.conversion.rfi.mask import FlagMask
from mwaconvert.conversion.steps import State, Step, StepKind, unasked
from mwaconvert.errors import InputError
from mwaconvert.machine import BASE_BYTES
from mwaconvert.observation.legacy import N_INPUTS, product_table
from mwaconvert.visibilities.interference import ArrayRfi, Event

#: what counts as interference, in standard deviations: with it SSINS is run on MWA data
THRESHOLD = 5.0
#: variance over squared mean of the amplitude of complex noise (Rayleigh distribution)
RAYLEIGH = 4 / np.pi - 1
#: channels of digital television in Australia, MHz; each is 7 wide
TELEVISION_MHZ = {
    "6": 174.0, "7": 181.0, "8": 188.0, "9": 195.0, "9A": 202.0, "10": 209.0, "11": 216.0, "12": 223.0,
}  # fmt: skip
TELEVISION_WIDTH_MHZ = 7.0
#: channels that a shape must have to be one
LEAST_CHANNELS = 4
#: differences from which on a linear drift is taken out, and not only the mean
DRIFT_DIFFERENCES = 12
#: integrations that make differences enough to compare
LEAST_TIMES = 4
#: memory for each integration and channel
CELL_BYTES = 160
#: channels worked on at a time
COLUMNS = 128
#: integrations read at a time
WINDOW = 16
#: of the strongest: what is weaker waits for a later round, as the strong spoil the means
ROUND_FRACTION = 0.2
#: more rounds than there can be different shapes at work at one time
ROUNDS = 1000
#: all: their mean, for interference without polarisation
POLARISATIONS = ("XX", "XY", "YX", "YY", "all")


@dataclass(frozen=True)
class Shape:
    """A band of channels that interference fills together.

    Attributes
    ----------
    name : narrowband, streak, or the television or coarse channel
    channels : (n_channel,) which it covers
    """

    name: str
    channels: BoolArray


def detect_array_rfi(plan: Plan) -> ArrayRfi:
    """Read the raw data of a plan once and look for interference that all baselines share."""
    sums, counts, n_baselines = incoherent_differences(plan)
    flagged = plan.flags.channels != 0
    half_hz = plan.metadata.fine_width_hz / 2
    numbers = [plan.metadata.coarse_channels[c].number for c in plan.coarse]
    shapes = make_shapes(plan.selection.freqs_hz, flagged, numbers)
    significance, matched = match(sums, counts, flagged, shapes)
    found = np.zeros((len(plan.timesteps), len(plan.selection.freqs_hz)), np.bool_)
    found[:-1] |= matched.flags
    found[1:] |= matched.flags
    usable = (plan.flags.chunks == _core.CHUNK_GOOD).repeat(plan.metadata.n_fine, axis=1) & ~flagged
    return ArrayRfi(
        significance,
        found,
        matched.events(
            plan.selection.freqs_hz - half_hz, plan.selection.freqs_hz + half_hz, plan.timesteps.start
        ),
        n_baselines,
        plan.timesteps.start,
        float((found & usable).sum() / max(1, int(usable.sum()))),
    )


def add_to_mask(found: ArrayRfi, mask: FlagMask) -> None:
    """OR what was found into the mask of a plan."""
    for coarse in range(found.flags.shape[1] // mask.n_fine):
        part = found.flags[:, coarse * mask.n_fine : (coarse + 1) * mask.n_fine]
        mask.add_coarse(coarse, part[:, np.newaxis])


def incoherent_differences(plan: Plan) -> tuple[FloatArray, npt.NDArray[np.int64], int]:
    """Sums over baselines of |V(t + 1) - V(t)| as the raw files hold V, in bounded memory.

    Returns
    -------
    sums, counts : (n_times - 1, n_channel, 4); the number of baselines, those of unflagged tiles
    """
    meta = plan.metadata
    used = (plan.rows.flagged == 0) & plan.rows.cross
    shape = (max(0, len(plan.timesteps) - 1), len(plan.coarse), meta.n_fine, 4)
    sums, counts = np.zeros(shape), np.zeros(shape, np.int64)
    threads = plan.resources.threads
    with closing(RawInput(plan.selection, plan.flags)) as raw:
        if meta.correlator == "legacy":
            product = np.ascontiguousarray(product_table(meta)[0][plan.rows.in_file[used]])
        rows = np.ascontiguousarray(plan.rows.in_file[used])
        for first in range(0, shape[0], WINDOW):
            last = min(first + WINDOW, shape[0])
            chunks = raw.chunks(plan.timesteps[first : last + 1])
            out = (sums[first:last], counts[first:last])
            with raw.naming_files(chunks):
                if meta.correlator == "legacy":
                    n_product = N_INPUTS * (N_INPUTS + 2) // 2
                    _core.incoherent_legacy(chunks, n_product, product, *out, threads)
                else:
                    _core.incoherent_mwax(chunks, rows, *out, threads)
    return sums.reshape(shape[0], -1, 4), counts.reshape(shape[0], -1, 4), int(used.sum())


def array_rfi_bytes(n_times: int, n_channels: int) -> int:
    """Peak memory of `detect_array_rfi`."""
    return BASE_BYTES + CELL_BYTES * n_times * n_channels


def array_rfi_step(options: Options, n_times: int, n_channels: int) -> Step:
    """Whether `detect_array_rfi` is to be called, in words.

    Raises
    ------
    InputError : it would need more memory than is allowed
    """
    if not options.rfi_array:
        return unasked(StepKind.ARRAY_RFI)
    if n_times < LEAST_TIMES:
        return Step(
            StepKind.ARRAY_RFI, State.IDLE, f"{n_times} integrations are too few, it takes {LEAST_TIMES}"
        )
    needed = array_rfi_bytes(n_times, n_channels) / 2**30
    if options.max_memory_gib is not None and needed > options.max_memory_gib:
        raise InputError(
            f"`max_memory_gib={options.max_memory_gib:g}` GiB is too little: `rfi_array` needs {needed:.2f} GiB for"
            f" {n_times} integrations of {n_channels} channels",
            option="max_memory_gib",
        )
    return Step(
        StepKind.ARRAY_RFI,
        State.APPLIED,
        f"shapes over {THRESHOLD:g} sigma in the mean over baselines of differences in time",
    )


def make_shapes(freqs_hz: FloatArray, flagged: BoolArray, coarse: Sequence[int] = ()) -> list[Shape]:
    """Television channels that some of the band lies in, coarse channels, and the whole band.

    Parameters
    ----------
    coarse : receiver channel numbers; their fine channels follow each other
    """
    shapes = []
    for name, low_mhz in TELEVISION_MHZ.items():
        inside = (freqs_hz >= low_mhz * 1e6) & (freqs_hz < (low_mhz + TELEVISION_WIDTH_MHZ) * 1e6) & ~flagged
        if inside.sum() >= LEAST_CHANNELS and inside.sum() < (~flagged).sum():
            shapes.append(Shape(f"television channel {name}", inside))
    n_fine = len(flagged) // max(1, len(coarse))
    for k, number in enumerate(coarse if len(coarse) > 1 else ()):
        inside = ~flagged & (np.arange(len(flagged)) // n_fine == k)
        if inside.sum() >= LEAST_CHANNELS:
            shapes.append(Shape(f"coarse channel {number}", inside))
    if (~flagged).sum() >= LEAST_CHANNELS:
        shapes.append(Shape("streak", ~flagged))
    return shapes


Match = tuple[int, str, int, int, float, int]


@dataclass(frozen=True)
class Matches:
    """Cells that were matched.

    Attributes
    ----------
    flags : (n_difference, n_channel)
    found : (difference, name, first and last channel, sigma, polarisation) in the order of matching
    """

    flags: BoolArray
    found: list[Match]

    def events(self, low_hz: FloatArray, high_hz: FloatArray, first_step: int) -> tuple[Event, ...]:
        """What was found, joined over consecutive differences.

        Parameters
        ----------
        low_hz, high_hz : (n_channel,) edges
        first_step : timestep of the observation at which the first difference starts
        """
        events: list[Event] = []
        last: dict[tuple[str, int, int], int] = {}  # shape and channels to the place in events
        for t, name, begin, end, sigma, pol in sorted(self.found, key=lambda match: match[0]):
            key = (name, begin, end)
            at = last.get(key)
            steps = (first_step + t, first_step + t + 1)
            event = Event(name, float(low_hz[begin]), float(high_hz[end]), steps, sigma, POLARISATIONS[pol])
            if at is not None and events[at].timesteps[1] >= steps[0]:
                joined = (events[at].timesteps[0], steps[1])
                stronger = max(events[at], event, key=lambda e: e.sigma)
                events[at] = Event(
                    name, event.low_hz, event.high_hz, joined, stronger.sigma, stronger.polarisation
                )
                continue
            last[key] = len(events)
            events.append(event)
        return tuple(sorted(events, key=lambda event: -event.sigma))


def match(
    sums: FloatArray,
    counts: npt.NDArray[np.int64],
    flagged: BoolArray,
    shapes: Sequence[Shape],
    threshold: float = THRESHOLD,
) -> tuple[npt.NDArray[np.float32], Matches]:
    """Match shapes against the incoherent mean until nothing is above the threshold.

    In each round every difference of integrations gives its most significant shape, a single channel among
    them, unless it is much weaker than that of another one; then what is expected of the channels is worked out
    again without what was found: from medians first, which the strongest interference does not spoil, from means
    when medians show nothing more.

    Parameters
    ----------
    sums, counts : (n_difference, n_channel, 4) of `incoherent_differences`
    flagged : (n_channel,) channels to leave out

    Returns
    -------
    significance : (n_difference, n_channel) at the end, cells that were found included
    matches
    """
    there = (counts > 0).all(axis=2) & ~flagged
    z = np.zeros(sums.shape, np.float32)
    usable = np.zeros((*there.shape, len(POLARISATIONS)), np.float32)  # z of what is not found yet
    found = np.zeros(there.shape, np.bool_)
    matches: list[Match] = []
    spans = [np.flatnonzero(shape.channels)[[0, -1]] + (0, 1) for shape in shapes]
    wide = np.zeros((len(there), len(shapes), len(POLARISATIONS)), np.float32)
    stale = np.ones(len(flagged), np.bool_)
    scale, expect = 0.0, _resistant_line
    for _ in range(ROUNDS):
        for columns in np.array_split(np.flatnonzero(stale), -(-int(stale.sum()) // COLUMNS)):
            free = there[:, columns] & ~found[:, columns]
            z[:, columns] = _significance(sums[:, columns], counts[:, columns], free, expect)
        scale = scale or _excess(z[there].astype(np.float64))
        usable[:, stale, :4] = np.where((there & ~found)[:, stale, None], z[:, stale] / np.float32(scale), 0)
        usable[:, stale, 4] = usable[:, stale, :4].sum(axis=2) / 2
        for k, (begin, end) in enumerate(spans):
            if stale[begin:end].any():
                n = (there & ~found)[:, begin:end].sum(axis=1)
                total = usable[:, begin:end].sum(axis=1) / np.sqrt(np.maximum(n, 1))[:, None]
                wide[:, k] = np.where((n >= LEAST_CHANNELS)[:, None], total, 0)
        stale = np.zeros(len(flagged), np.bool_)
        best_narrow = usable.max(axis=(1, 2), initial=0)
        best_wide = wide.max(axis=(1, 2), initial=0)
        best = np.maximum(best_narrow, best_wide)
        for t in np.flatnonzero(best > max(threshold, ROUND_FRACTION * best.max(initial=0))).tolist():
            if best_wide[t] >= best_narrow[t]:
                shape, pol = divmod(int(wide[t].argmax()), len(POLARISATIONS))
                begin, end = spans[shape].tolist()
                matches.append((t, shapes[shape].name, begin, end - 1, float(best_wide[t]), pol))
                channels = shapes[shape].channels & there[t] & ~found[t]
            else:
                channels = usable[t].max(axis=1) > threshold
                for c in np.flatnonzero(channels).tolist():
                    pol = int(usable[t, c].argmax())
                    matches.append((t, "narrowband", c, c, float(usable[t, c, pol]), pol))
            found[t] |= channels
            stale |= channels
        if not stale.any():
            if expect is _least_squares_line:
                break
            expect = _least_squares_line
            stale = np.ones(len(flagged), np.bool_)
    shown = np.where(there, z.sum(axis=2) / 2 / scale, np.nan).astype(np.float32)
    return shown, Matches(found, matches)


def _significance(
    sums: FloatArray,
    counts: npt.NDArray[np.int64],
    good: BoolArray,
    expect: Callable[[FloatArray, BoolArray], FloatArray],
) -> FloatArray:
    """(n_difference, n_channel, 4): distance from what is expected, in standard deviations of noise.

    0 for channels of which less than two are good.
    """
    n = np.maximum(counts, 1)
    mean = sums / n
    expected = expect(mean, good)
    usable = (np.sum(good, axis=0) >= 2)[:, np.newaxis] & (expected > 0) & (counts > 0)
    return np.where(usable, (mean / np.where(usable, expected, 1) - 1) / np.sqrt(RAYLEIGH / n), 0)


def _least_squares_line(mean: FloatArray, good: BoolArray) -> FloatArray:
    """The mean over the good differences, with a slope if there are enough of them."""
    w = good[..., None].astype(np.float64)
    n = np.maximum(w.sum(axis=0), 1)
    t = np.arange(len(mean), dtype=np.float64)[:, None, None]
    t = t - (w * t).sum(axis=0) / n
    spread = (w * t**2).sum(axis=0)
    slope = (w * t * mean).sum(axis=0) / np.where(spread > 0, spread, 1)
    return np.asarray((w * mean).sum(axis=0) / n + np.where(n >= DRIFT_DIFFERENCES, slope * t, 0))


def _resistant_line(mean: FloatArray, good: BoolArray) -> FloatArray:
    """The same from medians: of all, and the slope from pairs half of the time apart."""
    half = len(mean) // 2
    slope = np.zeros(mean.shape[1:])
    if half:
        pairs = good[half:] & good[: len(mean) - half]
        slope = _median((mean[half:] - mean[: len(mean) - half]) / half, pairs)
    enough = (np.sum(good, axis=0) >= DRIFT_DIFFERENCES)[:, np.newaxis]
    drift = np.where(enough, slope, 0) * np.arange(len(mean), dtype=np.float64)[:, None, None]
    return np.asarray(drift + _median(mean - drift, good))


def _median(values: FloatArray, good: BoolArray) -> FloatArray:
    """(n_channel, 4) over the good ones of (n, n_channel, 4); 0 where there are none."""
    if len(good) == 0:
        return np.zeros(values.shape[1:])
    some: BoolArray = np.logical_or.reduce(good, axis=0)
    chosen = np.where((good | ~some)[..., np.newaxis], values, np.nan)
    return np.where(some[:, np.newaxis], np.nanmedian(chosen, axis=0), 0)


def _excess(z: FloatArray) -> float:
    """Factor by which the bulk of the significances scatters more than noise would; at least 1."""
    if z.size == 0:
        return 1.0
    return max(1.0, 1.4826 * float(np.median(np.abs(z - np.median(z)))))
