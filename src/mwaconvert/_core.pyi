from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

def scan_fits(path: str) -> tuple[dict[str, Any], npt.NDArray[np.void]]: ...
def rice_decode(tiles: Sequence[npt.NDArray[np.uint8]], n: int, block: int) -> npt.NDArray[np.int32]: ...
def rice_encode(pixels: npt.NDArray[np.int32], block: int) -> npt.NDArray[np.uint8]: ...
def ms_columns(
    weight: npt.NDArray[np.float32],
    first_chan: int,
    weight_spectrum: npt.NDArray[np.float32],
    flag: npt.NDArray[np.bool_],
    weight_sum: npt.NDArray[np.float32],
    flag_row: npt.NDArray[np.bool_],
    nthreads: int = 0,
) -> None: ...

class RfiParameters:
    threshold: float
    timestep_rms: float

def rfi_flag(
    amplitude: npt.NDArray[np.float32],
    missing: npt.NDArray[np.uint8],
    parameters: RfiParameters,
    out: npt.NDArray[np.uint8],
    nthreads: int = 0,
) -> None: ...
def flag_bytes(n_chan: int) -> int: ...
def write_ms_cells(
    files: tuple[int, int, int],
    first_row: int,
    vis: npt.NDArray[np.complex64],
    weight: npt.NDArray[np.float32],
    first_chan: int,
    n_chan: int,
    weight_sum: npt.NDArray[np.float32],
    flag_row: npt.NDArray[np.bool_],
    nthreads: int = 0,
) -> None: ...
def __getattr__(name: str) -> Any: ...
