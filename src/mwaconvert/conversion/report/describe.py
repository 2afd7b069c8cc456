"""What a plan would do: as plain data for machines, as text for `--dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mwaconvert.conversion import converter, flags_only
from mwaconvert.conversion.flag_files import with_notes
from mwaconvert.conversion.outputs import output_bytes, output_paths
from mwaconvert.conversion.plan import DetectionPlan, Plan
from mwaconvert.conversion.report.numbers import plan_smearing
from mwaconvert.conversion.report.report import observation_facts
from mwaconvert.conversion.report.words import observation_line, step_lines
from mwaconvert.text import WIDTH, plain, plural, sections, size_text


def describe(plan: Plan, outputs: Sequence[Path], qa: Path | None = None) -> dict[str, Any]:
    """What would be done, as dictionaries, lists, strings and numbers (layout: docs/report.md).

    Parameters
    ----------
    outputs, qa : files that would be written, and the picture

    Raises
    ------
    InputError : an output of unknown kind, or a memory limit that is too low
    """
    plan, memory = with_notes(plan, outputs), converter.memory_bytes
    if flags_only.writes_only_flags(outputs, picture=qa is not None):
        plan, memory = flags_only.without_conversion(plan), flags_only.memory_bytes
    observation, header, coarse = plan.observation, plan.header, plan.coarse
    meta, steps = plan.metadata, plan.timesteps
    facts: dict[str, Any] = plain(
        {
            "format": "mwaconvert plan",
            "observation": observation_facts(meta),
            "options": asdict(plan.options),
            "input": {
                "files": [str(f.path) for f in observation.files if f.coarse in coarse],
                "bytes": plan.input_bytes(),
                "timesteps": [steps.start, steps.stop - 1],
                "receiver_channels": [meta.coarse_channels[c].number for c in coarse],
                "missing_hdus": int(plan.selection.missing.sum()),
            },
            "steps": [step.facts() for step in plan.steps],
            "output": {
                "files": [
                    {"path": path, "bytes": output_bytes(plan, path, windows)}
                    for output in outputs
                    for path, windows in output_paths(plan, output)
                ],
                "times": plan.n_times,
                "baselines": plan.n_rows,
                "channels": plan.n_channels,
                "spectral_windows": len(header.spectral_windows),
                "interval_s": header.interval_s.max(),
                "channel_hz": max(w.width_hz.max() for w in header.spectral_windows),
                "phase_centre_deg": np.degrees(header.phase_centre_rad),
            },
            "rfi": plan.detection.describe() if plan.detection is not None else None,
            "memory_bytes": memory(plan),
            "smearing": asdict(plan_smearing(plan)),
            "notes": list(plan.notes),
        }
    )
    return facts


def description_text(
    plan: Plan,
    outputs: Sequence[Path],
    notes: Sequence[str] = (),
    width: int = WIDTH,
    qa: Path | None = None,
) -> str:
    """`describe` for people.

    Parameters
    ----------
    notes : to be added to those of the plan
    width : longest line
    qa : picture that would be drawn
    """
    facts = describe(plan, outputs, qa)
    only_flags = flags_only.writes_only_flags(outputs, picture=qa is not None)
    if only_flags:
        plan = flags_only.without_conversion(plan)
    given, made = facts["input"], facts["output"]
    times, baselines = plural(made["times"], "time"), plural(made["baselines"], "baseline")
    steps = f"timesteps {given['timesteps'][0]} to {given['timesteps'][1]} of {plan.metadata.int_time_s:g} s"
    lost = given["missing_hdus"]
    read = (
        f"{plural(len(given['files']), 'file')}, {size_text(given['bytes'])}, {steps},"
        f" {plural(len(given['receiver_channels']), 'coarse channel')}, "
        + (f"{plural(lost, 'integration')} missing" if lost else "nothing missing")
    )
    channels = f"{plural(made['channels'], 'channel')} of {made['channel_hz'] / 1e3:g} kHz"
    shape = f"{times} of {made['interval_s']:g} s x {baselines} x {channels} x 4 polarisations"
    return sections(
        width,
        ("observation", [observation_line(plan.header)]),
        ("would read", [read]),
        ("would apply", step_lines(plan.steps, applied=True)),
        ("would not", step_lines(plan.steps, applied=False)),
        ("smearing", [] if only_flags else [str(plan_smearing(plan))]),
        ("would write", [f"{f['path']} (about {size_text(f['bytes'])})" for f in made["files"]]),
        ("", [] if only_flags else [shape]),
        ("memory", [f"about {size_text(facts['memory_bytes'])}", *_detection_lines(plan.detection)]),
        ("note", [*facts["notes"], *notes]),
    )


def _detection_lines(detection: DetectionPlan | None) -> list[str]:
    """Where the detection of RFI keeps the data."""
    if detection is None:
        return []
    text = f"RFI detection: {detection.rows_at_once} of {len(detection.rows)} baselines at a time"
    if detection.spill_bytes:
        where = "a temporary file in TMPDIR" if detection.spill_in_file else "memory"
        text += f", amplitudes ({size_text(detection.spill_bytes)}) in {where}"
    return [text]
