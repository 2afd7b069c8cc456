"""Searching while data come: nothing lost or doubled at borders, bursts found, the same candidates in any cut."""

import threading
import time

import numpy as np
import pytest
from click.testing import CliRunner

from mwaconvert.cli.live import live
from mwaconvert.errors import InputError
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.live.amber import read_whole
from mwaconvert.live.clusters import StreamClusters
from mwaconvert.live.searching.feeds import FileFeed, RingFeed, feed_of
from mwaconvert.live.searching.realtime import Plan, stream_search

N_CHAN, DT_S, K = 128, 327.68e-6, 4148.808
FREQ_MHZ = 1219.7 + 300 / N_CHAN * (np.arange(N_CHAN) + 0.5)
#: DM, time at the top of the band, height in units of the noise of a channel
BURSTS = [(100.0, 1.0, 1.5), (350.0, 2.04, 1.5), (20.0, 2.05, 1.5), (420.0, 4.09, 1.5), (200.0, 5.5, 1.5)]
PLAN = Plan(dm_max=500.0, segment_s=1.024, width_min=4, threshold=10.0)


@pytest.fixture(scope="module")
def data():
    chance = np.random.default_rng(4)
    x = chance.normal(120, 10, (N_CHAN, round(7.0 / DT_S)))
    for dm, at_s, height in BURSTS:
        delay_s = K * dm * (FREQ_MHZ**-2 - FREQ_MHZ[-1] ** -2)
        for k in range(4):
            x[np.arange(N_CHAN), np.rint((at_s + delay_s) / DT_S).astype(int) + k] += 10 * height
    return x.clip(0, 255).astype(np.uint8)


def write(path, data, start_s=0.0):
    with FilterbankWriter(path, FREQ_MHZ, DT_S, 8, start_mjd=60000 + start_s / 86400) as writer:
        writer.write(data)


def found_in(feed, plan=PLAN, idle_s=0.2):
    found = []
    done = stream_search(feed, plan, idle_s=idle_s, on_candidates=lambda _, c: found.extend(c))
    assert done.candidates == len(found)
    return found, done


def check(found):
    """Each burst once."""
    assert len(found) == len(BURSTS)
    for (dm, at_s, _), c in zip(
        sorted(BURSTS, key=lambda b: b[1]), sorted(found, key=lambda c: c.time_s), strict=True
    ):
        assert abs(c.dm - dm) < 15
        assert abs(c.time_s - 2 * DT_S - at_s) < 0.005


@pytest.mark.parametrize("segment_s", [0.5, 1.024, 3.0, 60.0])
def test_any_cut_finds_the_same(tmp_path, data, segment_s):
    write(tmp_path / "a.fil", data)
    found, done = found_in(
        FileFeed(tmp_path / "a.fil"), Plan(dm_max=500, segment_s=segment_s, width_min=4, threshold=10)
    )
    check(found)
    assert done.data_s == pytest.approx(data.shape[1] * DT_S)
    assert 0 < done.loss < 0.2


def test_a_file_that_grows(tmp_path, data):
    write(tmp_path / "whole.fil", data)
    whole = (tmp_path / "whole.fil").read_bytes()
    path = tmp_path / "a.fil"

    def grow():
        time.sleep(0.2)
        with path.open("wb") as file:
            for k in range(0, len(whole), 99_991):
                file.write(whole[k : k + 99_991])
                file.flush()
                time.sleep(0.02)

    thread = threading.Thread(target=grow)
    thread.start()
    found, _ = found_in(FileFeed(path), idle_s=3.0)
    thread.join()
    check(found)


def test_a_ring_of_pages(tmp_path, data):
    """Pages come, and old ones go."""
    n = 2500
    ring = tmp_path / "ring"
    ring.mkdir()

    def turn():
        for k, first in enumerate(range(0, data.shape[1], n)):
            write(tmp_path / "page", data[:, first : first + n], first * DT_S)
            (tmp_path / "page").rename(ring / f"page_{k:04d}.fil")
            old = ring / f"page_{k - 6:04d}.fil"
            old.unlink(missing_ok=True)
            time.sleep(0.05)

    thread = threading.Thread(target=turn)
    thread.start()
    found, done = found_in(RingFeed(ring), idle_s=3.0)
    thread.join()
    check(found)
    assert done.lost == 0


def test_pages_that_were_missed_are_counted(tmp_path, data):
    n = 2500
    for k, first in enumerate(range(0, data.shape[1] - n, n)):
        if k != 1:
            write(tmp_path / f"p{k:03d}.fil", data[:, first : first + n], first * DT_S)
    found, done = found_in(RingFeed(tmp_path))
    assert done.lost == n
    times = [c.time_s for c in found]
    assert any(abs(t - 5.5) < 0.01 for t in times)  # behind the gap, at its own time


def test_what_cannot_be_searched(tmp_path):
    with pytest.raises(InputError, match="no data came"):
        found_in(FileFeed(tmp_path / "nothing.fil"))
    with pytest.raises(InputError, match="--ring"):
        feed_of((), None)
    write(tmp_path / "short.fil", np.full((N_CHAN, 50), 3, np.uint8))
    assert found_in(FileFeed(tmp_path / "short.fil"))[0] == []


def test_the_command_feeds_the_chain(tmp_path, data):
    """Its file is one of AMBER: our reader and clusters find the bursts in it."""
    write(tmp_path / "a.fil", data)
    out = tmp_path / "amber" / "CB00_step1.trigger"
    words = [
        "search",
        str(tmp_path / "a.fil"),
        "-o",
        str(out),
        "--dm-range",
        "0",
        "500",
        "--snr",
        "10",
        "--beam",
        "7",
    ]
    done = CliRunner().invoke(live, [*words, "--idle", "0.2", "--segment", "1", "--width-min", "4"])
    assert done.exit_code == 0, done.output
    assert f"{len(BURSTS)} candidates, at most" in done.output
    batch = read_whole(out)
    assert batch.bad.count == 0
    clusters = StreamClusters().add(batch.rows).clusters
    assert len(clusters) == len(BURSTS)
    for (dm, at_s, _), c in zip(
        sorted(BURSTS, key=lambda b: b[1]), sorted(clusters, key=lambda c: c.time_s), strict=True
    ):
        assert c.beam == 7
        assert abs(c.dm - dm) < 15
        assert abs(c.time_s - at_s) < 0.005
