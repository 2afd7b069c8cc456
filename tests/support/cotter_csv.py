"""Reader of the CSV dumps of cotter's and pyuvdata's outputs of observation 1254670392.

The dumps of uvfits files print the complex conjugate, times as Julian dates and uvw in seconds, and mark
flagged values by negative weights. Those of measurement sets print values as they are, MJD
seconds and metres.
"""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

OBSID = 1254670392
FOLDER = f"{OBSID}_cotter_reference"
#: of the two integrations; the printed times of the uvfits dumps have few digits
TIMES_MJD = np.array([58765.64787037037, 58765.64789351852])
POLARISATIONS = ("xx", "xy", "yx", "yy")
SPEED_OF_LIGHT_M_S = 299792458.0


@dataclass(frozen=True)
class Dump:
    """Values by time, baseline, channel and polarisation (XX, XY, YX, YY); uvw as antenna1 - antenna2."""

    antenna1: npt.NDArray[np.int64]  #: (n_bl,)
    antenna2: npt.NDArray[np.int64]
    uvw_m: npt.NDArray[np.float64]  #: (n_times, n_bl, 3)
    vis: npt.NDArray[np.complex128]  #: (n_times, n_bl, n_chan, 4)
    weight: npt.NDArray[np.float64]  #: the same shape, >= 0; NaN where the dump has none
    flag: npt.NDArray[np.bool_]  #: the same shape


@functools.cache
def read_dump(path: Path) -> Dump:
    """Read a dump; baselines of which not every polarisation was printed are left out."""
    with path.open(newline="") as lines:
        header, *rows = list(csv.reader(lines, skipinitialspace=True))
    is_ms = "ant1" in header
    column = {name: k for k, name in enumerate(header)}
    first = column["0"]

    cells: dict[tuple[str, int, int], dict[str, list[str]]] = {}
    uvw: dict[tuple[str, int, int], list[float]] = {}
    for row in rows:
        if is_ms:
            key = row[0], int(row[1]), int(row[2])
        else:
            antenna1, antenna2 = divmod(int(row[1]), 256)
            key = row[0], antenna1 - 1, antenna2 - 1
        cells.setdefault(key, {})[row[column["type"]] + row[column["pol"]]] = row[first:]
        uvw[key] = [float(row[column[name]]) for name in "uvw"]

    times = list(dict.fromkeys(key[0] for key in cells))
    baselines = list(dict.fromkeys(key[1:] for key in cells))
    baselines = [b for b in baselines if all("visyy" in cells[(t, *b)] for t in times)]
    keys = [[(t, *b) for b in baselines] for t in times]

    def grid(kind: str, convert: type) -> npt.NDArray:
        missing = ["nan"] * (len(header) - first)
        values = [
            [[[convert(v) for v in cells[k].get(kind + p, missing)] for p in POLARISATIONS] for k in ks]
            for ks in keys
        ]
        return np.moveaxis(np.array(values), -1, -2)

    vis, weight = grid("vis", complex), grid("weight", float)
    uvw_m = np.array([[uvw[k] for k in ks] for ks in keys])
    if is_ms:
        flag = grid("flag", str) == "True"
    else:
        vis, uvw_m, flag, weight = vis.conj(), uvw_m * SPEED_OF_LIGHT_M_S, weight < 0, np.abs(weight)
    antenna1, antenna2 = np.array(baselines).T
    return Dump(antenna1, antenna2, uvw_m, vis, weight, flag)
