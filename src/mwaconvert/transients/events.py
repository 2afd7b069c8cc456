"""Detections at many DMs, times and widths, gathered into pulses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.dispersion import K_DM

_STANDS_OUT = (
    3.0  # the largest of several S/N and the least of others differ by that much where all are the same
)


def pulses(
    detections: npt.NDArray[np.void],
    band_mhz: tuple[float, float],
    k_dm: float = K_DM,
    dms: npt.NDArray[np.float64] | None = None,
) -> list[Candidate]:
    """Gather detections into pulses: each belongs to the strongest one that explains it.

    At a DM that is off by d a pulse is smeared over K d (f_low^-2 - f_high^-2). So a detection is explained if it lies
    where some channel of the strong one arrives, give or take the widths of both, and if its S/N is not above twice, and
    one more than, what the smeared pulse gives in its boxcar. The range of times thus depends on the DMs: pulses that
    follow each other closely stay apart, and neither a wide disturbance nor one at another DM takes them in. What
    overlaps such a detection at its DM, in a boxcar of another width, is judged by that in the same way.

    A pulse that fills a part of the band only, or drifts, fades more slowly with DM than that. So what lies where
    some channel of a stronger pulse arrives is a pulse of its own only if it stands out: if detections lead from one
    to the other without a gap, and S/N nowhere falls by 3 (times the noise) below the weaker one, it is on the flank
    of the stronger.

    Parameters
    ----------
    detections : with the fields dm, time_s (middle of the boxcar, at the highest channel), snr, width_s
    band_mhz : lowest and highest channel
    k_dm : dispersion constant, MHz^2 s cm^3 / pc
    dms : trials, ascending: where they are far apart, neighbours do not make a gap

    Returns
    -------
    list of Candidate
        best first
    """
    if not detections.size:
        return []
    low, high = band_mhz
    across = k_dm * (low**-2.0 - high**-2.0)
    table = detections[np.argsort(-detections["snr"], kind="stable")]
    by_time = np.argsort(table["time_s"], kind="stable")
    times = table["time_s"][by_time]
    reach = float(np.ptp(table["dm"])) * across + 2 * float(table["width_s"].max())
    left = np.ones(table.size, bool)
    members = np.zeros(table.size, np.int64)  # of the pulse whose strongest this is
    pulse_of = np.full(table.size, -1)  # the strongest of the pulse that each belongs to
    for k in range(table.size):
        if not left[k]:
            continue
        top = table[k]
        span = np.searchsorted(times, [top["time_s"] - reach, top["time_s"] + reach], "right")
        about = np.sort(by_time[span[0] : span[1]])  # best first
        rows = table[about]
        within = (pulse_of[about] >= 0) & _holds(rows, top)
        if within.any():
            pulse_of[k] = pulse_of[about[within]][0]
            members[pulse_of[k]] += 1
            continue
        # the same area over a width that the sweep adds to; a boxcar that is shorter than the pulse has part of it
        smeared = np.hypot(top["width_s"], (rows["dm"] - top["dm"]) * across)
        part = np.minimum(1, rows["width_s"] / top["width_s"])
        expected = top["snr"] * np.sqrt(top["width_s"] / smeared * part)
        same = left[about] & _arrives(rows, top, across) & (rows["snr"] < 2 * expected + 1)
        left[about[same]] = False
        strong = about[members[about] > 0]
        near = _arrives(top, table[strong], across) & _as_wide(top, table[strong], across)
        owner = next((j for j in strong[near] if _on_flank(rows, top, table[j], across, dms)), k)
        members[owner] += int(same.sum())
        pulse_of[about[same]] = owner
    return [_candidate(table[k], int(members[k])) for k in np.flatnonzero(members)]


def _candidate(top: np.void, n_detections: int) -> Candidate:
    dm, time_s, snr, width_s = (float(top[name]) for name in ("dm", "time_s", "snr", "width_s"))
    return Candidate(time_s=time_s, dm=dm, snr=snr, width_s=width_s, n_detections=n_detections)


def _holds(rows: npt.NDArray[np.void], part: np.void) -> npt.NDArray[np.bool_]:
    """Whether boxcars of the same DM overlap one that is weaker, and explain its S/N: as above, with no smear."""
    shorter, longer = (
        np.minimum(rows["width_s"], part["width_s"]),
        np.maximum(rows["width_s"], part["width_s"]),
    )
    explained: npt.NDArray[np.bool_] = (
        (rows["dm"] == part["dm"])
        & (abs(rows["time_s"] - part["time_s"]) < (rows["width_s"] + part["width_s"]) / 2)
        & (rows["snr"] >= part["snr"])
        & (part["snr"] < 2 * rows["snr"] * np.sqrt(shorter / longer) + 1)
    )
    return explained


def _arrives(
    rows: npt.NDArray[np.void] | np.void, top: npt.NDArray[np.void] | np.void, across: float
) -> npt.NDArray[np.bool_]:
    """Whether some channel of a pulse arrives there, give or take the widths of both; many rows, or many pulses."""
    # a trial above the true DM sees the pulse early, one below sees it late
    sweep = (rows["dm"] - top["dm"]) * across
    late = rows["time_s"] - top["time_s"]
    slack = rows["width_s"] + top["width_s"]
    same: npt.NDArray[np.bool_] = (late >= np.minimum(-sweep, 0) - slack) & (
        late <= np.maximum(-sweep, 0) + slack
    )
    return same


def _on_flank(
    rows: npt.NDArray[np.void],
    weak: np.void,
    strong: np.void,
    across: float,
    trials: npt.NDArray[np.float64] | None,
) -> bool:
    """Whether detections lead from a weak one to where a strong one arrives too, without a gap or a valley.

    The times at which a part of the band is seen are a straight line over DM.
    """
    off = weak["dm"] - strong["dm"]
    if off == 0:
        return False
    share = (rows["dm"] - strong["dm"]) / off
    line = strong["time_s"] + share * (weak["time_s"] - strong["time_s"])
    slack = np.maximum(rows["width_s"], max(weak["width_s"], strong["width_s"]))
    way = rows[
        (share >= 0) & (share <= 1) & (abs(rows["time_s"] - line) <= slack) & _as_wide(rows, strong, across)
    ]
    # best of each DM: rows are ordered by S/N
    dms, first = np.unique(way["dm"], return_index=True)
    best = way[first]
    gap = np.diff(dms) * across > best["width_s"][1:] + best["width_s"][:-1]
    if trials is not None:
        gap &= np.diff(np.searchsorted(trials, dms)) > 2  # one may be below the threshold
    return bool(best["snr"].min() > weak["snr"] - _STANDS_OUT and not gap.any())


def _as_wide(
    rows: npt.NDArray[np.void] | np.void, top: npt.NDArray[np.void] | np.void, across: float
) -> npt.NDArray[np.bool_]:
    """Whether boxcars are as wide as a pulse, to that and its sweep, within the steps of 2 of their widths."""
    sweep = abs(rows["dm"] - top["dm"]) * across
    wide: npt.NDArray[np.bool_] = (rows["width_s"] >= top["width_s"] / 2) & (
        rows["width_s"] <= 2 * np.hypot(top["width_s"], sweep)
    )
    return wide
