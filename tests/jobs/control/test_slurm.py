"""Steps as Slurm jobs, on a real Slurm of one node: ends, cancels, the head dies and comes back."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.slurm import Slurm
from mwaconvert.jobs.control.states import Fault, Outcome, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Limits, Request, Retry, Step, Workflow
from mwaconvert.jobs.control.worker import Worker

TIMEOUT_S = 120
pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def cluster():
    from services.slurm import SlurmCluster, is_installed

    if not is_installed():
        pytest.skip("Slurm is not installed, or this is not root (Debian: slurm-wlm munge)")
    with SlurmCluster() as cluster:
        os.environ.update(cluster.env)
        yield cluster
        for name in cluster.env:
            del os.environ[name]


def heavy(slurm: Slurm, limits: Limits = Limits(), retry: Retry = Retry()) -> Workflow:  # noqa: B008
    def run(context):
        folder = slurm.run(context, ["sh", "-c", context.job.canonical["script"]])
        return {"said": (folder / "out").read_text()}

    return Workflow("heavy", (Step("run", run, retry, limits),))


def ask(script: str, number: int = 0) -> Request:
    return Request("heavy", "ann", {"script": script, "number": number})


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "jobs.db")
    yield store
    store.close()


def engine_of(store: Store, folder: Path, workflow: Workflow, slurm: Slurm, threads: int = 4) -> InlineEngine:
    worker = Worker(
        store,
        {"heavy": workflow},
        folder / "work",
        worker_id="head",
        beat_s=0.1,
        watch_s=0.05,
        end_batch=slurm.cancel,
    )
    return InlineEngine(worker, threads=threads, poll_s=0.1)


@pytest.fixture
def engine(cluster, store, tmp_path):
    slurm = Slurm(poll_s=0.3)
    with engine_of(store, tmp_path, heavy(slurm), slurm) as engine:
        yield engine


def test_a_batch_job_runs_to_its_end(engine, store):
    job = store.submit(ask("echo hello > out; echo 'a quote: $HOME \"'"))
    engine.run_until_idle(TIMEOUT_S)
    [attempt] = store.attempts(job.id)
    assert attempt.result == {"said": "hello\n"}
    assert attempt.batch_id.isdigit()
    assert attempt.log_path.read_text() == 'a quote: $HOME "\n'


def test_a_bad_end_is_told(engine, store):
    job = store.submit(ask("echo no such tile >&2; exit 3"))
    engine.run_until_idle(TIMEOUT_S)
    failed = store.job(job.id)
    assert failed.fault is Fault.EXIT
    assert failed.error_text.endswith("ended with exit code 3; its log ends with: no such tile")


def test_a_batch_job_that_somebody_else_ends_is_told(engine, store, cluster):
    job = store.submit(ask("touch up; sleep 600"))
    wait_for(lambda: store.attempts(job.id) and (store.attempts(job.id)[0].directory / "up").exists())
    cluster.call("scancel", store.attempts(job.id)[0].batch_id)
    engine.run_until_idle(TIMEOUT_S)
    assert "ended without an exit code: cancelled" in store.job(job.id).error_text


def test_a_cancel_ends_the_batch_job(engine, store, cluster):
    job = store.submit(ask("touch up; sleep 600"))
    wait_for(lambda: store.attempts(job.id) and (store.attempts(job.id)[0].directory / "up").exists())
    store.cancel(job.id, "ann")
    engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.CANCELLED
    wait_for(lambda: cluster.call("squeue", "--noheader", "--states=RUNNING") == "")


def test_the_controller_may_be_away_for_a_while(engine, store, cluster):
    job = store.submit(ask("sleep 2; echo back > out"))
    wait_for(lambda: store.attempts(job.id) and store.attempts(job.id)[0].batch_id)
    cluster.stop_controller()
    time.sleep(3)
    cluster.start_controller()
    engine.run_until_idle(TIMEOUT_S)
    assert store.attempts(job.id)[-1].result == {"said": "back\n"}


def wait_for(true) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _head(database: str, folder: Path, threads: int) -> None:
    store = Store(database)
    slurm = Slurm(poll_s=0.3)
    with engine_of(store, folder, heavy(slurm), slurm, threads) as engine:
        engine.run_until_idle(TIMEOUT_S)
    store.close()


@pytest.mark.parametrize("after_s", [0.5, 4.0])
def test_fifty_jobs_and_the_head_dies_in_the_middle(cluster, store, tmp_path, after_s):
    runs = tmp_path / "runs"
    for number in range(50):
        store.submit(ask(f"echo {number} >> {runs}; sleep 2; echo {number} > out", number))
    context = multiprocessing.get_context("spawn")
    head = context.Process(target=_head, args=(store.url, tmp_path, 50))
    head.start()
    wait_for(lambda: store.counts()[State.RUNNING] > 0)
    time.sleep(after_s)
    head.kill()
    head.join()
    head = context.Process(target=_head, args=(store.url, tmp_path, 50))
    head.start()
    head.join(TIMEOUT_S)
    assert head.exitcode == 0
    assert store.counts()[State.COMPLETED] == 50
    said = sorted(int(store.attempts(job.id)[-1].result["said"]) for job in store.jobs())
    assert said == list(range(50))
    assert sorted(int(line) for line in runs.read_text().split()) == list(range(50)), "a batch job ran twice"


def test_a_job_that_is_cancelled_while_its_head_is_dead_loses_its_batch_job(cluster, store, tmp_path):
    job = store.submit(ask("touch up; sleep 600"))
    context = multiprocessing.get_context("spawn")
    head = context.Process(target=_head, args=(store.url, tmp_path, 1))
    head.start()
    wait_for(lambda: store.attempts(job.id) and (store.attempts(job.id)[0].directory / "up").exists())
    head.kill()
    head.join()
    store.cancel(job.id, "ann")
    slurm = Slurm(poll_s=0.3)
    with engine_of(store, tmp_path, heavy(slurm), slurm) as engine:
        engine.run_until_idle(TIMEOUT_S)
        assert store.job(job.id).state is State.CANCELLED
        wait_for(lambda: cluster.call("squeue", "--noheader", "--states=RUNNING") == "")
    assert [attempt.outcome for attempt in store.attempts(job.id)] == [Outcome.CANCELLED]


def test_a_retry_after_a_bad_end_runs_anew(engine, store, tmp_path):
    job = store.submit(ask(f"test -e {tmp_path}/good || exit 3; echo ok > out"))
    engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).fault is Fault.EXIT
    (tmp_path / "good").touch()
    store.retry(job.id, "ann")
    engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.COMPLETED


def test_what_is_printed_is_told_and_limits_hold(cluster, store, tmp_path):
    slurm = Slurm(poll_s=0.3)
    lines = []

    def run(context):
        slurm.run(context, ["sh", "-c", "echo one; ulimit -n; ulimit -t; sleep 1"], on_line=lines.append)

    limited = Workflow("heavy", (Step("run", run, limits=Limits(memory=2**28, cpu_s=77, files=55)),))
    job = store.submit(ask(""))
    with engine_of(store, tmp_path, limited, slurm) as engine:
        engine.run_until_idle(TIMEOUT_S)
    assert lines == ["one", "55", "77"]
    assert store.job(job.id).state is State.COMPLETED


def test_a_queue_that_takes_nothing_in_is_asked_again(cluster, store, tmp_path, monkeypatch):
    """The controller takes the job, and its answer is lost: it is found by its name, not submitted twice."""
    slurm = Slurm(poll_s=0.3)
    call = slurm._call
    lost = []

    def once_lost(*argv):
        answer = call(*argv)
        if argv[0] == "sbatch" and not lost:
            lost.append(answer)
            raise ResourceError("sbatch: Socket timed out on send/recv operation")
        return answer

    monkeypatch.setattr(slurm, "_call", once_lost)
    job = store.submit(ask(f"echo x >> {tmp_path}/tries; sleep 2; echo ok > out"))
    with engine_of(store, tmp_path, heavy(slurm, retry=Retry(3, first_s=0.1)), slurm) as engine:
        engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.COMPLETED
    assert (tmp_path / "tries").read_text() == "x\n"
    assert [attempt.batch_id for attempt in store.attempts(job.id)] == [None, lost[0].strip()]
