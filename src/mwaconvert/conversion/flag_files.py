"""Flag files of an observation in a conversion: those made earlier are read, those of this one written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mwaconvert import _core
from mwaconvert.conversion.options import Options
from mwaconvert.conversion.plan import PlacedFlags, Plan
from mwaconvert.conversion.rfi.detection import detected_by
from mwaconvert.conversion.rfi.mask import FlagMask
from mwaconvert.conversion.steps import State, Step, StepKind
from mwaconvert.errors import InputError, MetadataError
from mwaconvert.formats.mwaf import FlagFile, FlagFileWriter, find_flag_files, read_flag_files
from mwaconvert.observation.model import Metadata
from mwaconvert.observation.observation import Observation
from mwaconvert.visibilities.model import Block
from mwaconvert.visibilities.statistics import QualityStatistics

#: a byte with its bits turned about: files have the first channel in the highest bit, masks in the lowest
_TURNED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


def load_flag_files(
    observation: Observation, options: Options, timesteps: range, coarse: Sequence[int], notes: list[str]
) -> tuple[tuple[PlacedFlags, ...], Step]:
    """Find flag files and check that they belong to the observation; flags themselves are read later.

    Parameters
    ----------
    timesteps, coarse : of the plan
    notes : sentences for the user are appended

    Raises
    ------
    InputError : none, although they are asked for, or one of other channels; what was named or must be there has
        nothing for this conversion
    MetadataError : one of another observation
    FormatError : a damaged file
    """
    if options.precomputed_flags == "ignore":
        if options.flag_files is not None:
            raise InputError(
                "`flag_files` names flag files, but `precomputed_flags=ignore` leaves them out",
                option="flag_files",
            )
        return (), Step(StepKind.FLAG_FILES, State.SKIPPED, "`precomputed_flags=ignore`")
    paths = _find(observation.metadata, options)
    if not paths:
        return (), Step(StepKind.FLAG_FILES, State.IDLE, "none found")
    by_channel = _by_channel(read_flag_files(paths), observation.metadata)
    first_scan = _first_scan(by_channel, observation)
    placed = []
    for position, number in enumerate(coarse):
        if number in by_channel:
            start = _start(by_channel[number], observation, first_scan)
            if start is not None:
                placed.append(_place(by_channel[number], position, start, timesteps))
    covered = np.zeros((len(timesteps), len(coarse)), bool)
    for each in placed:
        covered[each.plan_times, each.coarse] = True
    if not covered.any():
        notes.append(_none_of_use(list(by_channel.values()), first_scan, options))
        return (), Step(StepKind.FLAG_FILES, State.IDLE, "none of these timesteps and coarse channels")
    if not covered.all():
        notes.append(
            f"the flag files cover {covered.mean():.1%} of the timesteps and coarse channels; the rest has none"
        )
    why = _what_they_are(placed, by_channel.values(), len(coarse), first_scan, observation)
    if options.precomputed_flags == "only":
        why += "; nothing else is looked for"
    return tuple(placed), Step(StepKind.FLAG_FILES, State.APPLIED, why)


def _find(meta: Metadata, options: Options) -> list[Path]:
    """Flag files of an observation: those that are named, or beside the metafits.

    Raises
    ------
    InputError : none, although they are asked for
    """
    if options.flag_files is not None:
        paths = _from_template(Path(options.flag_files), meta)
        if not paths:
            raise InputError(
                f"{options.flag_files}: no such flag files; %% stands for the number of the gpubox",
                option="flag_files",
                path=Path(options.flag_files),
            )
        return paths
    paths = list(find_flag_files(meta.path.parent, meta.obsid))
    if not paths and options.precomputed_flags == "only":
        raise InputError(
            f"`precomputed_flags=only`: no flag files of {meta.obsid} beside {meta.path}; fetch them, or leave "
            "the option out",
            option="precomputed_flags",
        )
    return paths


def _by_channel(files: Sequence[FlagFile], meta: Metadata) -> dict[int, FlagFile]:
    """Flag files by the coarse channel that they are of."""
    found: dict[int, FlagFile] = {}
    for file in files:
        number = _check(file, meta)
        if number in found:
            raise InputError(
                f"{file.name} and {found[number].name} are both of gpubox {file.gpubox}: give one"
            )
        found[number] = file
    return found


def _none_of_use(files: Sequence[FlagFile], first_scan: int | None, options: Options) -> str:
    """What is said of files that have nothing for the conversion.

    Raises
    ------
    InputError : where they were named or must be there
    """
    why = "flags of other timesteps or channels than this conversion's"
    if first_scan is None and all(file.centre_gps_s is None for file in files):
        why = (
            "version 1.0 of flag files does not say when they begin, which is where the first raw files do, "
            "and these (batch 0) are not here"
        )
    if options.precomputed_flags == "only" or options.flag_files is not None:
        raise InputError(
            f"{files[0].name}: {why}; choose the right files, or `precomputed_flags=ignore`",
            option="flag_files",
        )
    return f"{files[0].name}: {why}; flag files are not used"


def _what_they_are(
    placed: Sequence[PlacedFlags],
    files: Iterable[FlagFile],
    n_coarse: int,
    first_scan: int | None,
    observation: Observation,
) -> str:
    versions = ", ".join(sorted({f"version {file.version} by {file.software}" for file in files}))
    words = f"{len(placed)} of {n_coarse} coarse channels, {versions}"
    if first_scan is not None and any(each.file.centre_gps_s is None for each in placed):
        meta = observation.metadata
        start_s = observation.timestep_unix_ms[0] / 1e3 + first_scan * meta.int_time_s
        late_s = start_s - meta.sched_start_unix_s
        words += f"; version 1.0 counts from where the raw files begin, {late_s:g} s after the schedule"
    return words


def add_flag_files(placed: Sequence[PlacedFlags], plan: Plan, mask: FlagMask) -> int:
    """OR flag files into a mask; returns the number of flagged cells."""
    n_fine = plan.metadata.n_fine
    last = np.full(mask.bits.shape[3], 255, np.uint8)  # without what fills the last byte
    if n_fine % 8:
        last[-1] = (1 << n_fine % 8) - 1
    cells = 0
    for each in placed:
        times = range(*each.plan_times.indices(mask.bits.shape[0]))
        in_file = range(*each.file_times.indices(each.file.n_times))
        for time, of_file in zip(times, in_file, strict=True):
            turned = _TURNED[each.file.flags[of_file][plan.rows.in_file]] & last
            mask.bits[time, each.coarse] |= turned
            cells += int(np.unpackbits(turned).sum())
    return cells


def _from_template(template: Path, meta: Metadata) -> list[Path]:
    if "%" not in template.name:
        return [template] if template.exists() else []
    names = (flag_file_path(template, c.gpubox) for c in meta.coarse_channels)
    return [path for path in names if path.exists()]


def flag_file_path(template: Path, gpubox: int) -> Path:
    """A template with %%, %%% replaced by the number of the gpubox or receiver channel."""
    name = re.sub(r"%+", lambda run: f"{gpubox:0{len(run[0])}d}", template.name, count=1)
    return template.with_name(name)


def _check(file: FlagFile, meta: Metadata) -> int:
    """The coarse channel that a file is of, if it is of this observation."""
    if file.obsid != meta.obsid:
        raise MetadataError(
            f"{file.name}: flags of obsid {file.obsid}, but the metafits {meta.path} is of {meta.obsid}; "
            "choose the right files, or `precomputed_flags=ignore`"
        )
    if (file.n_antennas, file.n_channels) != (meta.n_antennas, meta.n_fine):
        raise InputError(
            f"{file.name}: flags of {file.n_antennas} antennas and {file.n_channels} channels, the data have "
            f"{meta.n_antennas} and {meta.n_fine}; choose the right files, or `precomputed_flags=ignore`"
        )
    for channel in meta.coarse_channels:
        if channel.gpubox == file.gpubox:
            return channel.index
    raise InputError(
        f"{file.name}: flags of gpubox {file.gpubox}, but the observation has no such gpubox; "
        "choose the right files, or `precomputed_flags=ignore`"
    )


def _first_scan(files: Mapping[int, FlagFile], observation: Observation) -> int | None:
    """Timestep that files of version 1.0 count from: where the latest of the raw files of the first batch begins.

    A raw file that begins n timesteps earlier has a flag file without the first n, so that those of a few channels
    know. None: no raw file of the first batch.

    Parameters
    ----------
    files : by coarse channel
    """
    starts = []
    for channel, file in files.items():
        there = np.flatnonzero(observation.hdu_index[:, channel] >= 0)
        if file.centre_gps_s is not None or not there.size:
            continue
        hdu = observation.hdus[observation.hdu_index[there[0], channel]]
        if observation.files[hdu["file"]].batch == 0:
            starts.append(int(there[0]) + file.n_missing)
    return max(starts, default=None)


def _start(file: FlagFile, observation: Observation, first_scan: int | None) -> int | None:
    """Timestep of the observation, to the nearest, that the flags of a file begin at."""
    if file.centre_gps_s is None:
        return None if first_scan is None else first_scan + file.n_missing
    meta = observation.metadata
    start_s = meta.sched_start_unix_s + file.centre_gps_s - meta.obsid - meta.int_time_s / 2
    return round((start_s - float(observation.timestep_unix_ms[0]) / 1e3) / meta.int_time_s)


def _place(file: FlagFile, position: int, start: int, timesteps: range) -> PlacedFlags:
    """Timesteps that both have, of flags that begin at timestep `start` of the observation."""
    first = start - timesteps.start
    begin, end = max(0, first), min(len(timesteps), first + file.n_times)
    end = max(begin, end)
    return PlacedFlags(file, position, slice(begin - first, end - first), slice(begin, end))


def is_flag_file(path: Path) -> bool:
    """Whether an output of this name is one."""
    return path.suffix.lower() == ".mwaf"


def unselected_note(plan: Plan) -> str | None:
    """What flag files, which are always of all baselines, say of those that are not selected; None if all are."""
    n_antennas = plan.metadata.n_antennas
    n_baselines = n_antennas * (n_antennas + 1) // 2
    if plan.n_rows == n_baselines:
        return None
    return (
        f"flag files are of all {n_baselines} baselines; {n_baselines - plan.n_rows} are not selected: of these they "
        "hold what rules flag, nothing was looked for"
    )


def with_notes(plan: Plan, outputs: Sequence[Path]) -> Plan:
    """The same plan, with what is to be said of the flag files among its outputs."""
    note = unselected_note(plan)
    if note is None or not any(map(is_flag_file, outputs)):
        return plan
    return replace(plan, notes=(*plan.notes, note))


class FlagOutput:
    """The flags of one coarse channel of a conversion as a flag file: those of input cells, before averaging.

    Parameters
    ----------
    position : in `Plan.coarse`
    """

    def __init__(self, plan: Plan, path: Path, position: int) -> None:
        meta = plan.metadata
        self.path = path
        self._plan, self._position = plan, position
        aoflagger, strategy = detected_by(plan)
        note = unselected_note(plan)
        self._writer = FlagFileWriter(
            path,
            meta,
            meta.coarse_channels[plan.coarse[position]].gpubox,
            len(plan.timesteps),
            plan.first_centre_gps_s,
            software=plan.header.software,
            command_line=plan.header.command_line,
            aoflagger=aoflagger,
            strategy=strategy,
            comment=note or "",
            overwrite=plan.options.overwrite,
        )

    def put_mask(self, mask: FlagMask | None) -> None:
        """Write the flags of the plan and those of the mask."""
        plan, position, n_fine = self._plan, self._position, self._plan.metadata.n_fine
        antenna1, antenna2 = np.triu_indices(plan.metadata.n_antennas)
        row = plan.flags.antennas[antenna1] | plan.flags.antennas[antenna2]
        if plan.flags.autos:
            row |= antenna1 == antenna2
        channel = plan.flags.channels[position * n_fine : (position + 1) * n_fine] != 0
        always = row[:, None] | channel
        for time, state in enumerate(plan.flags.chunks[:, position]):
            flags = always.copy()
            if state != _core.CHUNK_GOOD:
                flags[:] = True
            if mask is not None:
                flags[plan.rows.in_file] |= mask.unpacked(slice(time, time + 1), position)[0]
            self._writer.write(flags)

    def write(self, block: Block) -> None:
        """Averaged data have no place here."""

    def put_statistics(self, statistics: QualityStatistics) -> None:
        """Nor have their statistics."""

    def close(self) -> None:
        """Finish the file, sync it and give it its final name."""
        self._writer.close()

    def abort(self) -> None:
        """Remove what was written."""
        self._writer.abort()
