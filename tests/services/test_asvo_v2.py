"""API v2: JSON bodies, tokens that end, errors with words for codes."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import jwt
import pytest
import websockets
from serving import OBSID, SECRET, Serving, serving

from mwaconvert.jobs.control.states import Fault, Role, State
from mwaconvert.services.signing import key_for

API = "/api/v2"
VOLTAGES = {"obs_id": int(OBSID), "offset": 0, "duration": 8, "delivery": "acacia"}


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def client(service, request) -> Iterator[httpx.Client]:
    with logged_in(service, request.node.name[:60]) as found:
        yield found


@contextmanager
def logged_in(service: Serving, name: str, **more) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url + API, trust_env=False) as client:
        login = {"login": "giant-squidv3.0.0", "password": service.user(name, **more)}
        tokens = client.post("/api_login", json=login).raise_for_status().json()
        client.headers["Cookie"] = f"mwa_access_token={tokens['access_token']}"
        client.tokens = tokens
        yield client


def submit(client: httpx.Client, obs_id: str = OBSID) -> int:
    body = {"obs_id": int(obs_id), "download_type": "meta"}
    return client.post("/download_vis_job", json=body).raise_for_status().json()["job_id"]


def test_tokens_say_when_they_end(client):
    facts = jwt.decode(client.tokens["access_token"], options={"verify_signature": False})
    assert 0 < facts["exp"] - facts["iat"] <= 900
    assert set(client.tokens["user"]) == {"id", "login", "email", "is_superuser", "pawsey_group", "dug_group"}
    assert client.get("/user").json()["login"] == "test_tokens_say_when_they_end"
    assert client.get("/auth_status").json()["authenticated"]


def test_refresh_and_logout(client):
    cookies = {"Cookie": f"mwa_refresh_token={client.tokens['refresh_token']}"}
    new = client.post("/refresh", headers=cookies).json()
    assert (
        client.get("/user", headers={"Cookie": f"mwa_access_token={new['access_token']}"}).status_code == 200
    )
    wrong = {"Cookie": f"mwa_access_token={client.tokens['refresh_token']}"}
    assert client.get("/user", headers=wrong).json()["error_code"] == "AUTH_INVALID_TOKEN"
    assert client.post("/logout").status_code == 200
    assert client.get("/user").json()["error_code"] == "AUTH_INVALID_TOKEN"
    assert client.post("/refresh", headers=cookies).status_code == 401


def test_without_and_with_forged_tokens(service, client):
    bare = httpx.Client(base_url=service.url + API, trust_env=False)
    assert bare.get("/user").json()["error_code"] == "AUTH_REQUIRED"
    good = jwt.decode(client.tokens["access_token"], options={"verify_signature": False})
    for forged in (
        jwt.encode(good, "x" * 32, "HS256"),
        jwt.encode(good, None, "none"),
        jwt.encode({**good, "exp": 1}, key_for(SECRET, "tokens"), "HS256"),
        jwt.encode({**good, "key": "1.0"}, key_for(SECRET, "tokens"), "HS256"),
        "x.y.z",
    ):
        reply = bare.get("/user", headers={"Cookie": f"mwa_access_token={forged}"})
        assert (reply.status_code, reply.json()["error_code"]) == (401, "AUTH_INVALID_TOKEN")
    wrong = bare.post("/api_login", json={"login": "x", "password": "y"})
    assert (wrong.status_code, wrong.json()["error_code"]) == (401, "AUTH_INVALID_CREDENTIALS")
    bare.close()


def test_a_job_from_submission_to_its_end(service, client):
    job_id = submit(client)
    again = client.post("/download_vis_job", json={"obs_id": int(OBSID), "download_type": "meta"})
    assert (again.status_code, again.json()["error_code"], again.json()["job_id"]) == (
        409,
        "JOB_DUPLICATE",
        job_id,
    )
    service.complete(job_id, b"data", f"{OBSID}_{job_id}_vis_meta.tar")
    job = client.get(f"/jobs/{job_id}").json()
    assert (job["job_state"], job["job_type"]) == ("completed", 2)
    (file,) = job["product"]["files"]
    assert file["format"] == "tar"
    assert httpx.get(file["url"], trust_env=False).content == b"data"
    refused = client.delete(f"/jobs/{job_id}")
    assert (refused.status_code, refused.json()["error_code"]) == (409, "JOB_STATE")
    service.store.product_removed(service.store.products(job_id)[0].id)
    job = client.get(f"/jobs/{job_id}").json()  # v2 has no state for this
    assert (job["job_state"], job["product"]) == ("error", None)
    assert "expired" in job["error_text"]


def test_cancelling_and_jobs_of_others(service, client):
    job_id = submit(client)
    with logged_in(service, "stranger") as other:
        for reply in (
            other.get(f"/jobs/{job_id}"),
            other.delete(f"/jobs/{job_id}"),
            other.get("/jobs/999999"),
        ):
            assert (reply.status_code, reply.json()["error_code"]) == (404, "JOB_NOT_FOUND")
        assert other.post("/get_jobs", json={}).json() == {"jobs": [], "total_count": 0}
    assert client.delete(f"/jobs/{job_id}").json()["status"] == "success"
    assert service.store.job(job_id).state is State.CANCELLED


def test_listing(service, client):
    ids = [submit(client, f"13000000{k:02d}") for k in range(5)]
    service.store.end_run(service.start(ids[0], "stage"), State.FAILED, Fault.INPUT)
    service.start(ids[1], "package")

    def listed(**wanted) -> tuple[list[int], int]:
        reply = client.post("/get_jobs", json=wanted).raise_for_status().json()
        return [job["id"] for job in reply["jobs"]], reply["total_count"]

    assert listed() == (ids[::-1], 5)
    assert listed(limit=2, offset=1) == ([ids[3], ids[2]], 5)
    assert listed(job_state="error") == ([ids[0]], 1)
    assert listed(job_state="delivering") == ([ids[1]], 1)
    assert listed(job_state="imaging") == ([], 0)
    assert listed(job_type=0) == ([], 0)
    assert listed(date_to="2020-01-01T00:00:00") == ([], 0)
    assert listed(date_from="2020-01-01T00:00:00Z")[1] == 5


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [
        ("conversion_job", {}, "VALID_MISSING_FIELD", "obs_id"),
        ("conversion_job", {"obs_id": 1}, "VALID_INVALID_FIELD", "obs_id"),
        ("conversion_job", {"obs_id": int(OBSID), "nonsense": 1}, "VALID_INVALID_FIELD", "nonsense"),
        ("conversion_job", {"obs_id": int(OBSID), "avg_time_res": "nan"}, "VALID_INVALID_FIELD", "avg_time_res"),
        ("voltage_job", VOLTAGES, "VALID_INVALID_FIELD", "delivery"),
        ("get_jobs", {"days": 31}, "VALID_INVALID_FIELD", "days"),
    ],
)  # fmt: skip
def test_what_is_refused_says_which_field(client, path, body, code, field):
    reply = client.post(f"/{path}", json=body)
    assert reply.status_code == 400
    assert reply.json()["error_code"] == code
    assert [problem["field"] for problem in reply.json()["field_errors"]] == [field]


def test_contradictions_and_other_jobs_are_refused_in_words(client):
    body = {"obs_id": int(OBSID), "centre": "custom"}
    assert "custom needs" in client.post("/conversion_job", json=body).json()["message"]
    assert client.post("/imaging_job", json={}).status_code == 400
    assert client.post("/conversion_job", content=b"{").status_code == 400


def test_defaults_are_those_of_v2(service, client):
    job_id = client.post("/conversion_job", json={"obs_id": int(OBSID)}).json()["job_id"]
    canonical = service.store.job(job_id).canonical
    assert (canonical["output"], canonical["avg_time_res"], canonical["avg_freq_res"]) == ("ms", 2.0, 40.0)


def test_a_user_who_may_only_look(service):
    with logged_in(service, "looker", role=Role.VIEW) as client:
        reply = client.post("/download_vis_job", json={"obs_id": int(OBSID), "download_type": "vis"})
        assert (reply.status_code, reply.json()["error_code"]) == (403, "AUTH_FORBIDDEN")


def test_the_websocket_tells_changes(service, client):
    token = client.get("/get_socket_token").json()["token"]
    url = service.url.replace("http", "ws") + f"{API}/ws/jobs?token="

    async def hear() -> dict:
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(url + "forged", proxy=None)
        async with websockets.connect(url + token, proxy=None) as socket:
            await asyncio.to_thread(submit, client, "1300000042")
            return json.loads(await asyncio.wait_for(socket.recv(), 20))

    assert asyncio.run(hear())["job_state"] == "queued"


def test_one_description_of_all_faces(service):
    description = httpx.get(f"{service.url}/openapi.json", trust_env=False).json()
    assert {"/api/get_jobs", "/api/v2/get_jobs", "/files/{product_id}/{name}", "/health"} <= set(
        description["paths"]
    )


def test_each_filter_finds_what_it_says(service, client, request):
    """All that the body of a listing can ask for, held against the jobs themselves."""
    store = service.store
    ids = [submit(client, f"12000000{k:02d}") for k in range(5)]
    service.start(ids[0], "stage")
    store.end_run(service.start(ids[1], "package"), State.FAILED, Fault.INPUT)
    store.cancel(ids[2], "ann")
    store.product_removed(service.complete(ids[3], b"y").id)
    body = {"obs_id": 1200000000, "output": "uvfits", "avg_time_res": 0, "avg_freq_res": 0}
    ids.append(client.post("/conversion_job", json=body).raise_for_status().json()["job_id"])

    def listed(**wanted) -> list[int]:
        found = client.post("/get_jobs", json=wanted).raise_for_status().json()
        assert found["total_count"] >= len(found["jobs"])
        return [job["id"] for job in found["jobs"]]

    assert listed() == ids[::-1]
    assert listed(limit=2, offset=1) == ids[4:2:-1]
    assert listed(job_state="queued") == [ids[5], ids[4]]
    assert listed(job_state="downloading") == [ids[0]]
    assert listed(job_state="staging") == listed(job_state="imaging") == listed(job_state="expired") == []
    assert listed(job_state="error") == [ids[3], ids[1]]
    assert listed(job_state="cancelled") == [ids[2]]
    assert listed(job_type=0) == [ids[5]]
    assert listed(job_type=2) == ids[4::-1]
    assert listed(job_type=1) == listed(job_type=5) == []
    assert listed(job_type=2, job_state="queued") == [ids[4]]
    assert listed(date_from="2020-01-01T00:00:00") == ids[::-1]
    assert listed(date_to="2020-01-01T00:00:00") == []
    running = store.start_run(ids[4], 1, "tests")
    assert running is not None
    assert listed(job_state="staging") == [ids[4]]
