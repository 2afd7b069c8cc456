"""Requests for spectra in three forms: words, canonical JSON and the argument vector of a child process."""

import doctest
import json
from pathlib import Path
from typing import Any

import click
import published
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert.cli.spectra import common as cli
from mwaconvert.cli.spectra.dedisperse import dedisperse
from mwaconvert.cli.spectra.fold import fold
from mwaconvert.cli.spectra.inject import inject
from mwaconvert.cli.spectra.period import period
from mwaconvert.cli.spectra.search import search
from mwaconvert.cli.spectra.waterfall import waterfall
from mwaconvert.errors import InputError
from mwaconvert.transients.products import DedisperseRequest, SearchRequest, WaterfallRequest
from mwaconvert.vocabulary import spectra as vocabulary
from mwaconvert.vocabulary.spectra import (
    ANY_NUMBER,
    BOXCARS,
    DM,
    FILE_NAMES,
    GIBIBYTES,
    HOW,
    MILLISECOND_PAIR,
    MILLISECONDS,
    NUMBER,
    PAIR,
    PATH,
    RANGES,
    REFERENCE,
    REFUSED,
    SECONDS,
    TABLES,
    TEXT,
    THREADS,
    WHOLE,
    Asked,
    Kind,
    Spec,
    Verb,
    from_json,
    in_words,
    prepare,
)

COMMANDS: dict[Verb, click.Command] = {
    Verb.SEARCH: search,
    Verb.DEDISPERSE: dedisperse,
    Verb.WATERFALL: waterfall,
    Verb.INJECT: inject,
    Verb.PERIOD: period,
    Verb.FOLD: fold,
}
ALL = [(verb, spec) for verb in Verb for spec in TABLES[verb]]

NAMES = st.text("abz09_.-() é", min_size=1, max_size=9)
FLOATS = st.floats(-1e9, 1e9).map(repr)
#: words that an option takes, by how it reads them
WORDS: dict[Kind, st.SearchStrategy[tuple[str, ...]]] = {
    NUMBER: st.tuples(FLOATS),
    ANY_NUMBER: st.tuples(FLOATS),
    THREADS: st.tuples(st.integers(0, 1024).map(str)),
    WHOLE: st.tuples(st.integers(0, 10**9).map(str)),
    MILLISECONDS: st.tuples(st.one_of(FLOATS, FLOATS.map("{}ms".format), FLOATS.map("{}s".format))),
    MILLISECOND_PAIR: st.tuples(FLOATS, FLOATS.map("{}s".format)),
    BOXCARS: st.tuples(st.integers(1, 1 << 19).map(str)),
    GIBIBYTES: st.tuples(st.one_of(st.floats(1e-3, 1e6).map(repr), st.integers(1, 9999).map("{}MiB".format))),
    REFERENCE: st.tuples(st.sampled_from(["top", "centre", "bottom", "infinity", "1400.5"])),
    DM: st.tuples(st.one_of(FLOATS, st.just("auto"))),
    SECONDS: st.tuples(st.one_of(FLOATS, FLOATS.map("{}ms".format), FLOATS.map("{}s".format))),
    HOW: st.tuples(st.sampled_from(["fft", "FFA", "both"])),
    PAIR: st.tuples(FLOATS, FLOATS),
    TEXT: st.tuples(NAMES),
    PATH: st.tuples(NAMES),
    RANGES: st.tuples(
        st.lists(st.tuples(st.integers(0, 99), st.integers(100, 999)), min_size=1, max_size=3).map(
            lambda pairs: ",".join(f"{first}-{last}" for first, last in pairs)
        )
    ),
}


def ask(verb: Verb, *words: str) -> Asked:
    """What a verb makes of words."""
    asked: list[Asked] = []
    command = COMMANDS[verb]
    with command.make_context(str(verb), list(words)) as context:
        asked.append(cli.ask(verb, context.params))
    return asked[0]


@st.composite
def _words(draw: st.DrawFn, spec: Spec) -> list[str]:
    name = draw(st.sampled_from([name for name in spec.names if name.startswith("--")]))
    if draw(st.booleans()):
        name = name.replace("-", "_").replace("__", "--", 1)
    if spec.is_flag:
        return [name]
    if len(spec.fields) > 1:
        return [name, draw(FLOATS), draw(FLOATS)]
    return [name, *draw(WORDS[spec.kind])]


def _needed(verb: Verb, *said: Spec) -> list[str]:
    return ["--dm=300"] if verb is Verb.DEDISPERSE and not any(s.sets == "dm" for s in said) else []


def _check(asked: Asked) -> None:
    facts = json.loads(json.dumps(asked.to_json(), allow_nan=False))
    published.check(facts, f"{asked.verb}-request")
    assert from_json(facts) == asked
    assert from_json(facts).to_json() == facts
    verb, *words = asked.to_words()
    assert ask(Verb(verb), *words) == asked


@pytest.mark.parametrize(("verb", "spec"), ALL, ids=lambda item: getattr(item, "canonical", str(item)))
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_option_goes_round(verb: Verb, spec: Spec, data: st.DataObject) -> None:
    asked = ask(verb, *data.draw(_words(spec)), *_needed(verb, spec), "--", "a.fil")
    _check(asked)
    assert any(
        getattr(asked.request, field, None) != getattr(verb.request(), field, None)
        or hasattr(asked, field)
        or not spec.is_flag  # its words may say the default
        for field in spec.fields
    )


@pytest.mark.parametrize("verb", Verb)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_many_options_go_round(verb: Verb, data: st.DataObject) -> None:
    words: list[str] = []
    taken: set[str] = set()
    said = []
    for spec in data.draw(st.lists(st.sampled_from(TABLES[verb]), max_size=12, unique=True)):
        if taken.isdisjoint(spec.fields):
            taken |= set(spec.fields)
            said.append(spec)
            words += data.draw(_words(spec))
            if spec.listed:
                words += data.draw(_words(spec))
    _check(ask(verb, *words, *_needed(verb, *said), "--", "-odd name.fil"))


def test_every_field_can_be_said() -> None:
    for verb in Verb:
        # more files than one are continued, without a name
        fields = set(verb.request.__dataclass_fields__) - {verb.file_field, "continued"}
        assert fields == {
            field for spec in TABLES[verb] for field in spec.fields if field not in vocabulary.RUN_SETTINGS
        }


@pytest.mark.parametrize(
    ("verb", "theirs", "ours"),
    [
        (Verb.SEARCH, "-f a.fil -dm 10 3000 -boxcar_max 256 -detect_thresh 8 -nsamps_gulp 4096",
         "a.fil --dm-range 10 3000 --widths 9 --snr 8 --gulp 4096"),  # heimdall
        (Verb.SEARCH, "--files a.fil --dm 10 1000 --gulp 99", "a.fil --dm-range 10 1000 --gulp 99"),  # your
        (Verb.SEARCH, "-lodm 100 --hidm 200 -ncpus 2 --threshold 6 -ignorechan 0:10,20 a.fil",
         "a.fil --dm-range 100 200 -j 2 --snr 6 --mask 0-10,20"),  # PRESTO
        (Verb.DEDISPERSE, "-dm 56.7 -nsub 32 -downsamp 4 -zerodm -o x.dat a.fil", None),
        (Verb.DEDISPERSE, "-dm 56.7 -nsub 32 -downsamp 4 -o x.dat a.fil",
         "a.fil --dm 56.7 --nsub 32 --tscrunch 4 -o x.dat"),  # PRESTO
        (Verb.WATERFALL, "--fname w.npz --figname w.pdf --dm 87.81", "w.npz -o w.pdf --dm 87.81"),  # CHIME/FRB
        (Verb.WATERFALL, "--colour-map magma --scaleindep --downsamp=2 -nsub 64 a.fil",
         "a.fil --cmap magma --scale --tscrunch 2 --nsub 64"),  # waterfaller of PRESTO
    ],
)  # fmt: skip
def test_words_of_other_programs(verb: Verb, theirs: str, ours: str | None) -> None:
    if ours is None:
        with pytest.raises(InputError, match=r"no option -zerodm|there is no option"):
            ask(verb, *theirs.split())
        return
    assert ask(verb, *theirs.split()) == ask(verb, *ours.split())


def test_short_options_are_left_to_click() -> None:
    assert prepare(Verb.SEARCH, ["-j4", "-qv", "-ox.csv", "--", "--dm"]) == [
        "-j4",
        "-qv",
        "-ox.csv",
        "--",
        "--dm",
    ]
    asked = ask(Verb.SEARCH, "a.fil", "-j4", "-qv", "-ox.csv", "--dm-range", "-5", "5")
    assert isinstance(asked.request, SearchRequest)
    assert (asked.quiet, asked.verbose, asked.request.threads, asked.request.output) == (
        True, True, 4, Path("x.csv"),
    )  # fmt: skip
    assert asked.request.dm_range == (-5, 5)


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_counterpart_is_refused(name: str) -> None:
    with pytest.raises(InputError) as error:
        ask(Verb.SEARCH, "a.fil", name.replace("--", "-", 1).replace("-", "_").replace("_", "-", 1), "1")
    assert REFUSED[name] in str(error.value)
    assert not any(name in spec.names for specs in TABLES.values() for spec in specs)


def test_names_are_unique() -> None:
    for verb in Verb:
        names = [name for spec in TABLES[verb] for name in spec.names] + list(FILE_NAMES)
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.fil --dm-range 1 2 --dm-min 1", "--dm-range and --dm-min cannot be combined"),
        ("a.fil --dm-range 1 2 --widths 3 --boxcar-max 8", "--widths and --boxcar-max cannot be combined"),
        ("a.fil --dm-range 1 two", "--dm-range: 'two' is not a number"),
        ("a.fil --gulp 1.5", "--gulp: '1.5' is not a whole number"),
        ("a.fil --band 1 inf", "--band: 'inf' is not a finite number"),
        ("a.fil --thresold 7", "there is no option --thresold; did you mean --threshold?"),
        ("--dm-range 1 2", "no file was given"),
    ],
)
def test_words_that_are_refused(words: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        ask(Verb.SEARCH, *words.split())
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"path": "a.fil"}, "verb is None; expected search, dedisperse, waterfall"),
        (
            {"verb": "search", "path": "a", "thresold": 7},
            "there is no setting thresold; did you mean threshold?",
        ),
        ({"verb": "search", "path": "a", "thresold": None}, "there is no setting thresold"),
        ({"verb": "search", "path": "a", "threshold": "soon"}, "threshold is 'soon'; expected a number"),
        ({"verb": "search", "path": "a", "threshold": True}, "threshold is True; expected a number"),
        ({"verb": "search", "path": "a", "gulp": 1.5}, "gulp is 1.5; expected a whole number"),
        ({"verb": "search", "path": "a", "mask": "0-3"}, "mask is '0-3'; expected a list"),
        ({"verb": "search", "path": "a", "band_mhz": [1]}, "band_mhz is [1]; expected LOW HIGH"),
        ({"verb": "search", "path": "a", "scale": 1}, "scale is 1, which cannot be asked for"),
        ({"verb": "search", "path": ["a", 2]}, "expected names of files"),
        ({"verb": "search"}, "no file was given"),
    ],
)
def test_what_json_cannot_ask(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        from_json(facts)
    assert message in str(error.value)


def test_defaults_need_not_be_said() -> None:
    facts = {
        "verb": "search",
        "path": "a.fil",
        "threshold": 6.75,
        "scale": False,
        "quiet": False,
        "gulp": None,
    }
    assert from_json(facts).to_json() == {"verb": "search", "path": "a.fil"}
    assert from_json(facts).request == SearchRequest(path=Path("a.fil"))


def test_sentences_name_options() -> None:
    """No field of the library is left in what a user of the command line reads."""
    requests = [
        (Verb.SEARCH, SearchRequest(dm_min=0, dm_max=1, threshold=0), "--snr 0: expected a positive number"),
        (Verb.SEARCH, SearchRequest(dm_min=0), "--dm-max is missing: give the range of DMs to search"),
        (Verb.DEDISPERSE, DedisperseRequest(dm=-1), "--dm -1: expected a number of pc/cm^3, 0 or more"),
        (Verb.WATERFALL, WaterfallRequest(), "FILE is missing"),
        (Verb.WATERFALL, WaterfallRequest(paths=(Path("a"),), window_s=-0.02), "--window -20: expected"),
    ]  # fmt: skip
    for verb, request, message in requests:
        with pytest.raises(InputError) as error:
            request.check()
        assert in_words(verb, str(error.value)).startswith(message)
        assert error.value.option in verb.request.__dataclass_fields__


def test_examples() -> None:
    assert doctest.testmod(vocabulary).failed == 0


@pytest.mark.parametrize("verb", [Verb.SEARCH, Verb.DEDISPERSE])
def test_files_of_one_observation_go_round(verb: Verb) -> None:
    asked = ask(verb, "a.fil", "b.fil", "--start=1.5", "c.fil", "-noscales", *_needed(verb))
    assert [str(path) for path in asked.request.continued] == ["b.fil", "c.fil"]
    assert asked.to_words()[-3:] == ["a.fil", "b.fil", "c.fil"]
    assert from_json(asked.to_json()) == asked
    assert not asked.request.use_scales
    with pytest.raises(InputError, match="expected names of files"):
        from_json({**asked.to_json(), "continued": [3]})
