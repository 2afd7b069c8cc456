"""The page in a real browser: Debian's Chromium, driven by Playwright, against `mwaconvert serve --trial`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mwaconvert.jobs.control.states import Role, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Quotas, Request

pytestmark = pytest.mark.services
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
#: pictures of pages go there, to be looked at
PICTURES = os.environ.get("MWACONVERT_PAGE_PICTURES")
_SOON_MS = 120_000


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A service in one folder; what it printed, and `folder`."""
    folder = tmp_path_factory.mktemp("page") / "trial"
    log = (folder.parent / "log").open("wb")
    service = subprocess.Popen(
        [sys.executable, "-m", "mwaconvert", "serve", "--trial", str(folder)],
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        assert service.stdout is not None
        line = service.stdout.readline()
        assert line, (folder.parent / "log").read_text()
        yield {**json.loads(line), "folder": folder}
    finally:
        service.send_signal(signal.SIGTERM)
        try:
            assert service.wait(60) == 0
        finally:
            service.kill()
            service.stdout.close()
            log.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--headless", "--disable-gpu"]
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, trial: dict[str, Any]) -> Iterator[Any]:
    """A page of a browser that has no cookies; what scripts and policies complain of fails the test."""
    context = browser.new_context(base_url=trial["page_url"], viewport={"width": 1280, "height": 900})
    made = context.new_page()
    complaints: list[str] = []
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield made
    context.close()
    # what the tests provoke themselves is told too
    assert [text for text in complaints if "status of 40" not in text] == []


def log_in(page: Any, trial: dict[str, Any], key: str = "") -> None:
    page.goto("/")
    page.get_by_label("Key").fill(key or trial["key"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/jobs")


def look(page: Any, name: str) -> None:
    """Check that a page is no wider than its window, wide and narrow, and take its picture."""
    page.wait_for_load_state("load")  # a stylesheet may come late
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / f"{name}-{width}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})


def job_id_of(page: Any) -> int:
    return int(re.search(r"/jobs/(\d+)", page.url)[1])


def test_from_login_to_download(page: Any, trial: dict[str, Any]) -> None:
    page.goto("/")
    look(page, "login")
    log_in(page, trial)
    page.get_by_role("link", name="Submit", exact=True).click()
    look(page, "submit")
    page.get_by_label("Lines, a job each").fill(f"obs_id={trial['obsid']}, job_type=c, timeres=x\nnonsense\n")
    page.get_by_role("button", name="Submit all").click()
    assert page.get_by_text("line 2, column 1").first.is_visible()
    assert page.get_by_text("line 1, column").first.is_visible()
    look(page, "problems")
    page.get_by_label("Lines, a job each").fill(f"obs_id={trial['obsid']}, job_type=c, output=uvfits\n")
    page.get_by_role("button", name="Submit all").click()
    look(page, "submitted")
    page.get_by_role("link", name=re.compile(r"job \d+")).click()
    # nobody loads the page again: the script does
    page.locator("#state .badge.running, #state .badge.completed").wait_for(timeout=_SOON_MS)
    look(page, "running")
    page.locator("#state .badge.completed").wait_for(timeout=_SOON_MS)
    picture = page.frame_locator("#quality iframe").locator("img").first
    picture.wait_for(timeout=_SOON_MS)
    assert picture.evaluate("image => image.naturalWidth") > 300
    assert page.locator("#log pre").inner_text() != ""
    look(page, "completed")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    path = trial["folder"].parent / "package.tar"
    download.value.save_as(path)
    with tarfile.open(path) as tar:
        assert any(name.endswith(".uvfits") for name in tar.getnames())
    page.get_by_role("link", name="Report of the conversion").click()
    look(page, "report")
    page.get_by_role("link", name="Queue").click()
    look(page, "queue")
    page.get_by_role("link", name="Jobs", exact=True).click()
    look(page, "jobs")


def test_cancel(page: Any, trial: dict[str, Any]) -> None:
    store = Store(trial["folder"] / "jobs.db")
    # its owner may run nothing, so it waits
    key = store.add_user("cara", Role.OPERATE, Quotas(running=0))
    job = store.submit(Request("download", "cara", {"obs_id": 1, "delivery": "acacia"}))
    log_in(page, trial, key)
    page.get_by_role("link", name=str(job.id), exact=True).click()
    page.get_by_role("button", name="Cancel this job").click()
    page.locator("#state .badge.cancelled").wait_for()
    assert store.job(job.id).state is State.CANCELLED
    look(page, "cancelled")
    store.close()


def test_job_of_another_user(page: Any, trial: dict[str, Any]) -> None:
    store = Store(trial["folder"] / "jobs.db")
    key = store.add_user("dan", Role.OPERATE)
    job = store.submit(Request("download", "trial", {"obs_id": 2, "delivery": "acacia"}))
    log_in(page, trial, key)
    assert page.get_by_text("No jobs yet").is_visible()
    page.goto(f"/jobs/{job.id}")
    assert page.get_by_text(f"there is no job {job.id}").is_visible()
    assert page.get_by_role("heading", name="Not found").is_visible()
    look(page, "refused")
    store.close()


def test_keyboard_alone(page: Any, trial: dict[str, Any]) -> None:
    def reach(what: str) -> None:
        """Press Tab until something has the focus, and see that it shows."""
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("what => document.activeElement.matches(what)", what):
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
                return
        pytest.fail(f"{what} is not reached by Tab")

    page.goto("/")
    reach("input[name=key]")
    page.keyboard.type(trial["key"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs")
    reach(".skip")
    page.keyboard.press("Enter")
    reach("input[name=text]")
    page.evaluate("document.body.focus()")
    reach("nav a[href='/submit']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/submit")
    reach("form[action='/submit/one']:has([value=download]) input[name=obs_id]")
    page.keyboard.type(str(trial["obsid"]))
    reach("select[name=download_type]")
    page.keyboard.press("ArrowDown")
    reach("form[action='/submit/one']:has([value=download]) button")
    page.keyboard.press("Enter")
    page.locator(".taken a").wait_for()
    reach(".taken a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")
    page.locator("#state .badge.completed").wait_for(timeout=_SOON_MS)
    reach("#products a")
    reach("header .who button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/login")


def test_without_scripts(browser: Any, trial: dict[str, Any]) -> None:
    context = browser.new_context(base_url=trial["page_url"], java_script_enabled=False)
    page = context.new_page()
    log_in(page, trial)
    page.locator("select[name=state]").select_option("completed")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/jobs?*state=completed*")
    page.locator("#list tbody a").first.click()
    assert page.get_by_role("heading", name="Steps").is_visible()
    context.close()
