"""The figures of CHIME/FRB's tutorial: one waterfall, or several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mwaconvert.errors import InputError
from mwaconvert.formats.spectra.wfall import read_wfall
from mwaconvert.spectra.spectra import Spectra, channel_sums
from mwaconvert.transients.figures import Look, Panel, waterfall_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SUBBANDS = 128


@dataclass(frozen=True)
class Masks:
    """Which channels are left out, by their values once they are dedispersed.

    Parameters
    ----------
    most_sum : those whose values add up to more than this, or less than its negative
    most_variance : then those whose variance is larger
    """

    most_sum: float | None = None
    most_variance: float | None = None


#: of the tutorial's script for several panels
TUTORIAL_MASKS = Masks(2.0, 0.05)


def panel_of(path: Path, dm: float | None = None, title: str = "", masks: Masks | None = None) -> Panel:
    """A waterfall as the tutorial's scripts prepare it.

    Parameters
    ----------
    path : .npz of get_wfall.py or `mwaconvert frb wfall`
    dm : pc/cm^3; None: the one in the file
    title : above it
    masks : channels that are left out

    Raises
    ------
    InputError : all is masked
    FormatError : it is not a waterfall
    """
    spectra = read_wfall(path).spectra()
    if dm is not None:
        spectra = spectra.dedisperse(dm)
    spectra = _masked(path, spectra, masks or Masks())
    if spectra.n_chan % _SUBBANDS == 0:
        spectra = spectra.subband(_SUBBANDS)
    weights = np.ones((1, 1), np.float32) if spectra.weights is None else spectra.weights
    seen = np.broadcast_to(weights[:, None] if weights.ndim == 1 else weights, spectra.data.shape) > 0
    if not seen.any():
        raise InputError(f"{path}: all samples are masked, there is nothing to draw", path=path)
    profile = np.where(seen, spectra.data, 0).sum(0)
    profile[~seen.any(0)] = -np.inf
    return Panel(spectra, title, (int(profile.argmax()) + 0.5) * spectra.dt_s)


def _masked(path: Path, spectra: Spectra, masks: Masks) -> Spectra:
    if masks.most_sum is None and masks.most_variance is None:
        return spectra
    data = spectra.data.astype(np.float32)
    count, total, _ = channel_sums(data, spectra.weights, np.zeros(spectra.n_chan)).T
    mean = total / np.maximum(count, 1)
    variance = channel_sums(data, spectra.weights, mean).T[2] / np.maximum(count, 1)
    gone = np.zeros(spectra.n_chan, bool)
    if masks.most_sum is not None:
        gone |= np.abs(total) > masks.most_sum
    if masks.most_variance is not None:
        gone |= variance > masks.most_variance
    if gone.all():
        raise InputError(
            f"{path}: the sums of all channels are beyond {masks.most_sum}, or their variances above "
            f"{masks.most_variance}: all are masked; see `mask_sum` and `mask_var`",
            path=path,
        )
    return spectra.masked(gone)


def tutorial_figure(
    panels: Sequence[Panel], *, label: str = "", tutorial_edge: bool = False, look: Look | None = None
) -> Figure:
    """One row of waterfalls, each below its profile, 4.26 x 3 inches.

    Parameters
    ----------
    panels : of `panel_of`
    label : above all, such as (a)
    tutorial_edge : the last edge of the time axis as the tutorial's scripts have it, 2 % too early
    look : how they are drawn; default as the tutorial

    Raises
    ------
    InputError : there is nothing to draw
    """
    look = replace(look or Look(), label=label, columns=len(panels) or None, tutorial_edge=tutorial_edge)
    return waterfall_figure(panels, look)
