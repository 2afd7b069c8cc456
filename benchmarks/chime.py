"""Jobs of CHIME/FRB under load: states of 1000 jobs by regular expression; 100 spawns a minute while 20 clients look.

python benchmarks/chime.py [--minutes 5] [--jobs 1000]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mwaconvert.clients.chime import UNFINISHED, FRBMaster
from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.executors.executor import Cluster, Executor
from mwaconvert.jobs.executors.order import read_order
from mwaconvert.jobs.workflows import cluster

CONFIG = """\
database = "jobs.db"
work = "work"
raw = ["raw"]
[delivery]
packages = "products"
[server]
port = 0
[workers]
here = {here}
[chime]
cpus = 64
[chime.images.alpine]
"""
PER_MINUTE, CLIENTS, LOOK_S = 100, 20, 1.0


@contextmanager
def service(folder: Path, here: int) -> Iterator[tuple[str, int]]:
    """A service as a program of its own: its address, and its number."""
    for name in ("raw", "products"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "service.toml").write_text(CONFIG.format(here=here))
    store = Store(folder / "jobs.db")
    store.add_user("debug", Role.OPERATE, secret="debug")
    store.close()
    words = [sys.executable, "-m", "mwaconvert", "serve", "--config", str(folder / "service.toml")]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert running.stdout is not None
        yield running.stdout.readline().split()[-1] + "/frb-master", running.pid
    finally:
        running.terminate()
        running.wait(60)


def client(url: str) -> FRBMaster:
    master = FRBMaster(url, username="debug", password="debug")
    assert master.API.authorize()
    return master


def cpu_s(pid: int) -> float:
    """CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def told(name: str, seconds: list[float]) -> None:
    """Median, the 99th of a hundred, and the longest, in ms."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    ms = [1000 * value for value in (statistics.median(ordered), p99, ordered[-1])]
    print(f"{name}: {len(ordered)} times, median {ms[0]:.1f} ms, p99 {ms[1]:.1f} ms, longest {ms[2]:.1f} ms")


def states_of_many(n_jobs: int) -> None:
    """How long the states of all jobs take, and those of one in ten."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with service(folder, here=0) as (url, pid):
            store = Store(folder / "jobs.db")
            there = Cluster(_None())
            for k in range(n_jobs):
                order = read_order({"image_name": "alpine", "command": ["true"], "job_name": f"job-{k:05d}"})
                cluster.submit(store, order, "debug", there)
            store.close()
            master = client(url)
            for pattern, n_found in ((".*", n_jobs), ("job-.*7$", n_jobs // 10)):
                seconds = []
                before = cpu_s(pid)
                for _ in range(60):
                    begun = time.perf_counter()
                    found = master.swarm.get_job_status(pattern)
                    seconds.append(time.perf_counter() - begun)
                    assert len(found) == n_found
                print(f"CPU of the service for each: {1000 * (cpu_s(pid) - before) / 60:.1f} ms")
                told(f"states of {n_found} of {n_jobs} jobs by {pattern}", seconds[10:])


class _None(Executor):  # type: ignore[misc]
    """Carries nothing out: jobs are only kept."""


def spawns_under_looks(minutes: float) -> None:
    """Spawn at a steady rate while clients look, until the time is over; then wait for the rest."""
    with tempfile.TemporaryDirectory() as name, service(Path(name), here=8) as (url, _):
        stopping = threading.Event()
        looks: list[float] = []

        def look() -> None:
            master = client(url)
            while not stopping.wait(LOOK_S):
                begun = time.perf_counter()
                master.swarm.get_job_status("load-.*")
                looks.append(time.perf_counter() - begun)

        threads = [threading.Thread(target=look) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        spawns = []
        master = client(url)
        n_spawns = int(minutes * PER_MINUTE)
        begun = time.monotonic()
        for k in range(n_spawns):
            time.sleep(max(0.0, begun + k * 60 / PER_MINUTE - time.monotonic()))
            at = time.perf_counter()
            master.swarm.spawn_job("alpine", ["true"], [], f"load-{k:05d}")
            spawns.append(time.perf_counter() - at)
        took = time.monotonic() - begun
        left = sum(state in UNFINISHED for state in master.swarm.get_job_status("load-").values())
        states = master.swarm.wait("load-", timeout_s=300)
        rest = time.monotonic() - begun - took
        stopping.set()
        for thread in threads:
            thread.join()
        n_complete = sum(state == "complete" for state in states.values())
        print(f"{n_spawns} spawns in {took:.1f} s: {60 * n_spawns / took:.0f} a minute")
        print(
            f"{n_complete} complete; {left} not ended at the last spawn, the last of them {rest:.1f} s later"
        )
        told("spawn", spawns)
        told(f"status of all, {CLIENTS} clients, one look each {LOOK_S:g} s", looks)


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--jobs", type=int, default=1000)
    given = parser.parse_args()
    states_of_many(given.jobs)
    spawns_under_looks(given.minutes)


if __name__ == "__main__":
    main()
