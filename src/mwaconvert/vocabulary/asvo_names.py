"""Parameters of ASVO jobs: every name that they had since 2015, their values, and what cannot go together.

The names of today stand first; those of the job files of 2022 and of cotter's time follow. Names are compared
without underscores and dashes, in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mwaconvert.vocabulary import values
from mwaconvert.vocabulary.job_rows import Cell, JobKind
from mwaconvert.vocabulary.options import squeeze


@dataclass(frozen=True)
class Name:
    """A parameter.

    Attributes
    ----------
    spelling : its names, the canonical first, separated by blanks
    kinds : letters of the kinds of job that have it
    parse : reads its value, raises ValueError
    default : when it is not given
    old : names by which a job is one of cotter's time
    """

    spelling: str
    kinds: str
    parse: Callable[[str], Any]
    default: Any = None
    old: str = ""

    @property
    def canonical(self) -> str:
        return self.spelling.split()[0]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.spelling.split(), *self.old.split())


@dataclass(frozen=True)
class Read:
    """Parameters of one job after a look at their names and values.

    Attributes
    ----------
    canonical : values by canonical name, defaults filled in
    cells : where each was given
    is_old : it has names of cotter's time and none of later ones
    problems : (column, sentence)
    """

    canonical: Mapping[str, Any]
    cells: Mapping[str, Cell]
    is_old: bool
    problems: tuple[tuple[int, str], ...]


def obs_id(text: str) -> int:
    """Ten digits."""
    if not re.fullmatch(r"[0-9]{10}", text):
        raise ValueError(f"'{text}' is not an observation id of 10 digits")
    return int(text)


def boolean(text: str) -> bool:
    """true or false; 1 and 0 too."""
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"'{text}' is neither true nor false")
    return text.lower() in ("true", "1")


def inverted(text: str) -> bool:
    """For a name that says the opposite of the canonical one."""
    return not boolean(text)


def one_of(*words: str, **also: str) -> Callable[[str], str]:
    """One of some words, of which others may mean the same."""

    def parse(text: str) -> str:
        word = also.get(text.lower(), text.lower())
        if word not in words:
            raise ValueError(f"'{text}' is not one of {', '.join(words)}")
        return word

    return parse


def number(low: float, high: float, unit: str = "") -> Callable[[str], float]:
    """A number from low to high."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"'{text}' is not a number from {low:g} to {high:g}{unit}")
        return value

    return parse


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number from low to high."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(f"'{text}' is not a whole number from {low} to {high}")
        return int(text)

    return parse


def _within(parse: Callable[[str], float], high: float, unit: str) -> Callable[[str], float]:
    def checked(text: str) -> float:
        value = parse(text)
        if value > high:
            raise ValueError(f"'{text}' is above {high:g} {unit}")
        return value

    return checked


_CENTRES = one_of("phase", "pointing", "custom")
# one parameter a line or two, as a table; the limits are those of the ASVO's API v2
# fmt: off
NAMES: tuple[Name, ...] = (
    Name("obs_id", "cdvbi", obs_id),
    Name("delivery", "cdvbi", one_of("acacia", "scratch", "dug", "astro")),
    Name("delivery_format", "cdvbi", one_of("tar", "files", "zip")),
    Name("allow_resubmit", "cdvbi", boolean, False),
    Name("expiry_days", "cdvbi", number(0.01, 3650)),
    # conversion
    Name("preprocessor", "ci", one_of("cotter", "birli")),
    Name("avg_time_res", "ci", _within(values.seconds, 5400, "s"), 0.0, old="timeres"),
    Name("avg_freq_res", "ci", _within(values.kilohertz, 1280, "kHz"), 0.0, old="freqres"),
    Name("flag_edge_width", "ci", _within(values.kilohertz, 640, "kHz"), 80.0, old="edgewidth"),
    Name("output", "ci", one_of("ms", "uvfits"), "uvfits", old="conversion"),
    Name("apply_di_cal", "ci", boolean, False, old="calibrate"),
    Name("no_apply_amps", "ci", boolean, False),
    Name("allow_missing", "ci", boolean, None, old="allowmissing"),
    Name("flag_dc", "ci", boolean, None, old="flagdcchannel flagdcchannels"),
    Name("no_rfi", "ci", boolean, False, old="norfi"),
    Name("no_precomputed_flags", "ci", boolean, None, old="noprecomputedflags"),
    Name("no_geometric_delay no_geometry_delay", "ci", boolean, False, old="nogeom"),
    Name("no_cable_delay", "ci", boolean, False, old="nocablelength"),
    Name("no_digital_gains", "ci", boolean, False, old="nosbgains"),
    Name("no_passband_gains", "ci", boolean, False, old="sbpassband"),
    Name("no_stats", "ci", boolean, False, old="nostats"),
    Name("no_antenna_pruning", "ci", boolean, False, old="noantennapruning"),
    Name("no_flag_autos", "ci", boolean, False, old="noflagautos"),
    Name("no_flag_missings", "ci", boolean, False, old="noflagmissings"),
    Name("centre center phase_center", "ci", _CENTRES),
    Name("use_pointing_centre", "ci", boolean, False, old="usepcentre"),
    Name("centre_ra_deg phase_centre_ra custom_centre_ra custom_ra", "ci", values.right_ascension),
    Name("centre_dec_deg phase_centre_dec custom_centre_dec custom_dec", "ci", values.declination),
    # download
    Name("download_type", "d", one_of("vis", "vis_meta", meta="vis_meta")),
    # voltages
    Name("download_type", "v", one_of("volt")),
    Name("offset", "v", whole(0, 5400), 0),
    Name("duration", "v", whole(1, 86400)),
    Name("channel_range", "v", boolean, False),
    Name("from_channel", "v", whole(0, 255)),
    Name("to_channel", "v", whole(0, 255)),
    # beamformer
    Name("mode", "b", one_of("mwax_beamformer", "mwax_corr_bf")),
    # imaging
    Name("image_size", "i", whole(512, 8192), 3072),
    Name("pixel_scale", "i", number(10, 120, " arcsec"), 20.0),
    Name("weighting", "i", one_of("briggs", "natural", "uniform"), "briggs"),
    Name("robust", "i", number(-2, 2), -0.5),
    Name("clean_iterations", "i", whole(0, 1_000_000), 100_000),
    Name("abs_threshold clean_threshold", "i", number(0, 10, " Jy"), 0.001),
    Name("auto_threshold", "i", number(0.1, 5), 0.5),
    Name("nmiter", "i", whole(1, 500), 10),
    Name("mgain", "i", number(0.1, 1), 0.8),
    Name("auto_mask", "i", number(2, 512), 3.0),
    Name("wstack_nwlayers nwlayers", "i", whole(32, 512)),
    Name("multiscale", "i", boolean, False),
    Name("uvw_min", "i", number(0, 1e6, " wavelengths"), 75.0),
    Name("channels_out", "i", whole(1, 768), 4),
    Name("join_channels", "i", boolean, True),
    Name("pol", "i", one_of("xx", "yy", "xxyy"), "xxyy"),
    Name("output_mode", "i", one_of("fits", "all_fits", "all_files"), "fits"),
)
# fmt: on

#: a name that says the opposite of a canonical one
_OPPOSITES = {"noflagdc": "flag_dc", "noflagdcchannels": "flag_dc", "noflagdcchannel": "flag_dc"}
#: names that jobs had before 2015 and after 2022 alike
_AGELESS = frozenset({"preprocessor", *(name.canonical for name in NAMES if name.kinds == "cdvbi")})


def _table(kind: JobKind) -> dict[str, tuple[Name, bool]]:
    """Parameters of a kind of job by squeezed name, and whether the name says the opposite."""
    mine = [name for name in NAMES if kind in name.kinds]
    table = {squeeze(word): (name, False) for name in mine for word in name.names}
    opposites = {
        word: (name, True)
        for word, canonical in _OPPOSITES.items()
        for name in mine
        if name.canonical == canonical
    }
    return table | opposites


_TABLES = {kind: _table(kind) for kind in JobKind}
_ALL = {word for table in _TABLES.values() for word in table}


def read_params(kind: JobKind, cells: Sequence[Cell]) -> Read:
    """Look up names and read values, then check what must and what cannot go together.

    Returns
    -------
    with all problems; the canonical parameters are whole only if there are none
    """
    canonical: dict[str, Any] = {}
    given: dict[str, Cell] = {}
    problems: list[tuple[int, str]] = []
    eras: set[bool] = set()
    for cell in cells:
        word = squeeze(cell.key.lower())
        if word not in _TABLES[kind]:
            problems.append((cell.column, _unknown(kind, cell.key)))
            continue
        name, opposite = _TABLES[kind][word]
        if name.canonical not in _AGELESS:
            eras.add(not opposite and word in {squeeze(old) for old in name.old.split()})
        try:
            value = inverted(cell.value) if opposite else name.parse(cell.value)
        except ValueError as error:
            problems.append((cell.column, f"{cell.key}: {error}"))
            continue
        if name.canonical in canonical and canonical[name.canonical] != value:
            other = given[name.canonical]
            problems.append(
                (cell.column, f"{cell.key}={cell.value} contradicts {other.key}={other.value}: give one")
            )
            continue
        canonical[name.canonical], given[name.canonical] = value, cell
    defaults = {name.canonical: name.default for name, _ in _TABLES[kind].values()}
    if not problems:
        problems += _check(kind, canonical, given)
    return Read({**defaults, **canonical}, given, eras == {True}, tuple(problems))


def _unknown(kind: JobKind, key: str) -> str:
    word = squeeze(key.lower())
    what = f"{kind.name.lower()} jobs (job_type={kind})"
    if word in _ALL:
        return f"{what} have no parameter {key}"
    spelled = {squeeze(spelled): spelled for name in NAMES for spelled in name.names if kind in name.kinds}
    close = get_close_matches(word, spelled, 1, 0.75)
    return f"there is no parameter {key} of {what}" + (
        f"; did you mean {spelled[close[0]]}?" if close else ""
    )


def _check(kind: JobKind, params: Mapping[str, Any], cells: Mapping[str, Cell]) -> list[tuple[int, str]]:
    """What is missing, and what excludes each other."""
    found: list[tuple[int, str]] = []

    def refuse(name: str, sentence: str) -> None:
        found.append((cells[name].column if name in cells else 1, sentence))

    for name in {JobKind.DOWNLOAD: ("download_type",), JobKind.VOLTAGES: ("duration",)}.get(kind, ()):
        if name not in params:
            refuse(name, f"{name} is missing")
    if "obs_id" not in params:
        refuse("obs_id", "obs_id is missing")
    if kind in (JobKind.CONVERSION, JobKind.IMAGING):
        _check_centre(params, refuse)
        if params.get("no_apply_amps") and not params.get("apply_di_cal"):
            refuse(
                "no_apply_amps", "no_apply_amps is about calibration solutions: it needs apply_di_cal=true"
            )
    if kind is JobKind.VOLTAGES:
        _check_voltages(params, refuse)
    elif params.get("delivery_format") == "files" and params.get("delivery", "acacia") == "acacia":
        refuse("delivery_format", "delivery_format=files is for scratch and dug; acacia holds archives")
    return found


def _check_centre(params: Mapping[str, Any], refuse: Callable[[str, str], None]) -> None:
    ra, dec, centre = "centre_ra_deg" in params, "centre_dec_deg" in params, params.get("centre")
    pointing = params.get("use_pointing_centre") or centre == "pointing"
    one = "centre_ra_deg" if ra else "centre_dec_deg"
    if ra != dec:
        refuse(one, "a custom phase centre needs both its right ascension and its declination")
    if centre == "custom" and not (ra or dec):
        refuse("centre", "centre=custom needs phase_centre_ra and phase_centre_dec")
    if (ra or dec) and (pointing or centre == "phase"):
        refuse(one, "a custom phase centre and another centre were given: give one")
    if params.get("use_pointing_centre") and centre not in (None, "pointing"):
        refuse("use_pointing_centre", f"usepcentre=true and centre={centre} contradict each other: give one")
    if params.get("no_geometric_delay") and (pointing or ra or dec):
        refuse(
            "no_geometric_delay", "without geometric correction (nogeom) there is no phase centre to choose"
        )


def _check_voltages(params: Mapping[str, Any], refuse: Callable[[str, str], None]) -> None:
    if params.get("delivery", "scratch") not in ("scratch", "astro"):
        refuse("delivery", f"voltages are delivered to scratch only, not to {params['delivery']}")
    if params.get("delivery_format", "files") != "files":
        refuse("delivery_format", "voltages are delivered as files only")
    first, last = params.get("from_channel"), params.get("to_channel")
    if (first is None) != (last is None):
        refuse("from_channel" if last is None else "to_channel", "from_channel and to_channel go together")
    elif params.get("channel_range") and first is None:
        refuse("channel_range", "channel_range=true needs from_channel and to_channel")
    elif first is not None and last is not None and first > last:
        refuse("to_channel", f"the channels run backwards, from {first} to {last}")
