"""What operators see: logs as JSON lines, and numbers for Prometheus."""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from mwaconvert.jobs.control.store import Store

_JOB = re.compile(r"\bjobs? (\d+)")
_FIELDS = ("job_id", "state", "step", "user", "method", "path", "status", "ms", "request_id")
_SECRETS = re.compile(
    r"(?i)((?:signature|authorization|cookie|api[_-]?key|password|token)\"?\s*[=:]\s*)\S+|(://[^/\s:@]+:)[^@\s]+(?=@)"
)


def without_secrets(text: str) -> str:
    """A text of a log in which what opens doors is left out."""
    return _SECRETS.sub(lambda found: (found[1] or found[2]) + "***", text)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        message = without_secrets(record.getMessage())
        facts: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        found = _JOB.search(message)
        if found:
            facts["job_id"] = int(found[1])
        given = {name: getattr(record, name, None) for name in _FIELDS}
        facts |= {name: value for name, value in given.items() if value is not None}
        if record.exc_info:
            facts["error"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(facts, default=str)


def log_as_json(level: int = logging.INFO) -> None:
    """All logs of this process go to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("mwaconvert").setLevel(level)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


class Metrics:
    """Numbers of one service, in a registry of its own."""

    def __init__(self, store: Store, work: Path) -> None:
        self.registry = CollectorRegistry()
        labels = ["method", "route", "status"]
        self.requests = Counter("mwaconvert_requests", "Requests", labels, registry=self.registry)
        self.seconds = Histogram(
            "mwaconvert_request_seconds", "Time to answer", ["route"], registry=self.registry
        )
        self.registry.register(_Jobs(store, work))


class _Jobs:
    """Looked up when Prometheus asks."""

    def __init__(self, store: Store, work: Path) -> None:
        self._store = store
        self._work = work

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        jobs = GaugeMetricFamily("mwaconvert_jobs", "Jobs by state", labels=["state"])
        for state, count in self._store.counts().items():
            jobs.add_metric([state.value], count)
        yield jobs
        alive = sum(record.alive for record in self._store.workers())
        yield GaugeMetricFamily("mwaconvert_workers", "Workers that are alive", value=alive)
        if self._work.is_dir():
            free = shutil.disk_usage(self._work).free
            yield GaugeMetricFamily("mwaconvert_free_bytes", "Room on the disk of attempts", value=free)
