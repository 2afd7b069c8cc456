"""What a job system has to carry: queued conversions, packages, and a service with many who look at it.

    python benchmarks/jobs_workloads.py [conversions] [packages] [service] [--seconds 360] [--jobs 1000]

Everything is simulated, on loopback and in temporary folders. The bars of the project: packages as fast as
`tar | sha256sum`; 200 listeners and 50 listings a second, p99 < 200 ms; 10 000 jobs, a page of the list < 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.states import Role, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Request
from mwaconvert.jobs.control.worker import Worker
from mwaconvert.jobs.workflows.registry import workflows
from mwaconvert.jobs.workflows.site import local_site
from mwaconvert.jobs.workflows.submission import submit
from mwaconvert.simulate import simulate
from mwaconvert.vocabulary.job_file import read_job
from mwaconvert.vocabulary.job_rows import JobKind

LISTENERS, LISTINGS_PER_S = 200, 50


def conversions(n_jobs: int, seconds: float) -> None:
    """Queue conversions that differ in their phase centre, and carry out what fits into the time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "products").mkdir()
        made = simulate(folder / "raw" / "new", "mwax-128", n_tiles=8, coarse_channels=2, noise_jy=3)
        obsid = made.metafits.name[:10]
        (folder / "raw" / "new").rename(folder / "raw" / obsid)
        store = Store(folder / "jobs.db")
        site = local_site([folder / "raw"], folder / "products")
        begun = time.perf_counter()
        for number in range(n_jobs):
            centre = {"phase_centre_ra": f"{360 * number / n_jobs:.4f}", "phase_centre_dec": "-27"}
            row = read_job(
                JobKind.CONVERSION, {"obs_id": obsid, "output": "uvfits", "centre": "custom", **centre}
            )
            submit(store, row, "ann", site=site)
        submitted_s = time.perf_counter() - begun
        print(f"{n_jobs} conversions submitted and estimated: {n_jobs / submitted_s:.0f}/s", flush=True)
        begun = time.perf_counter()
        with InlineEngine(Worker(store, workflows(site), folder / "work"), threads=os.cpu_count() or 1):
            while time.perf_counter() - begun < seconds and store.counts()[State.COMPLETED] < n_jobs:
                time.sleep(0.5)
            done, took_s = store.counts(), time.perf_counter() - begun
        packages = len(list((folder / "products").glob("*.tar")))
        store.close()
    print(
        f"{done[State.COMPLETED]} of {n_jobs} conversions done in {took_s:.0f} s "
        f"({done[State.COMPLETED] / took_s:.2f}/s), {done[State.FAILED]} failed, {packages} packages; "
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.0f}",
        flush=True,
    )


def packages() -> None:
    """As benchmarks/packages.py, small."""
    script = Path(__file__).with_name("packages.py")
    subprocess.run([sys.executable, script, "--gib", "0.5", "--runs", "3"], check=True)


@contextmanager
def trial() -> Iterator[dict[str, Any]]:
    """`mwaconvert serve --trial`; the facts that it prints, and its folder."""
    folder = Path(tempfile.mkdtemp())
    words = [sys.executable, "-m", "mwaconvert", "serve", "--trial", str(folder)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert server.stdout is not None
        yield {**json.loads(server.stdout.readline()), "folder": folder, "pid": server.pid}
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
        shutil.rmtree(folder)


def fill(database: Path, owner: str, n_jobs: int) -> None:
    """Jobs that have ended, of one user."""
    store = Store(database)
    for number in range(n_jobs):
        params = {"obs_id": 1_100_000_000 + number, "download_type": "vis", "delivery": "acacia"}
        job = store.submit(Request("download", owner, params, {"obs_id": str(params["obs_id"])}))
        with suppress(InputError):  # a worker was quicker, and found no raw data
            store.cancel(job.id, owner)
    store.close()


async def load(facts: dict[str, Any], seconds: float) -> None:
    """Listeners on the websocket, and listings at a steady rate whatever their answers take."""
    import httpx
    import websockets

    base = facts["asvo_url"]
    async with httpx.AsyncClient(
        base_url=base, timeout=60, limits=httpx.Limits(max_connections=200)
    ) as client:
        answer = await client.post("/api/api_login", auth=("mwa_client", facts["key"]))
        answer.raise_for_status()
        cookie = "; ".join(f"{key}={value}" for key, value in client.cookies.items())
        url = base.replace("http", "ws", 1) + "/api/job_results"
        open_one = [
            websockets.connect(url, additional_headers={"Cookie": cookie}, open_timeout=60)
            for _ in range(LISTENERS)
        ]
        sockets = [await connecting for connecting in open_one]
        times: list[float] = []

        async def listing() -> None:
            begun = time.perf_counter()
            (await client.get("/api/get_jobs")).raise_for_status()
            times.append(time.perf_counter() - begun)

        async def drain(socket: Any) -> int:
            n_messages = 0
            async for _ in socket:
                n_messages += 1
            return n_messages

        draining = [asyncio.create_task(drain(socket)) for socket in sockets]
        database = facts["folder"] / "jobs.db"
        news = asyncio.create_task(asyncio.to_thread(fill, database, "trial", 20))
        begun, tasks = time.perf_counter(), []
        for number in range(int(seconds * LISTINGS_PER_S)):
            await asyncio.sleep(max(0.0, begun + number / LISTINGS_PER_S - time.perf_counter()))
            tasks.append(asyncio.create_task(listing()))
        await asyncio.gather(*tasks, news)
        took_s = time.perf_counter() - begun
        for socket in sockets:
            await socket.close()
        heard = await asyncio.gather(*draining)
    _say_times(f"{LISTENERS} listeners, {len(times) / took_s:.0f} listings/s for {took_s:.0f} s", times)
    print(
        f"  each listener heard {min(heard)} to {max(heard)} messages; load {os.getloadavg()[0]:.0f}",
        flush=True,
    )


def pages(facts: dict[str, Any]) -> None:
    """The list of a user with many jobs, one request after the other: v2, the web page, and v1, which has no pages."""
    import httpx

    with httpx.Client(base_url=facts["asvo_url"], timeout=60) as client:
        answer = client.post("/api/v2/api_login", json={"login": "benchmark", "password": facts["key"]})
        client.cookies.set("mwa_access_token", answer.json()["access_token"])
        client.post("/api/api_login", auth=("mwa_client", facts["key"])).raise_for_status()
        requests = {
            "v2, a page of 50": lambda: client.post("/api/v2/get_jobs", json={"limit": 50}),
            "web page": lambda: client.get("/jobs"),
            "v1, all": lambda: client.get("/api/get_jobs"),
        }
        for what, ask in requests.items():
            begun = time.perf_counter()
            answer = ask()
            first_s = time.perf_counter() - begun
            times = []
            begun_cpu = cpu_s(facts["pid"])
            for _ in range(100):
                begun = time.perf_counter()
                answer = ask()
                times.append(time.perf_counter() - begun)
            used_s = (cpu_s(facts["pid"]) - begun_cpu) / len(times)
            answer.raise_for_status()
            size = f"{len(answer.content) / 1000:.0f} kB"
            _say_times(f"list of 10 000 jobs, {what} ({size})", times)
            print(f"  the first {1e3 * first_s:.0f} ms; {1e3 * used_s:.0f} ms of CPU each", flush=True)


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _say_times(what: str, times: Sequence[float]) -> None:
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    print(
        f"{what}: median {1e3 * statistics.median(ordered):.0f} ms, p99 {1e3 * p99:.0f} ms, "
        f"longest {1e3 * ordered[-1]:.0f} ms",
        flush=True,
    )


def service(seconds: float) -> None:
    """The service of a trial: with few jobs under load, then with many jobs."""
    with trial() as facts:
        database = facts["folder"] / "jobs.db"
        fill(database, "trial", 20)
        asyncio.run(load(facts, min(60, seconds)))
        store = Store(database)
        facts["key"] = store.add_user("many", Role.OPERATE)
        store.close()
        begun = time.perf_counter()
        fill(database, "many", 10_000)
        print(f"10 000 jobs into the store in {time.perf_counter() - begun:.0f} s", flush=True)
        pages(facts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["conversions", "packages", "service"])
    parser.add_argument("--seconds", type=float, default=360, help="of conversions; of load at most 60")
    parser.add_argument("--jobs", type=int, default=1000)
    options = parser.parse_args()
    if "conversions" in options.parts:
        conversions(options.jobs, options.seconds)
    if "packages" in options.parts:
        packages()
    if "service" in options.parts:
        service(options.seconds)


if __name__ == "__main__":
    main()
