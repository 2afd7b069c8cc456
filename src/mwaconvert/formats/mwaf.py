"""Flag files (.mwaf): one bit for each timestep, baseline and fine channel of one coarse channel.

Version 1.0 is cotter's, 2.0 is Birli's. A row of the table FLAGS holds the channels of one baseline at one
timestep as bits, the first channel in the highest bit; rows run through baselines fastest. The polarisations
share a flag.
"""

from __future__ import annotations

import io
import re
import struct
import textwrap
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert.constants import FITS_BLOCK, FITS_CARD
from mwaconvert.errors import Error, FormatError, ResourceError
from mwaconvert.fits_heads import check_open_heads
from mwaconvert.formats.fits_text import (
    Card,
    LongString,
    header_bytes,
    table_bytes,
)
from mwaconvert.formats.promises import TIGHTEST_FLAGS, check_promise
from mwaconvert.formats.stored import StoredArray
from mwaconvert.staging import Kind, StagedPath, check_input
from mwaconvert.text import size_text

if TYPE_CHECKING:
    from mwaconvert.observation.model import Metadata

#: <obsid>_<box of the legacy correlator> or <obsid>_ch<receiver channel>; archives of them end in .zip
NAME = re.compile(r"(?P<obsid>\d{10})_(?:ch)?(?P<box>\d{2,3})\.mwaf")
#: an observation has 24 or 32 coarse channels; an archive with many more files cannot hold its flags
MOST_MEMBERS = 256
#: of the list of members at the end of an archive
_LIST_BYTES = 1 << 20
#: the tables after the flags take less than this for each channel, baseline and antenna
_AFTER_BYTES = 256
#: what FITS files begin with
MAGIC = b"SIMPLE  ="
#: more than the headers take
HEADERS_BYTES = 64 * FITS_BLOCK

PackedFlags = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FlagFile:
    """The flags of one coarse channel.

    Attributes
    ----------
    name : path, that of the archive and the member if it came from one
    version : 1.0 or 2.0
    gpubox : legacy correlator box, or receiver channel number (MWAX): `CoarseChannel.gpubox`
    n_scans : timesteps that the header speaks of; version 1.0 may have written fewer, the last ones
    centre_gps_s : centre of the first timestep; None in version 1.0, which does not say
    flags : (n_times, n_baselines, n_bytes) eight channels a byte, the first in the highest bit
    """

    name: str
    version: str
    obsid: int
    gpubox: int
    n_antennas: int
    n_channels: int
    n_scans: int
    centre_gps_s: float | None
    software: str
    flags: PackedFlags | StoredArray

    @property
    def n_times(self) -> int:
        return len(self.flags)

    def unpacked(self, time: int) -> npt.NDArray[np.bool_]:
        """(n_baselines, n_channels) flags of one timestep."""
        return np.unpackbits(self.flags[time], axis=1, count=self.n_channels).astype(bool)

    @property
    def n_missing(self) -> int:
        """Timesteps that are announced, but have no flags: the first ones."""
        return self.n_scans - self.n_times


def find_flag_files(folder: Path, obsid: int) -> tuple[Path, ...]:
    """Flag files of an observation in a folder: the files themselves, else archives of them."""
    files = [p for p in folder.iterdir() if (m := NAME.fullmatch(p.name)) and int(m["obsid"]) == obsid]
    if not files:
        files = [p for p in folder.glob(f"{obsid}*.zip") if "flag" in p.name]
    return tuple(sorted(files))


def read_flag_files(paths: Iterable[Path]) -> tuple[FlagFile, ...]:
    """Read flag files and zip archives of them.

    Raises
    ------
    InputError : there is no such file
    FormatError : a file that is damaged, or not a flag file
    """
    found: list[FlagFile] = []
    for path in paths:
        check_input(path, "flag file")
        try:
            if path.suffix.lower() == ".zip":
                found += _read_archive(path)
            elif path.stat().st_size == 0:
                raise FormatError(f"{path}: not a flag file: it is empty")
            else:  # flags stay on disk until they are looked at
                stored = StoredArray(path, np.dtype(np.uint8), 0, (path.stat().st_size,))
                found.append(parse_flag_file(stored, str(path)))
        except OSError as error:
            raise ResourceError(f"{path}: cannot be read: {error.strerror}") from None
    return tuple(found)


def _read_archive(path: Path) -> list[FlagFile]:
    found = []
    try:
        _check_list(path)
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.lower().endswith(".mwaf")]
            if len(members) > MOST_MEMBERS:
                raise FormatError(f"{path}: holds {len(members)} flag files; no observation has so many")
            sizes = [_member_bytes(path, archive, member) for member in members]
            packed = sum(member.compress_size for member in members)
            check_promise(path, "the flags in it", sum(sizes), packed, tightest=TIGHTEST_FLAGS)
            for member, size in zip(members, sizes, strict=True):
                with archive.open(member) as file:
                    data = np.frombuffer(file.read(size), np.uint8)
                found.append(parse_flag_file(data, f"{path}/{member.filename}"))
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
        OverflowError, struct.error,
    ) as error:  # fmt: skip
        raise FormatError(
            f"{path}: damaged or no zip archive of flag files: {error}; fetch it again"
        ) from None
    if not found:
        raise FormatError(f"{path}: holds no flag file (.mwaf)")
    return found


def _check_list(path: Path) -> None:
    """Refuse a long list of members before it is read into memory."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 22))
        tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at >= 0 and int.from_bytes(tail[at + 12 : at + 16], "little") > _LIST_BYTES:
        raise FormatError(f"{path}: its list of files is too long for an archive of flag files")


def _member_bytes(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Bytes of a member up to the end of its flags, as its own header announces them."""
    with archive.open(member) as file:
        head = np.frombuffer(file.read(HEADERS_BYTES), np.uint8)
    name = f"{path}/{member.filename}"
    primary, table, offset = _headers(head, name)
    sized = np.broadcast_to(np.uint8(0), (member.file_size,))  # of that length, without memory
    flags = _parse(sized, name, primary, table, offset)
    end = offset + flags.flags.size
    rest = _AFTER_BYTES * (flags.n_channels + flags.flags.shape[1] + flags.n_antennas)
    if member.file_size > end + HEADERS_BYTES + rest:
        raise FormatError(
            f"{name}: would unpack to {size_text(member.file_size)}, but announces {size_text(flags.flags.size)} "
            "of flags; fetch it again, or remove it"
        )
    return min(member.file_size, end)


def parse_flag_file(data: PackedFlags | StoredArray, name: str) -> FlagFile:
    """A flag file from its bytes.

    Parameters
    ----------
    data : (n_bytes,); the flags will be a part of it
    name : for messages

    Raises
    ------
    FormatError
    """
    primary, table, offset = _headers(data, name)
    try:
        return _parse(data, name, primary, table, offset)
    except Error:
        raise
    except Exception:  # values of a damaged header can be anything
        raise _damaged(name) from None


def _headers(data: PackedFlags | StoredArray, name: str) -> tuple[Any, Any, int]:
    """The first two headers of a flag file, and where the data of the second begin."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    headers = data[:HEADERS_BYTES].tobytes()
    if not headers.startswith(MAGIC):
        raise FormatError(
            f"{name}: not a flag file: expected a FITS file, which begins with {MAGIC.decode()!r}, found "
            f"{headers[: len(MAGIC)].decode('latin-1')!r}; fetch it again, or remove it"
        )
    try:
        check_open_heads(io.BytesIO(headers), name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(io.BytesIO(headers), memmap=False) as hdus:
                return hdus[0].header, hdus[1].header, int(hdus[1].fileinfo()["datLoc"])
    except Exception:  # a damaged header can make astropy raise anything
        raise _damaged(name) from None


def _damaged(name: str) -> FormatError:
    return FormatError(
        f"{name}: not a flag file: expected a FITS file with a table FLAGS, found a damaged header; fetch it "
        "again, or remove it"
    )


def _parse(data: PackedFlags | StoredArray, name: str, primary: Any, table: Any, offset: int) -> FlagFile:
    def number(key: str) -> int:
        try:
            return int(primary[key])
        except (KeyError, ValueError, TypeError):
            raise FormatError(f"{name}: not a flag file: its header has no usable {key}") from None

    version = str(primary.get("VERSION", "")).strip()
    if version not in ("1.0", "2.0"):
        raise FormatError(f"{name}: version '{version}' of flag files is unknown; 1.0 and 2.0 are read")
    n_antennas, n_channels = number("NANTENNA"), number("NCHANS")
    n_baselines = n_antennas * (n_antennas + 1) // 2
    form = re.fullmatch(r"(\d*)X", str(table.get("TFORM1", "")).strip())
    if str(table.get("TTYPE1", "")).strip() != "FLAGS" or table.get("TFIELDS") != 1 or form is None:
        raise FormatError(f"{name}: not a flag file: its first table has not the one column FLAGS of bits")
    width, n_rows = int(table["NAXIS1"]), int(table["NAXIS2"])
    if int(form[1] or 1) != n_channels or width != -(-n_channels // 8):
        raise FormatError(
            f"{name}: damaged: NCHANS is {n_channels}, but a row of FLAGS holds {form[1] or 1} channels"
        )
    if n_antennas < 1 or n_rows == 0 or n_rows % n_baselines:
        raise FormatError(
            f"{name}: damaged: {n_rows} rows are not a whole number of timesteps of the {n_baselines} baselines "
            f"of {n_antennas} antennas"
        )
    if len(data) < offset + n_rows * width:
        raise FormatError(
            f"{name}: ends early: expected {offset + n_rows * width} bytes, found {len(data)}; fetch it again"
        )
    n_scans = number("NSCANS")
    if n_rows // n_baselines > n_scans:
        raise FormatError(
            f"{name}: damaged: {n_rows // n_baselines} timesteps of flags, but NSCANS is {n_scans}"
        )
    shape = (n_rows // n_baselines, n_baselines, width)
    if isinstance(data, StoredArray):
        flags: PackedFlags | StoredArray = data.part(offset, shape)
    else:
        flags = data[offset : offset + n_rows * width].reshape(shape)
    centre = None
    if version == "2.0":
        try:
            centre = float(primary["GPSSTART"])
        except (KeyError, ValueError, TypeError):
            raise FormatError(f"{name}: not a flag file: its header has no usable GPSSTART") from None
    return FlagFile(
        name=name,
        version=version,
        obsid=number("GPSTIME" if version == "1.0" else "OBSID"),
        gpubox=number("GPUBOXNO"),
        n_antennas=n_antennas,
        n_channels=n_channels,
        n_scans=n_scans,
        centre_gps_s=centre,
        software=str(primary.get("SOFTWARE", primary.get("COTVER", ""))).strip(),
        flags=flags,
    )


def flag_file_bytes(metadata: Metadata, n_times: int) -> int:
    """Size of a file that `FlagFileWriter` writes; good to a block or two, which long command lines take."""
    n_baselines = metadata.n_antennas * (metadata.n_antennas + 1) // 2
    longest_name = max(len(antenna.name) for antenna in metadata.antennas)
    data = (
        0,  # of the first header
        n_times * n_baselines * -(-metadata.n_fine // 8),
        metadata.n_fine * (4 + 8 + 8),  # CH_OCC
        n_baselines * (3 * 4 + 8 + 8),  # BL_OCC
        metadata.n_antennas * (4 + longest_name),  # TILES
    )
    return sum(FITS_BLOCK + -(-size // FITS_BLOCK) * FITS_BLOCK for size in data)


class FlagFileWriter:
    """Writes the flags of one coarse channel as version 2.0, timestep by timestep.

    Parameters
    ----------
    path : file to write
    metadata : observation
    gpubox : `CoarseChannel.gpubox`
    n_times : timesteps that will be written
    centre_gps_s : centre of the first one
    software, command_line : who wrote it
    aoflagger, strategy : version of AOFlagger, if it was that, and the strategy that found the flags; empty for none
    comment : what readers should know
    overwrite : whether an existing file may be replaced

    Raises
    ------
    InputError, ResourceError : the file exists already, or cannot be written
    """

    def __init__(
        self,
        path: Path,
        metadata: Metadata,
        gpubox: int,
        n_times: int,
        centre_gps_s: float,
        *,
        software: str,
        command_line: str = "",
        aoflagger: str = "",
        strategy: str = "",
        comment: str = "",
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self._metadata, self._n_times = metadata, n_times
        self._antenna1, self._antenna2 = np.triu_indices(metadata.n_antennas)
        self._by_channel = np.zeros(metadata.n_fine, np.int64)
        self._by_baseline = np.zeros(len(self._antenna1), np.int64)
        self._written = 0
        self._staged = StagedPath(path, overwrite, Kind.FLAGS)
        cards: list[Card] = [
            ("SIMPLE", True),
            ("BITPIX", 8),
            ("NAXIS", 0),
            ("EXTEND", True),
            ("VERSION", "2.0"),
            ("OBSID", metadata.obsid),
            ("GPSSTART", f"{centre_gps_s:.2f}".rstrip("0").rstrip(".")),
            ("NCHANS", metadata.n_fine),
            ("NANTENNA", metadata.n_antennas),
            ("NSCANS", n_times),
            ("NPOLS", 1),
            ("GPUBOXNO", gpubox),
            ("SOFTWARE", LongString(software)),
            ("AO_VER", aoflagger),
            ("AO_STRAT", LongString(strategy)),
            ("CMDLINE", LongString(command_line)),
            *(("COMMENT", line) for line in textwrap.wrap(comment, FITS_CARD - 8)),
        ]
        width = -(-metadata.n_fine // 8)
        table: list[Card] = [
            ("XTENSION", "BINTABLE"),
            ("BITPIX", 8),
            ("NAXIS", 2),
            ("NAXIS1", width),
            ("NAXIS2", n_times * len(self._antenna1)),
            ("PCOUNT", 0),
            ("GCOUNT", 1),
            ("TFIELDS", 1),
            ("TTYPE1", "FLAGS"),
            ("TFORM1", f"{metadata.n_fine}X"),
            ("EXTNAME", "FLAGS"),
        ]
        try:
            self._file = self._staged.temporary.open("wb")
            self._file.write(header_bytes(cards) + header_bytes(table))
        except OSError as error:
            self._staged.discard()
            raise ResourceError(f"{path}: cannot be written: {error.strerror}") from None

    def write(self, flags: npt.NDArray[np.bool_]) -> None:
        """Append a timestep.

        Parameters
        ----------
        flags : (n_baselines, n_fine) all baselines (0,0), (0,1) .. (n-1,n-1)
        """
        if flags.shape != (len(self._by_baseline), len(self._by_channel)):
            raise ValueError(f"flags have shape {flags.shape}")
        self._by_channel += flags.sum(axis=0)
        self._by_baseline += flags.sum(axis=1)
        self._file.write(np.packbits(flags, axis=1).tobytes())
        self._written += 1

    def close(self) -> None:
        """Add the tables, sync the file and give it its final name."""
        if self._written != self._n_times:
            raise ValueError(f"{self._written} timesteps were written, {self._n_times} announced")
        n_baselines, n_fine = len(self._by_baseline), len(self._by_channel)
        size = n_baselines * self._n_times * -(-n_fine // 8)
        names = np.array([a.name.encode("ascii", "replace") for a in self._metadata.antennas], "S")
        index = np.arange(n_baselines, dtype=np.int32)
        tables = (
            table_bytes(
                "CH_OCC",
                [
                    ("Index", np.arange(n_fine, dtype=np.int32), None),
                    ("Count", self._by_channel, None),
                    ("Occupancy", self._by_channel / (n_baselines * self._n_times), None),
                ],
                [],
            ),
            table_bytes(
                "BL_OCC",
                [
                    ("Index", index, None),
                    ("Antenna1", self._antenna1.astype(np.int32), None),
                    ("Antenna2", self._antenna2.astype(np.int32), None),
                    ("Count", self._by_baseline, None),
                    ("Occupancy", self._by_baseline / (n_fine * self._n_times), None),
                ],
                [],
            ),
            table_bytes(
                "TILES",
                [("Antenna", np.arange(len(names), dtype=np.int32), None), ("TileName", names, None)],
                [],
            ),
        )
        try:
            self._file.write(bytes(-size % FITS_BLOCK) + b"".join(tables))
            self._file.close()
            self._staged.commit()
        except OSError as error:
            self.abort()
            raise ResourceError(f"{self.path}: writing failed: {error.strerror}") from error

    def abort(self) -> None:
        """Remove what was written."""
        self._file.close()
        self._staged.discard()
