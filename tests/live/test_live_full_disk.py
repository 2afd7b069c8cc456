"""Disks that are full for a while: nothing is lost, and all goes on when there is room."""

import asyncio
import errno
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from live_node import HEADER, Sky, run_async

from mwaconvert.live.observation import read_config, read_observation
from mwaconvert.live.processing.cutter import Cutter, key_of
from mwaconvert.live.processing.extract import Extract, Wanted
from mwaconvert.live.processing.products import Score, read_candidate, write_candidate
from mwaconvert.live.settings import settings_of
from mwaconvert.services.live.hub import Hub
from mwaconvert.services.live.node import Site
from mwaconvert.services.live.observations import Observations
from mwaconvert.services.live.processes.chain import Chain
from mwaconvert.services.live.processes.processor import Processor
from mwaconvert.services.live.wire.messages import Done, Message, StartObservation

FULL = OSError(errno.ENOSPC, "No space left on device")


def full(*_, **__):
    raise FULL


@pytest.fixture
def site(tmp_path):
    sections = {
        "network": {"state_dir": str(tmp_path / "state"), "node": "n"},
        "darc_master": {"parset_dir": str(tmp_path / "parsets")},
        "amber_clustering": {"galactic_dm": ["/bin/echo", "100"], "thresh_iquv": {"interval": 0}},
        "processor": {"result_dir": str(tmp_path / "results"), "interval": 0, "stop_delay": 0},
    }
    return Site(settings_of(sections))


def start_of(sky):
    config, parset = read_config(sky.path)
    return StartObservation(
        observation=read_observation(sky.path),
        config={k: v for k, v in config.items() if k != "parset"},
        parset=dict(parset),
        archived="",
        galactic_dm=100.0,
    )


def cut_out(dm=50.0):
    return Extract(
        wanted=Wanted(time_s=1.25, dm=dm, snr=20.0, width=5, beam=35),
        time_s=1.26,
        dm=dm + 0.5,
        snr=21.0,
        width=6,
        dt_s=1e-3,
        freq_time=np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32),
        dm_time=np.random.default_rng(2).normal(size=(64, 64)).astype(np.float32),
        dms=np.linspace(40, 60, 64),
    )


def test_a_decision_waits_for_the_journal(site, tmp_path):
    """The ring buffers hear at once, as they forget; others when it is on disk, and then once."""
    sky = Sky(tmp_path / "obs")

    async def job():
        chain, posted = Chain(site), []
        chain.post = lambda to, body, *, task_id="", id="": posted.append((body.way, id)) or True
        await chain.on_start(start_of(sky))
        watch = chain.watches[sky.task_id]
        append, watch.journal.append = watch.journal.append, full
        sky.pulse(dm=900.0, width=50)
        chain._look(watch)
        assert "No space left" in chain.trouble["journal"]
        assert [way for way, _ in posted] == ["iquv"]
        assert chain.numbers["given_up"] == 0
        watch.journal.append = append
        chain._look(watch)
        chain._send_unsent(watch)
        assert sorted(way for way, _ in posted) == ["iquv", "lofar", "voevent"]
        assert "journal" not in chain.trouble
        for _, id in posted:
            await chain.on_done(
                Message(sender="x", to="y", body=Done(outcome="sent"), id=id), Done(outcome="sent")
            )
        again = Chain(site)
        await again.on_start(start_of(sky))
        return again.watches[sky.task_id].unsent

    assert run_async(job()) == {}


def test_an_observation_that_cannot_begin_is_begun_when_there_is_room(site, tmp_path, monkeypatch, caplog):
    sky = Sky(tmp_path / "obs")
    monkeypatch.setattr("mwaconvert.services.live.processes.service._BEAT_S", 0.05)

    async def job():
        chain = Chain(site)
        opened, chain._open = chain._open, full
        start = start_of(sky)
        beating = asyncio.create_task(chain._beat())
        await chain._take(Message(sender="n", to="n/amber_clustering", body=start, task_id=sky.task_id))
        assert "No space left" in chain.trouble["start"]
        assert not chain.watches
        old = start.model_copy(update={"observation": replace(start.observation, task_id="old", start_s=0.0)})
        await chain._take(Message(sender="n", to="n/amber_clustering", body=old, task_id="old"))
        assert set(chain._not_begun) == {sky.task_id, "old"}
        await asyncio.sleep(0.2)
        assert set(chain._not_begun) == {sky.task_id}  # of the other all is over
        assert len(caplog.records) == 2  # not one for each time
        chain._open = opened
        while not chain.watches:
            await asyncio.sleep(0.02)
        beating.cancel()
        return chain.trouble

    assert run_async(job()) == {}


def test_observations_are_kept_when_there_is_room(site, tmp_path, monkeypatch):
    """Neither the file of observations nor that of the Galactic model keeps one from starting."""
    monkeypatch.setattr("mwaconvert.services.live.observations._AGAIN_S", 0.05)
    sky = Sky(tmp_path / "obs")

    async def job():
        hub = Hub(site)
        hub.start = lambda name: None
        observations = Observations(hub)
        with monkeypatch.context() as patched:
            patched.setattr("mwaconvert.services.live.observations.write_facts", full)
            await observations.start(sky.path, None)
            for _ in range(3):
                observations._keep()
            await asyncio.sleep(0.2)
            assert not (site.state / "observations.json").exists()
            assert len(hub._tasks) == 2  # to forget it, and one that waits for room
        while not (site.state / "observations.json").exists():
            await asyncio.sleep(0.02)
        body = observations.running[sky.task_id].body
        for task in list(hub._tasks):
            task.cancel()
        again = Observations(hub)
        again.resume()
        found = set(again.running)
        await asyncio.sleep(0)  # so that what it began can be ended
        for task in list(hub._tasks):
            task.cancel()
        return body, found

    body, found = run_async(job())
    assert body.galactic_dm == 100.0
    assert found == {sky.task_id}


def test_a_master_starts_with_a_full_disk(site, monkeypatch):
    monkeypatch.setattr("mwaconvert.services.live.hub._CALL_AGAIN_S", 0.05)

    async def job():
        hub = Hub(
            replace(site, settings=replace(site.settings, network=replace(site.settings.network, port=0)))
        )
        with monkeypatch.context() as patched:
            patched.setattr("mwaconvert.services.live.hub.write_whole", full)
            await hub.open()
        while not site.operator_key.exists():
            await asyncio.sleep(0.02)
        await hub.close()

    run_async(job())


def test_candidates_are_read_back(tmp_path):
    found, score = cut_out(), Score(freq_time=0.75, model="m", scaling="s")
    path = write_candidate(tmp_path, found, score)
    with h5py.File(path) as file:
        assert file["data_freq_time"].shape == (64, 64)
    again, said = read_candidate(path)
    for name in ("wanted", "time_s", "dm", "snr", "width", "dt_s"):
        assert getattr(again, name) == getattr(found, name)
    for name in ("freq_time", "dm_time", "dms"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert (said.freq_time, said.model, said.scaling) == (0.75, "m", "s")


def test_a_candidate_on_a_full_disk_is_an_error_and_nothing_else(tmp_path, monkeypatch):
    """HDF5 itself ended the process there."""
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_candidate(tmp_path, cut_out())
    assert list(tmp_path.iterdir()) == []


def test_a_processor_waits_for_room(site, tmp_path, monkeypatch):
    """Candidates, lists and figures, and the page of all beams; those of before a restart are drawn, too."""
    monkeypatch.setattr("mwaconvert.services.live.processes.processor._AGAIN_S", 0.05)
    monkeypatch.setattr("mwaconvert.services.live.processes.processor._LOOK_S", 0.05)
    sky = Sky(tmp_path / "obs", start_s=time.time() - 60, duration_s=50)
    sky.file.write_text(HEADER)
    monkeypatch.setattr(Cutter, "has", lambda self, wanted: True)
    monkeypatch.setattr(Cutter, "cut", lambda self, wanted: replace(cut_out(wanted.dm), wanted=wanted))
    drawn = []

    def write_pages(path, kept, *_, **__):
        drawn.append({key_of(found.wanted) for found, _ in kept})

    monkeypatch.setattr("mwaconvert.live.processing.cutter.write_pages", write_pages)
    folder = tmp_path / "results" / "2019" / "x"
    monkeypatch.setattr("mwaconvert.services.live.processes.processor.result_folder", lambda *_: folder)

    async def run(processor, until):
        working = asyncio.create_task(processor.work())
        while not until():
            await asyncio.sleep(0.02)
        processor.stopping.set()
        await working

    async def job():
        chain = Chain(site)
        await chain.on_start(start_of(sky))
        sky.write(10.0, 500.0, 30.0, 10)
        sky.write(20.0, 600.0, 30.0, 10)
        chain._look(chain.watches[sky.task_id], at_end=True)
        processor = Processor(site)
        processor._merging[sky.task_id] = None  # that is a matter of the page below
        with monkeypatch.context() as patched:
            patched.setattr("mwaconvert.live.processing.cutter.write_candidate", full)
            await processor.on_start(start_of(sky))
            await run(processor, lambda: "disk" in processor.trouble)
        assert processor.numbers["failed"] == 0
        again = Processor(site)
        again._merging[sky.task_id] = None
        with monkeypatch.context() as patched:
            patched.setattr("mwaconvert.live.processing.cutter.write_lists", full)
            patched.setattr("mwaconvert.services.live.processes.processor._AGAIN_S", 1000.0)
            await again.on_start(start_of(sky))
            looks = []
            await run(again, lambda: looks.append(sky.task_id in again.trouble) or sum(looks) > 9)  # it lasts
        assert again.numbers["accepted"] == 2
        third = Processor(site)
        third._merging[sky.task_id] = None
        await third.on_start(start_of(sky))
        await run(third, lambda: not third.works)
        assert (folder / "CB00_summary.yaml").is_file()
        with monkeypatch.context() as patched:
            patched.setattr("mwaconvert.services.live.processes.processor.write_merged", full)
            page = asyncio.create_task(third._merge_in_time(start_of(sky)))
            while f"page {sky.task_id}" not in third.trouble:
                await asyncio.sleep(0.02)
        await page
        assert (folder / "A_info.html").is_file()
        return third

    third = run_async(job(), timeout_s=60)
    assert third.numbers["extracted"] == 0  # both were cut out before
    assert drawn[-1] == {"10.0000 500.00", "20.0000 600.00"}
    assert third.trouble == {}
