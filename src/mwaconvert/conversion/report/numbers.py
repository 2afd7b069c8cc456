"""The numbers of a report, out of a plan that was carried out and what was counted meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert.conversion.outputs import Target, output_kind
from mwaconvert.conversion.plan import Plan
from mwaconvert.conversion.report.parts import FlagCount, OutputFile, Performance
from mwaconvert.conversion.report.report import Report
from mwaconvert.conversion.tables.smearing import Smearing, estimate_smearing
from mwaconvert.machine import peak_memory_bytes, tree_bytes
from mwaconvert.staging import kind_of
from mwaconvert.visibilities.interference import ArrayRfi
from mwaconvert.visibilities.quality import FlagCounts, make_occupancy, make_quality
from mwaconvert.visibilities.statistics import DataFlags, QualityStatistics


def make_report(
    plan: Plan,
    targets: Sequence[Target],
    counts: FlagCounts,
    statistics: QualityStatistics | None,
    data_flags: DataFlags,
    array_rfi: ArrayRfi | None,
    input_bytes: int,
    wall_s: float,
) -> Report:
    """The report of a plan that was carried out.

    Parameters
    ----------
    targets : each output file and the spectral windows that it holds
    counts : of flagged output values
    statistics : of the output, if they were gathered
    data_flags : of the input
    array_rfi : what `--rfi-array` found
    """
    header, observation = plan.header, plan.observation
    steps, coarse, missing = plan.timesteps, plan.coarse, plan.selection.missing
    outputs = tuple(_output(plan, path, windows) for path, windows in targets)
    notes = list(plan.notes)
    n_bad = int(counts.bad_cells.sum())
    if n_bad:
        notes.append(f"{n_bad} cells of the raw data are NaN or infinite; they were left out and flagged")
    return Report(
        header=header,
        options=plan.options,
        steps=plan.steps,
        files=tuple(f for f in observation.files if f.coarse in coarse),
        missing_hdus=tuple((coarse[c], steps[t]) for t, c in np.argwhere(missing).tolist()),
        input_cells=len(steps) * len(plan.selection.freqs_hz) * plan.n_rows,
        flag_counts=_flag_counts(plan, missing, n_bad, counts, array_rfi),
        occupancy=make_occupancy(header, counts),
        outputs=outputs,
        smearing=plan_smearing(plan),
        performance=Performance(
            wall_s=wall_s,
            bytes_read=input_bytes,
            bytes_written=sum(output.bytes for output in outputs),
            peak_memory_bytes=peak_memory_bytes(),
            threads=plan.resources.threads,
        ),
        array_rfi=array_rfi,
        quality=None if statistics is None else make_quality(statistics, data_flags.interference(header)),
        software=versions(),
        notes=tuple(notes),
    )


def _output(plan: Plan, path: Path, windows: tuple[int, ...]) -> OutputFile:
    kind = output_kind(path)
    times, baselines, channels = kind.shape(plan, windows)
    return OutputFile(path, kind_of(path), kind.name, tree_bytes(path), times, baselines, channels)


def plan_smearing(plan: Plan) -> Smearing:
    """Smearing of the outputs of a plan."""
    header = plan.header
    good = (
        ~header.antenna_flagged if not header.antenna_flagged.all() else np.ones_like(header.antenna_flagged)
    )
    return estimate_smearing(
        header.antenna_xyz_m[good],
        freq_hz=max(float(w.freq_hz.max()) for w in header.spectral_windows),
        width_hz=max(float(w.width_hz.max()) for w in header.spectral_windows),
        interval_s=float(header.interval_s.max()),
    )


def _flag_counts(
    plan: Plan, missing: npt.NDArray[np.bool_], n_bad: int, counts: FlagCounts, array_rfi: ArrayRfi | None
) -> tuple[FlagCount, ...]:
    n_times, n_coarse = missing.shape
    n_fine = plan.metadata.n_fine
    n_rows = plan.n_rows
    everything = n_times * n_coarse * n_fine * n_rows
    autos = ~plan.rows.cross
    by_antenna = plan.flags.antennas[plan.rows.antenna1] | plan.flags.antennas[plan.rows.antenna2]
    return (
        FlagCount("timesteps", int(plan.flags.times.sum()) * everything // max(1, n_times)),
        FlagCount("channels", int(plan.flags.channels.sum()) * n_times * n_rows),
        FlagCount("antennas", int(by_antenna.sum()) * everything // max(1, n_rows)),
        FlagCount("autocorrelations", int(autos.sum()) * everything // n_rows if plan.flags.autos else 0),
        FlagCount("missing data", int(missing.sum()) * n_fine * n_rows),
        FlagCount("array RFI", int(array_rfi.flags.sum()) * n_rows if array_rfi else 0),
        FlagCount("NaN or infinity", n_bad),
        FlagCount("flag files", counts.file_cells),
        FlagCount("RFI", counts.rfi_cells),
    )


def versions() -> dict[str, str]:
    """Versions of mwaconvert, Python, and of the packages that took part."""
    from mwaconvert import __version__

    found = {"mwaconvert": __version__, "python": ".".join(map(str, sys.version_info[:3]))}
    for name, package in (
        ("numpy", "numpy"),
        ("astropy", "astropy"),
        ("erfa", "pyerfa"),
        ("mwalib", "mwalib"),
        ("arcae", "arcae"),
    ):
        if name in sys.modules:
            found[package] = sys.modules[name].__version__
    return found
