"""What a node knows of its observation: node configuration and parset, pointings, synthesised beams."""

from __future__ import annotations

import binascii
import bz2
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import FormatError, InputError, MetadataError
from mwaconvert.live.amber import AmberFiles, Position

#: packets per second: `startpacket` counts them from 1970
PACKETS_PER_S = 781250
#: dispersion constant of AMBER, MHz^2 s cm^3 / pc; its times and DMs belong together with this one
K_AMBER = 4148.808
#: the Westerbork array, ITRF, m
WSRT_M = (3828630.63, 443593.39, 5064922.99)
_LARGEST_PARSET = 16 << 20
_N_SUBBANDS = 32


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Apertif with ARTS.

    Examples
    --------
    >>> Receiver().centre_mhz, round(Receiver().sefd_jy, 1)
    (1369.70092773, 99.6)
    """

    min_freq_mhz: float = 1219.70092773
    bandwidth_mhz: float = 300.0
    n_chan: int = 1536
    dt_s: float = 81.92e-6
    n_dishes: int = 8
    dish_m: float = 25.0
    tsys_k: float = 85.0
    efficiency: float = 0.60

    @property
    def centre_mhz(self) -> float:
        return self.min_freq_mhz + self.bandwidth_mhz / 2

    @property
    def top_mhz(self) -> float:
        """AMBER shifts to the centre of the highest channel."""
        return self.min_freq_mhz + self.bandwidth_mhz - self.channel_mhz

    @property
    def channel_mhz(self) -> float:
        return self.bandwidth_mhz / self.n_chan

    @property
    def gain_k_per_jy(self) -> float:
        """Collecting area over 2 k; the dishes are added in phase."""
        area_m2 = math.pi * (self.dish_m / 2) ** 2
        return self.n_dishes * self.efficiency * area_m2 * 1e-26 / (2 * 1.380649e-23)

    @property
    def sefd_jy(self) -> float:
        return self.tsys_k / self.gain_k_per_jy

    def flux_jy(self, snr: float, width_s: float) -> float:
        """Of a pulse, by the radiometer equation with two polarisations."""
        return snr * self.sefd_jy / math.sqrt(2 * self.bandwidth_mhz * 1e6 * width_s)


def delay_s(dm: float, freq_mhz: float, reference_mhz: float) -> float:
    """How much later a pulse arrives at a frequency than at the reference.

    Examples
    --------
    >>> round(delay_s(500.0, 1369.7, 1519.7), 4)
    0.2075
    """
    return K_AMBER * dm * (freq_mhz**-2 - reference_mhz**-2)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One observation as seen by a node.

    Parameters
    ----------
    task_id : its identity
    beam : compound beam of the node; None on the master
    start_s : seconds since 1970, UTC
    duration_s : seconds
    source : name
    source_beam : compound beam that the source is in
    datetimesource : its name in paths
    amber_dir, output_dir : folders of the node
    triggers_wanted : whether it is searched at all
    min_freq_mhz : lower edge of the band
    history_s : of the IQUV ring buffer
    n_tabs, n_synthesised : beams within a compound beam
    pointings_deg : compound beam -> (longitude, latitude) in `frame`
    frame : J2000 or HADEC
    """

    task_id: str
    beam: int | None
    start_s: float
    duration_s: float
    source: str
    source_beam: int | None
    datetimesource: str
    amber_dir: Path
    output_dir: Path
    triggers_wanted: bool = True
    min_freq_mhz: float = 1219.70092773
    history_s: float = 10.24
    n_tabs: int = 12
    n_synthesised: int = 71
    pointings_deg: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    frame: str = "J2000"

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s

    @property
    def is_polcal(self) -> bool:
        """Whether this beam looks at a polarisation calibrator: dumps then go by the clock, not by pulses."""
        return (
            "polcal" in self.source.lower() and self.source_beam is not None and self.source_beam == self.beam
        )

    @property
    def receiver(self) -> Receiver:
        return Receiver(min_freq_mhz=self.min_freq_mhz)

    def files(self, n_instances: int = 3, positions: Mapping[str, Position] | None = None) -> AmberFiles:
        """The candidate files of this node."""
        if self.beam is None:
            raise InputError(
                f"task {self.task_id}: the master has no candidate files; give a node's configuration"
            )
        return AmberFiles(self.amber_dir, self.beam, n_instances, positions=positions)

    def pointing_deg(self, beam: int) -> tuple[float, float] | None:
        """RA and Dec of a compound beam in the middle of the observation; None if it is not known.

        The first call in HADEC loads astropy, about a second: make it when the observation starts.
        """
        place = self.pointings_deg.get(beam)
        if place is None or self.frame == "J2000":
            return place
        return radec_of_hadec(*place, self.start_s + self.duration_s / 2)


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


_TYPES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(
        ("startpacket", "beam", "ntabs", "nsynbeams", "network_port_event_i", "network_port_event_iquv"), int
    ),
    **dict.fromkeys(("duration", "history_i", "history_iquv", "snrmin", "min_freq"), float),
    **dict.fromkeys(("proctrigger", "enable_iquv"), _flag),
    "beams": json.loads,
}


def parse_node_config(text: str, name: str = "configuration") -> dict[str, Any]:
    """`key=value` lines; a value may hold an equal sign, and a comment after it begins with `#`.

    Raises
    ------
    FormatError

    Examples
    --------
    >>> parse_node_config("beam = 3  # of 40\\ncmd=-k a=b\\n")
    {'beam': 3, 'cmd': '-k a=b'}
    """
    found: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, value = line.partition("=")
        key, value = key.strip(), value.strip()
        if not line.strip() or key.startswith("#"):
            continue
        if not equals or not key:
            raise FormatError(f"{name}, line {number}: expected key=value, found {line[:60]!r}")
        if not value.startswith("#"):
            value = value.partition("#")[0].strip()
        try:
            found[key] = _TYPES.get(key, str)(value)
        except ValueError:
            raise FormatError(f"{name}, line {number}: {key}={value[:60]} cannot be used") from None
    return found


def decode_parset(text: str, name: str = "parset") -> dict[str, str]:
    """The parset that travels in a master's configuration: bz2 in hexadecimal digits.

    Raises
    ------
    FormatError
    """
    try:
        machine = bz2.BZ2Decompressor()
        data = machine.decompress(binascii.unhexlify(text.strip()), _LARGEST_PARSET)
        if not machine.eof:
            raise ValueError
        return parse_parset(data.decode())
    except (ValueError, OSError):
        raise FormatError(
            f"{name}: `parset` does not hold a compressed parset; ask for it to be sent again"
        ) from None


def parse_parset(text: str) -> dict[str, str]:
    """Lines `key = value`; others mean nothing."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals and key.strip()}


def encode_parset(parset: Mapping[str, str]) -> str:
    """The opposite of `decode_parset`."""
    lines = "".join(f"{key} = {value}\n" for key, value in parset.items())
    return bz2.compress(lines.encode()).hex()


def read_observation(path: Path, parset: Mapping[str, str] | None = None) -> Observation:
    """Of a node's or master's configuration, `.parset` or `.yaml`, or of the parset of a whole observation.

    Parameters
    ----------
    path : the file
    parset : of the whole observation, for nodes, whose configuration lacks it. None: of the file itself, or else of
        `parset/darc_master.parset` under its master_dir, if that is there.

    Raises
    ------
    FormatError, MetadataError, InputError
    """
    config, found = read_config(path)
    return observation_of(config, found if parset is None else parset, str(path))


def read_config(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What such a file holds: keys and values of the node, and the parset of the whole observation, perhaps empty.

    Raises
    ------
    FormatError, MetadataError, InputError
    """
    parset: dict[str, str] | None = None
    if path.suffix == ".yaml":
        from mwaconvert.live.settings import read_yaml

        found = read_yaml(path)
        if not isinstance(found, Mapping):
            raise FormatError(f"{path}: expected keys and values", path=path)
        config = {str(key): value for key, value in found.items()}
    elif path.suffix == ".parset":
        text = _text(path)
        plain = parse_parset(text)
        if "startpacket" not in plain and "task.startTime" in plain:
            config, parset = _config_of(plain, str(path)), plain
        else:
            config = parse_node_config(text, str(path))
    else:
        raise InputError(f"{path}: expected a file .parset or .yaml", path=path)
    if parset is None and "parset" in config:
        parset = decode_parset(str(config["parset"]), str(path))
    if parset is None and "master_dir" in config:
        central = Path(str(config["master_dir"])) / "parset" / "darc_master.parset"
        if central.is_file():
            other = parse_node_config(_text(central), str(central))
            parset = decode_parset(str(other.get("parset", "")), str(central))
    return config, parset or {}


def _config_of(parset: Mapping[str, str], name: str) -> dict[str, Any]:
    """What a node's configuration would say of the times; it has no folders."""
    try:
        start = datetime.fromisoformat(parset["task.startTime"]).replace(tzinfo=UTC)
        duration_s = float(parset["task.duration"])
    except (KeyError, ValueError):
        raise MetadataError(
            f"{name}: expected task.startTime as 2019-05-18 23:51:13 and task.duration"
        ) from None
    source = parset.get("task.source.name", "")
    return {
        "startpacket": round(start.timestamp() * PACKETS_PER_S),
        "duration": duration_s,
        "datetimesource": f"{start:%Y-%m-%d-%H:%M:%S}.{source}",
        "amber_dir": "",
        "output_dir": "",
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{path}: is not text", path=path) from None


def observation_of(
    config: Mapping[str, Any], parset: Mapping[str, str], name: str = "configuration"
) -> Observation:
    """Put a configuration and the parset of the whole observation together.

    Raises
    ------
    MetadataError
        What is missing, or contradicts itself.
    """
    missing = [
        k for k in ("startpacket", "duration", "amber_dir", "output_dir", "datetimesource") if k not in config
    ]
    if missing:
        raise MetadataError(f"{name}: lacks {', '.join(missing)}")
    task_id = parset.get("task.taskID") or str(config.get("taskid", ""))
    if not task_id:
        raise MetadataError(
            f"{name}: no task ID, in task.taskID of the parset or taskid; nothing can be told apart"
        )
    frame = parset.get("task.directionReferenceFrame", "J2000")
    if frame not in ("J2000", "HADEC"):
        raise MetadataError(f"{name}: task.directionReferenceFrame={frame}: expected J2000 or HADEC")
    source_beam = parset.get("task.source.beam", "")
    try:
        found = Observation(
            task_id=task_id,
            beam=config.get("beam"),
            start_s=int(config["startpacket"]) / PACKETS_PER_S,
            duration_s=float(config["duration"]),
            source=parset.get("task.source.name") or str(config["datetimesource"]).partition(".")[2],
            source_beam=int(source_beam) if source_beam else None,
            datetimesource=str(config["datetimesource"]),
            amber_dir=Path(config["amber_dir"]),
            output_dir=Path(config["output_dir"]),
            triggers_wanted=bool(config.get("proctrigger", True)),
            min_freq_mhz=float(config.get("min_freq", Receiver().min_freq_mhz)),
            history_s=float(config.get("history_iquv", 10.24)),
            n_tabs=int(config.get("ntabs", 12)),
            n_synthesised=int(config.get("nsynbeams", 71)),
            pointings_deg=_pointings(parset, name),
            frame=frame,
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise MetadataError(f"{name}: {error}") from None
    _check(found, name)
    return found


def _check(found: Observation, name: str) -> None:
    """Numbers that no observation has would give triggers with wrong times or directions."""
    for key, value, low, high in (
        ("startpacket, in seconds", found.start_s, 0, 1e11),
        ("duration", found.duration_s, 0, 1e6),
        ("min_freq", found.min_freq_mhz, 0, 1e6),
        ("history_iquv", found.history_s, 0, 1e5),
        ("ntabs", found.n_tabs, 0, 1e4),
        ("nsynbeams", found.n_synthesised, 0, 1e4),
    ):
        if not low < value < high:
            raise MetadataError(f"{name}: {key}={value}: expected {low} to {high:g}")
    if found.beam is not None and not (type(found.beam) is int and 0 <= found.beam < 100):
        raise MetadataError(f"{name}: beam={found.beam!r}: expected a compound beam, 0 to 99")


_PHASE_CENTRE = re.compile(r"task\.beamSet\.0\.compoundBeam\.(\d+)\.phaseCenter")


def _pointings(parset: Mapping[str, str], name: str) -> dict[int, tuple[float, float]]:
    found = {}
    for key, value in parset.items():
        match = _PHASE_CENTRE.fullmatch(key)
        if match is None:
            continue
        words = value.strip("[] ").split(",")
        try:
            first, second = (float(word.strip().removesuffix("deg")) for word in words)
        except ValueError:
            raise MetadataError(f"{name}: {key}={value}: expected [a deg, b deg]") from None
        found[int(match[1])] = (first, second)
    return found


@lru_cache(maxsize=256)
def radec_of_hadec(ha_deg: float, dec_deg: float, time_s: float) -> tuple[float, float]:
    """ICRS direction of an hour angle and declination at Westerbork.

    Parameters
    ----------
    time_s : seconds since 1970, UTC
    """
    from astropy.coordinates import ICRS

    place = _turned(ha_deg, dec_deg, _hadec_frame(time_s), ICRS())
    return float(place.ra.deg), float(place.dec.deg)


def hadec_of_radec(ra_deg: float, dec_deg: float, time_s: float) -> tuple[float, float]:
    """The opposite of `radec_of_hadec`; hour angles from -180 to 180."""
    from astropy.coordinates import ICRS

    place = _turned(ra_deg, dec_deg, ICRS(), _hadec_frame(time_s))
    return (float(place.ha.deg) + 180) % 360 - 180, float(place.dec.deg)


def _hadec_frame(time_s: float) -> Any:
    from astropy import units
    from astropy.coordinates import EarthLocation, HADec
    from astropy.time import Time

    return HADec(
        obstime=Time(time_s, format="unix"), location=EarthLocation.from_geocentric(*WSRT_M, units.m)
    )


def _turned(first_deg: float, second_deg: float, frame: Any, other: Any) -> Any:
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy.utils import iers

    # nothing is fetched or refused while a trigger waits; what an old table is off by is far below a beam
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("auto_max_age", None),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
    ):
        return SkyCoord(first_deg * units.deg, second_deg * units.deg, frame=frame).transform_to(other)


def n_amber(text: str, name: str = "amber.conf") -> int:
    """AMBER processes, by the devices that its configuration lists.

    Raises
    ------
    FormatError

    Examples
    --------
    >>> n_amber("opencl_device=[1, 2, 3]")
    3
    """
    match = re.search(r"^\s*opencl_device\s*=\s*\[([^\]]*)\]", text, re.M)
    if match is None or not match[1].strip():
        raise FormatError(f"{name}: expected a list of opencl_device")
    return len(match[1].split(","))


def read_beam_table(path: Path, n_tabs: int = 12) -> npt.NDArray[np.int64]:
    """(n_synthesised, 32) tied-array beam of each subband, the lowest first, of each synthesised beam.

    Raises
    ------
    FormatError
    """
    try:
        table = np.loadtxt(path, dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise FormatError(f"{path}: is not a table of synthesised beams: {error}", path=path) from None
    if table.shape[1] != _N_SUBBANDS or table.min() < 0 or table.max() >= n_tabs:
        raise FormatError(
            f"{path}: expected {_N_SUBBANDS} columns of beams 0 to {n_tabs - 1}, found {table.shape[1]} of "
            f"{table.min()} to {table.max()}",
            path=path,
        )
    return table
