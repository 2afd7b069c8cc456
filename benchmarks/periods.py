"""How many pulsars a search for periods finds in noise and in a sky with interference: injected, searched, compared.

    python benchmarks/periods.py [--files N] [--skies noise real] [--bits 8 2] [--raw] [--threads N] [--json OUT]

Every file (256 channels, 1220-1520 MHz, 1 ms, 65 s) holds one pulsar of random period (25 ms to 3 s), DM (20 to 300),
duty cycle (2 to 20 %) and strength. The ideal S/N is that of the matched filter of the injected profile, averaged over
samples and smeared within channels, in channels that have only noise. A row is the pulsar's if its DM is within what
its width allows and its period is that of the pulsar or of a harmonic; it is `exact` if the period itself is right
within 5 stated errors, and false otherwise. The real sky is that of `injections.py`: radar at DM 0, on-off carriers,
noisy channels, a bandpass, drift.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from injections import BANDS, LEVEL, SIGMA, on_off, radar

from mwaconvert.spectra.dispersion import K_DM, delay_per_dm
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients.clean.cleaning import Cleaning
from mwaconvert.transients.periodicity.source import Source
from mwaconvert.transients.periodicity.survey import plan_periods
from mwaconvert.transients.prepare import Preparation

BAND = replace(BANDS["apertif"], dt=1e-3, n_samp=1 << 16)
FOUND_ABOVE = 10.0  # ideal S/N of pulsars that a search should find


@dataclass(frozen=True)
class Pulsar:
    """What was injected."""

    period_s: float
    dm: float
    duty: float  #: full width at half maximum, in periods
    ideal: float  #: S/N


@dataclass(frozen=True, eq=False)
class Sky:
    """What a telescope adds."""

    good: np.ndarray  #: (n_chan, n_samp) samples without interference
    noisy: np.ndarray  #: (n_chan) standard deviation of the noise
    extra: np.ndarray  #: (n_chan, n_samp) interference, in units of the noise
    gain: np.ndarray  #: (n_chan)
    drift: np.ndarray  #: (n_samp)


def sky_of(name: str, seed: int) -> Sky:
    """Noise, or noise with interference."""
    rng = np.random.default_rng([2026, 16, seed])
    n, m = BAND.n_chan, BAND.n_samp
    sky = Sky(np.ones((n, m), bool), np.ones(n), np.zeros((n, m), np.float32), np.ones(n), np.ones(m))
    if name == "noise":
        return sky
    x, t = np.arange(n) / n, np.arange(m) / m
    sky.gain[:] = 0.35 + 0.65 * np.clip(np.minimum(x, 1 - x) / 0.12, 0, 1) * (1 + 0.1 * np.sin(25 * x))
    sky.drift[:] += 0.007 * np.sin(2 * np.pi * (1.3 * t + rng.random())) * (0.5 + t)
    sky.noisy[rng.choice(n, 4, replace=False)] = rng.uniform(4, 10, 4)
    carriers = rng.choice(n, 8, replace=False)
    for c in carriers:
        sky.extra[c] += rng.uniform(1, 5) * on_off(m, rng.uniform(100, 2000), rng)
    sky.extra[:] += radar(BAND, rng)
    sky.good[carriers] = False
    sky.good[sky.noisy > 1] = False
    return sky


def pulsar(rng: np.random.Generator, good: np.ndarray) -> tuple[np.ndarray, Pulsar]:
    """(n_chan, n_samp) in units of the noise of a channel, and the truth."""
    period_s = float(np.exp(rng.uniform(*np.log((25e-3, 3.0)))))
    dm, duty, strength = float(rng.uniform(20, 300)), float(rng.uniform(0.02, 0.2)), float(rng.uniform(7, 30))
    freqs, step = BAND.freqs, (BAND.high - BAND.low) / BAND.n_chan / 2
    delays = dm * delay_per_dm(freqs)
    smear = K_DM * dm * ((freqs - step) ** -2 - (freqs + step) ** -2)
    fine = (np.arange(4096) + 0.5) / 4096 - 0.5
    out = np.empty((BAND.n_chan, BAND.n_samp), np.float32)
    phase0 = rng.random()
    frequencies = np.fft.rfftfreq(4096, 1 / 4096)
    for c in range(BAND.n_chan):
        width = np.sqrt((duty / 2.3548) ** 2 + (smear[c] / period_s) ** 2 / 12)
        shape = np.exp(-0.5 * (fine / width) ** 2)
        box = np.sinc(frequencies * BAND.dt / period_s)  # a sample is a mean
        shape = np.fft.irfft(np.fft.rfft(shape) * box, 4096)
        phase = ((np.arange(BAND.n_samp) + 0.5) * BAND.dt - delays[c]) / period_s + phase0
        out[c] = np.interp(phase % 1 - 0.5, fine, shape - shape.mean())
    out *= strength / np.sqrt((out.astype(np.float64) ** 2).sum())
    return out, Pulsar(period_s, dm, duty, float(np.sqrt(((out * good) ** 2).sum())))


def is_ratio(value: float) -> bool:
    """Whether a number is about a / b with whole numbers up to 16."""
    return any(abs(value * b / max(1, round(value * b)) - 1) < 2e-3 / b for b in range(1, 17))


def study(sky: str, bits: int, seed: int, raw: bool, threads: int) -> dict[str, object]:
    """One file."""
    rng = np.random.default_rng([2026, 15, seed])
    parts = sky_of(sky, seed)
    signal, truth = pulsar(rng, parts.good)
    noise = rng.normal(0, 1, signal.shape) * parts.noisy[:, None] + signal + parts.extra
    levels = (1 << bits) - 1
    if bits == 8:
        data = parts.gain[:, None] * parts.drift * (LEVEL + SIGMA * noise)
    else:  # what a digitiser of few bits does: the noise of each channel fills its levels
        data = levels / 2 + {4: 3.0, 2: 1.0}[bits] * noise * parts.drift
    spectra = Spectra(np.clip(np.rint(data), 0, levels).astype(np.uint8), BAND.freqs, BAND.dt)
    stream = ArrayStream(spectra, Path(f"{sky}{seed}"), "memory")
    source = Source(stream, 10.0, Preparation(), None if raw else Cleaning(impulses=False), threads=threads)
    started = time.perf_counter()
    survey = plan_periods(source, 0, 400, period_min_s=20e-3)
    found = survey.run().candidates
    wall_s = time.perf_counter() - started
    row, false = None, 0
    for candidate in found:
        across = delay_per_dm(BAND.freqs).max()
        near = abs(candidate.dm - truth.dm) * across < max(
            2 * truth.duty * truth.period_s, 5 * candidate.dm_err * across
        )
        if near and is_ratio(candidate.period_s / truth.period_s):
            row = row or candidate
        else:
            false += 1
    exact = row is not None and abs(row.period_s - truth.period_s) < 5 * row.period_err_s
    off = (row.period_s - truth.period_s) / row.period_err_s if row is not None and exact else None
    return asdict(truth) | {
        "found": row is not None,
        "exact": exact,
        "false": false,
        "off": off,
        "snr": row.snr if row else None,
        "by": " ".join(row.methods) if row else "",
        "wall_s": wall_s,
        "period_found_s": row.period_s if row else None,
        "others": [(c.period_s, c.dm, c.snr, " ".join(c.flags)) for c in found if c is not row],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--skies", nargs="+", default=["noise", "real"])
    parser.add_argument("--bits", type=int, nargs="+", default=[8])
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    kept = {}
    for sky in given.skies:
        for bits in given.bits:
            rows = []
            for seed in range(given.files):
                row = study(sky, bits, seed, given.raw, given.threads)
                rows.append(row)
                print(
                    f"  P {row['period_s']:.6f} s, DM {row['dm']:.1f}, duty {row['duty']:.2f}, "
                    f"ideal {row['ideal']:.1f}: P {row['period_found_s']} S/N {row['snr']} by {row['by']}, "
                    f"others {row['others']}",
                    flush=True,
                )
            kept[f"{sky} {bits}"] = rows
            strong = [row for row in rows if row["ideal"] >= FOUND_ABOVE]
            got = [row for row in strong if row["found"]]
            exact = [row for row in strong if row["exact"]]
            ratio = np.median([row["snr"] / row["ideal"] for row in exact]) if exact else np.nan
            off = np.std([row["off"] for row in exact]) if exact else np.nan
            print(
                f"{sky}, {bits} bits: found {len(got)} of {len(strong)}, period exact {len(exact)}, "
                f"false rows {sum(row['false'] for row in rows)} in {len(rows)} files, S/N over ideal {ratio:.2f}, "
                f"period off by {off:.2f} of its error (rms), {np.mean([row['wall_s'] for row in rows]):.1f} s a file",
                flush=True,
            )
    if given.json:
        given.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
