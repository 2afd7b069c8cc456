"""Both engines do the same: steps in order, once each, kept over retries, cancels and gates."""

import sys
import threading
import time
from collections.abc import Callable

import pytest

from mwaconvert import machine
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.jobs.control.durable import DurableEngine
from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.limits import Room
from mwaconvert.jobs.control.states import Fault, Happening, Outcome, Role, Sending, State
from mwaconvert.jobs.control.work import (
    Estimate,
    Gate,
    Limits,
    Product,
    Quotas,
    Request,
    Retry,
    Step,
    StepError,
    TransientError,
    Workflow,
)

TIMEOUT_S = 60


@pytest.fixture(params=[InlineEngine, DurableEngine], ids=["inline", "durable"])
def engine_of(request, store, worker_of):
    """Start an engine for the workflows given; it is stopped at the end of the test."""
    running = []

    def start(*workflows: Workflow, threads: int = 2, **options):
        worker = worker_of(store, {workflow.kind: workflow for workflow in workflows}, **options)
        engine = request.param(worker, threads=threads, poll_s=0.05)
        engine.start()
        running.append(engine)
        return engine

    yield start
    for engine in running:
        engine.stop()


def ask(kind: str, number: int = 0, **changes) -> Request:
    return Request(kind, changes.pop("owner", "ann"), {"number": number}, **changes)


def workflow(*parts, kind: str = "try") -> Workflow:
    return Workflow(kind, tuple(parts))


def until(true: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_steps_hand_on_their_results_and_deliver_together_with_their_end(store, engine_of):
    def fetch(context):
        (context.directory / "raw").write_text("data")
        return {"path": str(context.directory / "raw")}

    def pack(context):
        context.deliver(Product(context.results["fetch"]["path"], 4, expires=time.time() + 60))
        context.send("mail", {"to": "ann"}, "done")
        return {"seen": list(context.results)}

    engine = engine_of(workflow(Step("fetch", fetch), Step("pack", pack)))
    job = store.submit(ask("try"))
    engine.run_until_idle(TIMEOUT_S)
    done = store.job(job.id)
    assert (done.state, done.progress, done.step, done.worker) == (State.COMPLETED, 1.0, "pack", None)
    assert [(a.step, a.number, a.outcome) for a in store.attempts(job.id)] == [
        ("fetch", 1, Outcome.DONE),
        ("pack", 1, Outcome.DONE),
    ]
    assert store.attempts(job.id)[1].result == {"seen": ["fetch"]}
    [product] = store.products(job.id)
    assert done.expires == product.expires
    assert [(message.key, message.state) for message in store.messages()] == [
        (f"{job.id}/mail/done", Sending.PENDING)
    ]
    assert [event.happening for event in store.events(job_id=job.id)] == [
        Happening.SUBMITTED,
        Happening.STARTED,
        Happening.STEP_STARTED,
        Happening.STEP_ENDED,
        Happening.STEP_STARTED,
        Happening.STEP_ENDED,
        Happening.COMPLETED,
    ]


def test_only_a_transient_fault_is_tried_again(store, engine_of):
    tries = {"passing": 0, "lasting": 0}

    def passing(context):
        tries["passing"] += 1
        if tries["passing"] < 3:
            raise TransientError("bucket out of reach")
        return {"earlier": len(context.earlier)}

    def lasting(context):
        tries["lasting"] += 1
        raise StepError("disk on fire", Fault.RESOURCE)

    retry = Retry(3, first_s=0.01)
    engine = engine_of(workflow(Step("passing", passing, retry), Step("lasting", lasting, retry)))
    job = store.submit(ask("try"))
    engine.run_until_idle(TIMEOUT_S)
    failed = store.job(job.id)
    assert tries == {"passing": 3, "lasting": 1}
    assert (failed.state, failed.fault, failed.error_text) == (State.FAILED, Fault.RESOURCE, "disk on fire")
    outcomes = [attempt.outcome for attempt in store.attempts(job.id)]
    assert outcomes == [Outcome.FAILED, Outcome.FAILED, Outcome.DONE, Outcome.FAILED]


def test_a_transient_fault_that_does_not_pass_fails_the_job(store, engine_of):
    def never(context):
        raise TransientError("bucket out of reach")

    engine = engine_of(workflow(Step("never", never, Retry(2, first_s=0.01))))
    job = store.submit(ask("try"))
    engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).fault is Fault.TRANSIENT
    assert len(store.attempts(job.id)) == 2


def test_a_retry_keeps_what_is_done_and_a_rerun_begins_where_it_is_told(store, engine_of):
    done = []
    broken = threading.Event()
    broken.set()

    def second(context):
        done.append("second")
        if broken.is_set():
            raise StepError("not yet")
        return {"directory": str(context.directory)}

    parts = workflow(Step("first", lambda context: done.append("first")), Step("second", second))
    engine = engine_of(parts)
    job = store.submit(ask("try"))
    engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.FAILED
    broken.clear()
    store.retry(job.id, "ann")
    engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.COMPLETED
    assert done == ["first", "second", "second"]
    store.retry(job.id, "ann", parts.names_from("second"))
    engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.COMPLETED
    assert done == ["first", "second", "second", "second"]
    folders = {attempt.directory for attempt in store.attempts(job.id)}
    assert len(folders) == 4
    assert all(folder.is_dir() for folder in folders)


def test_faults_get_codes_and_sentences(store, engine_of):
    def refuse(context):
        raise InputError("a.csv: no such column")

    def full(context):
        raise OSError(28, "No space left on device", "/full")

    def surprise(context):
        return {}["nothing"]

    def no_json(context):
        return {"x": object()}

    kinds = {"refuse": refuse, "full": full, "surprise": surprise, "no_json": no_json}
    engine = engine_of(*[workflow(Step("only", function), kind=kind) for kind, function in kinds.items()])
    jobs = {kind: store.submit(ask(kind)) for kind in [*kinds, "unheard-of"]}
    engine.run_until_idle(TIMEOUT_S)
    found = {kind: store.job(job.id) for kind, job in jobs.items()}
    assert {kind: job.fault for kind, job in found.items()} == {
        "refuse": Fault.INPUT,
        "full": Fault.RESOURCE,
        "surprise": Fault.STEP,
        "no_json": Fault.INPUT,
        "unheard-of": Fault.KIND,
    }
    assert found["refuse"].error_text == "a.csv: no such column"
    assert found["surprise"].error_text == "KeyError: 'nothing'"
    [attempt] = store.attempts(jobs["surprise"].id)
    assert "Traceback" in attempt.log_path.read_text()


def test_a_gate_holds_no_worker_and_the_job_goes_on_with_the_answer(store, engine_of):
    runs = []
    parts = workflow(
        Step("before", lambda context: runs.append("before")),
        Gate("qa", ("pass", "fail")),
        Step("after", lambda context: {"by": context.answers["qa"].decided_by}),
    )
    engine = engine_of(parts, threads=1)
    waiting = [store.submit(ask("try", number)) for number in range(3)]
    engine.run_until_idle(TIMEOUT_S)
    assert [store.job(job.id).state for job in waiting] == [State.WAITING] * 3
    store.decide(waiting[0].id, "qa", "pass", "dora")
    store.decide(waiting[1].id, "qa", "fail", "dora")
    store.cancel(waiting[2].id, "ann")
    engine.run_until_idle(TIMEOUT_S)
    assert [store.job(job.id).state for job in waiting] == [State.COMPLETED, State.FAILED, State.CANCELLED]
    assert store.attempts(waiting[0].id)[-1].result == {"by": "dora"}
    assert runs == ["before"] * 3


def test_a_cancel_ends_the_step_that_runs(store, engine_of):
    begun = threading.Event()

    def long(context):
        begun.set()
        context.cancelled.wait(TIMEOUT_S)
        context.check()

    engine = engine_of(workflow(Step("long", long)))
    job = store.submit(ask("try"))
    assert begun.wait(TIMEOUT_S)
    store.cancel(job.id, "ann")
    engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.CANCELLED
    assert [attempt.outcome for attempt in store.attempts(job.id)] == [Outcome.CANCELLED]


def test_a_cancel_ends_the_process_group_of_the_step(store, engine_of):
    program = "import subprocess, time; subprocess.Popen(['sleep', '600']); print('up', flush=True); time.sleep(600)"
    engine = engine_of(
        workflow(Step("long", lambda context: context.run([sys.executable, "-c", program]) and None))
    )
    job = store.submit(ask("try"))
    until(lambda: any(a.pid and a.log_path.read_text() == "up\n" for a in store.attempts(job.id)))
    [attempt] = store.attempts(job.id)
    store.cancel(job.id, "ann")
    engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.CANCELLED

    assert not machine.group_members(attempt.pid)


def test_a_program_is_within_the_limits_of_its_step(store, engine_of):
    step = Step("long", lambda context: context.run(["sleep", "600"]) and None, limits=Limits(wall_s=0.2))
    engine = engine_of(workflow(step))
    job = store.submit(ask("try"))
    engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).fault is Fault.TIMEOUT
    assert store.job(job.id).error_text == "sleep took longer than the 0.2 s that it may"


def test_a_running_quota_holds_while_other_users_go_on(store, engine_of):
    store.add_user("ann", Role.OPERATE, Quotas(running=1))
    now, most, lock, two = [0], [0], threading.Lock(), threading.Barrier(2)

    def count(context):
        if context.job.owner == "bob":
            two.wait(TIMEOUT_S)
            return
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1

    engine = engine_of(workflow(Step("count", count)), threads=4)
    for number in range(6):
        store.submit(ask("try", number))
        store.submit(ask("try", number, owner="bob"))
    engine.run_until_idle(TIMEOUT_S)
    assert store.counts()[State.COMPLETED] == 12
    assert most[0] == 1


def test_the_greater_priority_comes_first(store, engine_of):
    order = []
    hold = threading.Event()

    def note(context):
        order.append(context.job.canonical["number"])
        hold.wait(TIMEOUT_S)

    engine = engine_of(workflow(Step("note", note)), threads=1)
    store.submit(ask("try", 0))
    until(lambda: order == [0])
    for number, priority in ((1, 0), (2, 7), (3, 0), (4, 9)):
        store.submit(ask("try", number, priority=priority))
    # the durable engine puts them into its queue one by one
    time.sleep(0.5)
    hold.set()
    engine.run_until_idle(TIMEOUT_S)
    assert order == [0, 4, 2, 1, 3]


def test_jobs_share_the_memory_of_a_worker(store, engine_of):
    now, most, lock = [0], [0], threading.Lock()

    def count(context):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1

    engine = engine_of(workflow(Step("count", count)), threads=4, room=Room(10))
    for number in range(4):
        store.submit(ask("try", number, estimate=Estimate(memory=6)))
    engine.run_until_idle(TIMEOUT_S)
    assert store.counts()[State.COMPLETED] == 4
    assert most[0] == 1


def test_progress_is_told_at_most_once_a_second(store, engine_of):
    def step(context):
        for number in range(100):
            context.progress(number / 100, f"{number} of 100")

    engine = engine_of(workflow(Step("step", step)))
    job = store.submit(ask("try"))
    engine.run_until_idle(TIMEOUT_S)
    told = [event for event in store.events(job_id=job.id) if event.happening is Happening.PROGRESS]
    assert 1 <= len(told) <= 5
    assert told[0].data == {"fraction": 0.0, "text": "0 of 100"}


def test_an_engine_that_stops_gives_its_jobs_back_and_another_takes_them(store, engine_of):
    begun = threading.Event()
    is_second = threading.Event()

    def long(context):
        begun.set()
        if not is_second.is_set():
            context.cancelled.wait(TIMEOUT_S)
            context.check()

    parts = workflow(Step("first", lambda context: None), Step("long", long))
    first = engine_of(parts)
    job = store.submit(ask("try"))
    assert begun.wait(TIMEOUT_S)
    is_second.set()
    first.stop()
    assert store.job(job.id).state is State.QUEUED
    engine_of(parts, worker_id="w2").run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.COMPLETED
    assert [attempt.step for attempt in store.attempts(job.id)] == ["first", "long", "long"]


def test_a_second_worker_of_the_same_id_is_refused(store, engine_of, worker_of):
    engine_of(workflow(Step("a", lambda context: None)))
    with pytest.raises(ResourceError, match="runs already"):
        worker_of(store, {}).start()


def test_waiting_for_idle_has_a_deadline(store, engine_of):
    engine = engine_of(workflow(Step("long", lambda context: context.cancelled.wait(TIMEOUT_S) and None)))
    store.submit(ask("try"))
    with pytest.raises(ResourceError, match=r"after 0\.2 s"):
        engine.run_until_idle(0.2)
