"""Noise and interference of a run: known noise comes back, and the tables are those that AOFlagger writes."""

import json
import shutil
import subprocess

import numpy as np
import pytest

import mwaconvert
from mwaconvert import _core
from mwaconvert.conversion.counts import data_flags
from mwaconvert.conversion.pipeline import find_flags
from mwaconvert.qa.collector import QaCollector
from mwaconvert.simulate import simulate


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Metafits of noise of 20 Jy: 12 tiles, two bands, one tile flagged, one integration lost."""
    return simulate(
        tmp_path_factory.mktemp("noise"),
        "mwax-128",
        n_tiles=12,
        duration_s=16,
        coarse_channels=[110, 111, 130],
        sources=[(0.0, -27.0, 1.0)],
        noise_jy=20,
        missing=["ch=1,t=2"],
        flagged_tiles=[5],
    ).metafits


def tables(path):
    from casacore.tables import table

    found = {}
    for name in ("TIME", "FREQUENCY", "BASELINE"):
        with table(f"{path}/QUALITY_{name}_STATISTIC", ack=False) as t:
            found[name] = {c: np.asarray(t.getcol(c)) for c in t.colnames()}
    with table(f"{path}/QUALITY_KIND_NAME", ack=False) as t:
        found["kinds"] = dict(zip(t.getcol("NAME"), t.getcol("KIND"), strict=True))
    return found


def test_noise_comes_back(noise, tmp_path):
    report = mwaconvert.open(noise).plan(rfi="none").run(tmp_path / "a.uvfits")
    quality = report.quality
    np.testing.assert_allclose(quality.noise, 20, rtol=0.02)
    np.testing.assert_allclose(np.delete(quality.antenna_noise, 5, axis=0), 20, rtol=0.05)
    assert np.isnan(quality.antenna_noise[5]).all()
    assert quality.interference.total == 0
    edges = np.isnan(quality.channel_noise[:, 0]).reshape(3, 32)
    assert (edges.sum(axis=1) == 4).all()
    np.testing.assert_allclose(np.nanmedian(quality.channel_noise, axis=0), 20, rtol=0.05)
    facts = json.loads(report.to_json())["quality"]
    assert facts["antennas"][5]["noise"] == [None, None]
    assert len(facts["timesteps"]["noise"]) == 8
    assert "noise 20" in report.to_text() or "noise 19" in report.to_text()


def test_interference_is_of_the_input(noise, tmp_path):
    """Averages hide it: an output cell is flagged only where all of its inputs are."""
    options = {
        "time_factor": 3,
        "freq_factor": 5,
        "rfi_array": True,
        "flag_times": (7,),
        "rfi_sensitivity": 2.0,
    }
    plan = mwaconvert.open(noise).plan(**options)
    mask = find_flags(plan, lambda _: None).mask
    n_times, n_coarse, n_fine = len(plan.timesteps), len(plan.coarse), plan.metadata.n_fine
    a, b = plan.header.antenna1, plan.header.antenna2
    there = (plan.flags.channels == 0).reshape(1, n_coarse, 1, n_fine)
    there = there & (plan.flags.chunks == _core.CHUNK_GOOD)[..., None, None]
    there = there & ((plan.rows.flagged == 0) & (a != b))[:, None]
    flagged = np.stack([mask.unpacked(slice(0, n_times), c) for c in range(n_coarse)], axis=1) & there

    report = plan.run(tmp_path / "a.ms", qa=tmp_path / "a.html")
    found = report.quality.interference
    assert 0 < found.total == flagged.sum() / there.sum()

    part, whole = (np.add.reduceat(x.sum(axis=(1, 2, 3)), [0, 3, 6]) for x in (flagged, there))
    np.testing.assert_allclose(found.timestep, part / whole)
    part, whole = (
        np.add.reduceat(x.sum(axis=(0, 2)), np.arange(0, n_fine, 5), axis=1).ravel() for x in (flagged, there)
    )
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found.channel, part / whole)
    for antenna in range(12):
        rows = (a == antenna) | (b == antenna)
        part, whole = flagged[:, :, rows].sum(), there[:, :, rows].sum()
        np.testing.assert_allclose(found.antenna[antenna], part / whole if whole else np.nan)
    assert json.loads(report.to_json())["quality"]["interference"] == found.total
    assert "of the input flagged by the data" in " ".join(report.to_text().split())
    page = (tmp_path / "a.html").read_text()
    assert "Channels flagged most by the data" in page
    assert "% of the input" in page


def test_panel_shows_the_input(noise, tmp_path):
    plan = mwaconvert.open(noise).plan(time_factor=4, freq_factor=4, rfi_sensitivity=2.0)
    collector = QaCollector(plan.header, tmp_path / "a.png")
    collector.data_flags = data_flags(plan, find_flags(plan, lambda _: None).mask)
    found = collector.data_flags.interference(plan.header)
    shown = collector.interference
    assert shown.shape == (plan.n_times, plan.n_channels)
    assert (shown[np.isfinite(shown)] > 0).any()
    cells = collector.data_flags.cells
    np.testing.assert_allclose(np.nansum(shown * cells) / cells.sum(), found.total)


def test_nostats(noise, tmp_path):
    report = mwaconvert.open(noise).plan(statistics=False).run(tmp_path / "a.ms")
    assert report.quality is None
    assert json.loads(report.to_json())["quality"] is None
    assert not list((tmp_path / "a.ms").glob("QUALITY*"))


@pytest.mark.parametrize("split", [False, True])
def test_tables_hold_what_the_file_holds(noise, tmp_path, split):
    from casacore.tables import table

    mwaconvert.open(noise).plan(split=split, time_factor=2).run(tmp_path / "a.ms")
    for path in sorted(tmp_path.glob("a*.ms")):
        found = tables(path)
        with table(f"{path}/SPECTRAL_WINDOW", ack=False) as spectral:
            freq_hz = [np.asarray(row["CHAN_FREQ"]) for row in spectral]
        baseline, time, kinds = found["BASELINE"], found["TIME"], found["kinds"]
        for w, freq in enumerate(freq_hz):
            with table(str(path), ack=False) as main, main.query(f"DATA_DESC_ID == {w}") as chosen:
                columns = {c: chosen.getcol(c) for c in ("ANTENNA1", "ANTENNA2", "TIME", "DATA", "FLAG")}
            good = ~columns["FLAG"]
            data = np.where(good, columns["DATA"], 0).astype(np.complex128)
            cross = columns["ANTENNA1"] != columns["ANTENNA2"]
            for a, b in ((0, 0), (1, 4), (3, 5)):
                rows = (columns["ANTENNA1"] == a) & (columns["ANTENNA2"] == b)
                at = (baseline["ANTENNA1"] == a) & (baseline["ANTENNA2"] == b)
                at &= baseline["FREQUENCY"] == freq.mean()
                value = dict(zip(baseline["KIND"][at], baseline["VALUE"][at], strict=True))
                np.testing.assert_array_equal(value[kinds["Count"]], good[rows].sum((0, 1)))
                np.testing.assert_allclose(value[kinds["Sum"]], data[rows].sum((0, 1)), rtol=1e-4, atol=0.1)
            rows = cross & (columns["TIME"] == columns["TIME"].min())
            pairs = good[rows, 1:] & good[rows, :-1]
            difference = np.diff(data[rows], axis=1) * pairs / np.sqrt(2)
            at = (time["TIME"] == columns["TIME"].min()) & (time["FREQUENCY"] == freq.mean())
            value = dict(zip(time["KIND"][at], time["VALUE"][at], strict=True))
            np.testing.assert_array_equal(value[kinds["DCount"]], pairs.sum((0, 1)))
            np.testing.assert_allclose(
                value[kinds["DSumP2"]],
                (difference.real**2).sum((0, 1)) + 1j * (difference.imag**2).sum((0, 1)),
                rtol=1e-5,
            )


@pytest.mark.external
def test_against_aoquality(noise, tmp_path):
    """`aoquality collect` on the same measurement set gives the same numbers.

    Only its RFICount differs: it counts all flags, we those that no static rule made.
    """
    if shutil.which("aoquality") is None:
        pytest.skip("needs aoquality (Debian: aoflagger)")
    path = tmp_path / "a.ms"
    mwaconvert.open(noise).plan(flag_edge_width_khz=80.0).run(path)
    ours = tables(path)
    subprocess.run(["aoquality", "collect", str(path)], check=True, capture_output=True)
    theirs = tables(path)
    assert ours.pop("kinds") == theirs.pop("kinds")
    for name, our in ours.items():
        their = theirs[name]
        keys = [sorted(set(t) - {"VALUE"}) for t in (our, their)]
        assert keys[0] == keys[1]
        order = [np.lexsort([t[key] for key in keys[0]]) for t in (our, their)]
        for key in keys[0]:
            np.testing.assert_array_equal(our[key][order[0]], their[key][order[1]])
        kind = our["KIND"][order[0]]
        a, b = our["VALUE"][order[0]], their["VALUE"][order[1]]
        for number in range(2, 8):
            one, other = a[kind == number], b[kind == number]
            exact = (
                {"rtol": 0, "atol": 0}
                if number in (2, 5)
                else {"rtol": 3e-5, "atol": 1e-4 * np.abs(other).max()}
            )
            np.testing.assert_allclose(one, other, err_msg=f"{name} {number}", **exact)
        assert (a[kind == 1].real <= b[kind == 1].real).all()


@pytest.mark.external
def test_aoquality_reads_the_tables(noise, tmp_path):
    if shutil.which("aoquality") is None:
        pytest.skip("needs aoquality (Debian: aoflagger)")
    path = tmp_path / "a.ms"
    mwaconvert.open(noise).plan(sel_chan_ranges=((0, 1),)).run(path)
    done = subprocess.run(
        ["aoquality", "query_b", "DStandardDeviation", str(path)], check=True, capture_output=True, text=True
    )
    lines = [line.split("\t") for line in done.stdout.strip().splitlines()[1:]]
    cross = [line for line in lines if line[0] != line[1] and "5" not in line[:2]]
    assert len(cross) == 55
    np.testing.assert_allclose([float(line[2]) for line in cross], 20, rtol=0.15)


@pytest.mark.external
def test_every_table_answers(noise, tmp_path):
    """aoquality's queries of baselines, times and channels, its summaries, and the figures of aoqplot."""
    if shutil.which("aoquality") is None or shutil.which("aoqplot") is None:
        pytest.skip("needs aoquality and aoqplot (Debian: aoflagger)")
    path = tmp_path / "a.ms"
    plan = mwaconvert.open(noise).plan(sel_chan_ranges=((0, 1),))
    plan.run(path)

    def ask(*words):
        done = subprocess.run(["aoquality", *words, str(path)], check=True, capture_output=True, text=True)
        return [line.split("\t") for line in done.stdout.strip().splitlines()]

    for query, n in (("query_t", plan.n_times), ("query_f", plan.n_channels), ("query_b", plan.n_rows)):
        for kind in ("Count", "Mean", "StandardDeviation", "DStandardDeviation", "RFIPercentage"):
            assert len(ask(query, kind)) >= n, (query, kind)
    times = np.array([line[1:9:2] for line in ask("query_t", "DStandardDeviation")[1:]], float)
    live = times[np.isfinite(times).all(axis=1) & (times > 0).all(axis=1)]
    assert len(live)
    np.testing.assert_allclose(live, 20, rtol=0.15)
    summary = "\n".join("\t".join(line) for line in ask("summarize"))
    assert "Time statistics" in summary
    assert "Frequency statistics" in summary
    assert len(ask("summarizerfi")[-1]) == 5
    prefixes = {"noise": "DStandardDeviation", "rfi": "RFIPercentage"}
    for prefix, kind in prefixes.items():
        subprocess.run(
            ["aoqplot", "-save", prefix, kind, str(path)], check=True, capture_output=True, cwd=tmp_path
        )
        for plot in ("antennas", "baselines", "baselinelengths", "time", "frequency", "timefrequency"):
            assert (tmp_path / f"{prefix}-{plot}.pdf").read_bytes().startswith(b"%PDF")
