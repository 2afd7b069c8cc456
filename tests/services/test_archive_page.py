"""The archive's pages and JSON, in this process: what is seen, who may do what, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
import request_samples as samples
from archive_samples import reviewing, site_file

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.states import Role, State
from mwaconvert.jobs.control.store import Store, accounts
from mwaconvert.jobs.workflows.archives.asking import job_of
from mwaconvert.jobs.workflows.archives.running import carry_on
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, read_site
from mwaconvert.services.app import make_app
from mwaconvert.services.archive.upkeep import ArchiveUpkeep
from mwaconvert.services.config import check_config
from services.test_page import Browser, log_in, post, token_of

SDM = str(samples.SDM)
RUN = f"{SDM}.calibrate.1"
NOTES = "qa_analyst: AL\nqa_status: Pass\nqa_comments: <script>alert(1)</script>fine\n"


@dataclass
class Archive:
    """A service that has an archive."""

    site: ArchiveSite
    store: Store
    app: object
    keys: dict[str, str]

    def client(self, user: str) -> Browser:
        client = Browser(self.app)
        assert log_in(client, user, self.keys[user]).url.path == "/jobs"
        return client

    def work(self) -> None:
        carry_on(self.site, self.store)


def service_facts(**more: object) -> dict[str, object]:
    return {
        "database": "archive.db",
        "work": "service",
        "raw": ["raw"],
        "delivery": {"packages": "products"},
        "archive": "archive.toml",
        **more,
    }


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    # the true one is slow on purpose, and has its own tests
    monkeypatch.setattr(accounts, "_hash", lambda key, salt: sha256((salt + key).encode()).hexdigest())
    site_file(tmp_path, reviewing(tmp_path))
    for name in ("raw", "products", "service"):
        (tmp_path / name).mkdir()
    config = check_config(service_facts(), tmp_path / "service.toml")
    store = Store(config.database)
    roles = {"eve": Role.VIEW, "ann": Role.OPERATE, "pat": Role.APPROVE, "dora": Role.APPROVE}
    keys = {name: store.add_user(name, role) for name, role in roles.items()}
    app = make_app(config, store, b"s" * 32)
    yield Archive(read_site(tmp_path / "archive.toml"), store, app, keys)
    if hasattr(app.state, "catalog"):
        app.state.catalog.close()
    store.close()


def test_the_tree_and_a_set(archive: Archive) -> None:
    eve = archive.client("eve")
    page = eve.get("/archive")
    assert page.status_code == 200
    assert 'href="/archive/projects/2017.1.00886.L"' in page.text
    assert "Ask for a run" not in page.text
    tree = eve.get("/archive/projects/2017.1.00886.L").text
    assert f'href="/archive/sets/{samples.MOUS.file_form}"' in tree
    assert "2 execution blocks" in tree
    shown = eve.get(f"/archive/sets/{samples.MOUS.file_form}").text
    assert "not closed" in shown  # the end of a session that has none
    assert "it can be restored" in shown
    assert "public" in shown
    assert eve.get("/archive/projects/none").status_code == 404
    assert eve.get("/archive/sets/uid___A001_X1_X9").status_code == 400
    assert eve.get("/archive/runs/none").status_code == 404


def test_from_the_form_to_the_archive(archive: Archive) -> None:
    eve, ann, pat = (archive.client(name) for name in ("eve", "ann", "pat"))
    assert post(eve, "/archive/runs", target=SDM, purpose="calibrate").status_code == 403
    asked = post(ann, "/archive/runs", target=SDM, purpose="calibrate", why="new data")
    assert asked.url.path == "/jobs/1"
    archive.work()
    assert RUN in eve.get("/archive").text
    page = eve.get(f"/archive/runs/{RUN}")
    assert "Who has the role approve decides." in page.text
    assert "new data" in page.text
    assert f"/archive/runs/{RUN}/weblog/index.html" in page.text
    assert "pass" in pat.get(f"/archive/runs/{RUN}").text
    for client in (eve, ann):
        assert post(client, f"/archive/runs/{RUN}/decide", answer="pass").status_code == 403
        assert post(client, f"/archive/runs/{RUN}/assign", analyst="pat").status_code == 403
        assert post(client, f"/archive/runs/{RUN}/cleanup").status_code == 403
    assert "there is no user nobody" in post(pat, f"/archive/runs/{RUN}/assign", analyst="nobody").text
    post(pat, f"/archive/runs/{RUN}/assign", analyst="dora")
    assert RUN in pat.get("/archive", params={"analyst": "dora"}).text.split("Runs</h2>")[0]
    assert "Nothing waits." in pat.get("/archive", params={"analyst": "pat"}).text
    refused = post(pat, f"/archive/runs/{RUN}/decide", answer="pass", notes="qa_status: Perhaps\nmine")
    assert refused.status_code == 409
    assert "expected Pass, Fail or Null" in refused.text
    assert "qa_status: Perhaps" in refused.text  # what was written is not lost
    assert "choose pass or fail" in post(pat, f"/archive/runs/{RUN}/decide", answer="maybe").text
    done = post(pat, f"/archive/runs/{RUN}/decide", answer="pass", notes=NOTES, why="clean")
    assert done.url.path == f"/archive/runs/{RUN}"
    archive.work()
    shown = pat.get(f"/archive/runs/{RUN}").text
    assert "Calibrated" in shown
    assert f"{RUN}.calibration.tar" in shown
    assert "<script>alert" not in shown
    assert "clean" in shown
    notes = eve.get(f"/archive/runs/{RUN}/weblog/qa_notes.html")
    assert notes.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "fine" in notes.text
    assert "script" not in notes.text
    job = post(pat, f"/archive/runs/{RUN}/cleanup", why="done").url.path
    archive.work()
    assert archive.store.job(int(job.rpartition("/")[2])).state is State.COMPLETED
    assert not (archive.site.areas["processing"] / RUN).exists()
    assert eve.get(f"/archive/runs/{RUN}/weblog/index.html").status_code == 404


def test_of_two_who_decide_one_is_told(archive: Archive) -> None:
    pat, dora = archive.client("pat"), archive.client("dora")
    post(pat, "/archive/runs", target=SDM, purpose="calibrate")
    archive.work()
    tokens = {name: token_of(client.get("/jobs").text) for name, client in (("pat", pat), ("dora", dora))}
    answers: dict[str, object] = {}
    barrier = threading.Barrier(2)

    def answer(name: str, client: Browser, what: str) -> None:
        barrier.wait()
        data = {"answer": what, "why": name, "form_token": tokens[name]}
        answers[name] = client.post(f"/archive/runs/{RUN}/decide", data=data)

    threads = [
        threading.Thread(target=answer, args=("pat", pat, "pass")),
        threading.Thread(target=answer, args=("dora", dora, "fail")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = {name: response.status_code for name, response in answers.items()}
    assert sorted(codes.values()) == [200, 409]
    loser, winner = (next(name for name, code in codes.items() if code == wanted) for wanted in (409, 200))
    assert f"{winner} has answered gate qa of job 1 before" in answers[loser].text
    (decision,) = archive.store.decisions(1)
    assert (decision.decided_by, decision.why) == (winner, winner)


def again(client: Browser, run_id: str = RUN, files: object = (), **fields: str):
    data = {**fields, "form_token": token_of(client.get("/jobs").text)}
    empty = [("cont", ("", b"", "application/octet-stream"))]  # as browsers send what was left empty
    return client.post(f"/archive/runs/{run_id}/rerun", data=data, files=[*files, *empty])


def test_a_run_again_with_what_was_edited(archive: Archive) -> None:
    eve, pat = archive.client("eve"), archive.client("pat")
    post(pat, "/archive/runs", target=SDM, purpose="calibrate")
    assert 'name="flag_template"' not in pat.get(f"/archive/runs/{RUN}").text  # it is under way
    archive.work()
    assert 'name="flag_template"' not in eve.get(f"/archive/runs/{RUN}").text
    assert 'name="flag_template"' in pat.get(f"/archive/runs/{RUN}").text
    assert again(eve).status_code == 403
    assert again(pat, "none").status_code == 404
    template = ("flag_template", ("flagtemplate.txt", b"mode='manual' antenna='ea03'\n", "text/plain"))
    for sent, words in (
        ([("flux", ("x.csv", b"nonsense\n", "text/csv"))], "flux.csv: the header is &#39;nonsense&#39;"),
        ([("ppr", ("PPR.xml", b"<a/>", "text/xml"))], "PPR.xml: "),
        ([("flag_template", ("x.txt", b"", "text/plain"))], "x.txt: is not a flag template"),
        ([("flag_template", ("../flagtemplate.txt", b"", "text/plain"))], "cannot be a file name"),
        ([template, template], "two of the files have the name flagtemplate.txt"),
        ([("flux", ("a.csv", b"", "text/csv")), ("flux", ("b.csv", b"", "text/csv"))], "a run takes one"),
    ):
        refused = again(pat, files=sent)
        assert refused.status_code == 409
        assert words in refused.text, refused.text[:3000]
        assert "/tmp" not in refused.text
    assert len(archive.store.jobs()) == 1
    assert again(pat, files=[("flux", ("a.csv", b"x" * (2 << 20), "text/csv"))]).status_code == 413
    request = (archive.site.areas["qa"] / RUN / "working" / "PPR.xml").read_bytes() + b"<!-- edited -->\n"
    sent = [template, ("ppr", ("mine.xml", request, "text/xml"))]
    assert again(pat, files=sent, in_place="true", why="ea03 is bad").url.path == "/jobs/2"
    archive.work()
    second = f"{SDM}.calibrate.2"
    job = job_of(archive.store, second)
    assert (job.state, job.error_text) == (State.WAITING, None)
    home = archive.site.areas["qa"] / RUN
    assert (home / "working" / "PPR.xml").read_bytes() == request
    assert (home / "working" / f"{SDM}.flagtemplate.txt").read_bytes() == template[1][1]
    assert (home / "old_working_1").is_dir()
    shown = pat.get(f"/archive/runs/{second}").text
    assert "ea03 is bad" in shown
    assert sha256(request).hexdigest() in shown
    assert job_of(archive.store, RUN).state is State.COMPLETED
    assert again(pat, second).url.path == "/jobs/3"  # nothing edited, a folder of its own


def test_weblogs_show_nothing_else(archive: Archive, tmp_path: Path) -> None:
    pat = archive.client("pat")
    post(pat, "/archive/runs", target=SDM, purpose="calibrate")
    archive.work()
    html = archive.site.areas["qa"] / RUN / "products" / "pipeline-20180601T120000" / "html"
    (html / "secret").symlink_to(tmp_path / "archive.toml")
    (html / "all").symlink_to(tmp_path)
    assert "weblog" in pat.get(f"/archive/runs/{RUN}/weblog/index.html").text
    for name in ("secret", "all/archive.toml", "..%2F..%2F..%2Fworking%2FPPR.xml", "%2Fetc%2Fpasswd", "none"):
        assert pat.get(f"/archive/runs/{RUN}/weblog/{name}").status_code == 404, name
    html.rename(tmp_path / "elsewhere")
    html.symlink_to(tmp_path / "elsewhere")
    assert pat.get(f"/archive/runs/{RUN}/weblog/index.html").status_code == 404


def test_as_json(archive: Archive) -> None:
    eve, ann, pat = (archive.client(name) for name in ("eve", "ann", "pat"))
    assert eve.post("/archive/api/observations", json={"target": SDM}).status_code == 403
    told = [ann.post("/archive/api/observations", json={"target": SDM}).json() for _ in range(2)]
    assert told[0] == told[1] == {"job": 1, "run": RUN, "state": "queued", "step": None, "error": None}
    archive.work()
    (waiting,) = eve.get("/archive/api/queue").json()
    assert (waiting["run"], waiting["state"]) == (RUN, "waiting")
    assert ann.post(f"/archive/api/runs/{RUN}/decision", json={"answer": "pass"}).status_code == 403
    assert pat.post(f"/archive/api/runs/{RUN}/decision", json={"answer": "rerun"}).status_code == 400
    assert pat.post(f"/archive/api/runs/{RUN}/decision", json={"answer": "pass", "x": 1}).status_code == 400
    done = pat.post(f"/archive/api/runs/{RUN}/decision", json={"answer": "pass", "why": "ok", "notes": NOTES})
    assert done.status_code == 200
    again = pat.post(f"/archive/api/runs/{RUN}/decision", json={"answer": "fail"})
    assert again.status_code == 409
    assert "pat has answered gate qa" in again.json()["error"]
    archive.work()
    found = eve.get(f"/archive/api/runs/{RUN}").json()
    assert (found["calibration_status"], found["srdp_status"]) == ("Calibrated", "Pass")
    assert found["decisions"][0]["by"] == "pat"
    assert all(item["verified_at"] for item in found["ingested"])
    assert [entry["action"] for entry in found["trail"]][-1] == "asked for"
    assert len(eve.get("/archive/api/projects/2017.1.00886.L").json()) == 3
    assert eve.get("/archive/api/runs/none").status_code == 400
    image = ann.post("/archive/api/runs", json={"target": str(samples.MOUS), "purpose": "image"})
    assert image.status_code == 202
    assert job_of(archive.store, f"{samples.MOUS.file_form}.image.1").state is State.QUEUED


def test_a_restore_is_asked_for_on_the_page_of_a_set(archive: Archive) -> None:
    eve, ann = archive.client("eve"), archive.client("ann")
    assert post(eve, "/archive/restores", target=str(samples.MOUS)).status_code == 403
    assert post(ann, "/archive/restores", target="x").status_code == 400
    assert post(ann, "/archive/restores", target=str(samples.MOUS)).url.path == "/jobs/1"
    assert "the same job is there already" in post(ann, "/archive/restores", target=str(samples.MOUS)).text
    archive.work()
    assert archive.store.job(1).state is State.COMPLETED, archive.store.job(1).error_text
    assert "restore.1" in eve.get(f"/archive/sets/{samples.MOUS.file_form}").text
    assert "handed out" in eve.get("/archive/runs/restore.1").text


def test_strangers_see_nothing(archive: Archive) -> None:
    stranger = Browser(archive.app)
    assert stranger.get("/archive").url.path == "/login"
    assert stranger.get("/archive/api/queue").status_code == 401
    assert stranger.post("/archive/runs", data={"target": SDM}).url.path in ("/login", "/archive/runs")
    assert archive.store.jobs() == []


def test_what_a_service_does_by_itself(archive: Archive) -> None:
    pat = archive.client("pat")
    post(pat, "/archive/runs", target=SDM, purpose="calibrate")
    archive.work()
    upkeep = ArchiveUpkeep(archive.site, archive.store, "w1")
    upkeep()
    upkeep()
    assert (archive.site.areas["qa"] / RUN).is_dir()


def test_a_service_follows_the_metadata(
    archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import metadata_samples

    upkeep = ArchiveUpkeep(
        replace(archive.site, metadata=f"sqlite:///{tmp_path}/alma.db"), archive.store, "w1"
    )
    with caplog.at_level("WARNING"):
        upkeep()  # the archive is away
    assert "the archive's metadata were not looked at" in caplog.text
    metadata_samples.fill(tmp_path / "alma.db")
    metadata_samples.change(tmp_path / "alma.db", "UPDATE aqua_ous SET QA2STATUS = 'Fail'")
    upkeep()
    eve = archive.client("eve")
    shown = f"/archive/sets/{samples.MOUS.file_form}"
    assert "-&gt; Fail" not in eve.get(shown).text  # passes come once an hour
    upkeep._next = 0
    upkeep()
    assert "-&gt; Fail" in eve.get(shown).text


def test_one_database(tmp_path: Path) -> None:
    site_file(tmp_path, reviewing(tmp_path))
    for name in ("raw", "products"):
        (tmp_path / name).mkdir()
    config = check_config(service_facts(database="jobs.db"), tmp_path / "service.toml")
    with pytest.raises(InputError, match="its database is not that of the service"):
        config.site()
