"""Every option of `mwaconvert convert`, in one table: its names (ours first, then what Birli, cotter,
hyperdrive and the ASVO call the same thing), what it sets, and how its value is read.

Names are compared without dashes and underscores: --norfi, --no-rfi and --no_rfi are one name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaconvert.vocabulary import values

#: who uses an option: the letters of `Spec.peers`; A: the ASVO's job keys of any era
PEERS = {"B": "Birli", "C": "cotter", "H": "hyperdrive", "A": "ASVO"}


@dataclass(frozen=True)
class Named:
    """An option of any verb.

    Attributes
    ----------
    spelling : its names, ours first, separated by blanks
    sets : what it sets, see the tables
    help : one sentence or two
    metavar : names of its values; empty for a flag
    """

    spelling: str
    sets: str
    help: str
    metavar: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.spelling.split())

    @property
    def is_flag(self) -> bool:
        return not self.metavar

    @property
    def canonical(self) -> str:
        """The long name by which it is declared and spoken of."""
        return next(name for name in self.names if name.startswith("--"))


@dataclass(frozen=True)
class Spec(Named):
    """One option; `sets` is a field of `conversion.options.Options`, or a setting of the run (`vocabulary.request`).

    Attributes
    ----------
    parse : reads the value or values, raises ValueError; not used by flags
    value : what a flag sets
    nargs : how many values follow
    listed : values add up when the option is repeated, and bare numbers after it belong to it
    peers : letters of `PEERS`: who has it under one of these names
    note : for an option that only states a fact: what the report says about it
    """

    parse: Callable[..., Any] = str
    value: Any = True
    nargs: int = 1
    listed: bool = False
    peers: str = ""
    note: str = ""


# one option a line or two, as a table
# fmt: off
GROUPS: dict[str, tuple[Spec, ...]] = {
    "Input and output": (
        Spec("-m --metafits", "metafits", "The metafits file, if not the first argument.", "FILE",
             peers="BC"),
        Spec("-o --output", "outputs",
             "File to write: .uvfits, .ms, .uvh5, or flags as x%%.mwaf (%%: gpubox); may be repeated. "
             "Default: <obsid>.uvfits.", "FILE",
             values.output, listed=True, peers="CHA"),
        Spec("-u --uvfits-out", "outputs", "Same, uvfits.", "FILE", values.uvfits_output, listed=True,
             peers="B"),
        Spec("-M --ms-out", "outputs", "Same, measurement set.", "FILE", values.ms_output, listed=True,
             peers="B"),
        Spec("-f --flag-template", "outputs", "Same, flag files, one for each coarse channel: x%%.mwaf.",
             "FILE", values.flag_output, listed=True, peers="B"),
        Spec("--conversion", "outputs", "uvfits or ms, under its default name.", "KIND", values.output_kind,
             listed=True, peers="A"),
        Spec("--overwrite", "overwrite", "Replace outputs that exist."),
        Spec("--skip-existing", "skip_existing", "Leave observations alone whose outputs exist."),
        Spec("--split", "split", "One measurement set for each contiguous range of channels (picket fence)."),
        Spec("--compress", "compress",
             "dysco: measurement sets about five times smaller, with some more noise; needs --no-autos.",
             "KIND", values.compression),
        Spec("--use-dysco", "compress", "Same as --compress dysco.", value="dysco", peers="C"),
        Spec("--uvfits-baseline", "uvfits_baseline",
             "Of more than 255 antennas write one number BASELINE, as Birli; CASA needs ANTENNA1, ANTENNA2."),
        Spec("--report", "report", "Write what was done as JSON.", "FILE"),
        Spec("--no-stats --no-histograms", "statistics",
             "No quality statistics: no QUALITY tables in measurement sets, no noise in the report.",
             value=False, peers="CA"),
        Spec("--qa", "qa", "Draw the data: .png or .html.", "FILE", values.qa_file),
        Spec("--dry-run --skipwrite", "dry_run", "Print what would be done and why, then stop.", peers="BCH"),
        Spec("--like --preprocessor", "like",
             "Defaults of another program: birli or cotter. Options given explicitly win.", "NAME",
             values.preset, peers="A"),
    ),
    "Averaging (none by default)": (
        Spec("--timeres --avg-time-res", "time_res_s", "Average to this time resolution: 8, 8s, 500ms.",
             "S", values.seconds, peers="BCA"),
        Spec("--avg-time-factor", "time_factor", "Average this many timesteps.", "N", values.positive,
             peers="B"),
        Spec("--freqres --avg-freq-res", "freq_res_khz",
             "Average to this channel width: 40, 40kHz, 0.04MHz.", "KHZ", values.kilohertz, peers="BCA"),
        Spec("--avg-freq-factor", "freq_factor", "Average this many channels.", "N", values.positive,
             peers="B"),
        Spec("--time-average --output-vis-time-average", "time_average",
             "A width with its unit (8s) or a number of timesteps.", "S|N", values.time_average, peers="H"),
        Spec("--freq-average --output-vis-freq-average", "freq_average",
             "A width with its unit (80kHz) or a number of channels.", "KHZ|N", values.freq_average,
             peers="H"),
    ),
    "Selection": (
        Spec("--sel-time", "sel_time", "First and last timestep, counted from 0, both included.",
             "FIRST LAST", values.first_last, nargs=2, peers="B"),
        Spec("--sel-ants", "sel_ants", "Keep only these antennas: indices from 0 or tile names, 1,2,5-7.",
             "LIST", values.antennas, listed=True, peers="B"),
        Spec("--no-sel-flagged-ants", "sel_flagged_ants", "Leave flagged antennas out of the rows.",
             value=False, peers="B"),
        Spec("--no-antenna-pruning", "sel_flagged_ants", "Keep flagged antennas (default).", peers="CA"),
        Spec("--no-sel-autos --no-autos", "sel_autos", "Leave autocorrelations out.", value=False,
             peers="BC"),
        Spec("--autos", "sel_autos", "Keep autocorrelations (default).", peers="H"),
        Spec("--sel-chan-ranges", "sel_chan_ranges",
             "Coarse channels, counted from 0 in the metafits list; 0-11,12-23 makes two bands.", "LIST",
             values.ranges, peers="B"),
        Spec("--provided-chan-ranges", "provided_chan_ranges", "Only coarse channels that have files.",
             peers="B"),
        Spec("--sbstart", "first_box", "First gpubox, counted from 1.", "N", values.positive, peers="C"),
        Spec("--sbcount", "box_count", "Number of gpuboxes.", "N", values.positive, peers="C"),
    ),
    "Phase centre (default: of the metafits)": (
        Spec("--phase-centre --phase-center", "phase_centre_deg",
             "J2000, degrees or sexagesimal: 187.5 -27, 12h30m00s -27d00m00s, 12:30:00,-27:00:00.",
             "RA DEC", values.direction, nargs=2, peers="BC"),
        Spec("--pointing-centre --usepcentre --pointing-center", "pointing_centre",
             "Phase to the pointing of the observation.", peers="BCA"),
        Spec("--centre --center", "centre", "phase, pointing or custom (with the next two).", "NAME",
             values.centre, peers="CA"),
        Spec("--phase-centre-ra --custom-centre-ra --custom-ra", "phase_centre_ra",
             "Right ascension alone.", "RA", values.right_ascension, peers="A"),
        Spec("--phase-centre-dec --custom-centre-dec --custom-dec", "phase_centre_dec",
             "Declination alone.", "DEC", values.declination, peers="A"),
        Spec("--geometry", "geometry",
             "standard: as the other MWA programs; exact: with polar motion and diurnal aberration.",
             "NAME", values.geometry),
        Spec("--emulate-cotter", "emulate_cotter", "Use cotter's position of the array.", peers="B"),
    ),
    "Corrections (on by default where the correlator has not applied them)": (
        Spec("--no-cable-delay --no-cable-length --no-cable-length-correction", "cable_delay",
             "Leave cable lengths in.", value=False, peers="BCHA"),
        Spec("--no-geometric-delay --no-geometry-delay --no-geom --no-geometric-correction",
             "geometric_delay", "Do not phase to the phase centre.", value=False, peers="BCHA"),
        Spec("--no-digital-gains --nosbgains", "digital_gains", "Leave digital gains in.", value=False,
             peers="BCHA"),
        Spec("--passband-gains --pfb-gains --pfb-flavour", "passband_gains",
             "Shape of the coarse channels: auto, none, jake, jake_oversampled, cotter.", "NAME",
             values.passband, peers="BH"),
        Spec("--no-passband-gains", "passband_gains", "Leave it in.", value="none", peers="A"),
        Spec("--sbpassband", "passband_gains", "true: leave it in.", "BOOL", values.unit_passband,
             peers="CA"),
        Spec("--van-vleck", "van_vleck",
             "Correct the coarse quantiser of the legacy correlator (not for MWAX data).", peers="B"),
        Spec("--dut1", "dut1_s", "UT1 - UTC, in place of the metafits' (or the IERS table's, where it has none).", "S",
             values.signed_seconds, peers="H"),
        Spec("--ignore-dut1", "ignore_dut1", "Take UT1 = UTC.", peers="H"),
    ),
    "Calibration solutions (none by default)": (
        Spec("--apply-solutions --apply-di-cal --apply --full-apply", "apply_solutions",
             "Apply AOCal .bin, hyperdrive .fits, or the CALIBDATA of a metafits.", "FILE", Path, peers="BC"),
        Spec("--calibrate", "calibrate",
             "Search a folder for solutions of this obsid, else the nearest in time of the same channels.",
             "FOLDER", Path, peers="A"),
        Spec("--solutions-freq", "solutions_freq",
             "Between their channels: nearest (default) or linear.", "NAME", values.interpolation),
        Spec("--solutions-time", "solutions_time",
             "Between their times: nearest (default) or linear.", "NAME", values.interpolation),
        Spec("--no-apply-amps", "solution_amplitudes", "Apply their phases only.", value=False, peers="A"),
    ),
    "Flags": (
        Spec("--flag-init --quack-time --initflag", "flag_init_s",
             "Flag the start, from the first common timestep. Default: QUACKTIM of the metafits.", "S",
             values.seconds, peers="BC"),
        Spec("--flag-init-steps", "flag_init_steps", "Same, in timesteps.", "N", values.count, peers="B"),
        Spec("--flag-end --endflag", "flag_end_s", "Flag the end.", "S", values.seconds, peers="BC"),
        Spec("--flag-end-steps", "flag_end_steps", "Same, in timesteps.", "N", values.count, peers="B"),
        Spec("--flag-times", "flag_times", "Flag timesteps, counted from 0.", "LIST", values.indices,
             listed=True, peers="B"),
        Spec("--flag-partial-timesteps", "flag_partial_timesteps",
             "Flag all channels of timesteps that a file lacks. Default: only what is missing."),
        Spec("--flag-coarse-chans --flagsubband", "flag_coarse_chans",
             "Flag coarse channels, counted from 0 in the metafits list.", "LIST", values.indices,
             listed=True, peers="BC"),
        Spec("--flag-edge-width --edgewidth", "flag_edge_width_khz",
             "Flag both edges of each coarse channel. Default: 80; 0 for none.", "KHZ", values.kilohertz,
             peers="BCA"),
        Spec("--flag-edge-chans", "flag_edge_chans", "Same, in fine channels.", "N", values.count, peers="B"),
        Spec("--flag-fine-chans --fine-chan-flags-per-coarse-chan", "flag_fine_chans",
             "Flag fine channels of every coarse channel, counted from 0.", "LIST", values.indices,
             listed=True, peers="BH"),
        Spec("--flag-dc --flag-dc-channel --flag-dc-channels", "flag_dc",
             "Flag the centre of each coarse channel. Default: legacy data only.", peers="BCA"),
        Spec("--no-flag-dc --no-flag-dc-channels", "flag_dc", "Do not.", value=False, peers="BCA"),
        Spec("--no-flag-metafits --ignore-input-data-tile-flags", "flag_metafits",
             "Ignore the tile flags of the metafits.", value=False, peers="BH"),
        Spec("--flag-antennas --flagantenna --tile-flags", "flag_antennas",
             "Flag antennas: indices from 0 or tile names, 1,2,5-7.", "LIST", values.antennas, listed=True,
             peers="BCH"),
        Spec("--flag-bad-tiles", "flag_bad_tiles",
             "Flag tiles that are dead or unlike the others by their autocorrelations."),
        Spec("--rfi-array", "rfi_array",
             "Find faint interference that all baselines share, such as digital TV (docs/quality.md)."),
        Spec("--flag-autos", "flag_autos", "Flag autocorrelations.", peers="B"),
        Spec("--no-flag-autos", "flag_autos", "Do not (default).", value=False, peers="CA"),
        Spec("--precomputed-flags", "precomputed_flags",
             "Flag files (.mwaf or a zip of them) beside the metafits: auto adds them to what is found here; only "
             "looks for nothing else; ignore.", "NAME", values.precomputed_flags),
        Spec("--no-precomputed-flags", "precomputed_flags", "Leave them out.", value="ignore", peers="A"),
        Spec("--flagfiles", "flag_files", "Other flag files: x%%.mwaf, %% is the gpubox.", "FILE", Path,
             peers="C"),
        Spec("--ignore-weights", "ignore_weights", "Leave the weights of MWAX files out of account.",
             peers="H"),
    ),
    "RFI (looked for by default, with AOFlagger's decisions)": (
        Spec("--rfi", "rfi",
             "builtin; aoflagger (to be installed: pip install mwaconvert[aoflagger]); or none.", "NAME",
             values.rfi),
        Spec("--no-rfi", "rfi", "Do not look for RFI.", value="none", peers="BCA"),
        Spec("--rfi-strategy --strategy --aoflagger-strategy --flag-strategy", "rfi_strategy",
             "Parameters of the detection: a TOML file, or AOFlagger's Lua file with --rfi aoflagger.", "FILE",
             values.strategy_file, peers="BC"),
        Spec("--rfi-sensitivity", "rfi_sensitivity", "Divides the thresholds. Default: 1.", "X",
             values.sensitivity),
        Spec("--rfi-all-baselines", "rfi_all_baselines",
             "Look at autocorrelations and at flagged antennas too."),
    ),
    "Run": (
        Spec("-j --threads", "threads", "Default: all cores this process may use.", "N", values.threads,
             peers="C"),
        Spec("--max-memory --absmem", "max_memory_gib", "Upper limit in GiB: 4, 4GB, 512MB.", "GIB",
             values.gibibytes, peers="BC"),
        Spec("--mem", "max_memory_percent", "Same, in percent of the machine's.", "PERCENT", values.percent,
             peers="C"),
        Spec("--no-defaults", "defaults",
             "Leave mwaconvert.toml of this folder and of the user out (docs/environment.md).", value=False),
        Spec("--no-progress --no-draw-progress --no-progress-bars", "progress", "Do not show progress.",
             value=False, peers="BH"),
        Spec("-q --quiet", "quiet", "Print nothing but errors."),
        Spec("-v --verbose", "verbose", "Log lines, and tracebacks of unexpected errors."),
        Spec("--log-file", "log_file", "Add log lines with their times to a file.", "FILE", Path),
        Spec("--log-json", "log_json", "Same, one JSON object a line.", "FILE", Path),
    ),
    "Accepted, with nothing to do": (
        Spec("--allow-missing", "allow_missing", "Files may be missing (always so).", peers="CA",
             note="raw files may always be missing: what is missing is flagged and listed"),
        Spec("--no-flag-missings", "flag_missings", "Missing data are flagged all the same.", value=False, peers="CA",
             note="--no-flag-missings was not followed: missing data have no values, so they are always flagged"),
    ),
}

_STATISTICS = "is not needed, quality statistics are in the measurement set and in --report FILE"
_DYSCO = "is not supported, --compress dysco takes the values that are cotter's defaults"
_OBSOLETE = "is obsolete, all metadata come from the metafits file"
_DELIVERY = "is about the delivery of a job, not about the conversion: leave it out"
_ARGUMENTS = "is not needed, give the metafits and the raw files as arguments"
_FINE = "is not supported, use --flag-coarse-chans and --flag-fine-chans"

#: options of the other programs that are refused, and why
REFUSED: dict[str, str] = {
    "--saveqs": _STATISTICS, "--histograms": _STATISTICS, "--metrics-out": _STATISTICS,
    "--dysco-config": _DYSCO,
    "--flag-raw-chans": _FINE, "--fine-chan-flags": _FINE,
    "--time-chunk": "is not needed, memory use does not depend on the length of the data; see --max-memory",
    "--noalign": "is not supported, data are always placed by the times in the raw files",
    "--timesteps": "is not supported, use --sel-time FIRST LAST, and --flag-times for single timesteps",
    "--use-all-timesteps": "is not supported, use --sel-time FIRST LAST",
    "--array-position": "is not supported, choose between the MWA's own position and --emulate-cotter",
    "--output-smallest-contiguous-band": "is not supported, use --sel-chan-ranges",
    "--offline-gpubox-format": "is obsolete, raw files without a metadata HDU are not read",
    "-a": f"{_OBSOLETE} (cotter's antenna file)",
    "-i": f"{_OBSOLETE} (cotter's instr_config file)",
    "-d": _ARGUMENTS, "--data": _ARGUMENTS,
    "--ms-data-column-name": "is not supported, raw files are read, not measurement sets",
    "--delivery": _DELIVERY, "--delivery-format": _DELIVERY, "--expiry-days": _DELIVERY,
    "--allow-resubmit": _DELIVERY,
}
# fmt: on

TABLE: tuple[Spec, ...] = tuple(spec for group in GROUPS.values() for spec in group)


def squeeze(name: str) -> str:
    """A name without dashes and underscores, as names are compared."""
    return name.replace("-", "").replace("_", "")


def in_words(message: str) -> str:
    """A sentence of the library with the options of the command line in place of its fields.

    Examples
    --------
    >>> in_words("`max_memory_gib=4` GiB is too little (without it: `rfi=none`); see also `threads`")
    '--max-memory 4 GiB is too little (without it: --no-rfi); see also --threads'
    """
    return re.sub(r"`(\w+)(?:=([^`]*))?`", _option, message)


def _option(found: re.Match[str]) -> str:
    field, value = found[1], found[2]
    specs = [spec for spec in TABLE if spec.sets == field]
    flag = next((spec for spec in specs if spec.is_flag and str(spec.value) == value), None)
    spec = flag or next((spec for spec in specs if not spec.is_flag), specs[0] if specs else None)
    if spec is None:
        return found[0]
    return spec.canonical if spec.is_flag or value is None else f"{spec.canonical} {value}"
