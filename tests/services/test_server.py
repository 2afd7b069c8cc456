"""The programs serve and worker as processes of their own."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from recorded_asvo import RecordedMwaClient
from serving import OBSID

from mwaconvert.cli.main import main
from mwaconvert.jobs.control.states import Role, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.services.server import listen
from services.postgres import Postgres, is_installed

META = {"obs_id": OBSID, "download_type": "vis_meta"}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def database(request, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "jobs.db")
        return
    if not is_installed():
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with Postgres() as server:
        yield server.new_database()


@pytest.fixture
def config(tmp_path, small: Path, database: str) -> Path:
    shutil.copytree(small.parent, tmp_path / "raw" / OBSID)
    path = tmp_path / "mwaconvert.toml"
    path.write_text(
        f'database = "{database}"\nwork = "work"\nraw = ["raw"]\n'
        '[delivery]\npackages = "products"\n[server]\nport = 0\n[workers]\nhere = 0\n'
    )
    return path


@contextmanager
def running(*words: object) -> Iterator[subprocess.Popen[str]]:
    """A program that must end well when it is told to."""
    with subprocess.Popen(
        [sys.executable, "-m", "mwaconvert", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            print(process.stderr.read()[-3000:])
            raise
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, process.stderr.read()[-3000:]


def test_a_service_without_workers_and_a_worker_beside_it(config, database):
    store = Store(database)
    key = store.add_user("ann", Role.OPERATE)
    with running("serve", "--config", config) as service:
        said = service.stdout.readline()
        assert said.startswith("mwaconvert serves http://127.0.0.1:")
        client = RecordedMwaClient(said.split()[-1], key)
        client.login()
        job_id = client.submit("download_vis_job", META).json()["job_id"]
        with client.notifier() as notifier:
            assert notifier.recv()["row"]["job_state"] == "queued"
            with running("worker", "--config", config, "--id", "beside", "--at-once", "1"):
                seen = ""
                while seen != "completed":
                    seen = notifier.recv()["row"]["job_state"]
            asked = time.monotonic()
            service.send_signal(signal.SIGTERM)  # with a client that listens
            assert notifier.recv() is None
            assert service.wait(30) == 0
            assert time.monotonic() - asked < 15
        lines = [json.loads(line) for line in service.stderr.read().splitlines()]
        assert any(line.get("job_id") == job_id and line["message"] == "completed" for line in lines)
    assert store.job(job_id).worker is None
    assert store.job(job_id).state is State.COMPLETED
    assert [record.id for record in store.workers()] == ["beside"]
    store.close()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["serve"], "name a configuration with --config, or try it with mwaconvert serve --trial"),
        (["serve", "somewhere"], "somewhere: a folder is for --trial"),
        (["serve", "--trial", "--config", "x.toml"], "--trial makes its own configuration"),
        (["serve", "--config", "no.toml"], "no.toml: cannot be read as a configuration"),
        (["worker", "--config", "no.toml"], "no.toml: cannot be read as a configuration"),
    ],
)
def test_what_cannot_be_started(words, text, monkeypatch):
    monkeypatch.delenv("MWACONVERT_CONFIG", raising=False)
    monkeypatch.setattr("mwaconvert.services.telemetry.log_as_json", lambda: None)
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert text in result.output


def test_answers_do_not_wait_for_acknowledgements():
    """asyncio turns Nagle's algorithm off on connections of sockets that name their protocol only."""
    opened = listen("127.0.0.1", 0).socket
    try:
        assert opened.proto == socket.IPPROTO_TCP
    finally:
        opened.close()
