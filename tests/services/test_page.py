"""The page, in this process: what users see, what they may do, and what is refused."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from html import unescape
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
import httpx

from mwaconvert.jobs.control.states import Fault, Outcome, Role, State
from mwaconvert.jobs.control.store import Store, accounts
from mwaconvert.jobs.control.work import Attempt, Gate, Job, Product, Request
from mwaconvert.services.app import make_app
from mwaconvert.services.config import check_config

HOST = "http://page.test"
HOSTILE = "<script>alert(1)</script>\"'&"
OBS_ID = 1110103576


class Browser:
    """Asks the service in this process, and keeps its cookies."""

    def __init__(self, app: object, host: str = HOST) -> None:
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=host, follow_redirects=True
        )
        self.cookies = self._client.cookies

    def get(self, address: str, **more: object) -> httpx.Response:
        return asyncio.run(self._client.get(address, **more))

    def post(self, address: str, **more: object) -> httpx.Response:
        return asyncio.run(self._client.post(address, **more))


@dataclass
class Site:
    """A service and its store; `keys` by user."""

    store: Store
    folder: Path
    keys: dict[str, str]
    app: object

    def client(self, user: str | None = None) -> Browser:
        """A browser, logged in if a user is named."""
        client = Browser(self.app)
        if user is not None:
            assert log_in(client, user, self.keys[user]).url.path == "/jobs"
        return client

    def job(self, owner: str = "ann", kind: str = "download", **params: object) -> Job:
        canonical = {"obs_id": OBS_ID, "delivery": "acacia", "download_type": "vis", **params}
        return self.store.submit(Request(kind, owner, canonical, {"obs_id": str(OBS_ID)}))

    def begin(self, job: Job, step: str = "stage") -> tuple[Job, Attempt]:
        """A worker begins a step of a job."""
        held = self.store.start_run(job.id, job.run, "w1")
        assert held is not None
        attempt = self.store.begin_attempt(held, step, "machine", self.folder / "work" / "jobs")
        assert attempt is not None
        attempt.directory.mkdir(parents=True)
        return held, attempt


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    # the true one is slow on purpose, and has its own tests
    monkeypatch.setattr(accounts, "_hash", lambda key, salt: sha256((salt + key).encode()).hexdigest())
    for name in ("raw", "products", "work"):
        (tmp_path / name).mkdir()
    facts = {
        "database": "jobs.db",
        "work": "work",
        "raw": [{"place": "raw"}],
        "delivery": {"packages": {"place": "products"}},
    }
    config = check_config(facts, tmp_path / "service.toml")
    store = Store(config.database)
    roles = {"ann": Role.OPERATE, "bob": Role.OPERATE, "eve": Role.VIEW, "pat": Role.APPROVE}
    keys = {name: store.add_user(name, role) for name, role in roles.items()}
    yield Site(store, tmp_path, keys, make_app(config, store, b"s" * 32))
    store.close()


def token_of(page: str) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', page)
    assert found, page
    return found[1]


def log_in(client: Browser, name: str, key: str, after: str = ""):
    form = client.get("/login", params={"next": after})
    return client.post(
        "/login", data={"name": name, "key": key, "next": after, "form_token": token_of(form.text)}
    )


def post(client: Browser, address: str, **fields: str):
    return client.post(address, data={**fields, "form_token": token_of(client.get("/jobs").text)})


# ------------------------------------------------------------------------------------------ log in


def test_log_in_and_out(site: Site) -> None:
    client = site.client()
    assert client.get("/").url.path == "/login"
    page = log_in(client, "", site.keys["ann"])  # a key knows its user
    assert page.url.path == "/jobs"
    assert "No jobs yet" in page.text
    cookie = next(c for c in client.cookies.jar if c.name == "MWA_JOB_COOKIE")
    assert cookie.has_nonstandard_attr("HttpOnly")
    kept = cookie.value
    assert post(client, "/logout").url.path == "/login"
    client.cookies.set("MWA_JOB_COOKIE", kept, domain="page.test")
    assert client.get("/jobs").url.path == "/login"  # the cookie is worth nothing any more


def test_wrong_key(site: Site) -> None:
    client = site.client()
    for name, key in (("ann", "wrong"), ("bob", site.keys["ann"]), ("", "")):
        page = log_in(client, name, key)
        assert (page.status_code, page.url.path) == (403, "/login")
        assert "open nothing" in page.text
    assert "MWA_JOB_COOKIE" not in client.cookies


def test_login_needs_its_form(site: Site) -> None:
    client = site.client()
    page = client.post("/login", data={"name": "ann", "key": site.keys["ann"], "form_token": "0" * 64})
    assert page.status_code == 403
    assert "MWA_JOB_COOKIE" not in client.cookies


def test_login_makes_a_new_session(site: Site) -> None:
    client = site.client()
    client.cookies.set("MWA_JOB_COOKIE", "planted", domain="page.test")
    log_in(client, "ann", site.keys["ann"])
    assert "planted" not in [cookie.value for cookie in client.cookies.jar]


@pytest.mark.parametrize(
    "after", ["//evil.org/", "https://evil.org", "/\\evil.org", "/jobs/1?text=a", "/jobs/1"]
)
def test_login_leads_nowhere_else(site: Site, after: str) -> None:
    client = site.client()
    wanted = after if after.startswith("/jobs") else "/jobs"
    page = log_in(client, "ann", site.keys["ann"], after)
    assert page.history[0].headers["location"] == wanted


# ------------------------------------------------------------------------------------------ lists


def test_login_is_not_kept_busy(site: Site) -> None:
    start = time.perf_counter()
    assert site.client().get("/login", params={"next": "/" + "a" * 5000 + "!"}).status_code == 200
    assert time.perf_counter() - start < 2


def test_list_and_filters(site: Site) -> None:
    first, second, other = site.job(n=1), site.job(n=2), site.job("bob", n=3)
    site.store.cancel(second.id, "ann")

    def ids(user: str, **filters: str) -> set[int]:
        page = site.client(user).get("/jobs", params=filters)
        assert page.status_code == 200
        return {int(found) for found in re.findall(r'data-label="Job"><a href="/jobs/(\d+)"', page.text)}

    assert ids("ann") == {first.id, second.id}
    assert ids("ann", owner="bob") == {first.id, second.id}  # others' jobs are not for her
    assert ids("pat") == {first.id, second.id, other.id}
    assert ids("pat", owner="bob") == {other.id}
    assert ids("ann", state="cancelled") == {second.id}
    assert ids("ann", kind="conversion") == set()
    assert ids("ann", text=str(second.id)) >= {second.id}
    assert ids("ann", text="10357") == {first.id, second.id}
    assert ids("ann", text="%") == set()
    assert ids("ann", text=" 10357\0 ") == {first.id, second.id}
    assert ids("ann", state="nonsense", text="", before="") == {first.id, second.id}


def test_paging(site: Site) -> None:
    made = [site.job(n=k).id for k in range(120)]
    client, seen, address = site.client("ann"), [], "/jobs"
    while address:
        page = client.get(address).text
        seen += [int(i) for i in re.findall(r'data-label="Job"><a href="/jobs/(\d+)"', page)]
        older = re.search(r'<a href="([^"]+)" rel="next">', page)
        address = f"/jobs{unescape(older[1])}" if older else ""
    assert seen == made[::-1]


def test_many_jobs_are_listed_fast(site: Site) -> None:
    from mwaconvert.jobs.control import schema

    row = {
        "kind": "download", "owner": "ann", "name": None, "given": {"obs_id": "1110103576"},
        "canonical": {"obs_id": OBS_ID}, "digest": "", "state": "completed", "step": "deliver", "progress": 1.0,
        "progress_text": "", "priority": 0, "run": 1, "cancel_requested": False, "hidden": False, "created": 1e9,
    }  # fmt: skip
    rows = [{**row, "digest": f"{k:064x}", "token": f"{k:032x}", "name": f"job-{k}"} for k in range(10_000)]
    site.store._write(lambda c: c.execute(schema.jobs.insert(), rows))
    client = site.client("pat")
    for address in ("/jobs", "/jobs?text=job-77&state=completed", "/jobs?text=nowhere"):
        times = []
        for _ in range(5):
            start = time.process_time()  # other programs may have the processor meanwhile
            assert client.get(address).status_code == 200
            times.append(time.process_time() - start)
        assert min(times) < 0.1, address


def test_queue(site: Site) -> None:
    job, _ = site.begin(site.job())
    site.store.register_worker("w1", "machine", 1, "")
    page = site.client("ann").get("/queue").text
    assert f"Job {job.id}" in page
    assert "w1" in page
    assert "free of" in page
    assert str(site.folder) not in page
    assert f"Job {job.id}" not in site.client("bob").get("/queue").text


# ------------------------------------------------------------------------------------------ a job


def finished(site: Site, kind: str = "conversion") -> tuple[Job, Attempt]:
    """A conversion that is done, with a picture, a report and a product."""
    job, attempt = site.begin(site.job(kind=kind), "convert")
    (attempt.directory / "picture.html").write_text("<h1>picture</h1><script>alert(1)</script>")
    (attempt.directory / "report.json").write_text('{"format": "report", "steps": [{"name": "rfi"}]}')
    attempt.log_path.write_text("x" * 20_000 + "\nconverted all\n")
    archive = site.folder / "products" / "1110103576_1_ms.tar"
    archive.write_bytes(b"tar of a measurement set")
    result = {
        name: str(attempt.directory / f)
        for name, f in (("picture", "picture.html"), ("report", "report.json"))
    }
    details = {"delivery": "acacia", "name": archive.name}
    product = Product(str(archive), 24, "a" * 40, "b" * 64, time.time() + 1e5, details)
    assert site.store.finish_attempt(attempt, result, [product], is_last=True)
    return site.store.job(job.id), attempt


def test_job_page(site: Site) -> None:
    job, attempt = finished(site)
    client = site.client("ann")
    page = client.get(f"/jobs/{job.id}").text
    for text in (State.COMPLETED.words, "converted all", "b" * 64, "stage", "kept until", "As understood"):
        assert text in page
    link = unescape(re.search(r'href="([^"]+/files/[^"]+)"', page)[1])
    assert client.get(link).content == b"tar of a measurement set"
    assert "xxxx\nconverted" not in page  # the end of the log only
    assert client.get(f"/jobs/{job.id}/logs/{attempt.id}").text.startswith("xxxx")
    picture = client.get(f"/jobs/{job.id}/picture")
    assert picture.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "<h1>picture" in picture.text
    assert "rfi" in client.get(f"/jobs/{job.id}/report").text
    assert client.get(f"/jobs/{job.id}/report.json").json()["format"] == "report"


def test_pages_hold_no_script_and_say_so(site: Site) -> None:
    job, _ = finished(site)
    client = site.client("pat")
    for address in (
        "/login",
        "/jobs",
        f"/jobs/{job.id}",
        "/queue",
        "/submit",
        f"/jobs/{job.id}/report",
        "/jobs/999",
    ):
        answer = client.get(address)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(
            r"<script(?! src=\"/page/page.js\" defer></script>)|\son\w+=|style=", answer.text
        )
    for name in ("page.css", "page.js", "icon.svg"):
        assert client.get(f"/page/{name}").status_code == 200
    assert client.get("/page/..%2Froutes.py").status_code == 404


def test_job_of_somebody_else(site: Site) -> None:
    job, attempt = finished(site)
    bob = site.client("bob")
    for address in ("", f"/logs/{attempt.id}", "/picture", "/report", "/report.json"):
        assert bob.get(f"/jobs/{job.id}{address}").status_code == 404, address
        assert site.client("pat").get(f"/jobs/{job.id}{address}").status_code == 200, address
    waiting = site.job(n=5)
    assert post(bob, f"/jobs/{waiting.id}/cancel").status_code == 404
    assert site.store.job(waiting.id).state is State.QUEUED
    assert bob.get("/jobs/77").status_code == bob.get("/jobs/nothing").status_code == 404


def test_only_own_attempts_and_files(site: Site) -> None:
    job, _ = finished(site)
    _, strange = site.begin(site.job("bob", n=7))
    strange.log_path.write_text("of bob")
    ann = site.client("ann")
    assert ann.get(f"/jobs/{job.id}/logs/{strange.id}").status_code == 404
    (site.folder / "secret").write_text("secret")
    other, attempt = site.begin(site.job(n=8))
    attempt.log_path.symlink_to(site.folder / "secret")
    assert ann.get(f"/jobs/{other.id}/logs/{attempt.id}").status_code == 404
    assert "secret" not in ann.get(f"/jobs/{other.id}").text
    site.store.finish_attempt(attempt, {"picture": str(site.folder / "secret")})
    assert ann.get(f"/jobs/{other.id}/picture").status_code == 404


def test_job_that_runs(site: Site) -> None:
    job, attempt = site.begin(site.job())
    site.store.progress(attempt, 0.42, "bringing 7 files")
    attempt.log_path.write_text("first line\n")
    client = site.client("ann")
    page = client.get(f"/jobs/{job.id}").text
    assert 'value="0.42"' in page
    assert "bringing 7 files" in page
    assert "first line" in page
    assert int(re.search(r'data-every="(\d+)"', page)[1]) > 0
    attempt.log_path.write_text("first line\nsecond line\n")
    assert "second line" in client.get(f"/jobs/{job.id}").text


# ------------------------------------------------------------------------------------------ to do


def test_cancel_and_retry(site: Site) -> None:
    job = site.job()
    client = site.client("ann")
    page = post(client, f"/jobs/{job.id}/cancel")
    assert (page.status_code, page.url.path) == (200, f"/jobs/{job.id}")
    assert site.store.job(job.id).state is State.CANCELLED
    assert post(client, f"/jobs/{job.id}/retry", step="").status_code == 200
    assert site.store.job(job.id).state is State.QUEUED
    refused = post(client, f"/jobs/{job.id}/retry")
    assert refused.status_code == 409
    assert "has ended can be tried again" in refused.text


def test_run_again_from_a_step(site: Site) -> None:
    job, _ = finished(site)
    client = site.client("ann")
    assert post(client, f"/jobs/{job.id}/retry").status_code == 409  # from where?
    assert "have no step" in post(client, f"/jobs/{job.id}/retry", step="nothing").text
    assert post(client, f"/jobs/{job.id}/retry", step="convert").status_code == 200
    assert site.store.job(job.id).state is State.QUEUED
    assert [a.superseded for a in site.store.attempts(job.id)] == [True]


def at_gate(site: Site) -> Job:
    job, _ = site.begin(site.job("ann", n=9))
    site.store.open_gate(job, Gate("quality"))
    return site.store.job(job.id)


def test_gate(site: Site) -> None:
    job = at_gate(site)
    ann, pat = site.client("ann"), site.client("pat")
    assert "Decide at" not in ann.get(f"/jobs/{job.id}").text
    assert post(ann, f"/jobs/{job.id}/decide", gate="quality", answer="pass").status_code == 403
    assert site.store.job(job.id).state is State.WAITING
    assert "Decide at quality" in pat.get(f"/jobs/{job.id}").text
    assert f"Job {job.id}" in pat.get("/queue").text
    assert post(pat, f"/jobs/{job.id}/decide", gate="quality", answer="maybe").status_code == 409
    page = post(pat, f"/jobs/{job.id}/decide", gate="quality", answer="fail", why=HOSTILE)
    assert page.status_code == 200
    assert site.store.job(job.id).fault is Fault.GATE
    assert "<script>alert" not in page.text
    late = post(pat, f"/jobs/{job.id}/decide", gate="quality", answer="pass")
    assert late.status_code == 409
    assert "has answered" in late.text


def test_view_may_look_only(site: Site) -> None:
    job = site.job("eve")
    eve = site.client("eve")
    page = eve.get(f"/jobs/{job.id}")
    assert page.status_code == 200
    assert "Cancel" not in page.text
    assert eve.get("/submit").status_code == 403
    for address in (f"/jobs/{job.id}/cancel", f"/jobs/{job.id}/retry", "/submit", "/submit/one"):
        assert post(eve, address).status_code == 403
    assert site.store.job(job.id).state is State.QUEUED


def test_posts_of_others_are_refused(site: Site) -> None:
    job = site.job()
    client = site.client("ann")
    token = token_of(client.get("/jobs").text)
    bobs = token_of(site.client("bob").get("/jobs").text)
    address = f"/jobs/{job.id}/cancel"
    for data, headers in (
        ({}, {}),
        ({"form_token": ""}, {}),
        ({"form_token": "é"}, {}),
        ({"form_token": bobs}, {}),
        ({"form_token": token}, {"Origin": "http://evil.org"}),
        ({"form_token": token}, {"Origin": "null"}),
        ({"form_token": token}, {"Sec-Fetch-Site": "cross-site"}),
    ):
        assert client.post(address, data=data, headers=headers).status_code == 403, (data, headers)
    assert client.post("/logout", data={}).status_code == 403
    assert site.store.job(job.id).state is State.QUEUED
    assert client.post(address, data={"form_token": token}, headers={"Origin": HOST}).status_code == 200
    assert site.store.job(job.id).state is State.CANCELLED
    assert client.get(address).status_code in (404, 405)


def test_posts_behind_a_proxy(site: Site) -> None:
    config = site.app.state.service.config
    public = config.model_copy(
        update={"server": config.server.model_copy(update={"public_url": "https://jobs.mwa.test"})}
    )
    app = make_app(public, site.store, b"s" * 32)

    async def proxy(scope, receive, send):
        """Has TLS, and speaks to the service without."""
        await app({**scope, "scheme": "http"}, receive, send)

    job, client = site.job(), Browser(proxy, "https://jobs.mwa.test")
    assert log_in(client, "ann", site.keys["ann"]).url.path == "/jobs"
    token = token_of(client.get("/jobs").text)
    for origin, status in (("https://jobs.mwa.test.evil.org", 403), ("https://jobs.mwa.test", 200)):
        data = {"form_token": token}
        assert (
            client.post(f"/jobs/{job.id}/cancel", data=data, headers={"Origin": origin}).status_code == status
        )
    assert site.store.job(job.id).state is State.CANCELLED


# ------------------------------------------------------------------------------------------ submission


def test_submit_a_file(site: Site) -> None:
    client = site.client("ann")
    lines = (
        f"obs_id={OBS_ID}, job_type=c, timeres=8\n# a note\nobs_id={OBS_ID}, job_type=d, download_type=vis\n"
    )
    page = post(client, "/submit", jobs=lines)
    assert page.status_code == 200
    assert [job.kind for job in site.store.jobs(owner="ann")] == ["download", "conversion"]
    assert "is there already" in post(client, "/submit", jobs=lines).text
    token = token_of(page.text)
    upload = {"file": ("jobs.csv", f"obs_id={OBS_ID}, job_type=d, download_type=vis_meta\n".encode())}
    page = client.post("/submit", data={"form_token": token, "jobs": ""}, files=upload)
    assert re.search(r'line 1, download of 1110103576:\s+<a href="/jobs/3">', page.text)
    page = client.post("/submit", data={"form_token": token, "jobs": "x"}, files=upload)
    assert "give one of them" in page.text


def test_submit_shows_all_problems(site: Site) -> None:
    client = site.client("ann")
    lines = f"obs_id=1, job_type=c\nobs_id={OBS_ID}, job_type=d, download_type=vis\nnonsense{HOSTILE}\n"
    page = post(client, "/submit", jobs=lines)
    assert page.status_code == 400
    text = re.sub(r"<[^>]+>", "", page.text)
    for found in ("line 1, column 1", "line 3, column 1", "not an observation id", "must be key=value"):
        assert found in text
    assert "<script>alert" not in page.text
    assert lines.strip() in unescape(page.text)  # what was pasted is not lost
    assert site.store.jobs() == []
    assert "no jobs in it" in post(client, "/submit", jobs="\n").text
    assert post(client, "/submit", jobs="\x00\x01=\x02, job_type=c").status_code == 400


def test_submit_one(site: Site) -> None:
    client = site.client("ann")
    fields = {
        "kind": "conversion",
        "obs_id": str(OBS_ID),
        "output": "ms",
        "avg_time_res": "4",
        "no_rfi": "true",
    }
    page = post(client, "/submit/one", **fields)
    assert page.status_code == 200
    canonical = site.store.jobs()[0].canonical
    assert (canonical["output"], canonical["avg_time_res"], canonical["no_rfi"]) == ("ms", 4.0, True)
    wrong = post(client, "/submit/one", **{**fields, "avg_time_res": "soon"})
    assert wrong.status_code == 400
    assert "avg_time_res" in wrong.text
    assert 'value="soon"' in wrong.text
    away = post(
        client, "/submit/one", kind="download", obs_id=str(OBS_ID), download_type="vis", delivery="dug"
    )
    assert away.status_code == 400
    assert post(client, "/submit/one", kind="nothing").status_code == 400


def test_hostile_text_is_escaped(site: Site) -> None:
    job = site.store.submit(
        Request("download", "ann", {"obs_id": HOSTILE, HOSTILE: HOSTILE}, {HOSTILE: HOSTILE}, name=HOSTILE)
    )
    _, attempt = site.begin(job)
    attempt.log_path.write_bytes(f"{HOSTILE}\n\x1b[31m\x00\udcff".encode("utf-8", "surrogateescape"))
    site.store.fail_attempt(attempt, Outcome.FAILED, Fault.STEP, HOSTILE)
    for address in (
        f"/jobs/{job.id}",
        "/jobs",
        f"/jobs?text={HOSTILE}&owner={HOSTILE}&kind={HOSTILE}",
        "/queue",
    ):
        page = site.client("pat").get(address).text
        assert "<script>alert" not in page
        assert '"\'&"' not in page
    log = site.client("ann").get(f"/jobs/{job.id}/logs/{attempt.id}")
    assert log.headers["content-type"].startswith("text/plain")
    assert log.headers["x-content-type-options"] == "nosniff"
