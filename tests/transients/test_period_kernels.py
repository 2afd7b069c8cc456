"""Folding, the fast folding algorithm and sums of harmonics against twins that read like their definitions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert import _core
from mwaconvert.errors import InputError

NO_WEIGHTS = np.empty((0, 0), np.float32)


def fixed(cycles: float) -> int:
    """A phase as a fraction of 2^64."""
    return int(math.ldexp(cycles - math.floor(cycles), 63)) << 1


def fold_twin(data, weights, phase, step, shift, edges, n_bin):
    sums, counts = np.zeros((2, len(edges) - 1, n_bin))
    for band in range(len(edges) - 1):
        for c in range(edges[band], edges[band + 1]):
            for t in range(data.shape[1]):
                at = (fixed(phase - shift[c]) + t * fixed(step)) % 2**64
                weight = float(weights[c, t]) if len(weights) else 1.0
                sums[band, (at >> 32) * n_bin >> 32] += weight * float(data[c, t])
                counts[band, (at >> 32) * n_bin >> 32] += weight
    return sums, counts


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from([np.uint8, np.float32]),
    n_chan=st.integers(1, 7),
    n_times=st.integers(1, 60),
    n_bin=st.integers(1, 40),
    phase=st.floats(-1e3, 1e3),
    step=st.floats(-0.5, 2.5),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_samples_are_added_to_the_bin_of_their_phase(
    dtype, n_chan, n_times, n_bin, phase, step, weighted, seed
):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (n_chan, n_times)).astype(dtype)
    weights = rng.integers(0, 3, data.shape).astype(np.float32) if weighted else NO_WEIGHTS
    shift = rng.normal(0, 3, n_chan)
    edges = np.sort(np.r_[0, rng.integers(0, n_chan + 1, 2), n_chan]).astype(np.int32)
    want = fold_twin(data, weights, phase, step, shift, edges, n_bin)
    for threads in (1, 2):
        sums, counts = np.zeros((2, 3, n_bin))
        _core.fold(
            data=data, weights=weights, phase=phase, step=step, shift=shift, edges=edges, sums=sums,
            counts=counts, threads=threads,
        )  # fmt: skip
        np.testing.assert_array_equal(sums, want[0])
        np.testing.assert_array_equal(counts, want[1])


def test_a_fold_goes_on_in_pieces():
    rng = np.random.default_rng(1)
    data, edges = rng.normal(0, 1, (2, 5000)).astype(np.float32), np.array([0, 2], np.int32)
    whole, parts = np.zeros((2, 1, 64)), np.zeros((2, 1, 64))
    step = 2.0**-7  # exact
    for out, begins in ((whole, [0, 5000]), (parts, [0, 1300, 4096, 5000])):
        for low, high in itertools.pairwise(begins):
            piece = np.ascontiguousarray(data[:, low:high])
            _core.fold(
                data=piece, weights=NO_WEIGHTS, phase=0.1 + low * step, step=step, shift=np.zeros(2), edges=edges,
                sums=out[0], counts=out[1],
            )  # fmt: skip
    np.testing.assert_allclose(whole[1], parts[1], atol=0)
    np.testing.assert_allclose(whole[0], parts[0], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"phase": np.nan}, "not finite"),
        ({"shift": np.array([np.inf, 0])}, "not finite"),
        ({"edges": np.array([0, 1], np.int32)}, "do not cover"),
        ({"weights": np.ones((2, 4), np.float32)}, "other samples"),
    ],
)
def test_folds_that_make_no_sense(change, sentence):
    given = {
        "data": np.ones((2, 5), np.float32), "weights": NO_WEIGHTS, "phase": 0.0, "step": 0.1,
        "shift": np.zeros(2), "edges": np.array([0, 2], np.int32), "sums": np.zeros((1, 8)),
        "counts": np.zeros((1, 8)),
    }  # fmt: skip
    with pytest.raises(InputError, match=sentence):
        _core.fold(**given | change)


def ffa_twin(rows: np.ndarray) -> np.ndarray:
    """Halves of the rows are summed, the second moved by what the drift has come to at its first row."""
    m = len(rows)
    if m == 1:
        return rows.copy()
    head, tail = ffa_twin(rows[: m // 2]), ffa_twin(rows[m // 2 :])
    out = np.empty_like(rows)
    for s in range(m):
        a = math.floor(s * (len(head) - 1) / (m - 1) + 0.5)
        b = math.floor(s * (len(tail) - 1) / (m - 1) + 0.5)
        out[s] = head[a] + np.roll(tail[b], -(s - b))
    return out


@settings(max_examples=60, deadline=None)
@given(n_row=st.integers(1, 70), n_bin=st.integers(1, 50), seed=st.integers(0, 99))
def test_the_fast_folding_algorithm(n_row, n_bin, seed):
    rows = np.random.default_rng(seed).integers(-99, 99, (n_row, n_bin)).astype(np.float32)
    out = np.empty_like(rows)
    _core.ffa_transform(rows, out)
    np.testing.assert_array_equal(out, ffa_twin(rows))
    np.testing.assert_array_equal(out.sum(1), np.full(n_row, rows.sum()))
    np.testing.assert_array_equal(out[0], rows.sum(0))


def test_drifts_are_straight_lines_but_for_rounding():
    """Of 64 rows no sample is farther from the line than the roundings of six stages may add up to."""
    for row in (1, 17, 40, 63):
        rows = np.zeros((64, 64), np.float32)
        rows[row, 32] = 1
        out = np.empty_like(rows)
        _core.ffa_transform(rows, out)
        drift = 32 - out.argmax(1)
        off = (drift - np.arange(64) * row / 63 + 32) % 64 - 32
        assert np.abs(off).max() <= 2


def ffa_search_twin(series, first, last, widths, threshold):
    found = []
    for trial, x in enumerate(series.astype(np.float64)):
        for n in range(first, last):
            m = x.size // n
            folds = ffa_twin(x[: m * n].reshape(m, n))
            best = {}
            for s, profile in enumerate(folds):
                for w in widths:
                    if 2 * w >= n:
                        continue
                    shape = np.full(n, -w / (n - w))
                    shape[:w] = 1
                    shape /= np.linalg.norm(shape)
                    snr = max((np.roll(shape, k) * profile).sum() for k in range(n)) / math.sqrt(m)
                    if snr > best.get(s // 16, (-np.inf,))[0] + 1e-9:
                        best[s // 16] = (snr, s, w)
            found += [(trial, n, s, w, snr) for snr, s, w in best.values() if snr >= threshold]
    return found


def test_the_best_boxcar_of_each_group_of_drifts():
    rng = np.random.default_rng(3)
    series = rng.normal(0, 1, (2, 700)).astype(np.float32)
    series[1, 5::37] += 2
    want = ffa_search_twin(series, 30, 40, [1, 2, 4, 17], 3.3)
    for threads in (1, 2):
        found = _core.ffa_search(
            series=series, first_bin=30, last_bin=40, widths=np.array([1, 2, 4, 17], np.int32), threshold=3.3,
            threads=threads,
        )  # fmt: skip
        assert [tuple(row)[:4] for row in found.tolist()] == [row[:4] for row in want]
        np.testing.assert_allclose(found["snr"], [row[4] for row in want], rtol=1e-5)


@pytest.mark.parametrize(
    ("first", "last", "widths"), [(3, 9, [1]), (9, 8, [1]), (9, 52, [1]), (9, 20, [2, 2]), (9, 20, [5])]
)
def test_periods_that_cannot_be_searched(first, last, widths):
    with pytest.raises(InputError, match="ffa_search"):
        _core.ffa_search(
            series=np.zeros((1, 100), np.float32), first_bin=first, last_bin=last,
            widths=np.array(widths, np.int32), threshold=5.0,
        )  # fmt: skip


def harmonic_twin(power, first, thresholds):
    found = []
    for trial, row in enumerate(power.astype(np.float64)):
        for level, threshold in enumerate(thresholds):
            h = 2**level
            best = {}
            for j in range(first * h, row.size):
                total = sum(row[(j * k + h // 2) // h] for k in range(1, h + 1))
                if total > best.get(j // 16, (-np.inf,))[0] + 1e-9:
                    best[j // 16] = (total, j)
            found += [(trial, level, j, total) for total, j in best.values() if total >= threshold]
    return found


def test_sums_of_harmonics():
    rng = np.random.default_rng(4)
    power = rng.exponential(1, (2, 9000)).astype(np.float32)
    power[1, 300::300] += 3
    thresholds = np.array([8, 10, 13, 18, 27], np.float32)
    want = harmonic_twin(power, 20, thresholds)
    for threads in (1, 2):
        found = _core.harmonic_search(power=power, first=20, thresholds=thresholds, threads=threads)
        assert [tuple(row)[:3] for row in found.tolist()] == [row[:3] for row in want]
        np.testing.assert_allclose(found["power"], [row[3] for row in want], rtol=1e-5)
    best = max(want, key=lambda row: row[3])
    assert best[2] / 2 ** best[1] == pytest.approx(300, abs=0.1)
