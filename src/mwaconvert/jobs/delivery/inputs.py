"""Raw data of an observation: found at the places that are configured, brought to a job's folder, checked.

Files are looked for in `<place>/<obsid>` and below. Where two places have a file of one name, the first wins.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

from mwaconvert import _core
from mwaconvert.constants import FITS_BLOCK
from mwaconvert.errors import Error, FormatError, InputError
from mwaconvert.jobs.delivery.places import Entry, Source, remove

#: FITS files are a multiple of this
#: what `_core.scan_fits` says of an HDU that ends too early
_TRUNCATED = 4
#: files fetched at the same time
_FETCHES = 4


class Wanted(Enum):
    """What a job needs of an observation."""

    VISIBILITIES = "raw visibilities, metafits and flags"
    METADATA = "metafits and flags"
    VOLTAGES = "voltages and metafits"


class Role(Enum):
    """What a file of an observation is, and how its name looks."""

    METAFITS = re.compile(r"(?P<obsid>\d{10})(?:\.metafits|_metafits\.fits)")
    PPDS = re.compile(r"(?P<obsid>\d{10})_metafits_ppds\.fits")
    FLAGS = re.compile(r"(?P<obsid>\d{10})_(?:flags\.zip|(?:ch)?\d{2,3}\.mwaf)")
    MWAX = re.compile(
        r"(?P<obsid>\d{10})_(?P<when>\d{8}\.?\d{6})_ch(?P<channel>\d{3})_(?P<batch>\d{3})\.fits"
    )
    GPUBOX = re.compile(
        r"(?P<obsid>\d{10})_(?P<when>\d{14})_gpubox(?P<channel>\d{2})(?:_(?P<batch>\d{2}))?\.fits"
    )
    SUBFILE = re.compile(r"(?P<obsid>\d{10})_(?P<when>\d{10})_(?:ch)?(?P<channel>\d{2,3})\.sub")
    VOLTAGE = re.compile(r"(?P<obsid>\d{10})_(?P<when>\d{10})_ch(?P<channel>\d{2,3})\.dat")
    OTHER_VOLTAGE = re.compile(
        r"(?P<obsid>\d{10})_(?P<when>\d{10})_(?:ics\.dat|combined\.tar|vcs\d{2}_\d\.dat)"
    )


_VISIBILITIES = (Role.MWAX, Role.GPUBOX)
_VOLTAGES = (Role.SUBFILE, Role.VOLTAGE, Role.OTHER_VOLTAGE)
_METADATA = (Role.METAFITS, Role.PPDS, Role.FLAGS)
_ROLES = {
    Wanted.VISIBILITIES: (*_METADATA, *_VISIBILITIES),
    Wanted.METADATA: _METADATA,
    Wanted.VOLTAGES: (Role.METAFITS, *_VOLTAGES),
}
#: how long a file of voltages lasts
_SECONDS = {Role.SUBFILE: 8, Role.VOLTAGE: 1, Role.OTHER_VOLTAGE: 1}


@dataclass(frozen=True)
class Span:
    """The part of the voltages that a job wants.

    Attributes
    ----------
    offset_s : from the start of the observation; files are taken that have any of
        [offset_s, offset_s + duration_s)
    channels : first and last receiver channel, both included; None: all
    """

    offset_s: int
    duration_s: int
    channels: tuple[int, int] | None = None


@dataclass(frozen=True)
class RawFile:
    """A file of an observation, at its place.

    Attributes
    ----------
    channel : receiver channel, or box of the legacy correlator
    batch : number of the file in the observation
    when : time in the name: UTC digits, or GPS seconds for voltages
    """

    name: str
    role: Role
    source: Source
    entry: Entry
    channel: int | None = None
    batch: int = 0
    when: str = ""


@dataclass(frozen=True)
class Staged:
    """Raw data in a job's folder.

    Attributes
    ----------
    files : all of them, with the metafits
    missing : names of files that the observation should have and no place has
    damaged : a sentence for each raw file that ends too early
    n_bytes : of all files
    """

    metafits: Path
    files: tuple[Path, ...]
    missing: tuple[str, ...]
    damaged: tuple[str, ...]
    n_bytes: int


def find(
    sources: Sequence[Source], obs_id: int, wanted: Wanted, span: Span | None = None
) -> tuple[RawFile, ...]:
    """Files of an observation.

    Parameters
    ----------
    sources : places, in the order of preference
    span : which voltages; None: all

    Returns
    -------
    files sorted by name, the first of them the metafits

    Raises
    ------
    InputError : there is no metafits, or none of the files that are wanted
    """
    found: dict[str, RawFile] = {}
    for source in sources:
        for entry in source.files(f"{obs_id:010d}"):
            file = _raw_file(source, entry)
            if file is not None and file.name.startswith(f"{obs_id:010d}") and file.role in _ROLES[wanted]:
                found.setdefault(file.name, file)
    where = ", ".join(source.location(f"{obs_id:010d}") for source in sources) or "no place at all"
    if not any(file.role is Role.METAFITS for file in found.values()):
        raise InputError(f"obsid {obs_id}: no metafits file {obs_id}.metafits found; searched in {where}")
    files = [file for file in found.values() if span is None or _in_span(file, obs_id, span)]
    needed = {Wanted.VISIBILITIES: _VISIBILITIES, Wanted.VOLTAGES: _VOLTAGES, Wanted.METADATA: _METADATA}[
        wanted
    ]
    if not any(file.role in needed for file in files):
        part = f" in seconds {span.offset_s} to {span.offset_s + span.duration_s}" if span else ""
        raise InputError(f"obsid {obs_id}: no files found ({wanted.value}){part}; searched in {where}")
    return tuple(sorted(files, key=lambda file: (file.role is not Role.METAFITS, file.name)))


def stage(files: Sequence[RawFile], folder: Path, span: Span | None = None) -> Staged:
    """Bring files to a folder: linked on the same disk, else copied. Files that are there stay.

    Parameters
    ----------
    files : as `find` gives them
    folder : of the job's attempt; made if it is not there
    span : as given to `find`

    Raises
    ------
    FormatError : a file changed meanwhile, or the metafits cannot be read
    ResourceError : a place does not answer, or the disk is full
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_FETCHES) as pool:
        paths = tuple(pool.map(lambda file: _bring(file, folder / file.name), files))
    metafits = paths[0]
    raw = [path for file, path in zip(files, paths, strict=True) if file.role in _VISIBILITIES]
    return Staged(
        metafits,
        paths,
        missing_files(metafits, files, span),
        tuple(sentence for path in raw if (sentence := _damage(path)) is not None),
        sum(path.stat().st_size for path in paths),
    )


def clean_up(folder: Path, work: Path) -> None:
    """Remove a folder of staged files; the originals stay.

    Parameters
    ----------
    work : below which folders of jobs are

    Raises
    ------
    InputError : the folder is not below it
    """
    if work.resolve() not in folder.resolve().parents:
        raise InputError(f"{folder}: is not in {work}, so it is not removed")
    remove(folder)


def missing_files(metafits: Path, files: Iterable[RawFile], span: Span | None = None) -> tuple[str, ...]:
    """Names of files that an observation should have, by its metafits, and that were not found.

    A batch or a box that is absent altogether is known from the metafits and from the numbers of the others;
    batches after the last one of all are not.

    Raises
    ------
    FormatError : the metafits cannot be read
    """
    files = tuple(files)
    channels, start_s, exposure_s = _facts(metafits)
    have = {file.name for file in files}
    obsid = metafits.name[:10]
    expected: list[str] = []
    raw = [file for file in files if file.role in _VISIBILITIES]
    if raw:
        when = {file.batch: file.when for file in raw}
        numbers = channels if raw[0].role is Role.MWAX else range(1, len(channels) + 1)
        for batch in range(max(when) + 1):
            for number in numbers:
                if not any((file.channel, file.batch) == (number, batch) for file in raw):
                    expected.append(_raw_name(obsid, raw[0], when.get(batch, "*"), number, batch))
    for role, ending in ((Role.SUBFILE, "_{}.sub"), (Role.VOLTAGE, "_ch{}.dat")):
        if any(file.role is role for file in files):
            wanted = span or Span(0, exposure_s)
            low, high = wanted.channels or (0, 255)
            step = _SECONDS[role]
            first = wanted.offset_s // step * step
            last = min(wanted.offset_s + wanted.duration_s, exposure_s)
            expected += [
                f"{obsid}_{start_s + second}{ending.format(f'{channel:03d}')}"
                for second in range(first, last, step)
                for channel in channels
                if low <= channel <= high
            ]
    return tuple(name for name in expected if name not in have)


def _raw_name(obsid: str, like: RawFile, when: str, number: int, batch: int) -> str:
    if like.role is Role.MWAX:
        return f"{obsid}_{when}_ch{number:03d}_{batch:03d}.fits"
    batch_part = f"_{batch:02d}" if like.name.count("_") == 3 else ""  # the oldest files have none
    return f"{obsid}_{when}_gpubox{number:02d}{batch_part}.fits"


def _facts(metafits: Path) -> tuple[list[int], int, int]:
    """Receiver channels, GPS second of the start and duration of an observation."""
    from astropy.io import fits

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header: Any = fits.getheader(metafits)
        channels = [int(number) for number in str(header["CHANNELS"]).split(",")]
        return channels, int(header["GPSTIME"]), int(header["EXPOSURE"])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise FormatError(
            f"{metafits}: cannot be read as a metafits file: expected CHANNELS, GPSTIME and EXPOSURE ({error})"
        ) from None


def _raw_file(source: Source, entry: Entry) -> RawFile | None:
    name = PurePosixPath(entry.name).name
    for role in Role:
        match = role.value.fullmatch(name)
        if match:
            found = match.groupdict()
            channel = int(found["channel"]) if found.get("channel") else None
            return RawFile(
                name, role, source, entry, channel, int(found.get("batch") or 0), found.get("when") or ""
            )
    return None


def _in_span(file: RawFile, obs_id: int, span: Span) -> bool:
    if file.role not in _VOLTAGES:
        return True
    second = int(file.when) - obs_id
    if second >= span.offset_s + span.duration_s or second + _SECONDS[file.role] <= span.offset_s:
        return False
    if span.channels is None:
        return True
    return file.channel is not None and span.channels[0] <= file.channel <= span.channels[1]


def _bring(file: RawFile, target: Path) -> Path:
    if not target.is_file() or target.stat().st_size != file.entry.n_bytes:
        target.unlink(missing_ok=True)
        file.source.fetch(file.entry.name, target)
    found = target.stat().st_size
    if file.entry.n_bytes is not None and found != file.entry.n_bytes:
        raise FormatError(
            f"{file.source.location(file.entry.name)}: had {file.entry.n_bytes} bytes when it was found and "
            f"{found} when it came; is somebody still writing it?"
        )
    return target


def _damage(path: Path) -> str | None:
    """What is wrong with a raw file, None if it is whole."""
    try:
        _, hdus = _core.scan_fits(str(path))
    except Error as error:
        return str(error)
    if path.stat().st_size % FITS_BLOCK or not len(hdus) or hdus["kind"][-1] == _TRUNCATED:
        return f"{path}: ends after {path.stat().st_size} bytes in the middle of its data; fetch it again"
    return None
