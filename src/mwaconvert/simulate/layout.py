"""The built-in arrays: tile positions, cables and gains of a plausible, invented MWA."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray

SLOTS = 8  #: tiles on one receiver
#: nominal cable length in metres and the name of its flavour
FLAVOURS = ((90, "RG6_90"), (150, "RG6_150"), (230, "RG6_230"), (320, "LMR400_320"), (524, "LMR400_524"))
#: electrical length of a metre of cable
ELECTRICAL = 1.204


def tile_positions(n_tiles: int, radius_m: float) -> FloatArray:
    """East, North, Height above sea level of the tiles: a compact core and spiral arms out to a radius.

    Parameters
    ----------
    n_tiles : number of tiles
    radius_m : distance of the outermost tile

    Returns
    -------
    (n_tiles, 3) metres, whole millimetres
    """
    k = np.arange(n_tiles)
    n_core = max(1, (2 * n_tiles) // 5)
    core = 12.0 * np.sqrt(np.minimum(k, n_core) + 0.5)
    outside = np.clip((k - n_core) / max(1, n_tiles - 1 - n_core), 0, 1)
    r = np.where(k < n_core, core, core * (radius_m / core[-1]) ** outside)
    angle = k * np.pi * (3 - np.sqrt(5))
    east, north = r * np.sin(angle), r * np.cos(angle)
    # the site slopes gently; ripples make sure that heights matter
    height = 376.5 + 0.0018 * east - 0.0012 * north + 1.5 * np.sin(east / 211) * np.cos(north / 173)
    return np.round(np.stack([east, north, height], axis=1), 3)


def tile_table(n_tiles: int, radius_m: float, n_coarse: int) -> dict[str, npt.NDArray[Any]]:
    """Columns of TILEDATA: two rows (Y, X) for each tile, in the order of Input.

    As in the real array, inputs and antennas are numbered differently: antennas by tile number, inputs by
    the wiring of the receivers.

    Parameters
    ----------
    n_tiles, radius_m : as for `tile_positions`
    n_coarse : number of coarse channels, one digital gain each
    """
    position = tile_positions(n_tiles, radius_m)
    antenna = np.arange(n_tiles)
    receiver, slot = antenna // SLOTS + 1, antenna % SLOTS + 1
    # receivers arrive in another order than their numbers, slots as 4 3 2 1 8 7 6 5
    wiring = np.lexsort(((slot - 1) ^ 3, (receiver * 11) % 37))

    far = np.hypot(position[:, 0], position[:, 1])
    flavour = np.minimum((antenna * 7 + (far > 300) * 2) % 6, len(FLAVOURS) - 1)
    cable = np.array([length for length, _ in FLAVOURS])[flavour] * ELECTRICAL
    # relative lengths, receivers at different distances, X and Y a little apart
    x_length = np.round(cable - 400.0 + 13.7 * receiver + 0.31 * slot, 2)
    y_length = np.round(x_length + 0.07 * (antenna % 3), 2)

    channel = np.arange(n_coarse)
    slope = 64 + 20 * np.abs(channel - 0.4 * n_coarse) / max(1, n_coarse)
    x_gain = np.round(slope[None, :] + (antenna % 5)[:, None] * 1.5 + 3 * np.sin(channel + antenna[:, None]))
    y_gain = x_gain + (antenna % 4)[:, None] - 1

    def rows(y: npt.NDArray[Any], x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.stack([y[wiring], x[wiring]], axis=1).reshape(2 * n_tiles, *y.shape[1:])

    def both(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return rows(column, column)

    tile = receiver * 10 + slot
    return {
        "Input": np.arange(2 * n_tiles, dtype=np.int16),
        "Antenna": both(antenna.astype(np.int16)),
        "Tile": both(tile.astype(np.int16)),
        "TileName": both(np.array([f"Tile{t:03d}" for t in tile])),
        "Pol": rows(np.full(n_tiles, "Y"), np.full(n_tiles, "X")),
        "Rx": both(receiver.astype(np.int16)),
        "Slot": both(slot.astype(np.int16)),
        "Flag": np.zeros(2 * n_tiles, dtype=np.int16),
        "Length": rows(
            np.array([f"EL_{length:.2f}" for length in y_length]),
            np.array([f"EL_{length:.2f}" for length in x_length]),
        ),
        "North": both(position[:, 1].astype(np.float32)),
        "East": both(position[:, 0].astype(np.float32)),
        "Height": both(position[:, 2].astype(np.float32)),
        "Gains": rows(y_gain.astype(np.int16), x_gain.astype(np.int16)),
        "BFTemps": np.full(2 * n_tiles, 30.0, dtype=np.float32),
        "Delays": np.zeros((2 * n_tiles, 16), dtype=np.int16),
        "VCSOrder": np.zeros(2 * n_tiles, dtype=np.int16),
        "Flavors": both(np.array([FLAVOURS[f][1] for f in flavour])),
        "Receiver_Types": np.full(2 * n_tiles, "RRI"),
    }
