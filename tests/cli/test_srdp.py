"""The verb srdp: each of its commands, without a service."""

from __future__ import annotations

from pathlib import Path

import pytest
import request_samples as samples
from archive_samples import reviewing, site_file
from click.testing import CliRunner, Result

from mwaconvert.archive.quality.ingest import NOT_IN_ARCHIVE
from mwaconvert.cli.main import main

SDM = str(samples.SDM)
RUN = f"{SDM}.calibrate.1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = site_file(tmp_path, reviewing(tmp_path))
    monkeypatch.setenv("MWACONVERT_ARCHIVE", str(config))
    return tmp_path


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["srdp", *map(str, words)])


def good(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


def test_from_observation_to_archive(folder: Path) -> None:
    assert good("calibrate", SDM, "--automatic") == f"{RUN} queued\n"
    assert good("calibrate", SDM, "--automatic") == f"{RUN} queued\n"
    assert "is there already" in refused("calibrate", SDM)
    assert f"{RUN:<60} waiting at qa" in good("status", "--here")
    assert NOT_IN_ARCHIVE in refused("cleanup", RUN)
    template = folder / "flagtemplate.txt"
    template.write_text("mode='manual' antenna='ea03'\n")
    again = f"{SDM}.calibrate.2"
    assert (
        good("rerun", RUN, "--flag-template", template, "--here", "--why", "ea03")
        == f"{again} waiting at qa\n"
    )
    notes = folder / "notes.txt"
    notes.write_text("qa_analyst: AL\nqa_status: Fail\nqa_comments: much is flagged\n")
    told = good(
        "qa-pass", again, "--notes", notes, "--flag-template", template, "--here", "--why", "tables are good"
    )
    assert told == f"{again} completed\n"
    shown = good("status", again)
    assert "calibration Calibrated" in shown
    assert "SRDP        Fail" in shown
    assert "decided  pass  tables are good" in shown
    assert "has answered gate qa" in refused("qa-fail", again)
    given = folder / "user" / again
    assert good("fetch", again, "-d", folder / "user", "--why", "asked for") == f"{given}\n"
    assert (given / f"{SDM}.ms" / "table.dat").is_file()
    assert "only runs that passed are handed out" in refused("fetch", RUN)
    assert good("cleanup", again, "--why", "done") == f"{again}: removed\n"
    assert good("cleanup", again) == f"{again}: was gone already\n"
    assert good("expire", "--dry-run") == ""
    assert "has no [mail] with a host" in refused("notify")


def test_images_and_their_ingest(folder: Path) -> None:
    run = f"{samples.MOUS.file_form}.image.1"
    assert good("image", samples.MOUS, "--here") == f"{run} waiting at qa\n"
    report = folder / "report.html"
    report.write_text("<p onclick='x()'>sharp</p>")
    (folder / "ingested").write_text("no folder")
    assert "the ingest failed" in refused("ingest", run, "--report", report, "--here")
    (folder / "ingested").unlink()
    assert good("ingest", run, "--here") == f"{run} completed\n"
    assert "only an ingest that failed can be asked for again" in refused("ingest", run)
    assert "SRDP        Pass" in good("status", run)


def test_a_run_that_is_refused(folder: Path) -> None:
    good("calibrate", SDM, "--here")
    assert good("qa-fail", RUN, "--here", "--why", "bad") == f"{RUN} completed\n"
    assert "calibration Do Not Calibrate" in good("status", RUN)
    assert not (folder / "qa" / RUN).exists()


def test_refusals(folder: Path) -> None:
    assert "there is no run x" in refused("qa-pass", "x")
    assert "there is no run x" in refused("cleanup", "x")
    assert "there is no run x" in refused("status", "x")
    assert "is not an SDM name" in refused("calibrate", "x")
    (folder / "casa-6.5.4" / "break").touch()
    assert "the pipeline stopped with an error" in refused("calibrate", SDM, "--here")
