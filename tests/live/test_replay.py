"""Files of candidates judged after the fact."""

import json
from collections import Counter

import pytest

from mwaconvert.live.criteria import Reason, Way
from mwaconvert.live.gate import Admission
from mwaconvert.live.observation import observation_of, read_observation
from mwaconvert.live.replay import replay
from mwaconvert.live.settings import Settings, settings_of
from mwaconvert.live.sources import Sources, read_sources, sources_of
from mwaconvert.text import plain

HEADER = "# beam_id batch_id sample_id integration_step time DM_id DM SNR\n"
CONFIG = {
    "startpacket": 1217362088000000,
    "duration": 300,
    "amber_dir": "a",
    "output_dir": "b",
    "datetimesource": "2019-05-18-23:51:13.B0531+21",
    "taskid": "190518009",
    "beam": 0,
}
PARSET = {
    "task.source.name": "field",
    **{f"task.beamSet.0.compoundBeam.{i}.phaseCenter": f"[{i + 10}.5deg, 41deg]" for i in range(40)},
}


def write(folder, name, *rows):
    path = folder / name
    path.write_text(HEADER + "".join(f"30 0 1 {w} {t} 1 {dm} {snr}\n" for t, dm, snr, w in rows))
    return path


def test_the_crab(darc):
    """Every pulse of the pulsar is a known source; the first dumps, those within a minute are locked out."""
    files = [darc / f"amber/CB00_step{i}.trigger" for i in (1, 2, 3)]
    done = replay(
        files, observation_of(CONFIG, {}), Settings(), read_sources(darc / "amber/source_list.yaml"), 190.0
    )
    assert (done.n_rows, done.bad.count, done.storms) == (2478, 0, 0)
    known = [d for d in done.decisions if d.source.name == "B0531+21"]
    iquv = Counter(d.verdicts[Way.IQUV].reason for d in known)
    assert iquv[Reason.TRIGGER] == sum(int(out.what.split()[1]) for out in done.outgoing) == 6
    assert iquv[Reason.LOCKED_OUT] > 100
    assert {d.verdicts[Way.LOFAR].reason for d in known} == {Reason.PULSAR}
    assert [out.way for out in done.outgoing] == [Way.IQUV] * 5
    assert done.outgoing[0].what.startswith("N_EVENTS 1\n2019-05-18-23:51:")
    json.dumps(plain(done.facts()), allow_nan=False)


def test_boxes_of_darc(darc):
    """Fewer pulses of the known source than ours has."""
    settings = settings_of({"amber_clustering": {"sb_filter": False}})
    files = [darc / "amber/CB00_step1.trigger"]
    sources = read_sources(darc / "amber/source_list.yaml")
    boxes = replay(files, observation_of(CONFIG, {}), settings, sources, 190.0, boxes=True)
    ours = replay(files, observation_of(CONFIG, {}), settings, sources, 190.0)
    n_boxes, n_ours = (sum(d.source.name == "B0531+21" for d in done.decisions) for done in (boxes, ours))
    assert 0 < n_boxes < n_ours, (n_boxes, n_ours)


def test_a_burst_in_two_beams_goes_out_once(tmp_path):
    files = [write(tmp_path, f"CB0{i}_step1.trigger", (100.0, 500.0, 25 + i, 10)) for i in (3, 4)]
    done = replay(files, observation_of(CONFIG, PARSET), Settings(), Sources(), 80.0)
    seen = {(out.way, out.trigger.beam): out.admission for out in done.outgoing}
    assert seen == {
        (Way.IQUV, 3): Admission.SEND,
        (Way.IQUV, 4): Admission.SEND,
        (Way.LOFAR, 3): Admission.SEND,
        (Way.VOEVENT, 3): Admission.SEND,
        (Way.LOFAR, 4): Admission.DUPLICATE,
        (Way.VOEVENT, 4): Admission.DUPLICATE,
    }
    (packet,) = [out.what for out in done.outgoing if (out.way, out.trigger.beam) == (Way.LOFAR, 3)]
    assert packet.startswith("99a0")
    assert packet.endswith("138854")


def test_what_cannot_be_written_stops_nothing(tmp_path):
    """A DM beyond the packet, and a beam without a direction."""
    file = write(tmp_path, "CB03_step1.trigger", (100.0, 6600.0, 25, 10), (200.0, 500.0, 25, 10))
    done = replay([file], observation_of(CONFIG, {}), Settings(), Sources(), 80.0)
    outside = [(out.way, out.admission) for out in done.outgoing if out.way is not Way.IQUV]
    assert outside == [
        (Way.LOFAR, Admission.CANNOT),
        (Way.VOEVENT, Admission.CANNOT),
        (Way.LOFAR, Admission.SEND),
        (Way.VOEVENT, Admission.CANNOT),
    ]


def test_override_source_in_its_beam(tmp_path):
    file = write(tmp_path, "CB00_step1.trigger", (100.0, 560.0, 12, 10))
    settings = settings_of(
        {"amber_clustering": {"lofar_trigger_sources": ["R1"], "thresh_lofar_override": {"cb": 0}}}
    )
    seen = observation_of(CONFIG, {**PARSET, "task.source.name": "R1"})
    done = replay([file], seen, settings, sources_of({"frbs": {"R1": 560.2}}), None)
    assert [out.way for out in done.outgoing] == [Way.IQUV, Way.LOFAR, Way.VOEVENT]
    assert done.outgoing[1].trigger.dm == 560.2


@pytest.mark.parametrize("galactic_dm", [None, 190.0])
def test_new_sources_need_the_galactic_dm(darc, galactic_dm):
    done = replay(
        [darc / "amber/CB00_step3.trigger"],
        read_observation(darc / "parset/input.parset"),
        Settings(),
        Sources(),
        galactic_dm,
    )
    reasons = {d.verdicts[Way.IQUV].reason for d in done.decisions}
    assert reasons == ({Reason.DM_NOT_KNOWN} if galactic_dm is None else {Reason.TOO_WIDE})
