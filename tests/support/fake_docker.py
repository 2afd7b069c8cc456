"""The API of a Docker that manages a swarm, on a socket: what services need of it, in the forms of its reference."""

from __future__ import annotations

import json
import re
import socketserver
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

#: how long each state lasts: longer than progress is held back
_STATE_S = 2.5
#: states that the task of each image goes through; the last one stays
LIVES: dict[str, list[dict[str, Any]]] = {
    "good": [
        {"State": "new"},
        {"State": "assigned"},
        {"State": "running"},
        {"State": "complete", "ContainerStatus": {"ExitCode": 0}},
    ],
    "bad": [
        {"State": "running"},
        {"State": "failed", "Err": "task: non-zero exit (3)", "ContainerStatus": {"ExitCode": 3}},
    ],
    "refused": [{"State": "rejected", "Err": "No such image: refused"}],
    "lost": [{"State": "orphaned"}],
    "slow": [{"State": "pending"}],
}


class Swarm:
    """Services that were made, by their ids."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.created: list[dict[str, Any]] = []
        self.begun: dict[str, float] = {}

    def find(self, name: str) -> str | None:
        for key, service in self.services.items():
            if key.startswith(name) or service["Spec"]["Name"] == name:
                return key
        return None

    def status(self, key: str) -> dict[str, Any]:
        life = LIVES[self.services[key]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]]
        age_s = time.monotonic() - self.begun.setdefault(key, time.monotonic())
        return life[min(int(age_s / _STATE_S), len(life) - 1)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_words: object) -> None:
        """Not on the terminal."""

    def _say(self, facts: object, status: int = 200) -> None:
        body = facts if isinstance(facts, bytes) else json.dumps(facts).encode()
        self.send_response(status)
        kind = "application/vnd.docker.raw-stream" if isinstance(facts, bytes) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _route(self) -> tuple[str, Swarm]:
        return re.sub(r"^/v[\d.]+", "", urlsplit(self.path).path), self.server.swarm  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        path, swarm = self._route()
        if path == "/version":
            self._say({"Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24"})
        elif path == "/info":
            self._say({"Swarm": {"LocalNodeState": "active", "ControlAvailable": True}})
        elif path == "/tasks":
            self._say(
                [{"ID": "t", "CreatedAt": "2026", "Status": swarm.status(key)} for key in swarm.services][-1:]
            )
        elif found := re.fullmatch(r"/services/([^/]+)(/logs)?", path):
            key = swarm.find(found[1])
            if key is None:
                self._say({"message": f"service {found[1]} not found"}, 404)
            elif found[2]:
                line = b"2026-11-29T12:00:00.123456789Z said\n"
                self._say(struct.pack(">BxxxL", 1, len(line)) + line)
            else:
                self._say(swarm.services[key])
        else:
            self._say({"message": f"no route {path}"}, 404)

    def do_POST(self) -> None:
        _, swarm = self._route()
        spec = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = uuid.uuid4().hex[:25]
        swarm.services[key] = {"ID": key, "Spec": spec, "Version": {"Index": 1}}
        swarm.created.append(spec)
        self._say({"ID": key}, 201)

    def do_DELETE(self) -> None:
        path, swarm = self._route()
        swarm.services.pop(swarm.find(path.rpartition("/")[2]) or "", None)
        self._say({})


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def fake_docker(path: Path) -> Iterator[Swarm]:
    """A manager of a swarm, as long as the block lasts."""
    swarm = Swarm()
    with _Server(str(path), _Handler) as server:
        server.swarm = swarm  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield swarm
        finally:
            server.shutdown()
            thread.join()
