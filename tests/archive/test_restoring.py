"""Restores by CASA's tasks: with a stand-in for CASA, and with CASA where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from casa_sets import observe, real_casa
from package_samples import ONE, TWO, package

from mwaconvert.archive.casa import CasaRun, judge_restore
from mwaconvert.archive.casa.tasks import (
    FINAL_FLAGS,
    plan_restores,
    read_calapply,
    tasks_run,
    write_calapply,
)
from mwaconvert.archive.compare import compare_measurement_sets
from mwaconvert.archive.layouts import Layout
from mwaconvert.archive.packages import check_package
from mwaconvert.errors import FormatError, InputError

CALL = {"vis": f"{ONE}.ms", "spw": "0", "gaintable": ["x.gcal"], "calwt": False, "interp": ["linear"]}


def test_instructions_go_round(tmp_path: Path) -> None:
    path = tmp_path / "x.calapply.txt"
    write_calapply(path, [CALL, {"vis": "b.ms", "gaintable": "y.bcal"}])
    assert read_calapply(path) == (CALL, {"vis": "b.ms", "gaintable": "y.bcal"})


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "os.system('x')",
        "applycal(vis=open('/etc/passwd').read())",
        "applycal('a.ms')",
        "applycal(**{'vis': 'a'})",
        "applycal(vis='a'); flagdata(vis='a')",
        "x = applycal(vis='a')",
        "applycal(vis='a'",
        "applycal(vis='a', gaintable=['..'])",
        "[applycal(vis='a') for _ in (1,)]",
        "applycal(vis=f'{1}')",
    ],
)
def test_instructions_that_are_more_than_calls_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.calapply.txt"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"x\.calapply\.txt"):
        read_calapply(path)


def with_sets(layout: Layout) -> Layout:
    """Raw data as measurement sets, and instructions for them."""
    for name in (ONE, TWO):
        shutil.rmtree(layout.raw / f"{name}.asdm.sdm")
        (layout.raw / f"{name}.ms").mkdir()
        (layout.raw / f"{name}.ms" / "table.dat").write_text(name)
        write_calapply(
            layout.calibration / f"{name}.ms.calapply.txt", [{**CALL, "vis": f"{name}_targets.ms"}]
        )
    return layout


def start(run: CasaRun, **more: str) -> int:
    done = subprocess.run(
        run.argv,
        cwd=run.folder,
        env={**run.environment, **more},
        timeout=120,
        check=False,
        capture_output=True,
    )
    return done.returncode


STAND_IN = """\
import json, os, pathlib
LOG = pathlib.Path(os.environ["HOME"]) / "calls.txt"
def _log(name, words):
    with LOG.open("a") as file:
        file.write(json.dumps([name, words]) + "\\n")
def flagmanager(**words):
    _log("flagmanager", words)
def applycal(**words):
    if "fail" in os.environ:
        raise KeyError("session_2")
    _log("applycal", words)
"""


def stand_in(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "casatasks.py").write_text(STAND_IN)
    return {"PYTHONPATH": str(tmp_path / "modules")}


def test_a_stand_in_is_called_as_casa_would_be(tmp_path: Path) -> None:
    layout, home = with_sets(package(tmp_path / "root")), tmp_path / "home"
    restores = plan_restores(check_package(layout.root))
    assert [r.vis.name for r in restores] == [f"{ONE}.ms", f"{TWO}.ms"]
    run = tasks_run(restores, layout, Path(sys.executable), home)
    assert start(run, **stand_in(tmp_path)) == 0
    calls = [json.loads(line) for line in (home / "calls.txt").read_text().splitlines()]
    assert [name for name, _ in calls] == ["flagmanager", "applycal"] * 2
    where = layout.measurement_sets
    assert calls[0][1] == {"vis": str(where / f"{ONE}.ms"), "mode": "restore", "versionname": FINAL_FLAGS}
    assert calls[3][1]["vis"] == str(where / f"{TWO}.ms")
    assert calls[3][1]["gaintable"] == [str(where / "x.gcal")]
    assert calls[3][1]["calwt"] is False
    assert (where / "bandpass.tbl" / "table.dat").is_file()
    assert judge_restore(layout, [ONE, TWO]).success


def test_the_first_error_stops_it_and_is_seen(tmp_path: Path) -> None:
    layout = with_sets(package(tmp_path / "root"))
    run = tasks_run(
        plan_restores(check_package(layout.root)), layout, Path(sys.executable), tmp_path / "home"
    )
    assert start(run, fail="yes", **stand_in(tmp_path)) == 1
    outcome = judge_restore(layout, [ONE, TWO])
    assert not outcome.success
    assert "the pipeline stopped with an error" in outcome.reasons[0]
    assert f"no measurement set of {TWO}" in outcome.reasons[1]


def test_what_cannot_be_restored_by_tasks(tmp_path: Path) -> None:
    layout = package(tmp_path / "raw")
    with pytest.raises(InputError, match="restore raw data by the script"):
        plan_restores(check_package(layout.root))
    layout = with_sets(package(tmp_path / "sets"))
    write_calapply(layout.calibration / f"{ONE}.ms.calapply.txt", [{**CALL, "vis": f"{TWO}.ms"}])
    with pytest.raises(FormatError, match=f"are for {TWO}"):
        tasks_run(plan_restores(check_package(layout.root)), layout, Path("python"), tmp_path / "home")
    (layout.calibration / f"{ONE}.ms.calapply.txt").unlink()
    with pytest.raises(FormatError, match="missing file"):
        plan_restores(check_package(layout.root))


@pytest.mark.services
def test_a_restore_by_real_casa_equals_the_original_column_by_column(tmp_path: Path) -> None:
    python, home = real_casa(), tmp_path / "home"
    layout, work = package(tmp_path / "root"), tmp_path / "work"
    observe(python, home, work, layout)
    restores = plan_restores(check_package(layout.root))
    run = tasks_run(restores, layout, Path(python), home)
    subprocess.run(run.argv, cwd=run.folder, env=run.environment, check=True, timeout=300)
    assert judge_restore(layout, [ONE, TWO]).success
    for name in (ONE, TWO):
        original, restored = work / name / f"{name}.ms", layout.measurement_sets / f"{name}.ms"
        found = compare_measurement_sets(
            original, restored, columns=["CORRECTED_DATA", "DATA", "FLAG", "WEIGHT"]
        )
        assert found.equal, found.to_text()
        raw = compare_measurement_sets(
            layout.raw / f"{name}.ms", restored, columns=["CORRECTED_DATA", "FLAG"]
        )
        assert [d.where for d in raw.differences] == ["MAIN.CORRECTED_DATA", "MAIN.FLAG"]
