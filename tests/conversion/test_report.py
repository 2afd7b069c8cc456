"""The report holds what was done, as strict JSON and as readable text."""

import dataclasses
import json
import math
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import mwaconvert
from mwaconvert.constants import SPEED_OF_LIGHT_M_S
from mwaconvert.conversion.report.numbers import versions
from mwaconvert.conversion.report.parts import FlagCount, OutputFile
from mwaconvert.conversion.report.report import Report, observation_facts
from mwaconvert.conversion.tables.smearing import EARTH_ROTATION_RAD_S, estimate_smearing
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.staging import Kind
from mwaconvert.text import percent, size_text, utc_text


@pytest.fixture(scope="module")
def converted(small, tmp_path_factory) -> tuple[Report, list]:
    """A report, and copies of the blocks it is about."""
    out = tmp_path_factory.mktemp("report") / "a.uvfits"
    options = {"time_res_s": 4, "freq_res_khz": 80, "flag_times": (0,), "flag_autos": True}
    plan = mwaconvert.open(small).plan(**options)
    blocks = [dataclasses.replace(b, weight=b.weight.copy()) for b in plan.blocks()]
    return plan.run(out), blocks


def no_constants(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def test_json_is_strict_and_complete(converted):
    report, _ = converted
    found = json.loads(report.to_json(), parse_constant=no_constants)
    assert found["format"] == "mwaconvert report"
    assert found["observation"]["obsid"] == 1412607288
    assert found["observation"]["antennas_flagged"] == ["Tile016"]
    assert found["options"]["time_res_s"] == 4
    assert found["software"]["mwaconvert"] == mwaconvert.__version__
    assert all(step.keys() == {"name", "applied", "reason"} and step["reason"] for step in found["steps"])
    applied = {step["name"] for step in found["steps"] if step["applied"]}
    assert {"cable delays", "geometric delays", "digital gains", "coarse passband", "averaging"} <= applied
    assert found["input"]["missing_hdus"] == [{"receiver_channel": 132, "timestep": 2}]
    assert found["input"]["cells"] == 4 * 64 * 36
    assert [Path(file["path"]).name[-11:] for file in found["input"]["files"]] == [
        "31_000.fits",
        "32_000.fits",
    ]
    output = found["outputs"][0]
    assert (output["times"], output["baselines"], output["channels"]) == (2, 36, 32)
    assert output["bytes"] == Path(output["path"]).stat().st_size
    assert found["performance"]["bytes_read"] > 0
    assert found["performance"]["peak_memory_bytes"] > 10e6


def test_numbers_that_are_not_finite_become_null(converted):
    report, _ = converted
    occupancy = dataclasses.replace(report.occupancy, total=math.nan, antenna=np.full(8, np.inf))
    found = json.loads(
        dataclasses.replace(report, occupancy=occupancy).to_json(), parse_constant=no_constants
    )
    assert found["occupancy"]["total"] is None
    assert found["occupancy"]["antennas"][3] == {"index": 3, "name": "Tile014", "fraction": None}


def test_occupancy_is_that_of_the_output(converted):
    report, blocks = converted
    n_times, n_rows, n_channels = 2, 36, 32
    flags = np.zeros((n_times, n_rows, n_channels, 4), bool)
    for block in blocks:
        flags[block.time_index, block.rows] = block.flags
    found = report.occupancy
    assert found.total == pytest.approx(flags.mean(), rel=1e-12)
    np.testing.assert_allclose(found.channel, flags.mean(axis=(0, 1, 3)))
    np.testing.assert_allclose(found.timestep, flags.mean(axis=(1, 2, 3)))
    first, second = report.header.antenna1, report.header.antenna2
    expected = [flags[:, (first == a) | (second == a)].mean() for a in range(8)]
    np.testing.assert_allclose(found.antenna, expected)
    assert found.antenna[5] == 1


def test_flag_rules_count_input_cells(converted):
    report, _ = converted
    counts = {rule.name: rule.cells for rule in report.flag_counts}
    cells = 4 * 64 * 36
    found = counts["RFI"]
    assert 0 < found < cells // 10
    assert counts == {
        "timesteps": cells // 4,
        "channels": cells // 8,  # 2 of 32 channels at each end
        "antennas": cells * 8 // 36,
        "autocorrelations": cells * 8 // 36,
        "array RFI": 0,
        "missing data": cells // 8,
        "NaN or infinity": 0,
        "flag files": 0,
        "RFI": found,
    }


def test_text_tells_what_was_done(converted):
    report, _ = converted
    report = dataclasses.replace(report, notes=("something odd",))
    text = report.to_text()
    assert max(map(len, text.splitlines())) <= 110
    assert max(map(len, report.to_text(70).splitlines())) <= 70
    for words in (
        '1412607288 "simulated_1412607288", 2024-10-10 14:54:30 UTC, mwax correlator, 8 tiles',
        "1 integration missing and flagged: 1 of channel 132",
        "coarse passband",
        "averaging",
        "1 tile throughout: Tile016",
        "a.uvfits (",
        "2 times x 36 baselines x 32 channels x 4 polarisations",
        "note        something odd",
    ):
        assert " ".join(words.split()) in " ".join(text.split())
    # steps that were not asked for do not fill the screen
    assert text.count("fine channel flags") == 1
    assert "nothing asked for: " in text


def test_text_shortens_long_lists(converted):
    report, _ = converted
    everything = dataclasses.replace(report.occupancy, antenna=np.ones(8))
    many = ((0, 0), (0, 1), (0, 2), (1, 0))
    report = dataclasses.replace(
        report, occupancy=everything, missing_hdus=many, flag_counts=(FlagCount("channels", 4608),)
    )
    text = report.to_text()
    assert "4 integrations missing and flagged: 3 of channel 131, 1 of channel 132" in text
    assert "8 tiles throughout: Tile011, Tile012" in text
    assert "channels 50 %" in text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0, "0 %"),
        (1e-7, "under 0.001 %"),
        (0.000342, "0.034 %"),
        (0.0234, "2.3 %"),
        (0.0999, "10 %"),
        (0.125, "12 %"),
        (0.994, "99 %"),
        (0.996, "99.60 %"),
        (0.99999, "99.99 %"),
        (1, "100 %"),
    ],
)
def test_percentages(fraction, text):
    assert percent(fraction) == text


def test_rules_are_of_the_input(converted):
    report, _ = converted
    whole = (FlagCount("antennas", report.input_cells), FlagCount("RFI", report.input_cells // 50))
    text = " ".join(dataclasses.replace(report, flag_counts=whole).to_text().split())
    assert "% of the output of the input, each rule by itself: antennas 100 %, RFI 2 %" in text


def test_written_whole_or_not_at_all(converted, tmp_path, monkeypatch):
    report, _ = converted
    path = tmp_path / "r.json"
    report.write_json(path)
    assert json.loads(path.read_text())["layout"] == 1
    with pytest.raises(InputError, match="exists already"):
        report.write_json(path, overwrite=False)
    with pytest.raises(ResourceError, match="does not exist"):
        report.write_json(tmp_path / "nowhere" / "r.json")

    def full(self: Path, *_: object, **__: object) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ResourceError, match=r"r\.json: no space left on its disk"):
        report.write_json(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_not_a_number_in_the_data_is_said(converted):
    report, _ = converted
    assert not any("NaN" in note for note in report.notes)


def test_observation_facts(small):
    facts = observation_facts(mwaconvert.open(small).metadata)
    assert facts["receiver_channels"] == [131, 132]
    assert (facts["low_hz"], facts["high_hz"]) == (167.04e6, 169.6e6)
    assert facts["start_utc"] == "2024-10-10T14:54:30"


def test_versions_name_what_took_part(small):
    mwaconvert.open(small)
    found = versions()
    assert {"mwaconvert", "python", "numpy", "mwalib"} <= found.keys()
    assert all(found[name] == version(name) for name in found.keys() - {"mwaconvert", "python"})


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (12345678, "12.3 MB"),
        (999.6e6, "1 GB"),
        (2e13, "20 TB"),
    ],
)
def test_sizes(n, text):
    assert size_text(n) == text


def test_times():
    assert utc_text(0) == "1970-01-01T00:00:00"
    assert utc_text(1.25) == "1970-01-01T00:00:01.2"


def test_output_kinds(converted):
    report, _ = converted
    assert [type(output) for output in report.outputs] == [OutputFile]
    assert report.outputs[0].kind is Kind.UVFITS
    assert report.to_dict()["outputs"][0]["kind"] == "uvfits"


def test_smearing_of_a_known_case():
    """200 MHz, 3 km, 15 degrees off, 8 s: within a few per cent of the first term of the series."""
    positions = np.array([[0.0, 0, 0], [3000, 0, 0], [10, 20, 0]])
    found = estimate_smearing(positions, 200e6, 40e3, 8.0, offset_deg=15)
    assert found.baseline_m == 3000
    fringe = EARTH_ROTATION_RAD_S * 3000 * 200e6 / SPEED_OF_LIGHT_M_S * math.sin(math.radians(15))
    assert found.time_loss == pytest.approx((math.pi * 8 * fringe) ** 2 / 6, rel=0.05)
    turn = math.pi * 40e3 * 3000 / SPEED_OF_LIGHT_M_S * math.sin(math.radians(15))
    assert found.bandwidth_loss == pytest.approx(turn**2 / 6, rel=0.05)


def test_smearing_by_summing_the_fringe():
    """The loss is that of the mean over an interval of a fringe that turns at its fastest."""
    positions = np.array([[0.0, 0, 0], [0, 5000, 0]])
    found = estimate_smearing(positions, 180e6, 160e3, 32.0)
    reach = 5000 * math.sin(math.radians(found.offset_deg))
    moments = (np.arange(20000) + 0.5) / 20000 - 0.5
    rate = 2 * math.pi * EARTH_ROTATION_RAD_S * reach * 180e6 / SPEED_OF_LIGHT_M_S
    assert 1 - abs(np.exp(1j * rate * 32 * moments).mean()) == pytest.approx(found.time_loss, abs=1e-6)
    rate = 2 * math.pi * reach / SPEED_OF_LIGHT_M_S
    assert 1 - abs(np.exp(1j * rate * 160e3 * moments).mean()) == pytest.approx(
        found.bandwidth_loss, abs=1e-6
    )
    assert "% lost to time averaging" in str(found)


def test_one_antenna_smears_nothing():
    found = estimate_smearing(np.zeros((1, 3)), 150e6, 40e3, 8.0)
    assert (found.time_loss, found.bandwidth_loss) == (0, 0)
