"""Looks at candidates, the score that follows from them, and beams that share a pulse."""

import json
from dataclasses import replace

import numpy as np
import pytest
from filterbanks import pulse

from mwaconvert.formats.spectra.candidate_lists import list_text, read_list
from mwaconvert.spectra.candidate import Candidate, Flag
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients import Spectra
from mwaconvert.transients.clean.cleaning import ORIGIN, STRETCH, UNIT, Cleaning, clean
from mwaconvert.transients.judging.flags import across_beams
from mwaconvert.transients.judging.looks import N_BANDS, Look, look_at
from mwaconvert.transients.judging.score import FEATURES, features, model
from mwaconvert.transients.survey import LOOKED_AT, plan_survey

FREQS = 1220 + 300 / 128 * (np.arange(128) + 0.5)
DT = 256e-6
N = 12000


def burst(**options):
    return pulse(FREQS, N, DT, 150.0, 1.0, 3e-3, 16.0, **options)


def search(data, **options):
    stream = ArrayStream(Spectra(data, FREQS, DT), "a", "test")
    return plan_survey(stream, 0, 300, **options).run()


def twin(cleaned, candidate):
    """S/N of each part of the band and the best channel, one sample after the other."""
    width = round(candidate.width_s / DT)
    start = round((candidate.time_s - candidate.width_s / 2) / DT)
    delays = delay_samples(candidate.dm, delay_per_dm(FREQS, "top") / DT)[0]
    use = [c for c in range(128) if cleaned.kept[c].any()]
    bands, single = [], []
    for part in np.array_split(np.array(use), N_BANDS):
        total = number = 0.0
        for c in part:
            mine, count = 0.0, 0.0
            for k in range(start + delays[c], start + delays[c] + width):
                if 0 <= k < N and cleaned.kept[c, k // STRETCH]:
                    mine += (float(cleaned.spectra.data[c, k]) - ORIGIN) / UNIT
                    count += cleaned.kept[c, k // STRETCH] / STRETCH
            single.append(mine / max(count, 1) ** 0.5)
            total, number = total + mine, number + count
        bands.append(total / number**0.5 if number else 0.0)
    return bands, max(single)


@pytest.mark.parametrize("time_s", [1.0, -0.01])
def test_a_look_is_the_sum_of_its_samples(time_s):
    data = burst()
    data[40:44] = 0
    cleaned = clean(Spectra(data, FREQS, DT))
    candidate = Candidate(time_s=time_s, dm=150.0, snr=15.0, width_s=16 * DT)
    look = look_at(cleaned, candidate)
    bands, single = twin(cleaned, candidate)
    assert look.bands == pytest.approx(bands)
    assert look.channel == pytest.approx(single)
    assert 0 < look.there <= 124 / 128


def test_a_pulse_scores_above_interference():
    best = search(burst()).candidates()[0]
    assert best.score > 0.9
    assert best.flags == ()
    data = burst(seed=2).astype(int)
    data[60:68, 9000:9016] += 60  # eight channels, for 4 ms
    found = search(
        data.clip(0, 255).astype(np.uint8), cleaning=Cleaning(channels=False, impulses=False)
    ).candidates()
    narrow = [c for c in found if Flag.PART_OF_BAND in c.flags]
    assert narrow
    assert max(c.score for c in narrow) < min(c.score for c in found if abs(c.time_s - 1) < 0.01)


def test_nothing_is_dropped_and_raw_data_have_no_score():
    data = burst()
    raw = search(data, cleaning=None)
    assert np.isnan([c.score for c in raw.candidates()]).all()
    whole = search(data, threshold=4.5)
    candidates = whole.candidates()
    assert len(candidates) == len(whole.found())
    if len(candidates) > LOOKED_AT:
        assert whole.too_many == len(candidates) - LOOKED_AT
    assert all(0 <= c.score <= 1 for c in candidates[: min(LOOKED_AT, len(candidates))])


def test_segments_give_the_scores_of_their_candidates():
    """Each candidate of a file was a candidate of its segment."""
    found = search(burst(), segment=4096, threshold=6.0).candidates()
    assert found
    assert not np.isnan([c.score for c in found]).any()


def test_features_are_what_they_say():
    c = Candidate(time_s=1.0, dm=100.0, snr=8.0, width_s=4e-3, n_detections=20)
    look = Look((2.0, 3.0, 2.5, 3.0, 1.0, 3.0, 3.0, 3.0), 3.2, 0.9)
    x = features(c, look, across_s=0.08, smear_s=1e-3)
    s = np.array(look.bands)
    spread = min(1, s.sum() ** 2 / (8 * ((s**2).sum() - 8)))
    want = [np.log(8), spread, 2 / (8 / 8**0.5), 3.2 / 8, 0.9, np.log(20), np.log(4), np.log(20)]
    np.testing.assert_allclose(x, want)
    assert len(x) == len(FEATURES)
    made = model()
    z = ((x - made.middle) / made.scale).clip(-4, 4)
    value = np.dot(made.weights, [*z, *z**2]) + made.offset
    assert made.score(x) == pytest.approx(1 / (1 + np.exp(-value)))


@pytest.mark.parametrize("suffix", [".csv", ".json", ".ecsv"])
def test_scores_are_in_lists(tmp_path, suffix):
    whole = search(burst())
    stream = ArrayStream(Spectra(burst(), FREQS, DT), tmp_path / "a", "test")
    path = tmp_path / f"list{suffix}"
    path.write_text(list_text(path, whole.candidates(), whole.facts(stream, 6.75)))
    assert read_list(path)[0].score == pytest.approx(whole.candidates()[0].score, abs=1e-4)
    assert "UTC" in path.read_text()


def test_a_list_without_scores_reads(tmp_path):
    whole = search(burst())
    stream = ArrayStream(Spectra(burst(), FREQS, DT), tmp_path / "a", "test")
    path = tmp_path / "list.csv"
    rows = list_text(path, whole.candidates(), whole.facts(stream, 6.75)).splitlines()
    path.write_text("\n".join(row if row.startswith("#") else row.rsplit(",", 1)[0] for row in rows))
    (one,) = read_list(path)
    assert np.isnan(one.score)
    assert one.dm == pytest.approx(150, abs=2)


def test_weights_are_those_of_the_features():
    from importlib.resources import files

    held = json.loads((files("mwaconvert.transients.judging") / "score.json").read_text())
    assert held["features"] == list(FEATURES)


def test_beams():
    one = Candidate(time_s=1.0, dm=50.0, snr=9.0, width_s=4e-3, time_err_s=1e-3, dm_err=1.0)
    beams = {b: [replace(one, dm=50.0 + 0.3 * b)] for b in range(3)}
    beams[7] = [replace(one, dm=80.0), one]
    found = across_beams(beams, most=3)
    assert [c.n_beams for c in found[7]] == [1, 4]
    assert found[7][0].flags == ()
    assert found[0][0].flags == (Flag.MANY_BEAMS,)
    assert {c.beam for c in found[2]} == {2}


def test_beams_are_compared_as_one_by_one():
    """Also where times tie, errors are not known, and a beam has nothing."""
    rng = np.random.default_rng(3)
    beams = {
        beam: [
            Candidate(
                time_s=float(rng.integers(0, 200)) / 10,
                dm=float(rng.integers(0, 40)),
                snr=8.0,
                width_s=float(rng.choice([1e-3, 0.1, 0.4])),
                time_err_s=float(rng.choice([1e-3, 0.05, np.nan])),
                dm_err=float(rng.choice([0.5, 2.0, np.nan])),
            )
            for _ in range(n)
        ]
        for beam, n in ((3, 60), (0, 60), (7, 0), (12, 1), (5, 60))
    }

    def same(a: Candidate, b: Candidate) -> bool:
        time_err, dm_err = (
            np.hypot(*np.nan_to_num([getattr(a, name), getattr(b, name)]))
            for name in ("time_err_s", "dm_err")
        )
        slack = max(3 * time_err, a.width_s, b.width_s)
        return abs(a.time_s - b.time_s) <= slack and abs(a.dm - b.dm) <= 3 * dm_err

    for beam, candidates in across_beams(beams).items():
        for given, c in zip(beams[beam], candidates, strict=True):
            rest = [others for other, others in beams.items() if other != beam]
            assert c.n_beams == 1 + sum(any(same(given, o) for o in others) for others in rest)
