"""Flag files: reading cotter's and Birli's, writing our own, and refusing what is damaged."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from mwaconvert.errors import FormatError, InputError
from mwaconvert.formats.mwaf import FlagFileWriter, find_flag_files, parse_flag_file, read_flag_files
from mwaconvert.observation.metafits import read_metadata

#: folder, file, version, box, channels, timesteps, centre of the first
REAL = [
    ("1247842824_mwaf", "FlagfileCotterMWA01.mwaf", "1.0", 128, 2, None),
    ("1247842824_mwaf", "FlagfileCotterGeneric01.mwaf", "1.0", 128, 2, None),
    ("1247842824_mwaf", "FlagfileBirli01.mwaf", "1.0", 128, 2, None),
    ("1247842824_mwaf", "FlagfileBirli01_ts1.mwaf", "2.0", 128, 1, 1247842825.5),
    ("1247842824_mwaf", "FlagfileBirli01_ts2.mwaf", "2.0", 128, 1, 1247842826.5),
    ("1196175296_legacy_synthetic", "FlagfileCotterMWA02.mwaf", "1.0", 2, 4, None),
]


@pytest.mark.parametrize(("folder", "name", "version", "n_chan", "n_times", "centre"), REAL)
def test_real_files(mwa_data, folder, name, version, n_chan, n_times, centre):
    """Bit for bit what astropy makes of the column (of every 37th row: it is slow)."""
    path = mwa_data / folder / name
    (found,) = read_flag_files([path])
    assert (found.version, found.obsid, found.n_antennas) == (version, int(folder[:10]), 128)
    assert (found.n_channels, found.n_times, found.centre_gps_s) == (n_chan, n_times, centre)
    assert found.gpubox == int(path.stem.split("_")[0][-2:])
    with fits.open(path) as hdus:
        expected = np.asarray(hdus[1].data[::37]["FLAGS"])
    ours = np.concatenate([found.unpacked(time) for time in range(n_times)])
    np.testing.assert_array_equal(ours[::37], expected.reshape(-1, n_chan))


def test_occupancy_of_birli(mwa_data):
    """Birli's own counts agree with the bits."""
    path = mwa_data / "1247842824_mwaf" / "FlagfileBirli01_ts1.mwaf"
    (found,) = read_flag_files([path])
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(found.unpacked(0).sum(axis=0), hdus["OCCUPANCY"].data["Count"])


def test_a_real_file_cut_down_to_one_channel_is_refused(mwa_data):
    with pytest.raises(FormatError, match="NCHANS is 32, but a row of FLAGS holds 1 channels"):
        read_flag_files([mwa_data / "1131733552_legacy_mini" / "1131733552_mini_01.mwaf"])


def test_written_like_birli(mwa_data, tmp_path):
    """The flags of a real file, written again: same bits, same counts."""
    metadata = read_metadata(mwa_data / "1247842824_mwaf" / "1247842824.metafits")
    (birli,) = read_flag_files([mwa_data / "1247842824_mwaf" / "FlagfileBirli01_ts1.mwaf"])
    metadata = replace(metadata, n_fine=128)
    path = tmp_path / "1247842824_01.mwaf"
    command = "mwaconvert " + "it's a long command line " * 20
    writer = FlagFileWriter(
        path, metadata, 1, 1, 1247842825.5, software="mwaconvert", command_line=command, strategy="s" * 68
    )
    writer.write(birli.unpacked(0))
    writer.close()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    (ours,) = read_flag_files([path])
    np.testing.assert_array_equal(ours.flags, birli.flags)
    assert (ours.obsid, ours.gpubox, ours.centre_gps_s) == (1247842824, 1, 1247842825.5)
    with fits.open(path) as hdus, fits.open(mwa_data / "1247842824_mwaf/FlagfileBirli01_ts1.mwaf") as theirs:
        hdus.verify("exception")
        assert hdus[0].header["CMDLINE"] == command.rstrip()
        assert hdus[0].header["AO_STRAT"] == "s" * 68
        for key in ("OBSID", "GPSSTART", "NCHANS", "NANTENNA", "NSCANS", "NPOLS", "GPUBOXNO"):
            assert hdus[0].header[key] == theirs[0].header[key], key
        for column in ("Index", "Count"):
            np.testing.assert_array_equal(hdus["CH_OCC"].data[column], theirs["OCCUPANCY"].data[column])
        np.testing.assert_allclose(hdus["CH_OCC"].data["Occupancy"], theirs["OCCUPANCY"].data["Occupancy"])
        assert hdus["TILES"].data["TileName"].tolist() == [a.name for a in metadata.antennas]


@pytest.fixture
def metadata(small):
    return read_metadata(small)


def write(path, metadata, flags, centre_gps_s=1.0e9):
    writer = FlagFileWriter(path, metadata, 109, len(flags), centre_gps_s, software="mwaconvert")
    for timestep in flags:
        writer.write(timestep)
    writer.close()
    return path


@pytest.mark.parametrize("n_fine", [1, 7, 8, 9, 128, 100])
def test_round_trip(metadata, tmp_path, n_fine):
    metadata = replace(metadata, n_fine=n_fine)
    rng = np.random.default_rng(n_fine)
    flags = rng.random((3, 36, n_fine)) < 0.3
    path = write(tmp_path / "x.mwaf", metadata, flags, 1000000000.25)
    (found,) = read_flag_files([path])
    np.testing.assert_array_equal([found.unpacked(t) for t in range(3)], flags)
    assert found.centre_gps_s == 1000000000.25
    with fits.open(path) as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus["FLAGS"].data["FLAGS"].reshape(flags.shape), flags)
        np.testing.assert_array_equal(hdus["BL_OCC"].data["Count"], flags.sum(axis=(0, 2)))
        np.testing.assert_allclose(hdus["BL_OCC"].data["Occupancy"], flags.mean(axis=(0, 2)))
        np.testing.assert_array_equal(
            [hdus["BL_OCC"].data[f"Antenna{k}"] for k in (1, 2)], np.triu_indices(8)
        )


def test_archives(metadata, tmp_path):
    flags = np.eye(36, metadata.n_fine, dtype=bool)[None]
    paths = [write(tmp_path / f"1000000000_ch{k}.mwaf", metadata, flags) for k in (109, 110)]
    assert find_flag_files(tmp_path, 1000000000) == tuple(paths)
    assert find_flag_files(tmp_path, 1000000001) == ()
    archive = tmp_path / "1000000000_flags.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("readme.txt", "hello")
        for path in paths:
            packed.write(path, f"1000000000/{path.name}")
            path.unlink()
    assert find_flag_files(tmp_path, 1000000000) == (archive,)
    found = read_flag_files([archive])
    assert len(found) == 2
    np.testing.assert_array_equal(found[1].unpacked(0), flags[0])

    data = bytearray(archive.read_bytes())
    data[len(data) // 3] ^= 255
    archive.write_bytes(data)
    with pytest.raises(FormatError, match=r"1000000000_flags.zip: damaged or no zip archive.*fetch it again"):
        read_flag_files([archive])
    archive.write_bytes(data[:500])
    with pytest.raises(FormatError, match="damaged or no zip archive"):
        read_flag_files([archive])
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("readme.txt", "hello")
    with pytest.raises(FormatError, match="holds no flag file"):
        read_flag_files([archive])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"VERSION": "3.0"}, "version '3.0' of flag files is unknown"),
        ({"NCHANS": 5}, "NCHANS is 5, but a row of FLAGS holds 32 channels"),
        ({"NANTENNA": 9}, "72 rows are not a whole number of timesteps of the 45 baselines of 9 antennas"),
        ({"NANTENNA": 0}, "72 rows are not a whole number"),
        ({"NSCANS": 1}, "2 timesteps of flags, but NSCANS is 1"),
        ({"GPUBOXNO": None}, "no usable GPUBOXNO"),
        ({"GPSSTART": "soon"}, "no usable GPSSTART"),
    ],
)
def test_damaged_headers(metadata, tmp_path, changes, message):
    path = write(tmp_path / "x.mwaf", metadata, np.zeros((2, 36, metadata.n_fine), bool))
    with fits.open(path, mode="update") as hdus:
        for key, value in changes.items():
            if value is None:
                del hdus[0].header[key]
            else:
                hdus[0].header[key] = value
    with pytest.raises(FormatError, match=message):
        read_flag_files([path])


def test_damaged_files(metadata, tmp_path):
    path = write(tmp_path / "x.mwaf", metadata, np.zeros((2, 36, metadata.n_fine), bool))
    data = np.fromfile(path, np.uint8)
    with pytest.raises(FormatError, match="ends early"):
        parse_flag_file(data[: 2880 * 2 + 200], "x")
    for cut in (0, 100, 2880, 4000):
        with pytest.raises(FormatError, match="x: not a flag file"):
            parse_flag_file(data[:cut], "x")
    with pytest.raises(FormatError) as refused:
        parse_flag_file(np.full(9000, 65, np.uint8), "x")
    assert str(refused.value) == (
        "x: not a flag file: expected a FITS file, which begins with 'SIMPLE  =', found 'AAAAAAAAA'; fetch it again, "
        "or remove it"
    )
    with pytest.raises(InputError, match="no such flag file"):
        read_flag_files([tmp_path / "no.mwaf"])
    many = data.tobytes().replace(b"NAXIS   =                    2", b"NAXIS   =           1000000000")
    with pytest.raises(FormatError, match="found a damaged header"):
        parse_flag_file(np.frombuffer(many, np.uint8), "x")
    table = io.BytesIO()
    columns = [fits.Column("OTHER", "J", array=np.zeros(4))]
    with fits.open(path) as hdus:
        fits.HDUList([hdus[0], fits.BinTableHDU.from_columns(columns)]).writeto(table)
    with pytest.raises(FormatError, match="has not the one column FLAGS"):
        parse_flag_file(np.frombuffer(table.getvalue(), np.uint8), "x")


def test_an_aborted_file_leaves_nothing(metadata, tmp_path):
    writer = FlagFileWriter(tmp_path / "x.mwaf", metadata, 109, 2, 1e9, software="mwaconvert")
    writer.write(np.zeros((36, metadata.n_fine), bool))
    with pytest.raises(ValueError, match="announced"):
        writer.close()
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "x.mwaf", metadata, np.zeros((2, 36, metadata.n_fine), bool))
    with pytest.raises(InputError, match="exists already"):
        write(tmp_path / "x.mwaf", metadata, np.zeros((2, 36, metadata.n_fine), bool))
