"""API v2 beside jobs: observations, the queue, new keys."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from serving import OBSID, Serving, serving

from mwaconvert.jobs.control.states import Role


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def with_key(service) -> Iterator[Callable[[str], httpx.Client]]:
    """Makes clients that log in with a key."""
    with ExitStack() as stack:

        def log_in(key: str) -> httpx.Client:
            made = httpx.Client(base_url=service.url + "/api/v2", trust_env=False, timeout=60)
            client = stack.enter_context(made)
            tokens = client.post("/api_login", json={"login": "giant-squidv3.0.0", "password": key}).json()
            client.headers["Cookie"] = f"mwa_access_token={tokens.get('access_token')}"
            return client

        yield log_in


@pytest.fixture
def logged_in(service, with_key) -> Callable[..., httpx.Client]:
    """Makes clients of new users."""
    return lambda name, role=Role.OPERATE: with_key(service.user(name, role))


def submit(client: httpx.Client, obs_id: int) -> int:
    body = {"obs_id": obs_id, "download_type": "meta"}
    return client.post("/download_vis_job", json=body).raise_for_status().json()["job_id"]


def test_an_observation_that_is_here(service, logged_in, small: Path):
    shutil.copytree(small.parent, service.folder / "raw" / OBSID)
    client = logged_in("ann")
    found = client.get(f"/observation/metadata/{OBSID}").raise_for_status().json()
    assert found["obs_id"] == int(OBSID)
    assert found["metafits"] == f"{OBSID}.metafits"
    assert found["correlator"] == "mwax"
    assert found["antennas"] > 1
    raw = sorted(path for path in small.parent.iterdir() if path.suffix == ".fits")
    assert found["files"] == [{"name": path.name, "size": path.stat().st_size} for path in raw]
    assert str(service.folder) not in str(found)  # where the site keeps its data is nobody's business


def test_observations_that_are_not_here_or_damaged(service, logged_in):
    client = logged_in("ann")
    reply = client.get("/observation/metadata/1300000000")
    assert (reply.status_code, reply.json()["error_code"]) == (404, "OBS_NOT_FOUND")
    assert client.get("/observation/metadata/12").json()["error_code"] == "VALID_INVALID_FIELD"
    folder = service.folder / "raw" / "1300000001"
    folder.mkdir()
    (folder / "1300000001.metafits").write_text("no FITS")
    reply = client.get("/observation/metadata/1300000001")
    assert (reply.status_code, reply.json()["error_code"]) == (404, "OBS_NOT_FOUND")
    assert str(service.folder) not in reply.text
    assert httpx.get(f"{service.url}/api/v2/observation/metadata/{OBSID}", trust_env=False).status_code == 401


def test_the_queue(service, logged_in):
    ann, bob, dora = (logged_in(*who) for who in (("ann",), ("bob",), ("dora", Role.APPROVE)))
    first, second, third = submit(ann, 1_300_000_000), submit(bob, 1_300_000_001), submit(ann, 1_300_000_002)
    service.start(first, "stage")
    assert (
        ann.get("/scheduler/user_job_count").json()["jobs"] | {"queued": 1, "running": 1}
        == (ann.get("/scheduler/user_job_count").json()["jobs"])
    )
    mine = ann.get("/scheduler/queued_jobs").json()
    assert mine == {
        "jobs": [{"place": 2, "job_id": third, "obs_id": 1_300_000_002, "user": "ann"}],
        "total_count": 2,
    }
    assert [job["job_id"] for job in dora.get("/scheduler/queued_jobs").json()["jobs"]] == [second, third]


def test_a_new_key_ends_the_old_one(service, with_key, logged_in):
    old = service.user("ann")
    client = with_key(old)
    assert client.post("/new_api_key", headers={"Origin": "https://elsewhere.org"}).status_code == 403
    new = client.post("/new_api_key").raise_for_status().json()["api_key"]
    assert client.get("/user").json()["error_code"] == "AUTH_INVALID_TOKEN"
    assert with_key(old).get("/user").status_code == 401
    renewed = with_key(new).get("/user").json()
    assert (renewed["login"], renewed["pawsey_group"]) == ("ann", "mwa")
    assert logged_in("eve", Role.VIEW).post("/new_api_key").status_code == 403
