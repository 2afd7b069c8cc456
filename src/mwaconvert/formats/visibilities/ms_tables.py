"""What the sub-tables of an MWA measurement set hold.

Standard tables follow the MeasurementSet definition version 2.0 (Kemball and Wieringa 2000, CASA memo 229);
the tables and columns named MWA_* are those that cotter introduced and that WSClean and EveryBeam read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.constants import SECONDS_PER_DAY, UNIX_EPOCH_MJD
from mwaconvert.formats.visibilities.casa_table import (
    CasaTable,
    column,
    create_subtable,
    refusals,
    standard_columns,
)
from mwaconvert.visibilities.model import SpectralWindow, VisHeader

#: seconds from the origin of the Modified Julian Date to that of Unix time
#: electrical over physical length of the cables, used by the metafits for lengths without the prefix EL_
CABLE_VELOCITY_FACTOR = 1.204
#: of a tile of 4 x 4 dipoles 1.1 m apart, as all MWA software states it
TILE_DIAMETER_M = 4.0

#: beginnings of the names of tables that the standard does not have
_NOT_STANDARD = ("MWA_", "QUALITY_")
#: tables with arrays of two axes of variable shape, all of 8-byte items
_GAPS = ("FEED", "FIELD")

_EPOCH = {"type": "epoch", "Ref": "UTC"}
_DIRECTION = {"type": "direction", "Ref": "J2000"}
#: CASA codes: linear products XX, XY, YX, YY and the topocentric frame of frequencies
_CORR_TYPE = (9, 10, 11, 12)
_TOPO = 5

#: One value for each row; a list of arrays where their shapes differ.
Values = npt.NDArray[Any] | list[npt.NDArray[Any]]


@dataclass(frozen=True)
class SubTable:
    """Values of a sub-table by column, and descriptions of the columns that the standard does not have."""

    name: str
    values: Mapping[str, Values]
    extra: Mapping[str, Any] = field(default_factory=dict)


def write_subtables(main: CasaTable, header: VisHeader) -> None:
    """Fill the sub-tables of a new measurement set.

    The required ones exist, empty; STATE, PROCESSOR, POINTING and FLAG_CMD stay empty (the main table has
    STATE_ID and PROCESSOR_ID -1: none).
    """
    for table in subtables(header):
        write_subtable(main, table)


def write_subtable(main: CasaTable, table: SubTable) -> None:
    """Fill one sub-table, which is created if it does not exist."""
    path = main.path / table.name
    if not path.exists():
        standard = {} if table.name.startswith(_NOT_STANDARD) else standard_columns(table.name)
        create_subtable(main, table.name, {**standard, **table.extra})
        extra: Mapping[str, Any] = {}
    else:
        extra = table.extra
    opened = CasaTable(path, main.target)
    try:
        if extra:
            opened.add_columns(extra)
        opened.add_rows(len(next(iter(table.values.values()))))
        for name, values in table.values.items():
            if isinstance(values, list):
                for row, value in enumerate(values):
                    opened.put(name, value[np.newaxis], row)
            else:
                opened.put(name, values)
    finally:
        opened.close()
    if table.name in _GAPS:
        with refusals(main.target):
            _clear_gaps(path / "table.f0i")


def _clear_gaps(path: Path) -> None:
    """Zero what casacore leaves between arrays of variable shape: what its memory held, other bytes in each run.

    After a header of 16 bytes each array has its number of axes, their lengths, and 8 bytes for each item; the
    next one starts at a multiple of 8.
    """
    data = np.fromfile(path, np.int32)
    at = 4
    while at + 1 < len(data):
        n_axes = int(data[at])
        at += 1 + n_axes + 2 * int(np.prod(data[at + 1 : at + 1 + n_axes], dtype=np.int64))
        if at % 2 and at < len(data):
            data[at] = 0
            at += 1
    with path.open("r+b") as file:
        file.write(data.tobytes())


def subtables(header: VisHeader) -> list[SubTable]:
    """All sub-tables that have rows."""
    return [
        _antenna(header),
        _feed(header),
        _spectral_window(header),
        _data_description(header),
        _polarization(),
        _field(header),
        _source(header),
        _observation(header),
        _history(header),
        _tile_pointing(header),
        _subband(header),
    ]


def time_range_s(header: VisHeader) -> tuple[float, float]:
    """Start and end of the observation: MJD in seconds, UTC."""
    half = header.interval_s / 2
    return (
        float(header.time_mjd[0] * SECONDS_PER_DAY - half[0]),
        float(header.time_mjd[-1] * SECONDS_PER_DAY + half[-1]),
    )


def _ints(*values: int) -> npt.NDArray[np.int32]:
    return np.array(values, np.int32)


def _strings(values: Sequence[str] | Sequence[Sequence[str]]) -> npt.NDArray[Any]:
    return np.array(values, dtype=object)


def _bools(n: int) -> npt.NDArray[np.bool_]:
    return np.zeros(n, np.bool_)


def _antenna(header: VisHeader) -> SubTable:
    antennas = header.metadata.antennas
    n = len(antennas)
    return SubTable(
        "ANTENNA",
        {
            "NAME": _strings([a.name for a in antennas]),
            "STATION": _strings(["MWA"] * n),
            "TYPE": _strings(["GROUND-BASED"] * n),
            "MOUNT": _strings(["ALT-AZ"] * n),
            "POSITION": header.antenna_itrf_m,
            "OFFSET": np.zeros((n, 3)),
            "DISH_DIAMETER": np.full(n, TILE_DIAMETER_M),
            "FLAG_ROW": header.antenna_flagged,
            "MWA_INPUT": np.array([a.input for a in antennas], np.int32),
            "MWA_TILE_NR": _ints(*(a.tile_id for a in antennas)),
            "MWA_RECEIVER": _ints(*(a.receiver for a in antennas)),
            "MWA_SLOT": np.array([a.slot for a in antennas], np.int32),
            "MWA_CABLE_LENGTH": np.array([a.electrical_length_m for a in antennas], np.float64),
        },
        {
            "MWA_INPUT": column("int", (2,)),
            "MWA_TILE_NR": column("int"),
            "MWA_RECEIVER": column("int"),
            "MWA_SLOT": column("int", (2,)),
            "MWA_CABLE_LENGTH": column("double", (2,), ["m"]),
        },
    )


def _feed(header: VisHeader) -> SubTable:
    n = header.metadata.n_antennas
    start, end = time_range_s(header)
    return SubTable(
        "FEED",
        {
            "ANTENNA_ID": np.arange(n, dtype=np.int32),
            "FEED_ID": _ints(*[0] * n),
            "BEAM_ID": _ints(*[-1] * n),
            "SPECTRAL_WINDOW_ID": _ints(*[-1] * n),
            "NUM_RECEPTORS": _ints(*[2] * n),
            "TIME": np.full(n, (start + end) / 2),
            "INTERVAL": np.full(n, end - start),
            "POLARIZATION_TYPE": _strings([["X", "Y"]] * n),
            "POL_RESPONSE": np.tile(np.eye(2, dtype=np.complex64), (n, 1, 1)),
            # position angle, north through east: the X dipole lies east-west. Peers write 0 and 90 degrees
            "RECEPTOR_ANGLE": np.tile([math.pi / 2, 0.0], (n, 1)),
            "POSITION": np.zeros((n, 3)),
            "BEAM_OFFSET": np.zeros((n, 2, 2)),
        },
    )


def _spectral_window(header: VisHeader) -> SubTable:
    windows = header.spectral_windows
    n = len(windows)
    coarse = header.metadata.coarse_channels

    def centre_mhz(window: SpectralWindow) -> float:
        low = window.freq_hz[0] - window.width_hz[0] / 2
        high = window.freq_hz[-1] + window.width_hz[-1] / 2
        return float(low + high) / 2e6

    return SubTable(
        "SPECTRAL_WINDOW",
        {
            "NAME": _strings([f"MWA_BAND_{centre_mhz(w):.1f}" for w in windows]),
            "NUM_CHAN": _ints(*(w.n_chan for w in windows)),
            "CHAN_FREQ": [w.freq_hz for w in windows],
            "CHAN_WIDTH": [w.width_hz for w in windows],
            "EFFECTIVE_BW": [w.effective_hz for w in windows],
            "RESOLUTION": [w.width_hz for w in windows],
            "REF_FREQUENCY": np.array([w.freq_hz[w.n_chan // 2] for w in windows]),
            "TOTAL_BANDWIDTH": np.array([w.width_hz.sum() for w in windows]),
            "MEAS_FREQ_REF": _ints(*[_TOPO] * n),
            "NET_SIDEBAND": _ints(*[1] * n),
            "IF_CONV_CHAIN": _ints(*[0] * n),
            "FREQ_GROUP": _ints(*[0] * n),
            "FREQ_GROUP_NAME": _strings(["MWA"] * n),
            "FLAG_ROW": _bools(n),
            "MWA_CENTRE_SUBBAND_NR": _ints(*(coarse[w.coarse[len(w.coarse) // 2]].number for w in windows)),
        },
        {"MWA_CENTRE_SUBBAND_NR": column("int")},
    )


def _data_description(header: VisHeader) -> SubTable:
    n = len(header.spectral_windows)
    return SubTable(
        "DATA_DESCRIPTION",
        {
            "SPECTRAL_WINDOW_ID": np.arange(n, dtype=np.int32),
            "POLARIZATION_ID": _ints(*[0] * n),
            "FLAG_ROW": _bools(n),
        },
    )


def _polarization() -> SubTable:
    return SubTable(
        "POLARIZATION",
        {
            "NUM_CORR": _ints(4),
            "CORR_TYPE": np.array([_CORR_TYPE], np.int32),
            "CORR_PRODUCT": np.array([[[0, 0], [0, 1], [1, 0], [1, 1]]], np.int32),
            "FLAG_ROW": _bools(1),
        },
    )


def _field(header: VisHeader) -> SubTable:
    direction = np.array([[header.phase_centre_rad]], np.float64)
    return SubTable(
        "FIELD",
        {
            "NAME": _strings([header.phase_centre_name]),
            "CODE": _strings([""]),
            "TIME": np.array([time_range_s(header)[0]]),
            "NUM_POLY": _ints(0),
            "DELAY_DIR": direction,
            "PHASE_DIR": direction,
            "REFERENCE_DIR": direction,
            "SOURCE_ID": _ints(0),
            "FLAG_ROW": _bools(1),
            "MWA_HAS_CALIBRATOR": np.array([header.metadata.calibrator]),
        },
        {"MWA_HAS_CALIBRATOR": column("boolean")},
    )


def _source(header: VisHeader) -> SubTable:
    start, end = time_range_s(header)
    return SubTable(
        "SOURCE",
        {
            "SOURCE_ID": _ints(0),
            "NAME": _strings([header.phase_centre_name]),
            "CODE": _strings([""]),
            "TIME": np.array([(start + end) / 2]),
            "INTERVAL": np.array([end - start]),
            "SPECTRAL_WINDOW_ID": _ints(-1),  # all
            "NUM_LINES": _ints(0),
            "CALIBRATION_GROUP": _ints(0),
            "DIRECTION": np.array([header.phase_centre_rad], np.float64),
            "PROPER_MOTION": np.zeros((1, 2)),
        },
    )


def _observation(header: VisHeader) -> SubTable:
    metadata = header.metadata
    start, end = time_range_s(header)
    return SubTable(
        "OBSERVATION",
        {
            "TELESCOPE_NAME": _strings(["MWA"]),
            "TIME_RANGE": np.array([[start, end]]),
            "OBSERVER": _strings([metadata.creator]),
            "PROJECT": _strings([metadata.project]),
            "LOG": _strings([[""]]),
            "SCHEDULE": _strings([[""]]),
            "SCHEDULE_TYPE": _strings(["MWA"]),
            "RELEASE_DATE": np.zeros(1),
            "FLAG_ROW": _bools(1),
            "MWA_GPS_TIME": np.array([float(metadata.obsid)]),
            "MWA_FILENAME": _strings([metadata.name]),
            "MWA_OBSERVATION_MODE": _strings([metadata.mode]),
            "MWA_FLAG_WINDOW_SIZE": _ints(round((end - start) / header.input_int_time_s)),
            "MWA_DATE_REQUESTED": np.array([metadata.sched_start_unix_s + UNIX_EPOCH_MJD * SECONDS_PER_DAY]),
            # not in the standard: pyuvdata reads it, and otherwise assumes a position
            "TELESCOPE_LOCATION": _geocentric(header)[np.newaxis],
        },
        {
            "MWA_GPS_TIME": column("double", units=["s"]),
            "MWA_FILENAME": column("string"),
            "MWA_OBSERVATION_MODE": column("string"),
            "MWA_FLAG_WINDOW_SIZE": column("int"),
            "MWA_DATE_REQUESTED": column("double", units=["s"], measure=_EPOCH),
            "TELESCOPE_LOCATION": column("double", (3,), ["m"] * 3, {"type": "position", "Ref": "ITRF"}),
        },
    )


def _geocentric(header: VisHeader) -> npt.NDArray[np.float64]:
    import erfa

    place = header.array_position
    xyz = erfa.gd2gc(1, place.longitude_rad, place.latitude_rad, place.height_m)  # 1: WGS84
    return np.asarray(xyz, np.float64)


def _history(header: VisHeader) -> SubTable:
    messages = [f"converted by {header.software}", *header.history]
    n = len(messages)
    return SubTable(
        "HISTORY",
        {
            "TIME": np.full(n, time.time() + UNIX_EPOCH_MJD * SECONDS_PER_DAY),
            "OBSERVATION_ID": _ints(*[0] * n),
            "OBJECT_ID": _ints(*[0] * n),
            "MESSAGE": _strings(messages),
            "PRIORITY": _strings(["INFO"] * n),
            "ORIGIN": _strings(["mwaconvert"] * n),
            "APPLICATION": _strings([header.software] * n),
            "CLI_COMMAND": _strings([[header.command_line]] + [[""]] * (n - 1)),
            "APP_PARAMS": _strings([[""]] * n),
        },
    )


def _tile_pointing(header: VisHeader) -> SubTable:
    metadata = header.metadata
    return SubTable(
        "MWA_TILE_POINTING",
        {
            "INTERVAL": np.array([time_range_s(header)]),
            "DELAYS": np.array([metadata.delays], np.int32),
            "DIRECTION": np.radians([metadata.pointing_deg]),
        },
        {
            "INTERVAL": column("double", (2,), ["s"], _EPOCH),
            "DELAYS": column("int", (len(metadata.delays),)),
            "DIRECTION": column("double", (2,), ["rad"] * 2, _DIRECTION),
        },
    )


def _subband(header: VisHeader) -> SubTable:
    metadata = header.metadata
    used = [c for window in header.spectral_windows for c in window.coarse]
    return SubTable(
        "MWA_SUBBAND",
        {
            "NUMBER": _ints(*(metadata.coarse_channels[c].number for c in used)),
            # one number for each coarse channel: the mean over the inputs
            "GAIN": metadata.digital_gains[:, :, used].mean(axis=(0, 1)),
            "FLAG_ROW": _bools(len(used)),
        },
        {"NUMBER": column("int"), "GAIN": column("double"), "FLAG_ROW": column("boolean")},
    )
