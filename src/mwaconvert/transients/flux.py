"""Flux density and fluence of a pulse, from its S/N by the radiometer equation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mwaconvert.errors import InputError
from mwaconvert.spectra.candidate import Candidate


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """How sensitive a telescope is.

    Parameters
    ----------
    gain_k_jy : K/Jy
    tsys_k : temperature of the system with the sky, K
    bandwidth_mhz : that was searched, without masked channels
    n_pol : polarisations that were summed

    Raises
    ------
    InputError : a number is not positive

    Examples
    --------
    >>> parkes = Receiver(gain_k_jy=0.735, tsys_k=28, bandwidth_mhz=340)
    >>> pulse = Candidate(time_s=1.0, dm=500.0, snr=16.0, width_s=4e-3)
    >>> print(f"{parkes.flux_density_jy(pulse):.3f} Jy, {parkes.fluence_jy_ms(pulse):.2f} Jy ms")
    0.370 Jy, 1.48 Jy ms
    """

    gain_k_jy: float
    tsys_k: float
    bandwidth_mhz: float
    n_pol: int = 2

    def __post_init__(self) -> None:
        for name in ("gain_k_jy", "tsys_k", "bandwidth_mhz", "n_pol"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"`{name}={value:g}`: expected a positive number", option=name)

    def flux_density_jy(self, pulse: Candidate) -> float:
        """Mean flux density over the width of the pulse, at the centre of the beam, Jy.

        Lorimer & Kramer 2004, appendix 1: S/N * T_sys / (G * sqrt(n_pol * bandwidth * width)).
        """
        samples = self.n_pol * self.bandwidth_mhz * 1e6 * pulse.width_s
        return pulse.snr * self.tsys_k / (self.gain_k_jy * math.sqrt(samples))

    def fluence_jy_ms(self, pulse: Candidate) -> float:
        """Flux density times width, Jy ms."""
        return self.flux_density_jy(pulse) * pulse.width_s * 1e3
