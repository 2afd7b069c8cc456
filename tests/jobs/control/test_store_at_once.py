"""Many write at once: what one of them relies on stays true, nobody waits in a ring, and a follower misses nothing."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.states import Happening, Role, Sending, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import DuplicateError, Product, QuotaError, Quotas, Request

THREADS = 8


@pytest.fixture
def stores(database) -> Iterable[list[Store]]:
    """One for each thread, as if each were a process."""
    opened = [Store(database) for _ in range(THREADS)]
    yield opened
    for store in opened:
        store.close()


@pytest.fixture(autouse=True)
def no_ring(stores):
    """PostgreSQL would end one of those who wait for each other, and it would try again: slow, but silent."""
    yield
    if not stores[0].is_sqlite:
        asked = sa.text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert stores[0]._read(lambda c: c.execute(asked).scalar()) == 0


def at_once(stores: list[Store], action: Callable[[Store, int], Any]) -> list[Any]:
    """Results of all threads, which begin together; an error of the store in place of a result."""
    barrier = threading.Barrier(len(stores))

    def run(number: int) -> Any:
        barrier.wait(60)
        try:
            return action(stores[number], number)
        except InputError as error:
            return type(error)

    with ThreadPoolExecutor(len(stores)) as pool:
        return list(pool.map(run, range(len(stores))))


def ask(number: int, owner: str = "ann", name: str | None = None) -> Request:
    return Request("copy", owner, {"number": number}, name=name)


def test_of_many_who_submit_the_same_job_one_wins(stores):
    for round_ in range(5):
        found = at_once(stores, lambda store, _, round_=round_: store.submit(ask(round_)).id)
        assert found.count(DuplicateError) == THREADS - 1
        named = at_once(
            stores, lambda store, n, r=round_: store.submit(ask(100 * n + r + 100, name=f"n{r}")).id
        )
        assert named.count(DuplicateError) == THREADS - 1


def test_a_failed_job_is_retried_or_submitted_again_but_not_both(stores):
    for number in range(5):
        job = stores[0].submit(ask(number))
        stores[0].cancel(job.id, "ann")
        found = at_once(
            stores,
            lambda store, n, job=job, number=number: (
                (store.retry(job.id, "ann") if n % 2 else store.submit(ask(number))).id
            ),
        )
        assert sum(isinstance(result, int) for result in found) == 1


def test_quotas_hold(stores):
    quotas = Quotas(running=2, queued=3)
    stores[0].add_user("ann", Role.OPERATE, quotas)
    found = at_once(stores, lambda store, n: store.submit(ask(n)).id)
    assert found.count(QuotaError) == THREADS - 3
    ids = [job_id for job_id in found if isinstance(job_id, int)]
    started = at_once(stores, lambda store, n: store.start_run(ids[n % 3], 1, f"w{n}"))
    assert sum(job is not None for job in started) == 2
    assert stores[0].counts()[State.RUNNING] == 2


def test_a_job_whose_products_go_at_once_is_expired(stores, tmp_path):
    store = stores[0]
    for number in range(5):
        job = store.start_run(store.submit(ask(number)).id, 1, "w1")
        attempt = store.begin_attempt(job, "fetch", "here", tmp_path)
        store.finish_attempt(attempt, {}, [Product(f"p{k}", 1) for k in range(THREADS)], is_last=True)
        ids = [product.id for product in store.products(job.id)]
        at_once(stores, lambda store, n, ids=ids: store.product_removed(ids[n]))
        assert store.job(job.id).state is State.EXPIRED
        told = [event.happening for event in store.events(job_id=job.id)]
        assert told.count(Happening.PRODUCT_REMOVED) == THREADS
        assert told.count(Happening.EXPIRED) == 1


def test_a_message_is_put_in_and_taken_once(stores):
    assert at_once(stores, lambda store, _: store.enqueue_message("key", "mail", {})).count(True) == 1
    assert (
        sum(m is not None for m in at_once(stores, lambda store, n: store.claim_message("key", f"s{n}"))) == 1
    )
    for k in range(THREADS):
        stores[0].enqueue_message(f"other {k}", "sms", {})
    taken = at_once(stores, lambda store, n: store.claim_message(f"other {n}", "s", most=3, period_s=60))
    assert sum(message is not None for message in taken) == 3
    assert len(stores[0].messages(Sending.SENDING)) == 4


def test_users_switches_and_workers_of_the_same_name(stores):
    keys = at_once(stores, lambda store, _: store.add_user("ann", Role.VIEW))
    assert sum(stores[0].authenticate(key) is not None for key in keys) == 1
    at_once(stores, lambda store, n: store.register_worker("w1", "here", n + 1, "0"))
    assert len(stores[0].workers()) == 1


def life(store: Store, number: int, folder: Any) -> None:
    """All that may happen to a few jobs that others change as well."""
    for k in range(12):
        with suppress(InputError):
            job = store.submit(ask(4 * number + k % 5, owner=f"user{k % 2}"), allow_resubmit=True)
            held = store.start_run(job.id, job.run, f"w{number % 2}")
            if held is not None:
                attempt = store.begin_attempt(held, "fetch", "here", folder)
                if attempt is not None:
                    store.progress(attempt, 0.5, "half")
                    store.finish_attempt(
                        attempt, {}, [], [("m/" + str(job.id), "mail", {})], is_last=k % 2 == 0
                    )
        for job_id in range(1, 5):
            with suppress(InputError):
                store.cancel(job_id, "ann") if (k + number) % 3 else store.retry(job_id, "ann")
        if number == 0:
            store.register_worker("w0", "here", k + 1, "0")
            store.reap("w0")


def test_a_follower_misses_nothing(stores, tmp_path):
    seen: list[int] = []
    is_over = threading.Event()

    def follow() -> None:
        while True:
            was_over = is_over.is_set()
            events = stores[-1].events(seen[-1] if seen else 0, limit=7)
            seen.extend(event.seq for event in events)
            if was_over and not events:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        at_once(stores[:-1], lambda store, n: life(store, n, tmp_path))
    finally:
        is_over.set()
        follower.join()
    written = [event.seq for event in stores[0].events(limit=100_000)]
    assert len(written) > 100
    assert seen == written
    for job in stores[0].jobs(limit=None, hidden=True):
        told = [event.happening for event in stores[0].events(job_id=job.id, limit=10_000)]
        assert told[0] is Happening.SUBMITTED
        assert told.count(Happening.COMPLETED) <= 1
