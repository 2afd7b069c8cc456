"""What the user may ask for, and what of it contradicts itself. Names on the command line: cli/options.py."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mwaconvert.errors import InputError

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
    overwrite: bool = False

    # resources
    threads: int = 0  #: 0: all cores this process may use
    max_memory_gib: float | None = None


def check_options(options: Options) -> None:
    """Refuse options that contradict each other or cannot mean anything.

    Raises
    ------
    InputError
    """
    pairs = (
        ("time averaging", "time_res_s", "time_factor"),
        ("frequency averaging", "freq_res_khz", "freq_factor"),
        ("quack flags", "flag_init_s", "flag_init_steps"),
        ("end flags", "flag_end_s", "flag_end_steps"),
        ("edge flags", "flag_edge_width_khz", "flag_edge_chans"),
        ("the phase centre", "phase_centre_deg", "pointing_centre"),
        ("UT1-UTC", "dut1_s", "ignore_dut1"),
    )
    for what, first, second in pairs:
        if getattr(options, first) is not None and getattr(options, second) not in (None, False):
            raise InputError(f"{what}: {first} and {second} were both given; give one of them")
        for name in (first, second):
            value = getattr(options, name)
            if (
                isinstance(value, int | float)
                and name != "dut1_s"
                and (value < 0 or not math.isfinite(value))
            ):
                raise InputError(f"{what}: {name} is {value}, but must not be negative")
    if options.phase_centre_deg is not None:
        ra, dec = options.phase_centre_deg
        if not (-360 <= ra <= 360 and -90 <= dec <= 90):  # also refuses NaN
            raise InputError(
                f"phase centre: RA {ra:g}, Dec {dec:g} deg is out of range; "
                "RA goes from 0 to 360 and Dec from -90 to 90 degrees"
            )
    if options.rfi not in ("builtin", "aoflagger", "none"):
        raise InputError(f"RFI: rfi is {options.rfi!r}; choose builtin, aoflagger or none")
    for name in ("rfi_strategy", "rfi_sensitivity"):
        if options.rfi == "none" and getattr(options, name) is not None:
            raise InputError(f"RFI: {name} was given, but RFI is not looked for (--no-rfi)")
    if options.rfi == "aoflagger" and options.rfi_sensitivity is not None:
        raise InputError("RFI: rfi_sensitivity is a setting of the built-in detection, not of AOFlagger")
    if options.threads < 0:
        raise InputError(f"threads: {options.threads} is negative; 0 takes all cores")
