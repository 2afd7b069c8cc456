"""Which DMs to try, and at which time resolution: where channels smear a pulse, samples are averaged.

Within a channel a pulse of DM d is spread over K d (f_low^-2 - f_high^-2), which no incoherent dedispersion undoes.
Where that is longer than a sample, averages of 2, 4, ... samples hardly lose any S/N, and DMs may be further apart. What
averaging loses is computed, from the pulse that is smeared least: a Gaussian of the narrowest width of interest over
the channel with the smallest delay across it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, hypot, pi, sqrt

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.spectra.aliases import old_keywords
from mwaconvert.spectra.dispersion import K_DM, delay_per_dm

_SMEAR = 1.386  # loss of S/N of a Gaussian is this * mean square error / FWHM^2, for small errors: 4 ln 2 / 2
_FWHM = 2.354820045  # of a Gaussian of unit standard deviation
_LIKE = _FWHM / sqrt(
    12
)  # full width at half maximum of a Gaussian as wide, by variance, as a stretch of length 1
_LONGEST = 64  # samples that are averaged at most
_PHASES = (np.arange(16) + 0.5) / 16 - 0.5


@dataclass(frozen=True, eq=False)
class DmStage:
    """DMs that are searched at one time resolution."""

    dms: npt.NDArray[np.float64]  #: (n_trial) evenly spaced, pc/cm^3
    downsample: int  #: samples that become one
    width_s: (
        float  #: full width at half maximum of a Gaussian like the narrowest pulse, smeared, at the first DM
    )
    loss: float  #: bound of the S/N that averaging costs


def dm_trials(
    dm_min: float, dm_max: float, across_s: float, width_s: float, loss: float = 0.05
) -> npt.NDArray[np.float64]:
    """Evenly spaced DMs such that a pulse between two of them loses at most this fraction of its S/N.

    Parameters
    ----------
    dm_min, dm_max : pc/cm^3
    across_s : delay across the band per unit of DM, s cm^3 / pc
    width_s : full width at half maximum of the narrowest Gaussian pulse

    Returns
    -------
    (n_trial)

    Examples
    --------
    >>> dm_trials(0, 10, across_s=1e-3, width_s=2e-3).round(2)
    array([ 0. ,  2.5,  5. ,  7.5, 10. ])
    """
    # half a step spreads the channels evenly over half of the step's sweep: mean square sweep^2 / 48
    sweep = width_s * sqrt(48 * loss / _SMEAR)
    return np.linspace(dm_min, dm_max, max(2, int(np.ceil((dm_max - dm_min) * across_s / sweep)) + 1))


@old_keywords("freqs", "dt")
def plan_dms(
    freq_mhz: npt.NDArray[np.float64],
    dt_s: float,
    dm_min: float,
    dm_max: float,
    width_s: float,
    *,
    step_loss: float = 0.05,
    average_loss: float = 0.01,
    k_dm: float = K_DM,
    dm_data: float = 0.0,
) -> list[DmStage]:
    """Divide a range of DMs into stages.

    Parameters
    ----------
    freq_mhz : (n_chan) MHz, centres of equally wide channels, ascending
    dt_s : seconds per sample
    dm_min, dm_max : pc/cm^3
    width_s : full width at half maximum of the narrowest Gaussian pulse of interest
    step_loss : fraction of its S/N that a pulse between two DMs may lose
    average_loss : the same for averaging samples
    k_dm : dispersion constant, MHz^2 s cm^3 / pc
    dm_data : pc/cm^3, to which the data are dedispersed already, also within channels

    Returns
    -------
    list of DmStage
        ascending; each next one averages as many samples or more, in wider steps of DM

    Raises
    ------
    InputError
    """
    if not (np.isfinite([dm_min, dm_max]).all() and dm_data <= dm_min <= dm_max):
        raise InputError(f"cannot plan DMs from {dm_min} to {dm_max} for data at DM {dm_data:g}")
    if not (width_s > 0 and dt_s > 0 and 0 < step_loss < 1 and 0 < average_loss < 1):
        raise InputError("widths and losses must be positive, losses below 1")
    half = float(freq_mhz[-1] - freq_mhz[0]) / max(1, freq_mhz.size - 1) / 2
    smear_per_dm = k_dm * float(((freq_mhz - half) ** -2.0 - (freq_mhz + half) ** -2.0).min())
    across = float(delay_per_dm(freq_mhz, "top", k_dm).max())

    edges, factors = [dm_min], [1]
    factor = 2
    while factor <= _LONGEST:
        low, high = edges[-1], dm_max
        if averaging_loss(factor, dt_s, width_s, smear_per_dm * (high - dm_data)) > average_loss:
            break
        if averaging_loss(factor, dt_s, width_s, smear_per_dm * (low - dm_data)) <= average_loss:
            factors[-1] = factor  # from the beginning
        else:
            for _ in range(40):
                middle = (low + high) / 2
                if averaging_loss(factor, dt_s, width_s, smear_per_dm * (middle - dm_data)) > average_loss:
                    low = middle
                else:
                    high = middle
            edges.append(high)
            factors.append(factor)
        factor *= 2

    stages = []
    for low, high, n in zip(edges, [*edges[1:], dm_max], factors, strict=True):
        loss = averaging_loss(n, dt_s, width_s, smear_per_dm * (low - dm_data))
        begin = low
        while begin < high or begin == low:
            # steps of DM grow with the smeared width: by stages, each until that is half as long again
            width = hypot(width_s, _LIKE * smear_per_dm * (begin - dm_data))
            wider = sqrt((1.5 * width) ** 2 - width_s**2) / (_LIKE * smear_per_dm) + dm_data
            end = min(high, wider)
            dms = dm_trials(begin, end, across, width, step_loss) if end > begin else np.array([begin])
            if end < dm_max:
                dms = dms[:-1]  # the next stage begins there
            stages.append(DmStage(dms, n, width, loss))
            if end == begin:
                break
            begin = end
    return stages


def averaging_loss(factor: int, dt_s: float, width_s: float, smear_s: float) -> float:
    """Loss of S/N by averaging samples, for boxcars of 1, 2, 4, ... samples and a pulse anywhere within a sample.

    Parameters
    ----------
    factor : samples that become one
    dt_s : seconds per sample
    width_s : full width at half maximum of a Gaussian pulse
    smear_s : over which it is spread evenly besides
    """
    return max(0.0, 1 - _snr(factor * dt_s, width_s, smear_s) / _snr(dt_s, width_s, smear_s))


def _snr(dt_s: float, width_s: float, smear_s: float) -> float:
    """S/N of the best boxcar in units of area over noise of a second."""
    sigma = width_s / _FWHM
    longest = 8 * (width_s + smear_s) + 2 * dt_s
    best = np.zeros(_PHASES.size)
    length = dt_s
    while length <= longest:
        # the middle of one sample, or the border of two, is nearest to the pulse
        off = _PHASES if length == dt_s else np.where(_PHASES < 0, _PHASES + 0.5, _PHASES - 0.5)
        ends = [(x * dt_s - length / 2, x * dt_s + length / 2) for x in off]
        share = [_before(high, sigma, smear_s) - _before(low, sigma, smear_s) for low, high in ends]
        best = np.maximum(best, np.array(share) / sqrt(length))
        length *= 2
    return float(best.mean())


def _before(x: float, sigma: float, smear: float) -> float:
    """Share of a Gaussian, spread evenly over `smear`, that comes before x."""
    if smear < 1e-6 * sigma:
        return 0.5 * (1 + erf(x / sigma / sqrt(2)))

    def integral(u: float) -> float:  # of the normal distribution's
        return u * 0.5 * (1 + erf(u / sqrt(2))) + exp(-u * u / 2) / sqrt(2 * pi)

    return sigma / smear * (integral((x + smear / 2) / sigma) - integral((x - smear / 2) / sigma))
