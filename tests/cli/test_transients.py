"""The verbs for filterbanks as a user meets them."""

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner, Result

from mwaconvert import transients
from mwaconvert.cli.main import main
from mwaconvert.formats.spectra.candidate_lists import read_list
from mwaconvert.formats.spectra.presto import read_series
from mwaconvert.formats.spectra.reader import open_stream
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.spectra.candidate import Flag
from mwaconvert.spectra.recording import NOT_RECORDED

REAL = Path(__file__).parents[3] / "shared" / "data" / "frb" / "frb_dm475_28.fil"
FREQS = 1200 + np.arange(32.0) * 10
DT, DM, WHEN = 1e-3, 300.0, 0.7


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command line in a folder with a.fil, which holds a burst."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    data = rng.normal(100, 12, (32, 4000))
    delays = np.rint((WHEN + DM / 2.41e-4 * (FREQS**-2 - FREQS[-1] ** -2)) / DT).astype(int)
    for channel, delay in enumerate(delays):
        data[channel, delay - 2 : delay + 3] += 30
    with FilterbankWriter(Path("a.fil"), FREQS, DT, 8, start_mjd=58000.0, source="burst") as writer:
        writer.write(data)

    def invoke(*words: object) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words])

    return invoke


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def refused(result: Result) -> str:
    """The sentence of a command that was refused."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("mwaconvert: ")
    return lines[0]


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("verb", ["dedisperse", "search", "waterfall", "fil-info"])
def test_help_has_examples(run, verb):
    assert f"mwaconvert {verb} " in done(run(verb, "--help")).partition("Examples:")[2]


def test_dedisperse_to_each_format(run):
    want = transients.open("a.fil").dedisperse(DM)
    assert done(run("dedisperse", "a.fil", "--dm", DM)) == "a_dm300.npz\n"
    read = transients.open("a_dm300.npz")
    np.testing.assert_array_equal(read.data[read.weights > 0], want.data[want.weights > 0])

    done(run("dedisperse", "a.fil", "--dm", DM, "-o", "b.fil"))
    fil = transients.open("b.fil")
    assert (fil.data.dtype, fil.dm, fil.source) == (np.uint8, DM, "burst")
    np.testing.assert_array_equal(fil.data, want.data[:, : fil.n_times])

    done(run("dedisperse", "a.fil", "--dm", DM, "--nsub", 8, "--tscrunch", 4, "-o", "c.fil", "--gulp", 100))
    few = transients.open("c.fil")
    assert few.data.shape == (8, fil.n_times // 4)
    np.testing.assert_array_equal(few.data, want.subband(8).downsample(4).data[:, : few.n_times])

    done(run("dedisperse", "a.fil", "--dm", DM, "-o", "b.h5"))
    np.testing.assert_array_equal(transients.open("b.h5").data, fil.data)
    assert transients.open("b.h5").dm == DM
    for name in ("d.dat", "d.tim"):
        done(run("dedisperse", "a.fil", "--dm", DM, "-o", name))
        series = transients.open(name)
        np.testing.assert_array_equal(series.data[0], want.data.astype("f4").sum(0)[: series.n_times])
    assert read_series(Path("d.dat"))[0].notes.startswith("a.fil; mwaconvert")
    assert "4149.377" in read_series(Path("d.dat"))[0].notes


def test_search_finds_the_burst(run):
    out = done(
        run("search", "a.fil", "--dm-range", 0, 600, "-o", "c.csv", "--plots", "figures", "--gulp", 77)
    )
    assert "1 candidate above S/N 6.75" in out
    rows = list(csv.DictReader(line for line in Path("c.csv").read_text().splitlines() if line[0] != "#"))
    assert rows[0].pop("flags") == "too_narrow"  # it was made without the smear of its channels
    best = {key: float(value) for key, value in rows[0].items()}
    assert best["time_s"] == pytest.approx(WHEN, abs=3 * best["time_err_s"])
    assert best["dm"] == pytest.approx(DM, abs=3 * best["dm_err"])
    assert best["width_s"] == 4e-3
    assert best["mjd"] == pytest.approx(58000 + best["time_s"] / 86400, abs=1e-9)
    assert len(list(Path("figures").glob("a_0001_t0.*_dm*.png"))) == 1
    for suffix in (".singlepulse", ".cand", ".trigger"):
        done(run("search", "a.fil", "--dm-range", 0, 600, "-q", "-o", f"c{suffix}"))


def test_search_of_a_file_with_interference(run):
    """A bright flash at all frequencies and a wild channel: many candidates, until they are taken out."""
    spectra = transients.open("a.fil")
    data = spectra.data.astype(float)
    data[:, 2000:2003] += 60
    data[5, ::7] = 255
    with FilterbankWriter(Path("b.fil"), FREQS, DT, 8) as writer:
        writer.write(data)
    options = ["--dm-range", 0, 600, "-o"]
    done(run("search", "b.fil", *options, "a.csv", "--raw"))
    done(run("search", "b.fil", *options, "b.csv", "--raw", "--zero-dm", "--mask-outliers", "--iqrm"))
    out = done(run("search", "b.fil", *options, "d.csv", "--plots", "p", "--write-mask", "d.mask"))
    assert "1 candidate above S/N 6.75" in out
    assert Path("p/b_masked.png").is_file()
    out = done(run("search", "b.fil", *options, "e.csv", "--no-bad-channels", "--mask-file", "d.mask"))
    assert "1 candidate above S/N 6.75" in out
    before, after = (
        list(csv.DictReader(line for line in Path(name).read_text().splitlines() if line[0] != "#"))
        for name in ("a.csv", "b.csv")
    )
    assert float(before[0]["dm"]) == pytest.approx(0, abs=5)
    assert float(after[0]["dm"]) == pytest.approx(DM, abs=5)
    assert not any(float(row["dm"]) < 50 for row in after)
    masks = ["--raw", "--zero-dm", "--mask-outliers", "--iqrm"]
    done(run("search", "b.fil", *options, "c.csv", *masks, "--gulp", 99))
    assert Path("b.csv").read_bytes() == Path("c.csv").read_bytes()


def test_pulses_are_injected_and_found(run):
    spectra = transients.open("a.fil")
    noise = np.random.default_rng(5).normal(100, 12, (FREQS.size, 6000))
    facts = {
        "telescope_id": 4,
        "src_raj": 161538.22,
        "src_dej": -1214.5,
        "ibeam": 3,
        "nbeams": 13,
        "barycentric": 1,
    }
    with FilterbankWriter(Path("n.fil"), spectra.freq_mhz, DT, 8, start_mjd=58000.0, header=facts) as writer:
        writer.write(noise)
    words = ["--dm-range", 100, 400, "--pulses", 4, "--snr", 15, 20, "--width", 4, "8ms"]
    out = done(run("inject", "n.fil", *words))
    assert out == "n_injected.fil\nn_injected.csv\n"
    truth = list(csv.DictReader(x for x in Path("n_injected.csv").read_text().splitlines() if x[0] != "#"))
    assert len(truth) == 4
    assert open_stream("n_injected.fil").recording == open_stream("n.fil").recording != NOT_RECORDED
    done(run("search", "n_injected.fil", "--dm-range", 0, 600, "-o", "n.csv"))
    rows = list(csv.DictReader(x for x in Path("n.csv").read_text().splitlines() if x[0] != "#"))
    assert len(rows) == 4
    rows.sort(key=lambda row: float(row["time_s"]))
    for row, pulse in zip(rows, truth, strict=True):
        assert float(row["time_s"]) == pytest.approx(float(pulse["time_s"]), abs=8e-3)
        assert float(row["dm"]) == pytest.approx(float(pulse["dm"]), abs=5 * float(row["dm_err"]))
        assert float(row["snr"]) == pytest.approx(0.93 * float(pulse["snr"]), rel=0.2)
    done(run("inject", "n.fil", *words, "-o", "again.fil", "--gulp", 99))
    assert Path("again.csv").read_bytes() == Path("n_injected.csv").read_bytes()
    np.testing.assert_array_equal(transients.open("again.fil").data, transients.open("n_injected.fil").data)
    assert "S/N 15 to 20" in done(run("inject", "n.fil", *words, "-o", "x.fil", "--dry-run"))
    assert "exists" in refused(run("inject", "n.fil", *words))


def test_cutouts_are_those_of_your(run):
    """Names, shapes and a pulse in the middle, as classifiers expect it."""
    h5py = pytest.importorskip("h5py")
    done(run("search", "a.fil", "--dm-range", 0, 600, "--cutouts", "h5"))
    (path,) = Path("h5").glob("*.h5")
    with h5py.File(path) as file:
        falls, plane = file["data_freq_time"][:], file["data_dm_time"][:]
        assert (falls.shape, plane.shape) == ((256, 256), (256, 256))
        assert file.attrs["dm"] == pytest.approx(DM, abs=5)
        assert file.attrs["tcand"] == pytest.approx(WHEN, abs=0.01)
        assert file.attrs["width"] == 4
        assert file["data_freq_time"].dims[0].label == "time"
        assert abs(int(file["profile"][:].argmax()) - 128) <= 2
    assert abs(int(falls.mean(1).argmax()) - 128) <= 2
    row, column = np.unravel_index(plane.argmax(), plane.shape)
    assert abs(row - 127.5) < 8
    assert abs(int(column) - 128) <= 3


def test_cutouts_have_what_classifiers_read(run):
    """The arrays of a candidate of `your`, as its tests have one: names, shapes, types and axes, which FETCH reads."""
    h5py = pytest.importorskip("h5py")
    theirs = REAL.parents[1] / "fil" / "test.h5"
    if not theirs.is_file():
        pytest.skip(f"reference data not found at {theirs}")
    done(run("search", "a.fil", "--dm-range", 0, 600, "--cutouts", "h5"))
    (ours,) = Path("h5").glob("*.h5")
    with h5py.File(theirs) as model, h5py.File(ours) as file:
        for name, wanted in model.items():
            found = file[name]
            assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
            assert [axis.label for axis in found.dims] == [axis.label for axis in wanted.dims]
        needed = {
            "cand_id",
            "tcand",
            "dm",
            "dm_opt",
            "snr",
            "snr_opt",
            "width",
            "label",
            "tsamp",
            "fch1",
            "foff",
            "nchans",
        }
        assert needed <= set(file.attrs) & set(model.attrs)


def test_completeness_is_told(run):
    words = ["search", "a.fil", "--dm-range", 100, 400, "--completeness", 20, "--plots", "p"]
    result = run(*words)
    assert "of 20 pulses injected at S/N 4 to 20 the search found" in result.output + result.stderr
    assert Path("p/a_completeness.png").is_file()
    assert Path("p/a_completeness.csv").read_text().count("\n") == 22


def test_results_do_not_depend_on_gulps_and_threads(run):
    for name, options in {"a": [], "b": ["--gulp", 100], "c": ["-j", 1, "--gulp", 5000]}.items():
        done(run("search", "a.fil", "--dm-range", 0, 600, "-o", f"{name}.csv", *options))
        done(run("dedisperse", "a.fil", "--dm", DM, "--scale", "--nsub", 4, "-o", f"{name}.npz", *options))
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes() == Path("c.csv").read_bytes()
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes() == Path("c.npz").read_bytes()


def test_known_burst(run):
    if not REAL.is_file():
        pytest.skip("reference data not found")
    done(run("search", REAL, "--dm-range", 300, 700, "-o", "c.csv"))
    rows = list(csv.DictReader(line for line in Path("c.csv").read_text().splitlines() if line[0] != "#"))
    assert all(row["flags"] for row in rows[1:])  # interference, if any is left
    best = {key: float(value) for key, value in rows[0].items() if value}
    assert best["dm"] == pytest.approx(475.284, abs=2 * best["dm_err"])
    assert best["time_s"] == pytest.approx(2.029, abs=0.002)
    assert 15 < best["snr"] < 17
    done(run("dedisperse", REAL, "--dm", 475.284, "-o", "s.dat"))
    series = transients.open("s.dat").data[0]
    assert series.argmax() * 1.26646875e-3 == pytest.approx(2.029, abs=0.003)


def test_waterfalls(run):
    done(run("dedisperse", "a.fil", "--dm", DM, "--scale", "-o", "w.npz"))
    assert done(run("waterfall", "w.npz")) == "w.pdf\n"
    first = Path("w.pdf").read_bytes()
    done(run("waterfall", "w.npz", "--overwrite"))
    assert Path("w.pdf").read_bytes() == first  # the same figure, the same bytes
    done(
        run(
            "waterfall",
            "a.fil",
            "--dm",
            DM,
            "-o",
            "a.png",
            "--dpi",
            100,
            "--mask",
            "0-3",
            "--mask-mhz",
            1300,
            1340,
        )
    )
    assert image_size("a.png") == (426, 300)
    many = ["w.npz"] * 5
    done(run("waterfall", *many, "-o", "m.png", "--dpi", 50, "--label", "(a)", *["--title", "A"] * 5))
    assert image_size("m.png") == (213, 310)
    done(
        run(
            "waterfall",
            "w.npz",
            "a.fil",
            "--dm",
            299,
            "--dm",
            DM,
            "-o",
            "n.svg",
            "--time",
            0.7,
            "--cmap",
            "magma",
        )
    )
    done(run("waterfall", "w.npz", "-o", "v.png", "--mask-var", 1.5, "--mask-sum", 1000))


def test_a_search_with_averages_of_samples(run):
    """Channels of 10 MHz smear a pulse of DM 500 over 15 samples and more."""
    out = {}
    for name, options in {"a": [], "b": ["--downsample"], "c": ["--downsample", "--gulp", 99]}.items():
        words = ["search", "a.fil", "--dm-range", 200, 800, "-o", f"{name}.csv", *options]
        out[name] = int(re.search(r"(\d+) DMs from", done(run(*words)))[1])
    assert out["b"] < out["a"] / 2
    assert Path("b.csv").read_bytes() == Path("c.csv").read_bytes()
    rows = list(csv.DictReader(line for line in Path("b.csv").read_text().splitlines() if line[0] != "#"))
    assert len(rows) == 1
    assert float(rows[0]["dm"]) == pytest.approx(DM, abs=3 * float(rows[0]["dm_err"]))
    assert float(rows[0]["time_s"]) == pytest.approx(WHEN, abs=3 * float(rows[0]["time_err_s"]))


def test_a_waterfall_at_a_time_reads_what_is_about_it(run, monkeypatch):
    from mwaconvert.formats.spectra.sigproc import FilterbankStream

    spectra = transients.open("a.fil")
    with FilterbankWriter(Path("long.fil"), FREQS, DT, 8) as writer:
        for _ in range(10):
            writer.write(spectra.data)
    read, plain = [], FilterbankStream.read

    def spy(self, first, count, threads=0):
        read.append((first, first + count))
        return plain(self, first, count, threads)

    monkeypatch.setattr(FilterbankStream, "read", spy)
    done(run("waterfall", "long.fil", "--dm", DM, "--time", 20.7, "-o", "w.png", "--dpi", 50))
    assert min(first for first, _ in read) == 20700 - 25 - 4096
    assert max(last for _, last in read) < 20700 + 5500


def test_a_series_is_drawn_and_searched(run):
    done(run("dedisperse", "a.fil", "--dm", DM, "-o", "s.dat"))
    done(run("waterfall", "s.dat", "-o", "s.png"))
    assert "1 candidate " in done(run("search", "s.dat", "--dm-range", DM, DM))
    assert "that of the data, 300" in refused(run("search", "s.dat", "--dm-range", 0, 10))


def image_size(name: str) -> tuple[int, int]:
    raw = Path(name).read_bytes()
    return int.from_bytes(raw[16:20]), int.from_bytes(raw[20:24])


def test_info(run):
    out = done(run("fil-info", "a.fil"))
    assert "32, 1200.000000 to 1510.000000 MHz" in out
    facts = json.loads(done(run("fil-info", "a.fil", "--json")))
    assert (facts["kind"], facts["n_chan"], facts["n_times"], facts["dt_s"]) == ("SIGPROC", 32, 4000, DT)
    assert facts["header"]["nbits"] == 8


def test_dry_runs_write_nothing_and_state_memory(run):
    for words in (
        ["dedisperse", "a.fil", "--dm", DM, "--scale"],
        ["search", "a.fil", "--dm-range", 0, 100, "--scale", "-o", "c.csv"],
        ["waterfall", "a.fil", "--dm", DM],
    ):
        out = done(run(*words, "--dry-run"))
        assert "memory" in out
        assert "MB" in out
    assert files() == ["a.fil"]


BAD = {
    "dedisperse a.fil --dm nan": "--dm nan: expected a number of pc/cm^3, 0 or more",
    "dedisperse a.fil --dm 300 --nsub 7": "a.fil: 7 sub-bands do not divide 32 channels: take 4 or 8",
    "dedisperse a.fil --dm 300 --tscrunch 4001": "a.fil: cannot average 4001 of 4000 samples: take 1 to 4000",
    "dedisperse a.fil --dm 30000 -o x.dat": "31.85 s, the file lasts 4 s: take DMs below 3767",
    "dedisperse a.fil --dm 300 -o x.txt": ".npz, .fil, .sf, .h5, .tim, .dat",
    "dedisperse a.fil --dm 300 -o x.npz --nbits 8": "--nbits is for .fil",
    "dedisperse a.fil --dm 300 -o x.dat --nsub 4": "--nsub does not go with .dat",
    "dedisperse a.fil --dm 300 -o a.fil": "a.fil: is an input of this run",
    "dedisperse a.fil --dm 300 -o gone/x.npz": "does not exist; create it",
    "dedisperse a.fil": "Missing option '--dm'",
    "dedisperse gone.fil --dm 1": "gone.fil: no such file",
    "dedisperse a.fil --dm 300 --mask 5-40": "a.fil: channels 5 to 40 cannot be masked: there are channels 0 to 31",
    "dedisperse a.fil --dm 300 --mask x": "'x' is not a list of numbers",
    "dedisperse a.fil --dm 300 --nsub 33": "take 32",
    "dedisperse a.fil --dm -1": "--dm -1: expected",
    "dedisperse a.fil --dm 300 --band 400 800": "a.fil: holds no voltages",
    "dedisperse a.fil --dm 300 --mask 0-31": "a.fil: all channels are masked, 32 of 32: mask fewer",
    "dedisperse a.fil --dm 300 --mask-mhz 1 2": "a.fil: 1 to 2 MHz cannot be masked: no channel of the band",
    "dedisperse a.fil --dm 300 --k-dm -1": "--k-dm -1",
    "dedisperse a.fil --dm 300 --max-memory 10KiB": "--max-memory",
    "dedisperse a.fil --dm 300 --max-memory 100B": "--max-memory",
    "dedisperse a.fil --dm 1e12": "take DMs below 3767",
    "search a.fil --dm-range 0 1e12": "take DMs below 3767",
    "search a.fil --dm-range 0 1e5": "crosses the band in",
    "search a.fil --dm-range 10 0": "a.fil: cannot search DMs from 10 to 0: give the lower one first",
    "search a.fil --dm-range -5 5": "cannot search DMs from -5 to 5",
    "search a.fil --dm-range 0 nan": "cannot search DMs",
    "search a.fil --dm-range 0 100 --snr 0": "--snr 0",
    "search a.fil --dm-range 0 100 --loss 1.5": "--loss 1.5",
    "search a.fil --dm-range 0 100 --downsample --loss 0": "give a --loss above 0",
    "search a.fil --dm-range 0 100 --width-min 0": "--width-min 0",
    "search a.fil --dm-range 0 100 -o c.txt": ".csv, .ecsv, .json, .singlepulse, .cand, .trigger",
    "search a.fil --dm-range 0 100 --plots a.fil": "is not a directory",
    "search a.fil --dm-range 0 100 --max-memory 1MiB": "a.fil: this takes",
    "waterfall a.fil --dm 300 -o x.gif": ".pdf, .png, .svg",
    "waterfall a.fil a.fil --dm 1 --dm 2 --dm 3": "--dm was given 3 times for 2 files",
    "waterfall a.fil --dm 300 --title A --title B": "--title was given 2 times",
    "waterfall a.fil --dm 300 --percentiles 90 10": "percentiles 90 and 10",
    "waterfall a.fil --dm 300 --cmap nocolour": "no such colours",
    "waterfall a.fil --dm 300 --window 0": "--window 0",
    "waterfall a.fil --dm 300 --time 99": "no samples within 25 ms of 99 s",
    "waterfall a.fil --dm 300 --window 0.1": "a.fil: --window 0.1: a sample takes 1 ms: take a longer window",
    "waterfall a.fil --dm 300 --size 0 3": "--size 0 3: expected inches above 0.5",
    "waterfall a.fil --dm 300 --mask-var 0": "all channels are masked",
    "fil-info gone.fil": "no such file",
    "fil-info .": "a folder without chunks",
}


@pytest.mark.parametrize("words", BAD)
def test_refusals(run, words):
    assert BAD[words] in refused(run(*words.split()))
    assert files() == ["a.fil"]


def test_a_file_of_nothing_but_nan(run):
    with FilterbankWriter(Path("nan.fil"), FREQS, DT, 32) as writer:
        writer.write(np.full((32, 2000), np.nan))
    assert "all channels are masked" in refused(run("search", "nan.fil", "--dm-range", 0, 10))
    assert "all samples are masked" in refused(run("waterfall", "nan.fil", "--dm", 10, "--no-scale"))


def test_matplotlib_is_an_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = refused(run("waterfall", "a.fil", "--dm", DM))
    assert "pip install 'mwaconvert[plot]'" in message
    assert "mwaconvert[plot]" in refused(run("search", "a.fil", "--dm-range", 0, 10, "--plots", "x"))


DAMAGED = {
    "empty": (b"", "found an empty file"),
    "magic": (b"\x7fELF" + bytes(60), "expected a SIGPROC filterbank"),
    "cut header": (b"\x0c\x00\x00\x00HEADER_START\x06\x00\x00\x00nch", "ends inside its header"),
    "no nchans": (b"nchans", "the header has no nchans"),
    "absurd": (b"foff", "not at positive frequencies"),
    "cut data": (b"data", "no spectrum after the header"),
}


@pytest.mark.parametrize("what", DAMAGED)
@pytest.mark.parametrize(
    "verb", ["dedisperse x.fil --dm 1", "search x.fil --dm-range 0 1", "waterfall x.fil", "fil-info x.fil"]
)
def test_damaged_files(run, verb, what):
    """One sentence that names the file, and nothing is left behind."""
    raw, message = DAMAGED[what]
    sound = Path("a.fil").read_bytes()
    end = sound.index(b"HEADER_END") + 10
    if what == "no nchans":
        at = sound.index(b"\x06\x00\x00\x00nchans")
        raw = sound[:at] + sound[at + 14 :]
    elif what == "absurd":
        at = sound.index(b"foff") + 4
        raw = sound[:at] + np.float64(-1e6).tobytes() + sound[at + 8 :]
    elif what == "cut data":
        raw = sound[: end + 31]
    Path("x.fil").write_bytes(raw)
    sentence = refused(run(*verb.split()))
    assert message in sentence
    assert "x.fil" in sentence
    assert files() == ["a.fil", "x.fil"]


def test_every_sample_that_has_all_channels_is_there(run):
    """No segment or block is left out at the end, of a series or of a search."""
    done(run("dedisperse", "a.fil", "--dm", DM, "-o", "s.dat"))
    delay = round(DM / 2.41e-4 * (FREQS[0] ** -2 - FREQS[-1] ** -2) / DT)
    assert transients.open("s.dat").n_times == (4000 - delay) // 2 * 2  # PRESTO wants an even number
    data = transients.open("a.fil").data.astype(float)
    late = 4000 - 3 - np.rint(DM / 2.41e-4 * (FREQS[0] ** -2 - FREQS**-2) / DT).astype(int)
    for channel, at in enumerate(late):
        data[channel, at : at + 3] += 60
    with FilterbankWriter(Path("b.fil"), FREQS, DT, 8) as writer:
        writer.write(data)
    done(run("search", "b.fil", "--dm-range", DM, DM, "--loss", 0, "-o", "b.csv"))
    text = Path("b.csv").read_text()
    rows = list(csv.DictReader(line for line in text.splitlines() if line[0] != "#"))
    times = [float(row["time_s"]) for row in rows]
    assert max(times) == pytest.approx((4000 - delay - 1.5) * DT, abs=2e-3)


PEAK = """
import sys
from mwaconvert.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as done:
    lines = open("/proc/self/status").read().splitlines()
    print(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024)
    sys.exit(done.code)
"""


def in_a_process(*words: str) -> list[str]:
    """Lines that a command prints, and the largest memory of its process."""
    finished = subprocess.run(
        [sys.executable, "-c", PEAK, *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(transients.__file__).resolve().parents[2])},
    )
    return finished.stdout.splitlines()


@pytest.fixture(scope="module")
def long_files(tmp_path_factory):
    """67 MB in the .fil, 21 MB in the PSRFITS file; that one has weights."""
    folder = tmp_path_factory.mktemp("long")
    freq_mhz = 1200 + np.arange(1024.0) / 4
    noise = np.random.default_rng(5).normal(100, 12, (1024, 4096)).clip(0, 255).astype(np.uint8)
    with FilterbankWriter(folder / "big.fil", freq_mhz, DT, 8) as writer:
        for _ in range(16):
            writer.write(noise)
    n_row = 20
    columns = [
        fits.Column("DAT_FREQ", "1024D", array=np.tile(freq_mhz, (n_row, 1))),
        fits.Column("DAT_WTS", "1024E", array=np.full((n_row, 1024), 0.5)),
        fits.Column("DATA", f"{1024 * 1024}B", array=np.tile(noise[:, :1024].T.reshape(1, -1), (n_row, 1))),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SUBINT")
    table.header.update({"NBITS": 8, "NPOL": 1, "NCHAN": 1024, "NSBLK": 1024, "TBIN": DT})
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "big.fits")
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux only")
@pytest.mark.parametrize(
    "words",
    [
        "dedisperse big.fil --dm 50 --gulp 2048 -o s.dat",
        "dedisperse big.fil --dm 50 -o all.dat",
        "dedisperse big.fil --dm 50 --mask 0-9 -o masked.tim",
        "dedisperse big.fil --dm 50 -o w.fil",
        "dedisperse big.fil --dm 50 --nsub 64 --tscrunch 4 -o w.npz",
        "dedisperse big.fits --dm 50 -o f.fil",
        "search big.fil --dm-range 0 50",
        "search big.fits --dm-range 40 50 --width-min 5",
    ],
)
def test_memory_stays_below_what_a_dry_run_states(long_files, monkeypatch, words):
    """Of the whole process, with the interpreter; and what is stated is not many times too much."""
    monkeypatch.chdir(long_files)
    stated = next(line for line in in_a_process(*words.split(), "--dry-run") if line.startswith("memory"))
    assert stated.endswith("MB")
    limit = float(stated.split()[2]) * 1e6
    used = int(in_a_process(*words.split())[-1])
    assert limit / 4 < used < limit


def test_figures_that_exist_are_refused_before_the_search(run):
    done(run("search", "a.fil", "--dm-range", 0, 600, "--plots", "p", "--cutouts", "h5"))
    (one,) = Path("h5").glob("*.h5")
    result = run("search", "a.fil", "--dm-range", 0, 600, "--plots", "p", "--dry-run")
    assert "a_0001_t" in refused(result)
    assert "exists" in refused(run("search", "a.fil", "--dm-range", 0, 600, "--cutouts", "h5", "--dry-run"))
    for path in Path("p").glob("a_0*"):
        path.unlink()
    assert "a_masked.png" in refused(
        run("search", "a.fil", "--dm-range", 0, 600, "--plots", "p", "--dry-run")
    )
    done(run("search", "a.fil", "--dm-range", 0, 600, "--cutouts", "h5", "--overwrite"))
    assert one.is_file()


def test_the_band_of_vdif_is_asked_for_in_words(run):
    baseband = pytest.importorskip("baseband")
    path = Path(baseband.__file__).parent / "data" / "sample.vdif"
    assert "give the edges of the band, see --band" in refused(run("search", path, "--dm-range", 0, 10))


@pytest.mark.parametrize("suffix", [".fil", ".sf"])
def test_cleaned_filterbanks(run, suffix):
    """Bytes in units of the noise, without a carrier, at any reference, with what the header says of the recording."""
    spectra = transients.open("a.fil")
    data = spectra.data.astype(float) * 0.5
    data[7] = 40 + 30 * (np.arange(4000) // 300 % 2)
    facts = {"telescope_id": 4, "src_raj": 53400.0, "src_dej": 220100.0}
    with FilterbankWriter(Path("b.fil"), FREQS, DT, 8, start_mjd=58000.0, header=facts) as writer:
        writer.write(data)
    words = ["dedisperse", "b.fil", "--clean", "--dm"]
    done(run(*words, 0, "-o", "c" + suffix))
    result = run(*words, DM, "-o", "d" + suffix, "--reference", "infinity")
    assert "10 levels are the standard deviation" in done(result) + result.stderr
    done(run(*words, DM, "-o", "e" + suffix, "--reference", "infinity", "--gulp", 333, "-j", 1))
    assert Path("d" + suffix).read_bytes() == Path("e" + suffix).read_bytes()
    cleaned, aligned = transients.open("c" + suffix), transients.open("d" + suffix)
    assert cleaned.data.shape == (32, 4000)
    assert cleaned.data[7].std() < 3
    assert np.delete(cleaned.data, 7, 0).std() == pytest.approx(10, rel=0.15)
    assert cleaned.recording.telescope == "Parkes"
    assert aligned.recording.ra_deg == cleaned.recording.ra_deg == pytest.approx(83.5)
    assert aligned.dm == DM
    series = aligned.data.sum(0, dtype=float)
    when = (aligned.start_mjd - 58000.0) * 86400 + (int(series.argmax()) + 0.5) * DT
    at_infinity = WHEN - DM / 2.41e-4 / FREQS[-1] ** 2
    assert when == pytest.approx(at_infinity, abs=3 * DT)


def test_steps_of_the_cleaning_need_it(run):
    words = ["dedisperse", "a.fil", "--dm", 0, "-o", "c.fil"]
    assert "--no-impulses is a step of the cleaning: give --clean too" in refused(
        run(*words, "--no-impulses")
    )
    assert "--scale is not needed" in refused(run(*words, "--clean", "--scale"))
    done(run(*words, "--clean", "--no-impulses", "--no-baseline", "--no-bad-channels"))


def halves(names: dict[str, tuple[float, str]]) -> None:
    """Files of 2 s of a.fil each, at these seconds and of these sources."""
    spectra = transients.open("a.fil")
    for name, (start_s, source) in names.items():
        part = slice(2000, 4000) if name.startswith("late") else slice(0, 2000)
        mjd = 58000.0 + start_s / 86400
        with FilterbankWriter(Path(name), FREQS, DT, 8, start_mjd=mjd, source=source) as writer:
            writer.write(spectra.data[:, part])


def test_files_that_follow_each_other_are_one_observation(run):
    halves(
        {
            "late.fil": (2.0, "burst"),
            "early.fil": (0.0, "burst"),
            "other.fil": (500.0, "burst"),
            "next.fil": (2.0, "x"),
        }
    )
    words = ["search", "late.fil", "other.fil", "early.fil", "--dm-range", 0, 600, "--raw"]
    result = run(*words)
    assert done(result).startswith("early.fil and 1 more:\n1 candidate above")
    assert "\nother.fil:\n1 candidate above" in result.output
    assert "these are 2 observations, each for itself; see --one-observation" in result.stderr
    assert done(run(*words, "--each")).count("candidate") == 3
    one = run("search", "late.fil", "early.fil", "--dm-range", 0, 600, "--raw")
    assert done(one).startswith("1 candidate above")
    assert "2 files were joined" in one.stderr
    assert (
        "2 observations" in run("search", "early.fil", "next.fil", "--dm-range", 0, 600, "--dry-run").stderr
    )
    late = run("search", "early.fil", "other.fil", "--dm-range", 0, 600, "--one-observation")
    assert "begins 498 s after the end of early.fil" in refused(late)


def test_outputs_of_several_observations_have_names_of_their_own(run):
    halves({"b.fil": (0.0, "burst"), "c.fil": (500.0, "burst")})
    words = ["search", "b.fil", "c.fil", "--dm-range", 0, 600, "--raw", "-o"]
    assert "put {name} into it" in refused(run(*words, "all.csv"))
    assert not Path("all.csv").exists()
    done(run(*words, "{name}.csv", "--report", "{name}.json"))
    assert Path("b.csv").is_file()
    assert json.loads(Path("c.json").read_text())["request"]["path"] == "c.fil"
    assert "2 observations" in run("period", "b.fil", "c.fil", "--dm", 0, 10, "--dry-run").stderr
    from mwaconvert.errors import InputError
    from mwaconvert.transients import products

    request = products.SearchRequest(path=Path("b.fil"), continued=(Path("c.fil"),), dm_min=0, dm_max=600)
    with pytest.raises(InputError, match="the files are 2 observations: ask for each of them"):
        products.plan(request)


def test_what_is_in_many_beams_is_flagged(run):
    data = transients.open("a.fil").data
    noise = np.random.default_rng(5).permuted(data, axis=1)
    names = [f"beam{k}.fil" for k in range(6)]
    for k, name in enumerate(names):
        late = k % 2 * 100  # samples: they do not begin at the same time
        mjd, header = 58000.0 + late * DT / 86400, {"ibeam": k + 10, "nbeams": 6}
        with FilterbankWriter(Path(name), FREQS, DT, 8, start_mjd=mjd, header=header) as writer:
            writer.write((noise if k == 5 else data)[:, late:])
    words = ["--dm-range", 0, 600, "--raw", "--beams"]
    begin = time.perf_counter()
    result = run("search", *names, *words, "-o", "{name}.csv", "--report", "{name}.json")
    elapsed_s = time.perf_counter() - begin
    assert done(result).count("many_beams") == 5
    assert "beam1.fil, beam 11:\n1 candidate above" in result.output
    (pulse,) = read_list(Path("beam1.csv"))
    assert (pulse.beam, pulse.n_beams, pulse.flags) == (11, 5, (Flag.TOO_NARROW, Flag.MANY_BEAMS))
    assert pulse.time_s == pytest.approx(WHEN - 100 * DT, abs=5 * pulse.time_err_s)
    assert read_list(Path("beam5.csv")) == []
    numbers = json.loads(Path("beam1.json").read_text())["numbers"]
    assert (numbers["beam"], numbers["n_beams"]) == (11, 6)
    reports = [json.loads(Path(f"beam{k}.json").read_text()) for k in range(6)]
    assert sum(report["performance"]["wall_s"] for report in reports) < elapsed_s
    four = done(run("search", *names[:4], *words))
    assert four.count("1 candidate above") == 4
    assert "many_beams" not in four
    for more in ([], ["--dry-run"]):
        said = refused(run("search", "a.fil", *words, *more))
        assert "--beams: expected the files of several beams, found one" in said
    planned = run("search", *names, *words, "--dry-run")
    assert done(planned).count("segments") == 6
    assert "observations" not in planned.stderr


def test_files_without_times_are_observations_of_their_own(run):
    for name in ("b.npz", "c.npz"):
        done(run("dedisperse", "a.fil", "--dm", 0, "-o", name))
        with np.load(name) as held:
            facts = {key: held[key] for key in held if key != "start_mjd"}
        np.savez(name, **facts)
    words = ["search", "b.npz", "c.npz", "--dm-range", 0, 600, "--raw"]
    assert "2 observations" in run(*words).stderr
    assert "2 files were joined" in run(*words, "--one-observation").stderr
