"""Filterbank data as they come: a file that grows, or a folder of pages of a ring."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import Error, InputError, MetadataError
from mwaconvert.formats.spectra.reader import open_stream
from mwaconvert.spectra.stream import Data, Stream

_POLL_S = 0.05


def contiguous(data: npt.NDArray[Any]) -> Data:
    """A copy of a part that does not hold on to the whole, of the same type."""
    return cast("Data", np.ascontiguousarray(data))


@dataclass(frozen=True)
class Band:
    """What all data of a feed have in common: (n_chan) MHz ascending, seconds per sample, MJD of the first sample."""

    freq_mhz: npt.NDArray[np.float64]
    dt_s: float
    start_mjd: float | None

    def fits(self, stream: Stream) -> bool:
        return stream.dt_s == self.dt_s and np.array_equal(stream.freq_mhz, self.freq_mhz)


class Feed(Protocol):
    """Data in order.

    Attributes
    ----------
    lost : samples that were gone before they could be read
    """

    lost: int

    def band(self) -> Band | None:
        """None as long as nothing is there."""

    def take(self, first: int, most: int) -> Data | None:
        """(n_chan, n) samples from `first` on, as many as there are, at most `most`; None: nothing yet.

        Samples that were lost are the mean of what came after.
        """


@dataclass
class FileFeed:
    """One file that grows, of any format that can be read."""

    path: Path
    lost: int = 0
    _stream: Stream | None = field(default=None, repr=False)

    def band(self) -> Band | None:
        stream = self._open(0)
        return None if stream is None else Band(stream.freq_mhz, stream.dt_s, stream.start_mjd)

    def take(self, first: int, most: int) -> Data | None:
        stream = self._open(first + most)
        if stream is None or stream.n_times <= first:
            return None
        return stream.read(first, min(most, stream.n_times - first))[0]

    def _open(self, needed: int) -> Stream | None:
        """The file as long as it is now, if it is not as long as needed yet."""
        if self._stream is None or self._stream.n_times < needed:
            try:
                found = open_stream(self.path)
            except Error:
                if self._stream is None and self.path.is_file() and self.path.stat().st_size > 1 << 20:
                    raise  # a header would be whole by now
                return self._stream
            if self._stream is not None:
                self._stream.close()
            self._stream = found
        return self._stream


@dataclass
class RingFeed:
    """A folder of pages, each a file that can be read, in the order of their names; the writer takes old ones away.

    A page counts as whole when it has as many samples as the one before, or when the next one is there. Each page says
    when it begins: those that went before they were read leave a gap, which is counted.
    """

    folder: Path
    lost: int = 0
    _band: Band | None = field(default=None, repr=False)
    _last: str = ""
    _page_times: int = 0
    _start: int = 0  # sample at which `_held` begins
    _held: list[Data] = field(default_factory=list, repr=False)

    def band(self) -> Band | None:
        if self._band is None:
            self._read_pages()
        return self._band

    def take(self, first: int, most: int) -> Data | None:
        self._read_pages()
        if not self._held:
            return None
        held: Data = np.concatenate(self._held, axis=1)  # type: ignore[assignment]
        if first >= self._start + held.shape[1]:
            return None
        data = held[:, first - self._start :]
        self._held, self._start = [data], first
        return contiguous(data[:, :most])

    def _read_pages(self) -> None:
        pages = sorted(p for p in self.folder.iterdir() if p.is_file() and not p.name.startswith("."))
        new = [p for p in pages if p.name > self._last]
        for k, path in enumerate(new):
            try:
                stream = open_stream(path)
            except (Error, OSError):
                if k + 1 < len(new):  # not just being written
                    self._last = path.name
                    continue
                return
            try:
                if stream.n_times < self._page_times and k + 1 == len(new):
                    return
                self._add(stream)
            finally:
                stream.close()
            self._last = path.name

    def _add(self, stream: Stream) -> None:
        if self._band is None:
            self._band = Band(stream.freq_mhz, stream.dt_s, stream.start_mjd)
        if not self._band.fits(stream):
            raise MetadataError(
                f"{stream.path}: other channels or samples than the pages before", path=stream.path
            )
        data, _ = stream.read(0, stream.n_times)
        end = self._start + sum(held.shape[1] for held in self._held)
        if stream.start_mjd is not None and self._band.start_mjd is not None:
            at = round((stream.start_mjd - self._band.start_mjd) * 86400 / self._band.dt_s)
            if at > end + 1:
                self.lost += at - end
                gap = np.broadcast_to(
                    data.mean(1, keepdims=True).astype(data.dtype), (data.shape[0], at - end)
                )
                self._held.append(np.ascontiguousarray(gap))
        self._held.append(contiguous(data))
        self._page_times = max(self._page_times, stream.n_times)


def feed_of(files: tuple[Path, ...], ring: Path | None) -> FileFeed | RingFeed:
    """Raises InputError: neither or both were given."""
    if (ring is None) == (len(files) != 1):
        raise InputError("expected one file of spectra that grows, or a folder of pages with --ring")
    return RingFeed(ring) if ring is not None else FileFeed(files[0])


def wait_for(
    what: Callable[[], Data | None],
    idle_s: float,
    is_over: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> Data | None:
    """What comes next; None when nothing came for so long, or it is over."""
    until = time.monotonic() + idle_s
    while (found := what()) is None:
        if is_over() or time.monotonic() >= until:
            return None
        sleep(_POLL_S)
    return found
