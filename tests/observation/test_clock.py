"""Times of integrations that headers say wrong: no observation is lost to one of them."""

import itertools
import shutil

import numpy as np
import pytest
from rawfiles import START_MS, write_mwax

from mwaconvert.errors import FormatError
from mwaconvert.observation.clock import _ascending
from mwaconvert.observation.observation import open_observation

NO_TIME = float("nan")


@pytest.fixture
def metafits(mwa_data, tmp_path):
    """An observation with integrations of 0.5 s that starts at START_MS."""
    path = tmp_path / "1297526432.metafits"
    shutil.copy(mwa_data / "1297526432_mwax_synthetic" / path.name, path)
    return path


def steps_of(observation, coarse=8):
    """Timesteps at which a channel has data, in integrations from START_MS, and the HDU at each."""
    index = observation.hdu_index[:, coarse]
    times = (observation.timestep_unix_ms[index >= 0] - START_MS) / observation.int_time_ms
    return dict(zip(times.tolist(), observation.hdus["hdu"][index[index >= 0]].tolist(), strict=True))


WHOLE = {0: 1, 1: 3, 2: 5, 3: 7, 4: 9, 5: 11}


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ([0, 1, NO_TIME, 3, 4, 5], "HDU 5"),
        ([NO_TIME, 1, 2, 3, 4, 5], "HDU 1"),
        ([0, 1, 2, 3, 4, NO_TIME], "HDU 11"),
        ([0, 1, 1, 3, 4, 5], "HDU 5"),  # repeated
        ([0, 1, 2.5, 3, 4, 5], "HDU 5"),
        ([0, 1, 2, 10**7, 4, 5], "HDU 7"),  # 58 days later
        ([0, 0, 2, NO_TIME, 4, 5], "HDU 3, 7"),
        ([0, NO_TIME, NO_TIME, NO_TIME, NO_TIME, 5], "HDU 3, 5, 7, 9"),
    ],
)
def test_one_header(metafits, tmp_path, steps, wrong):
    path = write_mwax(tmp_path, 117, steps, int_time_s=2)
    observation = open_observation(metafits, [path])
    assert steps_of(observation) == WHOLE
    assert (observation.hdus["weight_offset"] > 0).sum() >= 6 - wrong.count("HDU")
    (note,) = [note for note in observation.notes if "cannot be true" in note]
    assert note == (
        f"{path}: TIME of {wrong} cannot be true (zero, repeated or out of order); the order of the HDUs says "
        "when it started."
    )


def test_beside_a_gap_only_the_marker_knows(metafits, tmp_path):
    steps = [0, 1, NO_TIME, 5, 6]
    path = write_mwax(tmp_path, 117, steps, int_time_s=2)
    observation = open_observation(metafits, [path])
    assert steps_of(observation) == {0: 1, 1: 3, 5: 7, 6: 9}
    assert any("and integrations are missing beside it; treated as missing" in n for n in observation.notes)
    path.unlink()
    write_mwax(tmp_path, 117, steps, int_time_s=2, markers=[0, 1, 3, 5, 6])
    assert steps_of(open_observation(metafits, [path])) == {0: 1, 1: 3, 3: 5, 5: 7, 6: 9}


def test_a_file_without_any_time(metafits, tmp_path):
    path = write_mwax(tmp_path, 117, [NO_TIME] * 3, int_time_s=2, TIME=START_MS // 1000 + 2)
    assert steps_of(open_observation(metafits, [path])) == {1: 1, 2: 3, 3: 5}
    other = write_mwax(tmp_path, 118, [NO_TIME] * 3, int_time_s=2)
    observation = open_observation(metafits, [path, other])
    assert f"{other}: no header says when an integration started; the file is not used." in observation.notes


@pytest.mark.parametrize("first", [0, 1])
def test_whole_seconds_of_half_second_integrations(metafits, tmp_path, first):
    true = np.arange(first, first + 6)
    cut = [int(t) // 2 * 2 for t in true]
    path = write_mwax(tmp_path, 117, cut)
    observation = open_observation(metafits, [path])
    assert list(steps_of(observation)) == true.tolist()
    assert sum("TIME of the raw files repeats and MILLITIM is 0" in n for n in observation.notes) == 1
    # five seconds later the file goes on
    path.unlink()
    write_mwax(tmp_path, 117, [*cut, *(c + 20 for c in cut)])
    assert list(steps_of(open_observation(metafits, [path]))) == [*true, *(true + 20)]


def test_marker_decides_between_clocks(metafits, tmp_path):
    count = [7, 8, 9, 10]
    paths = [
        write_mwax(tmp_path, channel, np.arange(4) + late, int_time_s=2, markers=count)
        for channel, late in ((117, 0), (118, 0.5), (119, 0))
    ]
    observation = open_observation(metafits, paths)
    assert steps_of(observation, 9) == steps_of(observation, 8) == {0: 1, 1: 3, 2: 5, 3: 7}
    assert observation.common == range(4)
    assert any(
        note.endswith(
            "TIME is 1000 ms after that of the other files, MARKER the same: taken as the same integrations."
        )
        for note in observation.notes
    )
    # a count that began an integration later is not a wrong clock
    paths[1].unlink()
    write_mwax(tmp_path, 118, np.arange(4) + 1, int_time_s=2, markers=count)
    assert steps_of(open_observation(metafits, paths), 9) == {1: 1, 2: 3, 3: 5, 4: 7}


def test_integration_time_that_is_wrong(metafits, tmp_path):
    path = write_mwax(tmp_path, 117, np.arange(6) / 4)
    with pytest.raises(FormatError, match=r"expected to start at least 0\.5 s after .*, found 0\.125 s"):
        open_observation(metafits, [path])


def test_integration_time_of_nothing(metafits, tmp_path):
    path = write_mwax(tmp_path, 117, [0, 1], INTTIME=1e-5)
    with pytest.raises(FormatError, match=r"INTTIME is 1e-05 s; expected at least a millisecond"):
        open_observation(metafits, [path])


def test_longest_run_like_all_subsets():
    rng = np.random.default_rng(1)
    for _ in range(200):
        times = rng.integers(0, 9, rng.integers(1, 9)) * 500
        kept = _ascending(times, 1000)
        n = len(times)
        best = 0
        for subset in range(2**n):
            chosen = [k for k in range(n) if subset >> k & 1]
            fits = all(times[k] > 0 and times[k] not in times[:k] for k in chosen) and all(
                times[b] - times[a] >= 1000 * (b - a) for a, b in itertools.pairwise(chosen)
            )
            best = max(best, len(chosen) if fits else 0)
        chosen = np.flatnonzero(kept)
        assert len(chosen) == best
        assert all(times[b] - times[a] >= 1000 * (b - a) for a, b in itertools.pairwise(chosen))
