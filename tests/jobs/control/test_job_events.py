"""A subscriber misses nothing and sees nothing twice, in whatever process things happen."""

import multiprocessing
import threading

from mwaconvert.jobs.control.events import follow
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Request


def test_follow_sees_what_comes_and_resumes(store):
    store.submit(Request("try", "ann", {"n": 0}))
    stream = follow(store)
    first = next(stream)
    later = threading.Timer(0.1, lambda: store.submit(Request("try", "ann", {"n": 1})))
    later.start()
    second = next(stream)
    later.join()
    assert (first.job_id, second.job_id) == (1, 2)
    assert next(follow(store, after=first.seq)).seq == second.seq


def test_follow_ends_when_it_is_told_to(store):
    stopping = threading.Event()
    stopping.set()
    assert list(follow(store, stopping=stopping)) == []


def _submit(path: str, who: str) -> None:
    store = Store(path)
    for number in range(100):
        store.submit(Request("try", who, {"n": number}))
    store.close()


def test_numbers_grow_in_the_order_in_which_they_are_seen(store, tmp_path):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_submit, args=(store.url, who)) for who in ("ann", "bob")]
    for process in both:
        process.start()
    seen = []
    for event in follow(store, poll_s=0.001):
        seen.append(event.seq)
        if len(seen) == 200:
            break
    for process in both:
        process.join(60)
    assert seen == list(range(1, 201))
