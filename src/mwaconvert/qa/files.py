"""Pictures of visibility files that exist already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mwaconvert.conversion.report.numbers import make_occupancy, make_quality
from mwaconvert.conversion.report.report import Occupancy, Quality
from mwaconvert.conversion.report.words import noise_lines
from mwaconvert.formats.visibilities.existing import FileHeader, open_visibilities
from mwaconvert.machine import tree_bytes
from mwaconvert.text import WIDTH, plural, sections, size_text, some
from mwaconvert.visibilities.statistics import GOOD, Interference, QualityStatistics, Sums

if TYPE_CHECKING:
    from mwaconvert.conversion.rfi.array import ArrayRfi


@dataclass(frozen=True)
class FileReport:
    """What a visibility file holds.

    Attributes
    ----------
    picture : that was drawn
    quality : its `interference` counts all flags of tiles and channels that are not flagged throughout; it is NaN
        by antenna and timestep
    """

    path: Path
    bytes: int
    picture: Path
    header: FileHeader
    occupancy: Occupancy
    quality: Quality
    array_rfi: ArrayRfi | None = None

    def to_text(self, width: int = WIDTH) -> str:
        """A few lines."""
        header = self.header
        windows = header.spectral_windows
        n_chan = sum(w.n_chan for w in windows)
        low = min(float(w.freq_hz.min()) for w in windows) / 1e6
        high = max(float(w.freq_hz.max()) for w in windows) / 1e6
        names = [a.name for a in header.metadata.antennas]
        throughout = [names[i] for i in np.flatnonzero(np.nan_to_num(self.occupancy.antenna) >= 1)]
        flagged = [f"{100 * self.occupancy.total:.2f} %"]
        if throughout:
            flagged.append(f"{plural(len(throughout), 'tile')} throughout: {some(throughout)}")
        return sections(
            width,
            (
                "file",
                [
                    f"{self.path} ({size_text(self.bytes)}): {plural(len(header.time_mjd), 'time')} x"
                    f" {plural(len(header.antenna1), 'baseline')} x {plural(n_chan, 'channel')},"
                    f" {low:.3f} to {high:.3f} MHz"
                ],
            ),
            ("flagged", flagged),
            ("quality", noise_lines(self.quality, names)),
            ("picture", [str(self.picture)]),
        )


def draw_file(
    path: Path,
    picture: Path,
    *,
    overwrite: bool = False,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FileReport:
    """Read a uvfits file or a measurement set once and draw it, in bounded memory.

    Parameters
    ----------
    picture : to write, .png or .html
    progress : called with (done, total) values

    Raises
    ------
    InputError, FormatError, ResourceError : nothing is written
    """
    from mwaconvert.conversion.pipeline import FlagCounts
    from mwaconvert.qa.collector import QaCollector

    file = open_visibilities(path)
    header = file.header
    n_times, n_rows = len(header.time_mjd), len(header.antenna1)
    collector = QaCollector(header, picture, overwrite=overwrite)
    counts = FlagCounts(header, threads)
    row_static = header.antenna_flagged[header.antenna1] | header.antenna_flagged[header.antenna2]
    static = np.zeros((n_times, len(counts.by_channel)), np.uint8)
    statistics = QualityStatistics(header, row_static.astype(np.uint8), static, threads)
    for block in file.blocks():
        counts.add(block)
        collector.add(block)
        statistics.add(block)
        if progress is not None:
            progress(block.time_index * n_rows + block.rows.stop, n_times * n_rows)
    report = FileReport(
        path, tree_bytes(path), picture, header, make_occupancy(header, counts), _quality(statistics)
    )
    collector.write(report)
    return report


def _quality(statistics: QualityStatistics) -> Quality:
    """Channels that are flagged throughout are taken for those that a rule flagged."""
    header, channels = statistics.header, statistics.channels
    some_good = channels.counts[:, GOOD].any(axis=1)
    kept = Sums(channels.sums[some_good].sum(axis=0), channels.counts[some_good].sum(axis=0))
    interference = Interference(
        of_input=False,
        total=float(kept.interference()),
        antenna=np.full(header.metadata.n_antennas, np.nan),
        channel=np.where(some_good, channels.interference(), np.nan),
        timestep=np.full(len(header.time_mjd), np.nan),
    )
    return make_quality(statistics, interference)
