"""Processing requests: round trips, every trap by name, twins of the public reader, changes in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import request_samples as samples
from hypothesis import given
from hypothesis import strategies as st

from mwaconvert.archive.identifiers import ExecBlockUid, Uid
from mwaconvert.archive.requests import (
    Command,
    Problem,
    Purpose,
    Request,
    Telescope,
    Trap,
    changes,
    check,
    problems,
    read_intents_file,
    read_procedure,
    read_request,
    read_value,
    restore_first,
    restore_procedure,
    sessions_as_read,
    with_executions,
    with_parameter,
    write_request,
)
from mwaconvert.errors import FormatError, InputError, MetadataError

UNSOUND = samples.unsound()
ONE, TWO, THREE = samples.EBS


def sound() -> dict[str, Request]:
    return {
        "calibration and imaging, two blocks of one session": samples.alma(
            (ONE, TWO), procedure=samples.BOTH
        ),
        "calibration, two sessions": samples.alma((ONE,), (TWO,)),
        "imaging, two sessions": samples.alma((ONE,), (TWO,), procedure=samples.IMAGING),
        "restore": samples.alma((ONE, TWO), procedure=restore_procedure(Telescope.ALMA)),
        "an empty session first": samples.alma((), (ONE,)),
        "several scheduling blocks": samples.alma((ONE,), (TWO,), blocks=2),
        "one SDM": samples.vla(),
        "VLA restore": samples.vla(restore_procedure(Telescope.VLA)),
    }


@pytest.mark.parametrize("name", sound())
def test_a_made_request_is_sound_and_reads_back(name: str) -> None:
    request = sound()[name]
    document = read_request(write_request(request))
    assert document.request == request
    assert problems(document.request) == ()
    assert write_request(document.request) == document.data


@pytest.mark.parametrize(
    ("name", "purpose"),
    [
        ("calibration and imaging, two blocks of one session", Purpose.CALIBRATION_AND_IMAGING),
        ("calibration, two sessions", Purpose.CALIBRATION),
        ("imaging, two sessions", Purpose.IMAGING),
        ("restore", Purpose.RESTORE),
    ],
)
def test_the_purpose_is_told_by_the_commands(name: str, purpose: Purpose) -> None:
    assert sound()[name].purpose is purpose


def test_an_imaging_request_starts_with_a_restore_and_is_longer_for_it() -> None:
    image = samples.IMAGING
    assert image.commands[0] == Command("hifa_restoredata", (("copytoraw", "False"),))
    assert restore_first(image, Telescope.ALMA) == image
    assert len(write_request(samples.alma((ONE,), procedure=image))) > len(
        write_request(samples.alma((ONE,)))
    )


def test_the_paths_of_several_scheduling_blocks_are_cut_back_to_the_member_set() -> None:
    assert samples.alma((ONE,)).blocks[0].relative_path.endswith("/SBS_uid___A001_X1284_X267")
    assert samples.alma((ONE,), blocks=2).blocks[0].relative_path.endswith("/MOUS_z")


@pytest.mark.parametrize("name", UNSOUND)
def test_each_trap_is_refused_by_name(name: str) -> None:
    request, trap = UNSOUND[name]
    assert trap in {problem.trap for problem in problems(request)}
    with pytest.raises(FormatError, match=r"^ppr\.xml: ") as refused:
        check(request, "ppr.xml")
    assert trap.value in str(refused.value)


def test_every_trap_has_a_sample() -> None:
    assert {trap for _, trap in UNSOUND.values()} == set(Trap)


# what the public reader of ALMA made of the sample, once for each execution block
_AS_READ = {
    "gap": (1, 1, 1),
    "not from one": (1, 1, 1),
    "left out": (1, 2, 1),
    "same key": (1, 1, 2),
    "bar alone": (1, 1, 1),
    "trailing": (1, 2, 1),
    "two blanks": (1, 1, 2),
    "line break": (1, 1, 2),
    "two homes": (1, 1, 2),
    "stranger": (1, 1, 1),
    "disk name": (1, 1, 1),
}


@pytest.mark.parametrize("name", _AS_READ)
def test_sessions_are_taken_as_the_public_reader_took_them(name: str) -> None:
    document = read_request(write_request(UNSOUND[name][0]))
    assert tuple(sessions_as_read(document.request).values()) == tuple(f"session_{n}" for n in _AS_READ[name])


@pytest.mark.parametrize("name", ["two scheduling blocks", "two sdms"])
def test_the_reader_gives_up_where_it_gave_up(name: str) -> None:
    with pytest.raises(FormatError, match="gives up"):
        sessions_as_read(UNSOUND[name][0])


def test_sound_sessions_are_taken_as_meant() -> None:
    request = samples.alma((), (ONE, TWO), (THREE,))
    assert list(sessions_as_read(request).values()) == ["session_2", "session_2", "session_3"]
    assert sessions_as_read(samples.vla()) == {str(samples.SDM): "session_1"}


# values as the public reader handed them to a task
@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("1", 1),
        (" 12 ", 12),
        ("1_000", 1000),
        ("007", 7),
        ("1.0", 1.0),
        ("1e3", 1000.0),
        ("inf", float("inf")),
        ("True", True),
        ("FALSE", False),
        ("None", "None"),
        ("[1,2]", [1, 2]),
        (" [1]", [1]),
        ("(1,2)", (1, 2)),
        ("(1)", "(1)"),
        ("{'a':1}", {"a": 1}),
        ("{1}", "{1}"),
        ("[1]+[2]", "[1]+[2]"),
        ("[true]", "[true]"),
        ("1,2", "1,2"),
        ("no", "no"),
        ("0x10", "0x10"),
        ("", ""),
        ("uid://A001/X1/X2", "uid://A001/X1/X2"),
    ],
)
def test_values_are_read_as_the_public_reader_reads_them(value: str, read: object) -> None:
    assert read_value(value) == read
    assert type(read_value(value)) is type(read)


@pytest.mark.parametrize("mode", ["no", "off", "2", "[0]"])
def test_a_spectral_mode_that_says_no_and_means_yes(mode: str) -> None:
    request = replace(samples.vla(), intents=(("SPECTRAL_MODE", mode),))
    assert problems(request) == (Problem(Trap.SPECTRAL_MODE, f"'{mode}'"),)


@pytest.mark.parametrize("mode", ["True", "False", "0", "true"])
def test_a_spectral_mode_that_means_what_it_says(mode: str) -> None:
    assert problems(replace(samples.vla(), intents=(("SPECTRAL_MODE", mode),))) == ()


def test_an_edited_request_keeps_its_bytes() -> None:
    data = write_request(samples.alma((ONE,)))
    edited = data.replace(b"  <ProcessingRequests>", b"<!-- DA: spw 17 off -->\r\n\t<ProcessingRequests   >")
    document = read_request(edited)
    assert document.data == edited
    assert document.request == read_request(data).request
    assert document.sha256 != read_request(data).sha256


def test_the_older_form_without_alma_structure_is_read() -> None:
    data = write_request(samples.alma((ONE,)))
    old = data.replace(b"    <AlmaStructure>\n", b"").replace(b"    </AlmaStructure>\n", b"")
    assert read_request(old).request == read_request(data).request


def test_execution_blocks_are_added_and_taken_away() -> None:
    request = samples.alma((ONE,), (TWO,))
    more = with_executions(request, add=[(3, THREE)])
    assert more.sessions == {1: (str(ONE),), 2: (str(TWO),), 3: (str(THREE),)}
    fewer = with_executions(more, remove=[ONE])
    # the session stays: archives of calibration tables are named by its number
    assert fewer.sessions == {1: (), 2: (str(TWO),), 3: (str(THREE),)}
    assert sessions_as_read(fewer) == {TWO.file_form: "session_2", THREE.file_form: "session_3"}
    moved = with_executions(fewer, add=[(2, ONE)], remove=[TWO])
    assert moved.sessions == {1: (), 2: (str(ONE),), 3: (str(THREE),)}


def test_wrong_additions_and_removals_are_refused() -> None:
    request = samples.alma((ONE,))
    with pytest.raises(InputError, match="in the request already"):
        with_executions(request, add=[(1, ONE)])
    with pytest.raises(InputError, match="cannot be taken away"):
        with_executions(request, remove=[TWO])
    with pytest.raises(InputError, match="session 3 would leave a gap"):
        with_executions(request, add=[(3, TWO)])
    with pytest.raises(FormatError, match="no execution block is named"):
        with_executions(request, remove=[ONE])


def test_optional_parameters_are_set_in_their_place() -> None:
    procedure = with_parameter(restore_procedure(Telescope.VLA), "hifv_restoredata", "gainmap", "True")
    assert procedure.commands[0].parameters == (("copytoraw", "False"), ("gainmap", "True"))
    again = with_parameter(procedure, "hifv_restoredata", "copytoraw", "True")
    assert again.commands[0].parameters == (("copytoraw", "True"), ("gainmap", "True"))
    assert read_request(write_request(samples.vla(again))).request.commands == again.commands
    with pytest.raises(InputError, match="hifv has no command hifv_statwt; it has hifv_importdata"):
        with_parameter(samples.VLA, "hifv_statwt", "a", "b")


def test_no_request_is_made_of_a_set_that_cannot_be_processed() -> None:
    with pytest.raises(FormatError, match="no execution block is named"):
        samples.alma(())
    with pytest.raises(InputError, match="no scheduling block"):
        samples.alma((ONE,), blocks=0)
    with pytest.raises(MetadataError, match="is in session_1 and in session_2"):
        samples.alma((ONE,), (ONE,))


def test_procedures_and_intents_of_a_pipeline_are_read(tmp_path: Path) -> None:
    file = tmp_path / "procedure_hifa_image.xml"
    file.write_text(
        """<ProcessingProcedure>
  <ProcedureTitle>hifa_image</ProcedureTitle>
  <ProcessingCommand><Command xmlns="">hifa_restoredata</Command>
    <ParameterSet><Parameter><Keyword xmlns="">copytoraw</Keyword><Value xmlns="">False</Value></Parameter>
    </ParameterSet></ProcessingCommand>
  <ProcessingCommand><Command xmlns="">hif_makeimages</Command><ParameterSet/></ProcessingCommand>
</ProcessingProcedure>"""
    )
    procedure = read_procedure(file)
    assert (procedure.title, [c.name for c in procedure.commands]) == (
        "hifa_image",
        ["hifa_restoredata", "hif_makeimages"],
    )
    assert samples.alma((ONE,), procedure=procedure).purpose is Purpose.IMAGING
    intents = tmp_path / "intents_hifa.xml"
    intents.write_text(
        "<!-- keys --><ProcessingIntents><Intents><Keyword>FULL_MODE</Keyword><Value>Undefined</Value></Intents>"
        "</ProcessingIntents>"
    )
    assert read_intents_file(intents) == (("FULL_MODE", "Undefined"),)
    file.write_text("<ProcessingProcedure>{{#mstransform}}</ProcessingProcedure>")
    with pytest.raises(FormatError, match="is a template"):
        read_procedure(file)


def test_changes_are_told_in_words() -> None:
    old = samples.alma((ONE,), (TWO,))
    new = with_executions(
        old, add=[(3, THREE), (1, ExecBlockUid(Uid.parse("uid://A002/X1/X2")))], remove=[ONE]
    )
    new = replace(
        new,
        commands=(
            new.commands[0].with_parameter("dbservice", "False"),
            Command("hif_selfcal"),
            new.commands[2],
        ),
        results=replace(new.results, archive_results="true"),
        intents=(*new.intents, ("SPECTRAL_MODE", "True")),
    )
    assert changes(old, new) == (
        "execution block uid://A002/Xc7111c/X86a7 added",
        "execution block uid://A002/X1/X2 added",
        "execution block uid://A002/Xc7111c/X3979 taken away",
        "session_3 added",
        "intent SPECTRAL_MODE added ('True')",
        "hifa_importdata: dbservice changed from 'True' to 'False'",
        "command hifa_flagdata (number 2) taken away",
        "command hif_selfcal added as number 2",
        "archiving of results changed from 'false' to 'true'",
    )


def test_a_block_that_moves_to_another_session_is_told() -> None:
    old, new = samples.alma((ONE, TWO), (THREE,)), samples.alma((ONE,), (TWO, THREE))
    assert changes(old, new) == ("uid://A002/Xc7111c/X409e moved from session_1 to session_2",)
    assert changes(samples.alma((ONE, TWO)), samples.alma((TWO, ONE))) == ("order within session_1 changed",)


@given(st.permutations(range(3)), st.sampled_from(sorted(sound())))
def test_equal_requests_differ_in_nothing(order: list[int], name: str) -> None:
    request = sound()[name]
    assert changes(request, read_request(write_request(request)).request) == ()
    renamed = replace(request, summary=replace(request.summary, operator=f"operator {order}"))
    assert changes(request, renamed) == (f"operator changed from 'Anonymous' to 'operator {order}'",)


@given(st.text())
def test_any_text_survives_or_is_refused(value: str) -> None:
    request = samples.alma((ONE,))
    request = replace(request, commands=(request.commands[0].with_parameter("comment", value),))
    try:
        data = write_request(request)
    except (FormatError, UnicodeEncodeError):
        assert any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF or c in "\ufffe\uffff" for c in value)
        return
    assert read_request(data).request == request
