"""Candidate files of AMBER: no line lost, none twice, whatever happens to the file."""

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert.errors import FormatError
from mwaconvert.live.amber import ROW, AmberFiles, AmberTail, LineParser, Position, read_whole

HEADERS = {
    "plain of early 2018": ("beam batch sample integration_step time DM SNR", "3 0 11 50 0.9 56.5 12.5"),
    "compacted of early 2018": (
        "beam batch sample integration_step compacted_integration_steps time DM compacted_DMs SNR",
        "3 0 11 50 2 0.9 56.5 4 12.5",
    ),
    "plain": ("beam_id batch_id sample_id integration_step time DM_id DM SNR", "3 0 11 50 0.9 283 56.5 12.5"),
    "compacted": (
        "beam_id batch_id sample_id integration_step compacted_integration_steps time DM_id DM compacted_DMs SNR",
        "3 0 11 50 2 0.9 283 56.5 4 12.5",
    ),
}
HEADER = b"# beam_id batch_id sample_id integration_step time DM_id DM SNR\n"


def line(i: int) -> bytes:
    return f"{i % 12} 0 {i} 10 {0.001 * i:.6g} {i} {20 + i % 50} {10 + i % 7}\n".encode()


def ids(rows) -> list[int]:
    return [round(1000 * t) for t in rows["time_s"]]


@pytest.mark.parametrize("with_header", [True, False])
@pytest.mark.parametrize("generation", HEADERS)
def test_generations(generation, with_header):
    header, text = HEADERS[generation]
    parser = LineParser(instance=2, downsampling=2)
    batch = parser.parse(((f"# {header}\n" if with_header else "") + text + "\n").encode())
    assert batch.bad.count == 0
    assert batch.rows[0].item() == (0.9, 56.5, 12.5, 100, 3, 2)


def test_golden_files_whole(darc):
    batches = [read_whole(darc / "amber" / f"CB00_step{i}.trigger", i) for i in (1, 2, 3)]
    assert [batch.rows.size for batch in batches] == [2466, 0, 12]
    assert sum(batch.bad.count for batch in batches) == 0
    text = (darc / "amber/CB00_step1.trigger").read_text().splitlines()
    named = np.genfromtxt(text, names=True)  # the slow twin
    for ours, theirs in (("time_s", "time"), ("dm", "DM"), ("snr", "SNR"), ("beam", "beam_id")):
        np.testing.assert_array_equal(batches[0].rows[ours], named[theirs])
    np.testing.assert_array_equal(batches[0].rows["width"], named["integration_step"])


def test_bad_lines_cost_nothing_but_themselves():
    """A bad line costs its batch nothing, nor do uniformly short lines end anything."""
    bad = [b"1 2 3\n", b"x 0 11 50 0.9 283 56.5 12\n", b"1 0 1 5 nan 2 3 4\n", b"1 0 1 5 1-2 2 3 4\n"]
    bad += [b"1 0 1 5 0.1 2 3 -4\n", b"1 0 1 5 0.1 2 3 1e999\n", b"1e300 0 1 5 0.1 2 3 4\n", b"\xff\xfe\n"]
    text = HEADER + b"".join(line(i) + bad[i % len(bad)] for i in range(16))
    batch = LineParser().parse(text)
    assert ids(batch.rows) == list(range(16))
    assert batch.bad.count == 16
    assert batch.bad.examples[0] == "'1 2 3': 3 columns, expected 8"
    short = LineParser().parse(HEADER + b"1 2 3\n" * 5)
    assert (short.rows.size, short.bad.count) == (0, 5)


def test_one_word_too_few_and_one_too_many():
    """Together they have the right number of words."""
    text = HEADER + b"1 0 1 5 0.1 2 3\n" + b"1 0 1 5 0.1 2 3 4 5\n" + line(7)
    batch = LineParser().parse(text)
    assert ids(batch.rows) == [7]
    assert batch.bad.count == 2


def test_torn_lines_kills_and_restarts(darc, tmp_path):
    """0 of 2478 lines are lost or doubled under random chunks and restarts from the kept position."""
    chance = random.Random(3)
    files = {f"CB00_step{i}.trigger": (darc / f"amber/CB00_step{i}.trigger").read_bytes() for i in (1, 2, 3)}
    left = dict(files)
    reader, kept, got = AmberFiles(tmp_path, 0), {}, []
    while any(left.values()):
        name = chance.choice(sorted(left))
        n = chance.randrange(1, 2000)
        with (tmp_path / name).open("ab") as file:
            file.write(left[name][:n])
        left[name] = left[name][n:]
        if chance.random() < 0.7:
            got.append(reader.read().rows)
            kept = {k: Position.of(p.facts()) for k, p in reader.positions().items()}
        if chance.random() < 0.2:
            reader.close()
            reader = AmberFiles(tmp_path, 0, positions=kept)
    batch = reader.read(at_end=True)
    reader.close()
    rows = np.concatenate([*got, batch.rows])
    assert rows.size == 2478
    for i in (1, 3):
        np.testing.assert_array_equal(
            rows[rows["instance"] == i], read_whole(darc / f"amber/CB00_step{i}.trigger", i).rows
        )


def test_last_line_without_its_end(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(HEADER + line(1) + line(2)[:-1])
    tail = AmberTail(path)
    assert ids(tail.read().rows) == [1]
    assert ids(tail.read(at_end=True).rows) == [2]
    assert ids(tail.read(at_end=True).rows) == []
    tail.close()


def test_late_file(tmp_path):
    """No time after which a file is given up."""
    tail = AmberTail(tmp_path / "later" / "a")
    assert tail.read().rows.size == 0
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a").write_bytes(HEADER + line(1))
    assert ids(tail.read().rows) == [1]
    tail.close()


def test_rotation(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(HEADER + line(1))
    tail = AmberTail(path)
    assert ids(tail.read().rows) == [1]
    with path.open("ab") as file:
        file.write(line(2))
    path.rename(tmp_path / "a.1")
    path.write_bytes(HEADER + line(3))
    assert ids(np.concatenate([tail.read().rows, tail.read().rows])) == [2, 3]
    assert tail.replaced == 1
    tail.close()


def test_rotation_while_nobody_reads(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(HEADER + line(1))
    first = AmberTail(path)
    first.read()
    first.close()
    with path.open("ab") as file:
        file.write(line(2))
    path.rename(tmp_path / "a.1")
    path.write_bytes(HEADER + line(3))
    second = AmberTail(path, position=first.position)
    assert ids(np.concatenate([second.read().rows, second.read().rows])) == [2, 3]
    second.close()


@pytest.mark.parametrize("longer", [False, True])
def test_file_written_anew_in_place(tmp_path, longer):
    path = tmp_path / "a"
    path.write_bytes(HEADER + line(1) + line(2))
    tail = AmberTail(path)
    tail.read()
    path.write_bytes(HEADER + b"".join(line(i) for i in range(5, 9 if longer else 6)))
    assert ids(tail.read().rows) == (list(range(5, 9)) if longer else [5])
    assert tail.replaced == 1
    tail.close()


def test_endless_line_is_bounded(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(HEADER + b"7" * 10000)
    tail = AmberTail(path)
    tail.read()
    assert tail.read().bad.count == 1
    with path.open("ab") as file:
        file.write(b"\n" + line(4))
    assert ids(tail.read().rows) == [4]
    tail.close()


def test_position_that_is_none():
    with pytest.raises(FormatError, match="no position"):
        Position.of({"offset": -1})


def test_fast_and_slow_lines_agree():
    text = b"".join(line(i) for i in range(200))
    fast = LineParser().parse(HEADER + text).rows
    slow = LineParser().parse(HEADER + text.replace(b" ", b"\t")).rows
    np.testing.assert_array_equal(fast, slow)
    assert fast.dtype == ROW


def test_speed():
    """A storm of 100 000 lines is parsed in less than the second it comes in."""
    text = HEADER + b"".join(line(i) for i in range(100_000))
    start = time.process_time()
    assert LineParser().parse(text).rows.size == 100_000
    assert time.process_time() - start < 1


_SIGN = st.sampled_from(["", "+", "-"])
_DIGITS = st.text("0123456789", max_size=25)
_WORD = st.one_of(
    st.floats(0, 4e5).map(repr),
    st.builds("{}{}.{}".format, _SIGN, _DIGITS, _DIGITS),
    st.builds("{}{}e{}{}".format, _SIGN, _DIGITS, _SIGN, st.text("0123456789", max_size=3)),
    st.text("0123456789+-.eE", min_size=1, max_size=8),
)


@given(_WORD)
@settings(max_examples=500)
def test_numbers_are_those_of_python(word):
    """To the last bit; what is not a number there, is not one here."""
    batch = LineParser().parse(HEADER + f"3 0 11 50 {word} 283 56.5 12\n".encode())
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if 0 <= value < 5e5:
        assert batch.rows["time_s"].tolist() == [value]
    else:
        assert (batch.rows.size, batch.bad.count) == (0, 1)


def test_blanks_of_any_number_and_kind():
    batch = LineParser().parse(HEADER + b"  3 0\t11  50 0.9 283 56.5 12 \r\n\n \n" + line(4))
    assert (batch.rows["dm"].tolist(), batch.bad.count) == ([56.5, 24.0], 0)
