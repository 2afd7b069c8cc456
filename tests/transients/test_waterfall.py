"""A waterfall shows the burst, or says why not: its DM, averages, levels of channels, sweeps beyond the file."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mwaconvert.cli.main import main
from mwaconvert.errors import InputError
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.transients import products
from mwaconvert.transients.products import WaterfallRequest
from mwaconvert.transients.products.requests import Auto
from mwaconvert.vocabulary.spectra import Asked, Verb, from_json

FREQ_MHZ, DT_S, DM, WHEN, WIDTH = 1200 + 2 * np.arange(128.0), 2e-4, 300.0, 1.5, 100
BURST, NOISE = Path("burst.fil"), Path("noise.fil")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """A wide burst of S/N 25, which no value of a picture shows; a gain that differs by channel."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    data = rng.normal(100, 12, (128, 16000))
    for path in (NOISE, BURST):
        if path == BURST:
            delays = np.rint((WHEN + DM / 2.41e-4 * (FREQ_MHZ**-2 - FREQ_MHZ[-1] ** -2)) / DT_S).astype(int)
            for channel, at in enumerate(delays):
                data[channel, at - WIDTH // 2 : at + WIDTH // 2] += 25 * 12 / np.sqrt(128 * WIDTH)
        with FilterbankWriter(path, FREQ_MHZ, DT_S, 32, start_mjd=59000.0, source="burst") as writer:
            writer.write(data * (1 + 3 * rng.random(128))[:, None])


def draw(**options):
    return products.run(WaterfallRequest(paths=(BURST,), output=Path("w.png"), dpi=40, **options))


def test_the_best_dm_is_found():
    report = draw(dms=(Auto.AUTO,))
    (panel,) = report.numbers["panels"]
    assert panel["dm"] == pytest.approx(DM, abs=20)
    assert "the brightest pulse is <Candidate" in report.notes[0]
    # 25 sigma over 128 channels and 128 samples: a value stands out when it holds all of the pulse that it may
    assert WIDTH / 4 <= panel["dt_s"] / DT_S <= 128
    assert panel["window_s"] == pytest.approx(8 * 128 * DT_S)


def test_time_is_averaged_until_the_burst_is_seen():
    (panel,) = draw(dms=(DM,)).numbers["panels"]
    assert 16 <= panel["dt_s"] / DT_S <= WIDTH
    (panel,) = products.run(
        WaterfallRequest(paths=(BURST,), dms=(DM,), tscrunch=3, window_s=0.04, output=Path("o.png"))
    ).numbers["panels"]
    assert (panel["dt_s"], panel["window_s"]) == (3 * DT_S, 0.04)


def test_what_is_not_dedispersed_says_so():
    assert "are not dedispersed" in " ".join(draw().notes)
    result = CliRunner().invoke(main, ["waterfall", "burst.fil", "-o", "v.png"])
    assert result.exit_code == 0
    assert "give the DM of the pulse with --dm, or auto" in result.output
    result = CliRunner().invoke(
        main, ["waterfall", "burst.fil", "--dm", "auto", "-o", "u.png", "--report", "r.json"]
    )
    assert result.exit_code == 0
    assert "the brightest pulse is" in result.output
    assert json.loads(Path("r.json").read_text())["request"]["dms"] == ["auto"]


def test_levels_that_hide_a_pulse_are_told():
    assert "levels of the channels differ" in " ".join(draw(dms=(DM,), scale=False).notes)
    assert not products.run(WaterfallRequest(paths=(BURST,), dms=(DM,), output=Path("s.png"))).notes


def test_a_sweep_beyond_the_file_is_told():
    report = draw(dms=(DM,), end_s=0.2)
    assert "a pulse of DM 300 crosses the band in" in report.notes[0]
    assert "parts of the band are empty" in report.notes[0]


def test_noise_has_no_best_dm():
    request = WaterfallRequest(paths=(NOISE,), dms=(Auto.AUTO,), output=Path("n.png"))
    with pytest.raises(InputError, match=r"no pulse above S/N 7 from DM 0 to .*give its DM with `dms`"):
        products.run(request)
    assert not Path("n.png").exists()
    assert "that of the brightest pulse" in products.plan(request).lines()[0]["DM"]


def test_two_files_of_which_one_is_looked_for():
    request = WaterfallRequest(paths=(BURST, BURST), dms=(Auto.AUTO, 250.0), output=Path("two.png"), dpi=40)
    first, second = products.run(request).numbers["panels"]
    assert first["dm"] == pytest.approx(DM, abs=20)
    assert second["dm"] == 250.0
    asked = Asked(Verb.WATERFALL, request)
    assert from_json(asked.to_json()) == asked
