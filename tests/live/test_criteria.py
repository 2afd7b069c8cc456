"""Who triggers: the table of limits, and what must never trigger."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from mwaconvert.errors import FormatError
from mwaconvert.live.clusters import Changes, Cluster
from mwaconvert.live.criteria import Coincidence, Judge, Reason, Way
from mwaconvert.live.observation import Observation
from mwaconvert.live.settings import Settings, settings_of
from mwaconvert.live.sources import Kind, read_sources, sources_of

START = 1558223473.0
SOURCES = sources_of(
    {"pulsars": {"B0531+21": 56.8}, "frbs": {"R1": 560.0}, "aliases": {"crab": "B0531+21", "none": 0}}
)
SEEN = Observation(
    task_id="190518009",
    beam=3,
    start_s=START,
    duration_s=300,
    source="field",
    source_beam=0,
    datetimesource="x",
    amber_dir=Path("a"),
    output_dir=Path("b"),
)


def cluster(number=1, **changes):
    facts = {"time_s": 10.0, "dm": 500.0, "snr": 25.0, "width": 20, "beam": 30, "instance": 1, "n_members": 9}
    facts |= {"n_beams": 4, "first_s": 10.0, "last_s": 10.1, "dm_low": 490.0, "dm_high": 510.0, "grown_by": 9}
    return Cluster(id=number, **{**facts, **changes})


def judge(source="field", settings=None, galactic_dm=100.0, beam=3, **more):
    return Judge(
        replace(SEEN, source=source, beam=beam), settings_of(settings or {}), SOURCES, galactic_dm, **more
    )


def verdicts(judge, *clusters, now_s=START + 11, **more):
    seen = judge.judge(Changes(clusters, more.pop("merged", {}), more.pop("left_out", 0)), now_s)
    return [{way: v.reason for way, v in d.verdicts.items()} for d in seen.decisions]


def reasons(judge, one, **more):
    return tuple(verdicts(judge, one, **more)[0].values())


T = Reason.TRIGGER


@pytest.mark.parametrize(
    ("source", "changes", "iquv", "outside"),
    [
        ("field", {}, T, T),
        ("field", {"dm": 119.0}, Reason.DM_LOW, Reason.DM_LOW),
        ("field", {"dm": 120.0}, T, Reason.DM_LOW),
        ("field", {"dm": 200.0}, T, T),
        ("field", {"snr": 9.9}, Reason.SNR_LOW, Reason.SNR_LOW),
        ("field", {"snr": 19.9}, T, Reason.SNR_LOW),
        ("field", {"width": 100}, T, Reason.TOO_WIDE),
        ("field", {"width": 101}, Reason.TOO_WIDE, Reason.TOO_WIDE),
        ("field", {"width": 80, "n_members": 101}, T, Reason.MANY_MEMBERS),
        ("Crab", {"dm": 56.8, "width": 2500}, T, Reason.PULSAR),
        ("B0531+21", {"dm": 66.8}, T, Reason.PULSAR),
        ("B0531+21", {"dm": 66.9}, Reason.DM_LOW, Reason.DM_LOW),
        ("B0531+21", {"dm": 500.0}, T, T),
        ("R1", {"dm": 552.0, "n_members": 1000}, T, T),
        ("R1", {"dm": 552.0, "snr": 15}, T, Reason.SNR_LOW),
        ("R1", {"dm": 552.0, "width": 90}, T, Reason.TOO_WIDE),
    ],
)
def test_table_of_limits(source, changes, iquv, outside):
    assert reasons(judge(source), cluster(**changes)) == (iquv, outside, outside)


@pytest.mark.parametrize("galactic_dm", [None, math.nan])
def test_limit_of_the_dm_fails_closed(galactic_dm):
    """Without the model, new sources do not fall back to a DM of 5."""
    assert set(reasons(judge(galactic_dm=galactic_dm), cluster())) == {Reason.DM_NOT_KNOWN}
    assert reasons(judge("R1", galactic_dm=galactic_dm), cluster(dm=560.0)) == (T, T, T)


@pytest.mark.parametrize(
    ("beam", "override", "changes", "outside"),
    [
        (0, {"cb": 0}, {"dm": 560.0, "snr": 12.0}, T),
        (3, {"cb": 0}, {"dm": 560.0, "snr": 12.0}, Reason.OTHER_BEAM),
        (3, {"cb": [1, 3]}, {"dm": 560.0, "snr": 12.0}, T),
        (3, {}, {"dm": 560.0, "snr": 12.0}, T),
        (3, {}, {"dm": 560.0, "snr": 12.0, "width": 81}, Reason.TOO_WIDE),
        (3, {}, {"dm": 900.0}, Reason.NEW_SOURCES_OFF),
        (3, {"trigger_on_new_sources": True}, {"dm": 900.0}, T),
        (3, {"trigger_on_new_sources": True}, {"dm": 900.0, "snr": 12.0}, Reason.SNR_LOW),
    ],
)
def test_override_list(beam, override, changes, outside):
    """A beam as a number, as a list or none: nothing stops, and the thresholds apply."""
    settings = {"amber_clustering": {"lofar_trigger_sources": ["R1"], "thresh_lofar_override": override}}
    assert reasons(judge("R1", settings, beam=beam), cluster(**changes))[1:] == (outside, outside)


@pytest.mark.parametrize(
    ("age_s", "dm", "expected"),
    [
        (8.1, 500.0, (T, T, T)),
        (8.3, 500.0, (Reason.TOO_OLD, T, T)),
        (54.0, 500.0, (Reason.TOO_OLD, Reason.TOO_OLD, T)),
        (13.0, 200.0, (Reason.TOO_OLD, T, T)),
        (23.0, 200.0, (Reason.TOO_OLD, Reason.TOO_OLD, T)),
        (301.0, 3000.0, (Reason.TOO_OLD, T, Reason.TOO_OLD)),
        (-2.0, 500.0, (Reason.IN_FUTURE,) * 3),
    ],
)
def test_old_candidates_trigger_nothing(age_s, dm, expected):
    assert reasons(judge(), cluster(dm=dm), now_s=START + 10 + age_s) == expected


def test_one_outside_for_a_batch_and_a_lock_out():
    judging = judge("R1")
    bright_new, known, fainter = (
        cluster(1, snr=90.0, dm=900.0),
        cluster(2, dm=560.0),
        cluster(3, dm=561.0, snr=22.0),
    )
    first = verdicts(judging, bright_new, known, fainter)
    assert [v[Way.IQUV] for v in first] == [T, T, T]
    assert [v[Way.LOFAR] for v in first] == [Reason.FAINTER, T, Reason.FAINTER]
    again = verdicts(judging, cluster(2, dm=560.0, snr=30.0), cluster(4, dm=800.0))
    assert [v[Way.IQUV] for v in again] == [Reason.ALREADY_SENT, Reason.LOCKED_OUT]
    assert [v[Way.LOFAR] for v in again] == [Reason.ALREADY_SENT, T]
    (late,) = verdicts(judging, cluster(5, time_s=70.0), now_s=START + 72)
    assert late[Way.IQUV] is T


def test_merged_clusters_do_not_trigger_twice():
    judging = judge()
    verdicts(judging, cluster(2))
    (seen,) = verdicts(judging, cluster(1), merged={2: 1})
    assert seen[Way.LOFAR] is Reason.ALREADY_SENT


def test_storm_triggers_nothing_outside_and_is_said():
    judging = judge("R1")
    many = tuple(cluster(i, dm=300.0 + i) for i in range(1, 302))
    seen = judging.judge(Changes((*many, cluster(999, dm=560.0)), {}), START + 11)
    assert seen.storm
    assert len(seen.decisions) == 302
    outside = [d for d in seen.decisions if Way.LOFAR in d.triggers]
    assert [d.source.kind for d in outside] == [Kind.FRB]
    assert seen.decisions[0].verdicts[Way.LOFAR].reason is Reason.STORM
    assert sum(Way.IQUV in d.triggers for d in seen.decisions) == 50
    seen = judge().judge(Changes((cluster(),), {}, 5), START + 11)
    assert (seen.storm, seen.left_out) == (True, 5)


def test_pulse_in_many_beams_is_interference():
    together = Coincidence()
    seen = [reasons(judge(beam=b, coincidence=together), cluster())[1] for b in range(10)]
    assert seen == [T] * 7 + [Reason.MANY_BEAMS] * 3


def test_observations_that_trigger_nothing():
    off = Judge(replace(SEEN, triggers_wanted=False), Settings(), SOURCES, 100.0)
    assert set(reasons(off, cluster())) == {Reason.OFF}
    polcal = Judge(replace(SEEN, source="3C286polcal", source_beam=3), Settings(), SOURCES, 100.0)
    assert reasons(polcal, cluster()) == (Reason.OFF, T, T)


def test_record_says_why():
    (decision,) = judge().judge(Changes((cluster(snr=15.0),), {}), START + 11).decisions
    facts = decision.facts()
    assert facts["verdicts"]["lofar"] == {
        "reason": "snr_low",
        "words": "the S/N is below the limit",
        "found": 15.0,
        "limit": 20,
    }
    assert facts["verdicts"]["iquv"]["reason"] == "trigger"
    assert str(decision.verdicts[Way.LOFAR]) == "the S/N is below the limit (15, limit 20)"


def test_source_list(darc):
    sources = read_sources(darc / "amber/source_list.yaml")
    assert sources.find("b0531+21").dm == 56.8
    assert sources.find("none") is None


@pytest.mark.parametrize("found", [{"pulsars": {"a": "x"}}, {"stars": {}}, {"aliases": {"a": "b"}}, [1]])
def test_bad_source_lists(found):
    with pytest.raises(FormatError):
        sources_of(found)
