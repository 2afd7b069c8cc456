"""Children: limits, ends in words, and nothing left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mwaconvert import machine
from mwaconvert.jobs.control import execute
from mwaconvert.jobs.control.states import Fault
from mwaconvert.jobs.control.work import CancelledError, Limits, StepError


@pytest.fixture
def run(tmp_path):
    def run_here(*argv: str, **options):
        return execute.run(argv, directory=tmp_path, log_path=tmp_path / "log", **options)

    return run_here


def python(program: str) -> tuple[str, str, str]:
    return sys.executable, "-c", program


def gone(group: int, timeout_s: float = 10) -> bool:
    deadline = time.monotonic() + timeout_s
    while machine.group_members(group):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_what_a_program_prints_is_in_the_log_and_what_it_used_is_told(run, tmp_path):
    ended = run(*python("import sys; print('out'); print('err', file=sys.stderr); sum(range(10**6))"))
    assert set((tmp_path / "log").read_text().split()) == {"out", "err"}
    assert ended.cpu_s > 0
    assert ended.memory > 1_000_000
    assert 0 < ended.wall_s < 30


def test_arguments_reach_the_program_as_they_are(run, tmp_path):
    run(*python("import sys; print(sys.argv[1:])"), "$HOME; rm -rf *", "a b", "'")
    assert (tmp_path / "log").read_text().strip() == str(["$HOME; rm -rf *", "a b", "'"])


def test_it_runs_in_its_folder_with_the_environment_given_and_no_input(run, tmp_path):
    run(*python("import os, sys; print(os.getcwd(), os.environ['X'], sys.stdin.read())"), env={"X": "1"})
    assert (tmp_path / "log").read_text().split() == [str(tmp_path), "1"]


@pytest.mark.parametrize(
    ("program", "fault", "words"),
    [
        (
            "print('no such tile'); raise SystemExit(3)",
            Fault.EXIT,
            "ended with exit code 3; its log ends with: no such",
        ),
        ("import os; os.kill(os.getpid(), 11)", Fault.SIGNAL, "was ended by signal 11 (segmentation fault)"),
    ],
)
def test_a_bad_end_is_told_in_words(run, program, fault, words):
    with pytest.raises(StepError) as caught:
        run(*python(program))
    assert caught.value.fault is fault
    assert words in str(caught.value)


def test_a_program_that_is_not_there(run):
    with pytest.raises(StepError, match="exit code 127; its log ends with: no-such-program: No such file"):
        run("no-such-program")


@pytest.mark.parametrize(
    ("limits", "program", "fault", "words"),
    [
        (Limits(wall_s=0.3), "import time; time.sleep(60)", Fault.TIMEOUT, "longer than the 0.3 s"),
        (Limits(cpu_s=1), "while True: pass", Fault.TIMEOUT, "more than its 1 s of CPU"),
        (
            Limits(memory=100_000_000),
            "import time; x = b'1' * 120_000_000; time.sleep(60)",
            Fault.MEMORY,
            "more than the 0.1 GB it may",
        ),
        (Limits(memory=100_000_000), "x = b'1' * 10**9", Fault.EXIT, "MemoryError"),
        (Limits(files=20), "x = [open('/dev/null') for _ in range(30)]", Fault.EXIT, "Too many open files"),
    ],
)
def test_limits_hold_and_are_named(run, limits, program, fault, words):
    with pytest.raises(StepError) as caught:
        run(*python(program), limits=limits)
    assert caught.value.fault is fault
    assert words in str(caught.value)


def test_the_memory_of_all_processes_of_a_program_counts(run):
    grown = "import time; x = b'1' * 60_000_000; time.sleep(60)"
    start = f"subprocess.Popen([sys.executable, '-c', {grown!r}])"
    two = f"import subprocess, sys; [child.wait() for child in [{start}, {start}]]"
    with pytest.raises(StepError) as caught:
        run(*python(two), limits=Limits(memory=100_000_000))
    assert caught.value.fault is Fault.MEMORY


def test_lines_are_told_as_they_come(run):
    told = []
    seen = threading.Event()

    def on_line(line):
        told.append((line, time.monotonic()))
        seen.set()

    run(*python("import time; print('a', flush=True); time.sleep(0.5); print('b')"), on_line=on_line)
    assert [line for line, _ in told] == ["a", "b"]
    assert told[1][1] - told[0][1] > 0.2


def test_a_cancel_ends_the_whole_group_even_what_ignores_the_request(run, tmp_path):
    program = (
        "import signal, subprocess, time; signal.signal(15, signal.SIG_IGN);"
        "subprocess.Popen(['sleep', '60']); print('up', flush=True); time.sleep(60)"
    )
    cancelled, group = threading.Event(), []
    with pytest.raises(CancelledError):
        run(
            *python(program),
            cancelled=cancelled,
            grace_s=0.2,
            on_start=lambda pid, started: group.append(pid),
            on_line=lambda line: cancelled.set(),
        )
    assert gone(group[0], 0)


def test_what_outlives_the_program_is_ended_with_it(run):
    group = []
    run(
        *python("import subprocess; subprocess.Popen(['sleep', '60'])"),
        on_start=lambda pid, started: group.append(pid),
    )
    assert gone(group[0], 0)


def test_a_callback_that_raises_leaves_no_process(run):
    def on_start(pid, started):
        group.append(pid)
        raise ValueError

    group = []
    with pytest.raises(ValueError):  # noqa: PT011
        run("sleep", "60", on_start=on_start)
    assert gone(group[0], 0)


def _worker_with_child(folder: Path, program: str) -> tuple[subprocess.Popen, int, str]:
    """A process that runs a program by `execute.run`, and the group of that program."""
    code = (
        "import sys; from pathlib import Path; from mwaconvert.jobs.control import execute;"
        f"here = Path({str(folder)!r});"
        f"execute.run({list(python(program))!r}, directory=here, log_path=here / 'log',"
        "on_start=lambda pid, started: print(pid, started, flush=True))"
    )
    worker = subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True)
    pid, started = worker.stdout.readline().split()
    log = folder / "log"
    deadline = time.monotonic() + 20
    while "up" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return worker, int(pid), started


def end(worker: subprocess.Popen) -> None:
    worker.kill()
    worker.wait()
    worker.stdout.close()


def test_the_child_dies_with_its_worker_and_what_it_left_is_found_and_ended(tmp_path):
    program = (
        "import subprocess, time; subprocess.Popen(['sleep', '60']); print('up', flush=True); time.sleep(60)"
    )
    worker, group, started = _worker_with_child(tmp_path, program)
    end(worker)
    deadline = time.monotonic() + 10
    while machine.process_start(group) is not None:
        assert time.monotonic() < deadline
    assert machine.group_members(group)  # the grandchild knows nothing of it
    assert execute.end_left_over(group, started)
    assert gone(group, 0)
    assert not execute.end_left_over(group, started)


def test_a_number_that_belongs_to_somebody_else_is_left_alone():
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        assert not execute.end_left_over(other.pid, "00000000:1")
        mine = machine.process_start(other.pid)
        boot, ticks = mine.split(":")
        assert not execute.end_left_over(other.pid, f"{boot}:{int(ticks) - 1}")
        assert other.poll() is None
        assert execute.end_left_over(other.pid, mine)
    finally:
        os.killpg(other.pid, signal.SIGKILL)
        other.wait()


def test_the_launcher_refuses_to_begin_when_its_worker_is_dead():
    wanted = '{"parent": 1, "memory": null, "cpu_s": null, "files": null}'
    done = subprocess.run(
        [sys.executable, "-I", "-S", execute._LAUNCH, wanted, "echo", "begun"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "worker died" in done.stderr
