"""The archive of CHIME/FRB: where files of an event lie, what is there, and what is missing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum, StrEnum
from pathlib import Path, PurePosixPath

from mwaconvert.errors import InputError
from mwaconvert.text import some

#: of the correlator; a file of baseband each
N_COARSE = 1024
_TELESCOPE = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_CHUNK = re.compile(
    r"astro_(?P<event>\d+)_(?P<utc>\d{20})_beam(?P<beam>\d{4})_(?P<chunk>\d{8})_(?P<binning>\d{2})\.msgpack"
)
_BASEBAND = re.compile(r"baseband_(?P<event>\d+)_(?P<freq>\d{1,4})\.h5")
_MOST_EVENT = 1 << 63


class Data(StrEnum):
    """What was recorded."""

    INTENSITY = "intensity"
    BASEBAND = "baseband"


class Level(StrEnum):
    """As it was recorded, or what was made of it."""

    RAW = "raw"
    PROCESSED = "processed"


class Layout(Enum):
    """How folders of an event are named below a root."""

    DATED = "data/TELESCOPE/DATA/LEVEL/YYYY/MM/DD/astro_EVENT"
    OLDER = "YYYY/MM/DD/astro_EVENT/DATA/LEVEL"


@dataclass(frozen=True)
class Root:
    """A folder that holds an archive; nothing outside of it is ever read.

    Parameters
    ----------
    name : what it is called in lists
    folder : the folder
    layout : how events are named in it
    """

    name: str
    folder: Path
    layout: Layout = Layout.DATED

    def days(self, telescope: str, data: Data, level: Level, day: date | None) -> Iterator[Path]:
        """Folders of days: of one, or of all there are."""
        base = self.folder
        if self.layout is Layout.DATED:
            base = base / "data" / telescope / data / level
        if day is not None:
            yield base / f"{day:%Y}" / f"{day:%m}" / f"{day:%d}"
            return
        for year in _numbered(base, 4):
            for month in _numbered(year, 2):
                yield from _numbered(month, 2)

    def event_folder(self, day_folder: Path, data: Data, level: Level, event: int) -> Path:
        """The folder of an event in that of its day."""
        folder = day_folder / f"astro_{event}"
        return folder if self.layout is Layout.DATED else folder / data / level


#: the site, scratch space, the mirror at CANFAR, and the older archive of the tutorial's helper
ROOTS = (
    Root("site", Path("/")),
    Root("scratch", Path("/data/user-data")),
    Root("canfar", Path("/arc/projects/chime_frb")),
    Root("older", Path("/data/frb-archiver"), Layout.OLDER),
)


@dataclass(frozen=True)
class Holding:
    """Files of one kind that a root holds of an event.

    Parameters
    ----------
    root : where
    data, level : what
    folder : of the files
    files : their names, in the order of their numbers
    n_bytes : all of them
    beam : of intensities; None of others
    missing : what a whole set would have beyond, in words; "" if nothing
    refused : names of links that lead out of the root, which are not read
    """

    root: Root
    data: Data
    level: Level
    folder: Path
    files: tuple[str, ...]
    n_bytes: int
    beam: int | None = None
    missing: str = ""
    refused: tuple[str, ...] = ()

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [self.folder / name for name in self.files]


@dataclass(frozen=True)
class EventFiles:
    """What the archive holds of an event."""

    event: int
    holdings: tuple[Holding, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Kinds of data of which nothing was found, in words."""
        found = {(held.data, held.level) for held in self.holdings}
        return tuple(f"{level} {data}" for data in Data for level in Level if (data, level) not in found)

    def beams(self) -> dict[int, Holding]:
        """Raw intensity by beam, from the first root that holds it."""
        by_beam: dict[int, Holding] = {}
        for held in self.holdings:
            if (
                (held.data, held.level) == (Data.INTENSITY, Level.RAW)
                and held.beam is not None
                and held.files
            ):
                by_beam.setdefault(held.beam, held)
        return dict(sorted(by_beam.items()))

    def baseband(self) -> list[Path]:
        """Files of the raw baseband, one for each frequency, from the first root that holds any.

        Raises
        ------
        InputError : there is none
        """
        for held in self.holdings:
            own = [p for p in held.paths if _BASEBAND.fullmatch(p.name)]
            if (held.data, held.level) == (Data.BASEBAND, Level.RAW) and own:
                return own
        raise InputError(f"event {self.event}: there is no raw baseband of it in the archive")


def event_number(text: str | int) -> int:
    """The number of an event.

    Raises
    ------
    InputError : it is none: such numbers become names of folders

    Examples
    --------
    >>> event_number("9386707")
    9386707
    """
    words = str(text)
    if not (words.isascii() and words.isdigit() and 0 < int(words) < _MOST_EVENT):
        raise InputError(f"an event {words[:40]!r}: expected its number, such as 9386707", option="event")
    return int(words)


def telescope_name(name: str) -> str:
    """The name of a telescope, as folders have it.

    Raises
    ------
    InputError : it cannot be one
    """
    if not _TELESCOPE.fullmatch(name):
        raise InputError(
            f"a telescope {name[:40]!r}: expected a name such as chime or kko", option="telescope"
        )
    return name


def roots_of(words: Sequence[str]) -> tuple[Root, ...]:
    """Roots from words: a folder, NAME=FOLDER; with `older` as the name, its events are named in the older way.

    Parameters
    ----------
    words : none: those of the site

    Raises
    ------
    InputError : there is no such folder

    Examples
    --------
    >>> [(root.name, root.folder) for root in roots_of(["canfar=/"])]
    [('canfar', PosixPath('/'))]
    """
    if not words:
        return ROOTS
    found = []
    for word in words:
        name, equals, folder = word.partition("=")
        path = Path(folder if equals else name).expanduser()
        if not path.is_dir():
            raise InputError(
                f"{path}: expected the folder of an archive, there is none", option="roots", path=path
            )
        layout = Layout.OLDER if name == "older" and equals else Layout.DATED
        found.append(Root(name if equals else str(path), path, layout))
    return tuple(found)


def find_event(
    event: int | str, roots: Sequence[Root] = ROOTS, *, telescope: str = "chime", day: date | None = None
) -> EventFiles:
    """What roots hold of an event.

    Parameters
    ----------
    event : its number
    roots : where to look, in this order
    telescope : of which
    day : UTC, on which it was recorded; None: all days are looked at

    Raises
    ------
    InputError : a number or a name that cannot be one
    """
    number, telescope = event_number(event), telescope_name(telescope)
    held: list[Holding] = []
    for root in roots:
        for data in Data:
            for level in Level:
                for day_folder in root.days(telescope, data, level, day):
                    folder = root.event_folder(day_folder, data, level, number)
                    if _inside(folder, root.folder) and folder.is_dir():
                        held += _holdings(root, data, level, folder, number)
    return EventFiles(number, tuple(held))


def locate(name: str, roots: Sequence[Root] = ROOTS) -> Path:
    """A file of the archive by the name that catalogues have, resolved within the root that holds it.

    Parameters
    ----------
    name : a path with or without the root before it, /data/chime/intensity/raw/2018/07/25/astro_9386707/0123/...
    roots : where to look, in this order

    Raises
    ------
    InputError : there is no such file, or the name or a link leads out of the roots
    """
    path = PurePosixPath(name)
    if "\0" in name or ".." in path.parts or not path.name:
        raise InputError(f"{name[:200]!r} does not name a file of the archive")
    for root in roots:
        below = path.relative_to(root.folder) if path.is_relative_to(root.folder) else path
        inner = root.folder.joinpath(*[part for part in below.parts if part != "/"])
        if _inside(inner, root.folder) and inner.is_file():
            return inner.resolve()
    raise InputError(
        f"{name[:200]}: there is no such file in the archive ({some([str(r.folder) for r in roots])})"
    )


def _inside(path: Path, root: Path) -> bool:
    """Whether a path, with all its links followed, is within a root."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links that follow each other round
        return False


def _numbered(folder: Path, digits: int) -> list[Path]:
    """Folders whose names are so many digits, in their order."""
    try:
        with os.scandir(folder) as entries:
            names = [
                e.name for e in entries if len(e.name) == digits and e.name.isascii() and e.name.isdigit()
            ]
    except OSError:  # not there, or not ours to read
        return []
    return [folder / name for name in sorted(names)]


def _holdings(root: Root, data: Data, level: Level, folder: Path, event: int) -> Iterator[Holding]:
    if data is Data.INTENSITY:
        for beam in _numbered(folder, 4):
            if _inside(beam, root.folder):
                yield _holding(root, data, level, beam, event, int(beam.name))
    held = _holding(root, data, level, folder, event, None)
    if held.files or held.refused:
        yield held


def _holding(root: Root, data: Data, level: Level, folder: Path, event: int, beam: int | None) -> Holding:
    files, refused, n_bytes = [], [], 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _inside(folder / entry.name, root.folder):
                refused.append(entry.name)
            elif entry.is_file():
                files.append(entry.name)
                n_bytes += entry.stat().st_size
    files.sort(key=natural)
    missing = ""
    if level is Level.RAW and data is Data.BASEBAND:
        missing = _missing_frequencies(files, event)
    elif level is Level.RAW and beam is not None:
        missing = _missing_chunks(files, event, beam)
    return Holding(root, data, level, folder, tuple(files), n_bytes, beam, missing, tuple(sorted(refused)))


def natural(name: str) -> list[int | str]:
    """Key that sorts names by the numbers in them.

    Examples
    --------
    >>> sorted(["b_10", "b_9"], key=natural)
    ['b_9', 'b_10']
    """
    return [int(part) if k % 2 else part for k, part in enumerate(re.split(r"([0-9]+)", name))]


def _missing_chunks(files: Sequence[str], event: int, beam: int) -> str:
    """Numbers between those of chunks of one binning; what was averaged more counts in longer steps."""
    chunks = [found for name in files if (found := _CHUNK.fullmatch(name))]
    own = [c for c in chunks if int(c["event"]) == event and int(c["beam"]) == beam]
    if not own:
        return "all chunks"
    finest = min(int(c["binning"]) for c in own)
    if any(int(c["binning"]) != finest for c in own):
        return ""  # only the files themselves tell
    numbers = {int(c["chunk"]) for c in own}
    span = range(min(numbers), max(numbers) + 1)
    if len(span) > 100 * len(numbers):
        return "most chunks"
    gone = [number for number in span if number not in numbers]
    return f"chunks {_ranges(gone)}" if gone else ""


def _missing_frequencies(files: Sequence[str], event: int) -> str:
    there = {
        int(found["freq"])
        for name in files
        if (found := _BASEBAND.fullmatch(name)) and int(found["event"]) == event
    }
    gone = sorted(set(range(N_COARSE)) - there)
    return f"frequencies {_ranges(gone)}" if gone else ""


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers as 3, 7-10.

    Examples
    --------
    >>> _ranges([3, 7, 8, 9, 10])
    '3, 7-10'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
