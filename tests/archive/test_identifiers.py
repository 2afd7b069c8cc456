"""Names of archives: strict, equal in both forms, and none that leaves its folder."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaconvert.archive.identifiers import (
    ExecBlockUid,
    SdmName,
    StatusUid,
    Uid,
    UnitRef,
    delivery_name,
    disk_name,
    execution_name,
    is_alma_project,
    is_vla_project,
    parse_execution,
    safe_name,
)
from mwaconvert.errors import InputError

_HEX = st.text("0123456789abcdefABCDEF", min_size=1, max_size=8)
_UIDS = st.builds(lambda a, d, p: Uid(f"A{a}", f"X{d}", f"X{p}"), _HEX, _HEX, _HEX)


@given(_UIDS)
def test_both_forms_name_the_same_uid(uid: Uid) -> None:
    assert Uid.parse(str(uid)) == uid == Uid.parse(uid.file_form)
    assert Uid.within(f"member.{uid.file_form}.session_1.caltables.tgz") == uid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "uid://A001/X1284",
        "uid://A001/X1284/X265f/",
        " uid://A001/X1284/X265f",
        "uid://A001/X1284/X265f\n",
        "uid://A001/X1284/265f",
        "uid://A001/X12g4/X265f",
        "UID://A001/X1284/X265f",
        "uid:__A001_X1284_X265f",
        "uid__A001_X1284_X265f",
        "uid___A001_X1284_X265f.ms",
        "uid___A001/X1284/X265f",
        "uid://A001/X1284/../X265f",
        "uid://A001/X1284/X265f/../../etc",
    ],
)
def test_what_is_no_uid_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"is not an archive uid; expected uid://A001/X12/X34"):
        Uid.parse(text)


def test_case_is_kept() -> None:
    assert Uid.parse("uid://A002/Xc7111c/X3979") != Uid.parse("uid://A002/XC7111C/X3979")
    assert str(Uid.parse("uid___A002_XC7111c_X3979")) == "uid://A002/XC7111c/X3979"


def test_a_uid_within_a_name_is_whole() -> None:
    assert Uid.within("uid___A002_Xc7111c_X409e.ms.flagversions.tgz") == Uid("A002", "Xc7111c", "X409e")
    assert Uid.within("13A-537.sb24066356.eb24324502.56514.05971091435") is None


def test_part_ids_are_strict() -> None:
    project = Uid.parse("uid://A001/X12/X345")
    assert UnitRef(project, "X23868574").part_id == "X23868574"
    with pytest.raises(InputError, match="is no part id"):
        UnitRef(project, "23868574")


@pytest.mark.parametrize(
    ("code", "alma", "vla"),
    [
        ("2017.1.00886.L", True, False),
        ("2011.0.00001.CSV", True, False),
        ("2015.A.00013.S", True, False),
        ("13A-537", False, True),
        ("AB1234", False, True),
        ("VLASS1.1", False, True),
        ("2017.1.886.L", False, False),
        ("2017.1.00886.L/..", False, False),
        ("13A-537x", False, False),
    ],
)
def test_project_codes(code: str, alma: bool, vla: bool) -> None:
    assert (is_alma_project(code), is_vla_project(code)) == (alma, vla)


def test_sdm_names() -> None:
    name = SdmName.parse("13A-537.sb24066356.eb24324502.56514.05971091435")
    assert (name.project, name.block, name.execution) == ("13A-537", 24066356, 24324502)
    assert name.mjd == pytest.approx(56514.05971091435)
    assert SdmName.parse("VLASS1.1.sb34623057.eb34645364.58022.85").project == "VLASS1.1"
    for text in ("13A-537.sb1.eb2", "13A-537.sb1.eb2.56514/..", "../13A-537.sb1.eb2.56514.1"):
        with pytest.raises(InputError, match="is not an SDM name"):
            SdmName.parse(text)


def test_an_execution_block_of_either_telescope() -> None:
    alma = parse_execution("uid://A002/Xc7111c/X3979")
    vla = parse_execution("13A-537.sb24066356.eb24324502.56514.05971091435")
    assert disk_name(alma) == "uid___A002_Xc7111c_X3979"
    assert disk_name(vla) == str(vla)
    assert isinstance(vla, SdmName)


@pytest.mark.parametrize(
    "ending",
    [
        "",
        ".ms",
        "_target.ms",
        "_targets.ms",
        "_targets_line.ms",
        "_imaging.ms",
        "_target.ms.ms",
        ".asdm.sdm",
        ".asdm.sdm.tar",
    ],
)
def test_derived_files_lead_back_to_the_execution_block(ending: str) -> None:
    assert execution_name(f"uid___A002_Xd3e89f_Xc53e{ending}") == "uid___A002_Xd3e89f_Xc53e"


def test_an_ending_within_the_name_stays() -> None:
    assert execution_name("uid__A002_target.msXd3e89f_Xc53e_target.ms") == "uid__A002_target.msXd3e89f_Xc53e"


def test_delivery_names() -> None:
    mous = StatusUid(Uid.parse("uid://A001/X1284/X265f"))
    assert delivery_name("2017.1.00886.L", mous) == "2017.1.00886.L_uid___A001_X1284_X265f"
    with pytest.raises(InputError, match="no ALMA project code"):
        delivery_name("../x", mous)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\\b", "a\0b", "a\nb", "x" * 256])
def test_names_that_leave_their_folder_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot be a file name"):
        safe_name(name)


@given(st.text(max_size=300))
def test_a_safe_name_is_one_part(name: str) -> None:
    try:
        safe = safe_name(name)
    except InputError:
        return
    assert re.fullmatch(r"[^/\\\x00-\x1f\x7f]+", safe)
    assert safe not in (".", "..")


def test_a_uid_serves_as_key() -> None:
    uid = ExecBlockUid(Uid.parse("uid://A002/Xc7111c/X3979"))
    assert {uid: 1}[ExecBlockUid(Uid.parse("uid___A002_Xc7111c_X3979"))] == 1
    assert repr(uid) == "uid://A002/Xc7111c/X3979"
