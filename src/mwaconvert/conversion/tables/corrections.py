"""Which corrections an observation needs, and the per-antenna factors and weights that apply them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray
from mwaconvert.constants import SPEED_OF_LIGHT_M_S
from mwaconvert.conversion.options import Options
from mwaconvert.conversion.steps import State, Step, StepKind
from mwaconvert.conversion.tables.geometry import phase_centre_rad, tracked_centre_rad
from mwaconvert.conversion.tables.passband import PassbandKind, choose_passband, passband
from mwaconvert.observation.model import Metadata


def antenna_factors(
    metadata: Metadata,
    coarse_indices: Sequence[int],
    freqs_hz: FloatArray,
    *,
    cable: bool,
    digital_gains: bool,
    passband_kind: PassbandKind,
) -> npt.NDArray[np.complex64]:
    """Factors e of each input such that V'_ijpq = V_ijpq e_ip conj(e_jq) is corrected.

    e_ip(f) = exp(+2 pi i L_ip f / c) / (g_ip sqrt(B(f))), with L the electrical length of the cable, g the
    digital gain of the coarse channel and B the response of the coarse filter bank. So V is multiplied by
    exp(-2 pi i (L_jq - L_ip) f / c) and divided by g_ip g_jq B. Computed in float64, rounded once;
    e conj(e) of an autocorrelation is real but for the rounding of that product.

    Inputs whose gain is zero cannot be divided by it and are left as they are.

    Parameters
    ----------
    metadata : observation
    coarse_indices : indices into `metadata.coarse_channels`, in the order of the channels
    freqs_hz : (n_coarse * n_fine,) centres of the channels, coarse channels one after the other
    cable, digital_gains : whether to correct for them
    passband_kind : "none" leaves the response of the coarse filter bank in

    Returns
    -------
    (n_antenna, 2, n_coarse * n_fine) complex64, polarisations X, Y
    """
    n_fine = metadata.n_fine
    amplitude = np.ones((metadata.n_antennas, 2, len(coarse_indices), n_fine))
    if digital_gains:
        gains = metadata.digital_gains[:, :, list(coarse_indices)]
        amplitude /= np.where(gains == 0, 1.0, gains)[..., None]
    amplitude /= np.sqrt(passband(passband_kind, metadata.correlator, n_fine))
    factors = amplitude.reshape(metadata.n_antennas, 2, -1).astype(np.complex128)
    if cable:
        lengths_m = np.array([antenna.electrical_length_m for antenna in metadata.antennas])
        factors *= np.exp(2j * np.pi / SPEED_OF_LIGHT_M_S * lengths_m[..., None] * freqs_hz)
    return factors.astype(np.complex64)


def channel_weights(
    metadata: Metadata, coarse_indices: Sequence[int], passband_kind: PassbandKind
) -> npt.NDArray[np.float32]:
    """Weights of unflagged visibilities before averaging, one for each channel.

    w = (integration time / 1 s) (channel width / 10 kHz) B(f): in units of a 1 s, 10 kHz sample, less where
    the coarse filter bank let less signal through.

    Returns
    -------
    (n_coarse * n_fine,) float32
    """
    nominal = metadata.int_time_s * (metadata.fine_width_hz / 10e3)
    weights = nominal * passband(passband_kind, metadata.correlator, metadata.n_fine)
    return np.tile(weights, len(coarse_indices)).astype(np.float32)


def decide_corrections(metadata: Metadata, options: Options) -> tuple[Step, ...]:
    """What will be corrected and why: cable delays, geometric delays, digital gains, coarse passband."""
    _, passband_step = choose_passband(metadata, options.passband_gains)
    return (
        _cable_step(metadata, options),
        _geometric_step(metadata, options),
        _gains_step(metadata, options),
        passband_step,
    )


def _cable_step(metadata: Metadata, options: Options) -> Step:
    kind = StepKind.CABLE_DELAYS
    if metadata.cabledel:
        return Step(kind, State.SKIPPED, f"the correlator applied them (CABLEDEL={metadata.cabledel})")
    if not options.cable_delay:
        return Step(kind, State.SKIPPED, "`cable_delay=False`")
    return Step(kind, State.APPLIED, "electrical lengths of the metafits")


def _geometric_step(metadata: Metadata, options: Options) -> Step:
    kind = StepKind.GEOMETRIC_DELAYS
    wanted = phase_centre_rad(metadata, options)
    target = "RA {:.4f}, Dec {:.4f} deg".format(*np.degrees(wanted))
    if not options.geometric_delay:
        return Step(kind, State.SKIPPED, "`geometric_delay=False`")
    if not metadata.geodel:
        return Step(kind, State.APPLIED, f"phase tracked to {target}")
    if metadata.geodel == 3 and tracked_centre_rad(metadata) == wanted:
        return Step(kind, State.SKIPPED, f"the correlator tracked {target} (GEODEL=3)")
    delivered = {1: "phased to the zenith", 2: "phased to the tile pointing", 3: "tracked another centre"}
    return Step(
        kind,
        State.APPLIED,
        f"rotated to {target}: the correlator {delivered[metadata.geodel]} (GEODEL={metadata.geodel}), "
        "only the difference is applied",
    )


def _gains_step(metadata: Metadata, options: Options) -> Step:
    kind = StepKind.DIGITAL_GAINS
    if metadata.digital_gains_applied:
        return Step(kind, State.SKIPPED, "the correlator applied them")
    if not options.digital_gains:
        return Step(kind, State.SKIPPED, "`digital_gains=False`")
    reason = "gains of the metafits"
    if metadata.has_global_gains:
        reason += ", those of each input; CHANGAIN, which has one for all inputs, is not used"
    gains = metadata.digital_gains
    dead = int((gains == 0).all(axis=2).sum())
    if dead:
        reason += f"; {dead} inputs have gain 0 and are left as they are"
    if (gains > 0).any():
        typical = float(np.median(gains[gains > 0]))
        # Receivers changed their scale by 64 during commissioning (until about July 2014).
        if not 0.125 < typical < 32:
            reason += f"; their median is {typical:.3g}, so the flux scale may be off by a factor of 64"
    return Step(kind, State.APPLIED, reason)
