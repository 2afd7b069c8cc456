"""QA notes, weblogs, decisions, states, ingest and cleanup, retention."""

from __future__ import annotations

import errno
import os
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package_samples import tgz

from mwaconvert.archive.products import (
    SUMS,
    ProductTable,
    describe_file,
    problem_of_archive,
    read_product_table,
    read_sums,
    sha256_of,
)
from mwaconvert.archive.quality.areas import move_run, remove_run
from mwaconvert.archive.quality.ingest import (
    NOT_IN_ARCHIVE,
    IngestItem,
    check_cleanup,
    pack_calibration,
    unproven,
)
from mwaconvert.archive.quality.notes import (
    TEMPLATE,
    CalibrationStatus,
    QaNotes,
    QaRecords,
    QaState,
    SrdpStatus,
    add_notes,
    pack_weblog,
    publish_notes,
    read_notes,
    safe_html,
    write_notes,
)
from mwaconvert.archive.quality.retention import aged, expire, last_change, read_retention
from mwaconvert.archive.units import Role
from mwaconvert.errors import FormatError, InputError

TABLE = read_product_table()
NOW = datetime(2018, 6, 1, 12, tzinfo=UTC)


def filled(status: str = "Pass", analyst: str = "AL", comments: str = "fine") -> str:
    text = TEMPLATE.replace("Pass/Fail", status).replace("Your Name Here", analyst)
    return text.replace("Add comments if needed", comments)


def items_of(folder: Path, table: ProductTable) -> tuple[IngestItem, ...]:
    """All files at the top of a products folder."""
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.name != SUMS)
    return tuple(IngestItem(describe_file(path, table)) for path in paths)


def test_the_template_filled_in() -> None:
    notes = read_notes(filled())
    assert notes == QaNotes(SrdpStatus.PASS, "AL", "SRDP Pilot", 1.0, "fine")
    assert read_notes(filled("FAIL")).score == 0.0
    assert read_notes(filled("Null", "Your Name Here", "Add comments if needed")) == QaNotes(SrdpStatus.UNSET)


def test_anything_else_is_a_comment_and_other_keys_are_kept() -> None:
    notes = read_notes(
        "<h2>Checklist</h2><p>bandpass ok</p>\n"
        + filled()
        + "<br>qa_score: 0.7<br>qa_reviewer: JD\nspw 17 &lt; 3 Jy"
    )
    assert notes.score == 0.7
    assert notes.extra == (("qa_reviewer", "JD"),)
    assert notes.comments == "fine\nChecklist\nbandpass ok\nspw 17 < 3 Jy"


def test_the_template_as_plain_text_in_one_paragraph() -> None:
    notes = read_notes("<P>qa_standard: VLASS<BR/>qa_analyst: <b>AL</b><br />qa_status: <i>fail</i></P>")
    assert notes == QaNotes(SrdpStatus.FAIL, "AL", "VLASS", 0.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEMPLATE, "'Pass/Fail' is no QA status"),
        (filled(analyst="Your Name Here"), "qa_analyst is not filled in"),
        (filled("Passed"), "'Passed' is no QA status"),
        (filled() + "qa_status: Fail", "qa_status is given twice"),
        (filled() + "qa_score: 7", "qa_score '7' is not a score"),
        (filled() + "qa_score: nan", "is not a score"),
        ("x" * 1_100_000, "too many"),
    ],
)
def test_unsound_notes_are_refused(text: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read_notes(text)


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:alert(1)'>look</a>",
    "<svg/onload=alert(1)>",
    "<iframe src=http://x></iframe>",
    "<form action=http://x><input name=p></form>",
    "<b onclick=alert(1)>x</b>",
    "<style>body{background:url(http://x)}</style>",
    "<a href=data:text/html,<script>alert(1)</script>>x</a>",
    "<scr<script>ipt>alert(1)</script>",
    "<!--[if IE]><script>alert(1)</script><![endif]-->",
    "<math><mi xlink:href=javascript:alert(1)>x",
    "<meta http-equiv=refresh content='0;url=http://x'>",
    "<base href=http://x>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_notes_do_nothing(text: str) -> None:
    shown = safe_html(f"<p>notes</p>{text}").lower()
    assert "notes" in shown
    for bad in (
        "<script",
        "onerror",
        "onload",
        "onclick",
        "javascript:",
        "data:",
        "<iframe",
        "<form",
        "<style",
    ):
        assert bad not in shown
    assert not any(tag in shown for tag in ("<img", "<svg", "<meta", "<base", "<!--", "<math"))
    # as a comment they are words, and escaped when they are written again
    notes = read_notes(filled(comments=text))
    assert "<script" not in write_notes(notes).lower()


def test_harmless_markup_stays() -> None:
    text = '<p>See <a href="https://example.org/">this</a>.</p><table><tr><td>1</td></tr></table>'
    shown = safe_html(text)
    assert '<a href="https://example.org/"' in shown
    assert "<td>1</td>" in shown
    assert safe_html("flux < 3 & fine\n") == "<pre>flux &lt; 3 &amp; fine\n</pre>\n"


@given(
    st.sampled_from([SrdpStatus.PASS, SrdpStatus.FAIL]),
    st.text("abcXYZ <>&'\"é", min_size=1).map(str.strip).filter(bool),
    st.lists(st.text("abc <>&;:", min_size=1).map(str.strip).filter(bool), max_size=4),
)
def test_notes_go_round(status: SrdpStatus, analyst: str, lines: list[str]) -> None:
    notes = QaNotes(status, analyst, "SRDP Pilot", 0.5, "\n".join(lines), (("qa_site", "a & b"),))
    found = read_notes(write_notes(notes))
    assert found == notes


def weblog(tmp_path: Path) -> Path:
    folder = tmp_path / "pipeline-20180601T120000"
    (folder / "html").mkdir(parents=True)
    (folder / "html" / "index.html").write_text("<html/>")
    return folder


def test_notes_are_added_to_the_weblog_and_it_is_packed_again(tmp_path: Path) -> None:
    folder = weblog(tmp_path)
    added = add_notes(folder, filled(comments="<script>x</script> ok"))
    assert added == folder / "html" / "qa_notes.html"
    assert "script" not in added.read_text()
    packed = pack_weblog(folder, tmp_path / "weblog.tgz")
    first = packed.read_bytes()
    with tarfile.open(packed) as tar:
        assert "pipeline-20180601T120000/html/qa_notes.html" in tar.getnames()
    assert problem_of_archive(packed) is None
    os.utime(folder / "html" / "index.html", (0, 0))
    assert pack_weblog(folder, packed).read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pipeline-20180601T120000", "weblog.tgz"]


def test_linked_weblogs_are_refused(tmp_path: Path) -> None:
    folder = weblog(tmp_path / "real")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InputError, match="is a link"):
        add_notes(tmp_path / "link", "x")
    with pytest.raises(InputError, match="is a link"):
        pack_weblog(tmp_path / "link", tmp_path / "x.tgz")
    (folder / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="passwd: is a link"):
        pack_weblog(folder, tmp_path / "x.tgz")
    with pytest.raises(InputError, match="no folder html"):
        add_notes(tmp_path, "x")
    assert not (tmp_path / "x.tgz").exists()


def test_two_analysts_decide_at_once() -> None:
    records = QaRecords()
    first = records.decide(read_notes(filled()), "AL", NOW, seen=0)
    with pytest.raises(InputError, match=r"AL \(Pass\) decided on this run in the meantime"):
        first.decide(read_notes(filled("Fail")), "JD", NOW, seen=0)
    second = first.decide(read_notes(filled("Fail")), "JD", NOW, seen=1)
    assert [(row.revision, row.notes.status) for row in second.rows] == [
        (1, SrdpStatus.PASS),
        (2, SrdpStatus.FAIL),
    ]
    assert len(first.rows) == 1
    with pytest.raises(InputError, match="no time zone"):
        records.decide(read_notes(filled()), "AL", datetime(2018, 6, 1), seen=0)


def test_tables_may_be_kept_while_the_product_fails() -> None:
    state = QaState().passed(read_notes(filled("Fail")), ingested=True)
    assert state == QaState(CalibrationStatus.CALIBRATED, SrdpStatus.FAIL)
    with pytest.raises(InputError, match="not marked Calibrated"):
        QaState().passed(read_notes(filled()), ingested=False)
    assert QaState().failed().calibration is CalibrationStatus.DO_NOT_CALIBRATE


def products(tmp_path: Path) -> Path:
    folder = tmp_path / "run1" / "products"
    folder.mkdir(parents=True)
    tgz(folder / "a.session_1.caltables.tgz", {"x": b"1"})
    (folder / "a.pbcor.fits").write_bytes(b"SIMPLE")
    return folder


def verified(folder: Path) -> list[IngestItem]:
    return [
        item.verified(f"id-{item.file.name}", 1, str(item.file.sha256), NOW)
        for item in items_of(folder, TABLE)
    ]


def test_roles_come_from_the_table(tmp_path: Path) -> None:
    roles = {item.file.name: item.file.role for item in items_of(products(tmp_path), TABLE)}
    assert roles == {"a.pbcor.fits": Role.PRIMARY, "a.session_1.caltables.tgz": Role.ANCILLARY}


def test_cleanup_needs_every_item_verified(tmp_path: Path) -> None:
    folder = products(tmp_path)
    items = verified(folder)
    check_cleanup(folder, items)
    for wrong in ([], items[:1], [items[0], items_of(folder, TABLE)[1]]):
        with pytest.raises(InputError) as refused:
            check_cleanup(folder, wrong)
        assert str(refused.value) == (
            "The data products are not in the archive, please wait and try again. "
            "If failures are repeated, please file an SSA ticket."
        )
    assert unproven(folder, items[1:]) == (folder / "a.pbcor.fits",)


def test_a_product_changed_after_the_ingest_is_not_in_the_archive(tmp_path: Path) -> None:
    folder = products(tmp_path)
    items = verified(folder)
    (folder / "a.pbcor.fits").write_bytes(b"SIMPLER")
    with pytest.raises(InputError, match=NOT_IN_ARCHIVE[:30]):
        check_cleanup(folder, items)


def test_what_is_in_a_verified_tar_is_proven(tmp_path: Path) -> None:
    folder = products(tmp_path)
    (folder / "more").mkdir()
    (folder / "more" / "notes.txt").write_text("of the analyst")
    weblog(folder)  # unpacked: its archive counts
    pack_calibration(folder, folder / "calibration.tar", TABLE)
    items = [item for item in verified(folder) if item.file.name in ("calibration.tar", "a.pbcor.fits")]
    check_cleanup(folder, items)
    with pytest.raises(InputError):
        check_cleanup(folder, [item for item in items if item.file.name == "a.pbcor.fits"])
    (folder / "more" / "later.txt").write_text("added after the ingest")
    assert unproven(folder, items) == (folder / "more" / "later.txt",)
    with pytest.raises(InputError, match=NOT_IN_ARCHIVE[:30]):
        check_cleanup(folder, items)


def test_a_folder_that_is_gone_needs_its_items_alone(tmp_path: Path) -> None:
    items = verified(products(tmp_path))
    check_cleanup(tmp_path / "gone", items)
    with pytest.raises(InputError):
        check_cleanup(tmp_path / "gone", [])


def test_an_archive_that_gives_back_other_bytes_is_told(tmp_path: Path) -> None:
    item = items_of(products(tmp_path), TABLE)[0]
    with pytest.raises(InputError, match="gave back other bytes"):
        item.verified("id", 1, "0" * 64, NOW)


def test_runs_are_removed_from_their_areas_alone(tmp_path: Path) -> None:
    folder = products(tmp_path).parent
    with pytest.raises(InputError, match="lies in none of the areas"):
        remove_run(folder / "products", [tmp_path])
    with pytest.raises(InputError, match="lies in none of the areas"):
        remove_run(tmp_path / "run1" / ".." / ".." / "x", [tmp_path])
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InputError, match="is a link"):
        remove_run(tmp_path / "link", [tmp_path])
    assert remove_run(folder, [tmp_path])
    assert not remove_run(folder, [tmp_path])
    assert [p.name for p in tmp_path.iterdir()] == ["link"]


def test_a_removal_that_was_interrupted_is_finished(tmp_path: Path) -> None:
    folder = products(tmp_path).parent
    folder.rename(tmp_path / ".removing-run1")
    assert not remove_run(folder, [tmp_path])
    assert list(tmp_path.iterdir()) == []


def areas(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for area in ("processing", "qa"):
        found[area] = tmp_path / area
        for name, days in (("old", 30), ("young", 1)):
            run = found[area] / name / "working"
            run.mkdir(parents=True)
            (run / "casa.log").write_text("x")
            then = (NOW - timedelta(days=days)).timestamp()
            for path in (run / "casa.log", run, run.parent):
                os.utime(path, (then, then))
    return found


def retention(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "retention.txt"
    path.write_text(text)
    return path


def test_old_runs_are_removed_and_what_waits_for_a_decision_stays(tmp_path: Path) -> None:
    where = areas(tmp_path)
    file = retention(tmp_path, "# days\nprocessing 21  # three weeks\nqa never\n")
    dry = expire(file, where, NOW, dry_run=True)
    assert [item.path for item in dry] == [where["processing"] / "old"]
    assert (where["processing"] / "old").exists()
    assert expire(file, where, NOW) == dry
    assert sorted(p.name for p in where["processing"].iterdir()) == ["young"]
    assert sorted(p.name for p in where["qa"].iterdir()) == ["old", "young"]
    assert expire(file, where, NOW) == ()


def test_what_an_interrupted_pass_left_is_removed(tmp_path: Path) -> None:
    where = areas(tmp_path)
    (where["processing"] / "young").rename(where["processing"] / ".removing-young")
    file = retention(tmp_path, "processing 40\nqa never\n")
    assert expire(file, where, NOW, dry_run=True) == ()
    assert (where["processing"] / ".removing-young").exists()
    assert expire(file, where, NOW) == ()
    assert [p.name for p in where["processing"].iterdir()] == ["old"]


def test_a_run_that_changes_during_the_pass_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = areas(tmp_path)
    before = last_change(where["processing"] / "old")
    looks = iter([before, NOW, NOW])  # old, young, and old once more before it would go
    monkeypatch.setattr("mwaconvert.archive.quality.retention.last_change", lambda run: next(looks))
    assert expire(retention(tmp_path, "processing 21\nqa never\n"), where, NOW) == ()
    assert (where["processing"] / "old").exists()


def test_the_file_is_read_again_for_each_pass(tmp_path: Path) -> None:
    where = areas(tmp_path)
    file = retention(tmp_path, "processing never\nqa never\n")
    assert expire(file, where, NOW) == ()
    retention(tmp_path, "processing 40\nqa never\n")
    assert expire(file, where, NOW) == ()
    retention(tmp_path, "processing 29.5\nqa never\n")
    assert [item.path.name for item in expire(file, where, NOW)] == ["old"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("processing soon\nqa never", "line 1: 'processing soon'"),
        ("processing 21 days\nqa never", "expected an area and days"),
        ("processing 0\nqa never", "at least 1 are kept"),
        ("processing -5\nqa never", "at least 1 are kept"),
        ("processing nan\nqa never", "at least 1 are kept"),
        ("processing 21\nqa 21", "never ages"),
        ("processing 21\nprocessing 22\nqa never", "given twice"),
        ("qa never", "no line for the area processing"),
    ],
)
def test_a_faulty_file_removes_nothing(tmp_path: Path, text: str, words: str) -> None:
    where = areas(tmp_path)
    with pytest.raises((FormatError, InputError), match=words):
        expire(retention(tmp_path, text), where, NOW)
    assert len(list(where["processing"].iterdir())) == 2


def test_a_run_someone_works_on_is_young(tmp_path: Path) -> None:
    where = areas(tmp_path)
    recent = (NOW - timedelta(days=2)).timestamp()
    os.utime(where["processing"] / "old" / "working" / "casa.log", (recent, recent))
    kept = read_retention(retention(tmp_path, "processing 21\nqa never"))
    assert aged(kept, where, NOW) == ()
    assert last_change(where["processing"] / "old") == datetime.fromtimestamp(recent, UTC)


def test_a_clock_that_runs_back_removes_nothing(tmp_path: Path) -> None:
    kept = read_retention(retention(tmp_path, "processing 1\nqa never"))
    assert aged(kept, areas(tmp_path), NOW - timedelta(days=365)) == ()
    with pytest.raises(InputError, match="no time zone"):
        aged(kept, {}, datetime(2018, 6, 1))


def test_links_in_an_area_are_left_alone(tmp_path: Path) -> None:
    where = areas(tmp_path)
    (where["processing"] / "link").symlink_to(where["qa"] / "old")
    kept = read_retention(retention(tmp_path, "processing 21\nqa never"))
    assert [item.path.name for item in aged(kept, where, NOW)] == ["old"]


def test_notes_are_published_in_one_step(tmp_path: Path) -> None:
    folder = products(tmp_path)
    log = weblog(folder)
    packed = publish_notes(log, folder / "weblog.tgz", filled())
    assert read_sums(folder / SUMS)["weblog.tgz"] == sha256_of(packed)
    first = packed.read_bytes()
    assert publish_notes(log, packed, filled()).read_bytes() == first
    assert publish_notes(log, packed, filled("Fail")).read_bytes() != first
    assert read_sums(folder / SUMS)["weblog.tgz"] == sha256_of(packed)


def test_the_calibration_tar(tmp_path: Path) -> None:
    folder = products(tmp_path)
    weblog(folder)
    (folder / "my.flagtemplate.txt").write_text("antenna='ea01'\n")
    packed = pack_calibration(folder, folder / "calibration.tar", TABLE)
    with tarfile.open(packed) as tar:
        assert tar.getnames() == ["a.session_1.caltables.tgz", "my.flagtemplate.txt"]
    first = packed.read_bytes()
    assert pack_calibration(folder, packed, TABLE).read_bytes() == first
    assert problem_of_archive(packed) is None
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="has nothing of a calibration"):
        pack_calibration(tmp_path / "none", tmp_path / "x.tar", TABLE)


def test_runs_move_between_areas_under_their_name(tmp_path: Path) -> None:
    run = products(tmp_path).parent
    moved = move_run(run, tmp_path / "qa")
    assert (moved / "products" / "a.pbcor.fits").is_file()
    assert move_run(run, tmp_path / "qa") == moved
    back = move_run(moved, tmp_path)
    assert back == run
    (tmp_path / "qa" / "run1").mkdir()
    with pytest.raises(InputError, match="exists already; nothing was moved"):
        move_run(run, tmp_path / "qa")
    with pytest.raises(InputError, match="is not there"):
        move_run(tmp_path / "run9", tmp_path / "qa")
    (tmp_path / "link").symlink_to(run)
    with pytest.raises(InputError, match="is a link"):
        move_run(tmp_path / "link", tmp_path / "qa")


def test_a_run_moves_between_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = products(tmp_path).parent
    renamed = Path.rename

    def other_disk(self: Path, target: Path) -> Path:
        if self == run:
            raise OSError(errno.EXDEV, "other disk")
        return renamed(self, target)

    monkeypatch.setattr(Path, "rename", other_disk)
    (tmp_path / "qa" / ".moving-run1").mkdir(parents=True)  # of a move that was interrupted
    moved = move_run(run, tmp_path / "qa")
    assert sorted(p.name for p in (moved / "products").iterdir()) == [
        "a.pbcor.fits",
        "a.session_1.caltables.tgz",
    ]
    assert not run.exists()
    assert [p.name for p in (tmp_path / "qa").iterdir()] == ["run1"]
