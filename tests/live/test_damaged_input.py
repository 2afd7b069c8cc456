"""Whatever comes in, parsers give data or say in a sentence why not."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert.errors import Error
from mwaconvert.live.amber import GENERATIONS, AmberTail, LineParser, Position
from mwaconvert.live.clusters import StreamClusters
from mwaconvert.live.gate import Arming
from mwaconvert.live.observation import (
    decode_parset,
    n_amber,
    observation_of,
    parse_node_config,
    parse_parset,
)
from mwaconvert.live.settings import settings_of
from mwaconvert.live.sources import sources_of
from mwaconvert.live.voevent import read_answer

HEADERS = st.sampled_from([f"# {' '.join(names)}".encode() for names in GENERATIONS.values()])
WORDS = st.one_of(
    st.sampled_from(
        [b"0", b"1", b"12.5", b"-1", b"nan", b"inf", b"1e308", b"1e-320", b"4294967296", b"1_0", b"+"]
    ),
    st.binary(max_size=6),
)
LINES = st.one_of(HEADERS, st.lists(WORDS, max_size=11).map(b" ".join), st.binary(max_size=40))
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
quick = settings(max_examples=60, deadline=None)


@quick
@given(st.lists(LINES, max_size=12))
def test_lines(lines):
    """Rows can be clustered; one by one or together, the same lines give the same rows."""
    text = b"".join(line + b"\n" for line in lines)
    batch = LineParser().parse(text)
    parser = LineParser()
    singly = [parser.parse(line + b"\n") for part in lines for line in part.split(b"\n")]
    assert batch.rows.size == sum(one.rows.size for one in singly)
    assert batch.bad.count == sum(one.bad.count for one in singly)
    StreamClusters(snr_min=0).add(batch.rows)


@quick
@given(st.lists(LINES, max_size=8), st.lists(st.integers(1, 30), max_size=20))
def test_chunks(lines, cuts):
    """Cut anywhere, a file gives what it gives as a whole."""
    import tempfile
    from pathlib import Path

    text = b"".join(line + b"\n" for line in lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        tail, n, at = AmberTail(path), 0, 0
        for cut in [*cuts, len(text)]:
            with path.open("ab") as file:
                file.write(text[at : at + cut])
            at += cut
            n += tail.read().rows.size
        tail.close()
    assert n == LineParser().parse(text).rows.size


@quick
@given(JSON)
def test_documents(found):
    for reader in (settings_of, sources_of, Position.of, Arming.of, lambda f: observation_of(f, {})):
        if reader is sources_of or isinstance(found, dict):
            with suppress(Error):
                reader(found)


@quick
@given(st.text(max_size=60))
def test_texts(text):
    parse_parset(text)
    for reader in (parse_node_config, decode_parset, n_amber):
        with suppress(Error):
            reader(text)


@quick
@given(st.binary(max_size=80) | JSON.map(json.dumps).map(str.encode))
def test_answers(data):
    with suppress(Error):
        read_answer(data)


@pytest.mark.parametrize(
    "key", ["beam", "startpacket", "duration", "min_freq", "ntabs", "proctrigger", "history_iquv"]
)
@pytest.mark.parametrize("value", [None, "x", [], {}, float("nan"), float("inf"), -1, True, 10**400])
def test_values_of_a_configuration(key, value):
    """Used, or refused in a sentence; never a start or length that is not a number."""
    config = {
        "startpacket": 781250,
        "duration": 1.0,
        "amber_dir": "a",
        "output_dir": "b",
        "datetimesource": "x",
        "taskid": 1,
    }
    with suppress(Error):
        seen = observation_of(config | {key: value}, {})
        assert seen.end_s > seen.start_s > 0
