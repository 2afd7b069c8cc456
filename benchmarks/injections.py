"""How many pulses a search finds in noise and in skies with interference: injected, searched, compared with the truth.

    python benchmarks/injections.py [--files N] [--skies noise real ...] [--bits 8 4 2] [--bands apertif arts lofar]
                                    [--raw] [--without STEP ...] [--threads N] [--json OUT]

Every file holds 20 pulses of random DM, width and strength. The ideal S/N is that of the injected profile, without noise
and with the samples that interference leaves, in channels scaled to the noise they have, at the exact DM: of the matched
filter (`matched`) and of the best boxcar of any width (`ideal`). What a digitiser takes away is gone for every searcher:
the profile of a channel is reduced by the root of the Fisher information that its levels keep (`kept_by_digitiser`). A
row of the table of candidates belongs to a pulse if
its time and DM are within what its width allows; it is false otherwise, and double if a better row has the pulse.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from math import erf
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from mwaconvert import transients
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.dispersion import K_DM, delay_per_dm
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients.clean.cleaning import Cleaning
from mwaconvert.transients.survey import plan_survey

PULSES = 20  # in a file
SIGMA, LEVEL = 12.0, 96.0  # of 8-bit data, where the bandpass is 1
FOUND_ABOVE = 7.0  # ideal S/N of pulses that a search should find
_ERF = np.vectorize(erf)


@dataclass(frozen=True)
class Band:
    """A band, and the pulses that are injected in it."""

    low: float  #: MHz, edges
    high: float
    n_chan: int
    dt: float  #: s
    n_samp: int
    dms: tuple[float, float]  #: of pulses
    widths_s: tuple[float, float]  #: full width at half maximum
    dm_max: float  #: that is searched

    @property
    def freqs(self) -> np.ndarray:
        """(n_chan) MHz, centres, ascending."""
        step = (self.high - self.low) / self.n_chan
        return self.low + step * (np.arange(self.n_chan) + 0.5)


BANDS = {
    "apertif": Band(1220, 1520, 256, 256e-6, 20000, (10, 500), (0.4e-3, 15e-3), 600),
    "arts": Band(1220, 1520, 1536, 81.92e-6, 24000, (10, 500), (0.15e-3, 10e-3), 600),
    "lofar": Band(140, 170, 256, 2e-3, 20000, (3, 30), (4e-3, 80e-3), 40),
}


@dataclass(frozen=True)
class Pulse:
    """What was injected."""

    dm: float
    time_s: float  #: middle, at the highest channel
    width_s: float  #: full width at half maximum
    ideal: float  #: S/N of the best boxcar
    matched: float  #: S/N of the matched filter


def kept_by_digitiser(mean: np.ndarray, sigma: np.ndarray, bits: int) -> np.ndarray:
    """(n_chan) part of the S/N of weak signals that is left in whole numbers of some bits, for the best use of them.

    No estimate of a mean that changes a little has a smaller variance than 1 / I, where the Fisher information I of
    the levels, which have probabilities p, is the sum of (dp / dmean)^2 / p (Cramer & Rao). Without a digitiser I is
    1 / sigma^2. Two bits with steps of one standard deviation keep 0.939; adding up the levels as they are, 0.9387.

    mean, sigma : (n_chan) of the noise, in steps of the digitiser
    """
    edges = np.concatenate([[-np.inf], np.arange(2**bits - 1) + 0.5, [np.inf]])
    x = (edges - mean[:, None]) / sigma[:, None]
    part = np.diff(ndtr(x), axis=1)
    slope = np.diff(np.exp(-(x**2) / 2) / (2 * np.pi) ** 0.5, axis=1)
    return np.sqrt(np.where(part > 1e-12, slope**2 / np.maximum(part, 1e-12), 0).sum(1))


def inject(
    band: Band, good: np.ndarray, kept: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, list[Pulse]]:
    """(n_chan, n_samp) pulses in units of the noise that a channel has without interference, and the truth.

    good : (n_chan, n_samp) samples that a search can use
    kept : (n_chan) what the digitiser leaves of the S/N
    """
    per_dm = delay_per_dm(band.freqs) / band.dt
    step = (band.high - band.low) / band.n_chan / 2
    smear = K_DM * ((band.freqs - step) ** -2 - (band.freqs + step) ** -2) / band.dt
    last = band.n_samp * 0.97 - band.dms[1] * per_dm.max()
    out = np.zeros((band.n_chan, band.n_samp))
    truth = []
    for k in range(PULSES):
        dm = rng.uniform(*band.dms)
        width_s = np.exp(rng.uniform(*np.log(band.widths_s)))
        strength = rng.uniform(5, 20)
        at = (0.02 * band.n_samp) + (last - 0.02 * band.n_samp) * (k + rng.uniform(0.2, 0.8)) / PULSES
        widths = np.hypot(width_s / 2.3548 / band.dt, smear * dm / 12**0.5)
        begin = int(at - 6 * widths.max() - 3)
        end = min(band.n_samp, int(at + dm * per_dm.max() + 6 * widths.max() + 4))
        lone = np.zeros((band.n_chan, end - begin))
        for c in range(band.n_chan):
            middle = at + dm * per_dm[c] - begin
            first, last_in = int(middle - 6 * widths[c] - 2), int(middle + 6 * widths[c] + 3)
            x = (np.arange(first, last_in + 1) - middle) / widths[c] / 2**0.5
            room = min(last_in, end - begin) - first
            lone[c, first : first + room] = np.diff(_ERF(x) / 2)[:room]
        lone *= strength / np.sqrt((lone**2).sum())
        used = lone * good[:, begin:end] * kept[:, None]
        reach = int(12 * widths.max() + 8)
        profile, noise = np.zeros(reach), np.zeros(reach)
        for row, there, late in zip(used, good[:, begin:end], np.rint(dm * per_dm).astype(int), strict=True):
            part = row[late : late + reach]
            profile[: part.size] += part
            noise[: part.size] += there[late : late + reach]
        matched = float(np.sqrt((used**2).sum()))
        truth.append(Pulse(dm, at * band.dt, width_s, best_boxcar(profile, noise), matched))
        out[:, begin:end] += lone
    return out, truth


def best_boxcar(profile: np.ndarray, noise: np.ndarray) -> float:
    """Largest sum of neighbouring samples over the root of the sum of their variances."""
    near = np.flatnonzero(profile > 1e-6 * profile.max())
    part = slice(near[0], near[-1] + 1)
    total = np.concatenate([[0.0], np.cumsum(profile[part])])
    variance = np.concatenate([[0.0], np.cumsum(noise[part])])
    return max(
        float(((total[w:] - total[:-w]) / np.sqrt(np.maximum(variance[w:] - variance[:-w], 1))).max())
        for w in range(1, total.size)
    )


def make(band: Band, sky: str, bits: int, seed: int) -> tuple[np.ndarray, list[Pulse]]:
    """(n_chan, n_samp) uint8 and the truth. The first of a seed's random numbers are the same for all skies."""
    rng = np.random.default_rng([2026, 13, seed])
    n, m = band.n_chan, band.n_samp
    x = np.arange(n) / n
    t = np.arange(m) / m
    hard = np.random.default_rng([2026, 14, seed])
    noisy = np.ones(n)
    gain, drift = np.ones(n), np.ones(m)
    extra = np.zeros((n, m))  # interference, in units of the noise
    good = np.ones((n, m), bool)
    if sky != "noise":
        gain = 0.35 + 0.65 * np.clip(np.minimum(x, 1 - x) / 0.12, 0, 1) * (1 + 0.1 * np.sin(25 * x))
        drift += 0.007 * np.sin(2 * np.pi * (1.3 * t + hard.random())) * (0.5 + t)
    if sky == "real":
        noisy[hard.choice(n, 4, replace=False)] = hard.uniform(4, 10, 4)
        good[noisy > 1] = False
        carriers = hard.choice(n, 8, replace=False)
        good[carriers] = False
        for c in carriers:
            extra[c] += hard.uniform(1, 5) * on_off(m, hard.uniform(100, 2000), hard)
        extra += radar(band, hard)
    elif sky == "lightning":
        extra += lightning(band, hard)
    elif sky == "satellites":
        extra += satellites(band, hard)
        good = extra < 1
    elif sky == "loss":
        good = ~packet_loss(band, hard)
    scale, offset = {
        8: (1.0, 0.0),
        4: (3.0 / SIGMA, 6 - LEVEL * 3 / SIGMA),
        2: (1.0 / SIGMA, 1.5 - LEVEL / SIGMA),
    }[bits]
    if sky == "saturated":  # the top of the range is 4 sigma above the mean
        scale, offset = 1.5, 40.0
    # few bits: the noise of each channel fills the levels
    gains = gain if bits == 8 else gain / np.maximum(gain, 0.2)
    levels = gain * LEVEL if bits == 8 else np.full(n, LEVEL)
    kept = kept_by_digitiser(levels * scale + offset, SIGMA * gains * scale, bits)
    pulses, truth = inject(band, good, kept, rng)
    data = rng.standard_normal((n, m))
    data *= noisy[:, None]
    data += pulses
    data += extra
    data = gain[:, None] * drift * (LEVEL + SIGMA * data)
    if sky == "agc":
        data = agc(data, hard)
    if bits < 8:
        data = (data - gain[:, None] * LEVEL) / np.maximum(gain, 0.2)[:, None] + LEVEL
    data = np.clip(np.rint(data * scale + offset), 0, 2**bits - 1).astype(np.uint8)
    if sky == "loss":
        data[~good] = 0
    return data, truth


def on_off(m: int, mean_length: float, rng: np.random.Generator) -> np.ndarray:
    """(m) 1 and 0 in turn, for random times."""
    edges = np.cumsum(rng.exponential(mean_length, int(4 * m / mean_length) + 8).astype(int) + 5)
    return (np.searchsorted(edges, np.arange(m)) % 2).astype(float)


def radar(band: Band, rng: np.random.Generator) -> np.ndarray:
    """A radar that turns: bursts of pulses at DM 0, 1 ms each, over a part of the band more than elsewhere."""
    out = np.zeros((band.n_chan, band.n_samp))
    x = np.arange(band.n_chan) / band.n_chan
    shape = 0.3 + np.exp(-(((x - rng.uniform(0.2, 0.8)) / 0.25) ** 2))
    length = max(1, round(1e-3 / band.dt))
    spacing, turn = max(4 * length, round(12e-3 / band.dt)), round(0.05 * band.n_samp)
    for begin in range(int(rng.integers(turn)), band.n_samp, turn):
        for k in range(7):
            at = begin + k * spacing
            strength = rng.uniform(20, 100) / (band.n_chan * length) ** 0.5 * np.exp(-(((k - 3) / 2) ** 2))
            out[:, at : at + length] += strength * shape[:, None]
    return out


def lightning(band: Band, rng: np.random.Generator) -> np.ndarray:
    """Flashes of many strokes, short and long, stronger at lower frequencies."""
    out = np.zeros((band.n_chan, band.n_samp))
    shape = (band.freqs / band.freqs[0]) ** -3.0
    for _ in range(8):
        at = int(rng.integers(band.n_samp - 800))
        for _ in range(int(rng.integers(3, 25))):
            stroke = at + int(rng.integers(700))
            length = int(rng.integers(1, 12))
            texture = rng.uniform(0.5, 1.5, (band.n_chan, 1))
            out[:, stroke : stroke + length] += rng.exponential(2.0) * shape[:, None] * texture
    return out


def satellites(band: Band, rng: np.random.Generator) -> np.ndarray:
    """Carriers that drift through channels, some of them modulated."""
    out = np.zeros((band.n_chan, band.n_samp))
    t = np.arange(band.n_samp)
    for k in range(5):
        path = rng.uniform(0, band.n_chan) + rng.uniform(-60, 60) * t / band.n_samp
        level = rng.uniform(1, 6) * (on_off(band.n_samp, rng.uniform(200, 3000), rng) if k % 2 else 1)
        for c in range(band.n_chan):
            out[c] += level * np.exp(-(((c - path) / 1.2) ** 2))
    return out


def agc(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gain steps of a receiver, of up to 15 %, for all channels at once."""
    steps = np.concatenate([[1.0], rng.uniform(0.85, 1.15, 6)])
    edges = np.sort(rng.integers(0, data.shape[1], 6))
    return data * steps[np.searchsorted(edges, np.arange(data.shape[1]))]


def packet_loss(band: Band, rng: np.random.Generator) -> np.ndarray:
    """(n_chan, n_samp) what is lost, and arrives as 0: all channels for a while, or an eighth of them."""
    n, m = band.n_chan, band.n_samp
    lost = np.zeros((n, m), bool)
    for _ in range(15):
        at, length = int(rng.integers(m)), int(rng.integers(4, 200))
        lost[:, at : at + length] = True
    for _ in range(10):
        at, length, c = int(rng.integers(m)), int(rng.integers(16, 2000)), int(rng.integers(8)) * n // 8
        lost[c : c + n // 8, at : at + length] = True
    return lost


@dataclass
class Score:
    """Sums over files."""

    files: int = 0
    wanted: int = 0
    found: int = 0
    weaker: int = 0  # found, of pulses below the limit
    false: int = 0
    double: int = 0
    seconds: float = 0.0
    wall_s: float = 0.0
    lost: list[tuple[float, ...]] | None = None
    ratios: list[float] | None = None
    matched: list[float] | None = None
    time_off: list[float] | None = None
    dm_off: list[float] | None = None
    false_rows: list[tuple[float, ...]] | None = None

    def add(self, truth: list[Pulse], rows: list[Candidate], band: Band) -> None:
        """One file: rows are best first."""
        for name in ("lost", "ratios", "matched", "time_off", "dm_off", "false_rows"):
            if getattr(self, name) is None:
                setattr(self, name, [])
        across = float(np.ptp(delay_per_dm(band.freqs)))
        had: dict[int, Candidate] = {}
        for row in rows:
            near = [k for k, p in enumerate(truth) if belongs(row, p, across, band.dt)]
            if not near:
                self.false += 1
                self.false_rows.append((row.snr, row.time_s, row.dm, row.width_s, self.files))
            elif all(k in had for k in near):
                self.double += 1
            else:
                had[
                    min((k for k in near if k not in had), key=lambda k: abs(row.time_s - truth[k].time_s))
                ] = row
        for k, pulse in enumerate(truth):
            if pulse.ideal < FOUND_ABOVE:
                self.weaker += k in had
                continue
            self.wanted += 1
            if k not in had:
                self.lost.append((pulse.ideal, pulse.time_s, pulse.dm, pulse.width_s, self.files))
                continue
            self.found += 1
            row = had[k]
            self.ratios.append(row.snr / pulse.ideal)
            self.matched.append(row.snr / pulse.matched)
            self.time_off.append((row.time_s - pulse.time_s) / row.time_err_s)
            self.dm_off.append((row.dm - pulse.dm) / row.dm_err)
        self.seconds += band.n_samp * band.dt
        self.files += 1

    def summary(self) -> dict[str, float]:
        def rms(values: list[float]) -> float:
            return float(np.sqrt(np.mean(np.square(values)))) if values else float("nan")

        return {
            "wanted": self.wanted,
            "found": self.found,
            "found_part": self.found / max(1, self.wanted),
            "weaker_found": self.weaker,
            "false_per_minute": 60 * self.false / self.seconds,
            "false": self.false,
            "double": self.double,
            "snr_ratio": float(np.median(self.ratios)) if self.ratios else float("nan"),
            "matched_ratio": float(np.median(self.matched)) if self.matched else float("nan"),
            "time_rms": rms(self.time_off),
            "dm_rms": rms(self.dm_off),
            "wall_s": self.wall_s,
            "seconds": self.seconds,
        }


def belongs(row: Candidate, pulse: Pulse, across: float, dt: float) -> bool:
    """Whether a row is this pulse: a DM that is off moves it along its sweep and widens it."""
    width = max(row.width_s, pulse.width_s, 2 * dt)
    dm_slack = 2 * width / across + 3 * row.dm_err
    late = row.time_s - pulse.time_s + (row.dm - pulse.dm) * across / 2
    return abs(row.dm - pulse.dm) < dm_slack and abs(late) < 2 * width + abs(row.dm - pulse.dm) * across / 2


def search(data: np.ndarray, band: Band, asked: argparse.Namespace) -> list[Candidate]:
    """What `mwaconvert search` does by default."""
    stream = ArrayStream(transients.Spectra(data, band.freqs, band.dt), Path("injected"), "array")
    plan = plan_survey(
        stream,
        0.0,
        band.dm_max,
        cleaning=None if asked.raw else Cleaning(**dict.fromkeys(asked.without, False)),
        threshold=asked.snr,
        threads=asked.threads,
    )
    return plan.run().candidates()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument(
        "--skies",
        nargs="+",
        default=["noise", "real"],
        choices=["noise", "real", "lightning", "satellites", "loss", "saturated", "agc"],
    )
    parser.add_argument("--bits", nargs="+", type=int, default=[8], choices=[8, 4, 2])
    parser.add_argument("--bands", nargs="+", default=["apertif"], choices=list(BANDS))
    parser.add_argument("--raw", action="store_true")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        choices=["baseline", "channels", "impulses"],
        help="steps of cleaning",
    )
    parser.add_argument("--snr", type=float, default=6.75)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--details", action="store_true", help="what was lost, and false rows")
    asked = parser.parse_args()
    results = {}
    for name in asked.bands:
        for sky in asked.skies:
            for bits in asked.bits:
                score = Score()
                for seed in range(asked.files):
                    data, truth = make(BANDS[name], sky, bits, seed)
                    begin = time.perf_counter()
                    rows = search(data, BANDS[name], asked)
                    score.wall_s += time.perf_counter() - begin
                    score.add(truth, rows, BANDS[name])
                got = score.summary()
                results[f"{name} {sky} {bits}"] = got
                print(
                    f"{name:8} {sky:10} {bits} bits: found {got['found']} of {got['wanted']} "
                    f"({100 * got['found_part']:.1f} %), weaker {got['weaker_found']}, false {got['false']} "
                    f"({got['false_per_minute']:.2f} a minute), double {got['double']}, "
                    f"S/N {got['snr_ratio']:.3f} of ideal, "
                    f"{got['matched_ratio']:.3f} of matched, time {got['time_rms']:.2f}, DM {got['dm_rms']:.2f} errors; "
                    f"{got['wall_s']:.2f} s for {got['seconds']:.0f} s",
                    flush=True,
                )
                if asked.details:
                    for what, rows in (("lost", score.lost), ("false", score.false_rows)):
                        for row in sorted(rows, reverse=True)[:15]:
                            snr, time_s, dm, width_s, file = row
                            print(
                                f"    {what} S/N {snr:.2f}, {time_s:.4f} s, DM {dm:.2f}, {width_s:.5f} s; file {file}"
                            )
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
