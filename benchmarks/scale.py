"""What an observation, a night and a survey take, from unit costs that are measured here.

    python benchmarks/scale.py units            unit costs but that of batch jobs, as JSON
    python benchmarks/scale.py table            time and binding resource by machine, from the units of docs/scale.md
    python benchmarks/scale.py slurm [--jobs N]  N small observations through a Slurm of one node, against the prediction

Costs are CPU seconds, so that other work on the machine does not count. Slurm needs root, slurm-wlm and munge.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mwaconvert.simulate import simulate

GB = 1e9


@dataclass(frozen=True)
class Units:
    """Costs. Times are CPU seconds, of all cores together."""

    start_s: float = 0.4  # a conversion of next to nothing
    convert_s_per_gb: float = 0.55  # raw data, averaged, without detection of interference
    detect_s_per_gb: float = 1.64  # detection on top
    pack_s_per_gb: float = 3.8  # of product: tar, SHA-1 and SHA-256
    control_s: float = 0.25  # a job's states and steps, on the head
    batch_s: float = 0.02  # sbatch and squeue, on the head: what `slurm` measures above control_s


@dataclass(frozen=True)
class Machine:
    """Where it runs: cores of all nodes, bytes a second that disks give and take; one process begins the jobs."""

    name: str
    cores: int
    read_gb_per_s: float
    write_gb_per_s: float
    slurm: bool = False


@dataclass(frozen=True)
class Load:
    """What is to be converted: raw data, and what averaging leaves of them."""

    name: str
    observations: int
    raw_gb: float
    product_gb: float


MACHINES = (
    Machine("laptop, 8 cores, one NVMe", 8, 2.0, 1.0),
    Machine("node, 64 cores, array of disks", 64, 5.0, 3.0),
    Machine("20 Slurm nodes of 64 cores, shared disk", 1280, 20.0, 10.0, slurm=True),
)
#: of one node, whatever the disk gives
NODE_GB_PER_S = 5.0
LOADS = (
    Load("one observation", 1, 10.0, 1.0),
    Load("a night", 240, 10.0, 1.0),
    Load("a survey", 10_000, 10.0, 1.0),
)


def times_s(load: Load, machine: Machine, units: Units, *, detect: bool = True) -> dict[str, float]:
    """Seconds for which each resource is busy; the largest binds, as they work at the same time."""
    n, raw_gb, product_gb = (
        load.observations,
        load.observations * load.raw_gb,
        load.observations * load.product_gb,
    )
    # a node of a cluster gets a part of the shared disk
    reads, writes = (
        min(speed, NODE_GB_PER_S * n) for speed in (machine.read_gb_per_s, machine.write_gb_per_s)
    )
    passes = 2 if detect else 1  # interference is looked for before the data are converted
    per_gb = units.convert_s_per_gb + (units.detect_s_per_gb if detect else 0)
    cores_s = n * units.start_s + raw_gb * per_gb + product_gb * units.pack_s_per_gb
    # one observation uses the cores of one node
    cores = machine.cores if n > 20 else min(machine.cores, 64)
    head_s = n * (units.control_s + (units.batch_s if machine.slurm else 0))
    return {
        "cores": cores_s / cores,
        "reading": passes * raw_gb / reads,
        "writing": 2 * product_gb / writes,  # the product, and the package of it
        "head": head_s,
    }


def table(units: Units) -> str:
    """All loads on all machines, as Markdown."""
    lines = [
        "| | " + " | ".join(machine.name for machine in MACHINES) + " |",
        "|---|" + "---|" * len(MACHINES),
    ]
    for load in LOADS:
        for detect in (False, True):
            cells = []
            for machine in MACHINES:
                busy = times_s(load, machine, units, detect=detect)
                binds = max(busy, key=lambda what: busy[what])
                cells.append(f"{in_words(busy[binds])}, {binds}")
            what = load.name + (", interference looked for" if detect else "")
            lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def in_words(seconds: float) -> str:
    """A time with its unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}" if seconds >= 10 * size else f"{seconds / size:.1f} {unit}"
    return f"{seconds:.2g} s"


def cpu_of(argv: list[str], cwd: Path) -> float:
    """CPU seconds of a program and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "mwaconvert", *argv], cwd=cwd, check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def units() -> Units:
    """Measure: two sizes of an observation, so that what does not grow with the data comes out apart."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = simulate(folder / "s", n_tiles=4, duration_s=8, noise_jy=5)
        big = simulate(
            folder / "b", n_tiles=128, duration_s=32, coarse_channels=4, noise_jy=5, rfi_fraction=0.01
        )
        raw_gb = sum(path.stat().st_size for path in big.raw) / GB
        words = [
            "--timeres",
            "8",
            "--freqres",
            "160",
            "-q",
            "--no-defaults",
            "--overwrite",
            "-o",
            "made.uvfits",
        ]
        found = {}
        for what, more in (("convert", ["--no-rfi"]), ("detect", [])):
            start_s, whole_s = (
                min(cpu_of([str(made.metafits), *words, *more], folder) for _ in range(3))
                for made in (small, big)
            )
            found[what] = start_s, (whole_s - start_s) / raw_gb
        pack_s = pack_s_per_gb(folder, big.metafits)
        control_s = control(folder)
    (start_s, convert), (_, both) = found["convert"], found["detect"]
    return Units(start_s, convert, both - convert, pack_s, control_s)


def pack_s_per_gb(folder: Path, metafits: Path) -> float:
    """CPU seconds for a gigabyte of a package."""
    from mwaconvert.jobs.delivery.package import check_package, write_package

    contents = {metafits.name: metafits, **{path.name: path for path in metafits.parent.glob("*.fits")}}
    before = time.process_time()
    made = write_package(folder / "p.tar", contents, {"job_id": 1})
    check_package(made.path)
    return (time.process_time() - before) / (made.n_bytes / GB)


def control(folder: Path) -> float:
    """CPU seconds of the head for a job, without its conversion: twenty of them through the store."""
    place = make_site(folder / "site", 20)
    before = time.process_time()
    run_here(place)
    return (time.process_time() - before) / 20


def make_site(place: Path, n_jobs: int) -> Path:
    """Raw data of small observations, each with its own obsid, and their job file."""
    (place / "products").mkdir(parents=True)
    lines = []
    for number in range(n_jobs):
        obsid = 1412607288 + 8 * number
        simulate(place / "raw" / str(obsid), obsid=obsid, n_tiles=4, duration_s=4, noise_jy=5)
        lines.append(f"obs_id={obsid}, job_type=c, output=uvfits")
    (place / "jobs.csv").write_text("\n".join(lines))
    return place


def run_here(place: Path) -> None:
    """All jobs of a site, in this process and its children."""
    from mwaconvert.jobs.control.inline import InlineEngine
    from mwaconvert.jobs.control.store import Store
    from mwaconvert.jobs.control.worker import Worker
    from mwaconvert.jobs.workflows.registry import workflows
    from mwaconvert.jobs.workflows.site import local_site
    from mwaconvert.jobs.workflows.submission import submit
    from mwaconvert.vocabulary.job_file import read_job_file

    site = local_site([place / "raw"], place / "products")
    store = Store(place / "jobs.db")
    for row in read_job_file(place / "jobs.csv"):
        submit(store, row, "scale", site=site)
    with InlineEngine(Worker(store, workflows(site), place / "work"), threads=2) as engine:
        engine.run_until_idle(3600)
    store.close()


def on_slurm(n_jobs: int) -> dict[str, float]:
    """`jobs run --on slurm` on a real Slurm: CPU seconds of the head, seconds from the first job to the last."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from services.slurm import SlurmCluster

    with tempfile.TemporaryDirectory() as name, SlurmCluster(cpus=4) as cluster:
        place = make_site(Path(name) / "site", n_jobs)
        words = [
            sys.executable,
            "-m",
            "mwaconvert",
            "jobs",
            "run",
            "jobs.csv",
            "--root",
            "raw",
            "-d",
            "products",
        ]
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(
            [*words, "--on", "slurm", "-q"], cwd=place, env={**os.environ, **cluster.env}, check=True
        )
        took_s, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        n_packages = len(list((place / "products").glob("*.tar")))
    head_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "jobs": n_jobs,
        "packages": n_packages,
        "wall_s": took_s,
        "head_cpu_s": head_s,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["units", "table", "slurm"])
    parser.add_argument("--jobs", type=int, default=200)
    options = parser.parse_args()
    if options.part == "units":
        measured = asdict(units())
        del measured["batch_s"]
        print(json.dumps(measured, indent=1))
    elif options.part == "table":
        print(table(Units()))
    else:
        for n_jobs in (max(1, options.jobs // 10), options.jobs):
            print(json.dumps(on_slurm(n_jobs)), flush=True)


if __name__ == "__main__":
    main()
