"""A process that must not end is started again, told about, and ended with all its children."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mwaconvert import machine
from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.supervise import Health, Service, Supervisor

TIMEOUT_S = 30


@pytest.fixture
def keep_up(tmp_path):
    made = []

    def make(program: str, **options) -> tuple[Supervisor, list]:
        told = []
        settings = {"first_s": 0.01, "healthy_s": 0.3, "check_s": 0.02, "stop_s": 1.0, **options}
        argv = [sys.executable, "-u", "-c", program]
        supervisor = Supervisor(
            Service("it", argv, tmp_path / "log", directory=tmp_path, **settings), told.append
        )
        made.append(supervisor)
        return supervisor, told

    yield make
    for supervisor in made:
        supervisor.stop()


def test_it_runs_and_stops_and_neither_minds_to_be_told_twice(keep_up):
    supervisor, told = keep_up("import time; time.sleep(60)")
    supervisor.stop()
    supervisor.start()
    pid = supervisor.wait_for(Health.RUNNING, timeout_s=TIMEOUT_S).pid
    supervisor.start()
    assert supervisor.status.pid == pid
    supervisor.stop()
    supervisor.stop()
    assert not machine.group_members(pid)
    assert [status.health for status in told][-1] is Health.STOPPED
    supervisor.start()
    assert supervisor.wait_for(Health.RUNNING, timeout_s=TIMEOUT_S).pid != pid


def test_one_that_is_killed_comes_back_degraded_and_then_well(keep_up):
    supervisor, _ = keep_up("import time; time.sleep(60)")
    supervisor.start()
    pid = supervisor.wait_for(Health.RUNNING, timeout_s=TIMEOUT_S).pid
    os.kill(pid, signal.SIGKILL)
    again = supervisor.wait_for(Health.DEGRADED, timeout_s=TIMEOUT_S)
    assert again.reason.startswith("restarted: ended with signal 9")
    assert again.pid != pid
    assert supervisor.wait_for(Health.RUNNING, timeout_s=TIMEOUT_S).pid == again.pid


def test_one_that_always_ends_is_failed_with_the_reason_after_ever_longer_waits(keep_up, tmp_path):
    program = "import time; open('starts', 'a').write(f'{time.monotonic()}\\n'); raise SystemExit(3)"
    supervisor, _ = keep_up(program, most_restarts=3, first_s=0.3, longest_s=0.6, healthy_s=60)
    supervisor.start()
    status = supervisor.wait_for(Health.FAILED, timeout_s=TIMEOUT_S)
    assert status.reason == "ended with exit code 3; restarted 3 times"
    starts = [float(line) for line in (tmp_path / "starts").read_text().split()]
    waits = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(waits) == 3
    assert waits[0] < waits[1]
    supervisor.start()
    assert supervisor.wait_for(Health.FAILED, timeout_s=TIMEOUT_S).restarts == 3


def test_a_program_that_is_not_there(tmp_path):
    service = Service("it", ["/no/such/program"], tmp_path / "log", most_restarts=1, first_s=0.01)
    supervisor = Supervisor(service)
    supervisor.start()
    status = supervisor.wait_for(Health.FAILED, timeout_s=TIMEOUT_S)
    assert status.reason.startswith("ended with exit code 127 (/no/such/program: No such file")
    supervisor.stop()


def test_the_check_says_when_it_is_ready_and_what_is_wrong(keep_up, tmp_path):
    said = [None]
    supervisor, told = keep_up("import time; time.sleep(60)", check=lambda: said[0])
    supervisor.start()
    time.sleep(0.2)
    assert supervisor.status.health is Health.STARTING
    said[0] = ""
    supervisor.wait_for(Health.RUNNING, timeout_s=TIMEOUT_S)
    said[0] = "no data for 10 s"
    assert supervisor.wait_for(Health.DEGRADED, timeout_s=TIMEOUT_S).reason == "no data for 10 s"
    said[0] = ""
    supervisor.wait_for(Health.RUNNING, timeout_s=TIMEOUT_S)
    assert len({status.pid for status in told if status.pid}) == 1


def test_one_that_is_never_ready_is_ended_and_failed(keep_up):
    supervisor, _ = keep_up("import time; time.sleep(60)", check=lambda: None, ready_s=0.2, most_restarts=1)
    supervisor.start()
    assert "was not ready after 0.2 s" in supervisor.wait_for(Health.FAILED, timeout_s=TIMEOUT_S).reason
    assert supervisor.status.pid is None


def test_what_ignores_the_request_to_end_is_killed_with_its_children(keep_up, tmp_path):
    program = (
        "import signal, subprocess, time; signal.signal(15, signal.SIG_IGN);"
        "subprocess.Popen(['sleep', '60']); print('up'); time.sleep(60)"
    )
    supervisor, _ = keep_up(program, stop_s=0.2, check=lambda: "" if (tmp_path / "log").read_text() else None)
    supervisor.start()
    pid = supervisor.wait_for(Health.RUNNING, timeout_s=TIMEOUT_S).pid
    supervisor.stop()
    assert not machine.group_members(pid)


def test_every_wait_has_a_deadline(keep_up):
    supervisor, _ = keep_up("import time; time.sleep(60)", check=lambda: None)
    supervisor.start()
    with pytest.raises(ResourceError, match=r"it is starting after 0\.1 s"):
        supervisor.wait_for(Health.RUNNING, timeout_s=0.1)


def test_it_dies_with_its_supervisor(tmp_path):
    code = (
        "import sys, time; from pathlib import Path;"
        "from mwaconvert.jobs.control.supervise import Health, Service, Supervisor;"
        f"it = Supervisor(Service('it', ['sleep', '60'], Path({str(tmp_path / 'log')!r}))); it.start();"
        "print(it.wait_for(Health.RUNNING, timeout_s=20).pid, flush=True); time.sleep(60)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(supervisor.stdout.readline())
    # it may still be the launcher, which dies likewise once it has begun
    deadline = time.monotonic() + TIMEOUT_S
    while "sleep" not in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]:
        assert time.monotonic() < deadline
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    while machine.process_start(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
