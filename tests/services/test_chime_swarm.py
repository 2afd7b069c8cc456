"""Jobs as services of a swarm, against a server that answers as a manager of one does; no real swarm is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chime import Chime, chime
from fake_docker import Swarm, fake_docker


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    with fake_docker(tmp_path / "docker.sock") as running:
        yield running


@pytest.fixture
def cluster(tmp_path: Path, swarm: Swarm) -> Iterator[Chime]:
    socket = f"unix://{tmp_path}/docker.sock"
    with chime(tmp_path, executor="docker", socket=socket, network="chime-net") as running:
        yield running


def test_a_service_and_its_states(cluster, swarm, tmp_path):
    client = cluster.client()
    client.spawn(
        "good-1", "sh", image="good", arguments=["-c", "x"], environment={"A": "b"}, job_cpu_limit=1.5
    )
    seen = set()
    while (word := client.status("good-1")["good-1"]) != "complete":
        assert word not in ("failed", "rejected", "orphaned"), client.call(
            "GET", "/v1/swarm/job/good-1"
        ).json()
        seen.add(word)
    assert "running" in seen
    assert "assigned" in seen  # a state of the swarm itself
    assert client.call("GET", "/v1/swarm/log/good-1").body == b"said\n"
    assert swarm.services == {}  # it is removed
    (spec,) = swarm.created
    task = spec["TaskTemplate"]
    container = task["ContainerSpec"]
    assert (container["Image"], container["Command"], container["Args"]) == ("good", ["sh"], ["-c", "x"])
    assert container["Env"] == ["A=b"]
    mount = container["Mounts"][0]
    assert (mount["Source"], mount["Target"], mount["ReadOnly"]) == (
        f"{tmp_path}/archive",
        "/data/chime",
        True,
    )
    assert task["Resources"]["Limits"] == {"NanoCPUs": 1500000000, "MemoryBytes": 4294967296}
    assert task["Resources"]["Reservations"] == {"NanoCPUs": 1000000000, "MemoryBytes": 268435456}
    assert task["RestartPolicy"]["Condition"] == "none"
    assert task["Networks"] == [{"Target": "chime-net"}]


@pytest.mark.parametrize(
    ("image", "word", "error"),
    [
        ("bad", "failed", "bad ended with exit code 3"),
        ("refused", "rejected", "a node refused it: No such image: refused"),
        ("lost", "orphaned", "it is not started again"),
    ],
)
def test_bad_ends(cluster, image, word, error):
    client = cluster.client()
    client.spawn(image, "true", image=image)
    assert client.wait_for(image, "complete", "failed", "rejected", "orphaned") == word
    assert error in client.call("GET", f"/v1/swarm/job/{image}").json()["error"]


def test_a_kill_and_a_restart(cluster, swarm):
    client = cluster.client()
    client.spawn("slow", "true", image="slow")
    while not swarm.services:
        pass
    cluster.restart()
    assert client.wait_for("slow", "pending") == "pending"
    assert client.call("GET", "/v1/swarm/kill-job/slow").json() == {"slow": True}
    assert len(swarm.created) == 1
    assert swarm.services == {}
