"""Measurement sets read back with python-casacore, pyuvdata and (external) WSClean."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_header import make_blocks, make_header, uvw_m

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.formats.visibilities.ms import MeasurementSetWriter
from mwaconvert.visibilities.model import Block, VisHeader

pytest.importorskip("arcae")
casacore = pytest.importorskip("casacore.tables")

ONE = (((0, 1), 4),)
#: windows of different and of equal numbers of channels
THREE = (((0,), 4), ((1, 2), 8), ((3,), 4))


def write_ms(path: Path, header: VisHeader, *, rows: int | None = None, **options: Any) -> list[Block]:
    """Write made-up blocks, return them whole."""
    writer = MeasurementSetWriter(path, header, threads=2)
    for block in make_blocks(header, rows=rows, **options):
        writer.write(block)
    writer.close()
    return list(make_blocks(header, **options))


@pytest.fixture(scope="module", params=[(ONE, None), (ONE, 4), (THREE, None), (THREE, 5)], ids=str)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    windows, rows = request.param
    path = tmp_path_factory.mktemp("ms") / "out.ms"
    header = make_header(n_antennas=5, windows=windows, last_interval_s=1.0)
    blocks = write_ms(path, header, rows=rows)
    return path, header, blocks


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("ms") / "three.ms"
    header = make_header(n_antennas=5, windows=THREE, last_interval_s=1.0)
    return path, header, write_ms(path, header)


def table(path: Path, name: str = "") -> Any:
    return casacore.table(str(path / name), ack=False)


# The main table


def test_main_columns(written: Any) -> None:
    path, header, blocks = written
    windows = header.spectral_windows
    n_bl, n_times = len(header.antenna1), len(header.time_mjd)
    main = table(path)
    assert main.nrows() == n_times * len(windows) * n_bl

    def slow(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, len(windows) * n_bl)

    def fast(values: np.ndarray) -> np.ndarray:
        return np.tile(values, n_times * len(windows))

    day = 86400.0
    expected = {
        "TIME": slow(header.time_mjd * day),
        "TIME_CENTROID": slow(header.centroid_mjd * day),
        "INTERVAL": slow(header.interval_s),
        "EXPOSURE": slow(header.exposure_s),
        "ANTENNA1": fast(header.antenna1),
        "ANTENNA2": fast(header.antenna2),
        "DATA_DESC_ID": np.tile(np.repeat(np.arange(len(windows)), n_bl), n_times),
        "UVW": np.concatenate([uvw_m(header)[t] for t in range(n_times) for _ in windows]),
        "SIGMA": np.ones((main.nrows(), 4)),
        "SCAN_NUMBER": slow(np.ones(n_times)),
        "PROCESSOR_ID": slow(-np.ones(n_times)),
        "STATE_ID": slow(-np.ones(n_times)),
    }
    for name in ("ARRAY_ID", "FEED1", "FEED2", "FIELD_ID", "OBSERVATION_ID"):
        expected[name] = slow(np.zeros(n_times))
    for name, values in expected.items():
        np.testing.assert_array_equal(main.getcol(name), values, err_msg=name)

    row = 0
    for block in blocks:
        for window in windows:
            vis, weight = block.vis[:, window.channels], block.weight[:, window.channels]
            for name, values in {
                "DATA": vis,
                "WEIGHT_SPECTRUM": np.abs(weight),
                "FLAG": np.signbit(weight),
                "WEIGHT": np.abs(weight).sum(axis=1, dtype=np.float64).astype(np.float32),
                "FLAG_ROW": np.signbit(weight).all(axis=(1, 2)),
            }.items():
                found = main.getcol(name, row, n_bl)
                np.testing.assert_array_equal(found, values, err_msg=name)
                assert found.dtype == values.dtype
            row += n_bl
    assert main.getcol("FLAG_ROW").any()
    assert not np.signbit(main.getcell("WEIGHT_SPECTRUM", 0)).any()


def test_keywords_of_the_main_table(three: Any) -> None:
    path, header, _ = three
    keywords = table(path).getkeywords()
    assert keywords["MS_VERSION"] == 2.0
    assert keywords["UT1UTC"] == header.dut1_s
    assert keywords["MWA_FIBER_VEL_FACTOR"] == 1.204
    assert keywords["MWA_METADATA_VERSION"] == "2.4"
    names = {name for name, value in keywords.items() if str(value).startswith("Table: ")}
    assert names == {
        *("ANTENNA", "DATA_DESCRIPTION", "FEED", "FIELD", "FLAG_CMD", "HISTORY", "OBSERVATION", "POINTING"),
        *("POLARIZATION", "PROCESSOR", "SOURCE", "SPECTRAL_WINDOW", "STATE"),
        *("MWA_TILE_POINTING", "MWA_SUBBAND"),
    }
    assert "Measurement Set" in (path / "table.info").read_text()
    assert table(path).getcolkeyword("FLAG_CATEGORY", "CATEGORY") == []


def test_moved_measurement_set_finds_its_tables(three: Any, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.ms"
    shutil.copytree(three[0], moved)
    assert table(moved).getkeyword("MWA_SUBBAND") == f"Table: {moved}/MWA_SUBBAND"


UTC = {"type": "epoch", "Ref": "UTC"}
J2000 = {"type": "direction", "Ref": "J2000"}
ITRF = {"type": "position", "Ref": "ITRF"}


@pytest.mark.parametrize(
    ("name", "column", "units", "measure"),
    [
        ("", "TIME", ["s"], UTC),
        ("", "TIME_CENTROID", ["s"], UTC),
        ("", "INTERVAL", ["s"], None),
        ("", "EXPOSURE", ["s"], None),
        ("", "UVW", ["m"] * 3, {"type": "uvw", "Ref": "J2000"}),
        ("ANTENNA", "POSITION", ["m"] * 3, ITRF),
        ("ANTENNA", "OFFSET", ["m"] * 3, ITRF),
        ("ANTENNA", "DISH_DIAMETER", ["m"], None),
        ("ANTENNA", "MWA_CABLE_LENGTH", ["m"], None),
        ("FEED", "TIME", ["s"], UTC),
        ("FEED", "RECEPTOR_ANGLE", ["rad"], None),
        ("FEED", "BEAM_OFFSET", ["rad"] * 2, J2000),
        ("FIELD", "PHASE_DIR", ["rad"] * 2, J2000),
        ("FIELD", "DELAY_DIR", ["rad"] * 2, J2000),
        ("FIELD", "REFERENCE_DIR", ["rad"] * 2, J2000),
        ("FIELD", "TIME", ["s"], UTC),
        ("HISTORY", "TIME", ["s"], UTC),
        ("OBSERVATION", "TIME_RANGE", ["s"], UTC),
        ("OBSERVATION", "MWA_DATE_REQUESTED", ["s"], UTC),
        ("OBSERVATION", "MWA_GPS_TIME", ["s"], None),
        ("OBSERVATION", "TELESCOPE_LOCATION", ["m"] * 3, ITRF),
        ("SOURCE", "TIME", ["s"], UTC),
        ("SOURCE", "DIRECTION", ["rad"] * 2, J2000),
        ("SPECTRAL_WINDOW", "CHAN_WIDTH", ["Hz"], None),
        ("SPECTRAL_WINDOW", "EFFECTIVE_BW", ["Hz"], None),
        ("SPECTRAL_WINDOW", "RESOLUTION", ["Hz"], None),
        ("SPECTRAL_WINDOW", "TOTAL_BANDWIDTH", ["Hz"], None),
        ("MWA_TILE_POINTING", "INTERVAL", ["s"], UTC),
        ("MWA_TILE_POINTING", "DIRECTION", ["rad"] * 2, J2000),
    ],
)
def test_units_and_measures(
    three: Any, name: str, column: str, units: list[str], measure: dict[str, str] | None
) -> None:
    keywords = table(three[0], name).getcolkeywords(column)
    assert keywords["QuantumUnits"] == units
    assert keywords.get("MEASINFO") == measure


def test_frequency_measure(three: Any) -> None:
    for column in ("CHAN_FREQ", "REF_FREQUENCY"):
        measure = table(three[0], "SPECTRAL_WINDOW").getcolkeyword(column, "MEASINFO")
        assert measure["VarRefCol"] == "MEAS_FREQ_REF"
        assert measure["TabRefTypes"][list(measure["TabRefCodes"]).index(5)] == "TOPO"


# Sub-tables


def assert_columns(opened: Any, expected: dict[str, Any]) -> None:
    for name, values in expected.items():
        found = opened.getcol(name)
        if isinstance(found, dict):  # arrays of strings
            found = np.array(found["array"]).reshape(found["shape"])
        np.testing.assert_array_equal(found, values, err_msg=name)


def test_antenna(three: Any) -> None:
    path, header, _ = three
    antennas = header.metadata.antennas
    n = len(antennas)
    assert_columns(
        table(path, "ANTENNA"),
        {
            "NAME": [a.name for a in antennas],
            "STATION": ["MWA"] * n,
            "TYPE": ["GROUND-BASED"] * n,
            "MOUNT": ["ALT-AZ"] * n,
            "POSITION": header.antenna_itrf_m,
            "OFFSET": np.zeros((n, 3)),
            "DISH_DIAMETER": np.full(n, 4.0),
            "FLAG_ROW": header.antenna_flagged,
            "MWA_INPUT": [a.input for a in antennas],
            "MWA_TILE_NR": [a.tile_id for a in antennas],
            "MWA_RECEIVER": [a.receiver for a in antennas],
            "MWA_SLOT": [a.slot for a in antennas],
            "MWA_CABLE_LENGTH": [a.electrical_length_m for a in antennas],
        },
    )


def test_feed(three: Any) -> None:
    path, header, _ = three
    n = header.metadata.n_antennas
    start = header.time_mjd[0] * 86400 - 1
    assert_columns(
        table(path, "FEED"),
        {
            "ANTENNA_ID": np.arange(n),
            "FEED_ID": np.zeros(n),
            "BEAM_ID": np.full(n, -1),
            "SPECTRAL_WINDOW_ID": np.full(n, -1),
            "NUM_RECEPTORS": np.full(n, 2),
            "POLARIZATION_TYPE": [["X", "Y"]] * n,
            # X is the east-west dipole
            "RECEPTOR_ANGLE": [[np.pi / 2, 0]] * n,
            "POL_RESPONSE": np.tile(np.eye(2), (n, 1, 1)),
            "TIME": np.full(n, start + 2.5),
            "INTERVAL": np.full(n, 5.0),
            "BEAM_OFFSET": np.zeros((n, 2, 2)),
            "POSITION": np.zeros((n, 3)),
        },
    )


def test_spectral_windows(three: Any) -> None:
    path, header, _ = three
    opened = table(path, "SPECTRAL_WINDOW")
    assert_columns(
        opened,
        {
            "NUM_CHAN": [4, 16, 4],
            "NAME": ["MWA_BAND_167.7", "MWA_BAND_169.6", "MWA_BAND_171.5"],
            "MEAS_FREQ_REF": [5, 5, 5],
            "REF_FREQUENCY": [w.freq_hz[w.n_chan // 2] for w in header.spectral_windows],
            "TOTAL_BANDWIDTH": [1.28e6, 2.56e6, 1.28e6],
            "NET_SIDEBAND": [1, 1, 1],
            "IF_CONV_CHAIN": [0, 0, 0],
            "FREQ_GROUP": [0, 0, 0],
            "FLAG_ROW": [False] * 3,
            "MWA_CENTRE_SUBBAND_NR": [131, 133, 134],
        },
    )
    for row, window in enumerate(header.spectral_windows):
        for name, values in {
            "CHAN_FREQ": window.freq_hz,
            "CHAN_WIDTH": window.width_hz,
            "EFFECTIVE_BW": window.effective_hz,
            "RESOLUTION": window.width_hz,
        }.items():
            np.testing.assert_array_equal(opened.getcell(name, row), values)
    assert_columns(
        table(path, "DATA_DESCRIPTION"),
        {"SPECTRAL_WINDOW_ID": [0, 1, 2], "POLARIZATION_ID": [0, 0, 0], "FLAG_ROW": [False] * 3},
    )


def test_small_tables(three: Any) -> None:
    path, header, _ = three
    metadata = header.metadata
    start = header.time_mjd[0] * 86400 - 1
    direction = [[header.phase_centre_rad]]
    expected: dict[str, dict[str, Any]] = {
        "POLARIZATION": {
            "NUM_CORR": [4],
            "CORR_TYPE": [[9, 10, 11, 12]],
            "CORR_PRODUCT": [[[0, 0], [0, 1], [1, 0], [1, 1]]],
            "FLAG_ROW": [False],
        },
        "FIELD": {
            "NAME": ["a_field"],
            "CODE": [""],
            "TIME": [start],
            "NUM_POLY": [0],
            "DELAY_DIR": direction,
            "PHASE_DIR": direction,
            "REFERENCE_DIR": direction,
            "SOURCE_ID": [0],
            "FLAG_ROW": [False],
            "MWA_HAS_CALIBRATOR": [True],
        },
        "SOURCE": {
            "SOURCE_ID": [0],
            "NAME": ["a_field"],
            "TIME": [start + 2.5],
            "INTERVAL": [5.0],
            "SPECTRAL_WINDOW_ID": [-1],
            "NUM_LINES": [0],
            "DIRECTION": [header.phase_centre_rad],
            "PROPER_MOTION": [[0, 0]],
        },
        "OBSERVATION": {
            "TELESCOPE_NAME": ["MWA"],
            "OBSERVER": ["An Observer"],
            "PROJECT": ["G0009"],
            "TIME_RANGE": [[start, start + 5]],
            "SCHEDULE_TYPE": ["MWA"],
            "LOG": [[""]],
            "SCHEDULE": [[""]],
            "FLAG_ROW": [False],
            "MWA_GPS_TIME": [1254670392.0],
            "MWA_FILENAME": ["a_field_1"],
            "MWA_OBSERVATION_MODE": ["HW_LFILES"],
            "MWA_FLAG_WINDOW_SIZE": [10],
            "MWA_DATE_REQUESTED": [metadata.sched_start_unix_s + 40587 * 86400],
        },
        "MWA_TILE_POINTING": {
            "INTERVAL": [[start, start + 5]],
            "DELAYS": [metadata.delays],
            "DIRECTION": [np.radians([1.5, -26.5])],
        },
        "MWA_SUBBAND": {
            "NUMBER": [131, 132, 133, 134],
            "GAIN": metadata.digital_gains[:, :, [0, 1, 2, 3]].mean(axis=(0, 1)),
            "FLAG_ROW": [False] * 4,
        },
    }
    for name, columns in expected.items():
        assert_columns(table(path, name), columns)
    for name in ("STATE", "PROCESSOR", "POINTING", "FLAG_CMD"):
        assert table(path, name).nrows() == 0
    location = table(path, "OBSERVATION").getcol("TELESCOPE_LOCATION")[0]
    # geocentric position of the array centre as mwalib states it
    np.testing.assert_allclose(location, [-2559454.08, 5095372.14, -2849057.19], atol=0.01)


def test_history(three: Any) -> None:
    path, header, _ = three
    opened = table(path, "HISTORY")
    assert_columns(
        opened,
        {
            "MESSAGE": ["converted by mwaconvert 0.0.test", *header.history],
            "APPLICATION": [header.software] * 3,
            "ORIGIN": ["mwaconvert"] * 3,
            "PRIORITY": ["INFO"] * 3,
            "CLI_COMMAND": [[header.command_line], [""], [""]],
            "APP_PARAMS": [[""]] * 3,
            "OBSERVATION_ID": [0] * 3,
        },
    )
    now = time.time() + 40587 * 86400
    assert np.all(np.abs(opened.getcol("TIME") - now) < 600)


# Shapes


def test_split_writers_share_blocks(three: Any, tmp_path: Path) -> None:
    header, blocks = three[1:]
    for k, window in enumerate(header.spectral_windows):
        one = dataclasses.replace(header, spectral_windows=(window,))
        writer = MeasurementSetWriter(tmp_path / f"{k}.ms", one)
        for block in blocks:
            writer.write(block)
        writer.close()
        main = table(tmp_path / f"{k}.ms")
        np.testing.assert_array_equal(
            main.getcol("DATA"), np.concatenate([b.vis[:, window.channels] for b in blocks])
        )
        np.testing.assert_array_equal(
            main.getcol("FLAG"), np.concatenate([b.flags[:, window.channels] for b in blocks])
        )
        numbers = table(tmp_path / f"{k}.ms", "MWA_SUBBAND").getcol("NUMBER")
        assert list(numbers) == [header.metadata.coarse_channels[c].number for c in window.coarse]


@pytest.mark.parametrize(
    ("windows", "n_antennas", "n_times"),
    [
        ((((0,), 1),), 2, 1),  # one channel, one timestep
        ((((0,), 13000),), 2, 1),  # more channels than a tile holds
        ((((0,), 2),), 40, 2),  # tiles of more rows than a block
        ((((0,), 7),), 5, 3),  # flags of a row end inside a byte
    ],
)
def test_shapes(tmp_path: Path, windows: Any, n_antennas: int, n_times: int) -> None:
    path = tmp_path / "out.ms"
    header = make_header(n_antennas=n_antennas, n_times=n_times, windows=windows)
    blocks = write_ms(path, header, rows=2)
    main = table(path)
    np.testing.assert_array_equal(main.getcol("DATA"), np.concatenate([b.vis for b in blocks]))
    np.testing.assert_array_equal(main.getcol("FLAG"), np.concatenate([b.flags for b in blocks]))
    weight = np.abs(np.concatenate([b.weight for b in blocks]))
    np.testing.assert_array_equal(main.getcol("WEIGHT_SPECTRUM"), weight)
    np.testing.assert_allclose(main.getcol("WEIGHT"), weight.sum(axis=1, dtype=np.float64), rtol=1e-7)
    np.testing.assert_array_equal(np.unique(main.getcol("TIME")), header.time_mjd * 86400)


def test_one_baseline(tmp_path: Path) -> None:
    header = make_header(n_antennas=2, autos=False)
    write_ms(tmp_path / "out.ms", header)
    main = table(tmp_path / "out.ms")
    np.testing.assert_array_equal(main.getcol("TIME"), header.time_mjd * 86400)
    assert list(main.getcol("ANTENNA2")) == [1, 1, 1]


# Readers


@pytest.mark.parametrize("windows", [ONE, THREE], ids=["one", "three"])
def test_pyuvdata(tmp_path: Path, windows: Any) -> None:
    uvdata = pytest.importorskip("pyuvdata").UVData()
    path = tmp_path / "out.ms"
    header = make_header(n_antennas=5, windows=windows, last_interval_s=1.0)
    blocks = write_ms(path, header)
    uvdata.read_ms(str(path), check_extra=True, run_check_acceptability=True, strict_uvw_antpos_check=False)
    assert uvdata.telescope.name == "MWA"
    assert uvdata.telescope.instrument == "MWA"
    assert uvdata.telescope.get_x_orientation_from_feeds() == "east"
    np.testing.assert_array_equal(uvdata.telescope.antenna_diameters, 4.0)
    assert list(uvdata.telescope.antenna_names) == [a.name for a in header.metadata.antennas]
    location = uvdata.telescope.location
    assert location.lat.rad == pytest.approx(header.array_position.latitude_rad, abs=1e-12)
    assert location.height.value == pytest.approx(header.array_position.height_m, abs=1e-6)
    relative = header.antenna_itrf_m - [c.value for c in location.geocentric]
    np.testing.assert_allclose(uvdata.telescope.antenna_positions, relative, atol=1e-6)
    assert uvdata.Nspws == len(windows)
    for spw, window in enumerate(header.spectral_windows):
        mine = uvdata.flex_spw_id_array == spw
        np.testing.assert_array_equal(uvdata.freq_array[mine], window.freq_hz)
        np.testing.assert_array_equal(uvdata.channel_width[mine], window.width_hz)
    catalog = uvdata.phase_center_catalog[0]
    assert (catalog["cat_lon"], catalog["cat_lat"]) == header.phase_centre_rad
    assert (catalog["cat_name"], catalog["cat_frame"]) == ("a_field", "fk5")
    assert header.command_line in uvdata.history

    # pyuvdata sorts several windows by its own order of rows, and conjugates throughout
    order = np.lexsort((uvdata.ant_2_array, uvdata.ant_1_array, uvdata.time_array))
    assert list(uvdata.polarization_array) == [-5, -6, -7, -8]
    pols = [0, 3, 1, 2]
    for name, values in {
        "data_array": np.concatenate([b.vis for b in blocks])[..., pols].conj(),
        "flag_array": np.concatenate([b.flags for b in blocks])[..., pols],
        "nsample_array": np.abs(np.concatenate([b.weight for b in blocks]))[..., pols],
        "uvw_array": -uvw_m(header).reshape(-1, 3),
        "integration_time": np.repeat(header.exposure_s, len(header.antenna1)),
    }.items():
        np.testing.assert_allclose(getattr(uvdata, name)[order], values, rtol=1e-12, err_msg=name)
    jd = np.repeat(header.time_mjd, len(header.antenna1)) + 2400000.5
    np.testing.assert_allclose(uvdata.time_array[order], jd, rtol=0, atol=1e-9)


@pytest.mark.external
@pytest.mark.parametrize("pixels", [(0, 0), (40, -27)], ids=["centre", "aside"])
@pytest.mark.parametrize("windows", [ONE, THREE], ids=["one", "three"])
def test_wsclean(tmp_path: Path, windows: Any, pixels: tuple[int, int]) -> None:
    if shutil.which("wsclean") is None:
        pytest.skip("wsclean is not installed (Debian package wsclean)")
    from astropy.io import fits

    header = make_header(n_antennas=16, windows=windows, autos=True, interval_s=8.0)
    size, scale_rad = 256, np.radians(1 / 60)
    offset_lm = (pixels[0] * scale_rad, pixels[1] * scale_rad)
    write_ms(tmp_path / "out.ms", header, offset_lm=offset_lm, flagged=0.1)
    command = ["wsclean", "-name", "image", "-size", str(size), str(size), "-scale", "1amin", "-niter", "0"]
    command += ["-j", "2", "-no-update-model-required"]
    if len(windows) > 1:
        command += ["-reorder"]  # which WSClean demands for several windows in one set
    command += ["out.ms"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with fits.open(tmp_path / "image-dirty.fits") as hdus:
        image = hdus[0].data[0, 0]
        assert hdus[0].header["TELESCOP"] == "MWA"
        assert hdus[0].header["CRVAL1"] == pytest.approx(np.degrees(header.phase_centre_rad[0]))
    y, x = np.unravel_index(np.argmax(image), image.shape)
    assert image.max() == pytest.approx(1.0, abs=0.01)
    # RA, so l, grows to the left
    assert (x, y) == (size // 2 - pixels[0], size // 2 + pixels[1])


# Failures


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_abort_leaves_nothing(tmp_path: Path) -> None:
    header = make_header()
    writer = MeasurementSetWriter(tmp_path / "out.ms", header)
    blocks = make_blocks(header, rows=4)
    writer.write(next(blocks))
    assert len(leftovers(tmp_path)) == 1
    assert not (tmp_path / "out.ms").exists()
    writer.abort()
    assert leftovers(tmp_path) == []
    writer.abort()
    with pytest.raises(InputError, match="is closed"):
        writer.write(next(blocks))


def test_closed_files_after_close(tmp_path: Path) -> None:
    write_ms(tmp_path / "out.ms", make_header())
    fds = Path("/proc/self/fd")
    if fds.is_dir():
        names = [fd.readlink() for fd in fds.iterdir() if fd.is_symlink()]
        assert not [name for name in names if name.is_relative_to(tmp_path)]
    assert leftovers(tmp_path) == ["out.ms"]


def test_incomplete(tmp_path: Path) -> None:
    header = make_header()
    writer = MeasurementSetWriter(tmp_path / "out.ms", header)
    writer.write(next(make_blocks(header)))
    with pytest.raises(InputError, match="before its last block"):
        writer.close()
    assert leftovers(tmp_path) == []


def test_blocks_out_of_order_or_of_wrong_shape(tmp_path: Path) -> None:
    header = make_header()
    first, second, *_ = make_blocks(header)
    writer = MeasurementSetWriter(tmp_path / "out.ms", header)
    with pytest.raises(InputError, match=r"expected the block of timestep 0 .* found timestep 1"):
        writer.write(second)
    with pytest.raises(InputError, match=r"expected weight of shape \(10, 8, 4\), found \(10, 7, 4\)"):
        writer.write(dataclasses.replace(first, weight=first.weight[:, :7].copy()))
    writer.abort()


def test_existing_output(tmp_path: Path) -> None:
    path = tmp_path / "out.ms"
    header = make_header()
    write_ms(path, header)
    with pytest.raises(InputError, match=r"out\.ms: exists already"):
        MeasurementSetWriter(path, header)
    writer = MeasurementSetWriter(path, header, overwrite=True)
    for block in make_blocks(header, seed=9):
        writer.write(block)
    writer.close()
    expected = np.concatenate([b.vis for b in make_blocks(header, seed=9)])
    np.testing.assert_array_equal(table(path).getcol("DATA"), expected)
    assert leftovers(tmp_path) == ["out.ms"]


def test_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="does not exist; create it first"):
        MeasurementSetWriter(tmp_path / "nowhere" / "out.ms", make_header())


def test_without_arcae(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arcae", None)
    with pytest.raises(ResourceError, match=r"install it \(pip install arcae\) or write a \.uvfits file"):
        MeasurementSetWriter(tmp_path / "out.ms", make_header())
    assert leftovers(tmp_path) == []


def test_refusal_of_arcae_names_the_output(tmp_path: Path) -> None:
    header = make_header()
    broken = dataclasses.replace(header, antenna_itrf_m=np.ones((4, 4)))
    with pytest.raises(ResourceError, match=r"out\.ms: the measurement set could not be written"):
        MeasurementSetWriter(tmp_path / "out.ms", broken)
    assert leftovers(tmp_path) == []


# In a process of its own: casacore ends the process if it cannot flush at a close.
FULL_DISK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from make_header import make_blocks, make_header
from mwaconvert.errors import ResourceError
from mwaconvert.formats.visibilities.ms import MeasurementSetWriter

folder, case = Path(sys.argv[2]), sys.argv[3]
big = make_header(n_antennas=40, n_times=6, windows=(((0, 1), 128),))
small = make_header()

def fill():
    with (folder / "other").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1024)):
                pass
        except OSError:
            pass

try:
    if case == "from the start":
        fill()
        MeasurementSetWriter(folder / "out.ms", small)
    writer = MeasurementSetWriter(folder / "out.ms", big if case == "while writing" else small)
    try:
        for block in make_blocks(big if case == "while writing" else small):
            writer.write(block)
        fill()
        writer.close()
    except ResourceError:
        writer.abort()
        raise
    print("written")
except ResourceError as error:
    print(error)
print(sorted(p.name for p in folder.iterdir()))
"""


@pytest.mark.parametrize(
    ("case", "message", "left"),
    [
        ("from the start", "out.ms: no space left on its disk", ["other"]),
        ("while writing", "out.ms: no space left on its disk", []),
        # what was held back is enough to finish
        ("before the close", "written", ["other", "out.ms"]),
    ],
)
def test_full_disk(small_disk: Path, case: str, message: str, left: list[str]) -> None:
    here = str(Path(__file__).parents[1] / "support")
    command = [sys.executable, "-c", FULL_DISK, here, str(small_disk), case]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert message in done.stdout
    assert done.stdout.endswith(f"{left}\n")
    if case == "before the close":
        assert table(small_disk / "out.ms").nrows() == 30


def test_read_only_disk(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ResourceError, match="no permission to write"):
        MeasurementSetWriter(small_disk / "out.ms", make_header())
