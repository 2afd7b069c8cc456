"""The archive of CHIME/FRB: what is found of an event, and that nothing leaves the roots."""

import json
from datetime import date

import pytest
from click.testing import CliRunner

from mwaconvert.cli.main import main
from mwaconvert.errors import InputError
from mwaconvert.frb.archive import Data, Layout, Level, Root, event_number, find_event, locate, roots_of

EVENT = 9386707
DAY = "2018/07/25"


def put(folder, *names, text="x"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(text)
    return folder


def chunk(beam, number, binning=1):
    return f"astro_{EVENT}_20180725175943000000_beam{beam:04d}_{number:08d}_{binning:02d}.msgpack"


@pytest.fixture
def site(tmp_path):
    base = tmp_path / "site"
    raw = base / "data/chime/intensity/raw" / DAY / f"astro_{EVENT}"
    put(raw / "0123", *[chunk(123, n) for n in (9, 10, 12)])
    put(raw / "1123", chunk(1123, 9), chunk(1123, 4, 2))
    put(base / "data/chime/intensity/processed" / DAY / f"astro_{EVENT}", "wfall.npz")
    put(
        base / "data/chime/baseband/raw" / DAY / f"astro_{EVENT}",
        *[f"baseband_{EVENT}_{k}.h5" for k in (0, 1, 1023)],
    )
    return base


@pytest.fixture
def older(tmp_path):
    base = tmp_path / "older"
    put(base / DAY / f"astro_{EVENT}/intensity/processed", "a.npz")
    return base


def test_what_is_there_and_what_is_missing(site, older):
    found = find_event(EVENT, [Root("site", site), Root("older", older, Layout.OLDER)])
    seen = {(h.root.name, h.data, h.level, h.beam): (h.files, h.missing) for h in found.holdings}
    assert seen[("site", Data.INTENSITY, Level.RAW, 123)] == (
        tuple(chunk(123, n) for n in (9, 10, 12)),
        "chunks 11",
    )
    assert seen[("site", Data.INTENSITY, Level.RAW, 1123)][1] == ""  # mixed binnings: the files tell
    assert seen[("site", Data.BASEBAND, Level.RAW, None)][1] == "frequencies 2-1022"
    assert seen[("site", Data.INTENSITY, Level.PROCESSED, None)] == (("wfall.npz",), "")
    assert seen[("older", Data.INTENSITY, Level.PROCESSED, None)] == (("a.npz",), "")
    assert found.missing == ("processed baseband",)
    assert list(found.beams()) == [123, 1123]


def test_by_date(site):
    roots = [Root("site", site)]
    assert find_event(EVENT, roots, day=date(2018, 7, 25)).holdings == find_event(EVENT, roots).holdings
    assert find_event(EVENT, roots, day=date(2018, 7, 26)).holdings == ()
    assert find_event(EVENT, roots, telescope="kko").holdings == ()


@pytest.mark.parametrize("word", ["", "-1", "0", "../9386707", "9386707/..", "1e3", "٣", "9" * 30, "1\0"])
def test_events_that_are_none(word, site):
    with pytest.raises(InputError, match="expected its number"):
        event_number(word)
    with pytest.raises(InputError, match="expected a name"):
        find_event(EVENT, [Root("site", site)], telescope="../chime")


def test_links_out_of_the_root_are_not_followed(site, tmp_path):
    secret = put(tmp_path / "secret", "key")
    raw = site / "data/chime/intensity/raw" / DAY / f"astro_{EVENT}"
    (raw / "0123" / "link.msgpack").symlink_to(secret / "key")
    (raw / "0999").symlink_to(secret)
    (raw / "0123" / "round").symlink_to(raw / "0123" / "round")
    (raw / "0123" / "within").symlink_to(raw / "1123" / chunk(1123, 9))
    (held,) = [h for h in find_event(EVENT, [Root("site", site)]).holdings if h.beam == 123]
    assert held.refused == ("link.msgpack", "round")
    assert "within" in held.files
    assert 999 not in find_event(EVENT, [Root("site", site)]).beams()
    day = site / "data/chime/baseband/processed/2019/01/01"
    day.mkdir(parents=True)
    (day / "astro_5").symlink_to(secret)
    assert find_event(5, [Root("site", site)]).holdings == ()


def test_files_by_name(site, tmp_path):
    roots = [Root("elsewhere", tmp_path / "older"), Root("site", site)]
    name = f"/data/chime/intensity/raw/{DAY}/astro_{EVENT}/0123/{chunk(123, 9)}"
    whole = site / name[1:]
    assert locate(name, roots) == locate(name[1:], roots) == locate(str(whole), roots) == whole.resolve()
    put(tmp_path, "outside")
    (site / "data/link").symlink_to(tmp_path / "outside")
    for bad in (
        "../outside",
        "/data/../../outside",
        "data/link",
        "/etc/passwd",
        "",
        "/",
        "a\0b",
        str(tmp_path / "outside"),
    ):
        with pytest.raises(InputError, match="archive"):
            locate(bad, roots)


def test_roots_by_words(site, older):
    found = roots_of([f"site={site}", f"older={older}", str(site)])
    assert [(r.name, r.layout) for r in found] == [
        ("site", Layout.DATED),
        ("older", Layout.OLDER),
        (str(site), Layout.DATED),
    ]
    assert [r.name for r in roots_of([])] == ["site", "scratch", "canfar", "older"]
    with pytest.raises(InputError, match="expected the folder of an archive"):
        roots_of(["site=/no/such/folder"])


def test_find_from_the_shell(site):
    result = CliRunner().invoke(main, ["frb", "find", str(EVENT), "--root", f"site={site}"])
    assert result.exit_code == 0, result.output
    assert "missing: chunks 11" in result.stdout
    assert "beam 1123" in result.stdout
    told = CliRunner().invoke(
        main, ["frb", "find", str(EVENT), "--json"], env={"MWACONVERT_FRB_ROOTS": f"site={site}"}
    )
    facts = json.loads(told.stdout)
    assert facts["missing"] == ["processed baseband"]
    assert facts["holdings"][0]["files"] == [chunk(123, n) for n in (9, 10, 12)]
    assert CliRunner().invoke(main, ["frb", "find", "5", "--root", str(site)]).exit_code == 1
    refused = CliRunner().invoke(main, ["frb", "find", "../5", "--root", str(site)])
    assert (refused.exit_code, "expected its number" in refused.stderr) == (2, True)
    wrong = CliRunner().invoke(main, ["frb", "find", "5", "--date", "25.7.2018"])
    assert (wrong.exit_code, "expected YYYY-MM-DD" in wrong.stderr) == (2, True)
