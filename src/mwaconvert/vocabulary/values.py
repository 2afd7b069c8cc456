"""Reading the values of command line options: units, angles, lists. Every function raises ValueError with
a sentence that says what was expected.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"({_NUMBER})\s*([A-Za-zµ]*)")
_SEXAGESIMAL = re.compile(
    r"([+-]?)(\d+)(?:([hd:°]|\s+))(\d+)(?:[m:'′]|\s+)(?:(\d+(?:\.\d*)?)[s\"″]?)?", re.IGNORECASE
)
_LIST = re.compile(r"\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*,?")

#: words for a phase centre
CENTRES = ("phase", "pointing", "custom")

_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "min": 60.0}
_KILOHERTZ = {"": 1.0, "hz": 1e-3, "khz": 1.0, "mhz": 1e3}
_GIBIBYTES = {
    "": 1.0,
    "g": 1.0,
    "gib": 1.0,
    "gb": 1e9 / 2**30,
    "m": 1 / 1024,
    "mib": 1 / 1024,
    "mb": 1e6 / 2**30,
    "t": 1024.0,
    "tib": 1024.0,
    "tb": 1e12 / 2**30,
}
#: more are a slip of the finger
MOST_THREADS = 1024
_PASSBANDS = {
    "auto": "auto",
    "none": "none",
    "jake": "jake",
    "jake_oversampled": "jake_oversampled",
    "cotter": "cotter",
    "cotter2014": "cotter",
}


def _quantity(text: str, units: dict[str, float], example: str) -> float:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2].lower() not in units:
        kind = "a number with an optional unit" if len(units) > 1 else "a number"
        raise ValueError(f"'{text}' is not {kind} ({example})")
    value = float(match[1])
    # dividing by 1000 rounds correctly where multiplying by 0.001 does not: 500 ms is 0.5 s
    scale = units[match[2].lower()]
    value = value / round(1 / scale) if scale in (1e-3, 1 / 1024) else value * scale
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"'{text}' is not a finite number of at least 0")
    return value


def seconds(text: str) -> float:
    """8, 8s, 500ms, 2min -> seconds."""
    return _quantity(text, _SECONDS, "8, 8s, 500ms")


def kilohertz(text: str) -> float:
    """40, 40kHz, 0.04MHz, 40000Hz -> kHz."""
    return _quantity(text, _KILOHERTZ, "40, 40kHz, 0.04MHz")


def gibibytes(text: str) -> float:
    """4, 4GiB, 4GB, 512MB -> GiB."""
    value = _quantity(text, _GIBIBYTES, "4, 4GiB, 512MB")
    if value == 0:
        raise ValueError("a memory limit of 0 leaves nothing to work with")
    return value


def signed_seconds(text: str) -> float:
    """DUT1 and the like: seconds of either sign."""
    sign, number = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    return sign * seconds(number)


def time_average(text: str) -> dict[str, float | int]:
    """A width with a unit (8s) or a bare number of timesteps (4) -> the field it sets."""
    return {"time_factor": positive(text)} if text.strip().isdigit() else {"time_res_s": seconds(text)}


def freq_average(text: str) -> dict[str, float | int]:
    """A width with a unit (80kHz) or a bare number of channels (4) -> the field it sets."""
    return {"freq_factor": positive(text)} if text.strip().isdigit() else {"freq_res_khz": kilohertz(text)}


def count(text: str) -> int:
    """An integer of at least 0."""
    if not re.fullmatch(r"\d+", text.strip()):
        raise ValueError(f"'{text}' is not a whole number of at least 0")
    return int(text)


def positive(text: str) -> int:
    """An integer of at least 1."""
    value = count(text)
    if value == 0:
        raise ValueError("0 is not a whole number of at least 1")
    return value


def threads(text: str) -> int:
    """A number of threads; 0 stands for all cores."""
    value = count(text)
    if value > MOST_THREADS:
        raise ValueError(f"{value} is not a number of threads from 0 (all cores) to {MOST_THREADS}")
    return value


def first_last(first: str, last: str) -> tuple[int, int]:
    """Two indices, the second not below the first."""
    pair = count(first), count(last)
    if pair[0] > pair[1]:
        raise ValueError(f"the range {first} {last} runs backwards")
    return pair


def direction(ra: str, dec: str) -> tuple[float, float]:
    """Right ascension and declination -> degrees."""
    return right_ascension(ra), declination(dec)


def two_angles(text: str) -> tuple[str, str] | None:
    """The two angles that one word holds: 12h30m,-27d, "12:30:00 -27:00:00" or 187.5-27; None if it holds one."""
    signed = re.fullmatch(r"\s*([^,]*?[^,\seE])[\s,]*([+-].+?)\s*", text)
    if signed:
        return signed[1], signed[2]
    parts = [part for part in re.split(r"[,\s]+", text) if part]
    return (parts[0], parts[1]) if len(parts) == 2 else None


def right_ascension(text: str) -> float:
    """Degrees (187.5), hours (12.5h, 12h30m00s or 12:30:00) or 187d30m00s -> degrees in [0, 360)."""
    value = _angle(text, colon_is_hours=True, example="187.5, 12h30m00s or 12:30:00")
    if not -180 <= value <= 360:
        raise ValueError(f"right ascension '{text}' is {value:g} degrees, outside 0 to 360")
    return value % 360.0


def declination(text: str) -> float:
    """Degrees (-27.5) or -27d30m00s or -27:30:00 -> degrees in [-90, 90]."""
    value = _angle(text, colon_is_hours=False, example="-27.5, -27d30m00s or -27:30:00")
    if not -90 <= value <= 90:
        raise ValueError(f"declination '{text}' is {value:g} degrees, outside -90 to 90")
    return value


def _angle(text: str, *, colon_is_hours: bool, example: str) -> float:
    text = text.strip()
    degrees = re.fullmatch(rf"({_NUMBER})\s*(?:d|deg|°)?", text)
    if degrees:
        value = float(degrees[1])
        if math.isfinite(value):
            return value
    hours = re.fullmatch(rf"({_NUMBER})\s*h", text, re.IGNORECASE)
    if hours and colon_is_hours and math.isfinite(float(hours[1])):
        return float(hours[1]) * 15
    match = _SEXAGESIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not an angle; write it as {example}")
    sign, whole, unit, minutes, sec = match.groups()
    if int(minutes) >= 60 or float(sec or 0) >= 60:
        raise ValueError(f"'{text}' is not an angle: minutes and seconds must be below 60")
    if unit in "hH" and not colon_is_hours:
        raise ValueError(f"declination '{text}' is in hours; write it as {example}")
    value = int(whole) + int(minutes) / 60 + float(sec or 0) / 3600
    if unit in "hH" or (colon_is_hours and unit not in "dD°"):
        value *= 15
    return -value if sign == "-" else value


def is_list(text: str) -> bool:
    """Whether a word can only be a list of numbers: 1 or 1,2,5-7."""
    return _LIST.fullmatch(text) is not None


def ranges(text: str) -> tuple[tuple[int, int], ...]:
    """0-11,13 -> ((0, 11), (13, 13))."""
    if not is_list(text):
        raise ValueError(f"'{text}' is not a list of numbers and ranges such as 1,2,5-7")
    pairs = []
    for part in text.strip(",").split(","):
        first, _, last = part.partition("-")
        pairs.append((int(first), int(last or first)))
        if pairs[-1][0] > pairs[-1][1]:
            raise ValueError(f"the range '{part}' runs backwards")
    return tuple(pairs)


def indices(text: str) -> tuple[int, ...]:
    """1,2,5-7 -> (1, 2, 5, 6, 7)."""
    return tuple(i for first, last in ranges(text) for i in range(first, last + 1))


def antennas(text: str) -> tuple[int | str, ...]:
    """1,5-7,Tile011 -> (1, 5, 6, 7, 'Tile011'): indices and tile names."""
    found: list[int | str] = []
    for part in filter(None, text.split(",")):
        found.extend(indices(part) if is_list(part) else [part])
    if not found:
        raise ValueError(f"'{text}' names no antenna")
    return tuple(found)


def passband(text: str) -> str:
    """Name of a passband set, as Birli or hyperdrive spell it."""
    name = text.lower().replace("-", "_")
    if name not in _PASSBANDS:
        raise ValueError(
            f"'{text}' is not a passband set; choose from auto, none, jake, jake_oversampled, cotter"
        )
    return _PASSBANDS[name]


def unit_passband(text: str) -> str:
    """The ASVO key sbpassband: true asks for a table of ones, false for the usual one."""
    chosen = {"true": "none", "1": "none", "false": "auto", "0": "auto"}.get(text.lower())
    if chosen is None:
        raise ValueError(
            f"a passband table from a file ('{text}') is not supported; use --passband-gains with the name of"
            " a set, or --passband-gains none"
        )
    return chosen


def geometry(text: str) -> str:
    """standard or exact."""
    if text not in ("standard", "exact"):
        raise ValueError(f"'{text}' is not a geometry; choose from standard, exact")
    return text


def interpolation(text: str) -> str:
    """nearest or linear."""
    if text not in ("nearest", "linear"):
        raise ValueError(f"'{text}' is not a way to interpolate; choose from nearest, linear")
    return text


def preset(text: str) -> str:
    """birli or cotter."""
    if text.lower() not in ("birli", "cotter"):
        raise ValueError(f"'{text}' is not a preset; choose from birli, cotter")
    return text.lower()


def centre(text: str) -> str:
    """The ASVO key centre."""
    if text.lower() in ("beam", "tile", "tile-beam", "tracking"):
        raise ValueError(
            "the tile beam is not followed: it stands still in azimuth and elevation, and an output has one phase "
            "centre; pointing takes its direction at one moment"
        )
    if text.lower() not in CENTRES:
        raise ValueError(f"'{text}' is not a centre; choose from phase, pointing, custom")
    return text.lower()


def output(text: str) -> Path:
    """A file to write; its suffix says which kind. The bare words uvfits and ms (ASVO) stand for the
    default name of that kind.
    """
    path = Path(text)
    if text not in ("uvfits", "ms") and path.suffix.lower() not in (".uvfits", ".ms", ".uvh5", ".mwaf"):
        raise ValueError(
            f"'{text}' has no suffix that says what to write; end the name in .uvfits, .ms, .uvh5 or .mwaf"
        )
    return path


def uvfits_output(text: str) -> Path:
    """A file name ending in .uvfits."""
    if Path(text).suffix.lower() != ".uvfits":
        raise ValueError(f"'{text}' must end in .uvfits")
    return Path(text)


def ms_output(text: str) -> Path:
    """A directory name ending in .ms."""
    if Path(text).suffix.lower() != ".ms":
        raise ValueError(f"'{text}' must end in .ms")
    return Path(text)


def flag_output(text: str) -> Path:
    """A file name ending in .mwaf."""
    if Path(text).suffix.lower() != ".mwaf":
        raise ValueError(f"'{text}' must end in .mwaf")
    return Path(text)


def precomputed_flags(text: str) -> str:
    """auto, only or ignore."""
    if text not in ("auto", "only", "ignore"):
        raise ValueError(f"'{text}' is not a use of flag files; choose from auto, only, ignore")
    return text


def compression(text: str) -> str:
    """none or dysco."""
    if text.lower() not in ("none", "dysco"):
        raise ValueError(f"'{text}' is not a compression; choose from none, dysco")
    return text.lower()


def output_kind(text: str) -> Path:
    """The ASVO keys conversion and output: uvfits or ms."""
    if text.lower() not in ("uvfits", "ms"):
        raise ValueError(f"'{text}' is not an output kind; choose from uvfits, ms")
    return Path(text.lower())


def percent(text: str) -> float:
    """A percentage above 0 and up to 100."""
    value = _quantity(text.removesuffix("%"), {"": 1.0}, "90")
    if not 0 < value <= 100:
        raise ValueError(f"'{text}' is not a percentage above 0 and up to 100")
    return value


def qa_file(text: str) -> Path:
    """A picture: .png or .html."""
    if Path(text).suffix not in (".png", ".html"):
        raise ValueError(f"'{text}' must end in .png or .html")
    return Path(text)


def rfi(text: str) -> str:
    """Who looks for RFI."""
    if text not in ("builtin", "aoflagger", "none"):
        raise ValueError(f"'{text}' is not a detection; choose from builtin, aoflagger, none")
    return text


def strategy_file(text: str) -> str:
    """A strategy: .toml, or .lua for AOFlagger."""
    if Path(text).suffix not in (".toml", ".lua"):
        raise ValueError(f"'{text}' must end in .toml, or in .lua for AOFlagger")
    return text


def sensitivity(text: str) -> float:
    """A positive number."""
    value = _quantity(text, {"": 1.0}, "1.5")
    if value == 0:
        raise ValueError("0 is not a number above 0")
    return value
