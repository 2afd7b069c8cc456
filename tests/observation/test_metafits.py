"""Metadata against the table of the metafits as astropy reads it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mwaconvert.errors import FormatError, InputError, MetadataError
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
    for old, new in [(b"DATE-OBS= '2021", b"DATE-OBS= '20x1"), (b"CHANNELS= '1", b"CHANNELS= 'x")]:
        assert whole.count(old) == 1
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(MetadataError, match="not a usable metafits file: mwalib failed: "):
            read_metadata(path)
