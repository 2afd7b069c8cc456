"""`mwaconvert jobs`: a job file to packages, and what an operator asks about them."""

import json
import re
import shutil
import tarfile
from pathlib import Path

import published
import pytest
from click.testing import CliRunner, Result

from mwaconvert.cli.main import main
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Request
from mwaconvert.jobs.executors.order import read_order
from mwaconvert.jobs.workflows import cluster
from mwaconvert.text import size_text

OBSID = "1412607288"


@pytest.fixture
def place(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with raw data, a job file and a folder for products; the working directory."""
    shutil.copytree(small.parent, tmp_path / "raw" / OBSID)
    (tmp_path / "products").mkdir()
    (tmp_path / "jobs.csv").write_text(
        f"# what we need\nobs_id={OBSID}, job_type=c, avg_time_res=4, output=uvfits\n"
        f"obs_id={OBSID}, job_type=d, download_type=vis_meta\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["jobs", *words])


def test_a_file_of_jobs(place: Path) -> None:
    words = ["run", "jobs.csv", "--root", "raw", "-d", "products", "-e", "errors.json"]
    done = call(*words)
    assert done.exit_code == 0, done.output
    assert (place / "products" / f"{OBSID}_1_uvfits.tar").is_file()
    assert (place / "products" / f"{OBSID}_2_vis_meta.tar").is_file()
    assert (place / "errors.json").read_text() == ""
    assert "job 1: convert" in done.output

    again = call(*words)
    assert again.exit_code == 0
    assert "Skipping line 2: job 1 is the same and completed" in again.output

    listed = json.loads(call("list", "-d", "products", "--json").output)
    assert [(job["id"], job["state"]) for job in listed] == [(2, "completed"), (1, "completed")]
    shown = call("show", "1", "-d", "products").output
    assert "convert 1: done" in shown
    assert f"{OBSID}_1_uvfits.tar" in shown
    assert "convert 1" in call("logs", "1", "-d", "products").output
    assert call("watch", "1", "2", "-d", "products").exit_code == 0


def test_tokens_of_cluster_jobs_are_not_printed(tmp_path: Path) -> None:
    order = read_order(
        {
            "image_name": "alpine",
            "command": ["ls"],
            "job_name": "listing",
            "environment": {"FRB_MASTER_ACCESS_TOKEN": "opens-doors", "DEPTH": "3"},
        }
    )
    database = str(tmp_path / "jobs.db")
    store = Store(database)
    request = Request(cluster.KIND, "ann", order.canonical, order.shown, name=order.name)
    job_id = store.submit(request).id
    store.close()
    for words in (["show", str(job_id), "--json"], ["list", "--json"], ["show", str(job_id)]):
        done = call(*words, "--database", database)
        assert done.exit_code == 0, done.output
        assert "opens-doors" not in done.output
    (listed,) = json.loads(call("list", "--json", "--database", database).output)
    assert listed["canonical"]["environment"] == {"FRB_MASTER_ACCESS_TOKEN": "***", "DEPTH": "3"}


def test_what_failed_is_told_in_the_documented_form(place: Path) -> None:
    (place / "jobs.csv").write_text("obs_id=1300000000, job_type=c\n")
    done = call("run", "jobs.csv", "--root", "raw", "-d", "products", "-e", "errors.json", "-q")
    assert done.exit_code == 4
    ((entry),) = json.loads((place / "errors.json").read_text())
    published.check([entry], "job-errors")
    assert entry["job_id"] == 1
    assert entry["obs_id"] == "1300000000"
    assert entry["result"].startswith("Error: obsid 1300000000: no metafits file")
    assert call("watch", "1", "-d", "products").exit_code == 4
    assert "failed" in call("list", "-d", "products", "--state", "failed").output


def test_retry_and_cancel(place: Path) -> None:
    hidden = place / "elsewhere"
    (place / "raw" / OBSID).rename(hidden)
    words = ["run", "jobs.csv", "--root", "raw", "-d", "products"]
    assert call(*words).exit_code == 4
    hidden.rename(place / "raw" / OBSID)
    assert call("retry", "1", "2", "-d", "products").exit_code == 0
    assert "job 2: cancelled" in call("cancel", "2", "-d", "products").output
    done = call(*words)
    assert done.exit_code == 0, done.output
    assert (place / "products" / f"{OBSID}_1_uvfits.tar").is_file()


def test_all_problems_of_a_file_before_anything_runs(place: Path) -> None:
    (place / "jobs.csv").write_text("obs_id=12, job_type=c\nobs_id=1300000000, job_type=c, avg_tiem_res=4\n")
    done = call("run", "jobs.csv", "-d", "products")
    assert done.exit_code == 3
    assert "line 1" in done.output
    assert "line 2" in done.output
    assert "avg_tiem_res" in done.output
    assert list((place / "products").iterdir()) == []


def test_dry_run_says_what_would_be_run(place: Path) -> None:
    done = call("run", "jobs.csv", "-d", "products", "--dry-run")
    assert done.exit_code == 0
    assert f"line 2: conversion of {OBSID}: " in done.output
    assert list((place / "products").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "jobs.csv", "-d", "nowhere"], "nowhere: no such folder for the products"),
        (["run", "jobs.csv", "--root", "nowhere", "-d", "products"], "nowhere: no such folder"),
        (["run", "none.csv", "-d", "products"], "none.csv: cannot be read as a job file"),
        (["list", "-d", "products"], "no jobs were run here"),
        (
            ["list", "-d", "products", "--state", "lost", "--database", "a.db"],
            "--state lost: expected one of",
        ),
        (["run", "jobs.csv", "-d", "products", "-e", "jobs.csv"], "jobs.csv: is an input of this run"),
    ],
)
def test_refusals(place: Path, words: list[str], message: str) -> None:
    done = call(*words)
    assert done.exit_code == 2
    assert message in done.output


def test_backup_and_restore(place: Path) -> None:
    call("run", "jobs.csv", "--root", "raw", "-d", "products", "-q")
    assert call("backup", "copy.db", "-d", "products").exit_code == 0
    assert "exists already" in call("backup", "copy.db", "-d", "products").output
    (place / "other").mkdir()
    assert call("restore", "copy.db", "-d", "other").exit_code == 0
    assert call("list", "-d", "other").output == call("list", "-d", "products").output


def test_dry_run_says_what_each_job_needs(place: Path) -> None:
    more = "obs_id=1300000000, job_type=c\n"
    (place / "jobs.csv").write_text((place / "jobs.csv").read_text() + more)
    words = ["run", "jobs.csv", "--root", "raw", "-d", "products"]
    done = call(*words, "--dry-run")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    said = re.fullmatch(r"  about \d+ s, ([\d.]+ [MG]B) of memory, ([\d.]+ [kM]B) of output", lines[1])
    assert said, lines[1]
    assert lines[5].startswith("  size not known: its raw data are not in the folders of --root")
    assert lines[6].startswith("2 jobs of known size: ")
    assert list((place / "products").iterdir()) == []

    call(*words)
    listed = json.loads(call("list", "-d", "products", "--json").output)
    estimate = next(job["estimate"] for job in listed if job["id"] == 1)
    with tarfile.open(place / "products" / f"{OBSID}_1_uvfits.tar") as tar:
        size = tar.getmember(f"{OBSID}.uvfits").size
    assert 0 <= size - estimate["output"] < 25_000  # headers and the table of antennas are not counted
    assert size_text(estimate["output"]) == said[2]


def test_dry_run_refuses_what_the_plan_refuses(place: Path) -> None:
    words = ["run", "jobs.csv", "--root", "raw", "-d", "products", "--max-memory", "1MB"]
    done = call(*words, "--dry-run")
    assert done.exit_code == 4
    assert "mwaconvert: line 2: " in done.output
    assert "memory" in done.output.split("line 2: ")[2]
    assert call(*words).exit_code == 4


def test_slurm_that_is_not_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    words = ["run", "jobs.csv", "--root", "raw", "-d", "products"]
    done = call(*words, "--on", "slurm")
    assert done.exit_code == 2
    assert "--on slurm: there is no sbatch on PATH" in done.output
    done = call(*words, "--sbatch", "--partition=work")
    assert done.exit_code == 2
    assert "add --on slurm" in done.output


def test_a_disk_that_is_full_while_jobs_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with a sentence instead of waiting for ever, and goes on where it was, given again."""
    import sqlalchemy as sa

    from mwaconvert.jobs.control.store import Store
    from mwaconvert.jobs.control.worker import Worker

    begin, whole = Worker.start, Store._try

    def start(worker: Worker) -> None:
        begin(worker)
        worker.store.patience_s = 0.2
        monkeypatch.setattr(Store, "_try", full)

    def full(store: Store, work: object, write: bool, is_lazy: bool) -> object:
        if write:
            raise sa.exc.OperationalError("", None, Exception("database or disk is full"))
        return whole(store, work, write, is_lazy)

    monkeypatch.setattr(Worker, "start", start)
    stopped = call("run", "jobs.csv", "--root", "raw")
    assert stopped.exit_code == 2
    assert "database of jobs did not answer for 0 s (database or disk is full)" in stopped.stderr
    assert all(line.startswith("mwaconvert: ") for line in stopped.stderr.splitlines())

    monkeypatch.setattr(Worker, "start", begin)
    monkeypatch.setattr(Store, "_try", whole)
    store = Store(place / ".mwaconvert-jobs" / "jobs.db")
    for record in store.workers():
        store.stop_worker(record.id)  # another process would see that this one has ended
    store.close()
    again = call("run", "jobs.csv", "--root", "raw")
    assert again.exit_code == 0, again.output
    assert len(list(place.glob("*.tar"))) == 2


def test_no_room_for_a_store(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy as sa

    def migrate(*_: object) -> None:
        raise sa.exc.OperationalError("", None, Exception("database or disk is full"))

    monkeypatch.setattr("mwaconvert.jobs.control.store.database.migrate", migrate)
    done = call("run", "jobs.csv", "--root", "raw")
    assert done.exit_code == 2
    assert "cannot be made or brought up to date (database or disk is full)" in done.stderr
