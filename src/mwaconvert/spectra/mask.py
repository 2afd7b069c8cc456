"""What is masked, by channel and block of time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mwaconvert.spectra.spectra import Spectra


@dataclass(frozen=True, eq=False)
class TimeMask:
    """Blocks of channels that are masked; after the last block nothing is.

    Parameters
    ----------
    bad : (n_chan, n_block) from the lowest frequency
    block : samples of a block
    """

    bad: npt.NDArray[np.bool_]
    block: int

    def applied(self, spectra: Spectra, first: int) -> Spectra:
        """Spectra whose samples in masked blocks have weight 0.

        Parameters
        ----------
        spectra : a piece of the file
        first : sample of the file at which it begins
        """
        block = (first + np.arange(spectra.n_times)) // self.block
        inside = block < self.bad.shape[1]
        bad = self.bad[:, np.minimum(block, self.bad.shape[1] - 1)] & inside
        if not bad.any():
            return spectra
        if (bad == bad[:, :1]).all():
            return spectra.masked(bad[:, 0])
        weights = np.ones(spectra.data.shape, np.float32)
        if spectra.weights is not None:
            weights *= spectra.weights[:, None] if spectra.weights.ndim == 1 else spectra.weights
        weights[bad] = 0
        return replace(spectra, weights=weights)
