"""Visibilities of one integration and coarse channel, in the order of the raw file."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mwaconvert.simulate import model
from mwaconvert.simulate.metafits import Instrument
from mwaconvert.simulate.products import Block, Products
from mwaconvert.simulate.rfi import Rfi

CHUNK_BYTES = 1 << 22  #: of one antenna-by-antenna matrix


class Generator:
    """Fills blocks with the visibilities of one integration and coarse channel."""

    def __init__(
        self, instrument: Instrument, sky: model.Sky, products: Products, noise_jy: float, seed: int
    ) -> None:
        self._instrument = instrument
        self._sky = sky
        self._products = products
        self._noise_jy = noise_jy
        self._seed = seed
        self._block = np.zeros(products.shape, dtype=np.complex64)
        self._position = model.enu_positions(instrument)
        self._passband = model.coarse_passband(instrument)
        self._factors: tuple[int, npt.NDArray[np.complex128]] | None = None

    def integration(self, time: int, coarse: int, rfi: Rfi | None, rfi_row: int) -> Block:
        """The block of a time and coarse channel: one buffer, used again by the next call."""
        inst, block, products = self._instrument, self._block, self._products
        if self._factors is None or self._factors[0] != coarse:
            self._factors = (coarse, model.signal_factors(inst, coarse))
        freq = inst.fine_freq_hz[coarse]
        self._noise(time, coarse)

        track = model.fringes(self._position, self._sky.track_enu[time : time + 1], freq).conj()
        factors = self._factors[1] * track
        enu, flux = self._sky.source_enu[time], self._sky.flux_jy(time, freq)
        amplitude = None if rfi is None else rfi.amplitude_jy[time, rfi_row]
        step = max(1, CHUNK_BYTES // (8 * inst.n_antennas**2))
        for first in range(0, inst.n_fine, step):
            channels = slice(first, min(first + step, inst.n_fine))
            if flux.shape[1]:
                fringe = model.fringes(self._position, enu, freq[channels])
                for p in range(2):
                    signal = (fringe * factors[channels, :, p, None]).astype(np.complex64)
                    weighted = signal * flux[channels, None, :].astype(np.float32)
                    products.add(block, channels, p, p, weighted @ signal.conj().transpose(0, 2, 1))
            if amplitude is not None and np.any(amplitude[channels]):
                assert rfi is not None
                beam = model.fringes(self._position, rfi.enu[None, :], freq[channels])
                both = (beam * factors[channels]).astype(np.complex64)
                strong = both * amplitude[channels, None, None]
                for p in range(2):
                    for q in range(2):
                        matrix = strong[:, :, p, None] * both[:, None, :, q].conj()
                        products.add(block, channels, p, q, matrix)
        products.make_hermitian(block)
        return block

    def _noise(self, time: int, coarse: int) -> None:
        inst, block, products = self._instrument, self._block, self._products
        if self._noise_jy == 0:
            block[:] = 0
            return
        # a stream of its own for each block: what is written does not depend on what is left out
        rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence([self._seed, 2, time, coarse])))
        rng.standard_normal(out=block.view(np.float32), dtype=np.float32)
        n_samples = inst.fine_width_hz * inst.int_time_s
        products.scale_autos(block, np.sqrt(2), np.sqrt(2 * n_samples))
        gains = model.digital_gains(inst, coarse)
        products.scale(block, gains, self._passband * self._noise_jy)
