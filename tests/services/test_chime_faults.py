"""What becomes of jobs of the cluster when programs are killed, disks are full, and what they need is away."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chime import Chime, Recorded, chime

from mwaconvert.jobs.control import confine
from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.control.store import Store

CONFIG = """\
database = "jobs.db"
work = "work"
raw = ["raw"]
[delivery]
packages = "products"
[server]
port = 0
[workers]
here = 4
id = "tests"
[chime]
hold_s = 0
cpus = 64
[chime.images.alpine]
"""


class Program:
    """`mwaconvert serve` as a process of its own, that is killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("raw", "products"):
            (folder / name).mkdir()
        (folder / "service.toml").write_text(CONFIG)
        store = Store(folder / "jobs.db")
        store.add_user("debug", Role.OPERATE, secret="debug")
        store.close()
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Recorded:
        words = [sys.executable, "-m", "mwaconvert", "serve", "--config", str(self.folder / "service.toml")]
        log = (self.folder / "log").open("a")
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()
        url = self.process.stdout.readline().split()[-1]
        client = Recorded(url + "/frb-master")
        assert client.log_in().status == 200
        return client

    def end(self, sign: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(sign)
            self.process.wait(60)
            self.process.stdout.close()
            self.process = None


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    running = Program(tmp_path)
    try:
        yield running
    finally:
        running.end()


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def wait_for(what, timeout_s: float = 60):
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("sign", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.services)])
def test_a_job_outlives_the_service(program, tmp_path, sign):
    """Killed or stopped in the middle; the job goes on, and the next service finds it."""
    client = program.start()
    marks = tmp_path / "marks"
    client.spawn("lasts", "sh", "-c", f"echo begun >> {marks}; sleep 4; echo done >> {marks}; echo said")
    wait_for(lambda: lines(marks))
    program.end(sign)
    client = program.start()
    assert client.wait_for("lasts", "complete", "failed", "orphaned") == "complete"
    assert lines(marks) == ["begun", "done"]
    assert client.call("GET", "/v1/swarm/log/lasts").body == b"said\n"


@pytest.mark.services
def test_a_job_that_ends_while_no_service_is_there(program, tmp_path):
    client = program.start()
    marks = tmp_path / "marks"
    client.spawn("short", "sh", "-c", f"echo begun >> {marks}; sleep 1; echo done >> {marks}; exit 7")
    wait_for(lambda: lines(marks))
    program.end()
    wait_for(lambda: lines(marks) == ["begun", "done"])
    client = program.start()
    assert client.wait_for("short", "complete", "failed", "orphaned") == "failed"
    assert client.call("GET", "/v1/swarm/job/short").json()["error"] == "short ended with exit code 7"
    assert lines(marks) == ["begun", "done"]


@pytest.mark.services
def test_killed_again_and_again_no_job_runs_twice(program, tmp_path):
    dice = random.Random(14)
    client = program.start()
    names = [f"dice-{k}" for k in range(8)]
    for name in names:
        client.spawn(
            name, "sh", "-c", f"echo begun >> {tmp_path / name}; sleep 1; echo done >> {tmp_path / name}"
        )
    for _ in range(4):
        time.sleep(dice.uniform(0.0, 1.5))
        program.end()
        client = program.start()
    for name in names:
        assert client.wait_for(name, "complete", "failed", "orphaned") == "complete"
        assert lines(tmp_path / name) == ["begun", "done"], name


@pytest.mark.services
def test_a_kill_asked_for_while_no_worker_is_there(program, tmp_path):
    client = program.start()
    marks = tmp_path / "marks"
    client.spawn("stray", "sh", "-c", f"echo $$ > {marks}; sleep 300")
    pid = int(wait_for(lambda: lines(marks))[0])
    program.end()
    store = Store(tmp_path / "jobs.db")
    store.cancel(store.job_named("stray").id, "debug")
    store.close()
    client = program.start()
    assert client.wait_for("stray", "shutdown", "complete", "failed") == "shutdown"
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


@pytest.fixture
def cluster(tmp_path) -> Iterator[Chime]:
    with chime(tmp_path) as running:
        yield running


def watchers() -> list[int]:
    """Programs that watch over jobs of this process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == os.getpid() and any(word.endswith(b"executors/watch.py") for word in words):
            found.append(int(entry.name))
    return found


def test_a_job_whose_watcher_is_killed_is_orphaned(cluster):
    client = cluster.client()
    client.spawn("orphan", "sh", "-c", "echo $$; sleep 300 & sleep 301")
    pid = int(wait_for(lambda: client.call("GET", "/v1/swarm/log/orphan").body))
    (watcher,) = watchers()
    os.kill(watcher, signal.SIGKILL)
    assert client.wait_for("orphan", "complete", "failed", "orphaned") == "orphaned"
    assert "it is not started again" in client.call("GET", "/v1/swarm/job/orphan").json()["error"]
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    assert client.call("GET", "/v1/swarm/kill-job/orphan").json() == {"orphan": True}


def test_no_runtime(tmp_path):
    with chime(tmp_path, executor="docker", socket=f"unix://{tmp_path}/no.sock") as cluster:
        client = cluster.client()
        client.spawn("nowhere", "true")
        assert client.wait_for("nowhere", "failed", "rejected", "complete") == "failed"
        error = client.call("GET", "/v1/swarm/job/nowhere").json()["error"]
        assert error.startswith(f"docker does not answer at unix://{tmp_path}/no.sock")


def test_an_archive_that_is_away(tmp_path):
    (tmp_path / "root").mkdir()
    with chime(tmp_path, roots=[f"site={tmp_path / 'root'}"]) as cluster:
        client = cluster.client()
        (tmp_path / "archive").rmdir()
        (tmp_path / "root").rmdir()
        client.spawn("blind", "true")
        client.spawn("sees", "true", mount_archiver=False)
        assert client.wait_for("blind", "failed", "rejected", "complete") == "failed"
        assert "the archive at" in client.call("GET", "/v1/swarm/job/blind").json()["error"]
        assert client.wait_for("sees", "complete", "failed") == "complete"
        for path in ("datapaths/5", "filenames/5"):
            reply = client.call("GET", f"/v1/events/{path}")
            assert reply.status == 400
            assert "expected the folder of an archive, there is none" in reply.json()["error"]


def test_a_disk_that_a_job_fills(tmp_path, small_disk):
    (tmp_path / "s").mkdir()
    with chime(tmp_path / "s", work=small_disk) as cluster:
        client = cluster.client()
        client.spawn(
            "fat", "sh", "-c", "dd if=/dev/zero of=fat bs=1M count=100 || { rm fat; echo sorry; exit 4; }"
        )
        assert client.wait_for("fat", "complete", "failed", timeout_s=120) == "failed"
        assert "ended with exit code 4" in client.call("GET", "/v1/swarm/job/fat").json()["error"]
        loud = "import sys\nfor k in range(400000): sys.stdout.write('%099d\\n' % k)\nsys.exit(5)"
        client.spawn("loud", sys.executable, "-c", loud)
        assert client.wait_for("loud", "complete", "failed", timeout_s=120) == "failed"
        assert "ended with exit code 5" in client.call("GET", "/v1/swarm/job/loud").json()["error"]
        whole = client.call("GET", "/v1/swarm/log/loud").body
        assert 0 < len(whole) < 40_000_000
        assert client.call("GET", "/v1/swarm/kill-job/loud").json() == {"loud": True}


def test_limits_by_a_control_group(tmp_path, monkeypatch):
    """In folders that look like the kernel's own: what is written for it, who is in the group, what it tells."""
    groups = tmp_path / "groups"
    groups.mkdir()
    monkeypatch.setattr(confine, "delegated", lambda: (groups, frozenset({"memory", "cpu"})))
    look = (
        "import os, sys\nfrom pathlib import Path\n(group,) = Path(sys.argv[1]).glob('mwaconvert-job-*')\n"
        "print(*((group / name).read_text() for name in ('memory.max', 'cpu.max')), flush=True)\n"
        "assert (group / 'cgroup.procs').read_text() == str(os.getpid())\n"
        "(group / 'memory.events').write_text('oom 3\\noom_kill 2\\n')\nos.kill(os.getpid(), 9)"
    )
    with chime(tmp_path) as cluster:
        client = cluster.client()
        client.spawn(
            "held", sys.executable, "-c", look, str(groups), job_mem_limit=1 << 30, job_cpu_limit=1.5
        )
        assert client.wait_for("held", "complete", "failed") == "failed"
        record = client.call("GET", "/v1/swarm/job/held").json()
        assert "out of memory" in record["error"], client.call("GET", "/v1/swarm/log/held").body
        assert record["prepared"]["enforced"]["job_mem_limit"] == "control group"
        assert b"1073741824 150000 100000" in client.call("GET", "/v1/swarm/log/held").body


def test_a_job_without_a_group_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(confine, "delegated", lambda: (tmp_path / "none", frozenset({"memory", "cpu"})))
    with chime(tmp_path) as cluster:
        client = cluster.client()
        client.spawn("free", "true")
        assert client.wait_for("free", "complete", "failed") == "complete"
        record = client.call("GET", "/v1/swarm/job/free").json()
        assert "no control group could be made" in str(record)
