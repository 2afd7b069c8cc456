"""What the service refuses: wrong keys, forged cookies, other sites, hostile names, oversized and broken requests."""

import json
import logging
import os
import socket
import struct
from collections.abc import Iterator

import pytest
from itsdangerous import URLSafeTimedSerializer
from recorded_asvo import RecordedMwaClient, RecordedNotifier
from serving import OBSID, SECRET, Serving, serving

from mwaconvert.errors import InputError
from mwaconvert.services.auth import Sessions
from mwaconvert.services.signing import Links, Verdict, service_secret
from mwaconvert.services.telemetry import JsonLines, without_secrets

VIS = {"obs_id": OBSID, "download_type": "vis"}


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("service"), server={"port": 0, "max_body": 4096}) as running:
        yield running


@pytest.fixture
def client(service, request) -> RecordedMwaClient:
    client = RecordedMwaClient(service.url, service.user(request.node.name[:60]))
    client.login()
    return client


def ask(service: Serving, line: str, *headers: tuple[str, str], body: bytes = b"") -> int:
    client = RecordedMwaClient(service.url, "")
    return client.send(f"{line} HTTP/1.1", [("Host", client.host), *headers], body).status


@pytest.mark.parametrize("key", ["wrong", "", "x" * 5000, "a\0b", "0123456789ab.zzz", "schlüssel"])
def test_wrong_keys(service, key):
    client = RecordedMwaClient(service.url, key)
    reply = client.login()
    assert reply.status == 401
    assert "set-cookie" not in reply.headers
    assert client.get_jobs().status == 401


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Bearer abc", "Basic " + "A" * 20000, "Basic w7w="])
def test_broken_credentials(service, header):
    assert ask(service, "POST /api/api_login", ("Authorization", header), ("Content-Length", "0")) == 401


def test_a_revoked_key_ends_its_sessions(service, client, request):
    assert client.get_jobs().status == 200
    service.store.revoke_user(request.node.name[:60])
    assert client.get_jobs().status == 401
    assert client.login().status == 401


def test_a_new_key_ends_the_sessions_of_the_old_one(service, client, request):
    service.user(request.node.name[:60])
    assert client.get_jobs().status == 401


def test_forged_cookies(service, client):
    name, _, value = client.cookie.partition("=")
    forged = URLSafeTimedSerializer(b"another secret", salt="session").dumps(["root", "1.0", "x", "y"])
    for cookie in (value[:-2], value + "x", forged, "", "x" * 5000, "é"):
        client.cookie = f"{name}={cookie}"
        assert client.get_jobs().status == 401
    assert client.submit("download_vis_job", VIS).status == 401


def test_each_login_has_a_session_of_its_own(client):
    first = client.cookie
    client.login()  # the cookie of before is not taken over: nobody can fix a session for somebody else
    assert client.cookie != first


def test_sessions_end(service):
    now = service.store.now()
    sessions = Sessions(service.store, SECRET, life_s=0)
    session, cookie = sessions.log_in(service.user("short"), "x")
    assert session.user.created >= now - 60
    sessions = Sessions(service.store, SECRET, life_s=100)
    assert sessions.open(cookie) is not None
    sessions.log_out(session)
    assert sessions.open(cookie) is None


def test_requests_of_other_sites(service, client):
    cookie = ("Cookie", client.cookie)
    elsewhere = ("Origin", "http://evil.example")
    form = ("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "40")
    body = b"obs_id=1412607288&download_type=vis_meta"
    assert ask(service, "POST /api/download_vis_job", cookie, elsewhere, *form, body=body) == 403
    assert ask(service, "POST /api/download_vis_job", cookie, ("Origin", "null"), *form, body=body) == 403
    fetched = ("Sec-Fetch-Site", "cross-site")
    assert ask(service, "GET /api/cancel_job?job_id=1", cookie, fetched) == 403
    assert ask(service, "GET /api/get_jobs", cookie, fetched) == 403
    own = ("Origin", service.url)
    assert ask(service, "POST /api/download_vis_job", cookie, own, *form, body=body) == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
def test_websockets_of_other_sites_or_of_nobody(service, client, origin):
    if origin is None:
        client.cookie = "MWA_JOB_COOKIE=forged"
    else:
        client = Elsewhere(service.url, client.key, origin)
        client.login()
    notifier = RecordedNotifier(client)
    notifier._socket.close()
    assert notifier.status == 403


class Elsewhere(RecordedMwaClient):
    """Says another origin in its websocket."""

    def __init__(self, url: str, key: str, origin: str) -> None:
        super().__init__(url, key)
        self.origin = origin

    def connect(self) -> socket.socket:
        plain = super().connect()
        return _Replaced(plain, f"Origin: http://{self.host}".encode(), f"Origin: {self.origin}".encode())


class _Replaced:
    """A socket that sends other words."""

    def __init__(self, plain: socket.socket, before: bytes, after: bytes) -> None:
        self._plain, self._before, self._after = plain, before, after

    def sendall(self, data: bytes) -> None:
        self._plain.sendall(data.replace(self._before, self._after))

    def __getattr__(self, name: str):
        return getattr(self._plain, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._plain.close()


HOSTILE = [
    "../../etc/passwd",
    "1412607288/../..",
    "1412607288\0",
    "1412607288\n",
    "１４１２６０７２８８",
    "-412607288",
    "1e9",
    "'; DROP TABLE jobs; --",
    "$(reboot)",
    "9" * 4000,
    "",
]


@pytest.mark.parametrize("obs_id", HOSTILE)
def test_hostile_obsids(client, obs_id):
    reply = client.submit("download_vis_job", {**VIS, "obs_id": obs_id})
    assert reply.status == 400
    assert reply.json()["error_code"] == 0


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("conversion_job", {"obs_id": OBSID, "output": "../x"}),
        ("conversion_job", {"obs_id": OBSID, "timeres": "nan"}),
        ("conversion_job", {"obs_id": OBSID, "timeres": "1e400"}),
        ("conversion_job", {"obs_id": OBSID, "--rfi": "x"}),
        ("download_vis_job", {**VIS, "delivery": "/etc"}),
        ("download_vis_job", {**VIS, "delivery": "dug"}),
        ("download_vis_job", {**VIS, "group": "root"}),
        ("download_vis_job", {**VIS, "expiry_days": "inf"}),
        ("voltage_job", {"obs_id": OBSID, "offset": "-1", "duration": "8"}),
        ("download_vis_job", {f"key{k}": "x" for k in range(200)}),
    ],
)
def test_hostile_parameters(client, path, params):
    reply = client.submit(path, params)
    assert (reply.status, reply.json()["error_code"]) == (400, 0), reply.body


@pytest.mark.parametrize("job_id", ["0", "-1", "99999999999999999999", "x", "1;2", ""])
def test_hostile_job_ids(service, client, job_id):
    assert ask(service, f"GET /api/cancel_job?job_id={job_id}", ("Cookie", client.cookie)) == 400


@pytest.mark.parametrize(
    "path",
    [
        "/files/1/../../service.key",
        "/files/1/..%2f..%2fservice.key",
        "/files/x/y",
        "/files/1/%00",
        "/../jobs.db",
        "/files//etc/passwd",
    ],
)
def test_hostile_paths(service, path):
    assert ask(service, f"GET {path}") in (400, 403, 404)


def test_links_lead_nowhere_but_to_products(service, client):
    """Even what is signed rightly is looked up in the store, and stays under its root."""
    job_id = client.submit("download_vis_job", VIS).json()["job_id"]
    product = service.complete(job_id, b"x")
    links = Links(SECRET)
    for name in ("../work/service.key", "other.tar"):
        query = "&".join(f"{k}={v}" for k, v in links.query(product.id, name, 2**33).items())
        assert ask(service, f"GET /files/{product.id}/{name.replace('/', '%2f')}?{query}") == 404
    (service.folder / "outside").write_text("secret")
    there = service.folder / "products" / product.details["name"]
    there.unlink()
    there.symlink_to(service.folder / "outside")
    query = "&".join(f"{k}={v}" for k, v in links.query(product.id, product.details["name"], 2**33).items())
    assert ask(service, f"GET /files/{product.id}/{product.details['name']}?{query}") == 404
    there.unlink()


def test_bodies_that_are_too_large(service, client):
    cookie = ("Cookie", client.cookie)
    assert client.submit("download_vis_job", {**VIS, "x": "y" * 5000}).status == 413
    chunk = b"1000\r\n" + b"z" * 4096 + b"\r\n"
    chunked = ("Transfer-Encoding", "chunked")
    assert (
        ask(service, "POST /api/download_vis_job", cookie, chunked, body=chunk + chunk + b"0\r\n\r\n") == 413
    )
    assert ask(service, "POST /api/download_vis_job", cookie, ("Content-Length", "-5")) == 400


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xff\xff\xff\xff\xff",  # reserved bits
        b"\x81\x05hello",  # without a mask
        b"\x81\xff" + struct.pack("!Q", 2**62) + b"abcd",  # a length that nobody has
        b"\x89\xfe\x01\x00" + b"abcd" + bytes(256),  # a ping that is too long
        b"\x81\x82abcd" + bytes(c ^ m for c, m in zip(b"\xc3\x28", b"ab", strict=True)),  # no UTF-8
        b"\x82\x81abcd" + bytes([1 ^ ord("a")]),  # bytes where text was expected
    ],
)
def test_broken_websocket_frames(service, client, frame):
    notifier = client.notifier()
    notifier._socket.sendall(frame)
    client.submit("download_vis_job", VIS)
    notifier.recv()
    notifier.close()
    assert client.get_jobs().status == 200  # and the service lives


def test_a_connection_that_says_nothing_right(service, client):
    for data in (b"\0" * 100, b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n"):
        with socket.create_connection(client._address, timeout=10) as raw:
            raw.sendall(data)
            assert raw.recv(4096)[:10] in (b"HTTP/1.1 3", b"HTTP/1.1 4")
    assert client.get_jobs().status == 200


def test_the_secret_of_a_service(tmp_path):
    path = tmp_path / "service.key"
    secret = service_secret(path)
    assert len(secret) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert service_secret(path) == secret
    path.chmod(0o644)
    with pytest.raises(InputError, match="other users can read"):
        service_secret(path)


def test_links_are_of_one_product_until_they_end():
    links = Links(b"secret", now=lambda: 1000.0)
    good = links.query(7, "a.tar", 2000)
    assert links.check(7, "a.tar", **good) is Verdict.GOOD
    assert links.check(7, "b.tar", **good) is Verdict.WRONG
    assert links.check(7, "a.tar", "3000", good["signature"]) is Verdict.WRONG
    assert Links(b"other").check(7, "a.tar", **good) is Verdict.WRONG
    assert links.check(7, "a.tar", **links.query(7, "a.tar", 999)) is Verdict.OVER


def test_logs_have_job_ids_and_no_secrets():
    record = logging.LogRecord(
        "x", logging.INFO, "", 0, "job 7: GET /files?signature=abc Authorization: Basic-xyz", None, None
    )
    facts = json.loads(JsonLines().format(record))
    assert facts["job_id"] == 7
    assert "abc" not in facts["message"]
    assert "xyz" not in facts["message"]
    assert without_secrets("postgresql://ann:geheim@host/db") == "postgresql://ann:***@host/db"


def test_what_the_service_logs_of_a_login_and_a_download(service, client, caplog):
    job_id = client.submit("download_vis_job", VIS).json()["job_id"]
    service.complete(job_id, b"x")
    with caplog.at_level(logging.INFO, "mwaconvert"):
        client.login()
        (url,) = [item["row"]["product"]["files"][0]["url"] for item in client.get_jobs().json()]
        assert client.download(url).body == b"x"
    text = "\n".join(JsonLines().format(record) for record in caplog.records)
    assert "/api/api_login" in text
    for secret in (client.key, client.cookie.partition("=")[2], url.partition("signature=")[2]):
        assert secret not in text


def test_health_and_metrics(service):
    client = RecordedMwaClient(service.url, "")
    head = [("Host", client.host)]
    health = client.send("GET /health HTTP/1.1", head)
    assert (health.status, health.json()["status"]) == (200, "ok")
    text = client.send("GET /metrics HTTP/1.1", head).body.decode()
    assert 'mwaconvert_jobs{state="queued"}' in text
    assert 'mwaconvert_requests_total{method="GET",route="/health",status="200"}' in text
    assert os.sep + "products" not in text
