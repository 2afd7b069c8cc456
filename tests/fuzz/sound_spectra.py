"""Sound files of spectra and of candidates, and how they are read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from filterbanks import header
from sound import Sound

from mwaconvert.formats.spectra.candidate_lists import read_list
from mwaconvert.formats.spectra.chime_baseband import open_baseband
from mwaconvert.formats.spectra.chime_msgpack import ChunkStream
from mwaconvert.formats.spectra.presto import SeriesInfo, _info_text
from mwaconvert.frb.baseband import Making, waterfall
from mwaconvert.transients import open_stream

MOST_SAMPLES = 1 << 16  # that are read of a file which claims to hold more
_LISTS = ("cand", "trigger", "singlepulse")


def read_spectra(path: Path) -> None:
    """The beginning and the end of a file."""
    if path.suffix == ".inf":
        path.with_suffix(".dat").write_bytes(bytes(40))
    stream = open_stream(path, band_mhz=(800.2, 400.2) if path.suffix == ".vdif" else None)
    try:
        count = min(stream.n_times, max(1, MOST_SAMPLES // stream.n_chan))
        stream.spectra(0, count)
        stream.spectra(stream.n_times - count, count)
        if isinstance(stream, ChunkStream) and stream.n_times <= MOST_SAMPLES:
            stream.waterfall(1.0, 16)
    finally:
        stream.close()


def read_baseband(path: Path) -> None:
    """All of it, to a waterfall."""
    with open_baseband(path) as voltages:
        waterfall(voltages, 3.0, Making(average=4))


def seeds() -> dict[str, Sound]:
    """A small file of each format."""
    found = {}
    for name, raw in _contents().items():
        ending = name.rpartition(".")[2]
        read = read_list if ending in _LISTS else read_baseband if name == "baseband.h5" else read_spectra
        found[name] = Sound(f"a.{ending}", raw, read)
    return found


def _contents() -> dict[str, bytes]:
    """By names whose ending is that of the file."""
    rng = np.random.default_rng(1)
    found = {}
    keys = {
        "source_name": "x",
        "nchans": 8,
        "nbits": 8,
        "nifs": 1,
        "tsamp": 1e-3,
        "fch1": 1400.0,
        "foff": -1.0,
    }
    found["fil"] = header(**keys, data_type=1, tstart=58000.0) + rng.bytes(400)
    found["two.fil"] = header(**(keys | {"nbits": 2, "nifs": 2, "nsamples": 50})) + rng.bytes(200)
    found["float.fil"] = header(
        **(keys | {"nbits": 32}), table=[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0]
    ) + rng.bytes(640)
    found["tim"] = header(data_type=2, nbits=32, tsamp=1e-3, refdm=3.0) + rng.bytes(400)
    found["npz"] = _npz(intensity=rng.normal(0, 1, (8, 20)), dt=1e-3, df=1.0, dm=5.0, fbottom=400.0)
    found["release.npz"] = _npz(wfall=rng.normal(0, 1, (8, 20)), dt_s=1e-3, center_freq_mhz=600.0)
    found["fitburst.npz"] = _npz(
        data_full=rng.normal(0, 1, (8, 20)),
        metadata=np.array(
            {
                "bad_chans": [1],
                "freqs_bin0": 400.0,
                "res_freq": 1.0,
                "res_time": 1e-3,
                "is_dedispersed": True,
            },
            object,
        ),
        burst_parameters=np.array({"dm": [3.0]}, object),
    )
    found["inf"] = _info_text("x", SeriesInfo(1e-3, 10, 5.0, 1300.0, 1.0, 8, 58000.0), 10).encode()
    found["cand"] = b"12.5\t100\t0.1\t3\t5\t56.7\t10\t96\t104\n" * 3
    found["trigger"] = (
        b"# beam_id batch_id sample_id integration_step compacted_integration_steps time DM_id DM compacted_DMs SNR\n"
        b"0 0 299 1 2 0.0244941 283 56.6 10 18.4666\n"
    )
    found["singlepulse"] = b"# DM      Sigma      Time (s)     Sample    Downfact\n 56.7 12.5 0.1 100 8\n"
    found["sf"] = _psrfits(rng)
    for make in (_chunk, _fbh5, _chime_h5, _baseband, _vdif):
        try:
            name, raw = make(rng)
        except ImportError:
            continue
        found[name] = raw
    return found


def _npz(**arrays: object) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _psrfits(rng: np.random.Generator) -> bytes:
    from astropy.io import fits

    columns = [
        fits.Column("OFFS_SUB", "1D", array=[0.005, 0.02]),
        fits.Column("DAT_FREQ", "8D", array=np.tile(1400.0 - np.arange(8), (2, 1))),
        fits.Column("DAT_WTS", "8E", array=np.ones((2, 8))),
        fits.Column("DAT_SCL", "8E", array=np.full((2, 8), 2.0)),
        fits.Column("DATA", "80B", array=rng.integers(0, 256, (2, 80), dtype=np.uint8)),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SUBINT")
    table.header.update({"NCHAN": 8, "NPOL": 1, "NBITS": 8, "NSBLK": 10, "TBIN": 1e-3})
    primary = fits.PrimaryHDU()
    primary.header["OBS_MODE"], primary.header["STT_IMJD"] = "SEARCH", 58000
    out = io.BytesIO()
    fits.HDUList([primary, table]).writeto(out)
    return out.getvalue()


def _chunk(rng: np.random.Generator) -> tuple[str, bytes]:
    import bitshuffle
    import msgpack

    data = rng.integers(0, 3, 16384 * 8, dtype=np.uint8)
    packed = bitshuffle.compress_lz4(data).tobytes()
    items = [b"x", 2, 1, len(packed), 7, 16, 8, 384, 1, 1024, data.size, 384 * 80, 8 * 384, 1]
    items += [
        np.ones(1024, "f4").tobytes(),
        np.ones(1024, "f4").tobytes(),
        packed,
        10**18,
        1024,
        True,
        b"\xff" * 1024,
    ]
    return "msgpack", msgpack.packb(items)


def _fbh5(rng: np.random.Generator) -> tuple[str, bytes]:
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.attrs["CLASS"] = "FILTERBANK"
        data = file.create_dataset("data", data=rng.integers(0, 256, (20, 1, 8), dtype=np.uint8))
        data.attrs.update({"fch1": 1400.0, "foff": -1.0, "tsamp": 1e-3})
    return "h5", out.getvalue()


def _chime_h5(rng: np.random.Generator) -> tuple[str, bytes]:
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["intensity"] = rng.normal(0, 1, (8, 2, 12)).astype("f4")
        file["weight"] = np.ones((8, 2, 12), "f4")
        index = file.create_group("index_map")
        index["freq"], index["pol"], index["time"] = (
            4e8 + 5e7 * np.arange(8),
            [b"XX", b"YY"],
            1e-3 * np.arange(12),
        )
    return "chime.h5", out.getvalue()


def _baseband(rng: np.random.Generator) -> tuple[str, bytes]:
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        data = file.create_dataset("tiedbeam_baseband", data=rng.normal(0, 1, (3, 2, 40)).astype("c8"))
        data.attrs["DM"] = 2.0
        file["time0"] = np.zeros(3, [("fpga_count", "u8"), ("ctime", "f8"), ("ctime_offset", "f8")])
        index = [(800 - 0.390625 * k, k) for k in (4, 5, 9)]
        file["index_map/freq"] = np.array(index, [("centre", "f8"), ("id", "u4")])
    return "baseband.h5", out.getvalue()


def _vdif(rng: np.random.Generator) -> tuple[str, bytes]:
    import baseband.data

    return "vdif", (Path(baseband.data.__path__[0]) / "sample_arochime.vdif").read_bytes()[:4224]
