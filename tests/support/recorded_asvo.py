"""The released ASVO clients as they were recorded on the wire: mwa_client 2.0.1 and giant-squid 2.5.1.

Requests are written byte by byte to a socket, in the headers, their order and their spelling of those programs,
with what is odd about them: giant-squid's login has no Content-Length and its header names are in lower case, a
download that may be resumed says `Range: Range: bytes=...` with an end one past the last byte, base addresses
that end in / give `//api`. `test_recorded_asvo.py` compares them with the programs, where those are installed.

    client = RecordedMwaClient("http://127.0.0.1:8778", key)
    client.login()
    client.submit("conversion_job", {"obs_id": "1110103576", "timeres": "8"}).json()
    with client.notifier() as notifier:
        frame = notifier.recv()
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

_TIMEOUT_S = 30.0
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Reply:
    """What a server answered; names of headers in lower case, the last of each."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class _Wire:
    """One connection for each request, as bytes."""

    def __init__(self, url: str, key: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._tls = tls if parts.scheme == "https" else None
        self._address = parts.hostname, parts.port
        self._path = parts.path
        self.host = f"{parts.hostname}:{parts.port}"
        self.key = key
        self.cookie: str | None = None

    def connect(self) -> socket.socket:
        raw = socket.create_connection(self._address, timeout=_TIMEOUT_S)
        return self._tls.wrap_socket(raw, server_hostname=self._address[0]) if self._tls else raw

    def send(self, line: str, headers: list[tuple[str, str]], body: bytes = b"") -> Reply:
        with self.connect() as connection:
            connection.sendall(request_bytes(line, headers) + body)
            response = HTTPResponse(connection, method=line.partition(" ")[0])
            try:
                response.begin()
                data = response.read()
            finally:
                response.close()
            found = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, found, data)

    def basic(self, user: str) -> str:
        return "Basic " + base64.b64encode(f"{user}:{self.key}".encode()).decode()

    def keep_cookie(self, reply: Reply) -> Reply:
        """Remember what a login set."""
        if "set-cookie" in reply.headers:
            self.cookie = reply.headers["set-cookie"].partition(";")[0]
        return reply


def request_bytes(line: str, headers: list[tuple[str, str]]) -> bytes:
    """Head of a request."""
    return ("\r\n".join([line, *(f"{name}: {value}" for name, value in headers)]) + "\r\n\r\n").encode(
        "latin-1"
    )


class RecordedMwaClient(_Wire):
    """mwa_client 2.0.1, with requests 2.34 and websocket-client 1.9."""

    user = "mantaray-clientv2.0"

    def _headers(self, cookie: bool = True) -> list[tuple[str, str]]:
        headers = [
            ("Host", self.host),
            ("User-Agent", "python-requests/2.34.2"),
            ("Accept-Encoding", "gzip, deflate"),
            ("Accept", "*/*"),
            ("Connection", "keep-alive"),
        ]
        return [*headers, ("Cookie", self.cookie)] if cookie and self.cookie else headers

    def login(self) -> Reply:
        headers = [
            *self._headers(cookie=False),
            ("Content-Length", "0"),
            ("Authorization", self.basic(self.user)),
        ]
        return self.keep_cookie(self.send("POST /api/api_login HTTP/1.1", headers))

    def get_jobs(self) -> Reply:
        return self.send("GET /api/get_jobs HTTP/1.1", self._headers())

    def submit(self, path: str, params: Mapping[str, str]) -> Reply:
        """Submit; path is conversion_job, download_vis_job or voltage_job. Keys keep their order."""
        body = urlencode(
            {**params, **({} if "allow_resubmit" in params else {"allow_resubmit": "false"})}
        ).encode()
        form = [("Content-Length", str(len(body))), ("Content-Type", "application/x-www-form-urlencoded")]
        return self.send(f"POST /api/{path} HTTP/1.1", [*self._headers(), *form], body)

    def cancel(self, job_id: int) -> Reply:
        """Of its Python API alone."""
        return self.send(f"GET /api/cancel_job?job_id={job_id} HTTP/1.1", self._headers())

    def download(self, url: str) -> Reply:
        """Without a cookie; the whole file."""
        parts = urlsplit(url)
        return self.send(f"GET {parts.path}?{parts.query} HTTP/1.1", self._headers(cookie=False))

    def notifier(self) -> RecordedNotifier:
        """The websocket; the client has logged in a second time before."""
        self.login()
        return RecordedNotifier(self)


class RecordedNotifier:
    """The websocket of mwa_client, as websocket-client 1.9 speaks it."""

    def __init__(self, client: RecordedMwaClient) -> None:
        self._socket = client.connect()
        self._rest = b""
        nonce = base64.b64encode(os.urandom(16)).decode()
        headers = [
            ("Upgrade", "websocket"),
            ("Host", client.host),
            ("Origin", f"{'https' if client._tls else 'http'}://{client.host}"),
            ("Sec-WebSocket-Key", nonce),
            ("Sec-WebSocket-Version", "13"),
            ("Connection", "Upgrade"),
            ("Cookie", client.cookie or ""),
        ]
        self._socket.sendall(request_bytes("GET /api/job_results HTTP/1.1", headers))
        head = b""
        while b"\r\n\r\n" not in head:
            data = self._socket.recv(4096)
            if not data:
                break
            head += data
        head, _, self._rest = head.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        fields = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if self.status == 101:
            accept = base64.b64encode(hashlib.sha1((nonce + _GUID).encode()).digest()).decode()
            assert fields["sec-websocket-accept"] == accept
            assert fields["upgrade"].lower() == "websocket"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def recv(self, timeout_s: float = _TIMEOUT_S) -> dict[str, Any] | None:
        """The next frame; None when the connection is gone. Pings are answered."""
        self._socket.settimeout(timeout_s)
        while True:
            try:
                opcode, data = self._frame()
            except (ConnectionError, EOFError):
                return None
            if opcode == 9:
                self._send(10, data)
            elif opcode == 8:
                return None
            elif opcode == 1:
                frame: dict[str, Any] = json.loads(data)
                return frame

    def close(self) -> None:
        """Goodbye with code 1000; the server's goodbye is waited for."""
        try:
            self._send(8, struct.pack("!H", 1000))
            self._socket.settimeout(3)
            while self._frame()[0] != 8:
                pass
        except (OSError, EOFError):
            pass
        self._socket.close()

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._read(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._read(8))
        return first & 0x0F, self._read(length)

    def _read(self, n_bytes: int) -> bytes:
        while len(self._rest) < n_bytes:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError
            self._rest += data
        found, self._rest = self._rest[:n_bytes], self._rest[n_bytes:]
        return found

    def _send(self, opcode: int, data: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[k % 4] for k, byte in enumerate(data))
        self._socket.sendall(bytes([0x80 | opcode, 0x80 | len(data)]) + mask + masked)


class RecordedGiantSquid(_Wire):
    """giant-squid 2.5.1. Its base address may end in /, which gives paths that begin with //."""

    user = "giant-squidv2.5.1"

    def _headers(self, *first: tuple[str, str], cookie: bool = True) -> list[tuple[str, str]]:
        headers = [*first, ("accept", "*/*"), ("user-agent", "mwa_giant_squid/2.5.1")]
        if cookie and self.cookie:
            headers.append(("cookie", self.cookie))
        return [*headers, ("host", self.host)]

    def login(self) -> Reply:
        """No length of the body, which is empty."""
        headers = self._headers(("authorization", self.basic(self.user)), cookie=False)
        return self.keep_cookie(self.send(f"POST {self._path}/api/api_login HTTP/1.1", headers))

    def get_jobs(self) -> Reply:
        return self.send(f"GET {self._path}/api/get_jobs HTTP/1.1", self._headers())

    def submit(self, path: str, params: Mapping[str, str]) -> Reply:
        """Submit; path as in `FORMS`. Keys are sorted."""
        body = urlencode(sorted(params.items())).encode()
        form = ("content-type", "application/x-www-form-urlencoded"), ("content-length", str(len(body)))
        return self.send(f"POST {self._path}/api/{path} HTTP/1.1", self._headers(*form), body)

    def cancel(self, job_id: int) -> Reply:
        return self.send(f"GET {self._path}/api/cancel_job?job_id={job_id} HTTP/1.1", self._headers())

    def download(self, url: str) -> Reply:
        """The whole file, unpacked as it comes; with the cookie."""
        parts = urlsplit(url)
        return self.send(f"GET {parts.path}?{parts.query} HTTP/1.1", self._headers())

    def download_keeping(self, url: str, n_bytes: int, have: int = 0) -> Reply:
        """With -k: the rest of a file of which there are `have` bytes. The end is one past the last byte."""
        parts = urlsplit(url)
        headers = self._headers(("range", f"Range: bytes={have}-{n_bytes}"))
        return self.send(f"GET {parts.path}?{parts.query} HTTP/1.1", headers)


_GIANT_SQUID = {"allow_resubmit": "false", "delivery": "acacia", "obs_id": "1110103576"}
_VOLTAGES = {**_GIANT_SQUID, "delivery": "scratch", "download_type": "volt", "duration": "8", "offset": "0"}
_CONVERSION = {**_GIANT_SQUID, "avg_freq_res": "80", "flag_edge_width": "80", "output": "uvfits"}
#: what giant-squid posts for its subcommands and their options: words -> (path, form)
FORMS: dict[str, tuple[str, dict[str, str]]] = {
    "submit-conv": ("conversion_job", _CONVERSION),
    "submit-conv -p avg_time_res=8,output=ms -r": (
        "conversion_job",
        {**_CONVERSION, "avg_time_res": "8", "output": "ms", "allow_resubmit": "true"},
    ),
    "submit-vis": ("download_vis_job", {**_GIANT_SQUID, "download_type": "vis"}),
    "submit-meta": ("download_vis_job", {**_GIANT_SQUID, "download_type": "vis_meta"}),
    "submit-volt -d scratch -o 0 -u 8": ("voltage_job", _VOLTAGES),
    "submit-volt -d scratch -o 0 -u 8 -f 109 -t 110": (
        "voltage_job",
        {**_VOLTAGES, "channel_range": "true", "from_channel": "109", "to_channel": "110"},
    ),
    "submit-bf": ("beamformer_job", _GIANT_SQUID),
    "submit-image": ("imaging_job", {**_CONVERSION, "output_mode": "fits"}),
}
