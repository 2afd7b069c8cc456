"""Candidates cut out of data with known bursts; lists, figures, classifiers, and beams put together."""

import json
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_twins import synthesise

from mwaconvert import _core
from mwaconvert.errors import FormatError, InputError
from mwaconvert.formats.spectra.reader import open_stream
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.live.observation import Observation, read_beam_table
from mwaconvert.live.processing.beams import SynthesisedStream, open_beam
from mwaconvert.live.processing.classifier import Classifier
from mwaconvert.live.processing.cutter import Cutter, reprocess
from mwaconvert.live.processing.extract import Refusal, Wanted, extract
from mwaconvert.live.processing.merge import merge, result_folder, write_merged
from mwaconvert.live.processing.products import Counts, Found, Score, read_lists, write_candidate, write_lists
from mwaconvert.live.settings import Classify, Extractor, Settings, settings_of
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients.judging.classifiers import scaled

#: DM, time, width in samples, S/N by DARC without cleaning
BURSTS = [(50.0, 0.12, 5, 60.35), (20.0, 0.24, 1, 38.4)]
NO_CLEANING = Extractor(rfi_clean_type="none")


def wanted(dm=50.0, time_s=0.12, width=5, snr=20.0, beam=0):
    return Wanted(time_s=time_s, dm=dm, snr=snr, width=width, beam=beam)


@pytest.fixture
def synthetic(darc):
    stream = open_stream(darc / "synthetic" / "synthetic_CB00_00.fil")
    yield stream
    stream.close()


def noise_stream(n_chan=64, n_times=4096, seed=1, pulse=None):
    data = np.random.default_rng(seed).normal(100, 10, (n_chan, n_times))
    freq_mhz = 1219.7 + 300 / n_chan * (np.arange(n_chan) + 0.5)
    if pulse is not None:
        dm, at, height = pulse
        delays = np.rint(4148.808 * dm * (freq_mhz**-2 - freq_mhz[-1] ** -2) / 1e-3).astype(int)
        data[np.arange(n_chan), at + delays] += height
    return ArrayStream(Spectra(data.clip(0, 255).astype(np.uint8), freq_mhz, 1e-3), Path("noise"), "memory")


@pytest.mark.parametrize(("dm", "time_s", "width", "snr"), BURSTS)
def test_snr_as_darc_finds_it(synthetic, dm, time_s, width, snr):
    found = extract(synthetic, wanted(dm, time_s, width), NO_CLEANING)
    assert found.snr == pytest.approx(snr, rel=0.02)
    assert found.dms.size == 64
    assert found.dms[32] == pytest.approx(dm)


@pytest.mark.parametrize("off", [-10, -3, 0, 1, 10])
@pytest.mark.parametrize(("dm", "time_s", "width", "snr"), BURSTS)
def test_arrival_and_dm(synthetic, dm, time_s, width, snr, off):
    """The arrival moves to the pulse, wherever it was looked for; no plane is empty."""
    dt_s = width * synthetic.dt_s
    found = extract(synthetic, wanted(dm, time_s + off * dt_s, width))
    assert abs(found.time_s - time_s) < dt_s
    row, column = np.unravel_index(found.dm_time.argmax(), found.dm_time.shape)
    assert abs(row - 32) <= 1
    assert column == 32
    assert found.dm_time.std() > 0
    assert found.freq_time.sum(0).argmax() == 32


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 8])
def test_the_plane_is_never_empty(synthetic, width):
    """Whatever the number of samples is divided by."""
    assert extract(synthetic, wanted(width=width), NO_CLEANING).dm_time.std() > 0


@pytest.mark.parametrize(("dm", "time_s", "width", "snr"), BURSTS)
def test_cleaning_spares_bright_bursts(synthetic, dm, time_s, width, snr):
    found = extract(synthetic, wanted(dm, time_s, width))
    assert found.snr > 0.96 * snr


def test_cleaning_finds_bad_channels():
    stream = noise_stream(pulse=(100.0, 1000, 40))
    clean = extract(stream, wanted(100.0, 1.0, 1), NO_CLEANING).snr
    stream._data[20] = np.random.default_rng(2).integers(0, 255, stream.n_times)
    dirty = extract(stream, wanted(100.0, 1.0, 1), NO_CLEANING).snr
    assert extract(stream, wanted(100.0, 1.0, 1)).snr > max(0.8 * clean, 0.9 * dirty)
    assert extract(stream, wanted(100.0, 1.0, 1), NO_CLEANING, masked=[20]).snr > 0.8 * clean


@pytest.mark.parametrize("time_s", [0.0, 0.004, 0.35, 0.3599, 0.36, 5.0, -3.0])
def test_at_the_ends_of_the_data(synthetic, time_s):
    """Windows that begin before the data or end after them are not an error."""
    found = extract(synthetic, wanted(time_s=time_s))
    assert isinstance(found, Refusal) or np.isfinite(found.snr)


def test_what_is_refused():
    stream = noise_stream()
    assert extract(stream, wanted(100.0, 1.0, 4)) is Refusal.FAINT
    assert (
        extract(stream, wanted(100.0, 1.0, 1500), Extractor(snr_min_local=0.0)) is not None
    )  # not an empty range
    assert extract(stream, wanted(100.0, 99.0, 4)) is Refusal.NO_DATA
    zero = noise_stream(pulse=(0.0, 1000, 60))
    assert extract(zero, wanted(3.0, 1.0, 1), Extractor(snr_min_local=0.0)) is Refusal.ZERO_DM


@given(
    st.floats(0, 3000),
    st.floats(-1, 6),
    st.integers(1, 3000),
    st.sampled_from(["none", "perchannel", "frequency"]),
)
@settings(max_examples=25, deadline=None)
def test_no_candidate_ends_anything(dm, time_s, width, cleaning):
    found = extract(
        noise_stream(n_chan=64, n_times=1500), wanted(dm, time_s, width), Extractor(rfi_clean_type=cleaning)
    )
    assert isinstance(found, Refusal) or found.dms[0] >= 0


def make_tabs(folder, n_tab=12, n_chan=96, n_times=400):
    folder.mkdir()
    freq_mhz = 1219.7 + 300 / n_chan * (np.arange(n_chan) + 0.5)
    data = np.random.default_rng(5).integers(0, 255, (n_tab, n_chan, n_times)).astype(np.uint8)
    for tab in range(n_tab):
        with FilterbankWriter(folder / f"CB00_{tab:02d}.fil", freq_mhz, 81.92e-6, 8) as writer:
            writer.write(data[tab])
    return data


def test_synthesised_beams(darc, tmp_path):
    data = make_tabs(tmp_path / "tabs")
    table = read_beam_table(darc / "tables" / "sbtable-sc4-12tabs-71sbs.txt")
    paths = {tab: tmp_path / "tabs" / f"CB00_{tab:02d}.fil" for tab in range(12)}
    for sb in (0, 10, 35, 70):
        stream = open_beam(tmp_path / "tabs", 0, sb, table)
        expected = synthesise(data, table[sb])
        np.testing.assert_array_equal(stream.spectra().data, expected)
        np.testing.assert_array_equal(stream.spectra(50, 20).data, expected[:, 50:70])
        stream.close()
    del paths[int(table[0, 0])]
    with pytest.raises(InputError, match="no file of the tied-array beams"):
        SynthesisedStream(paths, table[0])


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from([np.uint8, np.float32]),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 8), st.integers(1, 5), st.integers(0, 40)),
    seed=st.integers(0, 99),
    threads=st.integers(1, 3),
)
def test_the_kernel_of_synthesised_beams(kind, shape, seed, threads):
    """Bit for bit as its twin, whatever lies how in memory."""
    n_tab, n_subband, width, n_times = shape
    chance = np.random.default_rng(seed)
    beams = chance.integers(0, 255, (n_tab, n_subband * width, n_times)).astype(kind)
    subbands = chance.integers(0, n_tab, n_subband)
    for lying in (beams, np.asfortranarray(beams), beams[:, ::-1], beams[..., ::-1]):
        out = np.full(beams.shape[1:], 77, kind)
        for tab in range(n_tab):
            _core.take_subbands(lying[tab], subbands, tab, out, threads)
        np.testing.assert_array_equal(out, synthesise(lying, subbands))
    for wrong, words in (
        (np.zeros(n_subband * width + 1, np.int64), "cannot be parted"),
        (np.zeros(0, np.int64), "cannot be parted"),
    ):
        with pytest.raises(InputError, match=words):
            _core.take_subbands(beams[0], wrong, 0, out)
    with pytest.raises(InputError, match="expected shape"):
        _core.take_subbands(beams[0, 1:], subbands, 0, out)


def test_memory_is_that_of_the_beams_needed(darc, tmp_path):
    """At most twice the bytes of the beams that a synthesised one is made of."""
    make_tabs(tmp_path / "tabs", n_chan=1536, n_times=3000)
    table = read_beam_table(darc / "tables" / "sbtable-sc4-12tabs-71sbs.txt")
    stream = open_beam(tmp_path / "tabs", 0, 0, table)
    needed = np.unique(table[0]).size * 1536 * 3000
    tracemalloc.start()
    stream.read(0, 3000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stream.close()
    assert peak <= 2 * needed


def test_hdf5(synthetic, tmp_path):
    h5py = pytest.importorskip("h5py")
    found = extract(synthetic, wanted())
    first = write_candidate(tmp_path, found, Score(freq_time=0.9))
    assert write_candidate(tmp_path, found, Score(freq_time=0.9)) == first  # the same once more
    second = write_candidate(tmp_path, replace(found, wanted=wanted(beam=3)))
    assert (first.name, second.name) == (
        "TOA0.1200_DM50.00_DS5_SNR20.hdf5",
        "TOA0.1200_DM50.00_DS5_SNR20_2.hdf5",
    )
    with h5py.File(first) as file:
        assert file["data_freq_time"].shape == file["data_dm_time"].shape == (64, 64)
        names = "nfreq ntime ndm tsamp sb dms dm snr toa downsamp dm_amber snr_amber toa_amber downsamp_amber"
        assert set(names.split()) <= set(file.attrs)
        assert file.attrs["prob_freqtime"] == 0.9


def model_file(path, shape, weight=1.0):
    """A model whose probability grows with the brightest value."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0, axes=[1, 2, 3]),
        helper.make_node("Mul", ["top", "w"], ["y"]),
        helper.make_node("Sigmoid", ["y"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Unsqueeze", ["p", "axis"], ["p2"]),
        helper.make_node("Unsqueeze", ["q", "axis"], ["q2"]),
        helper.make_node("Concat", ["q2", "p2"], ["out"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "peak",
        [helper.make_tensor_value_info("x", kind, ["batch", *shape, 1])],
        [helper.make_tensor_value_info("out", kind, ["batch", 2])],
        [
            helper.make_tensor("w", kind, [1], [weight]),
            helper.make_tensor("one", kind, [1], [1.0]),
            helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def test_a_classifier(synthetic, tmp_path):
    path = model_file(tmp_path / "peak.onnx", (32, 64))
    found = extract(synthetic, wanted())
    classifier = Classifier(Classify(model_freqtime=str(path), thresh_freqtime=0.5))
    score = classifier.score(found)
    assert 0.9 < score.freq_time <= 1
    assert math.isnan(score.dm_time)
    assert score.model.startswith("peak.onnx sha256:")
    assert classifier.accepts(score)
    assert not classifier.accepts(replace(score, freq_time=0.4))
    flat = replace(found, freq_time=np.zeros((64, 64), np.float32))
    assert classifier.score(flat).freq_time == pytest.approx(0.5)  # no noise to divide by: zeros, not NaN
    with pytest.raises(FormatError, match="expected one input of 64 x 64"):
        Classifier(Classify(model_dmtime=str(path)))
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="not a sound ONNX model"):
        Classifier(Classify(model_freqtime=str(tmp_path / "bad.onnx")))


def test_without_a_classifier_all_are_ranked_by_snr(synthetic):
    classifier = Classifier(Classify(model_freqtime="20190416freq_time.hdf5"))
    score = classifier.score(extract(synthetic, wanted()))
    assert math.isnan(score.freq_time)
    assert classifier.accepts(score)
    assert classifier.words == "S/N; there is no classifier"


RUNTIME = """
import os, time
class Asked:
    shape, name = ["batch", 32, 64, 1], "x"
class InferenceSession:
    n = 0
    def __init__(self, *_, **__): LOAD
    def get_inputs(self): return [Asked]
    def run(self, *_):
        self.n += 1
        if self.n > 1: FAIL
        return [[[0.1, 0.9]]]
class SessionOptions: pass
"""


@pytest.mark.parametrize(
    ("fails", "words", "is_gone"),
    [
        ("raise RuntimeError('no memory')", "RuntimeError: no memory", False),
        ("os._exit(9)", "its process died", True),
        ("time.sleep(60)", "no answer in 2 s", True),
    ],
)
def test_a_classifier_that_fails(synthetic, tmp_path, monkeypatch, fails, words, is_gone):
    """One that raises, dies or hangs: candidates are kept, ranked by S/N, and it is said; nothing waits for it."""
    (tmp_path / "onnxruntime.py").write_text(RUNTIME.replace("LOAD", "pass").replace("FAIL", fails))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a.onnx").write_bytes(b"x")
    classifier = Classifier(Classify(model_freqtime=str(tmp_path / "a.onnx")))
    if "no answer" in words:
        monkeypatch.setattr("mwaconvert.live.processing.classifier._LONGEST_S", 2.0)
    seen = Observation(
        task_id="7", source="f", datetimesource="d.f", start_s=0.0, duration_s=9.0, beam=0, source_beam=0,
        amber_dir=tmp_path, output_dir=tmp_path / "out",
    )  # fmt: skip
    cutter = Cutter(seen, Settings(), classifier)
    found, kept = extract(synthetic, wanted()), []
    entries = [
        {"wanted": vars(wanted()), **cutter.keep(replace(found, snr=snr), kept)} for snr in (20.0, 30.0, 40.0)
    ]
    scores = [score.freq_time for _, score in kept]
    assert scores[0] == pytest.approx(0.9)
    assert all(math.isnan(p) for p in scores[1:])
    assert classifier.problem == words
    assert words in classifier.words
    assert classifier.words.startswith("S/N; the classifier failed") == is_gone
    listed, problem = cutter.finish(entries, kept, (3, 0), tmp_path / "results", tmp_path / "local", None)
    assert [f.snr for f in listed] == [40.0, 30.0, 20.0]
    assert problem == ""


def test_a_node_whose_model_cannot_be_loaded_goes_on(tmp_path, monkeypatch):
    """It is degraded, says why, and cuts candidates out."""
    from mwaconvert.services.live.node import Site
    from mwaconvert.services.live.processes.processor import Processor

    (tmp_path / "onnxruntime.py").write_text(RUNTIME.replace("LOAD", "os._exit(3)").replace("FAIL", "pass"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a.onnx").write_bytes(b"x")
    of_model = {"classifier": {"model_freqtime": str(tmp_path / "a.onnx")}}
    state = {"state_dir": str(tmp_path / "state"), "node": "n"}
    processor = Processor(Site(settings_of({"processor": of_model, "network": state})))
    assert processor.trouble == {"classifier": "the classifier failed: its process died"}
    assert processor.numbers["ranked_by"] == "S/N; the classifier failed: its process died"
    assert math.isnan(processor.classifier.score(None).freq_time)


def test_scaling():
    picture = np.random.default_rng(1).normal(5, 3, (8, 64)).astype(np.float32)
    whole, rows = scaled(picture, by_channel=False), scaled(picture, by_channel=True)
    assert np.median(whole) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(np.median(rows, axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(rows.std(1), 1, rtol=1e-5)


def observation(tmp_path, beam=0, **more):
    facts = {
        "task_id": "1",
        "beam": beam,
        "start_s": 1.56e9,
        "duration_s": 300.0,
        "source": "<b>R1</b>",
        "source_beam": None,
        "datetimesource": "2019-05-18-23:51:13.R1",
        "amber_dir": tmp_path,
        "output_dir": tmp_path / "out",
        "pointings_deg": {0: (83.6, 22.0), 1: (84.0, 22.0)},
    }
    return Observation(**{**facts, **more})


def test_beams_put_together(tmp_path):
    """Beams that are missing, empty or damaged are named, and cost the others nothing."""
    folder = result_folder(tmp_path, observation(tmp_path))
    assert folder == tmp_path / "20190518" / "2019-05-18-23:51:13.R1"
    found = [Found(beam=0, snr=12, dm=50, time_s=1, width=5, synthesised=3, p=0.7)]
    write_lists(folder, 0, found, Counts(raw=9, clustered=3, thresholds=1, classified=1))
    write_lists(folder, 1, [replace(found[0], beam=1, p=math.nan)], Counts())
    (folder / "CB02_summary.yaml").write_text("")
    (folder / "CB03_summary.yaml").write_text("a: [1, 2")
    write_lists(folder, 4, found, Counts())
    (folder / "CB04_triggers.txt").write_text("04 x\n")
    assert read_lists(folder, 0)[1] == found
    merged = merge(folder, range(6))
    assert sorted(merged.counts) == [0, 1]
    assert sorted(merged.missing) == [2, 3, 4, 5]
    page = write_merged(
        folder, observation(tmp_path), merged, {"task.taskID": "1"}, galactic_dm=188.0, ranked_by="S/N"
    ).read_text()
    assert "&lt;b&gt;R1" in page
    assert "<b>" not in page
    assert "CB05 is missing" in page
    assert "1, by S/N behind the others" in page
    facts = json.loads((folder / "info.yaml").read_text())
    assert (facts["ymw16"], facts["task.taskID"]) == (188.0, "1")
    assert len((folder / "coordinates.txt").read_text().splitlines()) == 3


def test_reprocessing(darc, tmp_path):
    pytest.importorskip("h5py")
    pytest.importorskip("matplotlib")
    banks = tmp_path / "banks"
    banks.mkdir()
    (banks / "CB00_00.fil").symlink_to(darc / "synthetic" / "synthetic_CB00_00.fil")
    lines = ["# beam_id batch_id sample_id integration_step time DM_id DM SNR"]
    lines += [f"0 1 1 {w} {t} 1 {dm} 20" for dm, t, w, _ in BURSTS] + ["0 1 1 10 0.3 1 400 11", "nonsense"]
    path = tmp_path / "CB00_step1.trigger"
    path.write_text("\n".join(lines) + "\n")
    done = reprocess([path], observation(tmp_path), Settings(), banks, tmp_path / "results")
    assert [f.dm for f in done.found] == [50.0, 20.0]
    assert sum(done.refused.values()) == 1
    assert "1 lines are not candidates" in done.notes[0]
    counts, found = read_lists(tmp_path / "results", 0)
    assert counts == Counts(raw=3, clustered=3, thresholds=2, classified=2)
    assert len(found) == 2
    assert (tmp_path / "results" / "CB00.pdf").read_bytes().startswith(b"%PDF")
    assert len(list((tmp_path / "out" / "triggers_realtime" / "data").glob("*.hdf5"))) == 2


def test_reprocessing_says_that_the_classifier_failed(darc, tmp_path, monkeypatch):
    pytest.importorskip("h5py")
    (tmp_path / "onnxruntime.py").write_text(RUNTIME.replace("LOAD", "pass").replace("FAIL", "os._exit(9)"))
    monkeypatch.syspath_prepend(tmp_path)
    model = tmp_path / "a.onnx"
    model.write_bytes(b"x")
    banks = tmp_path / "banks"
    banks.mkdir()
    (banks / "CB00_00.fil").symlink_to(darc / "synthetic" / "synthetic_CB00_00.fil")
    path = tmp_path / "CB00_step1.trigger"
    lines = [f"0 1 1 {w} {t} 1 {dm} 20" for dm, t, w, _ in BURSTS]
    path.write_text(
        "\n".join(["# beam_id batch_id sample_id integration_step time DM_id DM SNR", *lines]) + "\n"
    )
    with_model = settings_of({"processor": {"classifier": {"model_freqtime": str(model)}}})
    done = reprocess([path], observation(tmp_path), with_model, banks, tmp_path / "results")
    assert sorted(math.isnan(f.p) for f in done.found) == [False, True]
    assert done.notes[0].endswith("ranked by S/N: the classifier failed: its process died")


def test_a_beam_without_data(tmp_path):
    cutter = Cutter(observation(tmp_path), Settings(), Classifier(Classify()))
    assert not cutter.has(wanted())
    assert cutter.cut(wanted()) is Refusal.NO_DATA
