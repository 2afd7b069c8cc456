"""`mwaconvert jobs run --on slurm` on a real Slurm of one node: fifty conversions, and the head dies in the middle."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from mwaconvert.jobs.control.states import Outcome, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.delivery.package import check_package

OBSID = "1412607288"
N_JOBS = 50
TIMEOUT_S = 600
pytestmark = pytest.mark.services


@pytest.fixture
def cluster():
    from services.slurm import SlurmCluster, is_installed

    if not is_installed():
        pytest.skip("Slurm is not installed, or this is not root (Debian: slurm-wlm munge)")
    with SlurmCluster(cpus=4) as cluster:
        yield cluster


@pytest.fixture
def place(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small.parent, tmp_path / "raw" / OBSID)
    (tmp_path / "products").mkdir()
    lines = [
        f"obs_id={OBSID}, job_type=c, output=uvfits, no_rfi=true, centre=custom,"
        f" phase_centre_ra={number}, phase_centre_dec=-27"
        for number in range(N_JOBS)
    ]
    (tmp_path / "jobs.csv").write_text("\n".join(lines))
    return tmp_path


def start(place: Path, cluster) -> subprocess.Popen[bytes]:
    words = [
        "jobs",
        "run",
        "jobs.csv",
        "--root",
        "raw",
        "-d",
        "products",
        "--on",
        "slurm",
        "-e",
        "errors.json",
    ]
    words += ["--sbatch", "--nice=1", "--max-memory", "1"]
    with (place / "said").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "mwaconvert", *words],
            cwd=place,
            env={**os.environ, **cluster.env},
            stdout=said,
            stderr=subprocess.STDOUT,
        )


def wait_for(true) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_fifty_conversions_and_the_head_dies_in_the_middle(place: Path, cluster) -> None:
    head = start(place, cluster)
    exits = place / "products" / ".mwaconvert-jobs" / "work"
    wait_for(lambda: len(list(exits.glob("**/exit-code"))) >= N_JOBS // 4 or head.poll() is not None)
    head.kill()
    assert head.wait() == -9, (place / "said").read_text()[-2000:]
    head = start(place, cluster)
    assert head.wait(TIMEOUT_S) == 0, (place / "said").read_text()[-2000:]
    assert (place / "errors.json").read_text() == ""

    store = Store(place / "products" / ".mwaconvert-jobs" / "jobs.db")
    done = store.jobs(limit=None)
    assert [job.state for job in done] == [State.COMPLETED] * N_JOBS
    resumed = 0
    for job in done:
        attempts = [attempt for attempt in store.attempts(job.id) if attempt.step == "convert"]
        assert [attempt.outcome for attempt in attempts].count(Outcome.DONE) == 1
        ran = [attempt for attempt in attempts if (attempt.directory / "batch.sh").exists()]
        assert len(ran) == 1, "a conversion was submitted twice"
        assert len({attempt.batch_id for attempt in attempts if attempt.batch_id}) == 1
        resumed += len(attempts) > 1
        assert "--max-memory" in (ran[0].directory / "batch.sh").read_text()
        (product,) = store.products(job.id)
        check_package(Path(product.path))
        with tarfile.open(product.path) as tar:
            member = tar.extractfile("job.json")
            assert member is not None
            facts = json.loads(member.read())
        assert facts["report"]["options"]["phase_centre_deg"] == [job.canonical["centre_ra_deg"], -27]
    store.close()
    assert resumed > 0
    assert len(list((place / "products").glob("*.tar"))) == N_JOBS
    assert cluster.call("squeue", "--noheader", "--states=RUNNING,PENDING") == ""
    assert " %, " in (place / "said").read_text(), "no progress from the logs of batch jobs"
