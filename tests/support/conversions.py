"""What the acceptance tests share: collecting the blocks of a plan, and reading files without this package."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mwalib
import numpy as np
import numpy.typing as npt

from mwaconvert.conversion.converter import Converter
from mwaconvert.conversion.plan import Plan
from mwaconvert.conversion.rfi.mask import FlagMask
from mwaconvert.visibilities.model import Block

SPEED_OF_LIGHT_M_S = 299792458.0

#: options under which a conversion copies
NOTHING = {
    "cable_delay": False,
    "geometric_delay": False,
    "digital_gains": False,
    "passband_gains": "none",
}
UNFLAGGED = {
    "flag_init_s": 0.0,
    "flag_edge_width_khz": 0.0,
    "flag_dc": False,
    "flag_metafits": False,
    "ignore_weights": True,
}


@dataclass
class Converted:
    """All blocks of a plan: vis, weight, flags (n_times, n_rows, n_chan, 4), uvw_m (n_times, n_rows, 3)."""

    vis: npt.NDArray[np.complex64]
    weight: npt.NDArray[np.float32]
    uvw_m: npt.NDArray[np.float64]

    @property
    def flags(self) -> npt.NDArray[np.bool_]:
        return np.signbit(self.weight)


def converted_blocks(plan: Plan, mask: FlagMask | None = None) -> Iterator[Block]:
    """The blocks of a plan without the cells of `mask`, in one reused buffer."""
    with Converter(plan, mask) as converter:
        buffers = converter.make_buffers()
        for block, _ in converter.blocks(lambda: buffers):
            yield block


def collect(plan: Plan, mask: FlagMask | None = None) -> Converted:
    """Copy the blocks of a plan into arrays; each value must come exactly once.

    RFI is not looked for: `mask` holds what would be found.
    """
    shape = (plan.n_times, plan.n_rows, plan.n_channels, 4)
    converted = Converted(
        np.full(shape, np.nan, np.complex64),
        np.full(shape, np.nan, np.float32),
        np.full((*shape[:2], 3), np.nan),
    )
    seen = np.zeros(shape[:2], int)
    for block in converted_blocks(plan, mask):
        converted.vis[block.time_index, block.rows] = block.vis
        converted.weight[block.time_index, block.rows] = block.weight
        converted.uvw_m[block.time_index, block.rows] = block.uvw_m
        seen[block.time_index, block.rows] += 1
    assert (seen == 1).all()
    return converted


@dataclass
class RawData:
    """Raw files as mwalib reads them.

    Attributes
    ----------
    unix_ms : (n_times,) start of each timestep of the files, without holes
    vis : (n_times, n_coarse, n_bl, n_fine, 4) complex64, all coarse channels of the metafits in ascending
        frequency; 0 where there is none
    weight : (n_times, n_coarse, n_bl, 4) of MWAX files, else 1
    there : (n_times, n_coarse)
    freq_hz : (n_coarse, n_fine)
    """

    unix_ms: npt.NDArray[np.int64]
    vis: npt.NDArray[np.complex64]
    weight: npt.NDArray[np.float32]
    there: npt.NDArray[np.bool_]
    freq_hz: npt.NDArray[np.float64]


def read_with_mwalib(metafits: Path, files: list[Path] | None = None) -> RawData:
    """Read raw files (those beside the metafits if none are given) with mwalib."""
    if files is None:
        files = sorted(metafits.parent.glob("*_gpubox*.fits")) + sorted(metafits.parent.glob("*_ch*.fits"))
    context = mwalib.CorrelatorContext(str(metafits), [str(path) for path in files])
    meta = context.metafits_context
    number = sorted(channel.rec_chan_number for channel in meta.metafits_coarse_chans)
    provided = [context.timesteps[t].unix_time_ms for t in context.provided_timestep_indices]
    step = meta.corr_int_time_ms
    unix_ms = np.arange(min(provided), max(provided) + step, step)
    n_bl, n_fine = meta.num_baselines, meta.num_corr_fine_chans_per_coarse
    raw = RawData(
        unix_ms,
        np.zeros((len(unix_ms), len(number), n_bl, n_fine, 4), np.complex64),
        np.ones((len(unix_ms), len(number), n_bl, 4), np.float32),
        np.zeros((len(unix_ms), len(number)), bool),
        np.array(meta.metafits_fine_chan_freqs_hz).reshape(len(number), n_fine),
    )
    for t in context.provided_timestep_indices:
        at = int((context.timesteps[t].unix_time_ms - unix_ms[0]) // step)
        for c in context.provided_coarse_chan_indices:
            coarse = number.index(context.coarse_chans[c].rec_chan_number)
            floats = _unless_absent(context.read_by_baseline, t, c)
            weights = _unless_absent(context.read_weights_by_baseline, t, c)
            if floats is not None:
                raw.there[at, coarse] = True
                raw.vis[at, coarse] = floats.reshape(n_bl, n_fine, 4, 2).copy().view(np.complex64)[..., 0]
            if weights is not None:
                raw.weight[at, coarse] = weights
    return raw


def _unless_absent(read: Any, time: int, coarse: int) -> Any:
    """What mwalib reads, or None where there is no HDU of this time or the file ends in it."""
    try:
        return read(time, coarse)
    except Exception as error:  # the exceptions of mwalib have no base class of their own
        if "GpuboxError" not in type(error).__name__:
            raise
        return None


def read_uvfits(path: Path) -> dict[str, Any]:
    """A uvfits file as astropy sees it.

    `vis`, `weight` (n_rows, n_chan, 4) in the order of the file, `uvw_m`, `antenna1`, `antenna2` (from 0;
    `number` holds both, also where the file does not), `jd` (two doubles to be added), `inttim`, `freq_hz`,
    `header`, `antennas`.
    """
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        groups, header = hdus[0].data, hdus[0].header
        data = groups.data[:, 0, 0].astype(np.float64)
        if "BASELINE" in groups.parnames:
            number = groups.par("BASELINE").astype(np.int64)
            antenna1, antenna2 = number // 256, number % 256
            if number.max() > 65536:
                antenna1, antenna2 = (number - 65536) // 2048, (number - 65536) % 2048
        else:
            antenna1, antenna2 = (groups.par(f"ANTENNA{k}").astype(np.int64) for k in (1, 2))
            number = 2048 * antenna1 + antenna2 + 65536
        first = groups.parnames.index("DATE")
        dates = [groups.par(k).astype(np.float64) for k in (first, first + 1)]
        channel = np.arange(header["NAXIS4"]) + 1 - header["CRPIX4"]
        return {
            "vis": data[..., 0] + 1j * data[..., 1],
            "weight": data[..., 2],
            "uvw_m": np.stack([groups.par(k) for k in range(3)], 1, dtype=np.float64) * SPEED_OF_LIGHT_M_S,
            "number": number,
            "antenna1": antenna1 - 1,
            "antenna2": antenna2 - 1,
            "jd": dates,
            "inttim": groups.par("INTTIM"),
            "freq_hz": header["CRVAL4"] + channel * header["CDELT4"],
            "header": header,
            "antennas": hdus["AIPS AN"].copy(),
        }


def write(plan: Plan, *outputs: Path) -> None:
    """Convert into files, without RFI detection and without a report."""
    from mwaconvert.conversion.outputs import open_writers

    writers = open_writers(plan, list(outputs))
    for block in converted_blocks(plan):
        for writer in writers:
            writer.write(block)
    for writer in writers:
        writer.close()
