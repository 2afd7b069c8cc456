"""The clusters of DARC: each of the 64 golden lists, exactly."""

import json

import numpy as np
import pytest

from mwaconvert.live.amber import LineParser, read_whole
from mwaconvert.live.legacy_clusters import box_clusters


@pytest.fixture(scope="module")
def sets(darc):
    step1, step3 = (read_whole(darc / f"amber/CB00_step{i}.trigger", i).rows for i in (1, 3))
    return {
        "step1": step1,
        "step3": step3,
        "step1+step3": np.concatenate([step1, step3]),
        "step1_first100": step1[:100],
    }


def test_golden_lists(darc, sets):
    lists = json.loads((darc / "golden/clusters_from_darc.json").read_text())
    assert len(lists) == 64
    for golden in lists:
        name = {k: golden[k] for k in ("set", "t_window", "dm_min", "dm_max", "sig_thresh", "sb_filter")}
        rows = sets[golden["set"]][: golden["n_raw"]]
        found = box_clusters(
            rows,
            snr_min=golden["sig_thresh"],
            window_s=golden["t_window"],
            dm_min=golden["dm_min"],
            dm_max=golden["dm_max"] or np.inf,
            beam_period=(10, 15) if golden["sb_filter"] else None,
        )
        assert found.winners.size == golden["n_clusters"], name
        kept = np.flatnonzero(rows["snr"] >= golden["sig_thresh"])
        for i, row in enumerate(golden["rows"]):
            w = found.winners[i]
            ours = [rows[k][w] for k in ("dm", "snr", "time_s", "width", "beam")]
            assert [*ours, found.n_members[i], np.searchsorted(kept, w)] == row, (name, i)


def test_expectation_of_the_authors(darc):
    """Seven clusters of the Crab in the first 100 lines."""
    golden = json.loads((darc / "golden/authors_expected_iquv.json").read_text())
    text = (darc / "amber/CB00_step1.trigger").read_bytes().splitlines(keepends=True)[:100]
    rows = LineParser().parse(b"".join(text)).rows
    found = box_clusters(rows, snr_min=10, window_s=1.0, dm_min=46.8, dm_max=66.8)
    ours = np.sort(found.winners)
    assert [[rows[k][i].item() for k in ("snr", "time_s", "beam", "width")] for i in ours] == golden["rows"]


def test_no_candidates():
    assert box_clusters(LineParser().parse(b"").rows).winners.size == 0
