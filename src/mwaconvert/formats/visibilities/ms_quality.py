"""The quality tables of a measurement set: what AOFlagger's aoquality and aoqplot read.

Layout as `aoquality collect` writes it: tables QUALITY_KIND_NAME, QUALITY_TIME_STATISTIC,
QUALITY_FREQUENCY_STATISTIC and QUALITY_BASELINE_STATISTIC, one row for each statistic of each bin, VALUE complex
for XX, XY, YX, YY. Statistics of times and channels are those of the cross-correlations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert.constants import SECONDS_PER_DAY
from mwaconvert.formats.visibilities.casa_table import column
from mwaconvert.formats.visibilities.ms_tables import SubTable, Values
from mwaconvert.visibilities.model import VisHeader

if TYPE_CHECKING:
    from mwaconvert.visibilities.statistics import QualityStatistics, Sums

#: statistics in the order of their numbers, which count from 1
KINDS = ("RFICount", "Count", "Sum", "SumP2", "DCount", "DSum", "DSumP2")

_COLUMNS = {
    "ANTENNA1": column("int"),
    "ANTENNA2": column("int"),
    "TIME": column("double", units=["s"], measure={"type": "epoch", "Ref": "UTC"}),
    "FREQUENCY": column("double", units=["Hz"]),
    "KIND": column("int"),
    "VALUE": column("complex", (4,)),
}


def quality_tables(statistics: QualityStatistics, header: VisHeader) -> list[SubTable]:
    """The quality tables.

    Parameters
    ----------
    statistics : of the run
    header : of the measurement set, which may hold some of the spectral windows of the run only
    """
    starts = [w.channels.start for w in statistics.header.spectral_windows]
    windows = [starts.index(w.channels.start) for w in header.spectral_windows]
    centre_hz = np.array([w.freq_hz.mean() for w in header.spectral_windows])
    channels = np.concatenate([np.arange(w.channels.start, w.channels.stop) for w in header.spectral_windows])
    times_s, n_windows = header.time_mjd * SECONDS_PER_DAY, len(windows)
    by_baseline, by_time = statistics.baselines, statistics.times
    by_channel = statistics.paired_channels()
    kinds: dict[str, Values] = {
        "KIND": np.arange(1, len(KINDS) + 1, dtype=np.int32),
        "NAME": np.array(KINDS, object),
    }
    return [
        SubTable("QUALITY_KIND_NAME", kinds, {"KIND": column("int"), "NAME": column("string")}),
        _table(
            "TIME",
            {
                "TIME": np.tile(times_s, n_windows),
                "FREQUENCY": np.repeat(centre_hz, len(times_s)),
            },
            _values(by_time, windows),
        ),
        _table(
            "FREQUENCY",
            {"FREQUENCY": np.concatenate([w.freq_hz for w in header.spectral_windows])},
            _kinds(by_channel.sums[channels], by_channel.counts[channels]),
        ),
        _table(
            "BASELINE",
            {
                "ANTENNA1": np.tile(header.antenna1, n_windows).astype(np.int32),
                "ANTENNA2": np.tile(header.antenna2, n_windows).astype(np.int32),
                "FREQUENCY": np.repeat(centre_hz, len(header.antenna1)),
            },
            _values(by_baseline, windows),
        ),
    ]


def quality_bytes(header: VisHeader) -> int:
    """Size of the tables on disk, rounded up."""
    windows = header.spectral_windows
    bins = len(windows) * (len(header.antenna1) + len(header.time_mjd)) + sum(w.n_chan for w in windows)
    return 64 * len(KINDS) * bins + (1 << 20)


def _values(sums: Sums, windows: list[int]) -> npt.NDArray[np.complex64]:
    """Of (n, n_window): window by window."""
    return np.concatenate([_kinds(sums.sums[:, w], sums.counts[:, w]) for w in windows])


def _kinds(sums: npt.NDArray[np.complex128], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.complex64]:
    """(n, 7, 4 pol) in the order of `KINDS`, from (n, 4, 4) sums and (n, 3, 4) counts of `qa.statistics`."""
    good, flagged, pairs = (counts[:, k] for k in range(3))
    total, squares, difference, difference_squares = (sums[:, k] for k in range(4))
    with np.errstate(over="ignore"):  # complex64 is what the tables hold
        return np.stack(
            [flagged, good, total, squares, pairs, difference, difference_squares], axis=1
        ).astype(np.complex64)


def _table(axis: str, bins: dict[str, npt.NDArray[Any]], values: npt.NDArray[np.complex64]) -> SubTable:
    n, n_kinds = values.shape[:2]
    rows: dict[str, Values] = {name: np.repeat(value, n_kinds) for name, value in bins.items()}
    rows["KIND"] = np.tile(np.arange(1, n_kinds + 1, dtype=np.int32), n)
    rows["VALUE"] = values.reshape(-1, 4)
    return SubTable(f"QUALITY_{axis}_STATISTIC", rows, {name: _COLUMNS[name] for name in rows})
