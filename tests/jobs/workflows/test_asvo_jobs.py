"""Jobs from a line of a job file to a package that other programs open."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from pyuvdata import UVData

from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Job
from mwaconvert.jobs.control.worker import Worker
from mwaconvert.jobs.workflows.registry import workflows
from mwaconvert.jobs.workflows.site import local_site
from mwaconvert.jobs.workflows.submission import submit
from mwaconvert.vocabulary.job_file import read_job
from mwaconvert.vocabulary.job_rows import JobKind

OBSID = "1412607288"


@pytest.fixture
def root(small: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "raw" / OBSID
    shutil.copytree(small.parent, folder)
    return folder.parent


def run(tmp_path: Path, root: Path, *jobs: tuple[JobKind, dict[str, str]]) -> list[Job]:
    store = Store(tmp_path / "jobs.db")
    worker = Worker(store, workflows(local_site([root], tmp_path / "products")), tmp_path / "work")
    ids = [submit(store, read_job(kind, {"obs_id": OBSID, **params}), "ann").id for kind, params in jobs]
    with InlineEngine(worker) as engine:
        engine.run_until_idle(timeout_s=120)
    done = [store.job(job_id) for job_id in ids]
    store.close()
    return done


def products(tmp_path: Path, job: Job) -> list[Path]:
    store = Store(tmp_path / "jobs.db")
    found = [Path(product.path) for product in store.products(job.id)]
    store.close()
    return found


def test_conversion_and_download(tmp_path: Path, root: Path) -> None:
    converted, raw = run(
        tmp_path,
        root,
        (JobKind.CONVERSION, {"avg_time_res": "4", "avg_freq_res": "40", "output": "uvfits"}),
        (JobKind.DOWNLOAD, {"download_type": "vis"}),
    )
    assert (converted.state, raw.state) == (State.COMPLETED, State.COMPLETED), (
        converted.error_text,
        raw.error_text,
    )
    (package,) = products(tmp_path, converted)
    assert package.name == f"{OBSID}_{converted.id}_uvfits.tar"
    with tarfile.open(package) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path / "out", filter="data")
    assert sorted(names) == sorted([f"{OBSID}.uvfits", f"{OBSID}.metafits", "job.json", "SHA256SUMS"])
    facts = json.loads((tmp_path / "out" / "job.json").read_text())
    assert facts["canonical"]["avg_time_res"] == 4
    assert facts["report"]["options"]["time_res_s"] == 4
    data = UVData.from_file(tmp_path / "out" / f"{OBSID}.uvfits")
    assert data.Ntimes == 2
    (package,) = products(tmp_path, raw)
    with tarfile.open(package) as tar:
        assert {path.name for path in (root / OBSID).glob("*.fits")} <= set(tar.getnames())


def test_a_measurement_set_is_delivered_as_files(tmp_path: Path, root: Path) -> None:
    params = {"output": "ms", "delivery": "scratch", "delivery_format": "files"}
    (job,) = run(tmp_path, root, (JobKind.CONVERSION, params))
    assert job.state is State.COMPLETED, job.error_text
    folder = tmp_path / "products" / str(job.id)
    assert (folder / f"{OBSID}.ms" / "table.dat").is_file()
    assert (folder / f"{OBSID}.metafits").is_file()


def test_a_truncated_raw_file_is_named(tmp_path: Path, root: Path) -> None:
    victim = sorted((root / OBSID).glob("*_ch*.fits"))[0]
    victim.write_bytes(victim.read_bytes()[:-5000])
    (job,) = run(tmp_path, root, (JobKind.CONVERSION, {}))
    assert job.state is State.FAILED
    assert victim.name in str(job.error_text)


def test_an_unknown_observation(tmp_path: Path, root: Path) -> None:
    shutil.rmtree(root / OBSID)
    (job,) = run(tmp_path, root, (JobKind.CONVERSION, {}))
    assert job.state is State.FAILED
    assert f"no metafits file {OBSID}.metafits found" in str(job.error_text)
