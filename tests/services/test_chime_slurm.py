"""Jobs as batch jobs of a real Slurm; a script stands for Apptainer, and runs the command without a container."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chime import Chime, chime

from services.slurm import SlurmCluster, is_installed

pytestmark = pytest.mark.services
#: exec|run OPTIONS IMAGE COMMAND...: says what it was asked for, and runs the command
APPTAINER = """#!/bin/sh
how=$1; shift
while [ "${1#--}" != "$1" ]; do
  if [ "$1" = --bind ]; then echo "bind $2"; shift; fi
  shift
done
echo "$how $(basename $1) $APPTAINERENV_TASK"; shift
exec "$@"
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Iterator[Chime]:
    if not is_installed():
        pytest.skip("Slurm is not installed, or not allowed (Debian: slurm-wlm, munge)")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "apptainer"
    program.write_text(APPTAINER)
    program.chmod(0o755)
    (tmp_path / "sif").mkdir()
    (tmp_path / "sif" / "alpine_latest.sif").touch()
    with SlurmCluster() as slurm:
        for name, value in {**slurm.env, "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin:/usr/sbin"}.items():
            monkeypatch.setenv(name, value)
        with chime(tmp_path, executor="apptainer", sif=str(tmp_path / "sif")) as running:
            yield running


def log_of(client, name: str) -> str:
    return client.call("GET", f"/v1/swarm/log/{name}").body.decode()


def test_jobs_on_slurm(cluster, tmp_path: Path):
    client = cluster.client()
    small = {"job_mem_limit": 64 << 20, "job_mem_reservation": 1 << 20}
    client.spawn("one", "sh", "-c", "echo $$; exit 0", environment={"TASK": "beamform"}, **small)
    client.spawn("bad", "sh", "-c", "exit 3", **small)
    client.spawn("none", "true", image="nothing", **small)
    client.spawn(
        "long",
        "sh",
        "-c",
        f"echo begun >> {tmp_path}/marks; sleep 12; echo done >> {tmp_path}/marks",
        **small,
    )
    client.spawn("kids", "sh", "-c", "sleep 300 & echo $!; sleep 301", **small)
    assert client.wait_for("one", "complete", "failed", timeout_s=120) == "complete"
    said = log_of(client, "one").splitlines()
    assert said[:2] == [f"bind {tmp_path}/archive:/data/chime:ro", "exec alpine_latest.sif beamform"]
    assert client.wait_for("bad", "complete", "failed", timeout_s=120) == "failed"
    assert "ended with exit code 3" in client.call("GET", "/v1/swarm/job/bad").json()["error"]
    assert client.wait_for("none", "complete", "failed", "rejected", timeout_s=120) == "rejected"
    # the worker goes and comes back: the batch job is found again
    deadline = time.monotonic() + 60
    while not (tmp_path / "marks").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    cluster.restart()
    assert client.wait_for("long", "complete", "failed", "orphaned", timeout_s=120) == "complete"
    assert (tmp_path / "marks").read_text().split() == ["begun", "done"]
    pid = int(log_of(client, "kids").splitlines()[-1])
    assert client.call("GET", "/v1/swarm/kill-job/kids").json() == {"kids": True}
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
