"""Backup while the store is used, expiry, retention, and stores of older versions."""

import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from mwaconvert.errors import FormatError, InputError
from mwaconvert.jobs.control import schema, upkeep
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Product, Request, UnknownError


def ask(number: int) -> Request:
    return Request("try", "ann", {"number": number})


def complete(store: Store, number: int, *products: Product) -> int:
    job = store.submit(ask(number))
    job = store.start_run(job.id, job.run, "w1")
    attempt = store.begin_attempt(job, "only", "here", Path("/nowhere"))
    store.finish_attempt(attempt, {"n": number}, products, is_last=True)
    return job.id


def test_a_backup_is_one_moment_of_a_store_that_is_written_to(store, database, tmp_path, request):
    if not store.is_sqlite and upkeep.shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed")
    for number in range(20):
        complete(store, number)
    stopping = threading.Event()

    def write() -> None:
        number = 100
        while not stopping.is_set():
            store.submit(ask(number))
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        upkeep.backup(store, tmp_path / "backup")
    finally:
        stopping.set()
        writer.join()
    again = (
        request.getfixturevalue("postgres").new_database() if not store.is_sqlite else tmp_path / "again.db"
    )
    upkeep.restore(tmp_path / "backup", again)
    restored = Store(again)
    jobs = restored.jobs(limit=None)
    assert [job for job in jobs if job.state is State.COMPLETED] == store.jobs(limit=None)[-20:]
    assert len(restored.events(limit=100_000)) == 20 * 5 + len(jobs) - 20
    assert restored.attempts(1) == store.attempts(1)
    # PostgreSQL copies its sequences at another moment
    assert restored.submit(ask(-1)).id > jobs[0].id
    restored.close()


def test_what_is_no_backup_is_refused(tmp_path):
    Store(tmp_path / "jobs.db").close()
    (tmp_path / "text").write_text("no store" * 1000)
    with pytest.raises(InputError, match="restored into a new file"):
        upkeep.restore(tmp_path / "text", tmp_path / "jobs.db")
    with pytest.raises(FormatError, match="not a backup"):
        upkeep.restore(tmp_path / "text", tmp_path / "new.db")
    with pytest.raises(InputError, match="no such backup"):
        upkeep.restore(tmp_path / "none", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_products_expire_and_old_jobs_are_forgotten_with_their_folders(tmp_path):
    clock = [1000.0]
    store = Store(tmp_path / "jobs.db", now=lambda: clock[0])
    work_dir = tmp_path / "work"
    file, folder = tmp_path / "a.tar", tmp_path / "b"
    file.write_text("a")
    folder.mkdir()
    job_id = complete(
        store, 1, Product(str(file), 1, expires=1100.0), Product(str(folder), 1, expires=1200.0)
    )
    (work_dir / str(job_id)).mkdir(parents=True)
    assert store.job(job_id).expires == 1100.0
    assert upkeep.collect_garbage(store, work_dir) == []
    clock[0] = 1150.0
    assert upkeep.collect_garbage(store, work_dir) == [f"job {job_id}: removed {file}"]
    assert (file.exists(), store.job(job_id).state) == (False, State.COMPLETED)
    store.extend(job_id, 1300.0, "ann")
    clock[0] = 1250.0
    assert upkeep.collect_garbage(store, work_dir) == []
    clock[0] = 1350.0
    assert upkeep.collect_garbage(store, work_dir, keep_s=10_000) == [f"job {job_id}: removed {folder}"]
    assert store.job(job_id).state is State.EXPIRED
    assert store.submit(ask(1)).id == job_id + 1
    clock[0] = 20_000.0
    assert upkeep.collect_garbage(store, work_dir, keep_s=10_000) == [f"job {job_id}: forgotten"]
    assert not (work_dir / str(job_id)).exists()
    with pytest.raises(UnknownError):
        store.job(job_id)
    assert len(store.events(job_id=job_id)) > 5
    store.close()


def test_what_cannot_be_removed_is_told_and_tried_again(store, tmp_path):
    job_id = complete(store, 1, Product("/nowhere/a", 1, expires=1.0))

    def refuse(product):
        raise PermissionError(13, "Permission denied")

    assert upkeep.collect_garbage(store, tmp_path, remove=refuse) == [
        f"job {job_id}: /nowhere/a could not be removed: Permission denied"
    ]
    assert store.job(job_id).state is State.COMPLETED
    upkeep.collect_garbage(store, tmp_path)
    assert store.job(job_id).state is State.EXPIRED


def test_the_migrations_make_the_schema_that_the_code_expects(store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), schema.metadata)
    # alembic cannot compare an index that holds an expression, as "jobs_queue" does
    changes = [change for change in found if change[0] != "remove_table" and "jobs_queue" not in str(change)]
    assert changes == []


def _older_stores() -> list[Path]:
    return sorted(Path(__file__).with_name("stores").glob("*.sql"))


@pytest.mark.parametrize("dump", _older_stores(), ids=lambda path: path.stem)
def test_a_store_of_each_release_is_brought_up_to_date_with_all_it_holds(dump, tmp_path):
    with sqlite3.connect(tmp_path / "jobs.db") as connection:
        connection.executescript(dump.read_text())
    connection.close()
    store = Store(tmp_path / "jobs.db")
    jobs = store.jobs(limit=None)
    assert {job.state for job in jobs} == set(State) - {State.RUNNING}
    done = next(job for job in jobs if job.state is State.COMPLETED)
    assert store.attempts(done.id)[0].result == {"n": 1}
    assert store.products(done.id)[0].sha256 == "0" * 64
    assert store.job_named("waiting").state is State.WAITING
    assert store.decide(store.job_named("waiting").id, "qa", "pass", "dora").state is State.QUEUED
    assert store.authenticate("debug", name="debug").role == "approve"
    assert [message.key for message in store.messages()] == ["1/mail/"]
    assert store.events()[0].seq == 1
    with store.engine.connect() as connection:
        assert (
            connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == schema.VERSION
        )
    store.close()


def test_there_is_a_store_of_the_first_release():
    assert next(path.stem for path in _older_stores()) == "0001"


def test_a_file_that_took_the_place_of_a_product_stays(tmp_path):
    clock = [1000.0]
    store = Store(tmp_path / "jobs.db", now=lambda: clock[0])
    file = tmp_path / "a.tar"
    file.write_text("what somebody put there later")
    job_id = complete(store, 1, Product(str(file), 1, expires=1100.0))
    clock[0] = 1150.0
    (line,) = upkeep.collect_garbage(store, tmp_path / "work")
    assert line == f"job {job_id}: {file} is not what was delivered any more, so it was left"
    assert file.read_text() == "what somebody put there later"
    assert upkeep.collect_garbage(store, tmp_path / "work") == []
    assert store.job(job_id).state is State.EXPIRED
