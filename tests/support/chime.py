"""A cluster of CHIME/FRB on loopback, and the protocol of its released client as recorded from version 4.10.0."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from serving import Serving, serving

from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.control.worker import Worker
from mwaconvert.jobs.workflows.registry import workflows

IMAGES = {
    "alpine": {},
    "chimefrb/hello-world": {"entrypoint": ["echo", "hello, world"]},
    "python": {"entrypoint": ["python3"], "environment": {"COLOUR": "blue"}},
}
#: as the released client sends them
DEFAULTS = {
    "command": [],
    "arguments": [],
    "mount_archiver": True,
    "swarm_network": True,
    "job_mem_reservation": 268435456,
    "job_mem_limit": 4294967296,
    "job_cpu_limit": 1,
    "job_cpu_reservation": 1,
    "environment": {},
}


@dataclass
class Reply:
    """An answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Recorded:
    """Sends what `chime_frb_api` sends: names go into the path with spaces escaped, and nothing else."""

    url: str
    token: str | None = None
    refresh: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, body: object = None) -> Reply:
        headers = {"accept": "*/*", "user-agent": "python-requests/2.32", **self.headers}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["content-type"] = "application/json"
        if self.token is not None:
            headers["authorization"] = self.token
        address = self.url + quote(path, safe="%/:=&?~#+!$,;'@()*[]")
        request = urllib.request.Request(address, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return Reply(reply.status, reply.read(), reply.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.read(), error.headers)

    def log_in(self, username: str = "debug", password: str = "debug") -> Reply:
        reply = self.send("POST", "/auth", {"username": username, "password": password})
        if reply.status == 200:
            self.token, self.refresh = reply.json()["access_token"], reply.json()["refresh_token"]
        return reply

    def call(self, method: str, path: str, body: object = None) -> Reply:
        """A call as the client makes it: with a new token before each."""
        if self.refresh is not None:
            reply = self.send("POST", "/auth/refresh", {"refresh_token": self.refresh})
            assert reply.status == 200, reply.body
            self.token = reply.json()["access_token"]
        return self.send(method, path, body)

    def spawn(self, name: str, *command: str, image: str = "alpine", **more: object) -> Reply:
        order = {**DEFAULTS, "image_name": image, "command": list(command), "job_name": name, **more}
        return self.call("POST", "/v1/swarm/spawn-job", order)

    def status(self, pattern: str) -> dict[str, str]:
        return self.call("GET", f"/v1/swarm/job-status/{pattern}").json()

    def wait_for(self, name: str, *words: str, timeout_s: float = 60) -> str:
        """The state of a job, once it is one of these."""
        deadline = time.monotonic() + timeout_s
        while (word := self.status(name)[name]) not in words:
            assert time.monotonic() < deadline, f"{name} is {word} after {timeout_s} s"
            time.sleep(0.05)
        return word


@dataclass
class Chime:
    """A service that carries out jobs."""

    serving: Serving
    engine: InlineEngine

    @property
    def url(self) -> str:
        return self.serving.url + "/frb-master"

    def client(self, name: str = "debug", role: Role = Role.OPERATE) -> Recorded:
        """A client of a user who has logged in with the name as password."""
        if self.serving.store.user(name) is None:
            self.serving.store.add_user(name, role, secret=name)
        client = Recorded(self.url)
        assert client.log_in(name, name).status == 200
        return client

    def restart(self) -> None:
        """The worker stops, and another comes under its name."""
        self.engine.stop()
        self.engine = engine_of(self.serving)
        self.engine.start()


def engine_of(service: Serving, threads: int = 8) -> InlineEngine:
    site = service.config.site()
    work = service.config.work / "jobs"
    worker = Worker(service.store, workflows(site), work, beat_s=0.5, watch_s=0.05, end_batch=site.end_batch)
    return InlineEngine(worker, threads=threads, poll_s=0.05)


@contextmanager
def chime(folder: Path, work: Path | None = None, **settings: object) -> Iterator[Chime]:
    """A cluster, as long as the block lasts; jobs are pending for a moment only."""
    (folder / "archive").mkdir(exist_ok=True)
    part = {"images": IMAGES, "archive": "archive", "hold_s": 0.0, "cpus": 64, **settings}
    elsewhere = {} if work is None else {"work": str(work)}
    with serving(folder, chime=part, **elsewhere) as service:
        running = Chime(service, engine_of(service))
        running.engine.start()
        try:
            yield running
        finally:
            running.engine.stop()
