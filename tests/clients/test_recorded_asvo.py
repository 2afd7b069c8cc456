"""The recorded clients against the programs they were recorded from, where those are installed.

MWA_CLIENT and GIANT_SQUID name the programs, if they are not in the PATH under their own names.
"""

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from fake_asvo import KEY, FakeAsvo, Recorded, fake_asvo, job_row
from recorded_asvo import FORMS, RecordedGiantSquid, RecordedMwaClient

CSV = (
    "obs_id=1110103576, job_type=c, timeres=8, freqres=40, edgewidth=80, conversion=ms, calibrate=true\n"
    "obs_id=1110103576, job_type=d, download_type=vis\n"
    "obs_id=1110103576, job_type=v, offset=0, duration=1\n"
)
SUBMITTED = [
    (
        "conversion_job",
        {
            "obs_id": "1110103576",
            "timeres": "8",
            "freqres": "40",
            "edgewidth": "80",
            "conversion": "ms",
            "calibrate": "true",
        },
    ),
    ("download_vis_job", {"obs_id": "1110103576", "download_type": "vis"}),
    ("voltage_job", {"obs_id": "1110103576", "offset": "0", "duration": "1"}),
]


def same(request: Recorded) -> tuple[str, list[tuple[str, str]], bytes]:
    """A request without what differs from run to run, and from release to release of the HTTP library."""

    def plain(name: str, value: str) -> str:
        if name == "Sec-WebSocket-Key":
            return "nonce"
        return re.sub(r"(127\.0\.0\.1):\d+|(python-requests)/.*", r"\1\2", value)

    headers = [(name, plain(name, value)) for name, value in request.headers]
    return request.line, headers, request.body


@pytest.fixture
def plain() -> Iterator[FakeAsvo]:
    with fake_asvo() as server:
        yield server


@pytest.fixture
def secure(tmp_path) -> Iterator[tuple[FakeAsvo, Path]]:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with fake_asvo(context) as server:
        yield server, tmp_path / "ca.pem"


def fill(server: FakeAsvo) -> str:
    """Three jobs that end; returns the address of their file."""
    file = server.add_file("a.tar", bytes(10240))
    server.script.jobs = [job_row(k, "completed", files=[file]) for k in (101, 102, 103)]
    for job in server.script.jobs[:1]:
        server.script.frames.put(job)
    for job in server.script.jobs[1:]:
        server.script.frames.put(job_row(job["row"]["id"], "cancelled"))
    return str(file["url"])


def replay_mwa_client(server: FakeAsvo) -> None:
    url = fill(server)
    client = RecordedMwaClient(server.url, KEY)
    assert client.login().status == 200
    assert len(client.get_jobs().json()) == 3
    for path, params in SUBMITTED:
        assert client.submit(path, params).json()["job_id"] > 100
    with client.notifier() as notifier:
        assert [notifier.recv()["row"]["id"] for _ in range(3)] == [101, 102, 103]
        assert client.download(url).body == bytes(10240)


def test_the_recorded_mwa_client(plain):
    replay_mwa_client(plain)
    assert [request.line.split()[1].partition("?")[0] for request in plain.script.heard[:-1]] == [
        "/api/api_login",
        "/api/get_jobs",
        "/api/conversion_job",
        "/api/download_vis_job",
        "/api/voltage_job",
        "/api/api_login",
        "/api/job_results",
        "/files/a.tar",
    ]
    assert plain.script.heard[-1] == Recorded("CLOSE", [], b"\x03\xe8")


def test_the_recorded_giant_squid(secure):
    server, ca = secure
    file = server.add_file("a.tar", bytes(range(256)) * 40)
    client = RecordedGiantSquid(server.url, KEY, ssl.create_default_context(cafile=str(ca)))
    assert client.login().status == 200
    assert client.get_jobs().json() == []
    for path, form in FORMS.values():
        assert client.submit(path, form).json()["job_id"] > 100
    assert client.cancel(101).status == 200
    assert client.download(file["url"]).body == bytes(range(256)) * 40
    reply = client.download_keeping(file["url"], 10240, have=256)
    assert (reply.status, reply.body) == (206, bytes(range(256)) * 39)
    assert server.script.heard[-1].headers[0] == ("range", "Range: bytes=256-10240")
    assert "content-length" not in dict(server.script.heard[0].headers)


def test_a_base_address_that_ends_in_a_slash(plain):
    RecordedGiantSquid(f"{plain.url}/", KEY).login()
    assert plain.script.heard[0].line == "POST //api/api_login HTTP/1.1"


# ------------------------------------------------------------------------------------ the real programs


def program(variable: str, name: str) -> str:
    found = os.environ.get(variable) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; name it in {variable}")
    return found


@pytest.mark.services
def test_mwa_client_sends_what_was_recorded(plain, tmp_path):
    real = program("MWA_CLIENT", "mwa_client")
    (tmp_path / "jobs.csv").write_text(CSV)
    fill(plain)
    where = {"MWA_ASVO_HOST": "127.0.0.1", "MWA_ASVO_PORT": str(plain.server_port), "MWA_ASVO_HTTPS": "0"}
    done = subprocess.run(
        [real, "-c", "jobs.csv"],
        env={**os.environ, **where, "MWA_ASVO_API_KEY": KEY},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "mwaconvert" in done.stdout:
        pytest.skip("the mwa_client in the PATH is this project's own; name the released one in MWA_CLIENT")
    sent = sorted(map(same, plain.script.heard))
    with fake_asvo() as again:
        replay_mwa_client(again)
        assert sorted(map(same, again.script.heard)) == sent


@pytest.mark.services
def test_giant_squid_sends_what_was_recorded(secure, tmp_path):
    real = program("GIANT_SQUID", "giant-squid")
    server, ca = secure
    file = server.add_file("a.tar", bytes(10240))
    server.script.jobs = [job_row(21, "completed", files=[file])]

    def run(*words: str) -> None:
        subprocess.run(
            [real, *words],
            env={
                **os.environ,
                "MWA_ASVO_HOST": server.url,
                "MWA_ASVO_API_KEY": KEY,
                "SSL_CERT_FILE": str(ca),
            },
            cwd=tmp_path,
            capture_output=True,
            check=True,
            timeout=60,
        )

    client = RecordedGiantSquid(server.url, KEY, ssl.create_default_context(cafile=str(ca)))

    def heard() -> list[tuple[str, list[tuple[str, str]], bytes]]:
        found = [same(request) for request in server.script.heard]
        server.script.heard.clear()
        return found

    for words, (path, form) in FORMS.items():
        run(*words.split(), "1110103576")
        real_requests = heard()
        client.login()
        client.submit(path, form)
        assert heard() == real_requests, words
    run("list", "-j")
    real_requests = heard()
    client.login()
    client.get_jobs()
    assert heard() == real_requests
    run("cancel", "21")
    real_requests = heard()
    client.login()
    client.cancel(21)
    assert heard() == real_requests
    (tmp_path / "a.tar").write_bytes(bytes(1000))
    run("download", "-k", "21")
    real_requests = heard()
    client.login()
    client.get_jobs()
    client.download_keeping(file["url"], 10240, have=1000)
    assert heard() == real_requests[:3]
