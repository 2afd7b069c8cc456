"""The released mwa_client and giant-squid against `serve --trial`, which is killed and stopped as well.

MWA_CLIENT and GIANT_SQUID name the programs, if they are not in the PATH under their own names.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from serving import OBSID, Serving, serving

from mwaconvert.jobs.control.events import follow
from mwaconvert.jobs.control.states import Fault, Happening, Outcome, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Gate, Request
from mwaconvert.jobs.delivery.places import Folder
from mwaconvert.vocabulary.job_file import read_job
from mwaconvert.vocabulary.job_rows import JobKind

pytestmark = pytest.mark.services
_SLOW_S = 180


@dataclass
class Trial:
    """A trial that runs as a program of its own."""

    folder: Path
    process: subprocess.Popen[str] | None
    facts: dict[str, str]

    @property
    def store(self) -> Store:
        return Store(self.folder / "jobs.db")

    def mwa_client(self, *words: object, code: int = 0, secure: bool = False) -> str:
        url = self.facts["asvo_https_url" if secure else "asvo_url"]
        host, _, port = url.partition("://")[2].partition(":")
        env = {
            "MWA_ASVO_HOST": host,
            "MWA_ASVO_PORT": port,
            "MWA_ASVO_HTTPS": "1" if secure else "0",
            "REQUESTS_CA_BUNDLE": self.facts["ca"],
            "WEBSOCKET_CLIENT_CA_BUNDLE": self.facts["ca"],
            "SSL_VERIFY": "1",
        }
        return self._run("MWA_CLIENT", "mwa_client", words, env, code)

    def giant_squid(self, *words: object, code: int = 0) -> str:
        env = {"MWA_ASVO_HOST": self.facts["asvo_https_url"], "SSL_CERT_FILE": self.facts["ca"]}
        return self._run("GIANT_SQUID", "giant-squid", words, env, code)

    def _run(
        self, variable: str, name: str, words: tuple[object, ...], env: dict[str, str], code: int
    ) -> str:
        done = subprocess.run(
            [program(variable, name), *map(str, words)],
            env={**os.environ, **env, "MWA_ASVO_API_KEY": self.facts["key"]},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SLOW_S,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def csv(self, *lines: str) -> Path:
        path = self.folder / "jobs.csv"
        path.write_text("".join(f"obs_id={self.facts['obsid']}, {line}\n" for line in lines))
        return path

    def wait(self, *job_ids: int) -> None:
        store = self.store
        until = time.monotonic() + _SLOW_S
        while not all(store.job(job_id).state.is_terminal for job_id in job_ids):
            assert time.monotonic() < until
            time.sleep(0.2)
        store.close()


def program(variable: str, name: str) -> str:
    found = os.environ.get(variable) or shutil.which(name)
    if found is None or "mwaconvert" in Path(found).read_bytes()[:2000].decode("latin-1"):
        pytest.skip(f"the released {name} is not installed; name it in {variable}")
    return found


def start(folder: Path) -> Trial:
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mwaconvert", "serve", "--trial", str(folder)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    line = process.stdout.readline()
    assert line, (folder / "log").read_text()[-2000:]
    return Trial(folder, process, json.loads(line))


def stop(trial: Trial) -> int:
    trial.process.send_signal(signal.SIGTERM)
    code = trial.process.wait(60)
    trial.process.stdout.close()
    return code


@pytest.fixture(scope="module")
def trial(tmp_path_factory) -> Iterator[Trial]:
    running = start(tmp_path_factory.mktemp("trial"))
    yield running
    assert stop(running) == 0


def test_mwa_client_runs_a_file_to_downloads(trial):
    assert "You have no jobs." in trial.mwa_client("-l")
    jobs = trial.csv(
        "job_type=c, timeres=4, freqres=80, edgewidth=80, conversion=uvfits",
        "job_type=d, download_type=vis",
        "job_type=v, offset=0, duration=8",
    )
    (trial.folder / "got").mkdir()
    said = trial.mwa_client("-c", jobs, "-d", "got", "-e", "errors.json")
    assert said.rstrip().endswith("mwa_client finished successfully")
    obsid = trial.facts["obsid"]
    for name in (f"{obsid}_1_uvfits.tar", f"{obsid}_2_vis.tar"):
        with tarfile.open(trial.folder / "got" / name) as tar:
            assert {f"{obsid}.metafits", "job.json", "SHA256SUMS"} <= set(tar.getnames())
    assert len(list((trial.folder / "got" / "3").glob("*.sub"))) == 2
    assert (trial.folder / "errors.json").read_text() == ""
    said = trial.mwa_client("-c", jobs, "-d", "got")
    assert "Skipping: 1 already running or complete." in said
    for text in ("Ready for Download: Job id: 1", "Ready on /scratch: Job id: 3"):
        assert text in trial.mwa_client("-l")


def test_mwa_client_over_tls_and_everything(trial):
    said = trial.mwa_client("-c", trial.csv("job_type=d, download_type=vis_meta"), secure=True)
    assert "finished successfully" in said
    (trial.folder / "all").mkdir()
    trial.mwa_client("-w", "all", "-d", "all")
    assert len(list((trial.folder / "all").iterdir())) >= 4


def test_mwa_client_tells_of_a_job_that_fails(trial):
    path = trial.folder / "bad.csv"
    path.write_text("obs_id=1000000000, job_type=c, timeres=4\n")
    trial.mwa_client("-c", path, "-e", "failed.json", code=4)
    (error,) = json.loads((trial.folder / "failed.json").read_text())
    assert error["obs_id"] == "1000000000"
    assert error["result"].startswith("Error: obsid 1000000000: no metafits file")


def test_giant_squid_from_submission_to_files(trial):
    obsid = trial.facts["obsid"]
    said = trial.giant_squid("submit-conv", "-p", "avg_time_res=8,output=ms", obsid)
    job_id = int(said.partition("MWA ASVO job ID ")[2].split()[0])
    again = trial.giant_squid("submit-conv", "-p", "avg_time_res=8,output=ms", obsid)
    assert f"Job already running or complete. Job Id: {job_id} ObsId: {obsid}" in again
    trial.wait(job_id)
    trial.giant_squid("wait", job_id)
    (trial.folder / "squid").mkdir()
    said = trial.giant_squid("download", "-d", "squid", job_id)
    assert "File matches the MWA ASVO provided hash" in said
    assert (trial.folder / "squid" / f"{obsid}.ms" / "table.dat").is_file()
    trial.giant_squid("download", "-k", "-d", "squid", job_id)
    (tar,) = (trial.folder / "squid").glob("*.tar")
    whole = tar.read_bytes()
    tar.write_bytes(whole[:10_000])
    trial.giant_squid("download", "-k", "-d", "squid", job_id)
    assert tar.read_bytes() == whole


def test_giant_squid_cancels(trial):
    said = trial.giant_squid("submit-conv", "-p", "avg_time_res=16", trial.facts["obsid"])
    job_id = int(said.partition("MWA ASVO job ID ")[2].split()[0])
    said = trial.giant_squid("cancel", job_id, 999_999)
    assert "Job Id: 999999 not found" in said
    assert "Cancelled 1 jobs" in said
    trial.wait(job_id)
    store = trial.store
    assert store.job(job_id).state is State.CANCELLED
    store.close()
    assert "cannot be cancelled" in trial.giant_squid("cancel", 1)


@pytest.fixture
def still(tmp_path) -> Iterator[tuple[Trial, Serving]]:
    """A service over TLS whose jobs nobody carries out, so that each state can be looked at."""
    ca = trustme.CA()
    leaf = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    with serving(tmp_path, tls=(tmp_path / "cert.pem", tmp_path / "key.pem")) as service:
        facts = {"asvo_https_url": service.url, "ca": str(tmp_path / "ca.pem"), "key": service.user("ann")}
        yield Trial(tmp_path, None, {**facts, "obsid": OBSID}), service


def test_both_clients_list_every_state(still):
    trial, service = still
    store = service.store

    def submit(obs_id: int) -> int:
        row = read_job(JobKind.CONVERSION, {"obs_id": str(obs_id)})
        return store.submit(Request("conversion", "ann", row.canonical, row.given)).id

    ids = [submit(1_300_000_000 + k) for k in range(10)]
    store.start_run(ids[1], 1, "tests")
    service.start(ids[2], "stage")
    service.start(ids[3], "convert")
    service.start(ids[4], "deliver")
    service.complete(ids[5], bytes(1000), "1300000005_6_uvfits.tar")
    store.end_run(service.start(ids[6], "stage"), State.FAILED, Fault.INPUT, "No files found.")
    store.cancel(ids[7], "ann")
    store.product_removed(service.complete(ids[8], b"x", "1300000008_9_uvfits.tar").id)
    store.open_gate(service.start(ids[9], "stage"), Gate("solutions"))
    labels = ["Queued", "Staging", "Retrieving Files from Archive", "Preprocessing", "Delivering",
              "Ready for Download", "Error: No files found.", "Cancelled", "Waiting for calibration"]  # fmt: skip
    shown = ids[:8] + ids[9:]
    said = trial.mwa_client("-l", secure=True)
    for label, job_id in zip(labels, shown, strict=True):
        assert any(f"Job id: {job_id} " in line and label in line for line in said.splitlines()), said
    assert f"Job id: {ids[8]} " not in said
    lines = trial.giant_squid("list", "-j").splitlines()
    found = json.loads(next(line for line in lines if line.startswith("{")))
    states = ["Queued", "Staging", "Downloading", "Preprocessing", "Delivering", "Ready",
              {"Error": "No files found."}, "Cancelled", "WaitCal"]  # fmt: skip
    assert [found[str(job_id)]["jobState"] for job_id in shown] == states
    waiting = trial.giant_squid("list", "-n", "--states", "waitcal")
    assert str(1_300_000_009) in waiting
    assert str(1_300_000_000) not in waiting
    assert str(ids[8]) not in found


@pytest.mark.timeout(1200)  # five services, one after the other, on a machine that may be busy
def test_a_service_that_is_killed_in_any_step_goes_on_where_it_was(tmp_path, request):
    trial = start(tmp_path)

    def end() -> None:
        trial.process.kill()  # the one of that moment

    request.addfinalizer(end)
    store = trial.store
    steps = ["stage", "convert", "check", "package", "deliver"]
    ids = []
    for k, step in enumerate(steps):
        after = store.last_seq()
        made = f"job_type=c, timeres=4, freqres={40 << k // 2}, conversion={('uvfits', 'ms')[k % 2]}"
        trial.mwa_client("-s", "-c", trial.csv(f"{made}, edgewidth=80"))
        for event in follow(store, after, poll_s=0.005):
            if (event.happening, event.step) == (Happening.STEP_STARTED, step):
                break
        trial.process.kill()
        trial.process.wait()
        trial.process.stdout.close()
        ids.append(store.jobs(limit=1)[0].id)
        assert not store.job(ids[-1]).state.is_terminal
        trial = start(tmp_path)
    trial.wait(*ids)
    for job_id in ids:
        assert store.job(job_id).state is State.COMPLETED, store.job(job_id).error_text
        done = [attempt.step for attempt in store.attempts(job_id) if attempt.outcome is Outcome.DONE]
        assert done == steps  # each once
        (product,) = store.products(job_id)
        assert hashlib.sha1(Path(product.path).read_bytes()).hexdigest() == product.sha1
    # what deliveries that were killed left has a hidden name, and is swept a day later
    Folder(tmp_path / "products").sweep(older_than_s=0)
    assert len(list((tmp_path / "products").iterdir())) == len(ids)
    assert trial.mwa_client("-l").count("Ready for Download") == len(ids)
    store.close()
    assert stop(trial) == 0
