"""Reruns: what an analyst edited survives byte for byte, twice in a row, in place or beside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import request_samples as samples

from mwaconvert.archive.layouts import Layout, run_layout
from mwaconvert.archive.products import Kind
from mwaconvert.archive.requests import Command, write_request
from mwaconvert.archive.reruns import (
    Edits,
    FlagTemplate,
    check_continuum,
    check_flag_template,
    check_fluxes,
    flag_template_name,
    prepare_rerun,
    set_aside,
    unused_templates,
)
from mwaconvert.errors import FormatError, InputError

SDM = str(samples.SDM)
FLUXES = "ms,field,spw,I,Q,U,V,spix,uvmin,uvmax,comment\nx.ms,0,17,1.5,0,0,0,-0.7,0,0,# origin=DA, age=1\n"


def first_run(tmp_path: Path) -> Layout:
    layout = run_layout(tmp_path, "run1")
    layout.make()
    (layout.raw / SDM).mkdir()
    (layout.working / "PPR.xml").write_bytes(write_request(samples.vla()))
    (layout.working / "flux.csv").write_text(FLUXES)
    (layout.working / "casa.log").write_text("log of the first run\n")
    return layout


def edits(tmp_path: Path) -> Edits:
    folder = tmp_path / "edits"
    folder.mkdir()
    request = folder / "PPR.xml"
    request.write_bytes(write_request(samples.vla()).replace(b"<Value", b"<!-- edited --><Value", 1))
    template = folder / "flagtemplate.txt"
    template.write_text("# bad antenna\nmode='manual' antenna='ea01&*' reason='dead_antenna'\n")
    fluxes = folder / "my_flux.csv"
    fluxes.write_text(FLUXES.replace("1.5", "1.7"))
    return Edits(request, (template,), fluxes)


def test_all_three_files_twice_in_a_row(tmp_path: Path) -> None:
    layout, given = first_run(tmp_path), edits(tmp_path)
    inputs = prepare_rerun(layout, given)
    assert {item.path.name: item.from_analyst for item in inputs} == {
        f"{SDM}.flagtemplate.txt": True,
        "PPR.xml": True,
        "flux.csv": True,
    }
    expected = {
        "PPR.xml": given.request,
        f"{SDM}.flagtemplate.txt": given.flag_templates[0],
        "flux.csv": given.fluxes,
    }
    for name, source in expected.items():
        assert (layout.working / name).read_bytes() == source.read_bytes()
    assert (tmp_path / "run1" / "old_working_1" / "casa.log").read_text() == "log of the first run\n"
    (layout.working / "casa.log").write_text("log of the second run\n")

    again = prepare_rerun(layout, Edits())
    assert {item.path.name: item.from_analyst for item in again} == dict.fromkeys(expected, False)
    assert {i.path.name: i.sha256 for i in again} == {i.path.name: i.sha256 for i in inputs}
    for name, source in expected.items():
        assert (layout.working / name).read_bytes() == source.read_bytes()
    assert (tmp_path / "run1" / "old_working_2" / "casa.log").read_text() == "log of the second run\n"
    assert not (layout.working / "casa.log").exists()


def test_a_new_run_beside_the_old_one(tmp_path: Path) -> None:
    old, new = first_run(tmp_path), run_layout(tmp_path, "run2")
    inputs = prepare_rerun(old, edits(tmp_path), new=new)
    assert len(inputs) == 3
    assert (new.raw / SDM).resolve() == (old.raw / SDM).resolve()
    assert (old.working / "flux.csv").read_text() == FLUXES
    assert (new.working / "flux.csv").read_text() != FLUXES


def test_an_edited_request_of_another_name_replaces_the_old_one(tmp_path: Path) -> None:
    layout, given = first_run(tmp_path), edits(tmp_path)
    renamed = given.request.rename(given.request.with_name("PPR_edited.xml"))
    inputs = prepare_rerun(layout, Edits(renamed))
    assert sorted(i.path.name for i in inputs if i.kind is Kind.REQUEST) == ["PPR_edited.xml"]


def test_a_request_that_overwrites_would_empty_the_templates(tmp_path: Path) -> None:
    given = edits(tmp_path)
    importing = Command("hifv_importdata", (("overwrite", "True"),))
    request = replace(samples.vla(), commands=(importing, *samples.vla().commands[1:]))
    given.request.write_bytes(write_request(request))
    with pytest.raises(FormatError, match="hifv_importdata overwrites, which empties flag templates"):
        given.check()
    Edits(given.request).check()


def test_unsound_edits_change_nothing(tmp_path: Path) -> None:
    layout, given = first_run(tmp_path), edits(tmp_path)
    given.flag_templates[0].write_text("antenna='ea01' reason='dead antenna'\n")
    with pytest.raises(FormatError, match="has a blank"):
        prepare_rerun(layout, given)
    assert (layout.working / "casa.log").exists()
    with pytest.raises(InputError, match="is not a flag template"):
        prepare_rerun(layout, Edits(flag_templates=(given.request,)))


def test_a_plain_template_of_several_execution_blocks_is_refused(tmp_path: Path) -> None:
    layout, given = first_run(tmp_path), edits(tmp_path)
    given.request.write_bytes(write_request(samples.alma(samples.EBS)))
    with pytest.raises(InputError, match="could be of any of 3 execution blocks"):
        prepare_rerun(layout, given)
    one = given.flag_templates[0]
    named = one.rename(one.with_name(f"{samples.EBS[1].file_form}.flagtemplate.txt"))
    inputs = prepare_rerun(layout, Edits(given.request, (named,)))
    assert named.name in {i.path.name for i in inputs}


def test_names_of_templates_follow_the_pipeline() -> None:
    eb = samples.EBS[0].file_form
    assert (
        flag_template_name(FlagTemplate.TARGETS, eb, "2024.1.0.8") == f"{eb}_targets.flagtargetstemplate.txt"
    )
    assert flag_template_name(FlagTemplate.TARGETS, eb, "2021.2.0.128") == f"{eb}.flagtargetstemplate.txt"
    assert flag_template_name(FlagTemplate.TARGETS, eb, "40896") == f"{eb}.flagtargetstemplate.txt"
    assert flag_template_name(FlagTemplate.DATA, eb, "2024.1.0.8") == f"{eb}.flagtemplate.txt"


def test_a_rerun_needs_a_run(tmp_path: Path) -> None:
    layout = run_layout(tmp_path, "run1")
    with pytest.raises(InputError, match="is not there; a rerun needs the run before it"):
        prepare_rerun(layout, Edits())
    with pytest.raises(InputError, match="a rerun needs the run before it"):
        set_aside(layout.working)


def test_templates_that_were_not_applied_are_told(tmp_path: Path) -> None:
    inputs = prepare_rerun(first_run(tmp_path), edits(tmp_path))
    assert unused_templates("nothing", inputs) == (f"{SDM}.flagtemplate.txt",)
    assert unused_templates(f"reading {SDM}.flagtemplate.txt", inputs) == ()


@pytest.mark.parametrize(
    "text",
    [
        "antenna=ea01",
        "mode='manual' spw='0:1~5;8' timerange='' reason=\"x_y\"\n#c\n\nmode=shadow reason='a#b' # shadowed",
    ],
)
def test_flag_templates(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.flagtemplate.txt"
    path.write_text(text)
    assert check_flag_template(path) == (1 if "\n" not in text else 2)


@pytest.mark.parametrize("text", ["antenna", "antenna='ea01", "flag everything", "antenna='a' b"])
def test_lines_that_are_no_flag_commands(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.flagtemplate.txt"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"line 1: .*expected pairs"):
        check_flag_template(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ms,field,I\n",
        FLUXES.replace(",0,17,", ",3C286,17,"),
        FLUXES.replace("1.5", "bright"),
        FLUXES + "a,b\n",
    ],
)
def test_flux_files_a_pipeline_would_reject(tmp_path: Path, text: str) -> None:
    path = tmp_path / "flux.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"flux\.csv"):
        check_fluxes(path)
    path.write_text(FLUXES)
    assert check_fluxes(path) == 1


def test_continuum_files(tmp_path: Path) -> None:
    path = tmp_path / "cont.dat"
    path.write_text(
        "Field: M31\n\nSpectralWindow: 25 X1234#ALMA_RB_06\nFlags: ALLCONT LOWSPREAD\n"
        "230.1~230.5GHz LSRK\n230.7~231.0GHz TOPO\n\nSpectralWindow: 27\nNONE\nSpectralWindow: 29\nALL\n"
    )
    assert check_continuum(path) == 2
    for wrong in (
        "230.1~230.5GHz LSRK",
        "Field: M31\n230.1~230.5GHz",
        "Field: a\nSpectralWindow: 1\n230.1 GHz",
    ):
        path.write_text(wrong)
        with pytest.raises(FormatError, match=r"cont\.dat: line"):
            check_continuum(path)
