"""Which calibration solutions a conversion applies: a file that is named, or the best one of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import BoolArray, FloatArray
from mwaconvert.conversion.options import Options
from mwaconvert.conversion.steps import State, Step, StepKind
from mwaconvert.conversion.tables import channels
from mwaconvert.conversion.tables.calibration import Between, Calibration, locate
from mwaconvert.errors import Error, InputError
from mwaconvert.formats.solutions import Assumed, SolutionKind, Solutions, obsid_of, read_solutions
from mwaconvert.observation.metafits import read_metadata
from mwaconvert.observation.model import Metadata
from mwaconvert.observation.observation import Observation
from mwaconvert.text import plural

#: metafits files are a hundredth of it
_LARGEST_METAFITS = 64 << 20
#: steps that solutions say they assume
_ASSUMED = {
    Assumed.DIGITAL_GAINS: StepKind.DIGITAL_GAINS,
    Assumed.CABLE_DELAYS: StepKind.CABLE_DELAYS,
    Assumed.GEOMETRIC_DELAYS: StepKind.GEOMETRIC_DELAYS,
    Assumed.PASSBAND: StepKind.PASSBAND,
}


def load_calibration(
    observation: Observation, options: Options, coarse: Sequence[int], notes: list[str]
) -> tuple[Calibration | None, Step]:
    """Find, read and check the solutions that are asked for.

    Parameters
    ----------
    coarse : indices of the coarse channels of the plan
    notes : sentences for the user are appended

    Raises
    ------
    InputError : no such file, none that suits, or one of another array or of other channels
    FormatError : a damaged file
    """
    meta = observation.metadata
    if options.apply_solutions is not None:
        solutions = read_solutions(Path(options.apply_solutions), _all_freqs(meta))
        found = "as asked"
    elif options.calibrate is not None:
        solutions, found = _search(Path(options.calibrate), observation, coarse, notes)
    else:
        return None, Step(StepKind.SOLUTIONS, State.IDLE, "none given")
    if meta.calibration_applied and solutions.kind is SolutionKind.CALIBDATA:
        return None, Step(
            StepKind.SOLUTIONS,
            State.SKIPPED,
            f"the correlator applied delays and gains of CALIBDATA (CALIBDEL=1), so those of "
            f"{solutions.path.name} would count twice",
        )
    calibration = _fit(solutions, observation, options, coarse, notes)
    n_blocks, _, n_channels, _ = solutions.jones.shape
    reason = f"{solutions.path.name} ({solutions.kind.value}, {found}): {n_channels} channels, {options.solutions_freq}"
    reason += f", {n_blocks} times, {options.solutions_time}" if n_blocks > 1 else ", one time"
    if not options.solution_amplitudes:
        reason += ", phases only"
    return calibration, Step(StepKind.SOLUTIONS, State.APPLIED, reason)


def say_gaps(step: Step, meta: Metadata, antennas: BoolArray, without: BoolArray) -> Step:
    """The step, with what has no solution and is flagged."""
    reason = step.why
    if antennas.any():
        names = ", ".join(meta.antennas[k].name for k in np.flatnonzero(antennas))
        reason += f"; flagged for want of a solution: {plural(int(antennas.sum()), 'tile')} ({names})"
    if without.any():
        reason += " and" if antennas.any() else "; flagged for want of a solution:"
        reason += f" {plural(int(without.sum()), 'channel')}"
    return replace(step, why=reason)


def mismatches(solutions: Solutions, meta: Metadata, applied: Mapping[StepKind, bool]) -> list[str]:
    """Sentences on corrections that the solutions were made with and this conversion is not, or the reverse."""
    done = [
        what
        for what, is_done in (
            ("calibration delays and gains (CALIBDEL=1)", meta.calibration_applied),
            ("the phases of the signal chains (SIGCHDEL=1)", meta.signal_chain_applied),
        )
        if is_done
    ]
    sentences = [
        f"the correlator applied {' and '.join(done)}: {solutions.path.name} fits only if it was made from data "
        "that went through the same"
    ] * bool(done)
    return sentences + [
        f"{solutions.path.name} was made from data {'with' if had else 'without'} {_ASSUMED[which].value} taken out, "
        f"this conversion {'leaves them in' if had else 'takes them out'}: the solutions may not fit"
        for which, had in solutions.assumes
        if applied[_ASSUMED[which]] != had
    ]


def _all_freqs(meta: Metadata) -> FloatArray:
    return np.array([channels.fine_channel_frequencies_hz(meta, c.index) for c in meta.coarse_channels])


def _fit(
    solutions: Solutions, observation: Observation, options: Options, coarse: Sequence[int], notes: list[str]
) -> Calibration:
    meta = observation.metadata
    jones = _by_antenna(solutions, meta)
    if not options.solution_amplitudes:
        # each receptor's row loses the amplitude of its own gain, the ratios within the row stay
        size = np.abs(jones[..., [0, 0, 3, 3]])
        jones = jones / np.where(size > 0, size, 1)
    freqs = np.concatenate([channels.fine_channel_frequencies_hz(meta, c) for c in coarse])
    grid, widths = _solution_freqs(solutions, meta)
    order = np.argsort(grid)
    place = locate(freqs, grid[order], options.solutions_freq)
    nearest, other = order[place.nearest], order[place.other]
    # a solution counts for the channels with their centres in it; the hertz is for rounding
    covered = np.abs(freqs - grid[nearest]) <= np.maximum(widths[nearest], meta.fine_width_hz) / 2 + 1
    near = np.abs(grid[other] - grid[nearest]) <= 1.5 * np.maximum(widths[nearest], widths[other])
    share = np.where(near, place.share, 0.0)
    if not covered.any():
        raise InputError(
            f"{solutions.path}: solutions of {_span(grid)} for data of {_span(freqs)}: they have no channel in "
            "common; choose solutions of the same channels"
        )
    if not covered.all():
        notes.append(
            f"{solutions.path.name} covers {int(covered.sum())} of {len(covered)} channels; the others are flagged"
        )
    times = _block_times(solutions, observation)
    calibration = Calibration(
        solutions=solutions,
        jones=jones,
        channel=Between(nearest, other, share),
        covered=covered,
        times_gps_s=times,
        time_interpolation=options.solutions_time,
    )
    if not any(calibration.valid(block).any() for block in range(len(times))):
        raise InputError(
            f"{solutions.path}: has no solution for any of the channels of this conversion; choose another file"
        )
    return calibration


def _span(freqs: FloatArray) -> str:
    return f"{freqs.min() / 1e6:.2f} to {freqs.max() / 1e6:.2f} MHz"


def _by_antenna(solutions: Solutions, meta: Metadata) -> npt.NDArray[np.complex128]:
    """Solutions in the order of the antennas of the metafits."""
    ours = [antenna.name for antenna in meta.antennas]
    if solutions.tiles is None or list(solutions.tiles) == ours:
        if solutions.n_antennas != meta.n_antennas:
            raise InputError(
                f"{solutions.path}: solutions of {solutions.n_antennas} tiles, but the observation has "
                f"{meta.n_antennas}; choose solutions of the same array"
            )
        return solutions.jones
    theirs = {name: k for k, name in enumerate(solutions.tiles)}
    if not set(ours) & set(theirs):
        raise InputError(
            f"{solutions.path}: solutions of tiles {solutions.tiles[0]} to {solutions.tiles[-1]}, but the "
            f"observation has {ours[0]} to {ours[-1]}; choose solutions of the same array"
        )
    shape = solutions.jones.shape
    jones = np.full((shape[0], meta.n_antennas, *shape[2:]), np.nan, np.complex128)
    for k, name in enumerate(ours):
        if name in theirs:
            jones[:, k] = solutions.jones[:, theirs[name]]
    return jones


def _solution_freqs(solutions: Solutions, meta: Metadata) -> tuple[FloatArray, FloatArray]:
    """Centres and widths of the channels of solutions."""
    if solutions.freq_hz is not None:
        grid = solutions.freq_hz
        if len(grid) == 1:
            return grid, np.full(1, _coarse_width(meta))
        steps = np.diff(grid)
        # channels beside a gap are as wide as those around them
        width = np.minimum(np.append(steps, steps[-1]), np.append(steps[0], steps))
        return grid, np.minimum(width, _coarse_width(meta))
    chosen = list(meta.coarse_channels)
    if solutions.receiver_channels is not None:
        chosen = [c for c in meta.coarse_channels if c.number in solutions.receiver_channels]
        if not chosen:
            raise InputError(
                f"{solutions.path}: solutions of receiver channels {solutions.receiver_channels[0]} to "
                f"{solutions.receiver_channels[-1]}, of which the observation has none"
            )
        n_coarse = len(solutions.receiver_channels)
    else:
        n_coarse = len(chosen)
    n_channels = solutions.jones.shape[2]
    n = n_channels // n_coarse
    if n * n_coarse != n_channels or not (meta.n_fine % n == 0 or n % meta.n_fine == 0):
        raise InputError(
            f"{solutions.path}: {n_channels} channels do not divide evenly among {n_coarse} coarse channels of "
            f"{meta.n_fine} channels; choose solutions of the same channels"
        )
    grid = np.full((n_coarse, n), np.nan)
    numbers = solutions.receiver_channels or [c.number for c in chosen]
    for k, number in enumerate(numbers):
        channel = next((c for c in meta.coarse_channels if c.number == number), None)
        if channel is None:
            grid[k] = number * 1.28e6 + ((np.arange(n) + 0.5) / n - 0.5) * 1.28e6
        elif n <= meta.n_fine:
            fine = channels.fine_channel_frequencies_hz(meta, channel.index)
            grid[k] = fine.reshape(n, -1).mean(axis=1)
        else:
            finer = replace(meta, n_fine=n, fine_width_hz=channel.width_hz / n)
            grid[k] = channels.fine_channel_frequencies_hz(finer, channel.index)
    return grid.ravel(), np.full(grid.size, _coarse_width(meta) / n)


def _coarse_width(meta: Metadata) -> float:
    return meta.coarse_channels[0].width_hz


def _block_times(solutions: Solutions, observation: Observation) -> FloatArray:
    n_blocks = len(solutions.jones)
    if solutions.times_gps_s is not None:
        return solutions.times_gps_s
    meta = observation.metadata
    return meta.obsid + (np.arange(n_blocks) + 0.5) / n_blocks * meta.sched_duration_s


def _search(
    folder: Path, observation: Observation, coarse: Sequence[int], notes: list[str]
) -> tuple[Solutions, str]:
    """The solutions of this obsid, else those nearest in time, that suit; what is passed over is noted."""
    obsid = observation.metadata.obsid
    if not folder.is_dir():
        raise InputError(
            f"`calibrate={folder}`: no such folder; it must hold solutions such as {obsid}_solutions.fits",
            option="calibrate",
            path=folder,
        )
    meta = observation.metadata
    candidates = [path for path in folder.iterdir() if obsid_of(path) is not None and _may_be(path, meta)]
    if _may_be(meta.path, meta) and not any(path.samefile(meta.path) for path in candidates):
        candidates.append(meta.path)

    def by_distance(path: Path) -> tuple[int, bool, str]:
        return abs((obsid_of(path) or obsid) - obsid), "metafits" in path.name, path.name

    candidates.sort(key=by_distance)
    reasons = []
    for path in candidates:
        try:
            solutions = read_solutions(path, _all_freqs(observation.metadata))
            _check_candidate(path, solutions, observation)
            trial: list[str] = []
            calibration = _fit(solutions, observation, Options(), coarse, trial)
            if not calibration.covered.all():
                raise InputError(f"{path}: does not cover all channels")
        except Error as error:
            reasons.append(str(error).removeprefix(f"{folder}/"))
            continue
        if reasons:
            notes.append(f"`calibrate` passed over nearer solutions for {path.name}: {_some(reasons)}")
        apart = (obsid_of(path) or obsid) - obsid
        where = (
            f"`apply_solutions={path}`" if solutions.kind is SolutionKind.CALIBDATA else f"found in {folder}"
        )
        return solutions, f"{where}, " + (
            "of this observation"
            if apart == 0
            else f"{abs(apart) / 3600:.1f} h {'after' if apart > 0 else 'before'}"
        )
    tried = _some(reasons) if reasons else "there are no files such as <obsid>_solutions.fits or .bin"
    raise InputError(
        f"`calibrate={folder}`: no solutions suit observation {obsid}: {tried}",
        option="calibrate",
        path=folder,
    )


def _may_be(path: Path, meta: Metadata) -> bool:
    """Whether a name is that of solutions, or of a metafits that has some which were not applied yet."""
    if path.suffix == ".bin":
        return True
    if "metafits" in path.name:
        applied = meta.calibration_applied
        return (
            not applied
            and path.is_file()
            and path.stat().st_size < _LARGEST_METAFITS
            and (b"'CALIBDATA" in path.read_bytes())
        )
    return path.suffix == ".fits" and "sol" in path.name.lower()


def _some(reasons: Sequence[str]) -> str:
    return "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")


def _check_candidate(path: Path, solutions: Solutions, observation: Observation) -> None:
    """AOCal files do not say which channels they are of: the metafits of their obsid, beside them, does."""
    meta = observation.metadata
    if solutions.kind is SolutionKind.CALIBDATA and path != meta.path:
        _same_channels(path, path, meta)
        return
    if (
        solutions.freq_hz is not None
        or solutions.receiver_channels is not None
        or obsid_of(path) == meta.obsid
    ):
        return
    for name in (f"{obsid_of(path)}.metafits", f"{obsid_of(path)}_metafits.fits"):
        if (beside := path.with_name(name)).exists():
            _same_channels(path, beside, meta)
            return
    raise InputError(
        f"{path}: it does not say which channels it covers; put the metafits of its obsid beside it"
    )


def _same_channels(path: Path, metafits: Path, meta: Metadata) -> None:
    theirs = [c.number for c in read_metadata(metafits).coarse_channels]
    if theirs != [c.number for c in meta.coarse_channels]:
        raise InputError(f"{path}: is of receiver channels {theirs[0]} to {theirs[-1]}")
