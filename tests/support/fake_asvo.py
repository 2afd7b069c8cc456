"""An ASVO on loopback that says what a test tells it to say: for tests of clients, and to record them.

Not the service: it keeps no state of jobs but the rows it is given, and knows one key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import re
import ssl
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

KEY = "secret-key"
COOKIE = "MWA_JOB_COOKIE=recorded"


def job_row(
    job_id: int,
    state: str,
    obs_id: str = "1110103576",
    files: list[dict[str, Any]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """An item of the list of jobs, as the servers of API v1 give it."""
    params = {"obs_id": obs_id, "delivery": "acacia", "job_type": "conversion", "priority": 1}
    row = {
        "id": job_id,
        "user_id": 1,
        "job_type": 0,
        "job_state": state,
        "job_params": params,
        "error_code": None,
        "error_text": None,
        "created": "2026-11-29T09:00:00.000000",
        "started": None,
        "completed": None,
        "product": {"files": files} if files is not None else None,
        **more,
    }
    return {"action": "INSERT", "table": "jobs", "row": row}


@dataclass
class Recorded:
    """One request as it came."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))


@dataclass
class Script:
    """What the server says, and what it heard."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    #: one (status, JSON or text) for each submission; when there are no more, jobs are numbered
    replies: list[tuple[int, Any]] = field(default_factory=list)
    #: frames of the websocket; None drops it
    frames: queue.Queue[dict[str, Any] | str | None] = field(default_factory=queue.Queue)
    files: dict[str, bytes] = field(default_factory=dict)
    #: statuses of the next downloads; 200 is as asked; -1 ends in the middle, -2 stops there
    faults: list[int] = field(default_factory=list)
    ranges: bool = True
    #: statuses with which the next lists of jobs are refused
    list_faults: list[int] = field(default_factory=list)
    heard: list[Recorded] = field(default_factory=list)

    def heard_of(self, path: str) -> list[Recorded]:
        return [request for request in self.heard if f" {path}" in request.line]


class FakeAsvo(ThreadingHTTPServer):
    """The server; `url` is where it is."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = Script()
        self.ended = threading.Event()
        self.scheme = "http"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"

    def handle_error(self, *where: Any) -> None:
        """Clients that go away are part of the tests."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*where)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def add_file(self, name: str, data: bytes) -> dict[str, Any]:
        """Serve a file; returns what a job's product says of it."""
        self.script.files[name] = data
        url = f"{self.url}/files/{name}?Signature=abc&Expires=1"
        return {"type": "acacia", "url": url, "size": len(data), "sha1": hashlib.sha1(data).hexdigest()}


@contextmanager
def fake_asvo(tls: ssl.SSLContext | None = None) -> Iterator[FakeAsvo]:
    server = FakeAsvo(tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.script.frames.put(None)
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FakeAsvo
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._hear()
        path = urlsplit(self.path).path
        if path == "/api/get_jobs":
            if self.server.script.list_faults:
                self._json(self.server.script.list_faults.pop(0), {"error": "no"})
            else:
                self._json(200, self.server.script.jobs)
        elif path == "/api/cancel_job":
            self._json(200, "cancelled")
        elif path == "/api/job_results":
            self._websocket()
        elif path.startswith("/files/"):
            self._file(path.removeprefix("/files/"))
        else:
            self._json(404, {"error": "not found"})

    def do_POST(self) -> None:
        request = self._hear()
        if self.path == "/api/api_login":
            name, _, key = base64.b64decode(self.headers["Authorization"].split()[1]).decode().partition(":")
            if key == KEY and name:
                self._answer(200, b"ok", {"Set-Cookie": f"{COOKIE}; HttpOnly; Path=/"})
            else:
                self._answer(401, b"Invalid API key")
        elif "MWA_JOB_COOKIE" not in (self.headers["Cookie"] or ""):
            self._json(401, {"error": "log in first", "error_code": 0})
        elif self.server.script.replies:
            status, reply = self.server.script.replies.pop(0)
            self._json(status, reply)
        else:
            n = len([r for r in self.server.script.heard if "_job " in r.line and r.line.startswith("POST")])
            assert request.form["obs_id"]
            self._json(200, {"job_id": 100 + n})

    def _hear(self) -> Recorded:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Recorded(self.requestline, list(self.headers.items()), body)
        self.server.script.heard.append(request)
        return request

    def _json(self, status: int, reply: Any) -> None:
        self._answer(status, (reply if isinstance(reply, str) else json.dumps(reply)).encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _file(self, name: str) -> None:
        script = self.server.script
        fault = script.faults.pop(0) if script.faults else 200
        if fault > 200 or name not in script.files:
            self._answer(fault if fault > 200 else 404, b"no")
            return
        data, status, headers = script.files[name], 200, {}
        asked = re.search(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and script.ranges:
            first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            if first >= len(data):
                self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            data, status = data[first : last + 1], 206
        if fault < 0:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            if fault == -2:
                self.server.ended.wait()
        else:
            self._answer(status, data, headers)

    def _websocket(self) -> None:
        magic = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(magic.encode()).digest()).decode()
        self.send_response(101)
        for name, value in (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        threading.Thread(target=self._until_closed, daemon=True).start()
        while (frame := self.server.script.frames.get()) is not None:
            self._frame(1, (frame if isinstance(frame, str) else json.dumps(frame)).encode())

    def _frame(self, opcode: int, data: bytes) -> None:
        length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data))
        self.wfile.write(bytes([0x80 | opcode]) + length + data)

    def _until_closed(self) -> None:
        """Frames of the client; not by `rfile`, which could not be closed while another thread reads it."""
        try:
            while head := self.connection.recv(2):
                mask = self.connection.recv(4)
                data = bytes(b ^ mask[k % 4] for k, b in enumerate(self.connection.recv(head[1] & 0x7F)))
                if head[0] & 0x0F == 8:
                    self.server.script.heard.append(Recorded("CLOSE", [], data))
                    self._frame(8, data)
                    self.server.script.frames.put(None)
                    return
        except (OSError, ValueError):
            return
