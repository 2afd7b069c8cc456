"""The client of CHIME/FRB, from Python and from the shell, against the service and against servers that are none."""

import socket
import time
from collections.abc import Iterator

import pytest
import requests
from chime import Chime, chime
from click.testing import CliRunner

from mwaconvert.cli.main import main
from mwaconvert.clients.chime import FRBMaster
from mwaconvert.errors import InputError
from mwaconvert.frb.catalogue.catalogue import Catalogue
from mwaconvert.frb.catalogue.model import Classification, Holdings, Source, SourceType, Vote, read_event

VARIABLES = ("CHIME_FRB_URL", "CHIME_FRB_ACCESS_TOKEN", "CHIME_FRB_REFRESH_TOKEN")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Chime]:
    with chime(tmp_path_factory.mktemp("chime")) as running:
        running.client()
        yield running


@pytest.fixture(autouse=True)
def environment(monkeypatch, cluster):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHIME_FRB_URL", cluster.url)
    monkeypatch.setenv("FRB_MASTER_USERNAME", "debug")
    monkeypatch.setenv("FRB_MASTER_PASSWORD", "debug")


@pytest.fixture
def master() -> FRBMaster:
    return FRBMaster()


def spawn(master: FRBMaster, name: str, *command: str) -> None:
    assert "ID" in master.swarm.spawn_job("alpine", command[:1], command[1:], name)


def shell(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["frb", "jobs", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


def test_the_address_and_the_tokens(master, cluster, monkeypatch):
    assert master.version()
    assert master.API.authorize() is True
    first = master.API.access_token
    master.swarm.get_jobs()
    assert master.API.access_token == first  # no new token before each call
    given = FRBMaster(cluster.url, access_token=first, refresh_token=master.API.refresh_token)
    assert given.swarm.get_jobs() == []
    monkeypatch.setattr("mwaconvert.clients.chime._end_of", lambda _token: 0.0)
    assert given.swarm.get_jobs() == []  # it has ended: a new one is fetched
    monkeypatch.delenv("CHIME_FRB_URL")
    with pytest.raises(InputError, match="CHIME_FRB_URL"):
        FRBMaster()


def test_wrong_tokens_are_said(cluster):
    wrong = FRBMaster(cluster.url, access_token="a.b.c")
    with pytest.raises(requests.HTTPError, match="401: the token is not valid"):
        wrong.swarm.get_jobs()
    with pytest.raises(requests.HTTPError, match="401: wrong name or password"):
        FRBMaster(cluster.url, username="debug", password="no").swarm.get_jobs()


def test_waiting_following_and_counting(master, capsys):
    spawn(master, "wait-1", "sh", "-c", "echo one; sleep 1; echo two")
    spawn(master, "wait-2", "false")
    with pytest.raises(TimeoutError, match=r"after 0 s not ended: wait-"):
        master.swarm.wait("wait-", timeout_s=0)
    assert list(master.swarm.follow("wait-1", poll_s=0.1)) == ["one", "two"]
    assert master.swarm.wait(["wait-1", "wait-2"], timeout_s=60, poll_s=0.1) == {
        "wait-1": "complete",
        "wait-2": "failed",
    }
    assert master.swarm.jobs_running(["wait-1", "wait-2"]) is False
    assert master.swarm.get_log("wait-1") == "one\ntwo\n"
    assert master.swarm.get_logs("wait-1")["wait-1"].startswith("b'")
    assert master.swarm.monitor_jobs("wait-", error_logs=True, poll_s=0.1) is False
    said = capsys.readouterr().out
    assert "completed: 1 of 2 (50 %)" in said
    assert "wait-2: failed: wait-2 ended with exit code 1" in said
    assert master.swarm.get_jobs() == []
    with pytest.raises(InputError, match="no job is called 'wait-'"):
        master.swarm.monitor_jobs("wait-")


def test_names_and_expressions(master):
    for name in ("n.1", "n-1", "nx1"):
        spawn(master, name, "true")
    master.swarm.wait("n", timeout_s=60, poll_s=0.1)
    assert sorted(master.swarm.get_job_status(["n.1"])) == ["n.1"]
    assert sorted(master.swarm.get_job_status("n.1")) == ["n-1", "n.1", "nx1"]
    assert master.swarm.get_job_status("n?#/x") == {}
    with pytest.raises(requests.HTTPError, match=r"400: .* is not a regular expression"):
        master.swarm.get_job_status("(")
    assert master.swarm.prune_jobs(["n.1"]) == {"n.1": True}
    spawn(master, "n-bad", "false")
    master.swarm.wait("n", timeout_s=60, poll_s=0.1)
    assert master.swarm.kill_failed_jobs("n-.*") == {"n-bad": True}
    assert master.swarm.monitor_jobs("n", poll_s=0.1) is True


def test_a_baseband_job(master):
    master.swarm.spawn_baseband_job(
        5, "beamform", ["x"], 1, "alpine", ["echo"], job_mem_limit=1 << 28, job_mem_reservation=1 << 20
    )
    assert master.swarm.wait("baseband", timeout_s=60, poll_s=0.1) == {"baseband-5-beamform-1": "complete"}
    assert master.swarm.get_log("baseband-5-beamform-1") == "beamform --event-number 5 --job-id 1 -- x\n"
    asked = master.swarm.get_record("baseband-5-beamform-1")["asked"]
    assert asked["environment"] == {"FRB_MASTER_ACCESS_TOKEN": "***", "FRB_MASTER_REFRESH_TOKEN": "***"}
    master.swarm.kill_job("baseband-5-beamform-1")


def test_queries(master, cluster):
    Catalogue(cluster.serving.store.engine).load(
        Holdings(
            events=tuple(read_event({"id": k}) for k in range(1, 701)),
            sources=(Source("FRB20180916B", SourceType.FRB_REPEATER, {}, {"c": (1, 2)}),),
            votes=tuple(Vote(k, "ann", Classification.FAINT) for k in range(1, 3002)),
        )
    )
    assert len(master.events.get_event(range(1, 701))) == 700
    assert list(master.events.get_event([7])) == ["7"]
    assert master.events.get_event(7)["id"] == 7
    assert len(master.verification.get_verifications("FAINT")) == 3001
    assert master.sources.get_source("20180916B")["candidate_id"] == ["c"]
    assert master.candidates.get_all_candidates() == [{"id": "c", "source": "FRB20180916B", "events": [1, 2]}]
    assert master.events.add_measured_parameters(7, {"pipeline": {"name": "x"}, "dm": 1.0}) is True
    said = master.verification.add_verification(7, {"classification": "RFI"})
    assert said["user_verification"][-1] == {"classification": "RFI", "user": "debug"}
    with pytest.raises(requests.HTTPError, match="404: there is no event 9999"):
        master.events.get_event(9999)


def test_a_dead_server_is_said_at_once(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        FRBMaster(f"http://127.0.0.1:{port}", authentication=False).swarm.get_jobs()
    assert time.monotonic() - begun < 60
    assert f"http://127.0.0.1:{port} does not answer" in shell(
        "status", "--url", f"http://127.0.0.1:{port}", code=2
    )


def test_a_server_that_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        master = FRBMaster(address, authentication=False, timeout_s=0.2)
        with pytest.raises(requests.Timeout):
            master.swarm.get_jobs()


def test_the_shell(master):
    assert shell("spawn", "sh-1", "alpine", "--", "sh", "-c", "echo hello; exit 3").strip().isdigit()
    assert shell("spawn", "sh-2", "alpine", "--env", "A=b", "--memory", 0.5, "--", "sh", "-c", "echo $A")
    assert shell("wait", "sh-1", "--timeout", 60, code=1) == "0 of 1 completed\nsh-1  failed\n"
    assert "1 of 1 completed" in shell("wait", "sh-2")
    assert shell("logs", "sh-2") == "b\n"
    assert shell("logs", "--follow", "sh-1") == "hello\n"
    assert shell("status", "sh-") == "sh-1  failed\nsh-2  complete\n"
    assert '"exit code' not in shell("show", "sh-2")
    assert "ended with exit code 3" in shell("show", "sh-1")
    assert shell("prune", "sh") == "sh-2\n"
    assert shell("kill", "sh-1") == ""
    assert "not there, or not to be ended: sh-1" in shell("kill", "sh-1", code=2)
    shell("spawn", "sh-3", "alpine", "sleep", "60")
    assert "409" in shell("spawn", "sh-3", "alpine", "true", code=2)
    shell("kill", "sh-3")
    assert "export CHIME_FRB_ACCESS_TOKEN=" in shell("login", "debug")
    assert "--env x: NAME=VALUE" in shell("spawn", "sh-4", "alpine", "--env", "x", code=2)
