"""Kernels of the live services, written as they are said."""

import numpy as np


def synthesise(beams, subbands):
    """A synthesised beam (n_chan, n_times): channel c is that of the tied-array beam that its subband names.

    beams (n_tab, n_chan, n_times); subbands (n_subband), in the order of the channels.
    """
    n_chan = beams.shape[1]
    of_channel = np.repeat(subbands, n_chan // len(subbands))
    return np.array([beams[of_channel[c], c] for c in range(n_chan)])
