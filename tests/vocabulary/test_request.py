"""One request in three forms: words, canonical JSON and the argument vector of a child process."""

import doctest
import json
from collections.abc import Iterator
from typing import Any

import published
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert.cli.convert import convert
from mwaconvert.errors import InputError
from mwaconvert.vocabulary import request as vocabulary
from mwaconvert.vocabulary.options import TABLE, Spec
from mwaconvert.vocabulary.request import EXCLUSIVE, Request, build, from_json

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_ .-]{0,12}", fullmatch=True)
COUNTS = st.integers(0, 10**6)
LISTS = st.lists(COUNTS, min_size=1, max_size=4, unique=True).map(lambda items: ",".join(map(str, items)))
RANGES = st.tuples(st.integers(0, 11), st.integers(12, 23)).map(lambda pair: f"{pair[0]}-{pair[1]}")
POSITIVE = st.floats(1e-3, 1e6).map(repr)
#: texts that an option takes, by the name of its parser, or by the field it sets
TEXTS: dict[str, st.SearchStrategy[Any]] = {
    "output": st.tuples(NAMES, st.sampled_from([".ms", ".uvfits", "%%.mwaf"])).map("".join),
    "uvfits_output": NAMES.map("{}.uvfits".format),
    "ms_output": NAMES.map("{}.ms".format),
    "flag_output": NAMES.map("{}%%.mwaf".format),
    "output_kind": st.sampled_from(["uvfits", "MS"]),
    "qa_file": NAMES.map("{}.png".format),
    "preset": st.sampled_from(["birli", "cotter"]),
    "seconds": st.one_of(POSITIVE, st.integers(1, 9999).map("{}ms".format)),
    "signed_seconds": st.floats(-1, 1).map(repr),
    "kilohertz": st.one_of(POSITIVE, st.floats(0.01, 2).map("{!r}MHz".format)),
    "gibibytes": st.one_of(POSITIVE, st.integers(1, 9999).map("{}MiB".format)),
    "percent": st.floats(0.5, 100).map(repr),
    "sensitivity": POSITIVE,
    "threads": st.integers(0, 1024).map(str),
    "positive": st.integers(1, 10**6).map(str),
    "count": COUNTS.map(str),
    "time_average": st.one_of(st.integers(1, 99).map(str), st.integers(1, 99).map("{}s".format)),
    "freq_average": st.one_of(st.integers(1, 99).map(str), st.integers(1, 99).map("{}kHz".format)),
    "first_last": st.tuples(st.integers(0, 9), st.integers(10, 99)).map(lambda pair: tuple(map(str, pair))),
    "antennas": st.one_of(LISTS, st.sampled_from(["Tile011", "1,Tile012", "5-7"])),
    "ranges": RANGES,
    "indices": LISTS,
    "direction": st.tuples(
        st.one_of(st.floats(0, 359).map(repr), st.just("12h30m00s")), st.floats(-89, 89).map(repr)
    ),
    "right_ascension": st.floats(0, 359).map(repr),
    "declination": st.floats(-89, 89).map(repr),
    "geometry": st.sampled_from(["standard", "exact"]),
    "interpolation": st.sampled_from(["nearest", "linear"]),
    "passband": st.sampled_from(["auto", "none", "jake", "cotter"]),
    "unit_passband": st.sampled_from(["true", "false"]),
    "precomputed_flags": st.sampled_from(["auto", "only", "ignore"]),
    "compression": st.sampled_from(["none", "dysco"]),
    "rfi": st.sampled_from(["builtin", "none", "aoflagger"]),
    "strategy_file": NAMES.map("{}.toml".format),
    "centre": st.sampled_from(["phase", "pointing"]),
    "Path": NAMES,
    "str": NAMES,
}
PHASE_HALVES = {"phase_centre_ra": "10.5", "phase_centre_dec": "-26.5"}


@pytest.fixture(autouse=True, scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder for the log files that words ask for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("words"))
        yield


def ask(*words: str) -> Request:
    """What the verb convert makes of words."""
    asked: list[Request] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mwaconvert.cli.convert._run", asked.append)
        convert.main(list(words), standalone_mode=False)
    return asked[0]


@st.composite
def _words(draw: st.DrawFn, spec: Spec) -> list[str]:
    if spec.is_flag:
        return [spec.canonical]
    texts = draw(TEXTS[spec.parse.__name__])
    return [spec.canonical, *texts] if spec.nargs > 1 else [f"{spec.canonical}={texts}"]


def _alone(spec: Spec) -> list[str]:
    """Words without which an option says nothing."""
    others = PHASE_HALVES if spec.sets in PHASE_HALVES else {}
    return [f"--{key.replace('_', '-')}={text}" for key, text in others.items() if key != spec.sets]


def _check(request: Request) -> None:
    facts = json.loads(json.dumps(request.to_json()))
    published.check(facts, "request")
    assert from_json(facts) == request
    assert from_json(facts).to_json() == facts
    assert ask(*request.to_words()) == request


@pytest.mark.parametrize("spec", TABLE, ids=lambda spec: spec.canonical)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_option_goes_round(spec: Spec, data: st.DataObject) -> None:
    words = data.draw(_words(spec))
    metafits = [] if spec.sets == "metafits" else ["obs.metafits"]
    _check(ask(*metafits, *words, *_alone(spec)))


def _conflicts(first: Spec, second: Spec) -> bool:
    return first.sets == second.sets or any(
        first.sets in group and second.sets in group for group in EXCLUSIVE
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_many_options_go_round(data: st.DataObject) -> None:
    words: list[str] = []
    taken: list[Spec] = []
    for spec in data.draw(st.lists(st.sampled_from(TABLE), max_size=12, unique=True)):
        if spec.sets in PHASE_HALVES or any(_conflicts(spec, other) for other in taken):
            continue
        taken.append(spec)
        words += data.draw(_words(spec))
    raw = data.draw(st.lists(NAMES.map("{}_gpubox01_00.fits".format), max_size=2, unique=True))
    metafits = [] if any(spec.sets == "metafits" for spec in taken) else ["obs.metafits"]
    try:
        request = ask(*words, *metafits, *raw)
    except InputError as error:
        assert "cotter flags autocorrelations" in str(error)  # noqa: PT017 - the one contradiction of three options
        return
    _check(request)


def test_one_meaning_has_one_form() -> None:
    first = ask(
        "obs.metafits",
        "--avg-time-res",
        "500ms",
        "--centre",
        "custom",
        "--custom-ra",
        "1h",
        "--custom-dec",
        "-27d",
    )
    second = ask("-m", "obs.metafits", "--time-average", "0.5s", "--phase-centre", "15", "-27")
    assert first.to_json() == second.to_json()
    assert first.to_json() == {
        "metafits": "obs.metafits",
        "phase_centre_deg": [15.0, -27.0],
        "time_res_s": 0.5,
    }


def test_defaults_need_not_be_said() -> None:
    facts = {
        "metafits": "obs.metafits",
        "cable_delay": True,
        "rfi": "builtin",
        "progress": True,
        "flag_times": [],
    }
    assert from_json(facts).to_json() == {"metafits": "obs.metafits"}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "metafits is missing"),
        ({"metafits": "m", "time_rse_s": 8}, "there is no setting time_rse_s; did you mean time_res_s?"),
        ({"metafits": "m", "time_res_s": "soon"}, "--timeres: 'soon' is not a number"),
        ({"metafits": "m", "time_res_s": True}, "time_res_s is True, which cannot be asked for"),
        ({"metafits": "m", "sel_time": [1]}, "sel_time is [1]; expected 2 values"),
        (
            {"metafits": "m", "like": "cotter", "cable_delay": True},
            "cable_delay is True, which cannot be asked for",
        ),
        ({"metafits": "m", "files": "x"}, "files is 'x'; expected a list"),
        ({"metafits": "m", "time_res_s": 8, "time_factor": 2}, "cannot be combined"),
    ],
)
def test_what_json_cannot_ask(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        from_json(facts)
    assert message in str(error.value)


def test_examples() -> None:
    assert doctest.testmod(vocabulary).failed == 0


def test_the_short_metafits_in_a_glob_is_left_out():
    words = ["1_metafits.fits", "1_metafits_ppds.fits", "1_ch131.fits"]
    request = build({}, words)
    assert str(request.metafits) == "1_metafits.fits"
    assert [str(path) for path in request.files] == ["1_ch131.fits"]
    assert str(build({}, words[1:]).metafits) == "1_metafits_ppds.fits"
