"""Stores and workers for the tests of the control plane."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.worker import Worker


@pytest.fixture(scope="session")
def postgres():
    from services.postgres import Postgres, is_installed

    if not is_installed():
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def database(request, tmp_path: Path) -> str:
    """A database that is empty: a path or a URL."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres").new_database()
    return str(tmp_path / "jobs.db")


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


@pytest.fixture
def worker_of(tmp_path: Path) -> Callable[..., Worker]:
    def make(store: Store, registry: dict, **options) -> Worker:
        settings = {"worker_id": "w1", "beat_s": 0.1, "watch_s": 0.02, "lease_s": 1.0, **options}
        return Worker(store, registry, tmp_path / "work", **settings)

    return make
