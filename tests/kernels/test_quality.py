"""The kernel of the quality statistics against the definitions, cell by cell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.visibilities.statistics import Sums


def sums(vis, weight, row_static, cross, channel_static, windows, nthreads=1):
    rows, channels = Sums.zeros(len(vis), len(windows) - 1), Sums.zeros(vis.shape[1])
    _core.quality_sums(
        vis=vis,
        weight=weight,
        row_static=row_static,
        row_cross=cross,
        channel_static=channel_static,
        window_start=np.array(windows, np.int64),
        row_sums=rows.sums,
        row_counts=rows.counts,
        channel_sums=channels.sums,
        channel_counts=channels.counts,
        threads=nthreads,
    )
    return rows, channels


def twin(vis, weight, row_static, cross, channel_static, windows):
    """Slow, and reads like the definition."""
    rows, channels = Sums.zeros(len(vis), len(windows) - 1), Sums.zeros(vis.shape[1])
    for r in np.flatnonzero(row_static == 0):
        for w in range(len(windows) - 1):
            for c in range(windows[w], windows[w + 1]):
                for p in range(4):
                    targets = [(rows, (r, w))] + ([(channels, (c,))] if cross[r] else [])
                    if channel_static[c]:
                        continue
                    for target, at in targets:
                        target.counts[(*at, 1 if np.signbit(weight[r, c, p]) else 0, p)] += 1
                    if np.signbit(weight[r, c, p]):
                        continue
                    v = complex(vis[r, c, p])
                    more = c + 1 < windows[w + 1] and not channel_static[c + 1]
                    more = more and not np.signbit(weight[r, c + 1, p])
                    d = (complex(vis[r, c + 1, p]) - v) / np.sqrt(2) if more else 0
                    for target, at in targets:
                        target.sums[(*at, 0, p)] += v
                        target.sums[(*at, 1, p)] += complex(v.real**2, v.imag**2)
                        if more:
                            target.sums[(*at, 2, p)] += d
                            target.sums[(*at, 3, p)] += complex(d.real**2, d.imag**2)
                            target.counts[(*at, 2, p)] += 1
    return rows, channels


def case(n_rows, n_chan, flagged, seed):
    rng = np.random.default_rng(seed)
    vis = rng.normal(size=(n_rows, n_chan, 4, 2)).astype(np.float32).view(np.complex64)[..., 0]
    weight = rng.uniform(0, 2, vis.shape).astype(np.float32)
    weight[rng.random(vis.shape) < flagged] *= -1
    row_static = (rng.random(n_rows) < 0.2).astype(np.uint8)
    channel_static = (rng.random(n_chan) < 0.2).astype(np.uint8)
    weight[row_static != 0] = -1
    weight[:, channel_static != 0] = -1
    vis[np.signbit(weight)] = np.nan  # flagged values may be anything
    return vis, weight, row_static, (rng.random(n_rows) < 0.8).astype(np.uint8), channel_static


@settings(max_examples=15, deadline=None)
@given(
    n_rows=st.sampled_from([1, 3]),
    n_chan=st.sampled_from([1, 2, 7, 129]),
    n_windows=st.integers(1, 3),
    flagged=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_twin(n_rows, n_chan, n_windows, flagged, seed):
    given_ = case(n_rows, n_chan, flagged, seed)
    windows = [n_chan * k // n_windows for k in range(n_windows + 1)]
    one = sums(*given_, windows)
    for a, b in zip(one, twin(*given_, windows), strict=True):
        np.testing.assert_allclose(a.sums, b.sums, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(a.counts, b.counts)


@pytest.mark.parametrize("n_rows", [1, 63, 64, 65, 256, 257, 600])
def test_threads_and_batches(n_rows):
    given_ = case(n_rows, 300, 0.02, n_rows)
    one, many = sums(*given_, [0, 300]), sums(*given_, [0, 300], 3)
    for a, b in zip(one, many, strict=True):
        assert a.sums.tobytes() == b.sums.tobytes()
        assert a.counts.tobytes() == b.counts.tobytes()
    parts = [sums(*(x[k : k + 50] for x in given_[:4]), given_[4], [0, 300]) for k in range(0, n_rows, 50)]
    rows = np.concatenate([rows.sums for rows, _ in parts])
    np.testing.assert_array_equal(rows, one[0].sums)
    np.testing.assert_allclose(sum(c.sums for _, c in parts), one[1].sums, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(sum(c.counts for _, c in parts), one[1].counts)


def test_refuses_windows_beyond_the_channels():
    with pytest.raises(InputError, match="window_start must ascend"):
        sums(*case(2, 5, 0, 0), [0, 6])
