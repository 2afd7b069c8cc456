"""Jobs as containers of a real Podman."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chime import Chime, Recorded, chime

from services.podman import IMAGE, podman, why_not

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Chime]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with podman(tmp_path_factory.mktemp("podman")) as socket:
        folder = tmp_path_factory.mktemp("chime")
        (folder / "archive").mkdir()
        (folder / "archive" / "intensity").write_text("data")
        with chime(folder, executor="podman", socket=socket) as running:
            yield running


@pytest.fixture
def client(cluster) -> Recorded:
    return cluster.client()


def log_of(client: Recorded, name: str) -> str:
    return client.call("GET", f"/v1/swarm/log/{name}").body.decode()


def test_the_archive_is_there_to_read(client):
    script = "ls /data/chime; echo x > /data/chime/intensity || echo refused; echo $TASK"
    client.spawn("look", "sh", image=IMAGE, arguments=["-c", script], environment={"TASK": "beamform"})
    assert client.wait_for("look", "complete", "failed", "rejected", timeout_s=120) == "complete", log_of(
        client, "look"
    )
    assert log_of(client, "look").splitlines()[0] == "intensity"
    assert {"refused", "beamform"} <= set(log_of(client, "look").splitlines())
    text = client.call("GET", "/v1/swarm/logs/look").json()["look"]
    assert text.startswith("b'20")
    record = client.call("GET", "/v1/swarm/job/look").json()
    assert record["prepared"]["executor"] == "podman"
    assert record["prepared"]["enforced"]["mount_archiver"] == "read-only"
    assert client.call("GET", "/v1/swarm/prune-job/look").json() == {"look": True}


def test_bad_ends(client):
    client.spawn("three", "sh", "-c", "echo oh; exit 3", image=IMAGE)
    client.spawn("no-word", "no-such-word", image=IMAGE)
    client.spawn("no-image", "true", image="localhost/nothing:1")
    assert client.wait_for("three", "complete", "failed", timeout_s=120) == "failed"
    assert (
        client.call("GET", "/v1/swarm/job/three").json()["error"]
        == "three ended with exit code 3; its log ends with: oh"
    )
    assert client.wait_for("no-word", "complete", "failed", timeout_s=120) == "failed"
    assert client.wait_for("no-image", "complete", "failed", "rejected", timeout_s=120) == "rejected"
    assert (
        "there is no image localhost/nothing:1"
        in client.call("GET", "/v1/swarm/job/no-image").json()["error"]
    )


def test_memory_is_limited_and_the_kill_named(client):
    client.spawn(
        "hungry", "dd", image=IMAGE, arguments=["if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"],
        job_mem_limit=32 << 20, job_mem_reservation=1 << 20,
    )  # fmt: skip
    assert client.wait_for("hungry", "complete", "failed", timeout_s=120) == "failed"
    record = client.call("GET", "/v1/swarm/job/hungry").json()
    assert record["prepared"]["enforced"]["job_mem_limit"] == "container"
    assert record["error"] == "hungry was killed: out of memory, it used more than its limit of 32 MiB"


def test_a_kill_ends_the_container(client):
    client.spawn("kids", "sh", "-c", "sleep 300 & sleep 301 & echo up; wait", image=IMAGE)
    deadline = time.monotonic() + 120
    while log_of(client, "kids") != "up\n":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.call("GET", "/v1/swarm/kill-job/kids").json() == {"kids": True}
    assert "kids" not in client.call("GET", "/v1/swarm/jobs").json()


def test_a_container_outlives_its_worker(cluster, client, tmp_path: Path):
    client.spawn("lasts", "sh", "-c", "echo begun; sleep 6; echo done", image=IMAGE)
    deadline = time.monotonic() + 120
    while log_of(client, "lasts") != "begun\n":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    cluster.restart()
    assert client.wait_for("lasts", "complete", "failed", "orphaned", timeout_s=120) == "complete"
    assert log_of(client, "lasts") == "begun\ndone\n"  # once
