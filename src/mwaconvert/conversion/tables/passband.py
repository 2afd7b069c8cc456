"""Power response of the receivers' coarse polyphase filter bank, B(f), inside one coarse channel.

Each response is a short cosine series in x = (position in the coarse channel) - 1/2, because the filter's
power response is the Fourier transform of its (short) autocorrelation. The series reproduce the published
tables: "jake" (2022, 6400 entries, computed from the prototype filter of the RRI receivers) and
"jake_oversampled" (2025, 6400 entries, oversampling receivers) to 1e-7, "cotter" (2014, 128 entries) to 1e-6.
B is 1 near the centre, with a ripple of 5 % in the oversampled one.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from mwaconvert.arrays import FloatArray
from mwaconvert.conversion.options import Passband
from mwaconvert.conversion.steps import State, Step, StepKind
from mwaconvert.observation.model import Correlator, Metadata

PassbandKind = Literal["none", "jake", "jake_oversampled", "cotter"]

# kind: (entries of the published table, cycles per coarse channel of the first cosine, coefficients)
_SERIES: dict[PassbandKind, tuple[int, float, tuple[float, ...]]] = {
    "jake": (
        6400,
        1.0,
        (
            0.905356359,
            0.173655825,
            -0.125959730,
            0.070742338,
            -0.028393823,
            0.005482033,
            -0.000985021,
            0.000102035,
        ),
    ),
    "cotter": (
        128,
        1.0,
        (
            0.905352542,
            0.173639079,
            -0.125913845,
            0.070685007,
            -0.028352686,
            0.005469531,
            -0.000981995,
            0.000101626,
        ),
    ),
    "jake_oversampled": (
        6400,
        0.7,
        (
            0.772948188,
            0.409153492,
            -0.306907153,
            0.174292901,
            -0.051913469,
            -0.030040908,
            0.059831541,
            -0.038855907,
            -0.013377616,
            0.008580954,
            -0.005045254,
            0.001778041,
            -0.000005299,
            -0.000379983,
            0.000132192,
            0.000054347,
        ),
    ),
}


def passband(kind: PassbandKind, correlator: Correlator, n_fine: int) -> FloatArray:
    """Mean power response of each fine channel.

    The response is sampled at N points of the coarse channel (as many as the published table has, or the next
    multiple of `n_fine` if that does not divide), F = N / n_fine of them a channel, and averaged as the
    correlator does:

    - legacy: points c F .. c F + F - 1 of channel c;
    - MWAX, n_fine even: F points centred on c F; where F is even, F + 1 points, first and last count half;
    - MWAX, n_fine odd: points c F .. c F + F, first and last count half.

    Points wrap around: channel 0 of an even number holds both edges of the coarse channel.

    Parameters
    ----------
    kind : response; "none" is 1 everywhere
    correlator : decides how fine channels lie in the coarse channel
    n_fine : fine channels in a coarse channel

    Returns
    -------
    (n_fine,) B, to divide visibilities by and to multiply weights by
    """
    if kind == "none":
        return np.ones(n_fine)
    table_size, cycles, coefficients = _SERIES[kind]
    if table_size % n_fine:
        table_size = n_fine * -(-6400 // n_fine)
    per_channel = table_size // n_fine

    x = np.arange(table_size) / table_size - 0.5
    terms = np.arange(len(coefficients))
    response = np.cos(2 * np.pi * cycles * np.multiply.outer(x, terms)) @ np.array(coefficients)

    if correlator == "legacy":
        first, weights = 0, np.ones(per_channel)
    elif n_fine % 2 == 0 and per_channel % 2:
        first, weights = -(per_channel // 2), np.ones(per_channel)
    else:
        first = 0 if n_fine % 2 else -(per_channel // 2)
        weights = np.ones(per_channel + 1)
        weights[[0, -1]] = 0.5
    start = np.arange(n_fine) * per_channel + first
    points = (start[:, None] + np.arange(len(weights))) % table_size
    mean: FloatArray = (response[points] * weights).sum(axis=1) / per_channel
    return mean


def choose_passband(metadata: Metadata, choice: Passband) -> tuple[PassbandKind, Step]:
    """Response to divide by, and why.

    "auto" takes none where the correlator took the ripple out already, otherwise the one of the receivers
    and correlator in use; an explicit choice always holds.
    """
    kind, why = _choose(metadata, choice)
    state = State.SKIPPED if kind == "none" else State.APPLIED
    return kind, Step(StepKind.PASSBAND, state, why)


def _choose(metadata: Metadata, choice: Passband) -> tuple[PassbandKind, str]:
    if choice != "auto":
        if choice == "none":
            return choice, "asked for with `passband_gains=none`"
        if metadata.deripple:
            return choice, f"{choice} response as asked for, although the correlator took it out (DERIPPLE=1)"
        return choice, f"{choice} response, as asked for"
    if metadata.deripple:
        return "none", "the correlator took it out (DERIPPLE=1)"
    if metadata.oversampled:
        return "jake_oversampled", "jake_oversampled response: oversampled coarse channels (OVERSAMP=1)"
    if metadata.correlator == "mwax":
        return "jake", "jake response: MWAX correlator"
    return "cotter", "cotter response: legacy correlator"
