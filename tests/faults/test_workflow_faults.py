"""Jobs of the ASVO when disks are full, files are missing, buckets are away and clocks jump."""

from __future__ import annotations

import json
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_s3 import FakeS3, fake_s3

from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.limits import Capacity
from mwaconvert.jobs.control.states import Outcome, Role, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import DuplicateError, QuotaError, Quotas
from mwaconvert.jobs.control.worker import Worker
from mwaconvert.jobs.delivery import package
from mwaconvert.jobs.delivery.package import check_package
from mwaconvert.jobs.delivery.places import Bucket
from mwaconvert.jobs.workflows.registry import workflows
from mwaconvert.jobs.workflows.site import Site, local_site
from mwaconvert.jobs.workflows.submission import submit
from mwaconvert.vocabulary.job_file import JobRow, read_job
from mwaconvert.vocabulary.job_rows import JobKind

OBSID = "1412607288"
TIMEOUT_S = 120


def conversion(**params: str) -> JobRow:
    return read_job(JobKind.CONVERSION, {"obs_id": OBSID, "output": "uvfits", **params})


def download(**params: str) -> JobRow:
    return read_job(JobKind.DOWNLOAD, {"obs_id": OBSID, "download_type": "vis", **params})


@pytest.fixture
def raw(small: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "raw" / OBSID
    shutil.copytree(small.parent, folder)
    return folder


@pytest.fixture
def site(raw: Path, tmp_path: Path) -> Site:
    return local_site([raw.parent], tmp_path / "products")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "jobs.db")
    yield store
    store.close()


def work(store: Store, site: Site, folder: Path) -> None:
    with InlineEngine(Worker(store, workflows(site), folder / "work"), poll_s=0.05) as engine:
        engine.run_until_idle(TIMEOUT_S)


def test_a_raw_file_that_is_missing(store, site, raw, tmp_path) -> None:
    victim = sorted(raw.glob("*_ch*.fits"))[-1]
    victim.rename(tmp_path / victim.name)
    strict = submit(store, conversion(allowmissing="false"), "ann")
    lenient = submit(store, download(), "ann")
    work(store, site, tmp_path)
    failed = store.job(strict.id)
    assert failed.state is State.FAILED
    assert victim.name in str(failed.error_text)
    assert "1 raw file missing" in str(failed.error_text)
    (product,) = store.products(lenient.id)
    with tarfile.open(product.path) as tar:
        assert json.loads(tar.extractfile("job.json").read())["missing"] == [victim.name]

    (tmp_path / victim.name).rename(victim)
    store.retry(strict.id, "ann")
    work(store, site, tmp_path)
    assert store.job(strict.id).state is State.COMPLETED


def test_a_disk_that_fills_up_while_a_package_is_made(store, site, small_disk, tmp_path, monkeypatch) -> None:
    """Another program takes the room after it was looked for."""
    job = submit(store, download(), "ann")
    room = package._check_room
    other = small_disk / "other"

    def taken_then(*args) -> None:
        room(*args)
        with other.open("wb", buffering=0) as file:
            file.write(bytes(shutil.disk_usage(small_disk).free - 100_000))

    monkeypatch.setattr(package, "_check_room", taken_then)
    work(store, site, small_disk)
    failed = store.job(job.id)
    assert failed.state is State.FAILED
    assert "No space left on device" in str(failed.error_text)
    assert store.products(job.id) == []
    assert not list((small_disk / "work").glob("**/*.tar*"))
    assert not list((tmp_path / "products").glob("*"))

    monkeypatch.undo()
    other.unlink()
    store.retry(job.id, "ann")
    work(store, site, small_disk)
    (product,) = store.products(job.id)
    check_package(Path(product.path))
    done = [a.step for a in store.attempts(job.id) if a.outcome is Outcome.DONE]
    assert done == ["stage", "package", "deliver"]


def bucket(server: FakeS3) -> Bucket:
    settings = {"access_key_id": "id", "secret_access_key": "key", "region": "us-east-1"}
    return Bucket("s3://bucket", {**settings, "endpoint": server.endpoint}, patience_s=0.2)


def test_buckets_that_are_away_and_come_back(store, raw, tmp_path) -> None:
    """Raw data come from one and packages go to it; each time it is away once."""
    with fake_s3() as server:
        for path in raw.iterdir():
            server.objects[f"{OBSID}/{path.name}"] = (path.read_bytes(), {})
        there = bucket(server)
        job = submit(store, download(), "ann")

        def go_away_and_come_back() -> None:
            for step in ("stage", "deliver"):
                server.down = True
                while not any(a.step == step and a.outcome is Outcome.FAILED for a in store.attempts(job.id)):
                    time.sleep(0.02)
                server.down = False
                while step == "stage" and not any(a.step == "package" for a in store.attempts(job.id)):
                    time.sleep(0.005)

        outage = threading.Thread(target=go_away_and_come_back, daemon=True)
        outage.start()
        time.sleep(0.1)
        work(store, Site((there,), there), tmp_path)
        outage.join(TIMEOUT_S)
        assert store.job(job.id).state is State.COMPLETED, store.job(job.id).error_text
        tried = [(a.step, a.outcome) for a in store.attempts(job.id)]
        assert tried[-1] == ("deliver", Outcome.DONE)
        assert {step for step, outcome in tried if outcome is Outcome.FAILED} == {"stage", "deliver"}
        assert [outcome for _, outcome in tried].count(Outcome.DONE) == 3
        (name,) = (name for name in server.objects if name.endswith(".tar"))
        (product,) = store.products(job.id)
        assert product.path.endswith(name)
        assert len(server.objects[name][0]) == product.size


def test_two_who_submit_one_job(store, site, tmp_path) -> None:
    row, begin = download(), threading.Barrier(2)
    told: list[int] = []

    def ask() -> None:
        own = Store(store.url)
        begin.wait()
        try:
            told.append(submit(own, row, "ann", site=site).id)
        except DuplicateError as error:
            told.append(-error.job_id)
        own.close()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (job,) = store.jobs()
    assert sorted(told) == [-job.id, job.id]
    work(store, site, tmp_path)
    assert len(list((tmp_path / "products").iterdir())) == 1


@pytest.mark.parametrize("jump_s", [-86400.0, 86400.0])
def test_a_clock_that_jumps_while_a_job_runs(raw, site, tmp_path, jump_s) -> None:
    clock = [0.0]
    store = Store(tmp_path / "jobs.db", now=lambda: time.time() + clock[0])
    job = submit(store, download(), "ann")
    kinds = workflows(site)
    worker = Worker(store, kinds, tmp_path / "work", beat_s=0.05, watch_s=0.02, lease_s=1.0)
    other = Worker(store, kinds, tmp_path / "work", worker_id="other", beat_s=0.05, watch_s=0.02, lease_s=1.0)
    other.start()
    with InlineEngine(worker, poll_s=0.05) as engine:
        while not store.attempts(job.id):
            time.sleep(0.005)
        clock[0] = jump_s
        engine.run_until_idle(TIMEOUT_S)
        time.sleep(1.5)  # longer than the lease: nobody is held for dead by a clock
        assert all(record.alive for record in store.workers())
    other.stop()
    assert store.job(job.id).state is State.COMPLETED
    assert [a.step for a in store.attempts(job.id)] == ["stage", "package", "deliver"]
    store.close()


def test_quotas_and_capacity_refuse_with_numbers(store, site) -> None:
    """Sizes are those of the plan, before anything runs."""
    with pytest.raises(QuotaError, match=r"the job needs .* GB of memory, more than the 0\.001 GB"):
        submit(store, conversion(), "ann", site=site, capacity=Capacity(memory=1_000_000))
    with pytest.raises(QuotaError, match=r"the job writes .* GB, more than the 1e-06 GB"):
        submit(store, conversion(), "ann", site=site, capacity=Capacity(output=1000))
    store.add_user("bob", Role.OPERATE, quotas=Quotas(queued=1, disk=50_000_000))
    store.add_user("cid", Role.OPERATE, quotas=Quotas(disk=100_000))
    submit(store, conversion(), "bob", site=site)
    with pytest.raises(QuotaError, match="1 jobs wait already, and the quota is 1"):
        submit(store, download(), "bob", site=site)
    with pytest.raises(QuotaError, match=r"and this one .* GB: more than the quota of 0\.0001 GB"):
        submit(store, download(), "cid", site=site)
    assert len(store.jobs()) == 1
