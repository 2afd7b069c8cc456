"""Jobs of the cluster, as the recorded client asks for them; programs of this machine carry them out."""

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from chime import Chime, Recorded, chime

from mwaconvert.jobs.control.states import Role

PYTHON = sys.executable


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Chime]:
    with chime(tmp_path_factory.mktemp("chime")) as running:
        yield running


@pytest.fixture
def client(cluster) -> Recorded:
    return cluster.client()


def test_version_needs_no_token(cluster):
    reply = Recorded(cluster.url).send("GET", "/version")
    assert reply.status == 200
    assert isinstance(reply.json()["version"], str)


def test_tokens(cluster, client):
    assert client.send("GET", "/auth/verify").json() == {"valid": True}
    wrong = Recorded(cluster.url, token="no.such.token")
    assert wrong.send("GET", "/auth/verify").json() == {"valid": False}
    assert wrong.send("GET", "/v1/swarm/jobs").status == 401
    assert Recorded(cluster.url).send("GET", "/v1/swarm/jobs").status == 401
    assert wrong.send("POST", "/auth/refresh", {"refresh_token": "no"}).status == 401
    assert wrong.send("POST", "/auth/refresh", {"refresh_token": None}).status == 401
    assert wrong.send("POST", "/auth/refresh", {"refresh_token": client.token}).status == 401
    assert wrong.log_in("debug", "wrong").status == 401
    assert wrong.log_in("nobody", "wrong").status == 401
    # an access token does no harm to a refresh, and a refresh leaves the token as it is
    for _ in range(3):
        reply = client.send("POST", "/auth/refresh", {"refresh_token": client.refresh})
        assert reply.status == 200


def test_tokens_end(cluster, client):
    later = cluster.serving.store.now() + 1000
    store = cluster.serving.store
    now, store.now = store.now, lambda: later - 2000
    try:
        old = cluster.client()
    finally:
        store.now = now
    assert old.send("GET", "/auth/verify").json() == {"valid": False}
    assert old.call("GET", "/v1/swarm/jobs").status == 200  # it refreshes
    cluster.serving.store.add_user("gone", Role.OPERATE, secret="gone")
    gone = cluster.client("gone")
    cluster.serving.store.revoke_user("gone")
    assert gone.send("GET", "/v1/swarm/jobs").status == 401
    assert gone.send("POST", "/auth/refresh", {"refresh_token": gone.refresh}).status == 401


def test_a_job_from_its_spawn_to_its_end(client):
    reply = client.spawn("hello-world", "echo", "one", arguments=["two"])
    assert reply.status == 200
    assert "ID" in reply.json()
    assert client.call("GET", "/v1/swarm/jobs").json() == ["hello-world"]
    assert client.wait_for("hello-world", "complete", "failed") == "complete"
    text = client.call("GET", "/v1/swarm/logs/hello-world").json()["hello-world"]
    assert text.startswith("b'20")
    assert text.endswith(r"Z one two\n'")
    assert len(text) == len(r"b'2021-04-21T17:05:17.880273760Z one two\n'")
    assert client.call("GET", "/v1/swarm/log/hello-world").body == b"one two\n"
    assert client.call("GET", "/v1/swarm/prune-job/hello-w.*").json() == {"hello-world": True}
    assert client.call("GET", "/v1/swarm/jobs").json() == []
    assert client.call("GET", "/v1/swarm/prune-job/hello-w.*").json() == {}
    assert client.call("GET", "/v1/swarm/logs/hello-world").status == 404
    assert client.spawn("hello-world", "true").status == 200  # the name is free again
    client.wait_for("hello-world", "complete")
    assert client.call("GET", "/v1/swarm/kill-job/hello-world").json() == {"hello-world": True}


def test_states_by_regex_and_by_a_list(client):
    for name in ("rx-1", "rx-2", "rx-10", "a-rx-1"):
        assert client.spawn(name, "true").status == 200
    for name in ("rx-1", "rx-2", "rx-10", "a-rx-1"):
        client.wait_for(name, "complete")
    assert sorted(client.status("rx-1")) == ["rx-1", "rx-10"]
    assert sorted(client.status("rx-1$")) == ["rx-1"]
    assert sorted(client.status("rx-[0-9]$")) == ["rx-1", "rx-2"]
    assert sorted(client.status(".*rx-1$")) == ["a-rx-1", "rx-1"]
    assert sorted(client.status("['rx-2', 'a-rx-1']")) == ["a-rx-1", "rx-2"]
    assert client.status("nothing") == {}
    for bad in ("(", "[z-a]", "a{1,100000}", "(?=rx)", "x" * 5000):
        reply = client.call("GET", f"/v1/swarm/job-status/{bad}")
        assert reply.status == 400, bad
        assert "regular expression" in reply.json()["error"]
    for name in ("rx-1", "rx-2", "rx-10", "a-rx-1"):
        client.call("GET", f"/v1/swarm/kill-job/{name}")


def test_a_hostile_regex_takes_no_time(cluster, client):
    client.spawn("a" * 120, "true")
    started = time.perf_counter()
    for hostile in ("(a+)+$x", "(a|a)*b", "(.*)*(.*)*(.*)*x", "((a{0,30}){0,30})x"):
        assert client.call("GET", f"/v1/swarm/job-status/{hostile}").status in (200, 400)
    assert time.perf_counter() - started < 20  # a backtracking engine needs years
    client.call("GET", f"/v1/swarm/kill-job/{'a' * 120}")


def test_bad_ends_and_kill_failed(client):
    client.spawn("bad-exit", "sh", "-c", "echo oh no; exit 3")
    client.spawn("bad-word", "no-such-program")
    client.spawn("bad-image", "true", image="nobody/nothing:1")
    client.spawn("bad-empty")
    assert client.wait_for("bad-exit", "complete", "failed") == "failed"
    assert client.wait_for("bad-word", "complete", "failed") == "failed"
    assert client.wait_for("bad-image", "complete", "failed", "rejected") == "rejected"
    assert client.wait_for("bad-empty", "complete", "failed", "rejected") == "rejected"
    record = client.call("GET", "/v1/swarm/job/bad-exit").json()
    assert record["error"] == "bad-exit ended with exit code 3; its log ends with: oh no"
    assert (
        "no-such-program: No such file or directory"
        in client.call("GET", "/v1/swarm/log/bad-word").body.decode()
    )
    assert (
        "there is no image nobody/nothing:1 here"
        in client.call("GET", "/v1/swarm/job/bad-image").json()["error"]
    )
    assert client.call("GET", "/v1/swarm/prune-job/bad-.*").json() == {}
    # kill_failed_jobs of the client: a substring, the state of each, a kill
    for job in client.call("GET", "/v1/swarm/jobs").json():
        if "bad-" in job:
            assert client.call("GET", f"/v1/swarm/kill-job/{job}").json() == {job: True}
    assert client.call("GET", "/v1/swarm/jobs").json() == []
    assert client.call("GET", "/v1/swarm/kill-job/nobody").json() == {"nobody": False}


def test_a_job_that_failed_can_be_tried_again(cluster, client, tmp_path):
    script = f"test -e {tmp_path}/there && echo fine || {{ touch {tmp_path}/there; exit 5; }}"
    client.spawn("again", "sh", "-c", script)
    assert client.wait_for("again", "complete", "failed") == "failed"
    store = cluster.serving.store
    store.retry(store.job_named("again").id, "debug")
    assert client.wait_for("again", "complete") == "complete"
    assert client.call("GET", "/v1/swarm/log/again").body == b"fine\n"
    client.call("GET", "/v1/swarm/kill-job/again")


def test_names_are_unique(client):
    assert client.spawn("twin", "sleep", "60").status == 200
    reply = client.spawn("twin", "true")
    assert reply.status == 409
    assert "twin" in reply.json()["error"]
    assert client.spawn("twin", "sleep", "60").status == 409
    assert client.call("GET", "/v1/swarm/kill-job/twin").json() == {"twin": True}


CHILDREN = """
import os, subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=s)
            for s in (False, True)]
ignores = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
children.append(subprocess.Popen([sys.executable, "-c", ignores]))
print(*[child.pid for child in children], flush=True)
time.sleep(300)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def printed(client: Recorded, name: str, timeout_s: float = 60) -> str:
    """The log of a job, once there is something in it."""
    deadline = time.monotonic() + timeout_s
    while not (text := client.call("GET", f"/v1/swarm/log/{name}").body.decode()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return text


def test_a_kill_reaches_all_children(client):
    client.spawn("family", PYTHON, "-c", CHILDREN)
    pids = [int(word) for word in printed(client, "family").split()]
    assert len(pids) == 3
    assert all(map(is_alive, pids))
    assert client.call("GET", "/v1/swarm/kill-job/family").json() == {"family": True}
    deadline = time.monotonic() + 30
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_program_leaves_behind_ends_with_it(client):
    client.spawn("leaves", "sh", "-c", "sleep 300 & echo $!")
    client.wait_for("leaves", "complete")
    assert not is_alive(int(printed(client, "leaves")))
    client.call("GET", "/v1/swarm/kill-job/leaves")


def test_memory_is_limited_and_the_kill_named(client):
    hungry = "import time\nheld = []\nwhile True:\n held.append(bytearray(4 << 20))\n time.sleep(0.01)"
    client.spawn("hungry", PYTHON, "-c", hungry, job_mem_limit=80 << 20, job_mem_reservation=4 << 20)
    assert client.wait_for("hungry", "complete", "failed") == "failed"
    record = client.call("GET", "/v1/swarm/job/hungry").json()
    assert record["error"] == "hungry was killed: out of memory, it used more than its limit of 80 MiB"
    assert record["prepared"]["enforced"]["job_mem_limit"]
    client.call("GET", "/v1/swarm/kill-job/hungry")


def test_what_is_not_enforced_is_said(client):
    client.spawn(
        "half",
        PYTHON,
        "-c",
        "import os; print(len(os.sched_getaffinity(0)))",
        job_cpu_limit=0.5,
        job_cpu_reservation=0.5,
    )
    client.wait_for("half", "complete")
    prepared = client.call("GET", "/v1/swarm/job/half").json()["prepared"]
    assert prepared["executor"] == "process"
    if "cpu" not in prepared["enforced"].get("job_cpu_limit", ""):
        assert any(
            "mount_archiver: the archive is not at /data/chime" in line for line in prepared["not_enforced"]
        )
    client.call("GET", "/v1/swarm/kill-job/half")


def test_the_environment_of_a_job(client, monkeypatch):
    monkeypatch.setenv("SECRET_OF_SERVICE", "1")
    told = "import os; print(os.environ['COLOUR'], os.environ['TASK'], 'SECRET_OF_SERVICE' in os.environ)"
    client.spawn(
        "env",
        PYTHON,
        "-c",
        told,
        image="python",
        environment={"TASK": "beamform", "FRB_MASTER_ACCESS_TOKEN": "abc"},
    )
    client.wait_for("env", "complete")
    assert printed(client, "env") == "blue beamform False\n"
    record = client.call("GET", "/v1/swarm/job/env").json()
    assert record["asked"]["environment"] == {"TASK": "beamform", "FRB_MASTER_ACCESS_TOKEN": "***"}
    client.call("GET", "/v1/swarm/kill-job/env")


def test_the_page_shows_jobs_and_no_tokens(cluster, client):
    client.spawn("paged", "true", environment={"TASK": "beamform", "FRB_MASTER_ACCESS_TOKEN": "opensdoors"})
    client.wait_for("paged", "complete")
    job_id = cluster.serving.store.job_named("paged").id
    with httpx.Client(base_url=cluster.serving.url, follow_redirects=True) as browser:
        token = re.search(r'name="form_token" value="([0-9a-f]{64})"', browser.get("/login").text)[1]
        form = {"name": "debug", "key": "debug", "next": "", "form_token": token}
        assert "paged" in browser.post("/login", data=form).text
        page = browser.get(f"/jobs/{job_id}").text
        found = browser.get("/jobs", params={"text": "opensdoors"}).text
    assert "beamform" in page
    assert "opensdoors" not in page
    assert "paged" not in found
    client.call("GET", "/v1/swarm/kill-job/paged")


def test_twenty_jobs_at_once(client):
    threads = [
        threading.Thread(target=client.spawn, args=(f"many-{k}", "sh", "-c", f"echo {k}")) for k in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 120
    while set((found := client.status("many-")).values()) != {"complete"}:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert len(found) == 20
    for k in (0, 7, 19):
        assert printed(client, f"many-{k}") == f"{k}\n"
    assert client.call("GET", "/v1/swarm/prune-job/many-").json() == dict.fromkeys(found, True)


def test_a_log_of_ten_megabytes(client):
    loud = "import sys\nfor k in range(100000): sys.stdout.write('%099d\\n' % k)"
    client.spawn("loud", PYTHON, "-c", loud)
    client.wait_for("loud", "complete")
    text = client.call("GET", "/v1/swarm/logs/loud").json()["loud"]
    assert text.count("b'") == 100000
    clean = client.call("GET", "/v1/swarm/log/loud")
    assert clean.body == b"".join(b"%099d\n" % k for k in range(100000))
    known = int(clean.headers["X-Log-Bytes"])
    assert client.call("GET", f"/v1/swarm/log/loud?after={known}").body == b""
    assert client.call("GET", f"/v1/swarm/log/loud?after={known - 131}").body == b"%099d\n" % 99999
    client.call("GET", "/v1/swarm/kill-job/loud")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"job_name": "../../etc/passwd"}, "is not a job name"),
        ({"job_name": "a b"}, "is not a job name"),
        ({"job_name": ""}, "is not a job name"),
        ({"job_name": "x" * 129}, "is not a job name"),
        ({"job_name": None}, "is not a job name"),
        ({"image_name": "../image"}, "is not an image name"),
        ({"image_name": "image; rm"}, "is not an image name"),
        ({"command": "ls"}, "command: a list of texts"),
        ({"command": ["a\0b"]}, "command: a list of texts"),
        ({"arguments": [1]}, "arguments: a list of texts"),
        ({"job_mem_limit": -1}, "job_mem_limit: bytes from"),
        ({"job_mem_limit": True}, "job_mem_limit: bytes from"),
        ({"job_mem_limit": 5 << 20}, "job_mem_reservation is"),
        ({"job_cpu_limit": 0}, "job_cpu_limit: cores from"),
        ({"job_cpu_limit": "1"}, "job_cpu_limit: cores from"),
        ({"job_cpu_limit": 2000, "job_cpu_reservation": 1000}, "there are 64 cores"),
        ({"job_cpu_reservation": 2}, "job_cpu_reservation is 2 and job_cpu_limit only 1"),
        ({"environment": {"A-B": "1"}}, "environment: 'A-B' cannot be set"),
        ({"environment": ["A"]}, "environment: names and values"),
        ({"mount_archiver": "yes"}, "mount_archiver: true or false"),
        ({"nonsense": 1}, "there is no key nonsense"),
    ],
)
def test_orders_that_are_refused(client, change, text):
    reply = client.spawn("refused", "true", **change)
    assert reply.status == 400
    assert text in reply.json()["error"]


def test_bodies_that_are_refused(client):
    assert client.send("POST", "/v1/swarm/spawn-job", b"[1]").status == 400
    assert client.send("POST", "/v1/swarm/spawn-job", b"{").status == 400
    # nobody reads it to its end: the client may still be sending when the answer comes
    with suppress(OSError):
        assert client.send("POST", "/v1/swarm/spawn-job", b'{"a": "' + b"x" * (2 << 20) + b'"}').status == 413
    assert client.send("POST", "/v1/swarm/spawn-job", b"[" * 100000).status in (400, 422)


def test_names_in_addresses_are_no_paths(client):
    for name in ("../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "a/b", "x" * 1000):
        assert client.call("GET", f"/v1/swarm/logs/{name}").status in (400, 404)
        assert client.call("GET", f"/v1/swarm/kill-job/{name}").status in (200, 404)


def test_others_look_and_do_not_end(cluster, client):
    client.spawn("mine", "sleep", "60")
    other = cluster.client("other")
    looks = cluster.client("looks", Role.VIEW)
    assert "mine" in other.call("GET", "/v1/swarm/jobs").json()
    assert other.call("GET", "/v1/swarm/kill-job/mine").status == 403
    assert looks.status("mine")
    assert looks.spawn("theirs", "true").status == 403
    assert cluster.client("chief", Role.APPROVE).call("GET", "/v1/swarm/kill-job/mine").json() == {
        "mine": True
    }
    page = Recorded(cluster.url, client.token, headers={"origin": "https://elsewhere.example"})
    assert page.send("GET", "/v1/swarm/jobs").status == 403
