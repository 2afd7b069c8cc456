"""Stores and workers for the tests of the control plane."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.worker import Worker


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "jobs.db")
    yield store
    store.close()


@pytest.fixture
def worker_of(tmp_path: Path) -> Callable[..., Worker]:
    def make(store: Store, registry: dict, **options) -> Worker:
        settings = {"worker_id": "w1", "beat_s": 0.1, "watch_s": 0.02, "lease_s": 1.0, **options}
        return Worker(store, registry, tmp_path / "work", **settings)

    return make
