"""Small raw files with chosen times, and mwalib's view of them."""

from collections.abc import Sequence
from pathlib import Path

import mwalib
import numpy as np
from astropy.io import fits

OBSID = 1297526432
START_MS = 1613491214000
#: of the synthetic MWAX observation
N_BL, N_FINE = 3, 2


def mwax_name(channel: int, batch: int = 0, obsid: int = OBSID) -> str:
    return f"{obsid}_20210216160014_ch{channel:03d}_{batch:03d}.fits"


def write_mwax(
    folder: Path,
    channel: int,
    steps: Sequence[float],
    batch: int = 0,
    *,
    int_time_s: float = 0.5,
    n_fine: int = N_FINE,
    n_bl: int = N_BL,
    weights: bool = True,
    markers: Sequence[int] = (),
    name: str = "",
    **keys: object,
) -> Path:
    """Write an MWAX file with integrations at START_MS + steps * int_time_s; NaN: TIME is 0."""
    primary = fits.PrimaryHDU()
    known = {"OBSID": OBSID, "CORR_VER": 2, "INTTIME": int_time_s, "FINECHAN": 1280 / n_fine, "NINPUTS": 4}
    primary.header.update(known | keys)
    for key in [key for key, value in keys.items() if value is None]:
        del primary.header[key]
    hdus = [primary]
    for k, step in enumerate(steps):
        shapes = [(n_bl, n_fine * 8)] + [(n_bl, 4)] * weights
        for shape in shapes:
            hdu = fits.ImageHDU(np.full(shape, step, np.float32))
            unix_ms = 0 if np.isnan(step) else START_MS + round(step * int_time_s * 1000)
            hdu.header["TIME"], hdu.header["MILLITIM"] = divmod(unix_ms, 1000)
            if markers:
                hdu.header["MARKER"] = markers[k]
            hdus.append(hdu)
    path = folder / (name or mwax_name(channel, batch))
    fits.HDUList(hdus).writeto(path)
    return path


def mwalib_context(metafits: Path, files: Sequence[Path]) -> mwalib.CorrelatorContext:
    return mwalib.CorrelatorContext(str(metafits), [str(path) for path in files])


def compare_with_mwalib(observation, context) -> None:
    """Provided, common and common good timesteps and channels, and the file and HDU of each."""
    ours = {int(t): k for k, t in enumerate(observation.timestep_unix_ms)}
    theirs = [step.unix_time_ms for step in context.timesteps]

    def times(indices):
        return [theirs[k] for k in indices]

    provided = (observation.hdu_index >= 0).any(axis=1)
    assert observation.timestep_unix_ms[provided].tolist() == times(context.provided_timestep_indices)
    assert list(observation.provided_coarse) == list(context.provided_coarse_chan_indices)
    for ranges, indices in [
        (observation.common, context.common_timestep_indices),
        (observation.common_good, context.common_good_timestep_indices),
    ]:
        assert [int(observation.timestep_unix_ms[k]) for k in ranges] == times(indices)
    batches = [[Path(file.filename) for file in batch.gpubox_files] for batch in context.gpubox_batches]
    found = 0
    for unix_ms, channels in context.gpubox_time_map.items():
        for box, (batch, hdu_number) in channels.items():
            (coarse,) = [c.index for c in observation.metadata.coarse_channels if c.gpubox == box]
            hdu = observation.hdus[observation.hdu_index[ours[unix_ms], coarse]]
            file = observation.files[hdu["file"]]
            assert hdu["hdu"] == hdu_number
            assert file.path in batches[batch]
            assert file.coarse == coarse
            found += 1
    assert found == (observation.hdu_index >= 0).sum()
