"""What the user may ask for, and what of it contradicts itself. Names on the command line: cli/options.py."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, get_args, get_origin, get_type_hints

from mwaconvert.errors import InputError
from mwaconvert.quantities import Direction, Measured, bare

Function = TypeVar("Function", bound=Callable[..., Any])

Passband = Literal["auto", "none", "jake", "jake_oversampled", "cotter"]
Rfi = Literal["builtin", "aoflagger", "none"]
Geometry = Literal["standard", "exact"]
Interpolation = Literal["nearest", "linear"]
PrecomputedFlags = Literal["auto", "only", "ignore"]


@dataclass(frozen=True)
class Options:
    """Choices of one conversion. The defaults are what `mwaconvert obs.metafits` does.

    Times in seconds, frequency widths in kHz, angles in degrees (J2000). Channel, antenna and timestep
    indices count from 0.
    """

    # averaging: at most one of each pair
    time_res_s: float | None = None
    time_factor: int | None = None
    freq_res_khz: float | None = None
    freq_factor: int | None = None

    # selection
    sel_time: tuple[int, int] | None = None  #: first and last timestep index, inclusive
    sel_ants: tuple[int, ...] | None = None
    sel_flagged_ants: bool = True  #: False leaves flagged antennas out of the rows
    sel_autos: bool = True
    sel_chan_ranges: tuple[tuple[int, int], ...] | None = None  #: inclusive ranges of coarse indices

    # phase
    phase_centre_deg: tuple[float, float] | None = None
    pointing_centre: bool = False
    geometry: Geometry = "standard"
    emulate_cotter: bool = False  #: cotter's array position

    # corrections
    cable_delay: bool = True
    geometric_delay: bool = True
    digital_gains: bool = True
    passband_gains: Passband = "auto"
    van_vleck: bool = False  #: legacy only
    dut1_s: float | None = None  #: overrides the metafits
    ignore_dut1: bool = False

    # calibration solutions: at most one of the first two
    apply_solutions: Path | None = None  #: AOCal .bin, hyperdrive .fits, or metafits with CALIBDATA
    calibrate: Path | None = None  #: folder to search for solutions of this obsid, or the nearest in time
    solutions_freq: Interpolation = "nearest"
    solutions_time: Interpolation = "nearest"
    solution_amplitudes: bool = True  #: False: only the phases of the solutions

    # flags
    flag_init_s: float | None = None  #: None: QUACKTIM of the metafits
    flag_init_steps: int | None = None
    flag_end_s: float | None = None
    flag_end_steps: int | None = None
    flag_times: tuple[int, ...] = ()
    flag_partial_timesteps: bool = False  #: those that some coarse channels lack
    flag_coarse_chans: tuple[int, ...] = ()
    flag_edge_width_khz: float | None = None  #: None: 80 kHz
    flag_edge_chans: int | None = None
    flag_fine_chans: tuple[int, ...] = ()  #: in every coarse channel
    flag_dc: bool | None = None  #: None: legacy on, MWAX off
    flag_metafits: bool = True  #: honour the tile flags of the metafits
    flag_antennas: tuple[int, ...] = ()
    flag_autos: bool = False
    ignore_weights: bool = False  #: leave the weights of MWAX files alone

    flag_bad_tiles: bool = False  #: flag tiles that are dead or unlike the others

    # interference
    rfi_array: bool = False  #: look for what all baselines share, in the mean over them

    # quality
    statistics: bool = True  #: noise and interference in the report, quality tables in measurement sets

    # flag files (.mwaf) made earlier
    precomputed_flags: PrecomputedFlags = "auto"  #: those beside the metafits; only: no detection of our own
    flag_files: Path | None = None  #: others: one file, or a name in which %% stands for the gpubox

    # RFI
    rfi: Rfi = "builtin"
    rfi_strategy: str | None = None  #: TOML file; with aoflagger: Lua file
    rfi_sensitivity: float | None = None  #: divides the thresholds; None: as the strategy says
    rfi_all_baselines: bool = False  #: autocorrelations and flagged antennas too

    # output
    split: bool = False  #: one measurement set for each contiguous frequency range
    compress: Literal["none", "dysco"] = "none"  #: DATA and weights of measurement sets
    uvfits_baseline: bool = False  #: BASELINE in uvfits also for more than 255 antennas
    overwrite: bool = False

    # resources
    threads: int = 0  #: 0: all cores this process may use
    max_memory_gib: float | None = None


class OptionValues(TypedDict, total=False):
    """The fields of `Options` as keywords, for editors and type checkers; quantities of astropy are taken too."""

    time_res_s: float | Measured | None
    time_factor: int | None
    freq_res_khz: float | Measured | None
    freq_factor: int | None
    sel_time: tuple[int, int] | None
    sel_ants: tuple[int, ...] | None
    sel_flagged_ants: bool
    sel_autos: bool
    sel_chan_ranges: tuple[tuple[int, int], ...] | None
    phase_centre_deg: tuple[float, float] | Direction | None
    pointing_centre: bool
    geometry: Geometry
    emulate_cotter: bool
    cable_delay: bool
    geometric_delay: bool
    digital_gains: bool
    passband_gains: Passband
    van_vleck: bool
    dut1_s: float | Measured | None
    ignore_dut1: bool
    apply_solutions: Path | None
    calibrate: Path | None
    solutions_freq: Interpolation
    solutions_time: Interpolation
    solution_amplitudes: bool
    flag_init_s: float | Measured | None
    flag_init_steps: int | None
    flag_end_s: float | Measured | None
    flag_end_steps: int | None
    flag_times: tuple[int, ...]
    flag_partial_timesteps: bool
    flag_coarse_chans: tuple[int, ...]
    flag_edge_width_khz: float | Measured | None
    flag_edge_chans: int | None
    flag_fine_chans: tuple[int, ...]
    flag_dc: bool | None
    flag_metafits: bool
    flag_antennas: tuple[int, ...]
    flag_autos: bool
    ignore_weights: bool
    flag_bad_tiles: bool
    rfi_array: bool
    statistics: bool
    precomputed_flags: PrecomputedFlags
    flag_files: Path | None
    rfi: Rfi
    rfi_strategy: str | None
    rfi_sensitivity: float | None
    rfi_all_baselines: bool
    split: bool
    compress: Literal["none", "dysco"]
    uvfits_baseline: bool
    overwrite: bool
    threads: int
    max_memory_gib: float | Measured | None


def spelled(function: Function) -> Function:
    """Let a function that takes the fields of `Options` as keywords show each of them in its signature."""
    own = inspect.signature(function)
    named = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    keyword = inspect.Parameter.KEYWORD_ONLY
    each = [
        inspect.Parameter(field.name, keyword, default=field.default, annotation=field.type)
        for field in fields(Options)
    ]
    function.__signature__ = own.replace(parameters=[*named, *each])  # type: ignore[attr-defined]
    return function


def make_options(options: Mapping[str, Any]) -> Options:
    """Options from keyword arguments, which may be quantities; an unknown one is an error.

    Raises
    ------
    InputError
    """
    known = {field.name for field in fields(Options)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise InputError(f"unknown option {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return Options(**{name: bare(name, value) for name, value in options.items()})


#: fields that cannot be 0
_ABOVE_0 = frozenset(
    {"time_res_s", "time_factor", "freq_res_khz", "freq_factor", "rfi_sensitivity", "max_memory_gib"}
)
#: fields that may be negative
_SIGNED = frozenset({"phase_centre_deg", "dut1_s"})
#: of each pair one may be given
_PAIRS = (
    ("time averaging", "time_res_s", "time_factor"),
    ("frequency averaging", "freq_res_khz", "freq_factor"),
    ("quack flags", "flag_init_s", "flag_init_steps"),
    ("end flags", "flag_end_s", "flag_end_steps"),
    ("edge flags", "flag_edge_width_khz", "flag_edge_chans"),
    ("the phase centre", "phase_centre_deg", "pointing_centre"),
    ("UT1-UTC", "dut1_s", "ignore_dut1"),
    ("calibration solutions", "apply_solutions", "calibrate"),
)


def check_options(options: Options) -> None:
    """Refuse options that cannot mean anything, contradict each other, or would have nothing to do.

    Raises
    ------
    InputError
    """
    for name, kind in get_type_hints(Options).items():
        _check_value(name, getattr(options, name), kind)
    for what, first, second in _PAIRS:
        if getattr(options, first) is not None and getattr(options, second) not in (None, False):
            raise InputError(
                f"{what}: `{first}` and `{second}` were both given; give one of them", option=first
            )
    if options.phase_centre_deg is not None:
        ra, dec = options.phase_centre_deg
        if not (-360 <= ra <= 360 and -90 <= dec <= 90):
            raise InputError(
                f"phase centre: RA {ra:g}, Dec {dec:g} deg is out of range; "
                "RA goes from 0 to 360 and Dec from -90 to 90 degrees"
            )
    _check_detection(options)
    if options.apply_solutions is None and options.calibrate is None:
        _refuse_idle(
            options,
            ("solutions_freq", "solutions_time", "solution_amplitudes"),
            "no calibration solutions are applied (`apply_solutions`, `calibrate`)",
        )


def _check_detection(options: Options) -> None:
    if options.precomputed_flags == "only" and options.rfi == "aoflagger":
        raise InputError(
            "RFI: `rfi=aoflagger` and `precomputed_flags=only` were both given; give one of them",
            option="rfi",
        )
    if options.rfi == "none" or options.precomputed_flags == "only":
        why = "`rfi=none`" if options.rfi == "none" else "`precomputed_flags=only`"
        _refuse_idle(
            options,
            ("rfi_strategy", "rfi_sensitivity", "rfi_all_baselines"),
            f"RFI is not looked for ({why})",
        )
    if options.rfi == "aoflagger" and options.rfi_sensitivity is not None:
        raise InputError(
            "RFI: `rfi_sensitivity` is a setting of the built-in detection, not of AOFlagger",
            option="rfi_sensitivity",
        )


def _refuse_idle(options: Options, names: tuple[str, ...], why: str) -> None:
    """Refuse fields that were changed from their defaults although they have nothing to do."""
    for name in names:
        if getattr(options, name) != getattr(Options(), name):
            value = getattr(options, name)
            said = f"`{name}={value}`" if isinstance(value, bool) else f"`{name}`"
            raise InputError(f"{said} was given, but {why}; leave it out", option=name)


def _check_value(name: str, value: Any, kind: Any) -> None:
    """Refuse a value that is not of the kind that the field is declared with, or a number out of range."""
    if not _is_of(value, kind):
        raise InputError(f"`{name}` is {value!r}; expected {_expected(kind)}", option=name)
    for number in _numbers(value):
        if not math.isfinite(number):
            raise InputError(f"`{name}` is {value!r}; expected a finite number", option=name)
        if number < 0 and name not in _SIGNED:
            raise InputError(f"`{name}` is {value!r}, but must not be negative", option=name)
        if number == 0 and name in _ABOVE_0:
            raise InputError(f"`{name}` is {value!r}, but must be above 0", option=name)


def _is_of(value: Any, kind: Any) -> bool:
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in parts
    if get_origin(kind) is tuple:
        if isinstance(value, str) or not isinstance(value, Iterable):
            return False
        items = list(value)
        kinds = [parts[0]] * len(items) if parts[-1] is Ellipsis else parts
        return len(items) == len(kinds) and all(map(_is_of, items, kinds))
    if parts:  # a union
        return any(_is_of(value, part) for part in parts)
    if kind in (str, Path):
        return isinstance(value, str | os.PathLike)
    if kind in (int, float):  # a truth value is not a number, though Python takes it for one
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return isinstance(value, kind)


def _numbers(value: Any) -> Iterator[float]:
    """All numbers in a value."""
    if not isinstance(value, bool) and isinstance(value, Real):
        yield float(value)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for item in value:
            yield from _numbers(item)


def _expected(kind: Any) -> str:
    """A kind of value in words."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return " or ".join([", ".join(parts[:-1]), parts[-1]])
    if get_origin(kind) is tuple:
        if parts[-1] is Ellipsis:
            return f"a list, each of it {_expected(parts[0])}"
        return f"{len(parts)} values, each of them {_expected(parts[0])}"
    if parts:
        return " or ".join(_expected(part) for part in parts)
    words = {int: "a whole number", float: "a number", bool: "True or False", type(None): "None"}
    return words.get(kind, "a file name")
