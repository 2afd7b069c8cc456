"""What one conversion did, for people (`to_text`) and for machines (`to_json`; layout: docs/report.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mwaconvert.conversion.options import Options
from mwaconvert.conversion.report.words import WIDTH, report_text, utc_text
from mwaconvert.conversion.steps import Step
from mwaconvert.conversion.tables.smearing import Smearing
from mwaconvert.observation.model import FloatArray, Metadata, RawFile
from mwaconvert.staging import Kind, StagedPath
from mwaconvert.visibilities.model import VisHeader

if TYPE_CHECKING:
    from mwaconvert.conversion.rfi.array import ArrayRfi
    from mwaconvert.visibilities.statistics import Interference

#: version of the JSON layout; grows when a key changes its meaning or goes away
LAYOUT = 1


@dataclass(frozen=True)
class FlagCount:
    """How much of the input one rule flags, whatever the other rules do: the rules overlap."""

    name: str
    cells: int


@dataclass(frozen=True)
class Occupancy:
    """Fraction of the output that is flagged: of everything, and by antenna, channel and timestep.

    Attributes
    ----------
    antenna : (n_antenna,) over the baselines of each antenna; NaN for an antenna without rows
    channel : (n_channel,) in the order of the spectral windows
    timestep : (n_time,)
    """

    total: float
    antenna: FloatArray
    channel: FloatArray
    timestep: FloatArray


@dataclass(frozen=True)
class Quality:
    """What the cross-correlations themselves show, by antenna, channel and timestep.

    Attributes
    ----------
    noise : (2,) standard deviation of the real or imaginary part, XX and YY, from differences of neighbouring
        channels; antenna_noise (n_antenna, 2), channel_noise (n_channel, 2), timestep_noise (n_time, 2)
    interference : fraction of the cells that no static rule flags that were flagged by what the data showed

    NaN where nothing is unflagged.
    """

    noise: FloatArray
    antenna_noise: FloatArray
    channel_noise: FloatArray
    timestep_noise: FloatArray
    interference: Interference


@dataclass(frozen=True)
class OutputFile:
    """A file or directory that was written."""

    path: Path
    kind: str
    bytes: int
    times: int
    baselines: int
    channels: int


@dataclass(frozen=True)
class Performance:
    """Time and memory.

    Attributes
    ----------
    wall_s : from start to end
    bytes_read, bytes_written : of raw files and outputs
    peak_memory_bytes : largest resident size of the process
    threads : used by the kernels
    """

    wall_s: float
    bytes_read: int
    bytes_written: int
    peak_memory_bytes: int
    threads: int


@dataclass(frozen=True)
class Report:
    """What was done.

    Attributes
    ----------
    header : of the outputs
    files : raw files read
    missing_hdus : (coarse index, timestep index) of integrations that should have been there
    input_cells : (timestep, channel, baseline) triples that entered
    software : names and versions
    quality : None after --nostats
    array_rfi : None without --rfi-array
    notes : what the user should know: leftovers, oddities of the data, options that had nothing to do
    """

    header: VisHeader
    options: Options
    steps: tuple[Step, ...]
    files: tuple[RawFile, ...]
    missing_hdus: tuple[tuple[int, int], ...]
    input_cells: int
    flag_counts: tuple[FlagCount, ...]
    occupancy: Occupancy
    outputs: tuple[OutputFile, ...]
    smearing: Smearing
    performance: Performance
    software: Mapping[str, str]
    quality: Quality | None = None
    array_rfi: ArrayRfi | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dictionaries, lists, strings and numbers; None for what has no number."""
        meta = self.header.metadata
        coarse = meta.coarse_channels
        windows = self.header.spectral_windows
        performance = self.performance
        facts: dict[str, Any] = plain(
            {
                "format": "mwaconvert report",
                "layout": LAYOUT,
                "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
                "software": dict(self.software),
                "command_line": self.header.command_line,
                "options": asdict(self.options),
                "observation": observation_facts(meta),
                "input": {
                    "files": [
                        {"path": f.path, "receiver_channel": coarse[f.coarse].number, "batch": f.batch}
                        for f in self.files
                    ],
                    "missing_hdus": [
                        {"receiver_channel": coarse[c].number, "timestep": t} for c, t in self.missing_hdus
                    ],
                    "cells": self.input_cells,
                },
                "steps": [asdict(step) for step in self.steps],
                "flag_rules": [
                    {
                        "name": rule.name,
                        "cells": rule.cells,
                        "fraction": rule.cells / max(1, self.input_cells),
                    }
                    for rule in self.flag_counts
                ],
                "occupancy": {
                    "total": self.occupancy.total,
                    "antennas": [
                        {"index": a.index, "name": a.name, "fraction": fraction}
                        for a, fraction in zip(meta.antennas, self.occupancy.antenna, strict=True)
                    ],
                    "channels": {
                        "frequency_hz": np.concatenate([w.freq_hz for w in windows]),
                        "fraction": self.occupancy.channel,
                    },
                    "timesteps": {"mjd_utc": self.header.time_mjd, "fraction": self.occupancy.timestep},
                },
                "quality": self.quality and _quality_facts(self.quality, self.header),
                "rfi_array": self.array_rfi
                and {
                    "baselines": self.array_rfi.n_baselines,
                    "fraction": self.array_rfi.fraction,
                    "events": [asdict(event) for event in self.array_rfi.events],
                },
                "phase_centre": {
                    "name": self.header.phase_centre_name,
                    "ra_deg": math.degrees(self.header.phase_centre_rad[0]) % 360,
                    "dec_deg": math.degrees(self.header.phase_centre_rad[1]),
                },
                "spectral_windows": [
                    {
                        "channels": w.n_chan,
                        "first_hz": w.freq_hz[0],
                        "last_hz": w.freq_hz[-1],
                        "width_hz": w.width_hz.max(),
                        "receiver_channels": [coarse[c].number for c in w.coarse],
                    }
                    for w in windows
                ],
                "smearing": asdict(self.smearing),
                "outputs": [asdict(output) for output in self.outputs],
                "performance": {
                    **asdict(performance),
                    "read_bytes_per_s": performance.bytes_read / max(performance.wall_s, 1e-9),
                    "written_bytes_per_s": performance.bytes_written / max(performance.wall_s, 1e-9),
                },
                "notes": list(self.notes),
            }
        )
        return facts

    def to_json(self) -> str:
        """`to_dict` as strict JSON."""
        return json_text(self.to_dict())

    def write_json(self, path: str | Path, *, overwrite: bool = True) -> None:
        """Write `to_json` under a temporary name, then give it its own.

        Raises
        ------
        InputError, ResourceError : the file cannot be written
        """
        write_json(Path(path), self.to_dict(), overwrite=overwrite)

    def to_text(self, width: int = WIDTH) -> str:
        """A summary of a screenful, in lines of at most `width` characters."""
        return report_text(self, width)


def _quality_facts(quality: Quality, header: VisHeader) -> dict[str, Any]:
    found = quality.interference
    return {
        "noise": quality.noise,
        "interference": found.total,
        "antennas": [
            {"index": a.index, "name": a.name, "noise": noise, "interference": fraction}
            for a, noise, fraction in zip(
                header.metadata.antennas, quality.antenna_noise, found.antenna, strict=True
            )
        ],
        "channels": {
            "frequency_hz": np.concatenate([w.freq_hz for w in header.spectral_windows]),
            "noise": quality.channel_noise,
            "interference": found.channel,
        },
        "timesteps": {
            "mjd_utc": header.time_mjd,
            "noise": quality.timestep_noise,
            "interference": found.timestep,
        },
    }


def observation_facts(metadata: Metadata) -> dict[str, Any]:
    """The metafits of an observation in a dozen numbers."""
    channels = metadata.coarse_channels
    return {
        "obsid": metadata.obsid,
        "name": metadata.name,
        "project": metadata.project,
        "creator": metadata.creator,
        "mode": metadata.mode,
        "correlator": metadata.correlator,
        "start_utc": utc_text(metadata.sched_start_unix_s),
        "duration_s": metadata.sched_duration_s,
        "integration_s": metadata.int_time_s,
        "fine_channel_hz": metadata.fine_width_hz,
        "antennas": metadata.n_antennas,
        "antennas_flagged": [a.name for a in metadata.antennas if a.flagged],
        "receiver_channels": [c.number for c in channels],
        "low_hz": channels[0].centre_hz - channels[0].width_hz / 2,
        "high_hz": channels[-1].centre_hz + channels[-1].width_hz / 2,
        "pointing_deg": list(metadata.pointing_deg),
        "calibrator": metadata.calibrator_source if metadata.calibrator else None,
        "metafits": metadata.path,
    }


def json_text(facts: Mapping[str, Any]) -> str:
    """Strict JSON of what `plain` made."""
    return json.dumps(facts, indent=1, allow_nan=False)


def write_json(path: Path, facts: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write `json_text` under a temporary name, then give it its own.

    Raises
    ------
    InputError, ResourceError : the file cannot be written
    """
    with StagedPath(path, overwrite, Kind.JSON) as staged:
        staged.temporary.write_text(json_text(facts) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """Arrays, paths and numpy scalars as what JSON knows; numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value
