"""A storm of interference in the services: bounded, said, and the brightest first."""

import asyncio
import json

import numpy as np
import pytest
from live_node import HEADER, Sky, run_async
from test_live_full_disk import cut_out, start_of

from mwaconvert.live.processing.cutter import Cutter
from mwaconvert.live.processing.merge import merge, write_merged
from mwaconvert.live.settings import settings_of
from mwaconvert.services.live.node import Site
from mwaconvert.services.live.processes.chain import _RECORDS, Chain
from mwaconvert.services.live.processes.processor import Processor

N = 1500


@pytest.fixture
def site(tmp_path):
    sections = {
        "network": {"state_dir": str(tmp_path / "state"), "node": "n"},
        "amber_clustering": {"thresh_iquv": {"interval": 0}},
        "processor": {"result_dir": str(tmp_path / "results"), "interval": 0, "stop_delay": 0},
    }
    return Site(settings_of(sections))


def test_a_storm(site, tmp_path, monkeypatch):
    """Of more clusters than are recorded, the brightest are cut out, and the others counted wherever one looks."""
    monkeypatch.setattr("mwaconvert.services.live.processes.chain._STORM_S", 0.2)
    monkeypatch.setattr("mwaconvert.services.live.processes.processor._LOOK_S", 0.02)
    sky = Sky(tmp_path / "obs", duration_s=15)
    snrs = np.random.default_rng(1).permutation(N) / 100 + 10.5
    lines = [
        f"35 1 1 10 {k * 0.012 + 0.1:.4f} 1 {400 + k % 100 * 20} {snr:.2f}" for k, snr in enumerate(snrs)
    ]
    sky.file.write_text(HEADER + "\n".join(lines) + "\n")
    monkeypatch.setattr(Cutter, "has", lambda self, wanted: True)
    monkeypatch.setattr(Cutter, "cut", lambda self, wanted: cut_out(wanted.dm))
    order = []

    def keep(self, found, kept):
        return {"refused": "a test"}

    monkeypatch.setattr(Cutter, "keep", keep)
    cut = Processor._one

    def noted(self, work, wanted):
        order.append(wanted.snr)
        return cut(self, work, wanted)

    monkeypatch.setattr(Processor, "_one", noted)

    async def job():
        chain = Chain(site)
        chain.post = lambda *_, **__: True
        working = asyncio.create_task(chain.work())
        await chain.on_start(start_of(sky))
        while not chain.numbers["storms"]:
            await asyncio.sleep(0.01)
        assert "a storm of interference" in chain.trouble["storm"]
        assert f"{N} clusters" in chain.trouble["storm"]
        while "storm" in chain.trouble:
            await asyncio.sleep(0.02)
        chain.stopping.set()
        await working
        assert chain.numbers["not_recorded"] == N - _RECORDS
        processor = Processor(site)
        start = start_of(sky)
        processor._merging[sky.task_id] = None
        await processor.on_start(start)
        await processor.on_stop(sky.task_id, abort=False)
        working = asyncio.create_task(processor.work())
        while processor.works:
            await asyncio.sleep(0.02)
        processor.stopping.set()
        await working
        return start, processor.numbers

    start, numbers = run_async(job(), timeout_s=60)
    (journal,) = (site.state / "chain").glob("*.jsonl")
    (entry,) = (e for e in map(json.loads, journal.read_text().splitlines()) if e.get("storm"))
    assert (len(entry["decisions"]), entry["not_recorded"]) == (_RECORDS, N - _RECORDS)
    brightest = sorted(np.round(snrs, 2), reverse=True)[:_RECORDS]
    assert sorted((d["cluster"]["snr"] for d in entry["decisions"]), reverse=True) == brightest
    assert sorted(order, reverse=True) == brightest
    assert np.mean(order[:50]) > np.mean(order[-50:]) + 2
    assert numbers["left_out"] == N - _RECORDS
    (summary,) = (tmp_path / "results").glob("*/*/CB00_summary.yaml")
    merged = merge(summary.parent, [0])
    assert merged.counts[0].left_out == N - _RECORDS
    page = write_merged(
        summary.parent, start.observation, merged, start.parset, galactic_dm=None, ranked_by="S/N"
    )
    assert "<th>left out in storms</th>" in page.read_text()
    assert f"<td>{N - _RECORDS}</td>" in page.read_text()
