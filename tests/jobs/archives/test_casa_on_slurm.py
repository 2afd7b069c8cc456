"""CASA as a batch job, by stand-ins for CASA and for Slurm's commands; by Slurm itself where it is."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import request_samples as samples
from archive_samples import restorable, reviewing, site_file
from fake_slurm import fake_slurm

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.slurm import Slurm
from mwaconvert.jobs.control.states import Outcome, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.workflows.archives.asking import Answer, Purpose, ask_run, decide
from mwaconvert.jobs.workflows.archives.restore import restore_request
from mwaconvert.jobs.workflows.archives.running import carry_on
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, read_site

TIMEOUT_S = 120
WHAT = samples.MOUS.file_form


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = fake_slurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def on_slurm(site: ArchiveSite) -> ArchiveSite:
    return replace(site, slurm=Slurm(poll_s=0.1, options=["--comment=casa"]))


@pytest.fixture
def site(tmp_path: Path) -> ArchiveSite:
    return on_slurm(restorable(tmp_path))


@pytest.fixture
def store(site: ArchiveSite) -> Iterator[Store]:
    opened = Store(site.database)
    yield opened
    opened.close()


def submitted(commands: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(commands.glob("job*.json"))]


def calls(tmp_path: Path) -> list[str]:
    path = tmp_path / "casa" / "calls.txt"
    return [json.loads(line)[0] for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_restore_is_a_batch_job_with_its_own_environment(
    site: ArchiveSite, store: Store, commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "geheim")
    job = store.submit(restore_request(WHAT, "ann", mpi_servers=3))
    carry_on(site, store)
    assert (store.job(job.id).state, store.job(job.id).error_text) == (State.COMPLETED, None)
    (batch,) = submitted(commands)
    assert {"--comment=casa", "--cpus-per-task=4", "--no-requeue"} <= set(batch["words"])
    script = Path(batch["words"][-1]).read_text()
    assert "/usr/bin/env -i -C " in script
    assert "SECRET" not in script
    assert calls(tmp_path) == ["flagmanager", "applycal"] * 2
    (attempt,) = [a for a in store.attempts(job.id) if a.step == "casa"]
    assert attempt.batch_id == batch["id"]


def test_a_casa_that_breaks_as_a_batch_job_is_judged_by_what_it_left(
    site: ArchiveSite, store: Store, commands: Path, tmp_path: Path
) -> None:
    (tmp_path / "casa" / "break-casa").touch()
    job = store.submit(restore_request(WHAT, "ann"))
    carry_on(site, store)
    failed = store.job(job.id)
    assert failed.state is State.FAILED
    assert "the pipeline stopped with an error" in (failed.error_text or "")
    assert "CASA (Slurm job 100) ended with exit code 1" in (failed.error_text or "")
    (tmp_path / "casa" / "break-casa").unlink()
    store.retry(job.id, "ann")
    carry_on(site, store)
    assert store.job(job.id).state is State.COMPLETED
    assert len(submitted(commands)) == 2


def _head(plain: ArchiveSite) -> None:
    store = Store(plain.database)
    carry_on(on_slurm(plain), store)
    store.close()


def killed_head(site: ArchiveSite, when: Callable[[], object]) -> None:
    head = multiprocessing.get_context("spawn").Process(target=_head, args=(replace(site, slurm=None),))
    head.start()
    wait_for(lambda: when() or not head.is_alive())
    assert head.is_alive()
    head.kill()
    head.join()


@pytest.mark.parametrize("ends_first", [False, True], ids=["it goes on", "it ended meanwhile"])
def test_a_batch_job_goes_on_when_its_head_is_killed(
    site: ArchiveSite, store: Store, commands: Path, tmp_path: Path, ends_first: bool
) -> None:
    (tmp_path / "casa" / "slow-casa").touch()
    job = store.submit(restore_request(WHAT, "ann"))
    killed_head(site, lambda: calls(tmp_path))
    if ends_first:
        wait_for(lambda: list(site.work.rglob("exit-code")))
    carry_on(site, store)
    assert (store.job(job.id).state, store.job(job.id).error_text) == (State.COMPLETED, None)
    assert len(submitted(commands)) == 1
    assert calls(tmp_path) == ["flagmanager", "applycal"] * 2
    outcomes = [a.outcome for a in store.attempts(job.id) if a.step == "casa"]
    assert outcomes == [Outcome.LOST, Outcome.DONE]


def test_a_calibration_is_a_batch_job_and_passes(tmp_path: Path, commands: Path) -> None:
    site = on_slurm(reviewing(tmp_path))
    store = Store(site.database)
    run = f"{samples.SDM}.calibrate.1"
    with site.catalog() as catalog:
        job = ask_run(store, catalog, str(samples.SDM), Purpose.CALIBRATE, "ann")
        carry_on(site, store)
        assert (store.job(job.id).state, store.job(job.id).error_text) == (State.WAITING, None)
        decide(site, store, catalog, run, Answer.PASS, "dora")
        carry_on(site, store)
        assert store.job(job.id).state is State.COMPLETED
    assert len(submitted(commands)) == 1
    assert len((tmp_path / "casa-6.5.4" / "runs.txt").read_text().splitlines()) == 1
    store.close()


def test_a_site_says_that_casa_runs_on_slurm(tmp_path: Path) -> None:
    config = site_file(tmp_path, reviewing(tmp_path))
    assert read_site(config).slurm is None
    text = config.read_text()
    config.write_text(text + '[slurm]\noptions = ["--partition=work"]\npoll_s = 2\n')
    found = read_site(config).slurm
    assert found is not None
    assert (found.options, found.poll_s) == (("--partition=work",), 2.0)
    for wrong, words in (
        ("poll_s = 0", "slurm.poll_s is 0; expected seconds"),
        ('options = ["partition"]', "slurm.options has 'partition'"),
        ("queue = 1", "slurm.queue is not a setting"),
    ):
        config.write_text(f"{text}[slurm]\n{wrong}\n")
        with pytest.raises(InputError, match=words):
            read_site(config)


@pytest.mark.services
def test_a_restore_on_a_real_slurm(site: ArchiveSite, store: Store, tmp_path: Path) -> None:
    from services.slurm import SlurmCluster, is_installed

    if not is_installed():
        pytest.skip("Slurm is not installed, or this is not root (Debian: slurm-wlm munge)")
    (tmp_path / "casa" / "slow-casa").touch()
    with SlurmCluster(cpus=4) as cluster, pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.env.items():
            patch.setenv(name, value)
        job = store.submit(restore_request(WHAT, "ann"))
        killed_head(site, lambda: calls(tmp_path))
        carry_on(site, store)
        assert (store.job(job.id).state, store.job(job.id).error_text) == (State.COMPLETED, None)
        assert calls(tmp_path) == ["flagmanager", "applycal"] * 2
        assert cluster.call("squeue", "--noheader", "--states=RUNNING,PENDING") == ""
