"""Configurations, parsets, pointings and beams, by the files of a real observation."""

import json
import math

import numpy as np
import pytest
from live_twins import synthesise

from mwaconvert.errors import FormatError, InputError, MetadataError
from mwaconvert.live.observation import (
    Receiver,
    decode_parset,
    delay_s,
    encode_parset,
    hadec_of_radec,
    n_amber,
    observation_of,
    parse_node_config,
    parse_parset,
    radec_of_hadec,
    read_beam_table,
    read_observation,
)
from mwaconvert.live.settings import Settings, read_settings, read_yaml, settings_of


def test_master_configuration(darc):
    seen = read_observation(darc / "parset/darc_master.parset")
    assert (seen.task_id, seen.source, seen.source_beam, seen.beam) == ("190518009", "B1933+16", 0, None)
    assert seen.start_s == 1217362088000000 / 781250
    assert seen.pointing_deg(0) == (293.948755, 16.277785)
    assert len(seen.pointings_deg) == 40
    with pytest.raises(InputError, match="the master has no candidate files"):
        seen.files()


def test_node_configuration_with_the_masters_parset(darc, tmp_path):
    text = (darc / "parset/darc_CB00.parset").read_text()
    (tmp_path / "parset").mkdir()
    (tmp_path / "parset/darc_master.parset").write_bytes((darc / "parset/darc_master.parset").read_bytes())
    node = tmp_path / "node.parset"
    node.write_text(text.replace("/home/arts/.controller\n", f"{tmp_path}\n"))
    seen = read_observation(node)
    assert (seen.task_id, seen.beam, seen.history_s, seen.n_synthesised) == ("190518009", 0, 10.24, 71)
    assert seen.pointing_deg(39) is not None
    assert read_observation(darc / "parset/darc_CB00.parset").pointing_deg(0) is None
    assert [tail.path.name for tail in seen.files().tails][2] == "CB00_step3.trigger"


def test_parset_of_the_whole_observation(darc):
    seen = read_observation(darc / "parset/input.parset")
    assert (seen.source, seen.task_id, seen.duration_s) == ("B1933+16", "190518009", 300)
    assert seen.start_s == 1558223473.0


def test_parset_encoding_there_and_back(darc):
    parset = parse_parset((darc / "parset/input.parset").read_text())
    assert decode_parset(encode_parset(parset)) == parset
    assert encode_parset(parset).startswith("425a6839")
    for bad in ("zz", "425a", encode_parset(parset)[:-40]):
        with pytest.raises(FormatError, match="compressed parset"):
            decode_parset(bad)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("beam=x", "beam=x"), ("nothing", "expected key=value"), ("proctrigger=7", "proctrigger")],
)
def test_bad_configurations(text, problem):
    with pytest.raises(FormatError, match=problem):
        parse_node_config(text)


def test_what_an_observation_must_say():
    with pytest.raises(MetadataError, match="lacks startpacket"):
        observation_of({}, {})
    config = {"startpacket": 1, "duration": 1, "amber_dir": "a", "output_dir": "b", "datetimesource": "d.e"}
    with pytest.raises(MetadataError, match="no task ID"):
        observation_of(config, {})
    with pytest.raises(MetadataError, match="duration=nan: expected 0 to"):
        observation_of({**config, "duration": "nan"}, {"task.taskID": "1"})
    with pytest.raises(MetadataError, match="J2000 or HADEC"):
        observation_of(config, {"task.taskID": "1", "task.directionReferenceFrame": "B1950"})


def test_hour_angles_are_turned_back(darc):
    """The golden hour angle is of the Crab; its inverse is the Crab, not a second forward step."""
    ha, dec = json.loads((darc / "golden/numeric_functions_from_darc.json").read_text())[
        "hadec_crab_2019-01-02T18"
    ]
    assert hadec_of_radec(83.63322083, 22.01446111, 1546452000.0) == pytest.approx((ha, dec), abs=2e-3)
    ra, dec = radec_of_hadec(ha, dec, 1546452000.0)
    assert ra == pytest.approx(83.63322, abs=2e-3)
    assert dec == pytest.approx(22.01446, abs=2e-3)


@pytest.mark.filterwarnings("ignore:.*dubious year", "ignore:Tried to get polar motions")
@pytest.mark.parametrize("years", [0, 8, 40])
def test_directions_years_ahead(years):
    """No table of the Earth's rotation, however old, stops a trigger."""
    at_s = 1546452000.0 + years * 365.25 * 86400
    assert radec_of_hadec(*hadec_of_radec(83.6, 22.0, at_s), at_s) == pytest.approx((83.6, 22.0), abs=1e-6)


def test_numbers(darc):
    golden = json.loads((darc / "golden/numeric_functions_from_darc.json").read_text())
    assert Receiver().flux_jy(20, 1e-3) * 1e3 == pytest.approx(golden["flux_mJy_snr20_1ms"], rel=1e-6)
    assert delay_s(100, 1219.70092773, 1519.70092773) == pytest.approx(
        golden["dm_delay_s_dm100_1219.70092773_1519.70092773"], rel=1e-3
    )


def test_amber_devices(darc):
    assert n_amber((darc / "amber/amber.conf").read_text()) == 3
    with pytest.raises(FormatError, match="opencl_device"):
        n_amber("opencl_device=[]")


def test_synthesised_beams(darc):
    table = read_beam_table(darc / "tables/sbtable-sc4-12tabs-71sbs.txt")
    assert table.shape == (71, 32)
    assert [np.unique(table[sb]).size for sb in (33, 35, 37)] == [1, 1, 1]
    beams = np.arange(12)[:, None, None] + np.zeros((1, 96, 2))
    np.testing.assert_array_equal(synthesise(beams, table[0])[::3, 0], table[0])


def test_default_configuration_of_darc(darc):
    """Read as it is; what differs on purpose: the VOEvent port and the override beam, which was one by accident."""
    ours, theirs = Settings(), read_settings(darc / "golden/darc_default_config.yaml")
    differ = {
        section: {
            k for k, v in vars(getattr(ours, section)).items() if v != getattr(getattr(theirs, section), k)
        }
        for section in vars(ours)
        if section != "ignored"
    }
    assert {k: v for k, v in differ.items() if v} == {
        "amber_listener": {"interval"},
        "amber_clustering": {"thresh_lofar_override"},
        "voevent_generator": {"broker_port"},
        "processor": {"classifier"},  # models of Keras, which are not read
        "processor_master": {"check_interval"},
    }
    assert theirs.amber_clustering.thresh_lofar_override.cb == 0
    assert {"processor.classifier.gpu", "lofar_trigger.server_auth"} <= set(theirs.ignored)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({"dada_trigger": {"prot_i": 1}}, "dada_trigger.prot_i: there is no such setting"),
        ({"dada_trigger": {"port_i": "1"}}, "expected a whole number"),
        ({"dada_trigger": {"dialect": 9}}, "expected one of 8, 10"),
        ({"lofar_trigger": {"test": "no"}}, "expected bool"),
        ({"amber_clustering": 3}, "expected keys and values"),
    ],
)
def test_bad_settings(found, problem):
    with pytest.raises(FormatError, match=problem):
        settings_of(found)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: 1\nb: s3cret: x\n", " at line 2, column 10"),
        ("b: *s3cret\n", " at line 1, column 4"),
        ("b: !s3cret x\n", " at line 1, column 4"),
        ("b: !s3cret!x y\n", " at line 1, column 4"),
        ("b: [s3cret", " at line 1, column 11"),
        ("b: s3cret\0", ""),
        ("b: 2026-13-01 # s3cret\n", ""),
        ("b: " + "[" * 5000, ""),
    ],
)
def test_what_is_no_yaml_is_not_quoted(tmp_path, text, where):
    """Keys and options are YAML, too: a secret in them must not reach a page or a log."""
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        read_yaml(path)
    assert str(caught.value) == f"{path}: is no YAML{where}; texts with signs such as : # ! * need quotes"


def test_no_limit():
    seen = settings_of({"amber_clustering": {"thresh_iquv": {"width_max": -1}}})
    assert seen.amber_clustering.thresh_iquv.width_max == math.inf
