"""An NGAS on loopback: as much of its protocol, and as many of its traps, as a store meets.

The same name again is a new version; two copies of each file; RETRIEVE serves any copy and verifies none; CHECKFILE
says SUCCESS of a damaged file and tells the truth in its message; LIKE takes _ for any character; a file that is gone
from a disk drops the connection, and its check is refused. `test_real_ngas.py` asks a real server the same.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import quoteattr

DISKS = ("disk1", "disk2")
USER = ("ann", "s/cret")


@dataclass
class Copy:
    disk: str
    version: int
    data: bytes | None
    crc: int


class FakeNgas(ThreadingHTTPServer):
    """`files` holds the copies of each file; `put` counts; `down` makes it drop every connection.

    `asks_who` lets in `USER` alone; what `elsewhere` has, a request is sent on to.
    """

    daemon_threads = True
    disks = DISKS

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, list[Copy]] = {}
        self.puts = 0
        self.down = False
        self.asks_who = False
        self.elsewhere: FakeNgas | None = None

    @property
    def address(self) -> str:
        return f"ngas://127.0.0.1:{self.server_port}"

    @property
    def names(self) -> list[str]:
        return list(self.files)

    def keep(self, name: str, data: bytes) -> int:
        """A new version of a file, on each disk."""
        copies = self.files.setdefault(name, [])
        version = max((copy.version for copy in copies), default=0) + 1
        copies += [Copy(disk, version, data, zlib.crc32(data)) for disk in DISKS]
        return version

    def corrupt(self, name: str, disk: str) -> None:
        for copy in self.files[name]:
            if copy.disk == disk:
                copy.data = b"rotten" + copy.data[6:]

    def repair(self, name: str, disk: str) -> None:
        """Bring the bytes of the other disk."""
        (good,) = [copy.data for copy in self.files[name] if copy.disk != disk]
        for copy in self.files[name]:
            copy.data = good

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def fake_ngas() -> Iterator[FakeNgas]:
    server = FakeNgas()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FakeNgas

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, body: bytes, status: int = 200, mime: str = "text/xml") -> None:
        self.send_response(status)
        self.send_header("Content-Type", mime)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _status(self, status: str, message: str, http: int = 200, more: str = "") -> None:
        text = (
            '<?xml version="1.0" ?>\n'
            f'<!DOCTYPE NgamsStatus SYSTEM "{self.server.address}/RETRIEVE?internal=ngamsStatus.dtd">\n'
            f"<NgamsStatus><Status Date='2026-01-01T00:00:00.000' Message={quoteattr(message)} "
            f"Status='{status}' Version='12'/>{more}</NgamsStatus>"
        )
        self._answer(text.encode(), http)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if self.server.down:
            self.connection.close()
            return
        if self.server.asks_who and not self._is_known():
            self._status("FAILURE", "Unauthorized request received", 401)
            return
        if self.server.elsewhere is not None and parts.path != "/QUERY":
            self.send_response(303)
            self.send_header("Location", self.server.elsewhere.address.replace("ngas", "http", 1) + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        {"/QUERY": self._query, "/RETRIEVE": self._retrieve, "/CHECKFILE": self._check}[parts.path](query)

    def _is_known(self) -> bool:
        word = base64.b64encode(":".join(USER).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {word}"

    def _query(self, query: dict[str, str]) -> None:
        pattern = "".join(
            "." if c == "_" else ".*" if c == "%" else re.escape(c) for c in query.get("like", "%")
        )
        rows = [
            {
                "disk_id": copy.disk,
                "file_id": name,
                "file_version": copy.version,
                "file_size": len(copy.data or b""),
                "file_status": "00000000",
            }
            for name, copies in self.server.files.items()
            if re.fullmatch(pattern, name)
            for copy in copies
        ]
        self._answer(json.dumps(rows).encode(), mime="application/json")

    def _found(self, query: dict[str, str]) -> Copy | None:
        copies = self.server.files.get(query["file_id"], [])
        version = int(query.get("file_version", 1))
        return next(
            (c for c in copies if c.version == version and query.get("disk_id", c.disk) == c.disk),
            None,
        )

    def _retrieve(self, query: dict[str, str]) -> None:
        copy = self._found(query)
        if copy is None:
            self._status("FAILURE", f"NGAMS_ER_UNAVAIL_FILE:4019:ERROR: {query['file_id']}", 400)
        elif copy.data is None:
            self.connection.close()
        else:
            self._answer(copy.data, mime="application/octet-stream")

    def _check(self, query: dict[str, str]) -> None:
        copy = self._found(query)
        if copy is None or copy.data is None:
            self._status("FAILURE", f"NGAMS_ER_UNAVAIL_FILE:4019:ERROR: {query['file_id']}", 400)
        elif zlib.crc32(copy.data) != copy.crc:
            self._status(
                "SUCCESS", f"NGAMS_ER_FILE_NOK:4057:ERROR: {query['file_id']}: Inconsistent checksum found."
            )
        else:
            self._status("SUCCESS", f"NGAMS_INFO_FILE_OK:4000:INFO: {query['file_id']}")

    def do_POST(self) -> None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.down:
            self.connection.close()
            return
        name = query["file_id"]
        version = self.server.keep(name, data)
        self.server.puts += 1
        more = (
            f"<DiskStatus DiskId='disk1'><FileStatus FileId={quoteattr(name)} FileVersion='{version}' "
            f"Checksum='{zlib.crc32(data)}' ChecksumPlugIn='crc32'/></DiskStatus>"
        )
        self._status("SUCCESS", "Successfully handled Archive Push Request for data file", more=more)
