"""Friends of friends: pulses that are known, a slow twin, any cut into batches, and time."""

import time

import numpy as np
import pytest

from mwaconvert.live.amber import ROW, read_whole
from mwaconvert.live.clusters import Links, StreamClusters, friends_of_friends, width_class

CRAB_PERIOD_S = 0.03376385


def rows_of(n, seed, seconds=2.0, dm_high=600.0, beams=12):
    chance = np.random.default_rng(seed)
    rows = np.zeros(n, ROW)
    rows["time_s"] = chance.uniform(0, seconds, n)
    rows["dm"] = chance.uniform(5, dm_high, n)
    rows["snr"] = chance.uniform(8, 30, n)
    rows["width"] = chance.choice([1, 5, 10, 25, 50, 100, 250, 500, 1000], n)
    rows["beam"] = chance.integers(0, beams, n)
    return rows


def slow_twin(rows, links):
    """Friends of friends, pair by pair."""
    middle = rows["time_s"] + 0.5 * links.dt_s * rows["width"] + links.delay_s_per_dm * rows["dm"]
    label = list(range(rows.size))

    def root(i):
        while label[i] != i:
            i = label[i]
        return i

    kinds = width_class(rows["width"])
    for i in range(rows.size):
        for j in range(i):
            longest_s = (5.0 ** (max(kinds[i], kinds[j]) + 1) - 1) * links.dt_s
            if (
                abs(int(kinds[i]) - int(kinds[j])) <= 1
                and abs(middle[i] - middle[j]) <= links.time_s + longest_s / 2
                and abs(rows["dm"][i] - rows["dm"][j]) <= links.dm + links.dm_per_s * longest_s
                and (links.beams is None or abs(int(rows["beam"][i]) - int(rows["beam"][j])) <= links.beams)
            ):
                label[root(i)] = root(j)
    return [root(i) for i in range(rows.size)]


def pairs_together(label):
    label = np.asarray(label)
    return label[:, None] == label[None, :]


@pytest.mark.parametrize("beams", [None, 1])
@pytest.mark.parametrize("seed", range(4))
def test_slow_twin(seed, beams):
    """No two friends are parted; what is joined beyond them is due to boxes around cells, and rare."""
    links = Links(beams=beams, dm=3.0, time_s=0.02)
    rows = rows_of(250, seed, seconds=6.0)
    ours, exact = pairs_together(friends_of_friends(rows, links)), pairs_together(slow_twin(rows, links))
    assert not (exact & ~ours).any()
    assert (ours & ~exact).sum() <= 0.02 * exact.sum()


def test_order_does_not_matter():
    rows = rows_of(500, 9)
    order = np.random.default_rng(1).permutation(rows.size)
    a = pairs_together(friends_of_friends(rows))
    b = pairs_together(friends_of_friends(rows[order]))
    np.testing.assert_array_equal(a[np.ix_(order, order)], b)


def crab(darc):
    rows = read_whole(darc / "amber/CB00_step1.trigger").rows
    return rows[(rows["dm"] >= 46.8) & (rows["dm"] <= 66.8) & (rows["width"] <= 100)]


def on_phase_pulses(rows):
    """Numbers of turns of the pulsar in which a candidate is on phase."""
    folded = rows[(rows["beam"] == 0) & (np.abs(rows["dm"] - 56.8) <= 0.8) & (rows["width"] <= 10)]
    phase0 = np.angle(np.exp(2j * np.pi * folded["time_s"] / CRAB_PERIOD_S).sum()) / (2 * np.pi)
    turns = rows["time_s"] / CRAB_PERIOD_S - phase0
    on_phase = np.abs(turns - np.round(turns)) < 0.05
    return np.where(on_phase, np.round(turns).astype(int), -1)


def test_pulses_of_the_crab(darc):
    """All 110 pulses in at most 120 clusters; boxes of 1 s keep 84."""
    rows = crab(darc)
    turns = on_phase_pulses(rows)
    label = friends_of_friends(rows)
    assert label.max() + 1 <= 120
    pulses = set(turns[turns >= 0].tolist())
    assert len(pulses) >= 110
    winners = [np.flatnonzero(label == k)[rows["snr"][label == k].argmax()] for k in range(label.max() + 1)]
    assert len(pulses & set(turns[winners].tolist())) >= 110


@pytest.mark.parametrize("seed", range(3))
def test_batches_part_nothing(darc, seed):
    """Any cut into batches gives the clusters of the whole."""
    rows = crab(darc)
    rows = rows[np.argsort(rows["time_s"], kind="stable")]
    cuts = np.sort(np.random.default_rng(seed).choice(rows.size, 60, replace=False))
    stream, clusters = StreamClusters(), {}
    for batch in np.split(rows, cuts):
        changes = stream.add(batch)
        clusters |= {c.id: c for c in changes.clusters}
        for old in changes.merged:
            clusters.pop(old, None)
    label = friends_of_friends(rows)
    whole = sorted((rows["snr"][label == k].max(), np.sum(label == k)) for k in range(label.max() + 1))
    assert sorted((c.snr, c.n_members) for c in clusters.values()) == whole


def one(time_s, dm, snr=12.0, width=5, beam=0):
    return np.array([(time_s, dm, snr, width, beam, 1)], ROW)


def test_a_cluster_grows_under_its_id():
    stream = StreamClusters()
    (first,) = stream.add(one(1.0, 50.0)).clusters
    (second,) = stream.add(one(1.002, 50.5, snr=20, beam=3)).clusters
    assert (second.id, second.snr, second.n_members, second.n_beams) == (first.id, 20.0, 2, 2)


def test_two_clusters_become_one():
    stream = StreamClusters()
    a = stream.add(np.concatenate([one(1.0, 50.0), one(1.0, 53.5)])).clusters
    assert [c.id for c in a] == [1, 2]
    changes = stream.add(one(1.0, 51.8))
    assert changes.merged == {2: 1}
    assert [(c.id, c.n_members, c.grown_by) for c in changes.clusters] == [(1, 3, 1)]


def test_no_edges():
    """A weak pulse beside a bright one is kept, wherever both are in time."""
    for shift in np.linspace(0, 1, 23):
        rows = np.concatenate([one(shift + 1.0, 300.0, 80.0), one(shift + 1.2, 301.0, 9.0)])
        assert friends_of_friends(rows).tolist() == [0, 1]


def test_pulse_in_a_storm():
    """Interference at low DMs all the time and at all DMs once does not hide a pulse elsewhere."""
    n = 3000
    floor, wall = rows_of(n, 1, dm_high=20), rows_of(n, 2, dm_high=3000)
    wall["time_s"] = 0.2 - 4.2e-4 * wall["dm"] + 1.3
    label = friends_of_friends(np.concatenate([floor, wall, one(1.7, 700.0)]))
    assert np.sum(label == label[-1]) == 1


def test_storms_are_bounded_and_said():
    stream = StreamClusters(most=1000)
    changes = stream.add(rows_of(5000, 4))
    assert changes.left_out == 4000
    assert sum(c.n_members for c in changes.clusters) == 1000


def test_speed():
    """100 000 candidates of one second at random, the worst case; allows for a busy machine."""
    rows = rows_of(100_000, 5, seconds=1.0, dm_high=2000, beams=71)
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        friends_of_friends(rows)
        best = min(best, time.process_time() - start)
    assert best < 0.3
