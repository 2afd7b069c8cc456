"""Candidate files of AMBER, the search program of ARTS: four generations, read while they grow.

A reader gives each whole line once. It takes up where it stopped, by a position that it hands out, and follows files
that appear late, are rotated, cut off or replaced. Lines that are not are counted and said, and cost their
neighbours nothing.

Times are of the start of the boxcar at the highest channel. DMs are in pc/cm^3.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import FormatError, InputError

#: one candidate; width in samples of the input
ROW = np.dtype(
    [("time_s", "f8"), ("dm", "f8"), ("snr", "f8"), ("width", "i4"), ("beam", "i4"), ("instance", "i4")]
)
Rows: TypeAlias = npt.NDArray[np.void]

_PLAIN_2018 = ("beam", "batch", "sample", "integration_step", "time", "DM", "SNR")
_PLAIN = ("beam_id", "batch_id", "sample_id", "integration_step", "time", "DM_id", "DM", "SNR")
_COMPACTED_2018 = (*_PLAIN_2018[:4], "compacted_integration_steps", "time", "DM", "compacted_DMs", "SNR")
_COMPACTED = (*_PLAIN[:4], "compacted_integration_steps", "time", "DM_id", "DM", "compacted_DMs", "SNR")
#: the generations by the number of their columns, which tells them apart
GENERATIONS = {len(names): names for names in (_PLAIN_2018, _PLAIN, _COMPACTED_2018, _COMPACTED)}
#: (beam, width, time, DM, S/N) in a header, by either name
_NEEDED = (("beam_id", "beam"), ("integration_step",), ("time",), ("DM",), ("SNR",))
_IN_NUMBERS = b"0123456789+-.eE \t\r\n"
_LONGEST_LINE = 4096
#: seconds of an observation and DMs beyond which a line is not a candidate; beams of a compound beam
_LIMIT, _MOST_BEAMS = 5e5, 2048
_EXAMPLES = 5
#: bytes before a position that say whether the file is still the one that was read
_MARK = 48


@dataclass(frozen=True)
class BadLines:
    """Lines that are not candidates: how many, and the first of them with what is wrong."""

    count: int = 0
    examples: tuple[str, ...] = ()

    def __add__(self, other: BadLines) -> BadLines:
        return BadLines(self.count + other.count, (*self.examples, *other.examples)[:_EXAMPLES])


@dataclass(frozen=True)
class Batch:
    """What was read at once.

    Parameters
    ----------
    rows : (n) of `ROW`, in the order of each file
    bad : lines that were left out
    """

    rows: Rows
    bad: BadLines = BadLines()


@dataclass
class LineParser:
    """Parses whole lines of one file; learns the columns from a header, or else from their number.

    Parameters
    ----------
    instance : number of the AMBER process, from 1
    downsampling : samples of the input in one of the process. Only writers of compacted files since May 2020 state
        widths in input samples: leave it 1 for them, and set it for all others.
    columns : names, if the header was read before

    Examples
    --------
    >>> LineParser().parse(b"# beam batch sample integration_step time DM SNR\\n3 0 11 50 0.9 56.5 12\\n").rows["dm"]
    array([56.5])
    """

    instance: int = 1
    downsampling: int = 1
    columns: tuple[str, ...] = ()

    def parse(self, lines: bytes) -> Batch:
        """Candidates of whole lines."""
        parts: list[Rows] = []
        bad = BadLines()
        for is_header, block in _blocks(lines):
            if is_header:
                bad += self._learn(block)
            else:
                rows, more = self._parse_block(block)
                parts.append(rows)
                bad += more
        return Batch(np.concatenate(parts) if parts else np.empty(0, ROW), bad)

    def _learn(self, header: bytes) -> BadLines:
        names = tuple(header.decode("latin-1").lstrip("#").split())
        if all(any(name in names for name in either) for either in _NEEDED):
            self.columns = names
            return BadLines()
        return BadLines(
            1, (f"{_shown(header)}: the header lacks one of beam, integration_step, time, DM, SNR",)
        )

    def _parse_block(self, block: bytes) -> tuple[Rows, BadLines]:
        """By the kernel; what is wrong with a line is said here."""
        names = self.columns or GENERATIONS.get(len(block.split(b"\n", 1)[0].split()), ())
        if not names:
            return self._parse_singly(block)
        found = np.empty(block.count(b"\n") + 1, ROW)
        n, bad = _core.parse_candidates(
            text=np.frombuffer(block, np.uint8),
            n_word=len(names),
            place=_places(names),
            downsampling=self.downsampling,
            instance=self.instance,
            rows=found.view(np.uint8).reshape(-1, ROW.itemsize),
        )
        if bad.size and not self.columns:
            return self._parse_singly(block)  # generations may be mixed
        examples = b"\n".join(block[line["begin"] : line["end"]] for line in bad[:_EXAMPLES])
        return found[:n], BadLines(bad.size, self._parse_singly(examples)[1].examples)

    def _parse_singly(self, block: bytes) -> tuple[Rows, BadLines]:
        good, bad = [], BadLines()
        for line in block.split(b"\n"):
            words = line.split()
            if not words:
                continue
            names = self.columns or GENERATIONS.get(len(words), ())
            problem = ""
            if len(words) != len(names):
                problem = f"{len(words)} columns, expected {len(names) or '7 to 10'}"
            elif line.translate(None, _IN_NUMBERS):
                problem = "not all are numbers"
            else:
                try:
                    row = self._rows(np.array([[float(words[k])] for k in _places(names)]))
                except ValueError:
                    problem = "not all are numbers"
                else:
                    problem = "" if _are_sound(row)[0] else "a value out of range"
            if problem:
                bad += BadLines(1, (f"{_shown(line)}: {problem}",))
            else:
                good.append(row)
        return np.concatenate(good) if good else np.empty(0, ROW), bad

    def _rows(self, values: npt.NDArray[np.float64]) -> Rows:
        beam, width, time_s, dm, snr = values
        rows = np.empty(beam.size, ROW)
        rows["time_s"], rows["dm"], rows["snr"] = time_s, dm, snr
        with np.errstate(invalid="ignore"):  # what does not fit is judged after
            rows["width"] = np.where(np.abs(width) < 1 << 24, width * self.downsampling, -1)
            rows["beam"] = np.where(np.abs(beam) < 1 << 24, beam, -1)
        rows["instance"] = self.instance
        return rows


def _blocks(lines: bytes) -> Iterator[tuple[bool, bytes]]:
    """(is a header, lines) in order; headers stand alone."""
    start = 0
    while start < len(lines):
        is_header = lines.startswith(b"#", start)
        end = lines.find(b"\n" if is_header else b"\n#", start) + 1 or len(lines)
        yield is_header, lines[start:end].rstrip(b"\r\n") if is_header else lines[start:end]
        start = end


def _places(names: tuple[str, ...]) -> tuple[int, int, int, int, int]:
    beam, width, time, dm, snr = (
        next(names.index(name) for name in either if name in names) for either in _NEEDED
    )
    return beam, width, time, dm, snr


def _are_sound(rows: Rows) -> npt.NDArray[np.bool_]:
    # comparisons with NaN are false
    sound = (rows["time_s"] >= 0) & (rows["time_s"] < _LIMIT) & (rows["dm"] >= 0) & (rows["dm"] < _LIMIT)
    sound &= (rows["snr"] > 0) & (rows["snr"] < np.inf) & (rows["width"] > 0)
    return np.asarray(sound & (rows["beam"] >= 0) & (rows["beam"] < _MOST_BEAMS))


def _shown(line: bytes) -> str:
    text = line[:60].decode("ascii", "backslashreplace")
    return repr(text + ("..." if len(line) > 60 else ""))


@dataclass(frozen=True)
class Position:
    """Up to where a file was read; plain data, to be kept by whoever must not lose or repeat a line.

    Parameters
    ----------
    device, inode : of the file
    offset : bytes that were read, whole lines
    mark : the last of them, in hex: a file that differs there is another one
    columns : names of the header
    """

    device: int
    inode: int
    offset: int
    mark: str
    columns: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Position:
        """Of what `facts` gave.

        Raises
        ------
        FormatError
        """
        try:
            place = cls(**{**facts, "columns": tuple(facts["columns"])})
            bytes.fromhex(place.mark)
            if place.offset < 0:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise FormatError(f"no position in a candidate file: {dict(facts)}; start without it") from None
        return place


@dataclass
class AmberTail:
    """One file of candidates that grows.

    Parameters
    ----------
    path : the file, which need not exist yet
    parser : of its lines
    position : where to take up; None: at the beginning

    Attributes
    ----------
    replaced : how often another file came under this name, or the file was cut off
    """

    path: Path
    parser: LineParser = field(default_factory=LineParser)
    position: Position | None = None
    replaced: int = 0
    _file: int | None = field(default=None, repr=False)
    _offset: int = 0
    _mark: bytes = b""

    def read(self, most: int = 16 << 20, *, at_end: bool = False) -> Batch:
        """Candidates of whole lines that came since.

        Parameters
        ----------
        most : bytes read at once; call again while `most` bytes may be left
        at_end : nothing more will be written: a last line without its end is taken, too
        """
        if self._file is None and not self._open():
            return Batch(np.empty(0, ROW))
        lines, bad = self._lines(most, at_end=at_end)
        if not lines and not bad.count and self._is_replaced():
            self.close()
            self.position = None
            return self.read(most, at_end=at_end)
        batch = self.parser.parse(lines)
        self._note()
        return Batch(batch.rows, bad + batch.bad)

    def close(self) -> None:
        """Let go of the file; `read` takes up where it stopped."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> bool:
        """Open the file of the position, under its name or where it was moved to; else the file of the name."""
        place = self.position
        if place is not None:
            for path in self._where(place):
                file = os.open(path, os.O_RDONLY)
                mark = bytes.fromhex(place.mark)
                if os.pread(file, len(mark), place.offset - len(mark)) == mark:
                    self._file, self._offset, self._mark = file, place.offset, mark
                    self.parser.columns = place.columns
                    return True
                os.close(file)
        try:
            self._file = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        self.replaced += place is not None
        self._offset, self._mark, self.parser.columns = 0, b"", ()
        return True

    def _where(self, place: Position) -> Iterator[Path]:
        if not self.path.parent.is_dir():
            return
        for path in [self.path, *sorted(self.path.parent.glob(f"{self.path.name}?*"))]:
            try:
                status = path.stat()
            except OSError:
                continue
            if (status.st_dev, status.st_ino) == (place.device, place.inode):
                yield path

    def _lines(self, most: int, *, at_end: bool) -> tuple[bytes, BadLines]:
        """Whole lines from the offset on; the offset and the mark move behind them."""
        assert self._file is not None
        n_mark = len(self._mark)
        text = os.pread(self._file, n_mark + most, self._offset - n_mark)
        if text[:n_mark] != self._mark:  # cut off, or written anew in place
            self.replaced += 1
            self._offset, self._mark, self.parser.columns = 0, b"", ()
            n_mark, text = 0, os.pread(self._file, most, 0)
        new = text[n_mark:]
        end = new.rfind(b"\n") + 1
        bad = BadLines()
        if at_end and end < len(new) < most:
            end = len(new)
        elif (
            not end and len(new) > _LONGEST_LINE
        ):  # no candidate; what follows of it fails as a line of its own
            bad = BadLines(1, (f"{_shown(new)}: over {_LONGEST_LINE} bytes without a line end",))
            end = len(new)
        lines = new[:end]
        self._offset += end
        self._mark = (self._mark + lines)[-_MARK:]
        return (b"" if bad.count else lines), bad

    def _is_replaced(self) -> bool:
        assert self._file is not None
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._file)
        if (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino):
            return False
        self.replaced += 1
        return True

    def _note(self) -> None:
        assert self._file is not None
        status = os.fstat(self._file)
        self.position = Position(
            status.st_dev, status.st_ino, self._offset, self._mark.hex(), self.parser.columns
        )


class AmberFiles:
    """The candidate files of one compound beam, one for each AMBER process.

    Parameters
    ----------
    folder : amber_dir of the observation; it need not exist yet
    beam : number of the compound beam
    n_instances : AMBER processes
    downsamplings : of each; see `LineParser`
    positions : of an earlier reader, by file name
    """

    def __init__(
        self,
        folder: Path,
        beam: int,
        n_instances: int = 3,
        downsamplings: tuple[int, ...] | None = None,
        positions: Mapping[str, Position] | None = None,
    ) -> None:
        steps = downsamplings or (1,) * n_instances
        if len(steps) != n_instances:
            raise InputError(f"`downsamplings`: expected {n_instances} numbers, found {len(steps)}")
        names = [f"CB{beam:02d}_step{i + 1}.trigger" for i in range(n_instances)]
        self.tails = [
            AmberTail(folder / name, LineParser(i + 1, steps[i]), (positions or {}).get(name))
            for i, name in enumerate(names)
        ]

    def read(self, *, at_end: bool = False) -> Batch:
        """What came since in all files."""
        batches = [tail.read(at_end=at_end) for tail in self.tails]
        return Batch(
            np.concatenate([batch.rows for batch in batches]), sum((b.bad for b in batches), BadLines())
        )

    def positions(self) -> dict[str, Position]:
        """By file name, of the files that were found; keep them with what was made of the lines."""
        return {tail.path.name: tail.position for tail in self.tails if tail.position is not None}

    def close(self) -> None:
        for tail in self.tails:
            tail.close()


def read_whole(path: Path, instance: int = 1, downsampling: int = 1) -> Batch:
    """A file that is complete.

    Raises
    ------
    OSError
    """
    return LineParser(instance, downsampling).parse(path.read_bytes())
