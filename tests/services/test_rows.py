"""Rows that are kept are those that would be made anew, whatever happens to jobs."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from mwaconvert.jobs.control.states import Fault, Outcome, State
from mwaconvert.jobs.control.store import Selection, Store
from mwaconvert.jobs.control.work import Gate, Job, Product, Request
from mwaconvert.services import rows
from mwaconvert.services.rows import Row, Rows

MINE = Selection(owner="ann", kinds=("copy", "move"))


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    opened = Store(tmp_path / "jobs.db")
    yield opened
    opened.close()


class Face:
    """Makes rows of all that a face shows of a job, and counts them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.made: list[int] = []

    def __call__(self, jobs: Iterable[Job]) -> Iterator[Row]:
        for job in jobs:
            self.made.append(job.id)
            products = [product.id for product in self.store.products_of([job.id]).get(job.id, ())]
            facts = [job.id, job.state, job.step, job.error_text, job.expires, job.progress, products]
            if job.state is not State.EXPIRED:
                yield Row(job.id, (job.run, job.state), json.dumps(facts))


def submit(store: Store, number: int, kind: str = "copy", owner: str = "ann") -> Job:
    return store.submit(Request(kind, owner, {"number": number}), allow_resubmit=True)


def life_of_jobs(store: Store, folder: Path) -> Iterator[str]:
    """One change after the other, told in a word."""
    jobs = [submit(store, number) for number in range(4)]
    yield "submitted"
    submit(store, 9, owner="bob"), submit(store, 9, kind="other")
    yield "others"
    held = store.start_run(jobs[0].id, 1, "w1")
    yield "started"
    attempt = store.begin_attempt(held, "fetch", "here", folder)
    yield "step"
    store.progress(attempt, 0.5, "half")
    yield "progress"
    made = [Product(str(folder / name), 1, details={"name": name}) for name in ("a", "b")]
    store.finish_attempt(attempt, {}, made, is_last=True)
    yield "completed"
    first, second = store.products(jobs[0].id)
    store.product_removed(first.id)
    yield "one product removed"
    store.extend(jobs[0].id, 5e9, "ann")
    yield "extended"
    store.product_removed(second.id)
    yield "expired"
    store.cancel(jobs[1].id, "ann")
    yield "cancelled"
    store.hide(jobs[1].id, "ann")
    yield "hidden"
    held = store.start_run(jobs[2].id, 1, "w1")
    attempt = store.begin_attempt(held, "fetch", "here", folder)
    store.fail_attempt(attempt, Outcome.FAILED, Fault.STEP, "no")
    store.end_run(held, State.FAILED, Fault.STEP, "no")
    yield "failed"
    store.retry(jobs[2].id, "ann")
    yield "retried"
    store.open_gate(store.start_run(jobs[2].id, 2, "w1"), Gate("qa"))
    yield "waits"
    store.decide(jobs[2].id, "qa", "pass", "dora")
    yield "decided"
    store.retry(jobs[0].id, "ann", redo=["fetch"])
    yield "the oldest is back"
    store.cancel(jobs[3].id, "ann")
    store.delete_job(jobs[3].id)
    yield "forgotten"
    store.start_run(jobs[0].id, 2, "w1")
    store.reap("w1")
    yield "its worker died"


def test_what_is_kept_is_what_would_be_made(store, tmp_path):
    kept, face = Rows(store), Face(store)
    for happened in life_of_jobs(store, tmp_path):
        found, body = kept.of(MINE, "form", face)
        expected, expected_body = Rows(store).of(MINE, "form", Face(store))
        assert found == expected, happened
        assert body == expected_body, happened
        assert [facts[0] for facts in json.loads(body)] == sorted(row.job_id for row in found)
    assert found


def test_only_what_changed_is_made_anew(store):
    for number in range(20):
        submit(store, number)
    kept, face = Rows(store), Face(store)
    kept.of(MINE, "form", face)
    assert len(face.made) == 20
    kept.of(MINE, "form", face)
    submit(store, 99, owner="bob")
    kept.of(MINE, "form", face)
    assert len(face.made) == 20
    store.cancel(7, "ann")
    kept.of(MINE, "form", face)
    assert face.made[20:] == [7]


def test_users_and_forms_are_apart_and_old_ones_are_let_go(store, monkeypatch):
    for number, owner in enumerate(("ann", "bob")):
        submit(store, number, owner=owner)
    kept, face = Rows(store), Face(store)
    assert [row.job_id for row in kept.of(MINE, "numbers", face)[0]] == [1]
    assert [row.job_id for row in kept.of(Selection(owner="bob", kinds=("copy",)), "numbers", face)[0]] == [2]
    kept.of(MINE, "words", face)
    assert face.made == [1, 2, 1]
    monkeypatch.setattr(rows, "_MOST_ROWS", 1)
    kept.of(MINE, "words", face)
    assert len(kept._kept) == 1
    kept.of(MINE, "numbers", face)
    assert face.made == [1, 2, 1, 1]


def test_who_was_away_for_long_gets_all_anew(store, monkeypatch):
    submit(store, 1)
    kept, face = Rows(store), Face(store)
    kept.of(MINE, "form", face)
    monkeypatch.setattr(rows, "_FAR", 3)
    for number in range(5):
        submit(store, 10 + number, owner="bob")
    assert len(kept.of(MINE, "form", face)[0]) == 1
    assert face.made == [1, 1]
