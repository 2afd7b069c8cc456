"""Metadata against the table of the metafits as astropy reads it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import mwaconvert
from mwaconvert.errors import FormatError, InputError, MetadataError
from mwaconvert.observation.mending import _NOT_NEEDED
from mwaconvert.observation.metafits import read_metadata

LEGACY = "1196175296_legacy_synthetic/1196175296.metafits"
MWAX = "1297526432_mwax_synthetic/1297526432.metafits"


def test_every_metafits_reads(mwa_data):
    paths = [*mwa_data.glob("*/*.metafits"), *mwa_data.glob("metafits/*.fits")]
    assert len(paths) > 15
    for path in paths:
        check_against_table(path)


def check_against_table(path: Path) -> None:
    metadata = read_metadata(path)
    with fits.open(path) as hdus:
        header, table = hdus[0].header, hdus[1].data
        assert metadata.obsid == header["GPSTIME"]
        assert metadata.mode == header["MODE"].strip()
        assert metadata.correlator == ("mwax" if "MWAX" in header["MODE"] else "legacy")
        assert metadata.n_antennas == header["NINPUTS"] // 2
        assert metadata.fine_width_hz == header["FINECHAN"] * 1000
        assert metadata.n_fine == round(1280 / header["FINECHAN"])
        assert metadata.int_time_s == header["INTTIME"]
        assert metadata.good_time_unix_s == pytest.approx(header["GOODTIME"], abs=1e-3)
        assert metadata.quack_s == header["QUACKTIM"]
        assert metadata.sched_duration_s == header["EXPOSURE"]
        assert metadata.geodel == header.get("GEODEL", 0)
        assert metadata.cabledel == header.get("CABLEDEL", 0)
        assert metadata.oversampled == bool(header.get("OVERSAMP", 0))
        assert metadata.dut1_s == header.get("DUT1")
        assert metadata.pointing_deg == (header["RA"], header["DEC"])
        assert (metadata.phase_centre_deg is None) == ("RAPHASE" not in header)
        assert metadata.name == header["FILENAME"]
        numbers = [int(n) for n in header["CHANNELS"].split(",")]
        assert [channel.number for channel in metadata.coarse_channels] == sorted(numbers)
        assert [channel.centre_hz for channel in metadata.coarse_channels] == [
            n * 1.28e6 for n in sorted(numbers)
        ]
        columns = {name: table[name] for name in table.names}
        for k in range(len(table)):
            row = {name: column[k] for name, column in columns.items()}
            antenna, pol = metadata.antennas[row["Antenna"]], "XY".index(row["Pol"])
            assert antenna.index == row["Antenna"]
            assert antenna.tile_id == row["Tile"]
            assert antenna.name == row["TileName"]
            assert antenna.input[pol] == row["Input"]
            assert antenna.flagged or row["Flag"] == 0
            position = (antenna.east_m, antenna.north_m, antenna.height_m)
            assert position == (row["East"], row["North"], row["Height"])
            length = row["Length"]
            metres = float(length[3:]) if length.startswith("EL_") else float(length) * 1.204
            assert antenna.electrical_length_m[pol] == pytest.approx(metres, rel=1e-12)
            gains = metadata.digital_gains[antenna.index, pol]
            np.testing.assert_array_equal(gains, row["Gains"] / 64)
            assert antenna.dipole_delays[pol] == tuple(np.atleast_1d(row["Delays"]))


def test_legacy_boxes(mwa_data):
    metadata = read_metadata(mwa_data / LEGACY)
    assert [channel.gpubox for channel in metadata.coarse_channels] == list(range(24, 0, -1))
    assert metadata.coarse_channels[0].number == 157


def test_the_correlator_decides_the_numbers_in_file_names(mwa_data):
    metadata = read_metadata(mwa_data / MWAX)
    assert metadata.correlator == "legacy"
    metadata = read_metadata(mwa_data / MWAX, "mwax")
    assert metadata.correlator == "mwax"
    assert [channel.gpubox for channel in metadata.coarse_channels] == [
        c.number for c in metadata.coarse_channels
    ]


def test_values_are_frozen(mwa_data):
    metadata = read_metadata(mwa_data / MWAX)
    with pytest.raises(dataclasses.FrozenInstanceError):
        metadata.obsid = 1


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.metafits: no such metafits file$"):
        read_metadata(tmp_path / "none.metafits")


def test_not_fits(tmp_path):
    path = tmp_path / "a.metafits"
    path.write_text("<html>404</html>")
    with pytest.raises(FormatError, match=r"a\.metafits: not a FITS file$"):
        read_metadata(path)


def test_fits_but_no_metafits(mwa_data):
    raw = next((mwa_data / "1297526432_mwax_synthetic").glob("*.fits"))
    with pytest.raises(MetadataError, match="not a usable metafits file: "):
        read_metadata(raw)


def test_cut_metafits(mwa_data, tmp_path):
    whole = (mwa_data / MWAX).read_bytes()
    path = tmp_path / "a.metafits"
    for size in (100, 3000, 9000, len(whole) - 2880):
        path.write_bytes(whole[:size])
        with pytest.raises(MetadataError, match="not a usable metafits file: "):
            read_metadata(path)


def test_metafits_that_would_abort_the_process(mwa_data, tmp_path):
    whole = (mwa_data / MWAX).read_bytes()
    path = tmp_path / "a.metafits"
    assert whole.count(b"CHANNELS= '1") == 1
    path.write_bytes(whole.replace(b"CHANNELS= '1", b"CHANNELS= 'x"))
    with pytest.raises(
        MetadataError, match=r"expected numbers with commas between them in CHANNELS, found 'x"
    ):
        read_metadata(path)
    assert whole.count(b"DATE-OBS= '2021") == 1
    path.write_bytes(whole.replace(b"DATE-OBS= '2021", b"DATE-OBS= '20x1"))
    assert read_metadata(path).notes == (f"{path}: DATE-OBS is not a date; it is not needed.",)


def simulated_metafits(tmp_path, change):
    """Metafits of 4 tiles, changed by a function of the header and the table."""
    from mwaconvert.simulate import simulate

    sim = simulate(tmp_path, "mwax-128", n_tiles=4, fine_khz=640.0, duration_s=2.0, coarse_channels=2)
    with fits.open(sim.metafits) as hdus:
        change(hdus[0].header, hdus["TILEDATA"].data)
        hdus.writeto(sim.metafits, overwrite=True)
    return sim.metafits


def without(key):
    return lambda header, _: header.remove(key)


def with_card(key, value):
    return lambda header, _: header.set(key, value)


def with_cell(column, value, row=slice(2, 4)):
    return lambda _, table: table[column].__setitem__(row, value)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        *(
            (without(key), f"{key} is missing; it is not needed")
            for key in sorted(_NOT_NEEDED)
            if key != "NSCANS"
        ),
        (with_card("GPSTIME", 1412607288.0), "GPSTIME is 1412607288.0; taken as 1412607288"),
        (with_card("EXPOSURE", 2.0), "EXPOSURE is 2.0; taken as 2"),
        (with_card("CHANNELS", "131, 132,"), "CHANNELS is '131, 132,'; taken as 131,132"),
        (with_card("RECVRS", "1, 2"), "RECVRS is '1, 2'; taken as 1,2"),
        (with_card("RECVRS", ""), "RECVRS is missing; it is not needed"),
        (with_card("DELAYS", ""), "DELAYS is missing; it is not needed"),
    ],
)
def test_what_does_not_matter(tmp_path, change, note):
    seen = mwaconvert.open(simulated_metafits(tmp_path, change))

    assert any(note in n for n in seen.notes)
    assert np.isfinite(seen.plan().header.time_mjd).all()


def test_a_cable_without_a_length(tmp_path):
    metadata = read_metadata(simulated_metafits(tmp_path, with_cell("Length", "")))
    assert [antenna.flagged for antenna in metadata.antennas].count(True) == 1
    assert "column Length of TILEDATA holds no number for " in metadata.notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_cell("North", np.nan), r"Tile\d+: expected a number in column North of TILEDATA, found nan"),
        (with_cell("Height", np.inf), r"Tile\d+: expected a number in column Height of TILEDATA, found inf"),
        (without("GPSTIME"), "find key GPSTIME"),
        (without("CHANNELS"), "expected numbers with commas between them in CHANNELS, found ''"),
        (
            with_card("CHANNELS", "131,x"),
            "expected numbers with commas between them in CHANNELS, found '131,x'",
        ),
        (with_card("GOODTIME", "soon"), "GOODTIME"),
    ],
)
def test_what_does_matter(tmp_path, change, message):
    with pytest.raises(MetadataError, match=message) as error:
        read_metadata(simulated_metafits(tmp_path, change))
    assert "unwrap" not in str(error.value)
    assert "{" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("GPSTIME_float", "GPSTIME is 1412607288.0; taken as 1412607288"),
        ("key_MJD", "MJD is missing; it is not needed"),
    ],
)
def test_metafits_of_the_field(field, name, found):
    assert found in read_metadata(field / "metafits" / f"{name}.metafits").notes[0]


def test_bad_columns_of_the_field(field):
    with pytest.raises(
        MetadataError, match="expected the length of a cable in column Length of TILEDATA, found none"
    ):
        read_metadata(field / "metafits" / "length_empty.metafits")
    with pytest.raises(MetadataError, match="expected a number in column North of TILEDATA, found nan"):
        read_metadata(field / "metafits" / "north_nan.metafits")


def test_raw_file_for_the_metafits(field):
    raw = next((field / "raw_for_metafits").iterdir())
    with pytest.raises(
        MetadataError, match=r"no table TILEDATA \(it looks like a raw file: give the metafits first"
    ):
        read_metadata(raw)
