"""Weights of the score of candidates, from injections into simulated noise and interference.

    python benchmarks/train_score.py [--files N] [--test] [--out src/mwaconvert/transients/judging/score.json]

Files of `injections.py`, of seeds that its study does not use, are cleaned with all steps, without the one for impulses
and without the one for channels, so that there is interference to learn from, and searched down to S/N 6. Rows that
belong to a pulse are ones, all others zeros; both kinds weigh the same. The logistic model is fitted by Newton's method
with a small ridge, so that the same files give the same weights. `--test` says how well other seeds are told apart.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
from injections import BANDS, Band, belongs, make

from mwaconvert import transients
from mwaconvert.spectra.dispersion import delay_per_dm
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients.clean.cleaning import Cleaning
from mwaconvert.transients.judging.flags import place_of
from mwaconvert.transients.judging.score import FEATURES, Model, model
from mwaconvert.transients.survey import plan_survey

SKIES = ("noise", "real", "lightning", "satellites", "loss", "agc")
STEPS = (Cleaning(), Cleaning(impulses=False), Cleaning(channels=False))
TRAIN, TEST = 1000, 2000  # first seeds
RIDGE = 1e-3
THRESHOLD = 6.0


def examples(first: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 8) features, (n) whether a row is a pulse, and (n) its S/N."""
    x, y, snr = [], [], []
    for seed, (sky, name) in product(range(first, first + n), product(SKIES, ("apertif", "lofar"))):
        band = BANDS[name]
        data, truth = make(band, sky, 8, seed)
        for steps in STEPS:
            rows, looks = searched(data, band, steps)
            across = float(np.ptp(delay_per_dm(band.freqs)))
            for row, look in zip(rows, looks, strict=True):
                x.append(look)
                y.append(any(belongs(row, p, across, band.dt) for p in truth))
                snr.append(row.snr)
        print(f"{name} {sky} {seed}: {np.sum(y)} pulses, {len(y) - np.sum(y)} others", flush=True)
    return np.array(x), np.array(y), np.array(snr)


def searched(data: np.ndarray, band: Band, steps: Cleaning) -> tuple[list, list]:
    """Candidates, and features of each."""
    stream = ArrayStream(transients.Spectra(data, band.freqs, band.dt), Path("injected"), "array")
    found = plan_survey(stream, 0.0, band.dm_max, cleaning=steps, threshold=THRESHOLD).run()
    rows = [c for c in found.precision.measured(found.found()) if place_of(c) in found.looks]
    return rows, [found.doubts.features(c, found.looks[place_of(c)]) for c in rows]


def fit(x: np.ndarray, y: np.ndarray) -> Model:
    """The model of largest likelihood, where pulses and others weigh the same."""
    middle = np.median(x, axis=0)
    low, high = np.percentile(x, [16, 84], axis=0)
    scale = np.maximum((high - low) / 2, 1e-3)
    start = Model(tuple(middle), tuple(scale), (), 0.0)
    terms = np.column_stack([start.terms(x), np.ones(len(x))])
    weight = np.where(y, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    w = np.zeros(terms.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-terms @ w))
        slope = terms.T @ (weight * (p - y)) / len(y) + RIDGE * w
        curve = (terms.T * (weight * p * (1 - p))) @ terms / len(y) + RIDGE * np.eye(w.size)
        step = np.linalg.solve(curve, slope)
        w -= step
        if abs(step).max() < 1e-8:
            break
    return Model(start.middle, start.scale, tuple(w[:-1]), float(w[-1]))


def quality(scores: np.ndarray, y: np.ndarray) -> float:
    """Chance that a pulse has a larger score than another row."""
    order = np.argsort(scores, kind="stable")
    rank = np.empty(len(y))
    rank[order] = np.arange(len(y))
    n = y.sum()
    return float((rank[y].sum() - n * (n - 1) / 2) / (n * (len(y) - n)))


def test(tried: Model, n: int) -> None:
    x, y, snr = examples(TEST, n)
    scores = np.array([tried.score(row) for row in x])
    print(f"{y.sum()} pulses and {(~y).sum()} other rows of seeds that were not learnt from")
    print(
        f"a pulse has the larger score in {100 * quality(scores, y):.1f} % of pairs; "
        f"S/N alone {100 * quality(snr, y):.1f} %"
    )
    for least in (0.1, 0.5, 0.9):
        kept, left = (scores[y] > least).mean(), (scores[~y] > least).mean()
        print(f"above {least}: {100 * kept:.1f} % of the pulses, {100 * left:.1f} % of the others")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=2, help="seeds, of each sky and band")
    parser.add_argument("--test", action="store_true", help="only try the weights that are there")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.test:
        test(model(), asked.files)
        return
    x, y, _ = examples(TRAIN, asked.files)
    made = fit(x, y)
    held = {
        "features": FEATURES,
        "middle": [round(v, 6) for v in made.middle],
        "scale": [round(v, 6) for v in made.scale],
        "weights": [round(v, 6) for v in made.weights],
        "offset": round(made.offset, 6),
    }
    for name, a, b in zip(FEATURES, made.weights, made.weights[len(FEATURES) :], strict=False):
        print(f"{name:10} {a:8.3f} {b:8.3f}")
    if asked.out is not None:
        asked.out.write_text(json.dumps(held, indent=1) + "\n")


if __name__ == "__main__":
    main()
