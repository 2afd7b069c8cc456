"""Limits: by a control group where there is one to be had, else otherwise, and what holds them is told."""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from mwaconvert import machine
from mwaconvert.jobs.control import confine, execute
from mwaconvert.jobs.control.states import Fault
from mwaconvert.jobs.control.work import Limits, StepError


@pytest.fixture
def run(tmp_path):
    def run_here(program: str, limits: Limits, *argv: str):
        words = [sys.executable, "-c", program, *argv]
        return execute.run(words, directory=tmp_path, log_path=tmp_path / "log", limits=limits)

    return run_here


@pytest.fixture
def no_groups(monkeypatch):
    monkeypatch.setattr(confine, "delegated", lambda: None)


@pytest.fixture
def fake_groups(tmp_path, monkeypatch):
    """A folder that looks like the control groups of the kernel, which enforce nothing."""
    own = tmp_path / "groups"
    own.mkdir()
    (own / "cgroup.controllers").write_text("cpu memory pids")
    (own / "cgroup.subtree_control").write_text("")
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n")
    (own / "cgroup.type").write_text("domain")
    monkeypatch.setattr(Path, "rmdir", shutil.rmtree)
    monkeypatch.setattr(confine, "delegated", lambda: confine._delegated_in(own))
    return own


def test_without_groups_the_worker_watches_and_chooses(run, no_groups):
    limits = Limits(memory=1 << 30, cpu_s=100, wall_s=100, files=100, cpus=0.5)
    ended = run("import os; print(len(os.sched_getaffinity(0)))", limits)
    assert ended.held_by == {
        "memory": "watched by the worker",
        "cpus": "choice of CPUs",
        "cpu_s": "resource limit of each process",
        "files": "resource limit of each process",
        "wall_s": "watched by the worker",
    }


def test_programs_are_spread_over_the_cpus(run, tmp_path, no_groups):
    for _ in range(2):
        run("import os; print(sorted(os.sched_getaffinity(0)))", Limits(cpus=1))
    first, second = (tmp_path / "log").read_text().splitlines()
    assert len(eval(first)) == len(eval(second)) == 1
    assert first != second or len(os.sched_getaffinity(0)) == 1


def test_a_group_gets_the_limits_and_the_program(run, fake_groups, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        Path,
        "rmdir",
        lambda path: seen.update({p.name: p.read_text() for p in path.iterdir()}) or shutil.rmtree(path),
    )
    ended = run("pass", Limits(memory=5000, cpus=1.5, wall_s=50))
    assert seen["memory.max"] == "5000"
    assert seen["cpu.max"] == "150000 100000"
    assert seen["cgroup.procs"] == "0"
    assert seen["cgroup.kill"] == "1"
    assert ended.held_by["memory"] == ended.held_by["cpus"] == "control group"
    assert (fake_groups / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert (fake_groups / "mwaconvert-worker" / "cgroup.procs").read_text() == str(os.getpid())
    assert not list(fake_groups.glob("mwaconvert-[0-9]*"))


def test_a_full_group_is_told_in_words(run, fake_groups):
    """As the kernel does it: it counts a kill, and the program is gone."""
    program = (
        "import os, sys; from pathlib import Path; group = next(Path(sys.argv[1]).glob('mwaconvert-[0-9]*'));"
        "(group / 'memory.events').write_text('oom 1\\noom_kill 1\\n'); os.kill(os.getpid(), 9)"
    )
    with pytest.raises(StepError, match="used more than the 3 GB of memory it may") as caught:
        run(program, Limits(memory=3_000_000_000), str(fake_groups))
    assert caught.value.fault is Fault.MEMORY


def test_what_a_killed_worker_left_is_removed(fake_groups):
    for pid in (2**22 + 1, os.getpid()):  # the first is not a number of a process
        (fake_groups / f"mwaconvert-{pid}-0").mkdir()
    assert confine.delegated() == (fake_groups, {"memory", "cpu"})
    assert [path.name for path in fake_groups.glob("mwaconvert-[0-9]*")] == [f"mwaconvert-{os.getpid()}-0"]


def test_a_job_that_outlives_its_worker_is_not_ended(fake_groups, monkeypatch):
    group, held = confine.make_group(Limits(memory=5000, cpus=1), outlives=True)
    assert held == {"memory", "cpu"}
    left = [group, *(fake_groups / f"mwaconvert-job-{2**22 + k}-0" for k in (1, 2))]
    for folder in left[1:]:
        folder.mkdir()

    def rmdir(path):
        """As the kernel does, which keeps a group that has processes."""
        if path != left[2]:
            raise OSError
        shutil.rmtree(path)

    monkeypatch.setattr(Path, "rmdir", rmdir)
    confine.delegated()
    assert [folder.exists() for folder in left] == [True, True, False]
    assert not (left[1] / "cgroup.kill").exists()


def test_the_group_aside_is_in_the_one_that_was_given(fake_groups, monkeypatch):
    """A program that a worker started finds the same place as the worker."""
    (fake_groups / "cgroup.subtree_control").write_text("cpu memory")
    (fake_groups / "cgroup.procs").write_text("1\n")
    monkeypatch.undo()
    monkeypatch.setattr(machine, "control_group", lambda: fake_groups / "mwaconvert-worker")
    assert confine._find.__wrapped__() == (fake_groups, {"memory", "cpu"})


@pytest.mark.parametrize(
    "hindrance",
    [
        lambda own: (own / "cgroup.controllers").write_text("cpu pids"),
        lambda own: (own / "cgroup.procs").write_text(f"{os.getpid()}\n1\n"),
        lambda own: (own / "cgroup.subtree_control").unlink(),
    ],
)
def test_a_group_that_is_not_ours_is_left_alone(fake_groups, hindrance):
    hindrance(fake_groups)
    assert confine._delegated_in(fake_groups) is None
    assert not list(fake_groups.glob("mwaconvert-*"))


def test_what_hides_from_its_process_group_ends_with_the_control_group(run, tmp_path, monkeypatch):
    """In groups of the kernel: a daemon that left session and process group."""
    own = machine.control_group()
    if own is None or not os.access(own, os.W_OK):
        pytest.skip("no control groups (version 2) to be had here")
    monkeypatch.setattr(confine, "delegated", lambda: (own, frozenset()))
    marker = str(tmp_path / "pid")
    program = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid(); open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(100)\n"
        "while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read(): time.sleep(0.01)\n"
    )
    run(program, Limits(memory=1 << 30), marker)
    pid = int(Path(marker).read_text())
    deadline = time.monotonic() + 10
    while machine.process_start(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not list(own.glob(f"mwaconvert-{os.getpid()}-*"))
