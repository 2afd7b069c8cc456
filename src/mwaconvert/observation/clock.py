"""Times of integrations: what the headers say, mended where one of them cannot be true.

The start of an integration is TIME + MILLITIM of its HDU. Files of the archive have headers in which it is
zero, repeated, cut to whole seconds, or that of another integration. The order of the HDUs in a file and the
card MARKER, which counts integrations, then decide; every decision is a note.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import BoolArray, IntArray
from mwaconvert.errors import FormatError
from mwaconvert.observation.model import Metadata
from mwaconvert.observation.rawfiles import RawScan

Table = npt.NDArray[np.void]

#: a time that is farther from the schedule is not a time of this observation
_DAY_MS = 86_400_000
_SECOND_MS = 1000


def mend_times(
    tables: Sequence[Table], scans: Sequence[RawScan], metadata: Metadata, notes: list[str]
) -> list[Table]:
    """Visibility HDUs with times that can be true; those for which there is none are left out.

    Parameters
    ----------
    tables : one for each scan: records of `_core.scan_fits`

    Returns
    -------
    the same with `unix_ms` ascending by at least the integration time

    Raises
    ------
    FormatError : HDUs follow each other faster than the integration time
    """
    int_time_ms = round(metadata.int_time_s * 1000)
    tables = [table.copy() for table in tables]
    _drop_strange(tables, metadata)
    if _whole_seconds_only(tables, int_time_ms):
        for table in tables:
            table["unix_ms"] = _within_seconds(table["unix_ms"], _ordinals(table, int_time_ms), int_time_ms)
        notes.append(
            f"TIME of the raw files repeats and MILLITIM is 0 in all of them: integrations of {int_time_ms} ms are "
            "placed inside the seconds in the order of their HDUs."
        )
    mended = [_mend(table, scan, int_time_ms, notes) for table, scan in zip(tables, scans, strict=True)]
    _align(mended, scans, int_time_ms, notes)
    return mended


def _drop_strange(tables: Sequence[Table], metadata: Metadata) -> None:
    """Set times far from the schedule to 0, unless all are: then the schedule is wrong."""
    early = metadata.sched_start_unix_s * 1000 - _DAY_MS
    late = (metadata.sched_start_unix_s + metadata.sched_duration_s) * 1000 + _DAY_MS
    near = [(table["unix_ms"] >= early) & (table["unix_ms"] <= late) for table in tables]
    if any(each.any() for each in near):
        for table, each in zip(tables, near, strict=True):
            table["unix_ms"][~each] = 0


def _whole_seconds_only(tables: Sequence[Table], int_time_ms: int) -> bool:
    """Whether integrations shorter than a second have times of whole seconds, so that these repeat."""
    times = [table["unix_ms"][table["unix_ms"] > 0] for table in tables]
    return (
        int_time_ms < _SECOND_MS
        and not any((each % _SECOND_MS).any() for each in times)
        and any(bool((np.diff(each) == 0).any()) for each in times)
    )


def _within_seconds(unix_ms: IntArray, ordinal: IntArray, int_time_ms: int) -> IntArray:
    """Times whose milliseconds are lost. In an unbroken run all but the cut off part grows evenly, and the cut
    only makes times earlier: the latest start that one of them allows is that of all."""
    start = unix_ms - ordinal * int_time_ms
    placed = unix_ms.copy()
    good = np.flatnonzero(unix_ms > 0)
    first = 0
    for k in range(1, len(good) + 1):
        run = start[good[first : k + 1]]
        if k == len(good) or run.max() - run.min() >= _SECOND_MS:  # integrations are missing in between
            run = good[first:k]
            placed[run] = ordinal[run] * int_time_ms + start[run].max()
            first = k
    return placed


def _ordinals(table: Table, int_time_ms: int) -> IntArray:
    """Number of each integration: MARKER where it counts integrations, else the place in the file."""
    marker, order = table["marker"], np.arange(len(table))
    if len(table) < 2 or marker.min() < 0 or (np.diff(marker) < 1).any():
        return order
    good = table["unix_ms"] > 0
    start = (table["unix_ms"] - marker * int_time_ms)[good]
    # MARKER of some files counts something else
    spread = int(start.max() - start.min()) if start.size else 0
    agree = max(Counter(start.tolist()).values(), default=0)
    return marker if spread < _SECOND_MS or 2 * agree > len(start) else order


def _mend(table: Table, scan: RawScan, int_time_ms: int, notes: list[str]) -> Table:
    """One file: headers that fit no ascending order get a time from their neighbours, or none."""
    if not len(table):
        return table
    kept = _ascending(table["unix_ms"], int_time_ms)
    if kept.all():
        return table
    _check_int_time(table, scan, int_time_ms)
    times, ordinal = table["unix_ms"].copy(), _ordinals(table, int_time_ms)
    if not kept.any():
        first_ms = _primary_ms(scan)
        if first_ms is None:
            notes.append(
                f"{scan.name.path}: no header says when an integration started; the file is not used."
            )
            return table[:0]
        times[0], kept[0] = first_ms, True
    restored = _between(times, ordinal, kept, int_time_ms)
    _note_mended(table["hdu"], kept, restored, scan, notes)
    table["unix_ms"] = np.where(kept, times, restored)
    mended: Table = table[kept | (restored > 0)]
    return mended


def _ascending(unix_ms: IntArray, int_time_ms: int) -> BoolArray:
    """The most HDUs whose times leave room for those between them: a longest non-decreasing subsequence.

    Of HDUs with the same time the first may have it.
    """
    start = (unix_ms - np.arange(len(unix_ms)) * int_time_ms).tolist()
    tails: list[int] = []  # smallest last value of the runs of each length so far, and where it stands
    tail_at: list[int] = []
    before, last = [-1] * len(start), -1
    first_of_each = np.sort(np.unique(unix_ms, return_index=True)[1])
    for k in first_of_each[unix_ms[first_of_each] > 0].tolist():
        length = bisect_right(tails, start[k])
        before[k] = tail_at[length - 1] if length else -1
        last = k if length == len(tails) else last
        tails[length : length + 1] = [start[k]]
        tail_at[length : length + 1] = [k]
    kept = np.zeros(len(start), dtype=bool)
    while last >= 0:
        kept[last] = True
        last = before[last]
    return kept


def _check_int_time(table: Table, scan: RawScan, int_time_ms: int) -> None:
    """Refuse files in which most times differ by less than an integration: then INTTIME is wrong."""
    different = np.unique(table["unix_ms"][table["unix_ms"] > 0])
    steps = np.diff(different)
    if steps.size and np.median(steps) < int_time_ms:
        at = int(np.flatnonzero(table["unix_ms"] == different[int(np.argmin(steps)) + 1])[0])
        raise FormatError(
            f"{scan.name.path}: HDU {table['hdu'][at]}: expected to start at least {int_time_ms / 1000:g} s "
            f"after the one before it, found {steps.min() / 1000:g} s"
        )


def _primary_ms(scan: RawScan) -> int | None:
    seconds, milliseconds = scan.primary.get("TIME"), scan.primary.get("MILLITIM", 0)
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds <= 0:
        return None
    return int(seconds) * 1000 + (milliseconds if isinstance(milliseconds, int) else 0)


def _between(times: IntArray, ordinal: IntArray, kept: BoolArray, int_time_ms: int) -> IntArray:
    """Times of the other HDUs: counted from a neighbour; 0 where neighbours on both sides do not agree."""
    found = np.zeros_like(times)
    good = np.flatnonzero(kept)
    for k in np.flatnonzero(~kept):
        place = int(np.searchsorted(good, k))
        near = [good[n] for n in (place - 1, place) if 0 <= n < len(good)]
        answers = {int(times[n] + (ordinal[k] - ordinal[n]) * int_time_ms) for n in near}
        if len(answers) == 1:
            found[k] = answers.pop()
    return found


def _note_mended(hdu: IntArray, kept: BoolArray, restored: IntArray, scan: RawScan, notes: list[str]) -> None:
    path, lost = scan.name.path, ~kept & (restored <= 0)
    if (again := ~kept & ~lost).any():
        notes.append(
            f"{path}: TIME of HDU {_listed(hdu[again])} cannot be true (zero, repeated or out of order); the "
            "order of the HDUs says when it started."
        )
    if lost.any():
        notes.append(
            f"{path}: TIME of HDU {_listed(hdu[lost])} cannot be true (zero, repeated or out of order), and "
            "integrations are missing beside it; treated as missing."
        )


def _listed(numbers: IntArray) -> str:
    shown = [str(n) for n in numbers[:5]]
    return ", ".join(shown) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")


def _align(tables: Sequence[Table], scans: Sequence[RawScan], int_time_ms: int, notes: list[str]) -> None:
    """Give files of a batch that share the MARKER the same times, where they differ by a part of an integration.

    All boxes of the correlator count the same integrations: the clock of one that is late is wrong, not its
    count. Whole integrations of difference may be a count that began later, and stay.
    """
    starts: dict[int, dict[int, int]] = {}
    for number, (table, scan) in enumerate(zip(tables, scans, strict=True)):
        found = np.unique(table["unix_ms"] - table["marker"] * int_time_ms)
        if len(table) > 1 and table["marker"].min() >= 0 and len(found) == 1:
            starts.setdefault(scan.name.batch, {})[number] = int(found[0])
    for of_batch in starts.values():
        counted = Counter(of_batch.values())
        common = min(counted, key=lambda start: (-counted[start], start))
        for number, start in of_batch.items():
            late_ms = start - common
            if 0 < abs(late_ms) < int_time_ms:
                tables[number]["unix_ms"] -= late_ms
                notes.append(
                    f"{scans[number].name.path}: TIME is {abs(late_ms)} ms {'after' if late_ms > 0 else 'before'} "
                    "that of the other files, MARKER the same: taken as the same integrations."
                )
