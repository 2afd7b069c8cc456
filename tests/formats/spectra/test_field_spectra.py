"""Files of the field: small inputs that troubled readers, with the answers of their README, and brothers of each."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from filterbanks import header, write_fil

from mwaconvert import transients
from mwaconvert.cli.main import main
from mwaconvert.errors import FormatError, InputError
from mwaconvert.formats.spectra.choices import Choices
from mwaconvert.formats.spectra.presto import SeriesInfo, read_info, read_series, write_series
from mwaconvert.formats.spectra.reader import open_stream
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.formats.spectra.wfall import read_wfall, write_wfall
from mwaconvert.spectra.recording import Frame, Recording
from mwaconvert.transients import products
from mwaconvert.transients.products import DedisperseRequest, SearchRequest

FREQ_MHZ, DT_S = 1500.0 - 4 * np.arange(64), 1e-3


@pytest.fixture
def field(filterbanks: Path) -> Path:
    """Folder of small inputs that trouble a search."""
    folder = filterbanks / "field" / "transients"
    if not folder.is_dir():
        pytest.skip(f"reference data not found at {folder}")
    return folder


#: files of the README that other tests here read
ELSEWHERE = {"agc_step_only.fil", "blk_b.fil", "zerodm_iqrm_noise.fil", "chime_wfall.npz"}
PULSES = [
    ("kw_npuls.fil", 48.55, 1.501, "skipped: npuls"),
    ("your_empty_source.fil", 48.55, 1.501, ""),
    ("freqtab_unordered.fil", 48.55, 1.501, "sorted by frequency"),
    ("nbits16_signed.fil", 49.9, 1.501, ""),
    ("f32_1e20.fil", 48.57, 1.501, ""),
    ("bary.fil", 48.55, 1.501, ""),
    ("pf_npol2_XXYY.sf", 35.2, 1.501, ""),
    ("pf_wts_nan.sf", 48.55, 1.501, "1 of 1024 channels of rows"),
    ("pf_dropped_first.sf", 47.9, 0.989, ""),
]


def test_every_file_is_read_and_has_a_test(field):
    """A file that is added needs its right answer here; those of the README are all there."""
    names = {path.name for path in field.iterdir() if path.suffix != ".md"}
    assert names == ELSEWHERE | {name for name, *_ in PULSES}
    table = (field / "README.md").read_text()
    for name in names:
        assert f"| {name} |" in table
        spectra = transients.open(field / name)
        assert spectra.n_chan == 64


@pytest.mark.parametrize(("name", "snr", "time_s", "note"), PULSES)
def test_the_pulse_of_every_file_is_found(field, name, snr, time_s, note):
    report = products.run(SearchRequest(path=field / name, dm_min=50, dm_max=150, scale=True, raw=True))
    best = report.candidates[0]
    assert best.snr == pytest.approx(snr, rel=0.01)
    assert best.time_s == pytest.approx(time_s, abs=1.5e-3)
    assert best.dm == pytest.approx(100, abs=1.5)
    assert note in " ".join(report.notes)


def test_what_cleaning_makes_of_steps_and_of_any_scale(field):
    """By default: a step of the gain is not a candidate, nor hides a pulse; numbers may be of any size."""

    def found(name, **options):
        return products.run(SearchRequest(path=field / name, dm_min=0, dm_max=200, **options)).candidates

    assert found("agc_step_only.fil") == ()
    assert found("zerodm_iqrm_noise.fil", zero_dm=True) == ()
    assert found("zerodm_iqrm_noise.fil", zero_dm=True, iqrm=True) == ()
    (pulse,) = found("blk_b.fil")
    assert pulse.time_s == pytest.approx(1.501, abs=1.5e-3)
    assert pulse.snr == pytest.approx(10.4, abs=1.0)
    assert found("f32_1e20.fil")[0].snr == pytest.approx(48.57, rel=0.02)


def test_rows_that_were_lost_at_the_start_move_it(field):
    stream = open_stream(field / "pf_dropped_first.sf")
    assert stream.start_mjd == pytest.approx(59000.0000059259, abs=5e-11)


def test_an_npz_with_a_frequency_for_each_channel(field):
    read = read_wfall(field / "chime_wfall.npz")
    assert (read.n_chan, read.n_times, read.dm) == (64, 200, 348.8)
    assert read.freq_mhz[[0, -1]].tolist() == [400.2, 799.8]
    assert (read.spectra().weights == 0).sum() == 800


# -- SIGPROC: brothers


def sigproc(tmp_path: Path, extra: bytes = b"", **keys) -> Path:
    data = np.random.default_rng(1).integers(0, 200, (64, 50)).astype(np.uint8)
    path = write_fil(tmp_path / "a.fil", data, FREQ_MHZ, DT_S, **keys)
    raw = path.read_bytes()
    at = raw.index(b"\x0a\0\0\0HEADER_END")
    path.write_bytes(raw[:at] + extra + raw[at:])
    return path


def word(text: str) -> bytes:
    return len(text).to_bytes(4, "little") + text.encode()


@pytest.mark.parametrize(
    "value",
    [
        (7).to_bytes(4, "little"),
        (0).to_bytes(4, "little"),
        (300).to_bytes(8, "little"),
        np.float64(-1.25).tobytes(),
        np.float64(1.3e-3).tobytes(),
        word("text of some length"),
        word("four"),
        word("x" * 900),
        word(""),
        b"\1",
        b"",
    ],
)
@pytest.mark.parametrize("after", [b"", word("nbeams") + (3).to_bytes(4, "little")])
def test_unknown_keywords_of_any_shape(tmp_path, value, after):
    stream = open_stream(sigproc(tmp_path, word("colour") + value + after))
    assert stream.n_times == 50
    assert "unknown keywords of the header were skipped: colour" in stream.notes
    assert stream.recording.n_beams == (3 if after else 0)


def test_an_unknown_keyword_without_an_end_is_refused(tmp_path):
    with pytest.raises(FormatError, match="unknown keyword 'colour', of unknown length"):
        open_stream(sigproc(tmp_path, word("colour") + b"\xff" * 11))


@pytest.mark.parametrize("source", ["", "x" * 81, "/a/path/" * 100])
def test_names_of_any_length(tmp_path, source):
    stream = open_stream(sigproc(tmp_path, source_name=source))
    assert stream.source == source
    with FilterbankWriter(tmp_path / "b.fil", stream.freq_mhz, DT_S, 8, source=stream.source) as writer:
        writer.write(stream.spectra().data)
    assert open_stream(tmp_path / "b.fil").source == source[:80]


@pytest.mark.parametrize("n_bits", [2, 4, 8, 16])
def test_signed_numbers_of_every_width(tmp_path, n_bits):
    half = 1 << (n_bits - 1)
    values = np.random.default_rng(2).integers(-half, half, (30, 64))
    if n_bits < 8:
        per = 8 // n_bits
        shifts = np.arange(per) * n_bits
        raw = ((values.reshape(30, -1, per) & (2 * half - 1)) << shifts).sum(-1).astype(np.uint8)
    else:
        raw = values.astype(f"<i{n_bits // 8}")
    keys = {
        "nchans": 64,
        "nbits": n_bits,
        "nifs": 1,
        "tsamp": DT_S,
        "fch1": 1500.0,
        "foff": -4.0,
        "signed": b"\1",
    }
    (tmp_path / "a.fil").write_bytes(header(**keys) + raw.tobytes())
    np.testing.assert_array_equal(transients.open(tmp_path / "a.fil").data[::-1].T, values)


def test_a_sign_of_one_bit_means_nothing(tmp_path):
    keys = {"nchans": 8, "nbits": 1, "nifs": 1, "tsamp": DT_S, "fch1": 1500.0, "foff": -4.0, "signed": b"\1"}
    (tmp_path / "a.fil").write_bytes(header(**keys) + b"\x01")
    assert transients.open(tmp_path / "a.fil").data[:, 0].tolist() == [0] * 7 + [1]


def test_frequencies_in_any_order(tmp_path):
    order = np.random.default_rng(3).permutation(64)
    data = np.tile(np.arange(64, dtype=np.uint8)[order][:, None], (1, 20))
    path = write_fil(tmp_path / "a.fil", data, FREQ_MHZ, DT_S, table=(1200.0 + order).tolist())
    read = transients.open(path)
    np.testing.assert_array_equal(read.freq_mhz, 1200 + np.arange(64.0))
    np.testing.assert_array_equal(read.data[:, 3], np.arange(64))
    with pytest.raises(FormatError, match="each at its own"):
        transients.open(
            write_fil(tmp_path / "b.fil", data, FREQ_MHZ, DT_S, table=[1400.0, 1400.0, *FREQ_MHZ[2:]])
        )


@pytest.mark.parametrize(("said", "words"), [(49, "all were read"), (52, "it may be cut"), (50, "")])
def test_a_number_of_samples_that_is_off_by_a_little(tmp_path, said, words):
    stream = open_stream(sigproc(tmp_path, nsamples=said))
    assert stream.n_times == 50
    assert words in " ".join(stream.notes)
    assert bool(stream.notes) == bool(words)


def test_one_of_two_ifs(tmp_path):
    data = np.random.default_rng(3).integers(0, 100, (32, 40)).astype(np.uint8)
    path = write_fil(tmp_path / "a.fil", data, FREQ_MHZ[:16], DT_S, nchans=16, nifs=2)
    both = [transients.open(path, choices=Choices(pol=k)).data for k in (0, 1)]
    np.testing.assert_array_equal(both[1], data[16:][::-1])
    np.testing.assert_array_equal(transients.open(path).data, both[0].astype(float) + both[1])
    with pytest.raises(InputError, match="no IF 2"):
        transients.open(path, choices=Choices(pol=2))
    with pytest.raises(InputError, match="`use_weights` could choose"):
        transients.open(path, choices=Choices(use_weights=False))


# -- what is known of a recording goes through every conversion

FACTS = {
    "telescope_id": 21,
    "src_raj": 161538.22,
    "src_dej": -1214.966,
    "ibeam": 5,
    "nbeams": 19,
    "az_start": 10.5,
    "za_start": 20.25,
}
KNOWN = Recording.of_sigproc(FACTS | {"barycentric": 1})


@pytest.mark.parametrize("suffix", [".fil", ".h5", ".npz", ".dat"])
@pytest.mark.parametrize("frame", [Frame.TOPOCENTRIC, Frame.BARYCENTRIC])
def test_telescope_direction_beam_and_frame_are_kept(tmp_path, suffix, frame):
    source = sigproc(tmp_path, **FACTS, barycentric=int(frame is Frame.BARYCENTRIC))
    target = tmp_path / f"b{suffix}"
    products.run(DedisperseRequest(path=source, dm=0, output=target))
    recording, said = open_stream(target).recording, KNOWN
    assert (recording.telescope, recording.frame) == ("FAST", frame)
    assert recording.ra_deg == pytest.approx(said.ra_deg, abs=1e-7)
    assert recording.dec_deg == pytest.approx(said.dec_deg, abs=1e-7)
    if suffix != ".dat":  # which has no place for beams
        assert (recording.beam, recording.n_beams, recording.az_deg, recording.za_deg) == (5, 19, 10.5, 20.25)
    back = tmp_path / "back.fil"
    products.run(DedisperseRequest(path=target, dm=0, output=back))
    again = open_stream(back)
    assert (again.recording.telescope, again.recording.frame) == ("FAST", frame)
    assert again.recording.ra_deg == pytest.approx(said.ra_deg, abs=1e-7)
    assert again.recording.dec_deg == pytest.approx(said.dec_deg, abs=1e-7)
    assert ("not UTC" in again.facts()["start"]) == (frame is Frame.BARYCENTRIC)


def test_what_is_known_is_told(tmp_path):
    source = sigproc(tmp_path, **FACTS, barycentric=1)
    report = products.run(DedisperseRequest(path=source, dm=0, output=tmp_path / "b.fil")).to_dict()
    (told,) = report["inputs"]
    assert (told["frame"], told["telescope"], told["beam"]) == ("barycentric", "FAST", 5)
    assert told["ra_deg"] == pytest.approx(243.90925)
    printed = CliRunner().invoke(main, ["fil-info", str(source)]).output
    assert "(barycentric, not UTC)" in printed
    assert "RA 16:15:38.2200, Dec -00:12:14.9660 (J2000)" in printed
    facts = json.loads(CliRunner().invoke(main, ["fil-info", str(source), "--json"]).output)
    assert (facts["recording"]["n_beams"], facts["recording"]["frame"]) == (19, "barycentric")


def test_numbers_that_have_no_name_are_kept(tmp_path):
    source = sigproc(tmp_path, telescope_id=77, machine_id=12, pulsarcentric=1)
    products.run(DedisperseRequest(path=source, dm=0, output=tmp_path / "b.fil"))
    head = open_stream(tmp_path / "b.fil").fields
    assert (head["telescope_id"], head["machine_id"], head["pulsarcentric"]) == (77, 12, 1)


# -- PSRFITS: brothers


def psrfits(
    path: Path,
    values: np.ndarray,
    *,
    pol_type: str = "AA+BB",
    n_bits: int = 8,
    scale: np.ndarray | float = 1.0,
    offset: float = 0.0,
    weights: np.ndarray | float = 1.0,
    freq_mhz: np.ndarray | None = FREQ_MHZ,
    middles: np.ndarray | None = None,
    table_keys: dict | None = None,
    primary_keys: dict | None = None,
) -> Path:
    """values (n_row, n_block, n_pol, n_chan)."""
    n_row, n_block, n_pol, n_chan = values.shape
    if n_bits < 8:
        per = 8 // n_bits
        shifts = np.arange(per)[::-1] * n_bits
        raw = ((values.reshape(n_row, -1, per) & ((1 << n_bits) - 1)) << shifts).sum(-1).astype(np.uint8)
    else:
        raw = values.astype({8: "u1", 16: ">i2", 32: ">f4"}[n_bits]).reshape(n_row, -1)
    kind = {16: "I", 32: "E"}.get(n_bits, "B")
    middles = (np.arange(n_row) + 0.5) * n_block * DT_S if middles is None else middles
    columns = [
        fits.Column("OFFS_SUB", "1D", array=middles),
        fits.Column("DAT_WTS", f"{n_chan}E", array=np.broadcast_to(weights, (n_row, n_chan))),
        fits.Column("DAT_OFFS", f"{n_chan * n_pol}E", array=np.full((n_row, n_chan * n_pol), offset)),
        fits.Column("DAT_SCL", f"{n_chan * n_pol}E", array=np.broadcast_to(scale, (n_row, n_chan * n_pol))),
        fits.Column("DATA", f"{raw.shape[1]}{kind}", array=raw),
    ]
    if freq_mhz is not None:
        columns.append(fits.Column("DAT_FREQ", f"{n_chan}D", array=np.tile(freq_mhz, (n_row, 1))))
    table = fits.BinTableHDU.from_columns(columns, name="SUBINT")
    table.header.update({"NCHAN": n_chan, "NPOL": n_pol, "NBITS": n_bits, "NSBLK": n_block, "TBIN": DT_S})
    table.header.update({"POL_TYPE": pol_type} | (table_keys or {}))
    primary = fits.PrimaryHDU()
    primary.header.update({"OBS_MODE": "SEARCH", "STT_IMJD": 59000, "STT_SMJD": 10, "STT_OFFS": 0.5})
    primary.header.update(primary_keys or {})
    fits.HDUList([primary, table]).writeto(path, overwrite=True)
    return path


def stokes(n_pol: int, seed: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 100, (2, 16, n_pol, 64))


@pytest.mark.parametrize(
    ("pol_type", "n_pol", "summed"),
    [
        ("AABB", 2, [0, 1]),
        ("XXYY", 2, [0, 1]),
        ("LLRR", 2, [0, 1]),
        ("AABBCRCI", 4, [0, 1]),
        ("XXYYCRCI", 4, [0, 1]),
        ("XXXYYXYY", 4, [0, 3]),
        ("IQUV", 4, [0]),
        ("QUIV", 4, [2]),
        ("INTEN", 1, [0]),
        ("", 2, [0, 1]),
        ("", 4, [0]),
    ],
)
def test_polarisations_are_summed_to_intensity(tmp_path, pol_type, n_pol, summed):
    values = stokes(n_pol)
    path = psrfits(tmp_path / "a.sf", values, pol_type=pol_type)
    read = transients.open(path)
    want = values[:, :, summed].sum(2).reshape(32, 64)
    np.testing.assert_array_equal(read.data[::-1].T, want)
    assert ("see `pol`" in " ".join(read.notes)) == (not pol_type)
    last = transients.open(path, choices=Choices(pol=n_pol - 1))
    np.testing.assert_array_equal(last.data[::-1].T, values[:, :, -1].reshape(32, 64))
    with pytest.raises(InputError, match=f"no polarisation {n_pol}"):
        transients.open(path, choices=Choices(pol=n_pol))


@pytest.mark.parametrize("n_bits", [2, 4, 8, 16])
def test_signint(tmp_path, n_bits):
    half = 1 << (n_bits - 1)
    values = np.random.default_rng(5).integers(-half, half, (2, 16, 1, 64))
    path = psrfits(tmp_path / "a.sf", values, n_bits=n_bits, table_keys={"SIGNINT": 1})
    np.testing.assert_array_equal(transients.open(path).data[::-1].T, values.reshape(32, 64))


def test_sixteen_bits_without_a_sign_as_fits_says_it(tmp_path):
    values = np.random.default_rng(5).integers(0, 65536, (2, 16, 1, 64))
    path = psrfits(tmp_path / "a.sf", values - 32768, n_bits=16)
    with fits.open(path, mode="update", disable_image_compression=True) as hdus:
        hdus[1].header["TZERO5"] = 32768
    np.testing.assert_array_equal(transients.open(path).data[::-1].T, values.reshape(32, 64))


def test_weights_and_scales_that_are_no_numbers(tmp_path):
    values, scale = stokes(1), np.full((2, 64), 2.0)
    weights = np.ones((2, 64))
    weights[0, 3], weights[1, 5], scale[0, 7], scale[1, 9] = np.nan, -1, np.inf, 0
    path = psrfits(tmp_path / "a.sf", values, weights=weights, scale=scale, offset=1.0)
    read = transients.open(path)
    want = np.ones((2, 64), bool)
    want[[0, 1, 0, 1], [3, 5, 7, 9]] = False
    np.testing.assert_array_equal(read.weights[::-1].T > 0, np.repeat(want, 16, axis=0))
    good = np.repeat(want, 16, axis=0)
    np.testing.assert_array_equal(read.data[::-1].T[good], (2 * values.reshape(32, 64) + 1)[good])
    assert len(read.notes) == 2
    plain = transients.open(path, choices=Choices(use_weights=False, use_scales=False, use_offsets=False))
    np.testing.assert_array_equal(plain.data[::-1].T, values.reshape(32, 64))
    assert plain.weights is None
    assert plain.data.dtype == np.uint8


@pytest.mark.parametrize("name", ["weights", "scale"])
def test_zeros_everywhere_are_not_believed(tmp_path, name):
    values = stokes(1)
    read = transients.open(psrfits(tmp_path / "a.sf", values, **{name: 0.0}))
    np.testing.assert_array_equal(read.data[::-1].T, values.reshape(32, 64))
    assert read.weights is None
    assert "of the file are 0 and were taken as 1" in read.notes[0]


@pytest.mark.parametrize("freq_mhz", [None, np.zeros(64), np.full(64, np.nan), np.full(64, 1400.0)])
def test_frequencies_from_the_primary_header(tmp_path, freq_mhz):
    keys = {"OBSFREQ": 1374.0, "OBSBW": -256.0}
    read = open_stream(psrfits(tmp_path / "a.sf", stokes(1), freq_mhz=freq_mhz, primary_keys=keys))
    np.testing.assert_allclose(read.freq_mhz[::-1], FREQ_MHZ)
    assert read.descending
    assert "OBSFREQ" in read.notes[0]
    with pytest.raises(FormatError, match="no OBSFREQ and OBSBW"):
        open_stream(psrfits(tmp_path / "a.sf", stokes(1), freq_mhz=freq_mhz))


def test_channels_of_psrfits_in_any_order(tmp_path):
    order = np.random.default_rng(6).permutation(64)
    values = stokes(1)
    read = transients.open(psrfits(tmp_path / "a.sf", values, freq_mhz=FREQ_MHZ[order]))
    np.testing.assert_array_equal(read.data[::-1].T[:, order], values.reshape(32, 64))


ROW_S = 16 * DT_S


@pytest.mark.parametrize(
    ("first_s", "before", "start_s"),
    [
        (ROW_S / 2, 0, 0.0),
        (2.5 * ROW_S, 0, 2 * ROW_S),  # two rows lost
        (10.5 * ROW_S, 10, 10 * ROW_S),  # counted from the start of the first file
        (12.5 * ROW_S, 10, 12 * ROW_S),  # the same, and two rows lost
        (ROW_S / 2, 10, 10 * ROW_S),  # counted from the start of this file
        (0.0, 0, 0.0),  # never filled in
    ],
)
def test_where_the_first_row_begins(tmp_path, first_s, before, start_s):
    middles = first_s + np.arange(2) * ROW_S if first_s else np.zeros(2)
    read = open_stream(
        psrfits(tmp_path / "a.sf", stokes(1), middles=middles, table_keys={"NSUBOFFS": before})
    )
    assert (read.start_mjd - 59000) * 86400 == pytest.approx(10.5 + start_s, abs=2e-6)


def test_what_psrfits_says_of_the_recording(tmp_path):
    keys = {
        "TELESCOP": "Effelsberg",
        "BACKEND": "PFFTS",
        "RA": "16:15:38.22",
        "DEC": "-00:12:14.966",
        "IBEAM": "3",
    }
    recording = open_stream(psrfits(tmp_path / "a.sf", stokes(1), primary_keys=keys)).recording
    assert (recording.telescope, recording.backend, recording.beam) == ("Effelsberg", "PFFTS", 3)
    assert recording.ra_deg == pytest.approx(243.90925, abs=1e-9)
    assert recording.dec_deg == pytest.approx(-0.204157222, abs=1e-9)


# -- parts of a file, and files of one observation


def pieces(tmp_path: Path, *firsts: int) -> tuple[list[Path], np.ndarray]:
    data = np.random.default_rng(7).integers(0, 100, (64, 300)).astype(np.uint8)
    paths = []
    for k, first in enumerate(firsts):
        mjd = 59000.0 + first * DT_S / 86400
        paths.append(
            write_fil(tmp_path / f"{k}.fil", data[:, first : first + 100], FREQ_MHZ, DT_S, tstart=mjd)
        )
    return paths, data[::-1]


def test_files_of_one_observation(tmp_path):
    paths, data = pieces(tmp_path, 100, 0, 200)
    read = transients.open(paths)
    np.testing.assert_array_equal(read.data, data)
    assert (read.weights, read.start_mjd) == (None, 59000.0)
    gap = transients.open([paths[1], paths[2]])
    assert gap.n_times == 300
    np.testing.assert_array_equal(gap.weights[5], np.repeat([1, 0, 1], 100))
    np.testing.assert_array_equal(gap.data[:, 200:], data[:, 200:])
    stream = open_stream([paths[1], paths[2]])
    part, weights = stream.read(90, 120)
    np.testing.assert_array_equal(part[:, :10], data[:, 90:100])
    np.testing.assert_array_equal(weights[0], np.repeat([1, 0, 1], [10, 100, 10]))


def test_files_that_do_not_belong_together(tmp_path):
    paths, data = pieces(tmp_path, 0, 50)
    with pytest.raises(InputError, match=r"begins 0\.05 s before the end of"):
        transients.open(paths)
    other = write_fil(tmp_path / "c.fil", data[:, :100].copy(), FREQ_MHZ + 1, DT_S)
    with pytest.raises(InputError, match="not of one observation"):
        transients.open([paths[0], other])


def test_a_part_of_a_file(tmp_path):
    paths, data = pieces(tmp_path, 0, 100, 200)
    out = tmp_path / "part.fil"
    request = DedisperseRequest(
        path=paths[0], continued=tuple(paths[1:]), dm=0, start_s=0.0505, end_s=0.2495, output=out
    )
    report = products.run(request)
    read = transients.open(out)
    np.testing.assert_array_equal(read.data, data[:, 50:250])
    assert read.start_mjd == pytest.approx(59000 + 0.05 / 86400, abs=1e-11)
    assert "times are counted from 0.050000 s" in " ".join(report.notes)
    for start_s, end_s, message in (
        (5.0, None, "the data last 0.3 s"),
        (0.2, 0.1, "above 0.2"),
        (-1, None, "start"),
    ):
        with pytest.raises(InputError, match=message):
            products.run(replace(request, output=tmp_path / "no.fil", start_s=start_s, end_s=end_s))


# -- series of PRESTO


@pytest.mark.parametrize("n", [10, 11])
def test_a_dat_file_has_an_even_number_of_samples(tmp_path, n):
    info = SeriesInfo(DT_S, 0, 10.0, 1200.0, 1.0, 4, 59000.0, ra_deg=243.90925, dec_deg=-0.25)
    assert write_series(tmp_path / "a.dat", info, [np.arange(float(n), dtype=np.float32)]) == 10
    read, values = read_series(tmp_path / "a.dat")
    assert (read.n_times, values.tolist()) == (10, list(range(10)))
    assert (read.ra_deg, read.dec_deg) == (pytest.approx(243.90925, abs=1e-9), -0.25)
    assert read_info(tmp_path / "a.inf").ra_deg == read.ra_deg


def test_a_waterfall_without_facts_has_none(tmp_path):
    spectra = transients.Spectra(np.ones((4, 10)), 400.0 + np.arange(4), DT_S)
    write_wfall(tmp_path / "a.npz", spectra)
    assert read_wfall(tmp_path / "a.npz").recording == Recording()
    with np.load(tmp_path / "a.npz") as arrays:
        assert "telescope" not in arrays.files
