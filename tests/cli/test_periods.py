"""The verbs period and fold as a user meets them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mwaconvert.cli.main import main
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.transients import products
from mwaconvert.transients.products import FoldRequest, PeriodRequest

FREQS, DT_S, PERIOD_S, DM = 1400 + 4 * np.arange(32.0), 1e-3, 0.21, 60.0


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command line in a folder with a.fil, which holds a pulsar."""
    monkeypatch.chdir(tmp_path)
    delays = DM / 2.41e-4 * (FREQS**-2 - FREQS[-1] ** -2)
    phase = ((np.arange(20000) + 0.5) * DT_S - delays[:, None]) / PERIOD_S % 1
    data = np.random.default_rng(1).normal(100, 10, phase.shape) + 5 * np.exp(-(((phase - 0.5) / 0.03) ** 2))
    facts = {"telescope_id": 4, "src_raj": 53400.0, "src_dej": 220100.0}
    with FilterbankWriter(
        Path("a.fil"), FREQS, DT_S, 8, start_mjd=58000.0, source="PSR", header=facts
    ) as writer:
        writer.write(data)

    def invoke(*words: object) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words])

    return invoke


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


def test_a_pulsar_of_low_dm_whose_pulses_look_like_impulses(run):
    """They sweep over 1 ms, of their 20: what is lost is said."""
    phase = (np.arange(20000) + 0.5) * DT_S / PERIOD_S % 1
    data = np.random.default_rng(1).normal(100, 10, (32, 20000)) + 10 * (abs(phase - 0.5) < 0.05)
    with FilterbankWriter(Path("low.fil"), FREQS, DT_S, 8) as writer:
        writer.write(data)
    words = ["period", "low.fil", "--dm-range", 0, 100, "--report", "r.json", "--overwrite"]
    said = "bright pulsars lose S/N; see --no-impulses"
    assert said in run(*words).stderr
    assert said.replace("--no-impulses", "`impulses`") in json.loads(Path("r.json").read_text())["notes"][-1]
    kept = run(*words, "--no-impulses")
    assert said not in kept.stderr
    best = json.loads(Path("r.json").read_text())["candidates"][0]
    assert (best["period_s"], best["flags"]) == (pytest.approx(PERIOD_S, rel=1e-4), ["near_zero"])


def test_a_pulsar_is_found_listed_and_drawn(run):
    out = done(
        run("period", "a.fil", "--dm-range", 0, 100, "-o", "p.csv", "--plots", "folds", "--report", "r.json")
    )
    assert out.startswith("1 candidate above S/N 8; ")
    assert "barycentric (s)" in out
    (row,) = csv.DictReader(line for line in Path("p.csv").read_text().splitlines() if line[0] != "#")
    assert float(row["period_s"]) == pytest.approx(PERIOD_S, abs=5 * float(row["period_err_s"]))
    assert float(row["dm"]) == pytest.approx(DM, abs=4 * float(row["dm_err"]))
    assert float(row["log10_fap"]) < -50
    assert "fft" in row["methods"]
    (figure,) = Path("folds").iterdir()
    assert figure.name.startswith(("a_0001_p0.2100", "a_0001_p0.2099"))
    report = json.loads(Path("r.json").read_text())
    assert report["format"] == "mwaconvert period"
    assert report["candidates"][0]["period_s"] == pytest.approx(PERIOD_S, abs=1e-4)
    assert {file["kind"] for file in report["outputs"]} == {"candidates", "figure"}
    assert report["numbers"]["n_trials"]["fft"] > 1e5


def test_lists_of_other_kinds_and_words_of_other_programs(run):
    from astropy.table import QTable

    words = ["-lodm", 0, "-hidm", 100, "--Pmin", "20ms", "--Pmax", 1, "--smin", 9, "--method", "fft"]
    done(run("period", "a.fil", *words, "--outfile", "p.ecsv"))
    done(run("period", "a.fil", *words, "-o", "p.json", "-j", 1, "--max-memory", "1GB"))
    table = QTable.read("p.ecsv")
    (row,) = json.loads(Path("p.json").read_text())["candidates"]
    assert table["period_s"].unit == "s"
    assert table["period_s"][0].value == row["period_s"]
    assert table["snr"][0] == row["snr"]
    report = products.run(PeriodRequest(path=Path("a.fil"), dm_min=50, dm_max=70))
    assert report.to_table()["period_s"][0].value == pytest.approx(PERIOD_S, abs=1e-4)
    assert "1 candidates" in repr(report)


def test_a_series_needs_no_dm(run):
    done(run("dedisperse", "a.fil", "--dm", DM, "-o", "a.dat"))
    out = done(run("period", "a.dat"))
    assert f"1 DM from {DM:g} to {DM:g}" in out
    assert "0.2099" in out or "0.2100" in out


def test_a_fold(run):
    out = done(
        run(
            "fold",
            "a.fil",
            "-p",
            "210.02ms",
            "-dm",
            50,
            "-nsub",
            8,
            "--archive",
            "f.npz",
            "--report",
            "r.json",
        )
    )
    assert "a_fold.png" in out
    assert Path("a_fold.png").stat().st_size > 10000
    found = json.loads(Path("r.json").read_text())["numbers"]
    assert found["period_s"] == pytest.approx(PERIOD_S, abs=5 * found["period_err_s"])
    assert found["dm"] == pytest.approx(DM, abs=5 * found["dm_err"])
    assert found["period_barycentric_s"] == pytest.approx(PERIOD_S, rel=1.1e-4)
    with np.load("f.npz") as held:
        assert held["cube"].shape == held["counts"].shape == (64, 8, 64)
        assert held["counts"].sum() == 20000 * 32
        assert int(held["profile"].argmax()) in range(30, 35)
    out = done(
        run(
            "fold",
            "a.fil",
            "--period",
            found["period_barycentric_s"],
            "--dm",
            DM,
            "--barycentric",
            "-o",
            "b.pdf",
        )
    )
    assert "barycentric P" not in out
    products.run(
        FoldRequest(path=Path("a.fil"), period_s=PERIOD_S, dm=DM, output=Path("c.svg"), n_part=1, n_band=1)
    )
    assert Path("c.svg").is_file()


def test_what_would_be_done(run):
    out = done(
        run("period", "a.fil", "--dm-range", 0, 100, "--dry-run", "--method", "ffa", "--ffa-min", "100ms")
    )
    assert "fast folding algorithm from 0.1 s on" in out
    assert "in 1 passes" in out
    out = done(run("fold", "a.fil", "--period", PERIOD_S, "--dry-run", "--pdot", 1e-10))
    assert "64 bins, 64 parts of the time, 32 sub-bands" in out
    assert "1e-10 s/s" in out
    assert sorted(path.name for path in Path().iterdir()) == ["a.fil"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["period", "a.fil"], "--dm-min is missing"),
        (
            ["period", "a.fil", "--dm-range", 0, 100, "--max-memory", "50MB"],
            "average samples with --tscrunch",
        ),
        (["fold", "a.fil", "--period", 1, "--max-memory", "50MB"], "see --npart and --nsub"),
        (["fold", "a.fil"], "--period is missing"),
        (["period", "a.fil", "--dm-range", 0, 100, "--method", "fast"], "'fast' is none of both, fft, ffa"),
        (["period", "a.fil", "--dm-range", 0, 100, "--snr", 2], "--snr 2: expected 4 or more"),
        (
            ["period", "a.fil", "--dm-range", 0, 100, "--period-min", 0],
            "--period-min 0: expected a positive time",
        ),
        (["period", "a.fil", "--dm-range", 0, 100, "--period-max", 9], "--period-max 9: expected a quarter"),
        (["period", "a.fil", "--dm-range", 0, 100, "--tscrunch", 0], "--tscrunch 0: expected a whole number"),
        (["period", "a.fil", "--dm-range", 0, 100, "-o", "a.txt"], "ends in .csv, .ecsv, .json"),
        (["period", "a.fil", "--dm-range", 0, 100, "--plots", "a.fil"], "exists and is not a directory"),
        (["period", "a.fil", "--dm-range", 0, 100, "--dmstep", 1], "is not needed"),
        (["fold", "a.fil", "--period", 0], "--period 0: expected a positive time"),
        (["fold", "a.fil", "--period", 99], "--period 99: expected from two samples"),
        (["fold", "a.fil", "--period", 1, "--bins", 2], "--bins 2: expected a whole number from 4 to 4096"),
        (["fold", "a.fil", "--period", 1, "--nsub", 99], "--nsub 99: the file has 32 channels"),
        (["fold", "a.fil", "--period", 1, "--pdot", 2], "--pdot 2: expected seconds per second"),
        (["fold", "a.fil", "--period", 1, "--archive", "a.txt"], "ends in .npz"),
        (["fold", "a.fil", "--period", 1, "-o", "a.fil"], "ends in .png, .pdf, .svg"),
        (["fold", "a.fil", "--period", 1, "--dm", -1], "--dm -1: expected"),
        (["fold", "a.fil", "--period", "1h"], "'1h' is not a number"),
    ],
)
def test_what_cannot_be_done(run, words, sentence):
    assert sentence in refused(run(*words))
    assert sorted(path.name for path in Path().iterdir()) == ["a.fil"]


def test_a_period_at_the_barycentre_needs_a_direction(run):
    with FilterbankWriter(Path("b.fil"), FREQS, DT_S, 8) as writer:
        writer.write(np.full((32, 2000), 7))
    assert "the place of the telescope (not named) is not known" in refused(
        run("fold", "b.fil", "--period", 0.1, "--barycentric")
    )
