"""What one conversion did, for people (`to_text`) and for machines (`to_json`; layout: docs/report.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from mwaconvert.conversion.options import Options
from mwaconvert.conversion.report import words
from mwaconvert.conversion.report.parts import FlagCount, OutputFile, Performance
from mwaconvert.conversion.steps import Step
from mwaconvert.conversion.tables.smearing import Smearing
from mwaconvert.observation.model import Metadata, RawFile
from mwaconvert.staging import Kind, write_json
from mwaconvert.text import WIDTH, html_picture, json_text, percent, plain, sections, utc_text
from mwaconvert.visibilities.interference import ArrayRfi
from mwaconvert.visibilities.model import VisHeader
from mwaconvert.visibilities.quality import Occupancy, Quality, noise_lines

#: version of the JSON layout; grows when a key changes its meaning or goes away
LAYOUT = 1


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
    quality : None without `Options.statistics`
    array_rfi : None without `Options.rfi_array`
    notes : what the user should know: leftovers, oddities of the data, options that had nothing to do
    picture : of the quality of the data, .png or .html; None unless one was asked for
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
    picture: Path | None = None

    def __repr__(self) -> str:
        written = ", ".join(str(output.path) for output in self.outputs)
        return f"Report({self.header.metadata.obsid}: {written}; {percent(self.occupancy.total)} flagged)"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.to_text())}</pre>{html_picture(self.picture)}"

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dictionaries, lists, strings and numbers; None for what has no number."""
        header, performance = self.header, self.performance
        facts: dict[str, Any] = plain(
            {
                "format": "mwaconvert report",
                "layout": LAYOUT,
                "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
                "software": dict(self.software),
                "command_line": header.command_line,
                "options": asdict(self.options),
                "observation": observation_facts(header.metadata),
                "input": self._input_facts(),
                "steps": [step.facts() for step in self.steps],
                "flag_rules": [
                    {
                        "name": rule.name,
                        "cells": rule.cells,
                        "fraction": rule.cells / max(1, self.input_cells),
                    }
                    for rule in self.flag_counts
                ],
                "occupancy": _occupancy_facts(self.occupancy, header),
                "quality": self.quality and _quality_facts(self.quality, header),
                "rfi_array": self.array_rfi
                and {
                    "baselines": self.array_rfi.n_baselines,
                    "fraction": self.array_rfi.fraction,
                    "events": [asdict(event) for event in self.array_rfi.events],
                },
                "phase_centre": {
                    "name": header.phase_centre_name,
                    "ra_deg": math.degrees(header.phase_centre_rad[0]) % 360,
                    "dec_deg": math.degrees(header.phase_centre_rad[1]),
                },
                "spectral_windows": _window_facts(header),
                "smearing": asdict(self.smearing),
                "outputs": [output.facts() for output in self.outputs],
                "performance": {
                    **asdict(performance),
                    "read_bytes_per_s": performance.bytes_read / max(performance.wall_s, 1e-9),
                    "written_bytes_per_s": performance.bytes_written / max(performance.wall_s, 1e-9),
                },
                "notes": list(self.notes),
            }
        )
        return facts

    def _input_facts(self) -> dict[str, Any]:
        coarse = self.header.metadata.coarse_channels
        return {
            "files": [
                {"path": f.path, "receiver_channel": coarse[f.coarse].number, "batch": f.batch}
                for f in self.files
            ],
            "missing_hdus": [
                {"receiver_channel": coarse[c].number, "timestep": t} for c, t in self.missing_hdus
            ],
            "cells": self.input_cells,
        }

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
        header = self.header
        only_flags = all(output.kind is Kind.FLAGS for output in self.outputs)
        return sections(
            width,
            ("observation", [words.observation_line(header)]),
            (
                "read",
                words.read_lines(header, len(self.files), self.performance.bytes_read, self.missing_hdus),
            ),
            ("applied", words.step_lines(self.steps, applied=True)),
            ("not applied", words.step_lines(self.steps, applied=False)),
            (
                "flagged",
                words.flag_lines(
                    header, self.occupancy, self.flag_counts, self.input_cells, only_flags=only_flags
                ),
            ),
            ("array RFI", words.array_rfi_lines(self.array_rfi)),
            ("quality", self._quality_lines()),
            ("smearing", [] if only_flags else [str(self.smearing)]),
            ("wrote", words.output_lines(self.outputs)),
            ("took", words.performance_lines(self.performance)),
            ("note", list(self.notes)),
        )

    def _quality_lines(self) -> list[str]:
        if self.quality is None:
            return []
        return noise_lines(self.quality, [a.name for a in self.header.metadata.antennas])


def _occupancy_facts(occupancy: Occupancy, header: VisHeader) -> dict[str, Any]:
    return {
        "total": occupancy.total,
        "antennas": [
            {"index": a.index, "name": a.name, "fraction": fraction}
            for a, fraction in zip(header.metadata.antennas, occupancy.antenna, strict=True)
        ],
        "channels": {
            "frequency_hz": np.concatenate([w.freq_hz for w in header.spectral_windows]),
            "fraction": occupancy.channel,
        },
        "timesteps": {"mjd_utc": header.time_mjd, "fraction": occupancy.timestep},
    }


def _window_facts(header: VisHeader) -> list[dict[str, Any]]:
    coarse = header.metadata.coarse_channels
    return [
        {
            "channels": w.n_chan,
            "first_hz": w.freq_hz[0],
            "last_hz": w.freq_hz[-1],
            "width_hz": w.width_hz.max(),
            "receiver_channels": [coarse[c].number for c in w.coarse],
        }
        for w in header.spectral_windows
    ]


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
