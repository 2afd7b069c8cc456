"""What the store promises: one wins, ids grow, events can be resumed, a lost answer does no harm."""

import dataclasses
import multiprocessing
import sqlite3
import threading
from pathlib import Path

import pytest

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.jobs.control import limits
from mwaconvert.jobs.control.states import Happening, Outcome, Role, Sending, State, Switch
from mwaconvert.jobs.control.store import Store, url_of
from mwaconvert.jobs.control.work import (
    DecidedError,
    DuplicateError,
    Estimate,
    Gate,
    Product,
    QuotaError,
    Quotas,
    Request,
    UnknownError,
)


def ask(number: int = 0, **changes) -> Request:
    return dataclasses.replace(
        Request("convert", "ann", {"number": number}, {"Number": str(number)}), **changes
    )


def started(store: Store, request: Request):
    job = store.submit(request)
    return store.start_run(job.id, job.run, "w1")


def begun(store: Store, request: Request, step: str = "only", folder: Path = Path("/nowhere")):
    job = started(store, request)
    return job, store.begin_attempt(job, step, "here", folder)


def completed(store: Store, request: Request, *products: Product):
    job, attempt = begun(store, request)
    assert store.finish_attempt(attempt, {}, products, is_last=True)
    return store.job(job.id)


def test_a_job_keeps_what_was_given_and_what_was_understood(store):
    job = store.submit(ask(7, name="seven", priority=3, estimate=Estimate(10, 2.5, 30)))
    assert store.job(job.id) == job
    assert (job.given, job.canonical) == ({"Number": "7"}, {"number": 7})
    assert (job.state, job.priority, job.estimate) == (State.QUEUED, 3, Estimate(10, 2.5, 30))
    assert store.job_named("seven") == job


def test_ids_only_grow_even_when_the_newest_job_is_forgotten(store):
    first = completed(store, ask(1))
    store.delete_job(first.id)
    assert store.submit(ask(2)).id == first.id + 1
    with pytest.raises(UnknownError, match="no job 1"):
        store.job(first.id)


def test_the_same_job_is_refused_while_it_waits_runs_or_is_done(store):
    job = store.submit(ask(1))
    for _ in ("queued", "running"):
        with pytest.raises(DuplicateError, match=f"job {job.id}") as caught:
            store.submit(ask(1), allow_resubmit=True)
        assert caught.value.job_id == job.id
        store.start_run(job.id, job.run, "w1")
    assert store.submit(ask(1, owner="bob")).id != job.id
    done = completed(store, ask(2))
    with pytest.raises(DuplicateError):
        store.submit(ask(2))
    assert store.submit(ask(2), allow_resubmit=True).id > done.id


def test_a_failed_or_cancelled_job_does_not_stand_in_the_way(store):
    job = store.submit(ask(1))
    store.cancel(job.id, "ann")
    second = store.submit(ask(1))
    with pytest.raises(DuplicateError, match=f"job {second.id}"):
        store.retry(job.id, "ann")


def test_keys_and_their_order_do_not_make_another_job(store):
    store.submit(ask(canonical={"a": 1, "b": 2}))
    with pytest.raises(DuplicateError):
        store.submit(ask(canonical={"b": 2, "a": 1}))


def test_a_name_is_free_again_once_its_job_is_hidden(store):
    job = store.submit(ask(1, name="mine"))
    with pytest.raises(DuplicateError, match="named 'mine'"):
        store.submit(ask(2, name="mine"))
    with pytest.raises(InputError, match="cancel it first"):
        store.hide(job.id, "ann")
    store.cancel(job.id, "ann")
    store.hide(job.id, "ann")
    store.hide(job.id, "ann")
    assert store.submit(ask(2, name="mine")).name == "mine"
    assert [listed.id for listed in store.jobs()] == [job.id + 1]
    assert [listed.id for listed in store.jobs(hidden=True)] == [job.id + 1, job.id]


def _submit_many(path: str, results) -> None:
    store = Store(path)
    for number in range(20):
        try:
            results.put(("won", store.submit(ask(number)).id))
        except DuplicateError as error:
            results.put(("told", error.job_id))
    store.close()


def test_of_two_processes_that_submit_the_same_one_wins_and_the_other_is_told(database):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    both = [context.Process(target=_submit_many, args=(database, results)) for _ in range(2)]
    for process in both:
        process.start()
    answers = [results.get(timeout=60) for _ in range(40)]
    for process in both:
        process.join(60)
    won = sorted(job_id for answer, job_id in answers if answer == "won")
    assert won == sorted(job_id for answer, job_id in answers if answer == "told")
    assert len(won) == 20


def test_parameters_must_be_plain_json(store):
    with pytest.raises(InputError, match="plain JSON"):
        store.submit(ask(canonical={"a": float("nan")}))
    with pytest.raises(InputError, match="plain JSON"):
        store.submit(ask(given={"a": object()}))


def test_quotas_are_those_of_the_user_and_say_their_numbers(store):
    store.add_user("ann", Role.OPERATE, Quotas(running=1, queued=2, disk=3_000_000_000))
    store.submit(ask(1))
    store.submit(ask(2))
    with pytest.raises(QuotaError, match="2 jobs wait already, and the quota is 2"):
        store.submit(ask(3))
    store.cancel(2, "ann")
    with pytest.raises(QuotaError, match=r"this one 3\.1 GB: more than the quota of 3 GB"):
        store.submit(ask(3, estimate=Estimate(output=3_100_000_000)))
    store.submit(ask(4, estimate=Estimate(output=2_000_000_000)))


def test_products_and_promises_fill_the_disk(store):
    store.add_user("ann", Role.OPERATE, Quotas(disk=100))
    completed(store, ask(1), Product("/nowhere/a", 60))
    store.submit(ask(2, estimate=Estimate(output=30)))
    with pytest.raises(QuotaError, match="quota"):
        store.submit(ask(3, estimate=Estimate(output=20)))
    store.product_removed(store.products(1)[0].id)
    store.submit(ask(3, estimate=Estimate(output=20)))


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (Estimate(memory=9_000_000_000), "needs 9 GB of memory, more than the 8 GB"),
        (Estimate(time_s=90_000), "needs about 25 hours, more than the 24 hours"),
        (Estimate(output=2_000_000_000), "writes 2 GB, more than the 1 GB"),
    ],
)
def test_a_job_that_no_machine_can_carry_is_refused_with_the_numbers(store, estimate, words):
    capacity = limits.Capacity(memory=8_000_000_000, time_s=86_400, output=1_000_000_000)
    with pytest.raises(QuotaError, match=words):
        store.submit(ask(estimate=estimate), capacity=capacity)
    assert store.jobs() == []


def test_the_queue_goes_by_priority_then_age_within_the_running_quota(store):
    store.add_user("ann", Role.OPERATE, Quotas(running=2))
    jobs = [store.submit(ask(n, priority=p)) for n, p in enumerate([0, 5, 0, 5])]
    other = store.submit(ask(9, owner="bob"))
    assert [job.id for job in store.next_queued(10)] == [jobs[1].id, jobs[3].id, other.id]
    assert store.start_run(jobs[1].id, 1, "w1") is not None
    assert [job.id for job in store.next_queued(10, skip=[other.id])] == [jobs[3].id]
    assert store.start_run(jobs[3].id, 1, "w1") is not None
    assert store.start_run(jobs[0].id, 1, "w1") is None
    assert store.job(jobs[0].id).state is State.QUEUED


def test_pages_follow_each_other(store):
    ids = [store.submit(ask(n)).id for n in range(7)]
    first = store.jobs(limit=3)
    second = store.jobs(limit=3, before=first[-1].id)
    assert [job.id for job in first + second] == ids[:0:-1]
    assert store.counts()[State.QUEUED] == 7
    assert store.counts(owner="bob")[State.QUEUED] == 0
    assert store.jobs(states=[State.RUNNING]) == []


def test_cancel_is_at_once_or_asked_for_and_never_twice(store):
    queued = store.submit(ask(1))
    assert store.cancel(queued.id, "ann").state is State.CANCELLED
    seq = store.last_seq()
    assert store.cancel(queued.id, "ann").state is State.CANCELLED
    running = started(store, ask(2))
    assert store.cancel(running.id, "ann").cancel_requested
    before = store.last_seq()
    store.cancel(running.id, "ann")
    assert (before, seq) == (store.last_seq(), seq)
    assert store.to_be_ended({running.id: running.run}) == {running.id: True}
    done = completed(store, ask(3))
    with pytest.raises(InputError, match="is completed already"):
        store.cancel(done.id, "ann")
    with pytest.raises(UnknownError):
        store.cancel(99, "ann")


def test_what_a_run_writes_after_its_job_was_taken_away_is_refused(store):
    job, attempt = begun(store, ask(1))
    store.register_worker("w1", "here", 1, "x")
    assert store.reap("w1") == [job.id]
    assert not store.finish_attempt(
        attempt, {"late": True}, [Product("/late", 1)], [("k", "mail", {})], is_last=True
    )
    store.end_run(job, State.FAILED)
    store.progress(attempt, 0.5, "late")
    now = store.job(job.id)
    assert (now.state, now.run, now.progress) == (State.QUEUED, 2, 0.0)
    assert store.products(job.id) == []
    assert store.messages() == []
    assert [a.outcome for a in store.attempts(job.id)] == [Outcome.LOST]
    assert store.begin_attempt(job, "only", "here", Path("/nowhere")) is None


def test_a_worker_that_beats_is_not_reaped(store):
    store.register_worker("w1", "here", 1, "x")
    job = started(store, ask(1))
    assert store.beat("w1", 1, "x")
    assert store.reap("w1", beats=0) is None
    assert store.reap("w1", beats=1) == [job.id]
    assert store.reap("w1", beats=1) is None
    assert not store.beat("w1", 1, "x")


def test_the_cancel_of_a_dead_worker_is_carried_out_by_the_one_that_reaps_it(store):
    job = started(store, ask(1))
    store.cancel(job.id, "ann")
    store.reap("w1")
    assert store.job(job.id).state is State.CANCELLED


def test_a_finish_that_is_repeated_counts_once(store):
    job, attempt = begun(store, ask(1))
    for _ in range(2):
        assert store.finish_attempt(attempt, {"n": 1}, [Product("/a", 1)], [("k", "mail", {})])
    assert len(store.products(job.id)) == 1
    assert [message.key for message in store.messages()] == ["k"]
    ended = [event for event in store.events(job_id=job.id) if event.happening is Happening.STEP_ENDED]
    assert len(ended) == 1


def test_a_gate_takes_one_answer(store):
    job = started(store, ask(1))
    store.open_gate(job, Gate("qa", ("pass", "fail"), ("fail",)))
    assert store.job(job.id).state is State.WAITING
    assert [gate.job_id for gate in store.open_gates()] == [job.id]
    with pytest.raises(InputError, match="takes pass, fail, not 'maybe'"):
        store.decide(job.id, "qa", "maybe", "dora")
    with pytest.raises(UnknownError, match="waits at no gate 'arm'"):
        store.decide(job.id, "arm", "pass", "dora")
    assert store.decide(job.id, "qa", "pass", "dora", "clean").state is State.QUEUED
    with pytest.raises(DecidedError, match="dora has answered gate qa of job 1 before: pass"):
        store.decide(job.id, "qa", "fail", "emil")
    [decision] = store.decisions(job.id)
    assert (decision.answer, decision.decided_by, decision.why) == ("pass", "dora", "clean")
    assert store.open_gates() == []


def test_of_many_who_decide_at_once_one_wins(store):
    job = started(store, ask(1))
    store.open_gate(job, Gate("qa"))
    won, told = [], []

    def decide(who: str) -> None:
        try:
            store.decide(job.id, "qa", "pass", who)
            won.append(who)
        except DecidedError:
            told.append(who)

    threads = [threading.Thread(target=decide, args=(f"da{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(told)) == (1, 7)
    assert store.decisions(job.id)[0].decided_by == won[0]


def test_an_answer_that_stops_fails_the_job_and_a_retry_asks_again(store):
    job = started(store, ask(1))
    store.open_gate(job, Gate("qa"))
    failed = store.decide(job.id, "qa", "fail", "dora", "stripes")
    assert (failed.state, failed.error_text) == (State.FAILED, "dora answered gate qa with fail: stripes")
    again = store.retry(job.id, "dora")
    store.open_gate(store.start_run(again.id, again.run, "w1"), Gate("qa"))
    assert store.decide(job.id, "qa", "pass", "emil").state is State.QUEUED


def test_a_job_that_is_completed_runs_again_only_from_a_named_step(store):
    job = completed(store, ask(1))
    with pytest.raises(InputError, match="name the step"):
        store.retry(job.id, "ann")
    assert store.retry(job.id, "ann", ["only"]).run == job.run + 1
    assert [attempt.superseded for attempt in store.attempts(job.id)] == [True]
    with pytest.raises(InputError, match="only a job that has ended"):
        store.retry(job.id, "ann")


def test_events_are_resumed_after_the_last_seen(store):
    job = store.submit(ask(1))
    seen = store.events()
    store.cancel(job.id, "ann", "changed my mind")
    [new] = store.events(after=seen[-1].seq)
    assert (new.happening, new.state, new.data) == (
        Happening.CANCELLED,
        State.CANCELLED,
        {"by": "ann", "why": "changed my mind"},
    )
    assert store.events(owner="bob") == []
    assert store.last_seq() == new.seq


def test_keys_are_hashed_and_revoked(store, tmp_path):
    key = store.add_user("ann", Role.OPERATE, details={"group": "mwasci"})
    password_user = store.add_user("debug", Role.APPROVE, secret="debug")
    assert password_user == "debug"
    assert store.authenticate(key).details == {"group": "mwasci"}
    assert store.authenticate("debug", name="debug").name == "debug"
    for wrong in (key + "x", "debug", "", key.split(".")[0], "no.such"):
        assert store.authenticate(wrong) is None
    assert store.authenticate(key, name="debug") is None
    store.revoke_user("ann")
    assert store.authenticate(key) is None
    with pytest.raises(UnknownError):
        store.revoke_user("ann")
    for file in tmp_path.iterdir():
        assert key.encode() not in file.read_bytes()


def test_the_switch_stands_on_test_until_it_is_set_and_again_when_its_time_is_over(tmp_path):
    clock = [1000.0]
    store = Store(tmp_path / "jobs.db", now=lambda: clock[0])
    assert store.switch() is Switch.TEST
    store.set_switch(Switch.LIVE, "ann", "observing", until=1010.0)
    assert store.switch() is Switch.LIVE
    clock[0] = 1011.0
    assert store.switch() is Switch.TEST
    store.close()


def test_a_message_is_claimed_once_and_one_that_was_being_sent_needs_a_person(store):
    assert store.enqueue_message("m", "mail", {"to": "ann"})
    assert not store.enqueue_message("m", "mail", {"to": "ann"})
    assert store.claim_message("m", "w1").tries == 1
    assert store.claim_message("m", "w2") is None
    assert store.abandon_messages("w1") == 1
    assert store.message("m").state is Sending.UNKNOWN
    store.resend("m", "ann")
    assert store.claim_message("m", "w2").tries == 2
    store.settle_message("m", Sending.SENT, "250 ok")
    assert store.message("m").answer == "250 ok"
    with pytest.raises(InputError):
        store.resend("m", "ann")


def test_a_locked_database_is_waited_for_then_named(tmp_path):
    store = Store(tmp_path / "jobs.db", patience_s=0.2)
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    other.execute("PRAGMA busy_timeout=0")
    other.execute("BEGIN IMMEDIATE")
    done = []
    waiting = threading.Thread(target=lambda: done.append(store.submit(ask(1))))
    waiting.start()
    waiting.join(0.5)
    assert done == []
    other.execute("ROLLBACK")
    waiting.join(30)
    assert done[0].id == 1
    other.close()
    store.close()


def test_a_folder_that_is_not_there_and_a_newer_store_are_refused(tmp_path):
    with pytest.raises(InputError, match="make it first"):
        Store(tmp_path / "none" / "jobs.db")
    Store(tmp_path / "jobs.db").close()
    with sqlite3.connect(tmp_path / "jobs.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(Exception, match="written by a newer version") as caught:
        Store(tmp_path / "jobs.db")
    assert not isinstance(caught.value, ResourceError)


def test_urls():
    assert url_of("postgres://u@h/db") == url_of("postgresql://u@h/db") == "postgresql+psycopg://u@h/db"
    assert url_of("/a/b.db") == "sqlite:////a/b.db"
    assert url_of("sqlite:///x.db") == "sqlite:///x.db"


def test_products_of_many_jobs_and_one(store):
    ids = [completed(store, ask(k), Product(f"/p/{k}", 10 + k)).id for k in range(3)]
    (first,) = store.products(ids[0])
    assert store.product(first.id) == first
    store.product_removed(first.id)
    assert {job_id: [p.size for p in found] for job_id, found in store.products_of(ids).items()} == {
        ids[1]: [11],
        ids[2]: [12],
    }
    assert store.products_of([]) == {}
    with pytest.raises(UnknownError):
        store.product(999)


def test_a_user_by_name(store):
    store.add_user("ann", Role.VIEW)
    assert store.user("ann").role is Role.VIEW
    assert store.user("bob") is None
    store.revoke_user("ann")
    assert store.user("ann") is None
