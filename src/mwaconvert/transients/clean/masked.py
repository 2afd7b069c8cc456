"""What cleaning masked, of a whole file: numbers and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mwaconvert.spectra.mask import TimeMask
from mwaconvert.text import plural

if TYPE_CHECKING:
    from mwaconvert.transients.clean.cleaning import Cleaned

_HALF = 0.5
_COLUMNS = 1024  # of the picture of a file, about


@dataclass(frozen=True, eq=False)
class Masked:
    """What was masked.

    Parameters
    ----------
    part : (n_chan, n_cell) of the samples, from 0 to 1
    edges_s : (n_cell + 1) of the cells, from the start of the data
    n_dispersed : excesses that some DM makes stronger, which were left alone
    storms : segments with so many excesses that all were taken away
    widths_s : (n_impulses) of excesses at all frequencies at once that were taken away
    """

    part: npt.NDArray[np.float32]
    edges_s: npt.NDArray[np.float64]
    n_dispersed: int
    storms: int
    widths_s: npt.NDArray[np.float64]

    @property
    def n_impulses(self) -> int:
        """Excesses that were taken away."""
        return self.widths_s.size

    @property
    def whole_part(self) -> float:
        """Part of all samples."""
        lengths = np.diff(self.edges_s)
        return float((self.part.mean(0) * lengths).sum() / lengths.sum())

    @property
    def channels(self) -> npt.NDArray[np.intp]:
        """Channels of which nothing is left."""
        return np.flatnonzero((self.part >= 1).all(1))

    def mask(self, dt_s: float) -> TimeMask:
        """Blocks of which more than half is masked.

        Parameters
        ----------
        dt_s : seconds per sample
        """
        n_times = round(float(self.edges_s[-1]) / dt_s)
        block = max(1, -(-n_times // (self.edges_s.size - 1)))
        middles = (np.arange(-(-n_times // block)) + 0.5) * block * dt_s
        cell = np.searchsorted(self.edges_s, middles.clip(0, self.edges_s[-1] * (1 - 1e-9)), "right") - 1
        return TimeMask(self.part[:, cell] > _HALF, block)

    def words(self) -> str:
        """A sentence."""
        return (
            f"masked {100 * self.whole_part:.2g} % of the samples, "
            f"{self.channels.size} of {self.part.shape[0]} channels altogether; took away "
            f"{plural(self.n_impulses, 'impulse')} at DM 0, left {self.n_dispersed} that are dispersed"
            + (f"; {self.storms} segments were storms of impulses" if self.storms else "")
        )


class MaskedParts:
    """Gathers what was masked from segments."""

    def __init__(self, n_segment: int) -> None:
        self._columns = max(1, _COLUMNS // n_segment)
        self._parts: list[npt.NDArray[np.float32]] = []
        self._edges: list[npt.NDArray[np.float64]] = []
        self._widths: list[npt.NDArray[np.int64]] = []
        self._dispersed = self._storms = 0

    def add(self, cleaned: Cleaned, begin: int, n_times: int, first: int) -> None:
        """Add a segment.

        Parameters
        ----------
        cleaned : its spectra, with margins
        begin, n_times : samples of these that are the segment
        first : sample of the file at which they begin
        """
        end = min(begin + n_times, cleaned.spectra.n_times)
        edges = np.unique(np.linspace(begin, end, self._columns + 1).astype(np.int64))
        # what was kept up to each stretch, and straight lines between
        kept = np.cumsum(cleaned.kept, axis=1, dtype=np.float64)
        stretch = cleaned.stretch
        at = edges / stretch
        low = np.minimum(at.astype(np.int64), kept.shape[1])
        total = np.concatenate([np.zeros((kept.shape[0], 1)), kept, kept[:, -1:]], axis=1)
        upto = total[:, low] + (at - low) * (total[:, low + 1] - total[:, low])
        last = cleaned.spectra.n_times % stretch
        if last and end == cleaned.spectra.n_times:
            upto[:, -1] = total[:, -1]
        self._parts.append((1 - np.diff(upto, axis=1) / np.diff(edges)).clip(0, 1).astype(np.float32))
        self._edges.append((edges + first).astype(np.float64))
        impulses = cleaned.impulses
        if impulses is not None:
            middles = impulses.spans.mean(1)
            self._widths.append(impulses.widths[(middles >= begin) & (middles < end)])
            self._dispersed += impulses.dispersed
            self._storms += impulses.storm

    def joined(self, dt_s: float) -> Masked | None:
        """All segments; None if none was added."""
        if not self._parts:
            return None
        edges = np.concatenate([*(e[:-1] for e in self._edges), self._edges[-1][-1:]]) * dt_s
        widths = np.concatenate([np.empty(0, np.int64), *self._widths])
        part = np.concatenate(self._parts, axis=1)
        return Masked(part, edges, self._dispersed, self._storms, widths * dt_s)
