"""The numbers of a report, out of a plan that was carried out and what was counted meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.conversion.report.report import FlagCount, Occupancy, OutputFile, Performance, Quality, Report
from mwaconvert.conversion.tables.smearing import Smearing, estimate_smearing
from mwaconvert.machine import peak_memory_bytes, tree_bytes
from mwaconvert.visibilities.model import VisHeader

if TYPE_CHECKING:
    from mwaconvert.conversion.pipeline import FlagCounts
    from mwaconvert.conversion.plan import Plan
    from mwaconvert.conversion.rfi.array import ArrayRfi
    from mwaconvert.formats.visibilities.existing import FileHeader
    from mwaconvert.visibilities.statistics import DataFlags, Interference, QualityStatistics

OUTPUT_KINDS = {".uvfits": "uvfits", ".ms": "measurement set", ".mwaf": "flags"}


def make_report(
    plan: Plan,
    targets: Sequence[tuple[Path, tuple[int, ...]]],
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
    steps, coarse = plan.timesteps, list(plan.coarse)
    missing = observation.hdu_index[steps.start : steps.stop][:, coarse] < 0
    outputs = tuple(
        OutputFile(
            path=path,
            kind=OUTPUT_KINDS[path.suffix.lower()],
            bytes=tree_bytes(path),
            times=plan.n_times,
            baselines=plan.n_rows,
            channels=sum(header.spectral_windows[k].n_chan for k in windows),
        )
        if path.suffix.lower() != ".mwaf"
        else OutputFile(
            path=path,
            kind=OUTPUT_KINDS[".mwaf"],
            bytes=tree_bytes(path),
            times=len(steps),
            baselines=plan.metadata.n_antennas * (plan.metadata.n_antennas + 1) // 2,
            channels=plan.metadata.n_fine,
        )
        for path, windows in targets
    )
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
        input_cells=len(steps) * len(plan.freqs_hz) * plan.n_rows,
        flag_counts=_flag_counts(plan, missing, n_bad, counts, array_rfi),
        occupancy=make_occupancy(header, counts),
        outputs=outputs,
        smearing=plan_smearing(plan),
        performance=Performance(
            wall_s=wall_s,
            bytes_read=input_bytes,
            bytes_written=sum(output.bytes for output in outputs),
            peak_memory_bytes=peak_memory_bytes(),
            threads=plan.options.threads or _core.available_threads(),
        ),
        array_rfi=array_rfi,
        quality=None if statistics is None else make_quality(statistics, data_flags.interference(header)),
        software=versions(),
        notes=tuple(notes),
    )


def make_quality(statistics: QualityStatistics, interference: Interference) -> Quality:
    """What statistics and flags say."""
    antennas, channels, total = statistics.antennas(), statistics.paired_channels(), statistics.total()
    times = statistics.times.over_windows()
    return Quality(
        noise=total.noise(),
        antenna_noise=antennas.noise(),
        channel_noise=channels.noise(),
        timestep_noise=times.noise(),
        interference=interference,
    )


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
    autos = plan.header.antenna1 == plan.header.antenna2
    by_antenna = (
        plan.header.antenna_flagged[plan.header.antenna1] | plan.header.antenna_flagged[plan.header.antenna2]
    )
    return (
        FlagCount("timesteps", int(plan.time_flagged.sum()) * everything // max(1, n_times)),
        FlagCount("channels", int(plan.channel_flagged.sum()) * n_times * n_rows),
        FlagCount("antennas", int(by_antenna.sum()) * everything // max(1, n_rows)),
        FlagCount(
            "autocorrelations", int(autos.sum()) * everything // n_rows if plan.options.flag_autos else 0
        ),
        FlagCount("missing data", int(missing.sum()) * n_fine * n_rows),
        FlagCount("array RFI", int(array_rfi.flags.sum()) * n_rows if array_rfi else 0),
        FlagCount("NaN or infinity", n_bad),
        FlagCount("flag files", counts.file_cells),
        FlagCount("RFI", counts.rfi_cells),
    )


def make_occupancy(header: VisHeader | FileHeader, counts: FlagCounts) -> Occupancy:
    """What the counts of flags say."""
    a, b = header.antenna1, header.antenna2
    n_antennas, n_times = header.metadata.n_antennas, len(header.time_mjd)
    n_channels = len(counts.by_channel)
    cross = a != b

    def by_antenna(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        sums = np.bincount(a, values, n_antennas) + np.bincount(b[cross], values[cross], n_antennas)
        return sums.astype(np.float64)

    rows = by_antenna(np.ones(len(a)))
    with np.errstate(invalid="ignore"):
        antenna = by_antenna(counts.by_row) / (rows * counts.values_per_row)
    return Occupancy(
        total=float(counts.by_row.sum() / (len(a) * counts.values_per_row)),
        antenna=antenna,
        channel=counts.by_channel / (n_times * len(a) * 4),
        timestep=counts.by_time / (n_channels * len(a) * 4),
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
