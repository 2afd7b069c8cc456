"""Ours beside the released mwa_client, on the same server: what it prints, how it ends, what it posts.

MWA_CLIENT names the released program, if it is not the mwa_client of the PATH.
"""

import json
import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_asvo import KEY, fake_asvo, job_row

from mwaconvert.vocabulary.job_rows import read_rows

pytestmark = pytest.mark.services

GOOD = "obs_id=1110103576, job_type=d, download_type=vis"
#: lines of job files about whose layout readers could differ
LAYOUTS = [
    GOOD,
    f"\n# comment\n\n{GOOD}\n",
    f"  # comment\n{GOOD}",
    f"{GOOD}\n   \n",
    f"{GOOD}\n\t\n",
    f"{GOOD},",
    ",,",
    f"{GOOD}  # word",
    "obs_id=1110103576,\tjob_type=d",
    "obs_id=1110103576\t, job_type=d",
    'obs_id=1110103576,"job_type=d"',
    'obs_id=1110103576, "job_type=d"',
    '"obs_id=1,2",job_type=d',
    "obs_id=1110103576, job_type=d, a=b=c",
    "obs_id=1110103576, job_type=d, =x, y=",
    "obs_id=1110103576, job_type=d, x=1, x=2",
    "obs_id = 1110 103576 , job_type = d",
    "obs_id=1110103576, job_type=D",
    "obs_id=1110103576, JOB_TYPE=d",
    "obs_id=1110103576, job_type=",
    "obs_id=1110103576, job_type=x",
    "nonsense",
    f"{GOOD}\r\n{GOOD}\r\n",
    f"{GOOD}\r{GOOD}",
    "",
    "# nothing",
]


#: run by the released program's Python: the rows of each file as JSON, or the line of its first problem
READER = """
import json, sys
from mantaray.scripts.mwa_client import ParseException, parse_csv
KINDS = {"submit_conversion_job_direct": "c", "submit_download_job_direct": "d", "submit_voltage_job_direct": "v"}
found = []
for k in range(int(sys.argv[2])):
    try:
        rows = parse_csv(f"{sys.argv[1]}/{k}.csv", False)
        for _, params in rows:
            params.pop("allow_resubmit")
        found.append([[KINDS[kind], params] for kind, params in rows])
    except ParseException as error:
        found.append(error.line_num)
print(json.dumps(found))
"""


def program() -> str:
    """The released program."""
    found = os.environ.get("MWA_CLIENT") or shutil.which("mwa_client")
    if found is None:
        pytest.skip("the released mwa_client is not installed; name it in MWA_CLIENT")
    return found


@pytest.fixture
def server():
    with fake_asvo() as running:
        yield running


@pytest.fixture
def both(server, tmp_path, monkeypatch) -> Callable[..., list[subprocess.CompletedProcess[str]]]:
    """Run the released program and ours; what they hear and find is the same."""
    found = program()
    where = {"MWA_ASVO_HOST": "127.0.0.1", "MWA_ASVO_PORT": str(server.server_port), "MWA_ASVO_HTTPS": "0"}
    ours = [sys.executable, "-m", "mwaconvert.clients.mwa_client"]

    def run(
        *words: str, before: Callable[[], object] = lambda: None
    ) -> list[subprocess.CompletedProcess[str]]:
        done = []
        for start in ([found], ours):
            before()
            done.append(
                subprocess.run(
                    [*start, *words],
                    env={**os.environ, **where, "MWA_ASVO_API_KEY": KEY},
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=60,
                )
            )
        if "mwaconvert" in done[0].stdout:
            pytest.skip(
                "the mwa_client in the PATH is this project's own; name the released one in MWA_CLIENT"
            )
        return done

    return run


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was printed, without the banner."""
    return [line.rstrip() for line in done.stdout.splitlines()[1:] if line.strip()]


def test_lists(both, server):
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
    server.script.jobs = [job_row(k, state, job_type=k % 5) for k, state in enumerate(states, 1)]
    server.script.jobs += [
        job_row(20, "error", error_text="No files found."),
        job_row(21, "completed", files=[server.add_file("a.tar", bytes(10240))]),
        job_row(
            22, "completed", job_type=3, files=[{"type": "scratch", "path": "/scratch/x/asvo/22", "size": 10}]
        ),
    ]
    for words in (["-l"], ["-l", "-v"], ["--list-only"]):
        released, ours = both(*words)
        assert lines(ours) == lines(released)
        assert ours.returncode == released.returncode == 0


def test_mistakes(both, server, tmp_path):
    (tmp_path / "empty.csv").write_text("# nothing\n")
    for words in (
        [],
        ["-s"],
        ["-c", "empty.csv"],
        ["-l", "-d", "/nope"],
        ["-w", "x"],
        ["-l", "-s"],
        ["-w", "999"],
    ):
        released, ours = both(*words)
        assert ours.returncode == released.returncode, words
        assert lines(ours) == lines(released), words


def test_error_files(both, server, tmp_path):
    server.script.jobs = [job_row(2, "queued")]
    for job_id in ("2", "999"):
        released_text = None
        for done in both("-w", job_id, "-e", "errors"):
            assert done.returncode == 4
            text = (tmp_path / "errors").read_text()
            assert released_text in (None, text)
            released_text = text


@pytest.fixture
def released_rows(tmp_path) -> list[list[tuple[str, dict[str, str]]] | int]:
    """What the released program's own reader makes of each layout: rows, or the line at which it gives up."""
    python = Path(program()).with_name("python")
    if not python.exists():
        pytest.skip(f"no {python} to run the reader of the released mwa_client with")
    for k, text in enumerate(LAYOUTS):
        (tmp_path / f"{k}.csv").write_text(text, newline="")
    done = subprocess.run(
        [python, "-W", "ignore", "-c", READER, tmp_path, str(len(LAYOUTS))],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_job_files_taken_strictly(released_rows):
    for text, theirs in zip(LAYOUTS, released_rows, strict=True):
        rows, problems = read_rows(text.encode(), strict=True)
        if isinstance(theirs, int):
            assert problems, text
            assert problems[0].line == theirs, text
        else:
            assert problems == (), text
            assert [[row.kind.value, dict(row.params)] for row in rows] == theirs, text


def test_what_the_released_one_takes_ours_takes(released_rows):
    for text, theirs in zip(LAYOUTS, released_rows, strict=True):
        if not isinstance(theirs, int) and "# word" not in text:
            rows, problems = read_rows(text.encode())
            clean = [[kind, {key: value.strip() for key, value in params.items()}] for kind, params in theirs]
            assert problems == (), text
            assert [[row.kind.value, dict(row.params)] for row in rows] == clean, text


def test_a_full_run(both, server, tmp_path):
    (tmp_path / "jobs.csv").write_text(f"{GOOD}\n{GOOD}\n")
    file = server.add_file("b.tar", bytes(10240))
    server.script.jobs = [job_row(101, "queued"), job_row(102, "queued")]

    def before() -> None:
        server.script.replies = [(200, {"job_id": 101}), (200, {"job_id": 102})]
        server.script.frames = queue.Queue()
        for frame in (job_row(101, "completed", files=[file]), job_row(102, "error", error_text="boom")):
            server.script.frames.put(frame)

    found = []
    for done in both("-c", "jobs.csv", "-e", "errors", before=before):
        assert done.returncode == 4
        found.append(((tmp_path / "errors").read_text(), (tmp_path / "b.tar").read_bytes()))
        assert "Error: boom Job id: 102 Obs id: 1110103576" in done.stdout
        assert (
            "Ready for Download: Job id: 101 Obs id: 1110103576 type: conversion size: 10240 bytes"
            in done.stdout
        )
    assert found[0] == found[1]


def test_the_option_names_are_there(both):
    released, ours = both("-h")
    assert released.returncode == ours.returncode == 0
    options = {word.strip(",") for word in released.stdout.split() if word.startswith("--")}
    assert options <= {word.strip(",") for word in ours.stdout.split()}
