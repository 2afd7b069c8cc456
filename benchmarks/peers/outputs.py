"""Converted files as plain arrays, read with astropy and python-casacore and nothing of this package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SPEED_OF_LIGHT_M_S = 299792458.0


@dataclass(frozen=True)
class Output:
    """A uvfits file or measurement set.

    Attributes
    ----------
    day : whole day from which times count, JD or MJD
    time_s : (n_rows,) since then
    inttime_s : (n_rows,) INTTIM, or INTERVAL
    uvw_m : (n_rows, 3)
    antenna1, antenna2 : (n_rows,)
    freq_hz : (n_chan,)
    vis : (n_rows, n_chan, 4) in the order of the file, parallel hands where antenna1 == antenna2 is real
    weight : (n_rows, n_chan, 4)
    flagged : (n_rows, n_chan, 4)
    position_m : (n_antenna, 3) as in the file
    """

    day: float
    time_s: npt.NDArray[np.float64]
    inttime_s: npt.NDArray[np.float64]
    uvw_m: npt.NDArray[np.float64]
    antenna1: npt.NDArray[np.int64]
    antenna2: npt.NDArray[np.int64]
    freq_hz: npt.NDArray[np.float64]
    vis: npt.NDArray[np.complex64]
    weight: npt.NDArray[np.float32]
    flagged: npt.NDArray[np.bool_]
    position_m: npt.NDArray[np.float64]


def read_output(path: Path) -> Output:
    """Read a file by its suffix, .uvfits or .ms (one spectral window)."""
    return _read_ms(path) if path.suffix == ".ms" else _read_uvfits(path)


def _read_uvfits(path: Path) -> Output:
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        header, groups = hdus[0].header, hdus[0].data
        types = [header[f"PTYPE{k + 1}"] for k in range(header["PCOUNT"])]
        raw = groups.view(np.ndarray)
        columns = [raw[name].astype(np.float64) for name in raw.dtype.names[: len(types)]]
        dates = [k for k, name in enumerate(types) if name == "DATE"]
        zero = sum(header.get(f"PZERO{k + 1}", 0.0) for k in dates)
        day = np.floor(zero + columns[dates[0]][0])
        number = columns[types.index("BASELINE")].astype(np.int64)
        large = number > 65536
        n_chan = header["NAXIS4"]
        cells = np.asarray(groups.data, np.float32).reshape(len(raw), n_chan, 4, 3)
        weight = np.ascontiguousarray(cells[..., 2])
        return Output(
            day=float(day),
            time_s=(sum(columns[k] for k in dates) + (zero - day)) * 86400,
            inttime_s=columns[types.index("INTTIM")],
            uvw_m=np.stack(columns[:3], axis=1) * SPEED_OF_LIGHT_M_S,
            antenna1=np.where(large, (number - 65536) // 2048, number // 256),
            antenna2=np.where(large, (number - 65536) % 2048, number % 256),
            freq_hz=header["CRVAL4"] + (np.arange(1, n_chan + 1) - header["CRPIX4"]) * header["CDELT4"],
            vis=cells[..., 0] + 1j * cells[..., 1],
            weight=weight,
            flagged=~(weight > 0),
            position_m=np.asarray(hdus[1].data["STABXYZ"], np.float64),
        )


def _read_ms(path: Path) -> Output:
    from casacore.tables import table

    def column(name: str, part: str = "") -> Any:
        with table(str(path / part), ack=False) as opened:
            return opened.getcol(name)

    time_s = column("TIME")
    day = np.floor(time_s[0] / 86400)
    flagged = column("FLAG")
    return Output(
        day=float(day),
        time_s=time_s - day * 86400,
        inttime_s=column("INTERVAL"),
        uvw_m=column("UVW"),
        antenna1=column("ANTENNA1"),
        antenna2=column("ANTENNA2"),
        freq_hz=column("CHAN_FREQ", "SPECTRAL_WINDOW")[0],
        vis=column("DATA"),
        weight=column("WEIGHT_SPECTRUM"),
        flagged=flagged | column("FLAG_ROW")[:, None, None],
        position_m=column("POSITION", "ANTENNA"),
    )
