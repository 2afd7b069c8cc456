"""Feed damaged files to every reader: python tests/fuzz/fuzz_readers.py --seconds 60

A reader may read a file, or refuse it with one of our errors. Anything else is a finding: another exception, a crash,
memory beyond the limit, or more than ten seconds for a file of a few kilobytes. The changes are random, from a seed
that is printed.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1] / "support")]

from filterbanks import header  # noqa: E402

from mwaconvert.errors import Error  # noqa: E402
from mwaconvert.formats.spectra.candidate_lists import read_list  # noqa: E402
from mwaconvert.formats.spectra.chime_baseband import open_baseband  # noqa: E402
from mwaconvert.formats.spectra.chime_msgpack import ChunkStream  # noqa: E402
from mwaconvert.formats.spectra.presto import SeriesInfo, _info_text  # noqa: E402
from mwaconvert.frb.baseband import Making, waterfall  # noqa: E402
from mwaconvert.transients import open_stream  # noqa: E402

MEMORY_BYTES = 6 << 30
SECONDS_EACH = 10
MOST_SAMPLES = 1 << 16  # that are read of a file which claims to hold more
INTERESTING = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 63,
    (1 << 64) - 1,
]


def seeds() -> dict[str, bytes]:
    """A small sound file of each format, by the ending of its name."""
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
    return "baseband", out.getvalue()


def _vdif(rng: np.random.Generator) -> tuple[str, bytes]:
    import baseband.data

    return "vdif", (Path(baseband.data.__path__[0]) / "sample_arochime.vdif").read_bytes()[:4224]


def change(raw: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A few random changes of a file."""
    out = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        # headers matter more than values
        at = rng.randrange(min(len(out), rng.choice((64, 512, 1 << 30)))) if out else 0
        match rng.randrange(8):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1 if out:
                out[at] ^= 1 << rng.randrange(8)
            case 2:
                width = rng.choice((1, 2, 4, 8))
                value = (rng.choice(INTERESTING) + rng.choice((0, 0, 1, -1))) % (1 << (8 * width))
                out[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
            case 3:
                del out[at:]
            case 4:
                del out[at : at + rng.randrange(1, 40)]
            case 5:
                out[at:at] = out[at : at + rng.randrange(1, 200)]
            case 6:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                out[at : at + 64] = other[start : start + 64]
            case _:
                out[at : at + 8] = np.float64(
                    rng.choice((0.0, -1.0, np.nan, np.inf, 1e300, 1e-300))
                ).tobytes()
    return bytes(out)


def one(folder: Path, name: str, raw: bytes) -> str:
    """Read a file; how it went: read or refused. Anything else is raised."""
    kind = name.rpartition(".")[2]
    path = folder / f"a.{kind}"
    path.write_bytes(raw)
    if kind == "inf":
        path.with_suffix(".dat").write_bytes(bytes(40))
    try:
        if kind in ("cand", "trigger", "singlepulse"):
            read_list(path)
            return "read"
        if kind == "baseband":
            with open_baseband(path) as voltages:
                waterfall(voltages, 3.0, Making(average=4))
            return "read"
        stream = open_stream(path, band_mhz=(800.2, 400.2) if kind == "vdif" else None)
        try:
            count = min(stream.n_times, max(1, MOST_SAMPLES // stream.n_chan))
            stream.spectra(0, count)
            stream.spectra(stream.n_times - count, count)
            if isinstance(stream, ChunkStream) and stream.n_times <= MOST_SAMPLES:
                stream.waterfall(1.0, 16)
        finally:
            stream.close()
    except Error as error:
        if len(str(error).splitlines()) != 1:
            raise AssertionError(f"more than one line: {error}") from error
        return "refused"
    return "read"


def main() -> int:
    """Run for a time; 1 if there was a finding, which is kept as a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", help="ending of one format")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-findings"), help="folder for files that are findings"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _too_long)
    sound = {name: raw for name, raw in seeds().items() if options.only in (None, name.rpartition(".")[2])}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for name, raw in sound.items():
            if one(Path(folder), name, raw) != "read":
                raise AssertionError(f"the sound file {name} is refused")
        return _random(Path(folder), sound, options)


def _random(folder: Path, sound: dict[str, bytes], options: argparse.Namespace) -> int:
    seed = options.seed if options.seed is not None else time.time_ns() % (1 << 32)
    rng, counts, names = random.Random(seed), Counter(), sorted(sound)
    end, findings = time.monotonic() + options.seconds, set()
    while time.monotonic() < end:
        name = rng.choice(names)
        raw = change(sound[name], list(sound.values()), rng)
        (folder / "last").write_bytes(raw)  # for a crash
        signal.setitimer(signal.ITIMER_PROF, SECONDS_EACH)
        try:
            counts[f"{name} {one(folder, name, raw)}"] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            frame = traceback.extract_tb(error.__traceback__)[-1]
            key = (name, type(error).__name__, frame.filename, frame.lineno)
            if key not in findings:
                findings.add(key)
                options.keep.mkdir(exist_ok=True)
                kept = options.keep / f"{len(findings)}.{name}"
                kept.write_bytes(raw)
                print(f"FINDING {kept}: {type(error).__name__}: {str(error)[:200]}")
                traceback.print_exc(limit=-4)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    print(f"seed {seed}: {sum(counts.values())} files, {len(findings)} findings")
    for key, count in sorted(counts.items()):
        print(f"  {key}: {count}")
    return 1 if findings else 0


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS_EACH} s of processor time")


if __name__ == "__main__":
    sys.exit(main())
