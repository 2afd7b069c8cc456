"""Detections at many DMs, times and widths, gathered into pulses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert.transients.dispersion import K_DM


@dataclass(frozen=True)
class Candidate:
    """A pulse."""

    dm: float  #: pc/cm^3
    time_s: float  #: middle of its boxcar, from the start of the data, at the highest channel
    snr: float
    width_s: float  #: of its boxcar
    n_detections: int  #: that belong to it


def pulses(
    detections: npt.NDArray[np.void], band_mhz: tuple[float, float], k_dm: float = K_DM
) -> list[Candidate]:
    """Gather detections into pulses: each belongs to the strongest one that explains it.

    At a DM that is off by d a pulse is smeared over K d (f_low^-2 - f_high^-2). So a detection is explained if it lies
    where some channel of the strong one arrives, give or take the widths of both, and if its S/N is not above twice, and
    one more than, what the smeared pulse gives in its boxcar. The range of times thus depends on the DMs: pulses that
    follow each other closely stay apart, and neither a wide disturbance nor one at another DM takes them in.

    Parameters
    ----------
    detections : with the fields dm, time_s (middle of the boxcar, at the highest channel), snr, width_s
    band_mhz : lowest and highest channel
    k_dm : dispersion constant, MHz^2 s cm^3 / pc

    Returns
    -------
    list of Candidate
        best first
    """
    low, high = band_mhz
    across = k_dm * (low**-2.0 - high**-2.0)
    left = detections[np.argsort(-detections["snr"], kind="stable")]
    found = []
    while left.size:
        top = left[0]
        sweep = (left["dm"] - top["dm"]) * across
        # a trial above the true DM sees the pulse early, one below sees it late
        late = left["time_s"] - top["time_s"]
        slack = left["width_s"] + top["width_s"]
        same = (late >= np.minimum(-sweep, 0) - slack) & (late <= np.maximum(-sweep, 0) + slack)
        # the same area over a width that the sweep adds to; a boxcar that is shorter than the pulse has part of it
        smeared = np.hypot(top["width_s"], sweep)
        part = np.minimum(1, left["width_s"] / top["width_s"])
        expected = top["snr"] * np.sqrt(top["width_s"] / smeared * part)
        same &= left["snr"] < 2 * expected + 1
        same[0] = True
        dm, time_s, snr, width_s = (float(top[name]) for name in ("dm", "time_s", "snr", "width_s"))
        found.append(Candidate(dm, time_s, snr, width_s, int(same.sum())))
        left = left[~same]
    return found
