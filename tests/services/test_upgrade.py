"""A newer service takes the place of one under running jobs, and upgrades its store: nothing is lost or doubled."""

import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from recorded_asvo import RecordedMwaClient
from serving import OBSID

from mwaconvert.jobs.control import schema
from mwaconvert.jobs.control.states import Outcome, Role, State
from mwaconvert.jobs.control.store import Store

pytestmark = pytest.mark.services
STORE_OF_LAST_RELEASE = Path(__file__).parents[1] / "jobs" / "control" / "stores" / "0001.sql"
#: works on the store as it is, as the last release did
OLD_PROGRAM = (
    "import sys; from mwaconvert.jobs.control import schema; schema.VERSION = '0001';"
    "from mwaconvert.cli.main import main; main(sys.argv[1:])"
)
NEW_PROGRAM = "import sys; from mwaconvert.cli.main import main; main(sys.argv[1:])"
N_JOBS = 6


@contextmanager
def running(program: str, *words: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def end(process: subprocess.Popen[str], sign: signal.Signals) -> None:
    process.send_signal(sign)
    assert process.wait(60) == (0 if sign is signal.SIGTERM else -sign)


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 240
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def version(database: Path) -> str:
    with sqlite3.connect(database) as connection:
        (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    return found


def conversion(number: int) -> dict[str, str]:
    return {"obs_id": OBSID, "centre": "custom", "phase_centre_ra": f"{number}.0", "phase_centre_dec": "-27"}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL], ids=["ended", "killed"])
def test_a_newer_service_takes_over(tmp_path, small: Path, sign, monkeypatch):
    database = tmp_path / "jobs.db"
    with sqlite3.connect(database) as connection:
        connection.executescript(STORE_OF_LAST_RELEASE.read_text())
    connection.close()
    shutil.copytree(small.parent, tmp_path / "raw" / OBSID)
    config = tmp_path / "mwaconvert.toml"
    config.write_text(
        'database = "jobs.db"\nwork = "work"\nraw = ["raw"]\n[delivery]\npackages = "products"\n'
        '[server]\nport = 0\n[workers]\nhere = 1\nid = "here"\n'
    )
    monkeypatch.setattr(
        schema, "VERSION", "0001"
    )  # the store of this process must not be the one that upgrades
    store = Store(database)
    before = {job.id: job.state for job in store.jobs(limit=None)}
    key = store.add_user("ann", Role.OPERATE)
    service = ("serve", "--config", str(config))
    beside = ("worker", "--config", str(config), "--id", "beside", "--at-once", "1")
    log = tmp_path / "log"
    with running(OLD_PROGRAM, *service, log=log) as old, running(OLD_PROGRAM, *beside, log=log) as old_beside:
        client = RecordedMwaClient(old.stdout.readline().split()[-1], key)
        assert client.login().status == 200
        ids = [client.submit("conversion_job", conversion(n)).json()["job_id"] for n in range(N_JOBS)]
        wait_for(
            lambda: (
                {job.worker for job in store.jobs(states=[State.RUNNING]) if job.step == "convert"}
                == {"here", "beside"}
            )
        )
        assert version(database) == "0001"
        end(old, sign)
        with running(NEW_PROGRAM, *service, log=log) as new:
            cookie = client.cookie
            client = RecordedMwaClient(new.stdout.readline().split()[-1], key)
            client.cookie = cookie
            assert version(database) == "0002"
            listed = {item["row"]["id"] for item in client.get_jobs().json()}  # the session goes on
            assert set(ids) <= listed
            ids.append(client.submit("conversion_job", conversion(N_JOBS)).json()["job_id"])
            end(old_beside, sign)
            with running(NEW_PROGRAM, *beside, log=log) as new_beside:
                wait_for(lambda: all(store.job(job_id).state.is_terminal for job_id in ids))
                end(new_beside, signal.SIGTERM)
            end(new, signal.SIGTERM)
    for job_id in ids:
        job = store.job(job_id)
        assert job.state is State.COMPLETED, job.error_text
        done = Counter(a.step for a in store.attempts(job_id) if a.outcome is Outcome.DONE)
        assert done == dict.fromkeys(("stage", "convert", "check", "package", "deliver"), 1)
        (product,) = store.products(job_id)
        assert hashlib.sha256(Path(product.path).read_bytes()).hexdigest() == product.sha256
        told = [event.happening for event in store.events(job_id=job_id, limit=10_000)]
        assert told.count("submitted") == told.count("completed") == 1
    assert len(list((tmp_path / "products").glob("*.tar"))) == len(ids)
    kept = {job_id: store.job(job_id).state for job_id, state in before.items() if state.is_terminal}
    assert kept == {job_id: state for job_id, state in before.items() if state.is_terminal}
    with store.engine.connect() as connection:
        assert "events_owner" in {index["name"] for index in sa.inspect(connection).get_indexes("events")}
    store.close()
