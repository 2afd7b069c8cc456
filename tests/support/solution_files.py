"""Solution files as the programs that make them write them."""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits


def write_aocal(path: Path, jones: npt.NDArray[np.complex128], start: float = 0.0, end: float = 0.0) -> Path:
    """jones (n_times, n_antennas, n_channels, 4)."""
    header = struct.pack("<8s6I2d", b"MWAOCAL\0", 0, 0, *jones.shape, start, end)
    path.write_bytes(header + jones.astype("<c16").tobytes())
    return path


def write_hyperdrive(
    path: Path,
    jones: npt.NDArray[np.complex128],
    freq_hz: npt.NDArray[np.float64] | None = None,
    times_gps_s: npt.NDArray[np.float64] | None = None,
    tiles: list[str] | None = None,
    **keys: object,
) -> Path:
    """jones (n_times, n_antennas, n_channels, 4)."""
    primary = fits.PrimaryHDU()
    for key, value in keys.items():
        primary.header[key] = value
    values = np.ascontiguousarray(jones, np.complex128).view(np.float64)
    hdus = [primary, fits.ImageHDU(values, name="SOLUTIONS")]

    def table(name: str, **columns: tuple[str, object]) -> None:
        made = [fits.Column(key, form, array=data) for key, (form, data) in columns.items()]
        hdus.append(fits.BinTableHDU.from_columns(made, name=name))

    if times_gps_s is not None:
        table("TIMEBLOCKS", Start=("D", times_gps_s), End=("D", times_gps_s), Average=("D", times_gps_s))
    if tiles is not None:
        table(
            "TILES", Antenna=("J", np.arange(len(tiles))), Flag=("L", np.zeros(len(tiles), bool)),
            TileName=("20A", tiles),
        )  # fmt: skip
    if freq_hz is not None:
        table(
            "CHANBLOCKS", Index=("J", np.arange(len(freq_hz))), Flag=("L", np.zeros(len(freq_hz), bool)),
            Freq=("D", freq_hz),
        )  # fmt: skip
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def add_calibdata(
    metafits: Path,
    path: Path,
    delay_m: npt.NDArray[np.float64],
    intercept: npt.NDArray[np.float64],
    gains: npt.NDArray[np.float64],
    *,
    in_order: bool = False,
) -> Path:
    """A metafits with CALIBDATA, its rows in any order or in that of TILEDATA; delay_m, intercept (n_antennas, 2),
    gains (n_antennas, 2, n_coarse).
    """
    n_antennas = len(delay_m)
    with fits.open(metafits) as hdus:
        tiles = hdus["TILEDATA"].data
        name = {int(row["Antenna"]): row["TileName"] for row in tiles}
        antenna = np.repeat(np.arange(n_antennas)[::-1], 2)
        pol = np.tile([1, 0], n_antennas)
        if in_order:  # otherwise mwalib does not read it
            antenna = np.array(tiles["Antenna"], int)
            pol = np.array(["XY".index(letter) for letter in tiles["Pol"]])
        columns = [
            fits.Column("Antenna", "I", array=antenna),
            fits.Column("Tile", "I", array=antenna + 11),
            fits.Column("TileName", "20A", array=[name[a] for a in antenna]),
            fits.Column("Pol", "1A", array=["XY"[p] for p in pol]),
            fits.Column("Calib_Delay", "E", array=delay_m[antenna, pol]),
            fits.Column("Intercept", "E", array=intercept[antenna, pol]),
            fits.Column("Calib_Gains", f"{gains.shape[2]}E", array=gains[antenna, pol]),
        ]
        table = fits.BinTableHDU.from_columns(columns, name="CALIBDATA")
        table.header["CALOBSID"] = 1000000000
        fits.HDUList([*(hdu.copy() for hdu in hdus), table]).writeto(path, overwrite=True)
    return path
