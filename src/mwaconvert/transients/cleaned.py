"""A file as if it held cleaned data: what reads spectra reads them, whatever it does then."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import fields

import numpy as np
import numpy.typing as npt

from mwaconvert.spectra.mask import TimeMask
from mwaconvert.spectra.stream import Data, Stream, Weights
from mwaconvert.transients.clean.cleaning import ORIGIN, UNIT, Cleaning, clean
from mwaconvert.transients.prepare import Preparation

_PIECE_BYTES = 128 << 20
_PIECE = (1 << 15, 1 << 17)  # samples


def piece_samples(stream: Stream) -> int:
    """Samples that are cleaned together: a power of two that follows from the number of channels alone."""
    least, most = _PIECE
    fits = max(1, _PIECE_BYTES // stream.bytes_per_sample)
    return max(least, min(most, 1 << (fits.bit_length() - 1)))


class CleanedStream(Stream):
    """Cleaned data of a file: bytes in units of the noise, see `clean.cleaning`; what is masked holds the mean.

    Pieces are cleaned with margins on both sides, so that what is read does not depend on how it is read.

    Parameters
    ----------
    whole : the file
    cleaning : what is done
    prepare : what is done first
    masks : of files
    n_width : baselines are several times as long as 2^(n_width - 1) samples
    sweep : samples that the highest DM of interest takes to cross the band
    threads : 0 for all cores
    """

    def __init__(
        self,
        whole: Stream,
        cleaning: Cleaning,
        prepare: Preparation | None = None,
        masks: tuple[TimeMask, ...] = (),
        *,
        n_width: int = 9,
        sweep: int = 0,
        threads: int = 0,
    ) -> None:
        names = [f.name for f in fields(Stream)]
        facts = {name: getattr(whole, name) for name in names} | {"dtype": np.uint8, "weighted": False}
        facts["notes"] = (
            *whole.notes,
            f"the data were cleaned: {UNIT:g} levels are the standard deviation of the noise, {ORIGIN:g} its mean",
        )
        super().__init__(**facts)
        self._whole, self._cleaning, self._masks = whole, cleaning, masks
        self._prepare = prepare or Preparation()
        self._n_width, self._sweep, self._threads = n_width, sweep, threads
        self.piece = piece_samples(whole)
        self.margin = min(4 << n_width, self.piece // 2)
        self.impulse_widths: dict[
            int, npt.NDArray[np.int64]
        ] = {}  #: samples, by piece, of what was taken away
        self._held: OrderedDict[int, npt.NDArray[np.uint8]] = OrderedDict()
        self._n_held = 2 + sweep // self.piece

    @property
    def memory_bytes(self) -> int:
        """Of the pieces that are kept, and of one in work, about."""
        n = min(self.piece + 2 * self.margin, self.n_times)
        item = np.dtype(self._whole.dtype).itemsize
        work = 2 * item + 2 + (9 if self._whole.weighted or self._masks else 0)
        return (n * work + self._n_held * min(self.piece, self.n_times)) * self.n_chan

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:  # noqa: ARG002
        out = np.empty((self.n_chan, count), np.uint8)
        for k in range(first // self.piece, (first + count - 1) // self.piece + 1):
            begin = k * self.piece
            low, high = max(first, begin), min(first + count, begin + self.piece)
            out[:, low - first : high - first] = self._piece(k)[:, low - begin : high - begin]
        return out, None

    def _piece(self, k: int) -> npt.NDArray[np.uint8]:
        if k in self._held:
            self._held.move_to_end(k)
            return self._held[k]
        begin = k * self.piece
        stop = min(begin + self.piece, self.n_times)
        low, high = max(0, begin - self.margin), min(self.n_times, stop + self.margin)
        spectra = self._prepare(self._whole.spectra(low, high - low, self._threads))
        for mask in self._masks:
            spectra = mask.applied(spectra, low)
        cleaned = clean(
            spectra, self._cleaning, n_width=self._n_width, sweep=self._sweep, threads=self._threads
        )
        self._held[k] = np.array(cleaned.spectra.data[:, begin - low : stop - low], np.uint8)
        if cleaned.impulses is not None:
            middles = cleaned.impulses.spans.mean(1) + low
            self.impulse_widths[k] = cleaned.impulses.widths[(middles >= begin) & (middles < stop)]
        while len(self._held) > self._n_held:
            self._held.popitem(last=False)
        return self._held[k]

    def close(self) -> None:
        self._held.clear()
        self._whole.close()
