"""Events with several beams, scripts and their modules, events from a service, and what is refused."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from chime import chime
from chime_files import noisy_event, write_event
from click.testing import CliRunner

from mwaconvert.cli.main import main
from mwaconvert.clients.frb_files import fetch_event
from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.frb.archive import Root, find_event
from mwaconvert.frb.closed import cascade
from mwaconvert.frb.closed.spectra import Spectra
from mwaconvert.frb.closed.spectra_utils import scale_chime_data

EVENT, DM = 9386707, 5.0


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two beams; the second has the brighter pulse."""
    folder = tmp_path_factory.mktemp("archive")
    for beam, snr in ((123, 0.3), (1123, 1.0)):
        write_event(folder, noisy_event(2, DM, nt=256, t0_s=0.2, snr=snr, seed=beam), beam=beam, nt=256)
    return folder


def test_the_brightest_beam(root, tmp_path):
    words = ("frb", "wfall", "--eventid", EVENT, "--dm", DM, "--root", root, "-o", tmp_path / "a.npz")
    done = run(*words, "--nsub", 64)
    assert done.exit_code == 0, done.output
    assert "beam 1123, 64 channels, 512 samples" in done.stdout
    assert "S/N by beam: 0123: " in done.stderr
    assert "exists" in run(*words, "--nsub", 64).stderr
    other = run(*words, "--nsub", 64, "--beam", 123, "--overwrite")
    assert "beam 0123" in other.stdout
    for more, problem in (
        (("--nsub", 100), "do not divide 16384 channels"),
        (("--nsub", 1), "--nsub 1: expected at least 2 sub-bands"),
        (("--nsub", 64, "--beam", 7), "no raw intensity of beam 0007, only of 0123, 1123"),
        (("--nsub", 64, "--beam", -7), "range"),
    ):
        refused = run(*words, "--overwrite", *more)
        assert (refused.exit_code, problem in refused.stderr) == (2, True), refused.output
    refused = run("frb", "wfall", "--eventid", "..", "--dm", DM, "--nsub", 64, "--root", root)
    assert "expected its number" in refused.stderr
    refused = run("frb", "wfall", "--eventid", 5, "--dm", DM, "--nsub", 64, "--root", root)
    assert "no raw intensity of it in the archive" in refused.stderr


@pytest.fixture
def archive(root, monkeypatch):
    monkeypatch.setattr(cascade, "ARCHIVE", cascade.Archive((Root("here", root),)))
    return cascade.ARCHIVE


def test_a_cascade_of_all_beams(archive):
    event = cascade.make_cascade_from_eventid(EVENT)
    assert event.beam_nos == [123, 1123]
    event.process_cascade(dm=DM, nsub=64, downsample_factor=4, zerodm=True)
    assert [beam.intensity.shape for beam in event.beams] == [(64, 128)] * 2
    assert {beam.dm for beam in event.beams} == {DM}
    assert event.max_beam is event.beams[0]
    with pytest.raises(InputError, match="beams 0123, 1123: give one"):
        cascade.make_cascade_from_eventid(EVENT, beams="max")
    with pytest.raises(InputError, match="expected max, all or numbers"):
        cascade.make_cascade_from_eventid(EVENT, beams="some")


def test_scripts_have_the_modules_to_themselves(tmp_path, root):
    (tmp_path / "helper.py").write_text("WORD = 'beside'\n")
    (tmp_path / "s.py").write_text(
        "import sys, helper\nfrom iautils import cascade, spectra, spectra_utils\nimport frb_common.common_utils as c\n"
        "print(__name__, sys.argv[1:], helper.WORD, c.freq_bottom_mhz, spectra.Spectra.__name__)\n"
        "try:\n    import iautils.secret\nexcept ModuleNotFoundError:\n    print('no more than that')\n"
        "sys.exit(5)\n"
    )
    command = [sys.executable, "-m", "mwaconvert", "frb", "run-script", "--root", str(root)]
    done = subprocess.run(
        [*command, tmp_path / "s.py", "--help", "-v"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "__main__ ['--help', '-v'] beside 400.1953125 Spectra\nno more than that\n"
    assert done.returncode == 5
    assert (
        subprocess.run([sys.executable, "-c", "import iautils"], capture_output=True, check=False).returncode
        == 1
    )
    (tmp_path / "t.py").write_text(
        "from iautils import cascade\ncascade.make_cascade_from_eventid(5, beams='max')\n"
    )
    refused = subprocess.run([*command, tmp_path / "t.py"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr == "mwaconvert: event 5: there is no raw intensity of it in the archive\n"


def test_semantics_of_spectra():
    """Weights 0 come round, zero-weight sums are 0, a no-op keeps NaN, K and the reference are those of the facts."""
    rng = np.random.default_rng(1)
    values = rng.standard_normal((64, 3000))
    spectra = Spectra(values, 400.1953125, 6.25, 0.0, 0.00098304)
    spectra.dedisperse(40.0)
    top = spectra.center_frequencies[-1]
    shifts = np.rint(40 / 2.41e-4 * (spectra.center_frequencies**-2.0 - top**-2.0) / 0.00098304).astype(int)
    for k in (0, 20, 63):
        np.testing.assert_array_equal(spectra.intensity[k], np.roll(values[k], -shifts[k]))
        assert (spectra.weights[k] == 0).sum() == shifts[k]
    spectra.dedisperse(30.0)  # below the present one
    spectra.dedisperse(0.0, padval=-7.0)
    assert (spectra.weights[0] == 0).sum() > 0
    assert spectra.intensity[0][spectra.weights[0] == 0].min() >= -7
    spectra.dedisperse(1e6)
    assert spectra.weights[:-1].max() == 0
    masked = Spectra(values, 400.0, 6.25, 0.0, 1e-3, weights=np.ones_like(values))
    masked.intensity[:8] = np.nan
    masked.weights[8:12] = 0
    masked.subband(64)
    assert np.isnan(masked.intensity[:8]).all()
    masked.subband(8)
    assert (masked.intensity[0] == 0).all()
    np.testing.assert_allclose(masked.intensity[1], values[12:16].mean(0))
    assert masked.weights[1].max() == 0.5
    assert (masked.df, masked.fbottom, masked.ftop) == (50.0, 400.0, 800.0)
    # the mean of a group of unit noise: variance 1 / group, as the tutorial's limit of 0.05 needs it
    assert masked.intensity[4].var() == pytest.approx(1 / 8, rel=0.1)
    masked.downsample(7)
    assert masked.nsamp == 428
    with pytest.raises(InputError, match="do not divide"):
        masked.subband(3)
    with pytest.raises(InputError, match="finite"):
        masked.dedisperse(np.nan)


def test_subbands_aligned_within():
    """The pulse of an undispersed waterfall is sharp in its sub-bands once they are aligned at its DM."""
    spectra = Spectra(np.zeros((1024, 400)), 400.0, 0.390625, 0.0, 1e-3)
    shifts = np.rint(10 / 2.41e-4 * (spectra.center_frequencies**-2.0 - 800.0**-2.0) / 1e-3).astype(int)
    spectra.intensity[np.arange(1024), 50 + shifts] = 1
    smeared = Spectra(spectra.intensity, 400.0, 0.390625, 0.0, 1e-3)
    smeared.subband(16)
    spectra.subband(16, dm=10.0)
    assert smeared.intensity[0].max() < 0.1
    assert spectra.intensity.max(1).min() > 0.4


def test_scales():
    rng = np.random.default_rng(2)
    values = rng.normal(100, 5, (4, 5000))
    values[1, 100:] = np.nan
    values[2] = 3
    for method, width in (("meanstd", 1), ("medianmad", 1), ("fractional", 0.05), ("presto", 1)):
        scaled = scale_chime_data(values, method)
        assert np.isnan(scaled[2]).all()
        assert np.isnan(scaled[1, 100:]).all()
        assert np.nanstd(scaled[0]) == pytest.approx(width, rel=0.05)
    with pytest.raises(ValueError, match="not a valid"):
        scale_chime_data(values, "other")


class Service(BaseHTTPRequestHandler):
    """The endpoints of chime-frb-api that matter here."""

    root: Path
    names: object = None
    beam: object = 1123
    tokens: list = []  # noqa: RUF012

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.tokens.append(self.headers.get("authorization"))
        if self.path.endswith(f"/v1/events/filenames/{EVENT}"):
            held = find_event(EVENT, [Root("here", self.root)]).holdings
            self.answer(self.names or [f"/{p.relative_to(self.root)}" for h in held for p in h.paths])
        elif self.path.endswith(f"/v1/events/{EVENT}"):
            realtime = {"pipeline": {"name": "realtime"}, "beam_number": self.beam}
            self.answer({"id": EVENT, "measured_parameters": [realtime]})
        else:
            self.send_error(404)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["filename"]
        body = (self.root / asked.lstrip("/")).read_bytes()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, what):
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def service(root):
    handler = type("Handler", (Service,), {"root": root, "tokens": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/frb-master", handler
        server.shutdown()


def test_through_the_service(service, tmp_path, monkeypatch):
    url, handler = service
    monkeypatch.setenv("CHIME_FRB_ACCESS_TOKEN", "abc")
    words = ("frb", "wfall", "--eventid", EVENT, "--dm", DM, "--nsub", 64, "--service", url)
    done = run(*words, "-o", tmp_path / "a.npz")
    assert done.exit_code == 0, done.output
    assert "beam 1123" in done.stdout
    assert set(handler.tokens) == {"abc"}
    monkeypatch.delenv("CHIME_FRB_ACCESS_TOKEN")
    monkeypatch.setenv("FRB_MASTER_ACCESS_TOKEN", "of-a-job")
    assert "beam 0123" in run(*words, "--beam", 123, "-o", tmp_path / "b.npz").stdout
    assert handler.tokens[-1] == "of-a-job"
    (tmp_path / "s.py").write_text(
        "import sys\nfrom iautils import cascade\n"
        "print(cascade.make_cascade_from_eventid(int(sys.argv[2]), beams='max').beam_nos)"
    )
    command = [sys.executable, "-m", "mwaconvert", "frb", "run-script", "--service", url, tmp_path / "s.py"]
    told = subprocess.run([*command, "--eventid", str(EVENT)], capture_output=True, text=True, check=False)
    assert told.stdout == "[1123]\n", told.stderr


def test_our_own_service(tmp_path, root, monkeypatch):
    """Events, names and bytes as `mwaconvert serve` gives them."""
    realtime = {
        "pipeline": {"name": "realtime"},
        "beam_number": 123,
        "datetime": "2018-07-25 17:59:43.000000",
    }
    with chime(tmp_path, roots=[f"site={root}"]) as running:
        client = running.client()
        known = {"id": EVENT, "beam_numbers": [123], "measured_parameters": [realtime]}
        assert client.call("POST", "/v1/events/", known).status == 200
        monkeypatch.setenv("CHIME_FRB_ACCESS_TOKEN", client.token)
        monkeypatch.setenv("CHIME_FRB_URL", running.url)
        words = ("frb", "wfall", "--eventid", EVENT, "--dm", DM, "--nsub", 64, "-o")
        done = run(*words, tmp_path / "a.npz")
        assert done.exit_code == 0, done.output
        assert "beam 0123" in done.stdout
        here = run(*words, tmp_path / "b.npz", "--root", root, "--beam", 123)
        assert here.exit_code == 0
        with np.load(tmp_path / "a.npz") as brought, np.load(tmp_path / "b.npz") as found:
            np.testing.assert_array_equal(brought["intensity"], found["intensity"])
        refused = run("frb", "wfall", "--eventid", 77, "--dm", DM, "--nsub", 64)
        assert (refused.exit_code, "event 77" in refused.stderr) == (2, True), refused.output


def test_services_that_are_not_to_be_trusted(service, tmp_path):
    url, handler = service
    with pytest.raises(InputError, match=r"event 5: .* does not have it \(404: Not Found\)"):
        fetch_event(url, 5, tmp_path)
    for beam in ("../../etc", [1], None, 7):
        handler.beam = beam
        with pytest.raises(InputError, match="the brightest beam is not known: give one"):
            fetch_event(url, EVENT, tmp_path)
    with pytest.raises(InputError, match="the brightest beam is not known: give one"):
        fetch_event(url, EVENT, tmp_path)
    base = f"/data/chime/intensity/raw/2018/07/25/astro_{EVENT}/0123/"
    for bad in ("../../../../../../../../../x.msgpack", "/x.msgpack", "a/../x.msgpack"):
        handler.names = [base + bad]
        with pytest.raises(InputError, match="has no raw intensity"):
            fetch_event(url, EVENT, tmp_path)
    handler.names = {"a": 1}
    with pytest.raises(FormatError, match="expected a list of names"):
        fetch_event(url, EVENT, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ResourceError, match="no answer"):
        fetch_event("http://127.0.0.1:9/frb-master", EVENT, tmp_path)
