"""PostgreSQL is restarted, or loses its power, under running jobs: they end as if it had not."""

import signal
import time

import pytest
from services.postgres import Postgres, is_installed

from mwaconvert.jobs.control.durable import DurableEngine
from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.states import Outcome, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Product, Request, Step, Workflow
from mwaconvert.jobs.control.worker import Worker

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not is_installed(), reason="PostgreSQL is not installed"),
]
N_JOBS = 40


def work(context):
    time.sleep(0.1)
    context.deliver(Product(f"/nowhere/{context.job.id}", 1))
    context.send("mail", {}, "done")


@pytest.mark.parametrize("engine_class", [InlineEngine, DurableEngine])
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "power lost"])
def test_postgres_goes_and_comes_back(tmp_path, engine_class, sign):
    with Postgres(fsync=True) as postgres:
        store = Store(postgres.new_database())
        parts = Workflow("try", (Step("first", work), Step("second", lambda context: None)))
        for number in range(N_JOBS):
            store.submit(Request("try", "ann", {"number": number}))
        worker = Worker(store, {"try": parts}, tmp_path / "work", worker_id="w1", beat_s=0.2)
        engine = engine_class(worker, threads=4)
        engine.start()
        for _ in range(2):
            time.sleep(1)
            postgres.stop(sign)
            time.sleep(1)
            postgres.start()
        engine.run_until_idle(120)
        engine.stop()
        assert store.counts()[State.COMPLETED] == N_JOBS
        for job in store.jobs():
            done = [attempt.step for attempt in store.attempts(job.id) if attempt.outcome is Outcome.DONE]
            assert done == ["first", "second"]
            assert len(store.products(job.id)) == 1
        assert len(store.messages()) == N_JOBS
        store.close()
