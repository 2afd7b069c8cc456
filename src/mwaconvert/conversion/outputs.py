"""Files that a plan becomes: their names, sizes and writers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mwaconvert.conversion.flag_files import FlagOutput, flag_file_path, is_flag_file
from mwaconvert.conversion.plan import Plan
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.formats.mwaf import flag_file_bytes
from mwaconvert.staging import Kind, check_targets, kind_of
from mwaconvert.visibilities.writer import Writer

#: a file, with the spectral windows that it holds; of a flag file the position of its channel in `plan.coarse`
Target = tuple[Path, tuple[int, ...]]


@dataclass(frozen=True)
class OutputKind:
    """All that a conversion knows of one kind of output.

    Attributes
    ----------
    name : in reports
    targets : files that one requested output becomes
    n_bytes : size of a file that holds some windows
    shape : times, baselines and channels of such a file
    open : starts such a file
    """

    name: str
    targets: Callable[[Plan, Path], list[Target]]
    n_bytes: Callable[[Plan, tuple[int, ...]], int]
    shape: Callable[[Plan, tuple[int, ...]], tuple[int, int, int]]
    open: Callable[[Plan, Path, tuple[int, ...]], Writer]


def output_kind(path: Path) -> OutputKind:
    """What is known of the kind of an output.

    Raises
    ------
    InputError : its suffix stands for none
    """
    if is_flag_file(path):
        return _KINDS[Kind.FLAGS]
    if path.suffix.lower() not in (".uvfits", ".ms", ".uvh5"):
        raise InputError(
            f"{path}: unknown kind of output; end the name in .uvfits, .ms, .uvh5 or .mwaf",
            option="outputs",
            path=path,
        )
    return _KINDS[kind_of(path)]


def output_paths(plan: Plan, path: Path) -> list[Target]:
    """Files that one requested output becomes.

    Raises
    ------
    InputError : unknown suffix, or one flag file for several coarse channels
    """
    return output_kind(path).targets(plan, path)


def output_bytes(plan: Plan, path: Path, windows: tuple[int, ...]) -> int:
    """Size of an output, good to a few per cent for measurement sets."""
    return output_kind(path).n_bytes(plan, windows)


def check_outputs(
    plan: Plan, outputs: list[Path], *, qa: Path | None = None, report: Path | None = None
) -> list[Target]:
    """All files that will be written, as `output_paths` gives them, if they can be.

    Parameters
    ----------
    qa, report : written beside them

    Raises
    ------
    InputError : two have the same name, one is an input, or exists and must not be replaced
    ResourceError : no permission, or not enough space
    """
    _check_compression(plan, outputs)
    targets = [target for path in outputs for target in output_paths(plan, path)]
    kinds = [(path, kind_of(path)) for path, _ in targets]
    if qa is not None:
        kinds.append((qa, kind_of(qa)))
    if report is not None:
        kinds.append((report, Kind.JSON))
    check_targets(kinds, inputs=input_paths(plan), overwrite=plan.options.overwrite)
    _check_space(plan, targets)
    return targets


def all_exist(plan: Plan, outputs: list[Path]) -> bool:
    """Whether there is nothing to do: outputs get their names when they are whole."""
    return all(target.exists() for path in outputs for target, _ in output_paths(plan, path))


def input_paths(plan: Plan) -> list[Path]:
    """All files that a conversion reads; of an archive of flag files, itself."""
    paths = [plan.metadata.path, *(file.path for file in plan.observation.files)]
    for placed in plan.flag_files:
        name = Path(placed.file.name)
        paths += [name, *name.parents]
    calibration = plan.corrections.calibration
    if calibration is not None:
        paths.append(calibration.solutions.path)
    if plan.options.rfi_strategy is not None:
        paths.append(Path(plan.options.rfi_strategy))
    return [path for path in paths if path.is_file()]


def open_writers(plan: Plan, outputs: list[Path], qa: Path | None = None) -> list[Writer]:
    """Check all outputs, then start them."""
    targets = check_outputs(plan, outputs, qa=qa)
    writers: list[Writer] = []
    try:
        for path, windows in targets:
            writers.append(output_kind(path).open(plan, path, windows))
    except BaseException:
        for writer in writers:
            writer.abort()
        raise
    return writers


def _check_compression(plan: Plan, outputs: list[Path]) -> None:
    if plan.options.compress != "dysco":
        return
    sets = [path for path in outputs if kind_of(path) is Kind.MEASUREMENT_SET]
    if not sets:
        raise InputError(
            "`compress=dysco` was given, but no measurement set is written; leave it out", option="compress"
        )
    if (plan.header.antenna1 == plan.header.antenna2).any():
        raise InputError(
            f"{sets[0]}: `compress=dysco` would round autocorrelations, which are far above their noise; leave them out "
            "(`sel_autos=False`) or do without it",
            option="compress",
        )
    if len({window.n_chan for window in plan.header.spectral_windows}) > 1 and not plan.options.split:
        raise InputError(
            f"{sets[0]}: `compress=dysco` needs frequency ranges of equally many channels; add `split`",
            option="compress",
        )


def _check_space(plan: Plan, targets: list[Target]) -> None:
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


def _flag_targets(plan: Plan, path: Path) -> list[Target]:
    if "%" not in path.name and len(plan.coarse) > 1:
        raise InputError(
            f"{path}: a flag file holds one coarse channel, here are {len(plan.coarse)}; put %% into the name "
            f"where the gpubox number goes: {path.stem}_%%.mwaf",
            option="outputs",
            path=path,
        )
    boxes = [plan.metadata.coarse_channels[c].gpubox for c in plan.coarse]
    return [(flag_file_path(path, box), (k,)) for k, box in enumerate(boxes)]


def _uvfits_targets(plan: Plan, path: Path) -> list[Target]:
    windows = plan.header.spectral_windows
    if len(windows) == 1:
        return [(path, (0,))]
    names: list[Target] = []
    for k, window in enumerate(windows):
        numbers = [plan.metadata.coarse_channels[c].number for c in (window.coarse[0], window.coarse[-1])]
        label = f"_ch{numbers[0]}" if len(window.coarse) == 1 else f"_ch{numbers[0]}-{numbers[1]}"
        names.append((path.with_name(f"{path.stem}{label}{path.suffix}"), (k,)))
    return names


def _ms_targets(plan: Plan, path: Path) -> list[Target]:
    if plan.options.split:
        return _uvfits_targets(plan, path)
    return [(path, tuple(range(len(plan.header.spectral_windows))))]


def _flag_bytes(plan: Plan, _: tuple[int, ...]) -> int:
    return flag_file_bytes(plan.metadata, len(plan.timesteps))


def _uvfits_bytes(plan: Plan, windows: tuple[int, ...]) -> int:
    from mwaconvert.formats.visibilities.uvfits import WITH_ANTENNAS

    n_times, n_rows, n_chan = _shape(plan, windows)
    return n_times * n_rows * (n_chan * 4 * 12 + 4 * len(WITH_ANTENNAS))


def _ms_bytes(plan: Plan, windows: tuple[int, ...]) -> int:
    n_times, n_rows, n_chan = _shape(plan, windows)
    # Dysco: twice 8 bits for a value, 12 for the weight of a channel; flags are bits either way
    channel_bytes = 10 if plan.options.compress == "dysco" else 4 * 13
    return n_times * n_rows * (n_chan * channel_bytes + 200 * len(windows))


def _uvh5_bytes(plan: Plan, windows: tuple[int, ...]) -> int:
    from mwaconvert.formats.visibilities.uvh5 import HEADER_ROW_BYTES

    n_times, n_rows, n_chan = _shape(plan, windows)
    return n_times * n_rows * (n_chan * 4 * 13 + HEADER_ROW_BYTES)


def _flag_shape(plan: Plan, _: tuple[int, ...]) -> tuple[int, int, int]:
    n = plan.metadata.n_antennas
    return len(plan.timesteps), n * (n + 1) // 2, plan.metadata.n_fine


def _shape(plan: Plan, windows: tuple[int, ...]) -> tuple[int, int, int]:
    return plan.n_times, plan.n_rows, sum(plan.header.spectral_windows[k].n_chan for k in windows)


def _open_flags(plan: Plan, path: Path, windows: tuple[int, ...]) -> Writer:
    return FlagOutput(plan, path, windows[0])


def _open_uvfits(plan: Plan, path: Path, windows: tuple[int, ...]) -> Writer:
    from mwaconvert.formats.visibilities.uvfits import UvfitsWriter

    options, window = plan.options, plan.header.spectral_windows[windows[0]]
    return UvfitsWriter(
        path,
        plan.header,
        window,
        overwrite=options.overwrite,
        baseline=options.uvfits_baseline,
        threads=options.threads,
    )


def _open_ms(plan: Plan, path: Path, windows: tuple[int, ...]) -> Writer:
    from mwaconvert.formats.visibilities.ms import MeasurementSetWriter

    options, header = plan.options, plan.header
    chosen = replace(header, spectral_windows=tuple(header.spectral_windows[k] for k in windows))
    return MeasurementSetWriter(
        path,
        chosen,
        overwrite=options.overwrite,
        threads=options.threads,
        dysco=options.compress == "dysco",
    )


def _open_uvh5(plan: Plan, path: Path, windows: tuple[int, ...]) -> Writer:
    from mwaconvert.formats.visibilities.uvh5 import Uvh5Writer

    chosen = tuple(plan.header.spectral_windows[k] for k in windows)
    return Uvh5Writer(path, replace(plan.header, spectral_windows=chosen), overwrite=plan.options.overwrite)


_KINDS = {
    Kind.UVFITS: OutputKind("uvfits", _uvfits_targets, _uvfits_bytes, _shape, _open_uvfits),
    Kind.MEASUREMENT_SET: OutputKind("measurement set", _ms_targets, _ms_bytes, _shape, _open_ms),
    Kind.UVH5: OutputKind("uvh5", _ms_targets, _uvh5_bytes, _shape, _open_uvh5),
    Kind.FLAGS: OutputKind("flags", _flag_targets, _flag_bytes, _flag_shape, _open_flags),
}
