"""The delay of a dispersed pulse: K * DM * (f^-2 - f_ref^-2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError

#: Dispersion constant, MHz^2 s cm^3 / pc: the value that catalogues of DMs assume (Lorimer & Kramer 2004).
K_DM = 1 / 2.41e-4

Reference = str | float


def reference_mhz(freqs_mhz: npt.NDArray[np.float64], reference: Reference) -> float:
    """Frequency at which the delay is zero.

    Parameters
    ----------
    freqs_mhz : (n_chan) centres of the channels
    reference : top, bottom or centre (of the channel centres), infinity, or a frequency in MHz

    Raises
    ------
    InputError
    """
    if isinstance(reference, str):
        named = {
            "top": float(freqs_mhz.max()),
            "bottom": float(freqs_mhz.min()),
            "centre": float(freqs_mhz.max() + freqs_mhz.min()) / 2,
            "infinity": np.inf,
        }
        if reference not in named:
            raise InputError(
                f"reference frequency {reference!r}: expected {', '.join(named)} or a number (MHz)"
            )
        return named[reference]
    if not reference > 0:
        raise InputError(f"reference frequency {reference} MHz is not positive")
    return float(reference)


def delay_per_dm(
    freqs_mhz: npt.NDArray[np.float64], reference: Reference = "top", k_dm: float = K_DM
) -> npt.NDArray[np.float64]:
    """Delay of each channel per unit of DM.

    Parameters
    ----------
    freqs_mhz : (n_chan) centres of the channels
    reference : see `reference_mhz`
    k_dm : dispersion constant, MHz^2 s cm^3 / pc

    Returns
    -------
    (n_chan) s cm^3 / pc

    Examples
    --------
    >>> delay_per_dm(np.array([400.0, 800.0])).round(5)
    array([0.01945, 0.     ])
    """
    delay: npt.NDArray[np.float64] = freqs_mhz**-2.0 - reference_mhz(freqs_mhz, reference) ** -2.0
    return k_dm * delay


def delay_samples(
    dms: npt.NDArray[np.float64] | float, per_dm_samples: npt.NDArray[np.float64]
) -> npt.NDArray[np.int32]:
    """Whole samples of delay, rounded half away from zero.

    Parameters
    ----------
    dms : (n_trial) pc/cm^3
    per_dm_samples : (n_chan) samples of delay per unit of DM

    Returns
    -------
    (n_trial, n_chan)

    Raises
    ------
    InputError : a delay is absurd
    """
    trials = np.atleast_1d(np.asarray(dms, np.float64))
    out = np.empty((trials.size, per_dm_samples.size), np.int32)
    _core.round_delays(trials, np.ascontiguousarray(per_dm_samples), out)
    return out
