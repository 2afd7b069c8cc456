"""mwa_client: the lines, codes and error file that the released one was recorded with, and what is better."""

import hashlib
import io
import json
import re
import signal
import ssl
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from fake_asvo import KEY, FakeAsvo, fake_asvo, job_row

from mwaconvert.clients import mwa_client
from mwaconvert.clients.asvo import get_pretty_version_string

BANNER = get_pretty_version_string()


def tar_bytes(name: str = "1110103576.metafits", data: bytes = b"meta") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[FakeAsvo]:
    with fake_asvo() as running:
        for name in ("MWA_ASVO_PORT", "MWA_ASVO_HTTPS", "SSL_VERIFY", "ASVO_USER", "ASVO_PASS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("MWA_ASVO_HOST", running.url)
        monkeypatch.setenv("MWA_ASVO_API_KEY", KEY)
        monkeypatch.chdir(tmp_path)
        yield running


@pytest.fixture
def run(capsys, server):
    """Run the program; returns its code and lines, without those of the connection."""

    def runner(*words: str, whole: bool = False) -> tuple[int, list[str]]:
        with pytest.raises(SystemExit) as ended:
            mwa_client.main(words)
        lines = capsys.readouterr().out.splitlines()
        if not whole:
            lines = [line for line in lines if line != BANNER and "onnect" not in line]
        return int(ended.value.code or 0), lines

    return runner


def write_jobs(*lines: str) -> str:
    Path("jobs.csv").write_text("\n".join(lines) + "\n")
    return "jobs.csv"


JOBS = (
    "obs_id=1110103576, job_type=c, timeres=8, freqres=40, edgewidth=80, conversion=ms, calibrate=true",
    "obs_id=1110103576, job_type=d, download_type=vis",
    "obs_id=1110103576, job_type=v, offset=0, duration=1",
)


# ------------------------------------------------------------------------------------------------ list


def test_list_as_recorded_with_the_released_client(run, server):
    states = [
        "queued",
        "waitcal",
        "staging",
        "staged",
        "downloading",
        "preprocessing",
        "delivering",
        "cancelled",
    ]
    server.script.jobs = [job_row(k, state) for k, state in enumerate(states, 1)]
    server.script.jobs += [
        job_row(20, "error", error_text="No files found."),
        job_row(21, "completed", files=[server.add_file("a.tar", bytes(10240))]),
        job_row(
            22, "completed", job_type=3, files=[{"type": "scratch", "path": "/scratch/x/asvo/22", "size": 10}]
        ),
    ]
    code, lines = run("-l", whole=True)
    assert code == 0
    assert lines == [
        BANNER,
        f"Connecting to MWA ASVO (127.0.0.1:{server.server_port})...",
        "Connected to MWA ASVO",
        "Queued: Job id: 1 Obs id: 1110103576 type: conversion",
        "Waiting for calibration: Job id: 2 Obs id: 1110103576 type: conversion",
        "Staging: Job id: 3 Obs id: 1110103576 type: conversion",
        "Staged: Job id: 4 Obs id: 1110103576 type: conversion",
        "Retrieving Files from Archive: Job id: 5 Obs id: 1110103576 type: conversion",
        "Preprocessing: Job id: 6 Obs id: 1110103576 type: conversion",
        "Delivering: Job id: 7 Obs id: 1110103576 type: conversion",
        "Cancelled: Job id: 8 Obs id: 1110103576 type: conversion",
        "Error: No files found. Job id: 20 Obs id: 1110103576 type: conversion",
        "Ready for Download: Job id: 21 Obs id: 1110103576 type: conversion size: 10240 bytes",
        "Ready on /scratch: Job id: 22 Obs id: 1110103576 type: download_voltage "
        "path: /scratch/x/asvo/22, size: 10 bytes",
        "mwa_client finished successfully",
    ]
    code, lines = run("-l", "-v")
    params = "{'obs_id': '1110103576', 'delivery': 'acacia', 'job_type': 'conversion', 'priority': 1}"
    assert lines[0] == f"Queued: Job id: 1 Obs id: 1110103576 type: conversion typeid: 0 params: {params}"


def test_states_nobody_knows_and_rows_with_little_in_them(run, server):
    server.script.jobs = [
        job_row(1, "preparing"),
        job_row(2, "dreaming", job_type=99),
        job_row(3, "completed"),
        {"row": {"id": 4}},
    ]
    code, lines = run("-l")
    assert code == 0
    assert [line.split(":")[0] for line in lines[:4]] == [
        "Preparing",
        "Dreaming",
        "Ready for Download",
        "Unknown",
    ]


def test_no_jobs(run, server):
    assert run("-l") == (0, ["You have no jobs.", "mwa_client finished successfully"])
    assert run("-w", "all")[1] == [
        "You have no jobs that are ready to download.",
        "mwa_client finished successfully",
    ]


def test_a_list_as_json_holds_no_signed_address(run, server):
    server.script.jobs = [job_row(21, "completed", files=[server.add_file("a.tar", b"x")])]
    code, lines = run("-l", "--json", whole=True)
    text = "\n".join(line for line in lines if not line.startswith('{"event"'))
    assert code == 0
    assert json.loads(text)[0]["job_id"] == 21
    assert "Signature" not in text


# ----------------------------------------------------------------------------------------- submissions


def test_submit_posts_what_the_released_client_posts(run, server):
    assert run("-c", write_jobs(*JOBS), "-s") == (
        0,
        [
            "Submitted job: 101 ",
            "Submitted job: 102 ",
            "Submitted job: 103 ",
            "mwa_client finished successfully",
        ],
    )
    assert [(r.line.split()[1], r.body.decode()) for r in server.script.heard if "_job " in r.line] == [
        (
            "/api/conversion_job",
            "obs_id=1110103576&timeres=8&freqres=40&edgewidth=80&conversion=ms&calibrate=true&allow_resubmit=false",
        ),
        ("/api/download_vis_job", "obs_id=1110103576&download_type=vis&allow_resubmit=false"),
        ("/api/voltage_job", "obs_id=1110103576&offset=0&duration=1&allow_resubmit=false"),
    ]
    run("-c", "jobs.csv", "-s", "-ar")
    assert server.script.heard[-1].form["allow_resubmit"] == "true"


def test_refusals_show_in_the_exit_code(run, server):
    refusals = [
        (400, {"error": "Bad obs", "error_code": 0}),
        (400, {"error": "Job already queued, processing or complete", "error_code": 2, "job_id": 21}),
        (400, {"error": "odd", "error_code": 7}),
        (500, "<html>broken</html>"),
    ]
    lines = [
        "Skipping: job #1 - Bad obs.",
        "Skipping: 21 already running or complete.",
        "Skipping: job #3 - odd.",
        "Skipping: job #4 - HTTP 500 <html>broken</html>.",
        "Submitted job: 105 ",
    ]
    write_jobs(*JOBS[1:2] * 5)
    server.script.replies = list(refusals)
    assert run("-c", "jobs.csv", "-s") == (4, lines)
    server.script.replies = list(refusals)
    code, found = run("-c", "jobs.csv", "-s", "--compat-exit")
    assert (code, found[:4]) == (0, lines[:4])


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("-c", "jobs.csv"), 3, "Error: job_type cell not defined, Line num: 3"),
        (("-c", "empty.csv"), 1, "Error: No jobs to submit"),
        ((), 1, "Error: csvfile not specified"),
        (("-s",), 1, "Error: csvfile not specified"),
        (("-l", "-d", "/nope"), 1, "Error: Output directory /nope is invalid."),
        (("-c", "absent.csv"), 1, "Error: absent.csv: No such file or directory"),
    ],
)
def test_mistakes(run, words, code, line):
    write_jobs("", "# x", "obs_id=1110103576")
    Path("empty.csv").write_text("\n# x\n")
    assert run(*words) == (code, [line])


def test_all_problems_of_a_job_file_are_told_before_anything_is_sent(run, server):
    code, lines = run("-c", write_jobs("obs_id=1", *JOBS, "job_type=x"))
    assert code == 3
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["1", "5"]
    assert server.script.heard == []


@pytest.mark.parametrize("words", [("-w", "x"), ("-w", "-3"), ("-l", "-s"), ("--parallel", "0")])
def test_wrong_options(run, words):
    assert run(*words)[0] == 2


def test_a_wrong_key(run, server, monkeypatch):
    monkeypatch.setenv("MWA_ASVO_API_KEY", "wrong")
    assert run("-l") == (2, ["Invalid API key"])
    monkeypatch.delenv("MWA_ASVO_API_KEY")
    code, lines = run("-l")
    assert code == 1
    assert lines[0].startswith("[ERROR] MWA_ASVO_API_KEY env variable not defined.")


# ------------------------------------------------------------------------------------------- downloads


def test_a_job_is_fetched_once(run, server):
    data = tar_bytes()
    file = server.add_file("1110103576_21_ms.tar", data)
    server.script.jobs = [job_row(21, "completed", files=[file])]
    code, lines = run("-w", "21")
    url = file["url"].partition("?")[0]
    assert (code, lines) == (
        0,
        [
            f"Downloading: Job id: 21 file: {url} size: 10240 bytes",
            f"Download complete: Job id: 21 file: 1110103576_21_ms.tar server-sha1: {file['sha1']}",
            "mwa_client finished successfully",
        ],
    )
    assert Path("1110103576_21_ms.tar").read_bytes() == data
    run("-w", "21")
    assert len(server.script.heard_of("/files")) == 1
    Path("1110103576_21_ms.tar").write_bytes(bytes(len(data)))  # the right size proves nothing
    run("-w", "21")
    assert Path("1110103576_21_ms.tar").read_bytes() == data
    asked = server.script.heard_of("/files")[-1]
    assert not {"cookie", "authorization"} & {name.lower() for name, _ in asked.headers}


def test_jobs_that_cannot_be_fetched(run, server):
    server.script.jobs = [job_row(2, "queued"), job_row(3, "completed", files=[])]
    assert run("-w", "2", "-e", "errors") == (
        4,
        [
            "There were errors:",
            "Error: Invalid job state- job not ready for download Job id: 2 Obs id: 1110103576",
        ],
    )
    assert json.loads(Path("errors").read_text()) == [
        {
            "job_id": 2,
            "obs_id": "1110103576",
            "result": "Error: Invalid job state- job not ready for download",
        }
    ]
    run("-w", "999", "-e", "errors")
    assert json.loads(Path("errors").read_text()) == [
        {
            "job_id": 999,
            "obs_id": "N/A",
            "result": "Error: Job Id 999 is not a valid job, has expired or is not owned by you.",
        }
    ]
    assert run("-w", "all")[0] == 4  # nothing in it
    assert run("-w", "all", "--compat-exit")[0] == 0


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("mwaconvert.clients.downloads.time.sleep", lambda _: None)


def test_a_download_goes_on_where_it_ended(run, server, quick):
    data = bytes(range(256)) * 4000
    server.script.jobs = [job_row(21, "completed", files=[server.add_file("a.tar", data)])]
    server.script.faults = [-1, 503, -1]
    assert run("-w", "21")[0] == 0
    assert Path("a.tar").read_bytes() == data
    asked = [dict(r.headers).get("Range") for r in server.script.heard_of("/files")]
    assert asked[0] is None
    starts = [int(re.fullmatch(r"bytes=(\d+)-", text)[1]) for text in asked[1:]]
    assert starts[0] == starts[1] > 400_000
    assert starts[2] > starts[1] + 100_000
    assert not Path("a.tar.part").exists()


def test_a_server_without_ranges_sends_all_again(run, server, quick):
    data = bytes(range(256)) * 4000
    server.script.ranges = False
    server.script.jobs = [job_row(21, "completed", files=[server.add_file("a.tar", data)])]
    Path("a.tar.part").write_bytes(data[:1000])
    assert run("-w", "21")[0] == 0
    assert Path("a.tar").read_bytes() == data


def test_a_wrong_beginning_is_found_and_replaced(run, server, quick):
    data = bytes(range(256)) * 4000
    server.script.jobs = [job_row(21, "completed", files=[server.add_file("a.tar", data)])]
    Path("a.tar.part").write_bytes(b"something else")
    assert run("-w", "21")[0] == 0
    assert Path("a.tar").read_bytes() == data


@pytest.mark.parametrize("change", [{"sha1": "0" * 40}, {"size": 9000}, {"size": 11000}])
def test_what_is_not_as_promised_never_gets_its_name(run, server, quick, change):
    server.script.jobs = [job_row(21, "completed", files=[server.add_file("a.tar", tar_bytes()) | change])]
    code, lines = run("-w", "21")
    assert code == 4
    assert any(line.startswith("Download Failed: Job id: 21") for line in lines)
    assert not Path("a.tar").exists()
    assert run("-w", "21", "--compat-exit")[0] == 0


@pytest.mark.parametrize("status", [403, 404, 410])
def test_links_that_have_expired_are_not_asked_for_again(run, server, quick, status):
    server.script.jobs = [job_row(21, "completed", files=[server.add_file("a.tar", tar_bytes())])]
    server.script.faults = [status] * 9
    code, _ = run("-w", "21", "-e", "errors")
    assert code == 4
    assert f"HTTP {status}" in json.loads(Path("errors").read_text())[0]["result"]
    assert len(server.script.heard_of("/files")) == 1


@pytest.mark.parametrize("tail", ["..", "", "..%2f..%2fout", "%2e%2e", "a%00b"])
def test_hostile_addresses(run, server, tail):
    file = server.add_file("a.tar", tar_bytes())
    file["url"] = f"{server.url}/files/{tail}"
    server.script.jobs = [job_row(21, "completed", files=[file])]
    run("-w", "21")
    assert not (Path.cwd().parent / "out").exists()
    assert [path.name for path in Path.cwd().iterdir()] == []


def test_a_link_in_the_way_is_not_followed(run, server, tmp_path):
    (tmp_path / "precious").write_text("precious")
    Path("a.tar.part").symlink_to("precious")
    server.script.jobs = [job_row(21, "completed", files=[server.add_file("a.tar", tar_bytes())])]
    assert run("-w", "21")[0] == 4
    assert (tmp_path / "precious").read_text() == "precious"


def test_an_interrupt_does_not_wait_for_a_server(server, tmp_path):
    server.script.jobs = [job_row(21, "completed", files=[server.add_file("a.tar", bytes(1_000_000))])]
    server.script.faults = [-2]
    process = subprocess.Popen(
        [sys.executable, "-m", "mwaconvert.clients.mwa_client", "-w", "21"], stdout=subprocess.PIPE, text=True
    )
    part = tmp_path / "a.tar.part"
    until = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 400_000):
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    assert out.endswith("Interrupted! Exiting...\n")


def test_unpacking(run, server):
    server.script.jobs = [job_row(21, "completed", files=[server.add_file("a.tar", tar_bytes())])]
    assert run("-w", "21", "--unpack")[0] == 0
    assert Path("1110103576.metafits").read_bytes() == b"meta"
    server.script.jobs = [job_row(21, "completed", files=[server.add_file("a.tar", tar_bytes("../out"))])]
    assert run("-w", "21", "--unpack")[0] == 4
    assert not (Path.cwd().parent / "out").exists()


def test_folders_on_a_shared_disk(run, server, tmp_path):
    delivered = tmp_path / "mwasci" / "asvo" / "22"
    delivered.mkdir(parents=True)
    (delivered / "a.metafits").write_text("meta")
    (delivered / "link").symlink_to("/etc/passwd")
    private = tmp_path / "private"
    private.mkdir()
    (tmp_path / "here").mkdir()
    files = [{"type": "scratch", "path": str(path), "size": 4} for path in (delivered, private)]
    server.script.jobs = [job_row(22, "completed", files=files)]
    code, lines = run("-w", "22", "-d", "here")
    assert code == 0
    assert lines[:3] == [
        "Copying job to the directory: here/22 Job id: 22",
        "Download Complete: Job id: 22 file: here/22",
        f"Ready on /scratch: Job id: 22 file: {private}",  # no folder of a job: not copied
    ]
    assert [path.name for path in (tmp_path / "here" / "22").iterdir()] == ["a.metafits"]
    assert run("-w", "22", "-d", "here")[1][0] == "Download Complete: Job id: 22 file: here/22"


# ------------------------------------------------------------------------------------------- full runs


def test_a_full_run(run, server):
    file = server.add_file("b.tar", tar_bytes())
    other = server.add_file("a.tar", tar_bytes())
    server.script.replies = [
        (200, {"job_id": 101}),
        (400, {"error": "Job already queued, processing or complete", "error_code": 2, "job_id": 21}),
        (200, {"job_id": 103}),
    ]
    server.script.jobs = [job_row(k, "queued") for k in (21, 101, 103)]
    for frame in (
        job_row(7, "error", error_text="of another job"),
        "no json",
        {"action": "INSERT"},
        {"row": {"id": None}},
        job_row(101, "dreaming"),
        job_row(101, "completed", files=[file]),
        job_row(101, "completed", files=[file]),
        job_row(103, "error", error_text="boom"),
        job_row(21, "completed", files=[other]),
    ):
        server.script.frames.put(frame)
    code, lines = run("-c", write_jobs(*JOBS), "-e", "errors")
    assert code == 4
    assert lines[:3] == [
        "Submitted job: 101 ",
        "Skipping: 21 already running or complete.",
        "Submitted job: 103 ",
    ]
    assert lines[-2:] == ["There were errors:", "Error: boom Job id: 103 Obs id: 1110103576"]
    assert json.loads(Path("errors").read_text()) == [
        {"job_id": 103, "obs_id": "1110103576", "result": "Error: boom"}
    ]
    assert sorted(path.name for path in Path.cwd().glob("*.tar")) == ["a.tar", "b.tar"]
    assert len(server.script.heard_of("/files/b.tar")) == 1  # two frames, one download
    assert len(server.script.heard_of("/api/api_login")) == 1
    assert [r.body for r in server.script.heard if r.line == "CLOSE"] == [b"\x03\xe8"]


def test_jobs_that_end_otherwise(run, server):
    server.script.jobs = [job_row(101, "cancelled"), job_row(102, "expired"), job_row(104, "queued")]
    gone = job_row(104, "queued")
    gone["action"] = "DELETE"
    server.script.frames.put(gone)
    code, lines = run(
        "-c", write_jobs(*JOBS[1:2] * 4), "-e", "errors", "--poll", "0.2"
    )  # 103 is not in the list at all
    assert code == 4
    assert "Deleted: Job id: 104 Obs id: 1110103576 type: conversion" in lines
    assert "Cancelled: Job id: 101 Obs id: 1110103576 type: conversion" in lines
    assert sorted(error["job_id"] for error in json.loads(Path("errors").read_text())) == [102, 103]


def test_a_lost_notifier_is_no_end(run, server):
    file = server.add_file("a.tar", tar_bytes())
    server.script.jobs = [job_row(101, "queued")]
    server.script.frames.put(None)  # the socket drops at once

    def finish() -> None:
        server.script.jobs = [job_row(101, "completed", files=[file])]

    threading.Timer(0.5, finish).start()
    code, lines = run("-c", write_jobs(JOBS[0]), "--poll", "0.2", whole=True)
    assert code == 0
    assert "Control connection lost, asking every 0.2 s" in lines
    assert Path("a.tar").exists()


def test_a_login_that_has_ended_is_renewed(run, server, monkeypatch):
    server.script.jobs = [
        job_row(101, "completed", files=[server.add_file("a.tar", tar_bytes())]),
        {"row": None},
    ]
    server.script.list_faults = [500, 401]
    assert run("-c", write_jobs(JOBS[0]), "--poll", "0.1")[0] == 0
    assert len(server.script.heard_of("/api/api_login")) == 2
    assert Path("a.tar").exists()


def test_a_frame_that_was_missed(run, server):
    """A notifier that says nothing: the list is looked at all the same."""
    file = server.add_file("a.tar", tar_bytes())
    server.script.jobs = [job_row(101, "queued")]
    threading.Timer(0.5, setattr, (server.script, "jobs", [job_row(101, "completed", files=[file])])).start()
    assert run("-c", write_jobs(JOBS[0]), "--poll", "0.2")[0] == 0
    assert Path("a.tar").exists()


def test_events_as_json(run, server):
    server.script.jobs = [job_row(101, "completed", files=[server.add_file("a.tar", tar_bytes())])]
    code, lines = run("-c", write_jobs(JOBS[0]), "--json", whole=True)
    events = [json.loads(line) for line in lines]
    assert code == 0
    assert [e["event"] for e in events if e["event"] != "message"] == [
        "Submitted job",
        "Ready for Download",
        "Downloading",
        "Download complete",
    ]
    assert "Signature" not in "".join(lines)


def test_cancel(run, server):
    assert run("--cancel", "21") == (0, ["Cancelled: Job id: 21", "mwa_client finished successfully"])
    assert server.script.heard[-1].line == "GET /api/cancel_job?job_id=21 HTTP/1.1"


# ------------------------------------------------------------------------------------------------- TLS


def test_a_private_authority(capsys, monkeypatch, tmp_path):
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MWA_ASVO_API_KEY", KEY)
    for name in ("SSL_VERIFY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with fake_asvo(context) as server:
        monkeypatch.setenv("MWA_ASVO_HOST", "127.0.0.1")
        monkeypatch.setenv("MWA_ASVO_PORT", str(server.server_port))
        file = server.add_file("a.tar", tar_bytes())
        server.script.jobs = [job_row(101, "queued")]
        server.script.frames.put(job_row(101, "completed", files=[file]))
        write_jobs(JOBS[0])
        with pytest.raises(SystemExit) as ended:
            mwa_client.main(["-c", "jobs.csv"])
        assert ended.value.code == 1
        assert "is not trusted" in capsys.readouterr().out
        assert server.script.heard == []  # the key was not sent
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with pytest.raises(SystemExit) as ended:
            mwa_client.main(["-c", "jobs.csv"])
        assert ended.value.code == 0
        assert hashlib.sha1(Path("a.tar").read_bytes()).hexdigest() == file["sha1"]


def test_help_shows_the_documented_options(capsys):
    with pytest.raises(SystemExit):
        mwa_client.main(["-h"])
    text = capsys.readouterr().out
    for option in (
        "--submit-only",
        "--list-only",
        "--download-only",
        "--csv",
        "--dir",
        "--errfile",
        "--verbose",
    ):
        assert re.search(rf"{option}\b", text)


def test_what_to_install_is_said(run, server, monkeypatch):
    for package in ("requests", "websocket"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            code, lines = run("-l", whole=True)
        assert code == 1
        assert lines[-1].startswith(
            f"Error: mwa_client needs {package}, which is not installed: pip install "
        )
    assert server.script.heard == []
