"""Folding and calibration: programs of others, run once after an observation, with its facts as arguments."""

import asyncio
import json
import sys
import time
from dataclasses import replace

import pytest
from live_node import run_async

from mwaconvert.live.observation import Observation
from mwaconvert.live.settings import settings_of
from mwaconvert.services.live.node import Site
from mwaconvert.services.live.processes.offline import Offline
from mwaconvert.services.live.wire.messages import StartObservation

#: appends its arguments to a file
NOTES = "import json, sys; open(sys.argv[1], 'a').write(json.dumps(sys.argv[2:]) + chr(10))"
FACTS = ["{output_dir}", "{source}", "{beam}", "{datetimesource}"]
NAME = "2019-05-18-23:51:13.B0531+21"


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "notes"


@pytest.fixture
def site(tmp_path, notes):
    return site_with(
        tmp_path,
        fold=[sys.executable, "-c", NOTES, str(notes), "fold", *FACTS],
        calibrate=[sys.executable, "-c", NOTES, str(notes), "calibrate", *FACTS],
    )


def site_with(tmp_path, **offline):
    network = {"state_dir": str(tmp_path / "state"), "node": "n"}
    return Site(settings_of({"network": network, "offline_processing": {"delay": 0, **offline}}))


def start(tmp_path, source, beam=5, source_beam=5):
    seen = Observation(
        task_id="190518009",
        beam=beam,
        start_s=time.time() - 10,
        duration_s=9.9,
        source=source,
        source_beam=source_beam,
        datetimesource=NAME,
        amber_dir=tmp_path,
        output_dir=tmp_path / "out",
    )
    return StartObservation(observation=seen, config={}, parset={})


def after(site, *starts):
    """The service, when all programs of these observations have ended."""

    async def job():
        service = Offline(site)
        for s in starts:
            await service.on_start(s)
        for task in list(service._tasks.values()):
            await task
        return service

    return run_async(job())


def noted(notes):
    return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []


def test_folding(site, notes, tmp_path):
    """A test pulsar in its own beam, once, also after a restart; words with shell in them are words."""
    begun = start(tmp_path, "B0531+21")
    assert after(site, begun, begun).numbers == {"programs": 1, "failed": 0}
    assert after(site, begun).numbers["programs"] == 0
    assert noted(notes) == [["fold", str(tmp_path / "out"), "B0531+21", "5", NAME]]


def test_calibration(site, notes, tmp_path):
    """A drift scan in the beams that it passes, by the digits of its name."""
    after(site, start(tmp_path, "3C48drift0107", beam=7, source_beam=1))
    assert noted(notes) == [["calibrate", str(tmp_path / "out"), "3C48drift0107", "7", NAME]]


@pytest.mark.parametrize(
    ("source", "beam", "source_beam"),
    [
        ("B0531+21", 4, 5),  # in another beam
        ("B1937+21", 5, 5),  # no test pulsar
        ("3C48drift0107", 8, 1),  # behind the scan
        ("3C48drift", 5, 5),
        ("3C99drift05", 5, 5),
        ("$(touch x)drift05", 5, 5),
    ],
)
def test_nothing_to_do(site, notes, tmp_path, source, beam, source_beam):
    assert after(site, start(tmp_path, source, beam, source_beam)).numbers["programs"] == 0
    assert noted(notes) == []


def test_no_shell_sees_what_is_configured(notes, tmp_path):
    site = site_with(tmp_path, fold=[sys.executable, "-c", NOTES, str(notes), "$(id); {source}|x"])
    after(site, start(tmp_path, "B0531+21"))
    assert noted(notes) == [["$(id); B0531+21|x"]]


@pytest.mark.parametrize(
    ("argv", "limit_s"),
    [
        ([sys.executable, "-c", "raise SystemExit(3)"], 60),
        (["/nowhere/prepfold"], 60),
        ([sys.executable, "-c", "import time; time.sleep(60)"], 1),
    ],
    ids=["exit code", "not there", "too long"],
)
def test_a_program_that_fails_is_said(tmp_path, argv, limit_s):
    begun = start(tmp_path, "B0531+21")
    service = after(site_with(tmp_path, fold=argv, max_proc_time=limit_s), begun)
    assert service.numbers == {"programs": 1, "failed": 1}
    assert service.trouble["fold 190518009"].startswith("fold: ")


def test_aborted_before_its_time(site, notes, tmp_path):
    async def job():
        service = Offline(site)
        begun = start(tmp_path, "B0531+21")
        later = begun.model_copy(update={"observation": replace(begun.observation, duration_s=900.0)})
        await service.on_start(later)
        await service.on_stop("190518009", abort=True)
        (task,) = service._tasks.values()
        while not task.done():
            await asyncio.sleep(0.01)
        return task.cancelled()

    assert run_async(job())
    assert noted(notes) == []
