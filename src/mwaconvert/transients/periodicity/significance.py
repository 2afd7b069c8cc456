"""How unlikely a statistic is in noise, and what that means in standard deviations of a Gaussian."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ASYMPTOTIC = 20.0  # standard deviations beyond which a series is as good as the function itself
_FARTHEST, _STEP = 200.0, 0.01  # of the table


def log_gaussian_tail(sigma: float) -> float:
    """Natural logarithm of the probability that Gaussian noise is at this many standard deviations or above.

    Examples
    --------
    >>> round(log_gaussian_tail(0), 4), round(log_gaussian_tail(40), 2)
    (-0.6931, -804.61)
    """
    if sigma < _ASYMPTOTIC:
        return math.log(0.5 * math.erfc(sigma / math.sqrt(2)))
    square = sigma * sigma
    return -square / 2 - math.log(sigma * math.sqrt(2 * math.pi)) + math.log1p(-1 / square + 3 / square**2)


def log_power_tail(total: npt.ArrayLike, n_harmonic: int) -> Floats:
    """Natural logarithm of the probability that a sum of powers of noise is this large or larger.

    Parameters
    ----------
    total : sums of n_harmonic powers, each of which has an exponential distribution of mean 1
    n_harmonic : 1 or more

    Notes
    -----
    exp(-x) sum over k < n of x^k / k! (the gamma distribution; Groth 1975).
    """
    x = np.asarray(total, np.float64)
    terms = np.ones_like(x)
    term = np.ones_like(x)
    for k in range(1, n_harmonic):
        term = term * x / k
        terms = terms + term
    return np.asarray(np.log(terms) - x)


def gaussian_sigma(log_probability: npt.ArrayLike) -> Floats:
    """Standard deviations at which the tail of a Gaussian has this probability, from -5 on.

    Examples
    --------
    >>> gaussian_sigma([log_gaussian_tail(3), log_gaussian_tail(60)]).round(3)
    array([ 3., 60.])
    """
    sigmas, logs = _table()
    return np.interp(-np.asarray(log_probability, np.float64), -logs, sigmas)


@cache
def _table() -> tuple[Floats, Floats]:
    sigmas: Floats = np.arange(-5, _FARTHEST + _STEP, _STEP, np.float64)
    return sigmas, np.array([log_gaussian_tail(float(s)) for s in sigmas])


def power_threshold(sigma: float, n_harmonic: int) -> float:
    """The sum of n_harmonic powers that is as unlikely as `sigma` standard deviations of a Gaussian."""
    wanted = log_gaussian_tail(sigma)
    low, high = 0.0, 10.0 * n_harmonic + 2 * sigma * sigma
    for _ in range(100):
        middle = (low + high) / 2
        if log_power_tail(middle, n_harmonic) > wanted:
            low = middle
        else:
            high = middle
    return high


def log10_of_any(log_probability: float, n_trial: float) -> float:
    """Decimal logarithm of the probability that any of so many trials of noise is as good: at most 0.

    Notes
    -----
    The sum over the trials (Bonferroni's bound): trials of neighbouring DMs and periods are not independent, so that
    the probability is smaller.
    """
    return min(0.0, (log_probability + math.log(max(n_trial, 1.0))) / math.log(10))
