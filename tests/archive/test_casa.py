"""Versions of CASA, how it is started and how it is judged."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from package_samples import ONE, TWO, package

from mwaconvert.archive.casa import (
    CasaVersion,
    Verdict,
    approved_casa,
    choose_casa,
    delivery_run,
    judge_pipeline_run,
    judge_restore,
    read_version_table,
    request_run,
)
from mwaconvert.archive.layouts import Layout, run_layout
from mwaconvert.archive.requests import Telescope
from mwaconvert.archive.units import Calibrated
from mwaconvert.errors import FormatError, InputError

TABLE = read_version_table()


def versions(*texts: str) -> list[CasaVersion]:
    return [CasaVersion.parse(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("6.5.4-9", "6.5.4-9"),
        ("6.6.6.17", "6.6.6-17"),
        ("CASA Version PIPELINE 5.1.1-5 (r40896)", "5.1.1-5"),
        ("casa-6.6.1-17-pipeline-2024.1.0.8-py3.8.el8", "6.6.1-17"),
        ("casa-pipeline-release-5.6.1-8.el7", "5.6.1-8"),
        ("4.7.2 (r39762)", "4.7.2"),
    ],
)
def test_versions_are_read_as_documents_spell_them(text: str, version: str) -> None:
    assert str(CasaVersion.parse(text)) == version


@pytest.mark.parametrize("text", ["", "6.5", "pipeline 2024.1.0.8 only", "Undefined"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="names no CASA version"):
        CasaVersion.parse(text)


@pytest.mark.parametrize(
    ("pipeline", "casa"),
    [
        ("40896 (Pipeline-CASA51-P2-B)", "5.1.1-5"),
        ("42254M (Pipeline-CASA54-P1-B)", "5.4.0-70"),
        ("2020.1.0-40", "6.1.1-15"),
        ("2023.1.0.124", "6.5.4-9"),
        ("2025.1.0.35", "6.6.6-17"),
    ],
)
def test_the_table_knows_which_casa_belongs_to_a_pipeline(pipeline: str, casa: str) -> None:
    assert str(TABLE.casa_of(Telescope.ALMA, pipeline)) == casa


def test_unknown_pipelines_and_days_are_refused() -> None:
    with pytest.raises(InputError, match="is not in the table of versions"):
        TABLE.casa_of(Telescope.ALMA, "2031.1.0.1")
    with pytest.raises(InputError, match="is not in the table"):
        TABLE.casa_of(Telescope.VLA, "40896")
    assert str(TABLE.casa_on(Telescope.ALMA, date(2018, 6, 1))) == "5.1.1-5"
    with pytest.raises(InputError, match="has none for ALMA on 2010-01-01"):
        TABLE.casa_on(Telescope.ALMA, date(2010, 1, 1))


def test_a_document_that_names_another_casa_than_the_table_is_doubted() -> None:
    (right,), (wrong,), (no_build,) = versions("6.5.4-9"), versions("6.6.1-17"), versions("6.5.4")
    assert TABLE.doubt(right, "2023.1.0.124") == TABLE.doubt(no_build, "2023.1.0.124") == ""
    assert TABLE.doubt(wrong, "2031.1.0.1") == ""
    assert TABLE.doubt(wrong, "2023.1.0-124") == (
        "pipeline 2023.1.0-124 belongs to CASA 6.5.4-9 by the table of versions, not to 6.6.1-17"
    )


def test_a_new_calibration_takes_the_approved_version_not_the_newest() -> None:
    have = versions("6.5.4-9", "9.0.0-1")
    day = date(2024, 1, 1)
    assert approved_casa(TABLE, Telescope.ALMA, day, have) == (have[0], ())
    version, (warning,) = approved_casa(TABLE, Telescope.ALMA, date(2018, 1, 1), have)
    assert (str(version), warning[:40]) == ("9.0.0-1", "CASA 5.1.1-5 is in operations and not in")
    with pytest.raises(InputError, match="the site has no CASA"):
        approved_casa(TABLE, Telescope.ALMA, day, [])


def test_another_table_can_be_given(tmp_path: Path) -> None:
    own = tmp_path / "versions.txt"
    own.write_text("# ours\nvla 7.0.0-1 2031.1.0.1 2031-10-01 -\n")
    assert str(read_version_table(own).casa_of(Telescope.VLA, "2031.1.0.1")) == "7.0.0-1"
    for wrong in ("gmrt 7.0.0-1 1 - -", "vla seven 1 - -", "vla 7.0.0-1 1 -", "vla 7.0.0-1 1 - tomorrow"):
        own.write_text(wrong)
        with pytest.raises(FormatError, match="line 1"):
            read_version_table(own)


def test_a_hand_calibration_needs_its_own_version() -> None:
    (wanted,) = versions("5.1.1-5")
    with pytest.raises(
        InputError, match=r"needs CASA 5\.1\.1-5, exactly; installed are 5\.1\.1-4, 6\.5\.4-9"
    ):
        choose_casa(wanted, Calibrated.HAND, versions("6.5.4-9", "5.1.1-4"))
    choice = choose_casa(wanted, Calibrated.HAND, versions("6.5.4-9", "5.1.1-5"))
    assert (str(choice.version), choice.verdict, choice.warnings) == ("5.1.1-5", Verdict.SAME, ())


def test_a_pipeline_calibration_takes_the_next_later_version_with_a_warning() -> None:
    (wanted,) = versions("5.6.1-8")
    choice = choose_casa(wanted, Calibrated.PIPELINE, versions("6.6.1-17", "5.4.0-70", "6.2.1-7"))
    assert (str(choice.version), choice.verdict) == ("6.2.1-7", Verdict.LATER)
    assert "CASA 6.2.1-7 is a later version" in choice.warnings[0]
    earlier = choose_casa(wanted, Calibrated.PIPELINE, versions("4.7.2", "5.4.0-70"))
    assert (str(earlier.version), earlier.verdict) == ("5.4.0-70", Verdict.EARLIER)
    with pytest.raises(InputError, match="no CASA is installed"):
        choose_casa(wanted, Calibrated.PIPELINE, [])


def test_serial_and_parallel_differ() -> None:
    (wanted,) = versions("6.5.4-9")
    same = choose_casa(wanted, Calibrated.PIPELINE, [wanted], mpi_servers=8, parallel=True)
    assert same.warnings == ()
    other = choose_casa(wanted, Calibrated.PIPELINE, [wanted], mpi_servers=8)
    assert other.warnings == (
        "calibrated on several processes and restored in one: measurement sets can differ",
    )


def test_a_delivered_package_is_restored_by_its_own_script(tmp_path: Path) -> None:
    layout = package(tmp_path / "root")
    run = delivery_run(layout, Path("/opt/casa"), tmp_path / "home", mpi_servers=3)
    assert run.argv[:4] == ("/opt/casa/bin/mpicasa", "-n", "4", "/opt/casa/bin/casa")
    assert run.argv[-1].endswith("scriptForPI.py")
    assert run.folder == layout.script
    assert run.environment["SCIPIPE_ROOTDIR"] == str(tmp_path / "root")
    assert "PYTHONPATH" not in run.environment
    (layout.script / "b.scriptForPI.py").write_text("")
    with pytest.raises(InputError, match="has 2 files"):
        delivery_run(layout, Path("/opt/casa"), tmp_path)


def test_a_request_is_run_by_the_telescopes_reader(tmp_path: Path) -> None:
    layout = run_layout(tmp_path, "run1")
    run = request_run(layout, Path("/opt/casa"), tmp_path / "home", "it's.xml", Telescope.VLA)
    assert run.argv[0] == "/opt/casa/bin/casa"
    compile(run.argv[-1], "program", "exec")
    assert "executevlappr" in run.argv[-1]
    alma = request_run(layout, Path("/opt/casa"), tmp_path, "PPR.xml", Telescope.ALMA)
    assert "executeppr as ppr; ppr.executeppr('PPR.xml', importonly=False)" in alma.argv[-1]


def finished(tmp_path: Path) -> Layout:
    layout = run_layout(tmp_path, "run1")
    layout.make()
    (layout.products / "uid.hifa_cal.pipeline_manifest.xml").write_text("")
    (layout.products / "uid.session_1.caltables.tgz").write_text("")
    return layout


def test_success_needs_manifest_products_and_no_error_mark(tmp_path: Path) -> None:
    layout = finished(tmp_path)
    assert judge_pipeline_run(layout).success
    (layout.products / "uid.session_1.caltables.tgz").unlink()
    assert judge_pipeline_run(layout).reasons == ("no products in products",)
    (layout.products / "uid.hifa_cal.pipeline_manifest.xml").unlink()
    assert judge_pipeline_run(layout).reasons == (
        "no pipeline manifest in products",
        "no products in products",
    )


def test_an_error_mark_is_a_failure_whatever_else_is_there(tmp_path: Path) -> None:
    layout = finished(tmp_path)
    (layout.working / "errorexit-20180601T120000.txt").write_text("")
    assert judge_pipeline_run(layout).reasons == (
        "working/errorexit-20180601T120000.txt: the pipeline stopped with an error",
    )


def test_a_restore_is_proven_by_its_measurement_sets(tmp_path: Path) -> None:
    layout = package(tmp_path)
    assert len(judge_restore(layout, [ONE, TWO]).reasons) == 2
    for name in (f"{ONE}.ms", f"working/{TWO}_targets.ms"):
        (layout.measurement_sets / name).mkdir(parents=True)
        (layout.measurement_sets / name / "table.dat").write_text("")
    assert judge_restore(layout, [ONE, TWO]).success
    assert judge_restore(layout, []).reasons == ("no execution block was to be restored",)
    (layout.working / "errorexit-1.txt").write_text("")
    assert not judge_restore(layout, [ONE, TWO]).success


def test_severe_lines_of_logs_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "casa.log"
    log.write_bytes(
        b"2018-06-01 12:00:00\tINFO\tapplycal::::\tok\n"
        b"2018-06-01 12:00:01\tSEVERE\tapplycal::::\tKeyError: 'session_2' \xff\n"
        b"Traceback (most recent call last):\n" + b"x\tSEVERE\ty\n" * 100
    )
    found = judge_pipeline_run(finished(tmp_path / "a"), [log])
    assert found.success
    assert len(found.severe) == 20
    assert "KeyError: 'session_2'" in found.severe[0]
