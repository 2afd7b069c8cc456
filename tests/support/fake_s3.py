"""A bucket on loopback: as much of the S3 protocol as a store needs that puts, gets, lists and deletes.

Signatures are not looked at. `down` makes it answer nothing, as a machine that is being restarted.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape


class FakeS3(ThreadingHTTPServer):
    """One bucket named `bucket`; its objects and their metadata are attributes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.uploads: dict[str, tuple[dict[str, str], dict[int, bytes]]] = {}
        self.requests: list[str] = []
        self.down = False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def fake_s3() -> Iterator[FakeS3]:
    server = FakeS3()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FakeS3
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _dispatch(self) -> None:
        address = urlsplit(self.path)
        self.key = unquote(address.path).removeprefix("/bucket").lstrip("/")
        self.query = {k: v[0] for k, v in parse_qs(address.query, keep_blank_values=True).items()}
        body = self._body()
        self.server.requests.append(f"{self.command} {self.key}")
        if self.server.down:
            self.close_connection = True
            self.connection.close()
            return
        getattr(self, f"on_{self.command.lower()}")(body)

    do_GET = do_PUT = do_POST = do_HEAD = _dispatch

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _meta(self) -> dict[str, str]:
        return {k.lower(): v for k, v in self.headers.items() if k.lower().startswith("x-amz-meta-")}

    def on_put(self, body: bytes) -> None:
        if "uploadId" in self.query:
            self.server.uploads[self.query["uploadId"]][1][int(self.query["partNumber"])] = body
        else:
            self.server.objects[self.key] = body, self._meta()
        self._answer(200, ETag='"0"')

    def on_post(self, body: bytes) -> None:
        if "uploads" in self.query:
            number = str(len(self.server.uploads))
            self.server.uploads[number] = self._meta(), {}
            text = f"<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>{escape(self.key)}</Key>"
            self._answer(200, f"{text}<UploadId>{number}</UploadId></InitiateMultipartUploadResult>".encode())
        elif "delete" in self.query:
            keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
            for key in keys:
                self.server.objects.pop(unescape(key), None)
            rows = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            self._answer(200, f"<DeleteResult>{rows}</DeleteResult>".encode())
        else:
            meta, parts = self.server.uploads.pop(self.query["uploadId"])
            self.server.objects[self.key] = b"".join(parts[k] for k in sorted(parts)), meta
            text = f"<CompleteMultipartUploadResult><Key>{escape(self.key)}</Key><ETag>0</ETag>"
            self._answer(200, f"{text}</CompleteMultipartUploadResult>".encode())

    def on_get(self, _: bytes) -> None:
        if self.query.get("list-type") == "2":
            self._list()
            return
        if self.key not in self.server.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        data, meta = self.server.objects[self.key]
        headers = {**meta, "ETag": '"0"', "Last-Modified": "Sun, 29 Nov 2026 09:00:00 GMT"}
        if self.command == "HEAD":
            headers["Content_Length"] = str(len(data))
        self._answer(200, data, **headers)

    on_head = on_get

    def _list(self) -> None:
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
            "<LastModified>2026-11-29T09:00:00.000Z</LastModified><ETag>0</ETag></Contents>"
            for key, (data, _) in sorted(self.server.objects.items())
            if key.startswith(self.query.get("prefix", ""))
        )
        self._answer(
            200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()
        )
