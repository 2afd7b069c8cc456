"""Files that promise gigabytes, and things that are not files: refused before memory is taken."""

import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import mwaconvert
from mwaconvert import machine
from mwaconvert.conversion.rfi.strategy import RfiStrategy
from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.formats.mwaf import read_flag_files
from mwaconvert.formats.solutions import read_solutions
from mwaconvert.formats.spectra.hdf5 import Fbh5Writer
from mwaconvert.formats.spectra.reader import open_stream
from mwaconvert.formats.visibilities.reader import open_visibilities

SHARED = Path(__file__).parents[3] / "shared" / "data" / "field" / "reliability"
FREQS = np.zeros((1, 1))


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 160 << 20


def shared(name: str) -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"reference data not found at {SHARED}")
    return SHARED / name


def test_bombs_of_flags() -> None:
    with pytest.raises(FormatError, match=r"bomb_flags\.zip.*not a flag file"):
        read_flag_files([shared("bomb_flags.zip")])
    with pytest.raises(FormatError, match=r"would unpack to 83\.9 MB, but announces 160 bytes of flags"):
        read_flag_files([shared("many_members_flags.zip")])


def test_many_members(tmp_path: Path) -> None:
    path = tmp_path / "1_flags.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(257):
            archive.writestr(f"{k}.mwaf", b"")
    with pytest.raises(FormatError, match="holds 257 flag files; no observation has so many"):
        read_flag_files([path])
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(12_000):
            archive.writestr(f"{k:0100d}.txt", b"")
    with pytest.raises(FormatError, match="its list of files is too long"):
        read_flag_files([path])


def test_flags_that_announce_what_memory_has_not(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mwaconvert.convert(small, tmp_path / "a_%%.mwaf")
    path = tmp_path / "1_flags.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in tmp_path.glob("*.mwaf"):
            archive.write(member, member.name)
    assert len(read_flag_files([path])) == 2
    monkeypatch.setattr(machine, "free_bytes", lambda: 100)
    with pytest.raises(ResourceError, match=r"the flags in it takes .* of memory"):
        read_flag_files([path])


def test_waterfall_of_zeros(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": (1024, 30_000)}
    )
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("intensity.npy", "w") as file,
    ):
        file.write(head.getvalue())
        for _ in range(120):
            file.write(bytes(1 << 20))
    with pytest.raises(FormatError, match="it promises 126 MB, but takes"):
        open_stream(path)


def test_hdf5_that_was_never_written(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["CLASS"] = "FILTERBANK"
        data = file.create_dataset("data", (1 << 30, 1, 1024), "f4", chunks=(64, 1, 1024))
        data.attrs.update({"fch1": 1500.0, "foff": -0.1, "tsamp": 1e-3})
    with pytest.raises(FormatError, match=r"/data promises .* damaged"):
        open_stream(path)
    with h5py.File(path, "w") as file:
        file.create_group("frb").attrs["dm"] = 1.0
        file["frb"].create_dataset("wfall", (1 << 16, 1 << 16), "f4", chunks=(64, 64))
    with pytest.raises(FormatError, match=r"/frb/wfall promises .* damaged"):
        open_stream(path)


@pytest.mark.parametrize(
    ("number", "n_bytes"), [(0, 0), (1, 1 << 63), (1, (1 << 64) - 16), (0, 1 << 40), (3, 4072)]
)
def test_a_heap_of_texts_that_would_be_walked_for_ever(tmp_path: Path, number: int, n_bytes: int) -> None:
    """The library of HDF5 does not end with some of them: a child reads the file, and is waited for."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with Fbh5Writer(path, 1200 + np.arange(16.0), 1e-3, np.float32, header={}) as writer:
        writer.write(np.zeros((16, 64), np.float32))
    with h5py.File(path, "r+") as file:
        assert h5py.check_string_dtype(file.attrs.get_id("CLASS").dtype).length is None
    raw = path.read_bytes()
    assert open_stream(path).n_times == 64
    at = raw.index(b"GCOL") + 16
    path.write_bytes(raw[:at] + struct.pack("<HHIQ", number, 1, 0, n_bytes) + raw[at + 16 :])
    program = f"from mwaconvert.transients import open_stream as f; from pathlib import Path; f(Path({str(path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert (
        done.stderr.splitlines()[-1] == f"mwaconvert.errors.FormatError: {path}: a heap of texts is damaged"
    )


def test_hdf5_that_asks_for_more_than_the_file_has(tmp_path: Path) -> None:
    """A block of its superblock (driver information) says that it takes 4 GiB."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros((3, 4))
    raw = bytearray(path.read_bytes())
    struct.pack_into("<QQ", raw, 40, len(raw) + 16, len(raw))
    raw += struct.pack("<B3xI8s", 0, 0xFFFFFFFF, b"NCSAfami")
    path.write_bytes(raw)
    with pytest.raises(FormatError, match=r"asks for 42949\d+ bytes, but has \d+: it is damaged"):
        open_stream(path)


@pytest.mark.parametrize("address", [1 << 20, 1 << 40, (1 << 63) + 5, (1 << 64) - 2])
def test_hdf5_that_points_outside_of_the_file(tmp_path: Path, address: int) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros((3, 4))
    raw = bytearray(path.read_bytes())
    struct.pack_into("<QQ", raw, 40, len(raw), address)  # of the driver information
    path.write_bytes(raw)
    with pytest.raises(FormatError, match=r"a\.h5: "):
        open_stream(path)


def test_chunk_of_nested_arrays(tmp_path: Path) -> None:
    """Each header of an array makes room for its items, one within the other."""
    path = tmp_path / "a.msgpack"
    path.write_bytes(b"\xdc\x00\x15" + b"\xdd\x00\x10\x00\x00" * 100 + bytes(1 << 20))
    with pytest.raises(FormatError, match="not a sound msgpack file"):
        open_stream(path)


def test_solutions_that_promise_more_than_they_hold(tmp_path: Path) -> None:
    import struct

    path = tmp_path / "a.bin"
    path.write_bytes(struct.pack("<8s6I2d", b"MWAOCAL\0", 0, 0, 1000, 10_000, 10_000, 4, 0.0, 0.0))
    with pytest.raises(FormatError, match="expected 6400000000048 bytes"):
        read_solutions(path, FREQS)
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(FormatError, match="found 1099511627776"):
        read_solutions(path, FREQS)


def test_metafits_of_any_size(tmp_path: Path, small: Path) -> None:
    path = tmp_path / "1.metafits"
    path.write_bytes(small.read_bytes())
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(FormatError, match="no metafits file is so large"):
        mwaconvert.open(path)


READERS: dict[str, Callable[[Path], object]] = {
    "metafits": mwaconvert.open,
    "flag file": lambda path: read_flag_files([path]),
    "solution file": lambda path: read_solutions(path, FREQS),
    "file": open_stream,
    "uvfits file": open_visibilities,
    "RFI strategy": RfiStrategy.from_toml,
}


@pytest.mark.parametrize("what", READERS)
def test_things_that_are_no_files(tmp_path: Path, what: str) -> None:
    """A FIFO would make its reader wait for ever, a device may never end."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name, thing in {"fifo": "a FIFO", "link": "a device"}.items():
        with pytest.raises(InputError, match=f"expected a {what}.*, found {thing}; give a regular file"):
            READERS[what](tmp_path / name)


def test_a_strategy_of_aoflagger_is_a_file(tmp_path: Path, small: Path) -> None:
    pytest.importorskip("aoflagger", reason="AOFlagger is not installed")
    os.mkfifo(tmp_path / "fifo.lua")
    with pytest.raises(InputError, match=r"expected a RFI strategy, found a FIFO"):
        mwaconvert.open(small).plan(rfi="aoflagger", rfi_strategy=tmp_path / "fifo.lua")


def test_raw_files_are_files(tmp_path: Path, small: Path) -> None:
    metafits = tmp_path / small.name
    metafits.write_bytes(small.read_bytes())
    os.mkfifo(tmp_path / "1412607288_20241010145430_ch131_000.fits")
    with pytest.raises(InputError, match="expected a raw file, found a FIFO"):
        mwaconvert.open(metafits)


def test_a_header_that_is_not_ascii(tmp_path: Path) -> None:
    from mwaconvert.simulate import simulate

    sim = simulate(tmp_path, "mwax-128", n_tiles=4, duration_s=8, coarse_channels=2)
    sim.metafits.write_bytes(shared("not_ascii_byte.metafits").read_bytes())
    outputs = [tmp_path / name for name in ("a.uvfits", "a.ms", "a_%%.mwaf")]
    mwaconvert.convert(sim.metafits, outputs, rfi="none").write_json(tmp_path / "r.json")
    from astropy.io import fits

    with fits.open(tmp_path / "a.uvfits") as hdus:
        assert any("?" in name for name in hdus[1].data["ANNAME"])


@pytest.mark.parametrize(
    "name", ["n\udcff.uvfits", "n\udcff.ms", "n\udcff_%%.mwaf", "n" * 245 + ".uvfits", "n" * 249 + ".ms"]
)
def test_names_of_outputs(tmp_path: Path, small: Path, name: str) -> None:
    mwaconvert.convert(small, tmp_path / name, rfi="none")
    assert len(list(tmp_path.iterdir())) == (2 if "%" in name else 1)


@pytest.mark.parametrize("name", [b"\xb8.mwaf", b"a\xf1.mwaf"])
def test_names_in_zips_that_are_not_utf8(name, tmp_path):
    path = tmp_path / "1_flags.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x" * (len(name) - 5) + ".mwaf", b"SIMPLE  =")
    raw = path.read_bytes()
    old = b"x" * (len(name) - 5) + b".mwaf"
    utf8 = raw.replace(old, name)
    # the bit that says UTF-8, in both lists
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = utf8.index(mark) + place
        utf8 = utf8[:at] + (0x800).to_bytes(2, "little") + utf8[at + 2 :]
    path.write_bytes(utf8)
    with pytest.raises(FormatError, match=r"1_flags\.zip: damaged or no zip archive"):
        read_flag_files([path])


@pytest.mark.parametrize("baseline", [3e12, -300.0])
def test_antennas_that_no_table_has(small, tmp_path, baseline):
    """A damaged number of an antenna decides neither how much memory is taken nor which other antenna is meant."""
    path = tmp_path / "a.uvfits"
    mwaconvert.convert(small, path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].data.base["BASELINE"][0] = baseline
    with pytest.raises(FormatError, match="its visibilities name antenna"):
        open_visibilities(path)
