"""Files that a plan becomes: their names, sizes and writers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mwaconvert.conversion.flag_files import FlagOutput, flag_file_path
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.formats.mwaf import flag_file_bytes
from mwaconvert.staging import Kind, check_targets, kind_of
from mwaconvert.visibilities.model import Writer

if TYPE_CHECKING:
    from mwaconvert.conversion.plan import Plan


def output_paths(plan: Plan, path: Path) -> list[tuple[Path, tuple[int, ...]]]:
    """Files that one requested output becomes, each with the spectral windows it holds; a flag file (.mwaf)
    instead with the position of its coarse channel in `plan.coarse`.

    Raises
    ------
    InputError : unknown suffix, or one flag file for several coarse channels
    """
    windows = plan.header.spectral_windows
    suffix = path.suffix.lower()
    if suffix == ".mwaf":
        if "%" not in path.name and len(plan.coarse) > 1:
            raise InputError(
                f"{path}: a flag file holds one coarse channel, here are {len(plan.coarse)}; put %% into the name "
                f"where the number of the gpubox shall stand: {path.stem}_%%.mwaf"
            )
        boxes = [plan.metadata.coarse_channels[c].gpubox for c in plan.coarse]
        return [(flag_file_path(path, box), (k,)) for k, box in enumerate(boxes)]
    if suffix not in (".uvfits", ".ms"):
        raise InputError(f"{path}: unknown kind of output; end the name in .uvfits, .ms or .mwaf")
    if len(windows) == 1 or (suffix == ".ms" and not plan.options.split):
        return [(path, tuple(range(len(windows))))]
    names: list[tuple[Path, tuple[int, ...]]] = []
    for k, window in enumerate(windows):
        numbers = [plan.metadata.coarse_channels[c].number for c in (window.coarse[0], window.coarse[-1])]
        label = f"_ch{numbers[0]}" if len(window.coarse) == 1 else f"_ch{numbers[0]}-{numbers[1]}"
        names.append((path.with_name(f"{path.stem}{label}{path.suffix}"), (k,)))
    return names


def output_bytes(plan: Plan, path: Path, windows: tuple[int, ...]) -> int:
    """Size of an output, good to a few per cent for measurement sets."""
    if path.suffix.lower() == ".mwaf":
        return flag_file_bytes(plan.metadata, len(plan.timesteps))
    n_chan = sum(plan.header.spectral_windows[k].n_chan for k in windows)
    rows = plan.n_times * plan.n_rows
    per_value = 12 if path.suffix.lower() == ".uvfits" else 13
    per_row = 28 if path.suffix.lower() == ".uvfits" else 200 * len(windows)
    return rows * (n_chan * 4 * per_value + per_row)


def check_outputs(
    plan: Plan, outputs: list[Path], *, qa: Path | None = None, report: Path | None = None
) -> list[tuple[Path, tuple[int, ...]]]:
    """All files that will be written, as `output_paths` gives them, if they can be.

    Parameters
    ----------
    qa, report : written beside them

    Raises
    ------
    InputError : two have the same name, one is an input, or exists and must not be replaced
    ResourceError : no permission, or not enough space
    """
    targets = [target for path in outputs for target in output_paths(plan, path)]
    kinds = [(path, kind_of(path)) for path, _ in targets]
    if qa is not None:
        kinds.append((qa, kind_of(qa)))
    if report is not None:
        kinds.append((report, Kind.JSON))
    check_targets(kinds, inputs=input_paths(plan), overwrite=plan.options.overwrite)
    _check_space(plan, targets)
    return targets


def input_paths(plan: Plan) -> list[Path]:
    """All files that a conversion reads; of an archive of flag files, itself."""
    paths = [plan.metadata.path, *(file.path for file in plan.observation.files)]
    for placed in plan.flag_files:
        name = Path(placed.file.name)
        paths += [name, *name.parents]
    if plan.calibration is not None:
        paths.append(plan.calibration.solutions.path)
    if plan.options.rfi_strategy is not None:
        paths.append(Path(plan.options.rfi_strategy))
    return [path for path in paths if path.is_file()]


def open_writers(plan: Plan, outputs: list[Path], qa: Path | None = None) -> list[Writer]:
    """Check all outputs, then start them."""
    targets = check_outputs(plan, outputs, qa=qa)
    writers: list[Writer] = []
    try:
        for path, windows in targets:
            writers.append(_open_writer(plan, path, windows))
    except BaseException:
        for writer in writers:
            writer.abort()
        raise
    return writers


def _open_writer(plan: Plan, path: Path, windows: tuple[int, ...]) -> Writer:
    header, options = plan.header, plan.options
    if path.suffix.lower() == ".mwaf":
        return FlagOutput(plan, path, windows[0])
    if path.suffix.lower() == ".uvfits":
        from mwaconvert.formats.visibilities.uvfits import UvfitsWriter

        window = header.spectral_windows[windows[0]]
        return UvfitsWriter(path, header, window, overwrite=options.overwrite, threads=options.threads)
    from mwaconvert.formats.visibilities.ms import MeasurementSetWriter

    chosen = replace(header, spectral_windows=tuple(header.spectral_windows[k] for k in windows))
    return MeasurementSetWriter(path, chosen, overwrite=options.overwrite, threads=options.threads)


def _check_space(plan: Plan, targets: list[tuple[Path, tuple[int, ...]]]) -> None:
    needed: dict[Path, int] = {}
    for path, windows in targets:
        needed[path.parent] = needed.get(path.parent, 0) + output_bytes(plan, path, windows)
    for folder, size in needed.items():
        if not folder.is_dir():
            continue  # the writer says so
        free = shutil.disk_usage(folder).free
        if size > free:
            raise ResourceError(
                f"{folder.resolve()}: the output needs {size / 1e9:.3g} GB, but only {free / 1e9:.3g} GB are free; "
                "average more, or write elsewhere"
            )
