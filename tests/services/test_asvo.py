"""API v1 as the recorded clients speak it; nothing here needs more than pip installs."""

import hashlib
import json
import os
import shutil
import ssl
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme
from fake_s3 import fake_s3
from recorded_asvo import FORMS, RecordedGiantSquid, RecordedMwaClient
from serving import OBSID, Serving, serving

from mwaconvert.jobs.control.states import Fault, Role, State
from mwaconvert.jobs.control.work import Quotas
from mwaconvert.jobs.delivery.places import PART
from mwaconvert.services.server import tidy

VIS = {"obs_id": OBSID, "download_type": "vis"}
CONVERSION = {"obs_id": OBSID, "timeres": "4", "freqres": "80", "conversion": "uvfits"}


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def client(service, request) -> RecordedMwaClient:
    return logged_in(service, request.node.name)


def logged_in(service: Serving, name: str, **more) -> RecordedMwaClient:
    client = RecordedMwaClient(service.url, service.user(name[:60], **more))
    reply = client.login()
    assert reply.status == 200, reply.body
    assert client.cookie.startswith("MWA_JOB_COOKIE=")
    return client


def rows(client) -> dict[int, dict]:
    return {item["row"]["id"]: item["row"] for item in client.get_jobs().json()}


def test_a_login_without_a_length_to_a_doubled_slash(service):
    client = RecordedGiantSquid(f"{service.url}/", service.user("squid"))
    assert client.login().status == 200
    assert client.get_jobs().json() == []


def test_the_cookie_is_out_of_reach(client):
    cookie = client.login().headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "; secure" not in cookie  # this server has no TLS: a secure cookie would not come back


def test_behind_a_proxy_with_tls_the_cookie_goes_over_tls_alone(tmp_path):
    server = {"port": 0, "public_url": "https://convert.example.org"}
    with serving(tmp_path, server=server) as behind:
        client = RecordedMwaClient(behind.url, behind.user())
        assert "; secure" in client.login().headers["set-cookie"].lower()


def test_submissions_duplicates_and_refusals(client):
    first = client.submit("download_vis_job", VIS)
    assert first.status == 200
    job_id = first.json()["job_id"]
    again = client.submit("download_vis_job", {**VIS, "delivery": "acacia"})
    assert (again.status, again.json()) == (
        400,
        {"error": "Job already running or complete", "error_code": 2, "job_id": job_id},
    )
    for params, text in (
        ({"obs_id": "12", "download_type": "vis"}, "'12' is not an observation id of 10 digits"),
        ({"obs_id": OBSID, "download_type": "x"}, "'x' is not one of vis, vis_meta"),
        ({**VIS, "nonsense": "1"}, "there is no parameter nonsense"),
    ):
        reply = client.submit("download_vis_job", params)
        assert reply.status == 400
        assert reply.json()["error_code"] == 0
        assert text in reply.json()["error"]
        assert "job_id" not in reply.json()


def test_all_forms_of_giant_squid(service):
    client = RecordedGiantSquid(service.url, service.user("forms"))
    client.login()
    for words, (path, form) in FORMS.items():
        reply = client.submit(path, form)
        if "bf" in words or "image" in words:
            assert (reply.status, reply.json()["error_code"]) == (400, 0), words
        else:
            assert set(reply.json()) == {"job_id"}, words
    assert {row["job_type"] for row in rows(client).values()} == {0, 1, 2, 3}


def test_rows_in_every_state(service, client):
    ids = [
        client.submit("download_vis_job", {**VIS, "obs_id": f"13000000{k:02d}"}).json()["job_id"]
        for k in range(7)
    ]
    store = service.store
    service.start(ids[1], "stage")
    service.start(ids[2], "package")
    service.complete(ids[3], b"x" * 100)
    store.end_run(service.start(ids[4], "stage"), State.FAILED, Fault.INPUT)
    store.cancel(ids[5], "ann")
    store.product_removed(service.complete(ids[6], b"y").id)
    found = rows(client)
    assert [found[i]["job_state"] for i in ids[:6]] == [
        "queued", "downloading", "delivering", "completed", "error", "cancelled",
    ]  # fmt: skip
    assert ids[6] not in found  # expired: no client of v1 understands it
    assert found[ids[4]]["error_text"] == Fault.INPUT.words
    for row in found.values():
        assert isinstance(row["id"], int)
        params = row["job_params"]
        assert (len(params["obs_id"]), params["delivery"], params["job_type"], params["priority"]) == (
            10, "acacia", "download_visibilities", 1,
        )  # fmt: skip
        assert (row["product"] is not None) == (row["job_state"] == "completed")
        assert (row["error_text"] is not None) == (row["job_state"] == "error")
        assert len(row["created"]) == len("2026-11-29T09:00:00.000000")
    (file,) = found[ids[3]]["product"]["files"]
    assert (file["type"], file["size"], file["sha1"]) == ("acacia", 100, "0" * 40)


def test_clients_of_before_get_numbers(service):
    client = RecordedMwaClient(service.url, service.user("old"))
    client.user = "mantaray-clientv1.2"
    client.login()
    job_id = client.submit("download_vis_job", VIS).json()["job_id"]
    assert rows(client)[job_id]["job_state"] == 0
    assert (
        client.submit("download_vis_job", VIS).json()["error"] == "Job already queued, processing or complete"
    )
    service.start(job_id, "stage")
    assert rows(client)[job_id]["job_state"] == 1
    with client.notifier() as notifier:
        assert notifier.recv()["row"]["job_state"] == 1


def test_cancelling(service, client):
    job_id = client.submit("download_vis_job", VIS).json()["job_id"]
    assert client.cancel(job_id).status == 200
    assert client.cancel(job_id).status == 200
    assert service.store.job(job_id).state is State.CANCELLED
    done = client.submit("download_vis_job", {**VIS, "obs_id": "1300000000"}).json()["job_id"]
    service.complete(done, b"x")
    refused = client.cancel(done)
    assert (refused.status, refused.body) == (
        400,
        b"job %d is completed already and cannot be cancelled" % done,
    )
    assert client.cancel(999_999).status == 404


def test_jobs_of_others_are_not_there(service, client):
    job_id = client.submit("download_vis_job", VIS).json()["job_id"]
    other = logged_in(service, "other")
    assert other.cancel(job_id).status == 404
    assert job_id not in rows(other)
    with other.notifier() as notifier:
        own = other.submit("download_vis_job", VIS).json()["job_id"]
        assert notifier.recv()["row"]["id"] == own
    assert service.store.job(job_id).state is State.QUEUED


def test_a_user_who_may_only_look(service):
    client = logged_in(service, "looker", role=Role.VIEW)
    assert client.submit("download_vis_job", VIS).status == 403
    assert client.cancel(1).status == 403
    assert client.get_jobs().json() == []


def test_quotas_are_told_with_numbers(service):
    client = logged_in(service, "small", quotas=Quotas(queued=1))
    assert client.submit("download_vis_job", VIS).status == 200
    refused = client.submit("download_vis_job", {**VIS, "obs_id": "1300000000"}).json()
    assert refused == {
        "error": "1 jobs wait already, and the quota is 1: wait until some have run",
        "error_code": 0,
    }


def test_frames_replay_rows_and_tell_each_change_once(service, client):
    old = client.submit("download_vis_job", VIS).json()["job_id"]
    service.complete(old, b"z" * 10)
    new = client.submit("download_vis_job", {**VIS, "obs_id": "1300000000"}).json()["job_id"]
    with client.notifier() as notifier:
        first = [notifier.recv() for _ in range(2)]
        assert [(frame["action"], frame["row"]["id"], frame["row"]["job_state"]) for frame in first] == [
            ("INSERT", old, "completed"),
            ("INSERT", new, "queued"),
        ]
        product = service.complete(new, b"z" * 20)
        seen = []
        while not seen or seen[-1] != "completed":
            frame = notifier.recv()
            assert (frame["action"], frame["row"]["id"]) == ("UPDATE", new)
            seen.append(frame["row"]["job_state"])
        assert seen.count("completed") == 1
        service.store.product_removed(product.id)
        gone = notifier.recv()
        assert (gone["action"], gone["row"]["id"]) == ("DELETE", new)


def test_downloads_whole_and_in_part(service, client):
    data = bytes(range(256)) * 40
    job_id = client.submit("download_vis_job", VIS).json()["job_id"]
    service.complete(job_id, data)
    url = rows(client)[job_id]["product"]["files"][0]["url"]
    assert url.partition("?")[0].endswith(f"/{OBSID}_{job_id}_vis.tar")
    assert client.download(url).body == data
    squid = RecordedGiantSquid(service.url, client.key)
    whole = squid.download_keeping(url, len(data))
    assert (whole.status, whole.body) == (206, data)
    rest = squid.download_keeping(url, len(data), have=256)
    assert (rest.status, rest.body) == (206, data[256:])
    assert rest.headers["content-range"] == f"bytes 256-{len(data) - 1}/{len(data)}"
    assert squid.download_keeping(url, len(data), have=len(data)).status == 416


def test_links_end_and_cannot_be_forged(service, client):
    job_id = client.submit("download_vis_job", VIS).json()["job_id"]
    product = service.complete(job_id, b"secret")
    url = rows(client)[job_id]["product"]["files"][0]["url"]
    for forged in (
        url.replace("signature=", "signature=0"),
        url.replace("expires=", "expires=1"),
        url.partition("?")[0] + "?",
        url.replace(f"_{job_id}_", "_0_"),
        url.replace(f"/files/{product.id}/", f"/files/{product.id + 1}/"),
    ):
        assert client.download(forged).status == 403, forged
    service.store.product_removed(product.id)
    assert client.download(url).status == 404


def test_over_tls_the_cookie_is_secure_and_links_are_https(tmp_path):
    ca = trustme.CA()
    leaf = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    with serving(tmp_path, tls=(tmp_path / "cert.pem", tmp_path / "key.pem")) as service:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        client = RecordedGiantSquid(service.url, service.user(), context)
        assert "secure" in client.login().headers["set-cookie"].lower()
        job_id = client.submit("download_vis_job", VIS).json()["job_id"]
        service.complete(job_id, b"data")
        url = rows(client)[job_id]["product"]["files"][0]["url"]
        assert url.startswith(service.url)
        assert client.download(url).body == b"data"


def test_jobs_from_submission_to_delivery(tmp_path, small: Path):
    shutil.copytree(small.parent, tmp_path / "raw" / OBSID)
    with serving(tmp_path, conversion={"max_memory": "64 GiB"}) as service:
        client = logged_in(service, "ann")
        converted = client.submit("conversion_job", CONVERSION).json()["job_id"]
        estimate = service.store.job(converted).estimate
        assert estimate.memory > 0
        assert 1 < estimate.time_s < 60
        files = {"obs_id": OBSID, "download_type": "vis_meta", "delivery": "scratch"}
        shared = client.submit("download_vis_job", files).json()["job_id"]
        refused = client.submit("conversion_job", {**CONVERSION, "timeres": "3.7"}).json()
        assert refused["error_code"] == 0
        assert "not a multiple" in refused["error"]
        with client.notifier() as notifier:
            service.carry_out()
            seen = []
            while seen.count("completed") < 2:
                seen.append(notifier.recv()["row"]["job_state"])
        found = rows(client)
        (file,) = found[converted]["product"]["files"]
        data = client.download(file["url"]).body
        assert (len(data), hashlib.sha1(data).hexdigest()) == (file["size"], file["sha1"])
        (tmp_path / "a.tar").write_bytes(data)
        with tarfile.open(tmp_path / "a.tar") as tar:
            facts = json.load(tar.extractfile("job.json"))
        assert facts["given"]["timeres"] == "4"
        uvfits = next(output for output in facts["report"]["outputs"])
        assert 0.5 < estimate.output / uvfits["bytes"] < 2
        (there,) = found[shared]["product"]["files"]
        assert there == {
            "type": "scratch",
            "path": str(tmp_path / "scratch" / "mwa" / "asvo" / str(shared)),
            "size": there["size"],
        }
        assert {path.name for path in Path(there["path"]).iterdir()} >= {f"{OBSID}.metafits"}


def test_a_conversion_that_needs_too_much_is_refused_with_numbers(tmp_path, small: Path):
    shutil.copytree(small.parent, tmp_path / "raw" / OBSID)
    with serving(tmp_path, conversion={"max_output": "0.0001"}) as service:
        reply = logged_in(service, "ann").submit(
            "conversion_job", {**CONVERSION, "timeres": "2", "freqres": "40"}
        )
        assert reply.status == 400
        assert "more than the 0.000107 GB that a job may write" in reply.json()["error"]


def test_packages_in_a_bucket_are_fetched_from_it_and_removed_when_their_time_is_over(tmp_path, small: Path):
    shutil.copytree(small.parent, tmp_path / "raw" / OBSID)
    with fake_s3() as bucket:
        settings = {
            "endpoint": bucket.endpoint,
            "region": "us-east-1",
            "access_key_id": "a",
            "secret_access_key": "b",
        }
        delivery = {"packages": {"place": "s3://bucket/asvo", "settings": settings}}
        with serving(tmp_path, delivery=delivery) as service:
            client = logged_in(service, "ann")
            job_id = client.submit("download_vis_job", {**VIS, "download_type": "vis_meta"}).json()["job_id"]
            service.carry_out()
            (file,) = rows(client)[job_id]["product"]["files"]
            assert file["url"].startswith(f"{bucket.endpoint}/bucket/asvo/{OBSID}_{job_id}_vis_meta.tar?")
            data = httpx.get(file["url"], trust_env=False).content
            assert (len(data), hashlib.sha1(data).hexdigest()) == (file["size"], file["sha1"])
            service.store.extend(job_id, 1.0, "ann")
            tidy(service.config, service.store, service.config.site(), None)
            assert not bucket.objects
            assert rows(client) == {}


def test_files_on_a_shared_disk_end_with_their_folder(tmp_path, small: Path):
    shutil.copytree(small.parent, tmp_path / "raw" / OBSID)
    with serving(tmp_path) as service:
        client = logged_in(service, "ann")
        files = {"obs_id": OBSID, "download_type": "vis_meta", "delivery": "scratch"}
        job_id = client.submit("download_vis_job", files).json()["job_id"]
        service.carry_out()
        folder = tmp_path / "scratch" / "mwa" / "asvo" / str(job_id)
        assert folder.is_dir()
        service.store.extend(job_id, 1.0, "ann")
        old, young = (folder.parent / f".{name}{PART}0" for name in ("old", "young"))
        for path in (old, young):
            path.touch()
        os.utime(old, (0, 0))
        tidy(service.config, service.store, service.config.site(), keep_s=0)
        assert (old.exists(), young.exists()) == (False, True)  # the young one may still be written
        assert not folder.exists()
        assert (tmp_path / "scratch" / "mwa" / "asvo").is_dir()
        assert service.store.jobs(hidden=True) == []  # and the job is forgotten
