"""Pictures of visibility files that exist already."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from mwaconvert.formats.visibilities.reader import open_visibilities
from mwaconvert.machine import tree_bytes
from mwaconvert.progress import Progress, Stage
from mwaconvert.qa.collector import QaCollector
from mwaconvert.qa.page import write_picture
from mwaconvert.visibilities.file_report import FileReport
from mwaconvert.visibilities.interference import Interference
from mwaconvert.visibilities.quality import FlagCounts, Quality, make_occupancy, make_quality
from mwaconvert.visibilities.statistics import GOOD, QualityStatistics, Sums

_log = logging.getLogger(__name__)


def draw_file(
    path: Path,
    picture: Path,
    *,
    overwrite: bool = False,
    threads: int = 0,
    progress: Progress | None = None,
) -> FileReport:
    """Read a uvfits file or a measurement set once and draw it, in bounded memory.

    Parameters
    ----------
    picture : to write, .png or .html
    progress : told rows

    Raises
    ------
    InputError, FormatError, ResourceError : nothing is written
    """
    file = open_visibilities(path)
    header = file.header
    n_times, n_rows = len(header.time_mjd), len(header.antenna1)
    _log.info("read %s: %d times, %d rows of each", path, n_times, n_rows)
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
            progress(Stage.READING, block.time_index * n_rows + block.rows.stop, n_times * n_rows)
    report = FileReport(
        path, tree_bytes(path), picture, header, make_occupancy(header, counts), _quality(statistics)
    )
    write_picture(collector, report)
    _log.info("written: %s", picture)
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
