"""Manifests, reports, layouts and the checks of a package before CASA starts."""

from __future__ import annotations

import gzip
import os
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
import request_samples as samples
from package_samples import MOUS, ONE, TWO, manifest, package, status, tgz

from mwaconvert.archive.layouts import (
    Layout,
    LayoutKind,
    delivery_layout,
    recognise,
    request_layout,
    run_layout,
)
from mwaconvert.archive.manifests import choose_manifest, read_aqua_report, read_manifest
from mwaconvert.archive.packages import PackageFault, check_package, room_needed
from mwaconvert.archive.products import (
    Kind,
    calibration_members,
    describe_file,
    problem_of_archive,
    problem_of_file,
    read_product_table,
    read_sums,
    write_sums,
)
from mwaconvert.archive.requests import write_request
from mwaconvert.archive.units import Calibrated, ProductFile, Role
from mwaconvert.errors import FormatError, InputError

TABLE = read_product_table()


def faults(layout: Layout, **options: object) -> list[PackageFault]:
    return [fault.kind for fault in check_package(layout.root, **options).faults]


def test_a_manifest_is_read() -> None:
    found = read_manifest(manifest({"session_1": [ONE], "session_2": [TWO]}).encode())
    assert (found.casa_version, found.pipeline_version, found.procedure) == (
        "6.5.4.9",
        "2023.1.0.124",
        "hifa_cal",
    )
    assert found.mpi_servers == 8
    assert found.executions == {ONE: "session_1", TWO: "session_2"}
    assert found.files == {"weblog": f"{MOUS}.hifa_cal.weblog.tgz"}
    assert len(found.names) == 7
    assert read_manifest(manifest({}, servers=()).encode()).mpi_servers == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (manifest({"session_1": [ONE], "session_2": [ONE]}), "is in session_1 and in session_2"),
        (
            manifest({"session_1": [ONE]}).replace(f"{ONE}.ms.calapply.txt", "../../x"),
            "cannot be a file name",
        ),
        (
            manifest({"session_1": [ONE]}).replace('num_mpi_servers="4"', 'num_mpi_servers="x"'),
            "num_mpi_servers",
        ),
        ("<piperesults/>", "has no <ous>"),
        ("<!DOCTYPE piperesults [<!ENTITY a 'b'>]><piperesults/>", "document type"),
        ('<piperesults xmlns="Alma/x"/>', "the root element is"),
    ],
)
def test_unsound_manifests_are_refused(data: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read_manifest(data.encode())


def test_of_several_manifests_the_calibration_is_chosen() -> None:
    cal, image = Path("uid.hifa_cal.pipeline_manifest.xml"), Path("uid.hifa_image.pipeline_manifest.xml")
    assert choose_manifest([image, cal]) == cal
    assert choose_manifest([image]) == image
    for wrong in ([], [cal, Path("uid.hifa_calimage.pipeline_manifest.xml")]):
        with pytest.raises(InputError, match="one manifest of a calibration is needed"):
            choose_manifest(wrong)


def test_an_aqua_report_is_read() -> None:
    found = read_aqua_report(
        b"""<PipelineAquaReport><ProjectStructure><ProposalCode>2017.1.00886.L</ProposalCode>
<ProcessingRequestEntityId>Undefined</ProcessingRequestEntityId><ProcessingProcedure>hifa_cal</ProcessingProcedure>
</ProjectStructure><QaSummary><ReportDate>2018-06-01 12:00:00</ReportDate><CasaVersion>5.1.1-5</CasaVersion>
<PipelineVersion>40896</PipelineVersion><FinalScore>Undefined</FinalScore></QaSummary><QaPerStage>
<Stage Number="1" Name="hifa_importdata"><RepresentativeScore Score="1.0" Reason="ok"/></Stage>
<Stage Number="2" Name="hifa_flagdata"><RepresentativeScore Score="0.33" Reason="much is flagged"/>
<SubScore Score="0.1" Reason="x"/></Stage>
<Stage Number="3" Name="hif_export"><RepresentativeScore Score="None" Reason=""/></Stage></QaPerStage>
<QaPerTopic/></PipelineAquaReport>"""
    )
    assert (found.proposal_code, found.procedure, found.final_score) == ("2017.1.00886.L", "hifa_cal", None)
    assert found.worst is not None
    assert (found.worst.number, found.worst.score, found.worst.reason) == (2, 0.33, "much is flagged")
    assert found.stages[2].score is None
    with pytest.raises(FormatError, match="no number"):
        read_aqua_report(b"<PipelineAquaReport><QaPerStage><Stage/></QaPerStage></PipelineAquaReport>")


def test_the_three_layouts(tmp_path: Path) -> None:
    delivery = delivery_layout(tmp_path / "a", "2017.1.00886.L", status("1"), status("2"), samples.MOUS)
    made = datetime(2018, 6, 1, 12, 30, 0, 250000, tzinfo=UTC)
    request = request_layout(
        tmp_path / "b", "2017.1.00886.L", made, (status("1"), status("2"), samples.MOUS), status("3")
    )
    run = run_layout(tmp_path / "c", "13A-537_run1")
    for layout in (delivery, request, run):
        layout.make()
        layout.make()
        assert recognise(layout.root).folders == layout.folders
        assert recognise(layout.root).kind is layout.kind
    assert delivery.relative_path == (
        "2017.1.00886.L/science_goal.uid___A001_X1284_X1/group.uid___A001_X1284_X2/member.uid___A001_X1284_X266"
    )
    assert sorted(p.name for p in delivery.root.iterdir()) == [
        "calibration",
        "log",
        "product",
        "qa",
        "raw",
        "script",
    ]
    assert request.relative_path == (
        "2017.1.00886.L_2018_06_01T12_30_00.250/SOUS_uid___A001_X1284_X1/GOUS_uid___A001_X1284_X2"
        "/MOUS_uid___A001_X1284_X266/SBS_uid___A001_X1284_X3"
    )
    assert sorted(p.name for p in run.root.iterdir()) == ["products", "rawdata", "working"]


def test_a_layout_is_not_made_over_an_earlier_restore(tmp_path: Path) -> None:
    layout = package(tmp_path)
    layout.measurement_sets.mkdir()
    with pytest.raises(InputError, match="exists already"):
        layout.make()


def test_no_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is neither a delivered package"):
        recognise(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        recognise(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be a file name"):
        run_layout(tmp_path, "../x")


def test_a_sound_package(tmp_path: Path) -> None:
    layout = package(tmp_path)
    write_sums(layout.root)
    report = check_package(layout.root)
    report.check()
    assert report.restorable
    assert report.calibrated is Calibrated.PIPELINE
    assert report.sessions == {ONE: "session_1", TWO: "session_2"}
    assert report.layout.kind is LayoutKind.DELIVERY


def test_measurement_sets_renamed_between_versions_are_the_same(tmp_path: Path) -> None:
    layout = package(tmp_path)
    for path in (layout.root / "qa").glob("*manifest.xml"):
        path.write_text(path.read_text().replace(f'asdm name="{ONE}.ms"', f'asdm name="{ONE}_targets.ms"'))
    assert faults(layout) == []


def test_archive_names_with_underscores_are_found(tmp_path: Path) -> None:
    layout = package(tmp_path)
    for path in list(layout.calibration.glob("*.caltables.tgz")):
        path.rename(path.with_name("member." + path.name.replace(".", "_").replace("_tgz", ".tgz")))
    assert faults(layout) == []


def test_a_session_that_differs_between_manifest_and_request(tmp_path: Path) -> None:
    layout = package(tmp_path)
    request = next(layout.script.glob("*pprequest.xml"))
    request.write_bytes(write_request(samples.alma(samples.EBS[:2])))
    report = check_package(layout.root)
    assert [fault.kind for fault in report.faults] == [PackageFault.SESSION]
    assert f"{TWO} is in session_2 of the manifest and session_1 of the request" in str(report.faults[0])
    with pytest.raises(FormatError, match="ends in a KeyError"):
        report.check()


def test_a_session_that_differs_from_the_name_of_its_tables(tmp_path: Path) -> None:
    layout = package(tmp_path)
    path = next((layout.root / "qa").glob("*manifest.xml"))
    path.write_text(path.read_text().replace(f"{MOUS}.session_2.caltables", f"{MOUS}.session_1.caltables"))
    assert faults(layout) == [PackageFault.SESSION]


def test_without_a_manifest_names_decide(tmp_path: Path) -> None:
    layout = package(tmp_path)
    next((layout.root / "qa").glob("*manifest.xml")).unlink()
    assert faults(layout) == []
    (layout.calibration / f"{MOUS}.session_2.caltables.tgz").unlink()
    next(layout.calibration.glob(f"{ONE}*flagversions*")).unlink()
    assert sorted(f.value for f in faults(layout)) == ["missing file", "session names differ"]


def test_an_unsound_request_is_told(tmp_path: Path) -> None:
    layout = package(tmp_path)
    request = next(layout.script.glob("*pprequest.xml"))
    request.write_bytes(write_request(samples.unsound()["trailing"][0]))
    assert PackageFault.REQUEST in faults(layout)
    request.write_text("<x>")
    assert faults(layout) == [PackageFault.REQUEST]


def test_files_the_manifest_names_must_be_there(tmp_path: Path) -> None:
    layout = package(tmp_path)
    (layout.calibration / f"{ONE}.ms.calapply.txt").unlink()
    report = check_package(layout.root)
    assert [str(f) for f in report.faults] == [
        f"missing file: {ONE}.ms.calapply.txt, which the manifest names"
    ]


def test_a_qa_package_without_calibration_proves_nothing(tmp_path: Path) -> None:
    layout = delivery_layout(tmp_path, "2017.1.00886.L", status("1"), status("2"), samples.MOUS)
    layout.make()
    (layout.script / "member.scriptForPI.py").write_text("# ships with every delivery\n")
    report = check_package(layout.root)
    assert report.calibrated is Calibrated.NOT_YET
    assert {f.kind for f in report.faults} == {PackageFault.NO_EXECUTIONS, PackageFault.NO_CALIBRATION}


def test_a_hand_calibrated_package(tmp_path: Path) -> None:
    layout = package(tmp_path)
    for path in layout.calibration.iterdir():
        path.unlink()
    (layout.script / f"{ONE}.ms.scriptForCalibration.py").write_text("# by hand\n")
    report = check_package(layout.root)
    assert (report.calibrated, report.faults) == (Calibrated.HAND, ())
    assert room_needed(100, Calibrated.HAND) == 1400


def test_two_of_what_must_be_one(tmp_path: Path) -> None:
    layout = package(tmp_path)
    (layout.script / "PPR_again.xml").write_bytes(next(layout.script.glob("*pprequest.xml")).read_bytes())
    (layout.script / "x.scriptForPI.py").write_text("")
    assert faults(layout) == [PackageFault.AMBIGUOUS, PackageFault.AMBIGUOUS]


def test_raw_data_missing_and_not_used(tmp_path: Path) -> None:
    layout = package(tmp_path)
    (layout.raw / f"{ONE}.asdm.sdm").rename(layout.raw / "uid___A002_X1_X2.asdm.sdm")
    report = check_package(layout.root)
    assert [f.kind for f in report.faults] == [PackageFault.RAW]
    assert report.notes == ("uid___A002_X1_X2 has raw data and no calibration; it was observed and not used",)


def test_a_restored_package_is_told(tmp_path: Path) -> None:
    layout = package(tmp_path)
    layout.measurement_sets.mkdir()
    assert faults(layout) == [PackageFault.RESTORED]


def test_a_link_that_leaves_the_package(tmp_path: Path) -> None:
    layout = package(tmp_path)
    (tmp_path / "elsewhere").write_text("x")
    (layout.root / "qa" / "weblog").symlink_to(tmp_path / "elsewhere")
    assert faults(layout) == [PackageFault.LINK]


def test_a_corrupt_archive_longer_than_the_good_one_beside_it(tmp_path: Path) -> None:
    layout = package(tmp_path)
    good = layout.calibration / f"{MOUS}.session_1.caltables.tgz"
    bad = layout.root / "product" / good.name
    bad.write_bytes(good.read_bytes() + b"garbage" * 10000)
    report = check_package(layout.root)
    assert [f.kind for f in report.faults] == [PackageFault.AMBIGUOUS, PackageFault.ARCHIVE]
    expected = [describe_file(good, TABLE)]
    report = check_package(layout.root, expected)
    assert any("70000 bytes longer than" in str(fault) for fault in report.faults)


def test_checksums_of_the_list_beside_the_files(tmp_path: Path) -> None:
    layout = package(tmp_path)
    write_sums(layout.root)
    path = layout.calibration / f"{ONE}.ms.calapply.txt"
    path.write_text("applycal() ")
    (layout.calibration / f"{TWO}.ms.calapply.txt").unlink()
    report = check_package(layout.root)
    kinds = sorted(f.kind.value for f in report.faults)
    assert kinds == ["missing file", "missing file", "size or checksum"]


@pytest.mark.parametrize("line", ["abc  x", "a" * 64, f"{'a' * 64}  ../x", f"{'a' * 64}  /etc/passwd"])
def test_lists_of_checksums_are_checked_themselves(tmp_path: Path, line: str) -> None:
    (tmp_path / "sums").write_text(line + "\n")
    with pytest.raises(FormatError, match="line 1"):
        read_sums(tmp_path / "sums")


def test_sizes_before_checksums(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    path.write_bytes(b"abc")
    sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180
    assert problem_of_file(path, ProductFile("a.tgz", size=3, sha256=sha)) is None
    assert "1 bytes shorter than the 4 bytes" in str(problem_of_file(path, ProductFile("a.tgz", size=4)))
    assert "not the expected SHA-256" in str(
        problem_of_file(path, ProductFile("a.tgz", size=3, sha256="0" * 64))
    )


def add(path: Path, **changes: object) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("folder/a")
        for key, value in changes.items():
            setattr(info, key, value)
        tar.addfile(info)
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "../a"}, "leaves the folder"),
        ({"name": "/etc/passwd"}, "leaves the folder"),
        ({"name": "a/../../b"}, "leaves the folder"),
        ({"type": tarfile.SYMTYPE, "linkname": "/etc"}, "links to /etc"),
        ({"type": tarfile.SYMTYPE, "linkname": "../../etc"}, "links to"),
        ({"type": tarfile.LNKTYPE, "linkname": "../etc"}, "links to"),
        ({"type": tarfile.CHRTYPE}, "is not a file, folder or link"),
        ({"type": tarfile.FIFOTYPE}, "is not a file, folder or link"),
    ],
)
def test_archives_that_leave_their_folder(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    assert words in str(problem_of_archive(add(tmp_path / "x.tgz", **changes)))


@pytest.mark.parametrize("changes", [{}, {"type": tarfile.SYMTYPE, "linkname": "../folder/b"}])
def test_archives_that_stay(tmp_path: Path, changes: dict[str, object]) -> None:
    assert problem_of_archive(add(tmp_path / "x.tgz", **changes)) is None


def test_damaged_archives(tmp_path: Path) -> None:
    path = tgz(tmp_path / "x.tgz", {"a": os.urandom(200_000)})
    whole = path.read_bytes()
    assert problem_of_archive(path) is None
    path.write_bytes(whole[:-1000])
    assert "damaged or cut short" in str(problem_of_archive(path))
    path.write_bytes(whole[:50_000] + bytes(1000) + whole[51_000:])
    assert "damaged or cut short" in str(problem_of_archive(path))
    path.write_bytes(b"not a tar")
    assert "damaged or cut short" in str(problem_of_archive(path))
    path.write_bytes(gzip.compress(gzip.decompress(whole) + b"x" * 30_000))
    assert "other bytes behind its end" in str(problem_of_archive(path))


def test_kinds_and_roles_are_data(tmp_path: Path) -> None:
    assert TABLE.of("uid___A001_X1_X2.session_1.caltables.tgz") == (Kind.CALTABLES, Role.ANCILLARY)
    assert TABLE.kind("uid___A001_X1_X2_auxcaltables.tgz") is Kind.AUXCALTABLES
    assert TABLE.of("oussid.s38_0.M31_sci.spw25.mfs.I.pbcor.fits") == (Kind.IMAGE, Role.PRIMARY)
    assert TABLE.of("x.mask.fits") == (Kind.IMAGE, Role.ANCILLARY)
    assert TABLE.of("notes of the analyst.txt") == (Kind.OTHER, Role.ANCILLARY)
    own = tmp_path / "kinds.txt"
    own.write_text("image ancillary *.cube.fits  # not science\nimage primary *.fits\n")
    assert read_product_table(own).of("a.cube.fits")[1] is Role.ANCILLARY
    for wrong in ("picture primary *.fits", "image main *.fits", "image primary"):
        own.write_text(wrong)
        with pytest.raises(FormatError, match="line 1"):
            read_product_table(own)


def test_the_calibration_tar_holds_what_an_analyst_added_and_no_images(tmp_path: Path) -> None:
    tgz(tmp_path / "x.session_1.caltables.tgz", {"a": b""})
    tgz(tmp_path / "weblog.tgz", {"a": b""})
    (tmp_path / "my.flagtemplate.txt").write_text("")
    (tmp_path / "image.fits").write_text("")
    (tmp_path / "pipeline-20180601T120000" / "html").mkdir(parents=True)
    (tmp_path / "pipeline-20180601T120000" / "html" / "index.html").write_text("")
    write_sums(tmp_path)
    names = [path.name for path in calibration_members(tmp_path, TABLE)]
    assert names == ["my.flagtemplate.txt", "weblog.tgz", "x.session_1.caltables.tgz"]


def test_a_symlinked_weblog_is_refused(tmp_path: Path) -> None:
    (tmp_path / "products").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "products" / "pipeline-1").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="links out of the products folder"):
        calibration_members(tmp_path / "products", TABLE)
