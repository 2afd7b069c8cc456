"""A search that keeps up with the data: segment after segment, each with the sweep of the highest DM behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mwaconvert.errors import InputError
from mwaconvert.live.observation import K_AMBER
from mwaconvert.live.searching.feeds import Band, Feed, contiguous, wait_for
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.dispersion import delay_per_dm
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import Data
from mwaconvert.transients.search import search

HEADER = "# beam_id batch_id sample_id integration_step compacted_integration_steps time DM_id DM compacted_DMs SNR\n"


#: samples by which two segments may differ on where a pulse at their border begins
_BORDER = 64


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How it is searched.

    Parameters
    ----------
    dm_min, dm_max : pc/cm^3
    segment_s : pulses that begin in a segment are reported when the sweep behind it is there
    threshold : S/N
    width_min : samples of the narrowest pulse for which the loss is bounded
    n_width : boxcars of 1, 2, 4, ... samples
    loss : S/N that approximate delays, and as much that averaging, may cost
    """

    dm_min: float = 0.0
    dm_max: float = 3000.0
    segment_s: float = 2.048
    threshold: float = 8.0
    width_min: int = 8
    n_width: int = 9
    loss: float = 0.05
    threads: int = 0


@dataclass
class Progress:
    """How a search keeps up; `behind_s`: data that are there and not searched yet."""

    n_times: int = 0
    data_s: float = 0.0
    search_s: float = 0.0
    candidates: int = 0
    loss: float = 0.0
    lost: int = 0

    @property
    def speed(self) -> float:
        """Seconds of data a second of searching."""
        return self.data_s / self.search_s if self.search_s > 0 else float("inf")


@dataclass(frozen=True)
class Segment:
    """Data of a segment: `lead` samples before its first one, `n_own` of its own, and what lies behind."""

    data: Data
    first: int
    lead: int
    n_own: int


@dataclass
class Segments:
    """Pieces of a feed; each sample is read once.

    Parameters
    ----------
    length : samples of a segment
    before, behind : samples that its pulses need besides
    """

    feed: Feed
    length: int
    before: int
    behind: int
    idle_s: float
    is_over: Callable[[], bool] = lambda: False

    def __iter__(self) -> Iterator[Segment]:
        first, lead, ended = 0, 0, False
        kept: list[Data] = []
        while not ended:
            wanted = lead + self.length + self.behind
            n = sum(part.shape[1] for part in kept)
            while n < wanted and not ended:
                data = self._more(first - lead + n, wanted - n)
                ended = data is None
                if data is not None:
                    kept.append(data)
                    n += data.shape[1]
            if n <= lead:
                return
            whole: Data = np.concatenate(kept, axis=1)  # type: ignore[assignment]
            yield Segment(whole, first, lead, n - lead if ended else self.length)
            begin = max(0, lead + self.length - self.before)
            kept = [contiguous(whole[:, begin:])]
            first, lead = first + self.length, lead + self.length - begin

    def _more(self, at: int, most: int) -> Data | None:
        return wait_for(lambda: self.feed.take(at, most), self.idle_s, self.is_over)


def stream_search(
    feed: Feed,
    plan: Plan,
    *,
    idle_s: float,
    is_over: Callable[[], bool] = lambda: False,
    on_candidates: Callable[[int, list[Candidate]], None],
    on_segment: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Search a feed until nothing comes any more.

    Parameters
    ----------
    idle_s : so long without data, and it is over
    on_candidates : number of the segment, pulses that begin in it: times from the first sample of the feed

    Raises
    ------
    InputError
        No data came, or too few for the highest DM.
    """
    until = time.monotonic() + idle_s
    while (band := feed.band()) is None:
        if is_over() or time.monotonic() > until:
            raise InputError("no data came")
        time.sleep(0.05)
    per_dm = delay_per_dm(band.freq_mhz, "top", K_AMBER).max()
    length = max(1024, round(plan.segment_s / band.dt_s))
    # a pulse may begin at the end of a segment: its sweep and its boxcar lie behind
    behind = int(np.ceil(plan.dm_max * per_dm / band.dt_s)) + (1 << plan.n_width) + 64
    before = 2 << plan.n_width
    progress = Progress()
    reported: list[Candidate] = []
    for number, piece in enumerate(Segments(feed, length, before, behind, idle_s, is_over)):
        begun = time.perf_counter()
        found, loss = _search(piece.data, band, plan)
        start_s = (piece.first - piece.lead) * band.dt_s
        low, high = piece.lead, piece.lead + piece.n_own
        own = [
            replace(c, time_s=c.time_s + start_s)
            for c in found
            if low - _BORDER <= round((c.time_s - c.width_s / 2) / band.dt_s) < high + _BORDER
        ]
        own = [c for c in own if not any(_is_same(c, other) for other in reported)]
        reported = own
        progress.search_s += time.perf_counter() - begun
        progress.n_times = piece.first + piece.n_own
        progress.data_s = progress.n_times * band.dt_s
        progress.candidates += len(own)
        progress.loss, progress.lost = max(progress.loss, loss), feed.lost
        on_candidates(number, own)
        on_segment(progress)
    return progress


def _is_same(one: Candidate, other: Candidate) -> bool:
    """Whether two segments saw one pulse at their border."""
    near_s = max(one.width_s, other.width_s) + 1e-3
    return abs(one.time_s - other.time_s) <= near_s and abs(one.dm - other.dm) <= 5 + 0.05 * one.dm


def _search(data: Data, band: Band, plan: Plan) -> tuple[list[Candidate], float]:
    spectra = Spectra(data, band.freq_mhz, band.dt_s, k_dm=K_AMBER)
    per_dm = delay_per_dm(band.freq_mhz, "top", K_AMBER).max()
    # the last segment may be shorter than the sweep of the highest DM
    dm_max = min(plan.dm_max, (data.shape[1] - 1024) * band.dt_s / per_dm)
    if dm_max <= plan.dm_min:
        return [], 0.0
    found = search(
        spectra,
        plan.dm_min,
        dm_max,
        threshold=plan.threshold,
        width_min_s=plan.width_min * band.dt_s,
        n_width=plan.n_width,
        loss=plan.loss,
        downsample=True,
        threads=plan.threads,
    )
    return found.candidates(), found.loss


class AmberWriter:
    """Candidates in a file of AMBER's compacted kind: times of the beginning of the boxcar, at the highest channel.

    Parameters
    ----------
    path : CB00_step1.trigger; it is added to
    beam : synthesised beam
    dt_s : seconds per sample
    dm_step : numbers DMs
    """

    def __init__(self, path: Path, beam: int, dt_s: float, dm_step: float = 0.1) -> None:
        self._beam, self._dt_s, self._dm_step = beam, dt_s, dm_step
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="ascii")
        if self._file.tell() == 0:
            self._file.write(HEADER)
            self._file.flush()

    def write(self, segment: int, candidates: list[Candidate]) -> None:
        """Whole lines at once."""
        lines = []
        for c in candidates:
            width = max(1, round(c.width_s / self._dt_s))
            start_s = max(0.0, c.time_s - c.width_s / 2)
            sample, number = round(start_s / self._dt_s), round(c.dm / self._dm_step)
            lines.append(
                f"{self._beam} {segment} {sample} {width} 1 {start_s:.6f} {number} {c.dm:.3f} 1 {c.snr:.3f}\n"
            )
        self._file.write("".join(lines))
        self._file.flush()

    def close(self) -> None:
        self._file.close()
