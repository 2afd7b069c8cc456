"""Raw files: their names, their HDUs, and whether they belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import FormatError, InputError, MetadataError
from mwaconvert.observation.model import Correlator, Metadata
from mwaconvert.staging import check_input

#: kinds of HDU in a scan (fits.hpp)
KIND_FLOAT32, KIND_INT32, KIND_RICE, KIND_OTHER, KIND_TRUNCATED = range(5)

MWAX_NAME = re.compile(r"(?P<obsid>\d{10})_\d{8}\.?\d{6}_ch(?P<channel>\d{3})_(?P<batch>\d{3})\.fits")
LEGACY_NAME = re.compile(r"(?P<obsid>\d{10})_\d{14}_gpubox(?P<channel>\d{2})(?:_(?P<batch>\d{2}))?\.fits")

#: how deep raw files are looked for in folders
SUBFOLDERS = 3
#: seconds of an integration, kHz of a channel
MOST_OF_PRIMARY = 1_000_000
#: header reads wait for the disk, not for the processor
SCAN_THREADS = 8


@dataclass(frozen=True)
class RawName:
    """What the name of a raw file says."""

    path: Path
    correlator: Correlator
    obsid: int
    #: receiver channel (MWAX) or correlator box (legacy)
    channel: int
    batch: int


@dataclass(frozen=True)
class RawScan:
    """One raw file after a look at its headers.

    Attributes
    ----------
    coarse : index into `Metadata.coarse_channels`
    primary : keywords of the primary HDU
    hdus : records of `_core.scan_fits`
    """

    name: RawName
    coarse: int
    primary: dict[str, Any]
    hdus: npt.NDArray[np.void]


def parse_name(path: Path) -> RawName | None:
    """Take a file name apart; None if it is not that of a raw visibility file."""
    if match := MWAX_NAME.fullmatch(path.name):
        correlator: Correlator = "mwax"
    elif match := LEGACY_NAME.fullmatch(path.name):
        correlator = "legacy"
    else:
        return None
    batch = int(match["batch"] or 0)  # the oldest files have none
    return RawName(path, correlator, int(match["obsid"]), int(match["channel"]), batch)


def raw_files_in(folder: Path, obsid: int, depth: int = SUBFOLDERS) -> tuple[Path, ...]:
    """Raw files of an observation in a folder; if it has none, those in its subfolders. Sorted by name."""
    entries = sorted(folder.iterdir())
    names = (parse_name(path) for path in entries)
    found = tuple(name.path for name in names if name and name.obsid == obsid)
    if found or depth == 0:
        return found
    below = (
        path for path in entries if path.is_dir() and path.suffix != ".ms" and not path.name.startswith(".")
    )
    deeper = [file for path in below for file in _unless_closed(path, obsid, depth - 1)]
    return tuple(sorted(deeper, key=lambda file: file.name))


def _unless_closed(folder: Path, obsid: int, depth: int) -> tuple[Path, ...]:
    try:
        return raw_files_in(folder, obsid, depth)
    except PermissionError:  # a folder of somebody else, who did not mean us
        return ()


def expand_folders(paths: Iterable[Path], obsid: int) -> tuple[Path, ...]:
    """Files as they are, and of each folder the raw files in it.

    Raises
    ------
    InputError : a folder without raw files of this observation
    """
    found: list[Path] = []
    for path in paths:
        inside = raw_files_in(path, obsid) if path.is_dir() else (path,)
        if not inside:
            raise InputError(f"{path}: this folder holds no raw files of obsid {obsid}")
        found += inside
    return tuple(found)


def find_raw_files(metafits: Path, obsid: int) -> tuple[Path, ...]:
    """Raw files of an observation in the folder of its metafits, or else in folders in it, sorted by name.

    Raises
    ------
    InputError : there are none
    """
    found = raw_files_in(metafits.absolute().parent, obsid)
    if not found:
        raise InputError(
            f"{metafits}: no raw files of obsid {obsid} beside it; expected names like "
            f"{obsid}_20210216160014_ch137_000.fits or {obsid}_20171201145440_gpubox01_00.fits"
        )
    return found


def parse_names(paths: Sequence[Path]) -> tuple[RawName, ...]:
    """Names of files given by the user.

    Raises
    ------
    InputError : there are none, one does not exist or has a name that no raw file has, or two correlators are
        mixed
    """
    names = []
    for path in paths:
        check_input(path, "raw file")
        name = parse_name(path)
        if name is None:
            raise InputError(
                f"{path}: not the name of a raw file; expected <obsid>_<date>_ch<NNN>_<BBB>.fits (MWAX) or "
                "<obsid>_<date>_gpubox<NN>_<BB>.fits (legacy)"
            )
        names.append(name)
    if not names:
        raise InputError("no raw files were given")
    by_kind = {name.correlator: name.path for name in names}
    if len(by_kind) > 1:
        raise InputError(
            f"{by_kind['legacy']} is of the legacy correlator and {by_kind['mwax']} of MWAX; "
            "give the files of one correlator"
        )
    return tuple(names)


def scan_files(names: Sequence[RawName], metadata: Metadata) -> tuple[RawScan, ...]:
    """Read the headers of all files and check that they belong to the observation.

    Parameters
    ----------
    names : raw files of one correlator
    metadata : of the same correlator

    Returns
    -------
    scans in order of coarse channel and batch

    Raises
    ------
    MetadataError : obsid or coarse channel is not that of the metafits
    InputError : two files of the same coarse channel and batch
    FormatError : a file is damaged or of the other correlator
    """
    boxes = {channel.gpubox: channel.index for channel in metadata.coarse_channels}
    seen: dict[tuple[int, int], Path] = {}
    for name in names:
        if name.channel not in boxes:
            what = "correlator box" if name.correlator == "legacy" else "receiver channel"
            raise MetadataError(
                f"{name.path}: {what} {name.channel} is not in the metafits {metadata.path}, which has "
                f"{_ranges(sorted(boxes))}"
            )
        key = (name.channel, name.batch)
        if key in seen:
            raise InputError(
                f"{name.path} and {seen[key]} are both batch {name.batch} of the same coarse channel"
            )
        seen[key] = name.path
    with ThreadPoolExecutor(max_workers=min(SCAN_THREADS, len(names))) as pool:
        found = list(pool.map(lambda name: _core.scan_fits(str(name.path)), names))
    scans = [
        RawScan(name, boxes[name.channel], primary, hdus)
        for name, (primary, hdus) in zip(names, found, strict=True)
    ]
    for scan in scans:
        _check_primary(scan, metadata)
    return tuple(sorted(scans, key=lambda scan: (scan.coarse, scan.name.batch)))


def _check_primary(scan: RawScan, metadata: Metadata) -> None:
    path = scan.name.path
    try:
        obsid = int(scan.primary["OBSID"])  # a string in most legacy files
    except KeyError:
        raise FormatError(f"{path}: the primary header has no OBSID; is it a raw file?") from None
    except (ValueError, OverflowError):
        raise FormatError(f"{path}: expected a number for OBSID, found {scan.primary['OBSID']!r}") from None
    if obsid != metadata.obsid:
        raise MetadataError(
            f"{path}: belongs to obsid {obsid}, but the metafits {metadata.path} to {metadata.obsid}; "
            "give the metafits of the same observation"
        )
    version = scan.primary.get("CORR_VER")
    expected = None if scan.name.correlator == "legacy" else 2
    if version != expected:
        raise FormatError(
            f"{path}: its name says {scan.name.correlator}, for which CORR_VER should be "
            f"{expected or 'absent'}, but it is {version or 'absent'}"
        )
    inputs = scan.primary.get("NINPUTS")
    if inputs is not None and inputs != 2 * metadata.n_antennas:
        raise FormatError(
            f"{path}: NINPUTS is {inputs}, but the metafits {metadata.path} lists "
            f"{2 * metadata.n_antennas} inputs"
        )


def uniform_number(scans: Sequence[RawScan], key: str) -> float | None:
    """Value of a primary keyword that all files must share; None if none of them has it.

    Raises
    ------
    FormatError : the files disagree, or it is not a positive number that a correlator can have
    """
    values: dict[float, Path] = {}
    for scan in scans:
        value = scan.primary.get(key)
        if value is None:
            continue
        if isinstance(value, str | bool) or not 0 < value <= MOST_OF_PRIMARY:
            raise FormatError(
                f"{scan.name.path}: expected a positive number of at most {MOST_OF_PRIMARY} for {key}, found {value!r}"
            )
        values.setdefault(float(value), scan.name.path)
    if len(values) > 1:
        (a, path_a), (b, path_b) = list(values.items())[:2]
        raise FormatError(f"{key} differs between the raw files: {a:g} in {path_a}, {b:g} in {path_b}")
    return next(iter(values), None)


def _ranges(numbers: Sequence[int]) -> str:
    """Write 1, 2, 3, 7 as `1-3, 7`."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
