"""VOEvents of bursts: made, updated, taken back; and sent to a broker by VTP.

Sources: VOEvent 2.0 and its schema; the VOEvent standard for FRBs (parameters and groups); VOEvent Transport Protocol
2.0 (four bytes of length, the highest first, then XML; the answer has the role ack or nak).
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, TypeAlias

from mwaconvert.constants import SECONDS_PER_DAY, UNIX_EPOCH_MJD
from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.extras import need
from mwaconvert.live.observation import Receiver, hadec_of_radec
from mwaconvert.live.triggers import BEAM_ARCMIN, Trigger

_NAMESPACE = "http://www.ivoa.net/xml/VOEvent/v2.0"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_STREAM = "ivo://nl.astron.apertif/alert"
#: name, value, unit, UCD
_Parameter: TypeAlias = tuple[str, float | str | int, str, str]
#: answers are a few hundred bytes
_LARGEST_ANSWER = 1 << 16


class Cite(Enum):
    """How an event speaks of an earlier one; the value is the word of the standard."""

    FOLLOWUP = "followup"
    UPDATE = "supersedes"
    RETRACTION = "retraction"


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who speaks."""

    ivorn: str = "ivo://nl.astron"
    title: str = "ARTS FRB alert system"
    short_name: str = "ALERT"
    contact_name: str = ""
    contact_email: str = ""


@dataclass(frozen=True, kw_only=True)
class VOEvent:
    """An event as it is sent.

    Parameters
    ----------
    ivorn : its name; a broker takes one event of a name
    xml : the document
    """

    ivorn: str
    xml: bytes


def burst_event(
    trigger: Trigger,
    *,
    test: bool,
    now_s: float,
    receiver: Receiver | None = None,
    author: Author | None = None,
    cites: tuple[Cite, str] | None = None,
    importance: float = 0.1,
    standard_names: bool = True,
) -> VOEvent:
    """The event of a burst, or what became of an event that is cited.

    Parameters
    ----------
    now_s : seconds since 1970
    receiver : of the trigger; None: Apertif
    cites : how, and the ivorn of the earlier event
    importance : 0 to 1
    standard_names : dm_error; False: dm_err, as ARTS sent it until 2022

    Raises
    ------
    InputError
        The direction is not known: nobody could look there.
    """
    if trigger.radec_deg is None:
        raise InputError(f"{trigger.id}: the direction of compound beam {trigger.beam} is not known")
    receiver = receiver or Receiver()
    ivorn = burst_ivorn(trigger, now_s if cites else None)
    top = _document(ivorn, test=test, now_s=now_s, author=author or Author())
    what = _add(top, "What")
    for name, params in _groups(trigger, receiver, trigger.radec_deg, standard_names=standard_names).items():
        group = _add(what, "Group", name=name)
        for key, value, unit, ucd in params:
            _param(group, key, value, unit, ucd)
    _where_when(top, trigger, *trigger.radec_deg)
    why = _add(top, "Why", importance=f"{importance:g}")
    _add(why, "Name", trigger.name or _designation(trigger))
    _add(why, "Concept", "process.variation.burst;em.radio")
    if cites is not None:
        _cite(top, *cites)
    return VOEvent(ivorn=ivorn, xml=_text(top))


def retraction(
    ivorns: Sequence[str], reason: str, *, test: bool, now_s: float, author: Author | None = None
) -> VOEvent:
    """The event that takes others back.

    Parameters
    ----------
    ivorns : of the event that was wrong, and of its updates
    reason : in words, for those who received it
    """
    own = f"{ivorns[0]}/retraction/{_mjd(now_s)}"
    top = _document(own, test=test, now_s=now_s, author=author or Author())
    why = _add(top, "Why", importance="0")
    _add(why, "Description", reason)
    _cite(top, Cite.RETRACTION, *ivorns)
    return VOEvent(ivorn=own, xml=_text(top))


def burst_ivorn(trigger: Trigger, updated_s: float | None = None) -> str:
    """Name of an event: date and time of the burst, beam, MJD to 0.1 ms; of an update, also when it was made."""
    name = f"{_STREAM}#{_designation(trigger)}/{_mjd(trigger.centre_time_s)}/CB{trigger.beam:02d}"
    return name if updated_s is None else f"{name}/update/{_mjd(updated_s)}"


def _designation(trigger: Trigger) -> str:
    return f"FRB{_moment(trigger.centre_time_s):%y%m%d%H%M}"


def _moment(unix_s: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(unix_s * 1e6))


def _mjd(unix_s: float) -> str:
    return f"{unix_s / SECONDS_PER_DAY + UNIX_EPOCH_MJD:.9f}"


def _groups(
    trigger: Trigger, receiver: Receiver, radec_deg: tuple[float, float], *, standard_names: bool
) -> dict[str, list[_Parameter]]:
    """Parameters by group."""
    ellipse = "instr.beam;pos.errorEllipse"
    longitude_deg, latitude_deg = _galactic(*radec_deg)
    observatory: list[_Parameter] = [
        ("beam_semi-major_axis", BEAM_ARCMIN, "MM", f"{ellipse};phys.angSize.smajAxis"),
        ("beam_semi-minor_axis", BEAM_ARCMIN, "MM", f"{ellipse};phys.angSize.sminAxis"),
        ("beam_rotation_angle", _rotation(radec_deg, trigger.time_s), "Degrees", f"{ellipse};instr.offset"),
        ("sampling_time", receiver.dt_s * 1e3, "ms", "time.resolution"),
        ("bandwidth", receiver.bandwidth_mhz, "MHz", "instr.bandwidth"),
        ("nchan", receiver.n_chan, "None", "meta.number;em.freq;em.bin"),
        ("centre_frequency", trigger.centre_mhz, "MHz", "em.freq;instr"),
        ("npol", 2, "None", ""),
        ("bits_per_sample", 8, "None", ""),
        ("gain", receiver.gain_k_per_jy, "K/Jy", ""),
        ("tsys", receiver.tsys_k, "K", "phot.antennaTemp"),
        ("backend", "ARTS", "", ""),
    ]
    event: list[_Parameter] = [
        ("dm", trigger.dm, "pc/cm^3", "phys.dispMeasure"),
        (
            "dm_error" if standard_names else "dm_err",
            trigger.dm_err,
            "pc/cm^3",
            "stat.error;phys.dispMeasure",
        ),
        ("width", trigger.width_s * 1e3, "ms", "time.duration;src.var.pulse"),
        ("snr", trigger.snr, "None", "stat.snr"),
        ("flux", trigger.flux_jy, "Jy", "phot.flux"),
        ("gl", longitude_deg, "Degrees", "pos.galactic.lon"),
        ("gb", latitude_deg, "Degrees", "pos.galactic.lat"),
    ]
    advanced: list[_Parameter] = [("redshift_inferred", trigger.dm / 1000, "None", "src.redshift")]
    if trigger.galactic_dm is not None:
        advanced += [
            ("MW_dm_limit", trigger.galactic_dm, "pc/cm^3", ""),
            ("galactic_electron_model", "YMW16", "", ""),
        ]
    return {
        "observatory parameters": observatory,
        "event parameters": event,
        "advanced parameters": advanced,
    }


def _galactic(ra_deg: float, dec_deg: float) -> tuple[float, float]:
    from astropy import units
    from astropy.coordinates import SkyCoord

    place = SkyCoord(ra_deg * units.deg, dec_deg * units.deg).galactic
    return float(place.l.deg), float(place.b.deg)


def _rotation(radec_deg: tuple[float, float], time_s: float) -> float:
    return rotation_deg(*hadec_of_radec(*radec_deg, time_s))


def rotation_deg(ha_deg: float, dec_deg: float) -> float:
    """Position angle of synthesised beams, which lie along an east-west array."""
    ha, dec = math.radians(ha_deg), math.radians(dec_deg)
    return math.degrees(math.atan2(math.sin(dec) * math.sin(ha), math.cos(ha)))


def _document(ivorn: str, *, test: bool, now_s: float, author: Author) -> Any:
    etree = need("lxml.etree", "live", "writing VOEvents")
    top = etree.Element(f"{{{_NAMESPACE}}}VOEvent", nsmap={"voe": _NAMESPACE, "xsi": _XSI})
    top.set(f"{{{_XSI}}}schemaLocation", f"{_NAMESPACE} {_NAMESPACE.replace('/v2.0', '')}/VOEvent-v2.0.xsd")
    for key, value in (("version", "2.0"), ("role", "test" if test else "observation"), ("ivorn", ivorn)):
        top.set(key, value)
    who = _add(top, "Who")
    _add(who, "AuthorIVORN", author.ivorn)
    _add(who, "Date", f"{_moment(now_s):%Y-%m-%dT%H:%M:%S}")
    person = _add(who, "Author")
    for name, value in (
        ("title", author.title),
        ("shortName", author.short_name),
        ("contactName", author.contact_name),
        ("contactEmail", author.contact_email),
    ):
        if value:
            _add(person, name, value)
    return top


def _add(parent: Any, tag: str, text: str | None = None, **attributes: str) -> Any:
    element = parent.makeelement(tag, attributes)
    try:
        element.text = text
    except ValueError:
        raise InputError(f"{tag}: {text!r} cannot stand in an XML document") from None
    parent.append(element)
    return element


def _param(group: Any, name: str, value: float | str | int, unit: str, ucd: str) -> None:
    facts = {"name": name, "value": value if isinstance(value, str) else f"{value:.12g}"}
    if unit:
        facts["unit"] = unit
    if ucd:
        facts["ucd"] = ucd
    if not isinstance(value, str):
        facts["dataType"] = "int" if isinstance(value, int) else "float"
    _add(group, "Param", **facts)


def _where_when(top: Any, trigger: Trigger, ra_deg: float, dec_deg: float) -> None:
    location = _add(_add(top, "WhereWhen"), "ObsDataLocation")
    _add(location, "ObservatoryLocation", id="WSRT")
    place = _add(location, "ObservationLocation")
    _add(place, "AstroCoordSystem", id="UTC-FK5-GEO")
    coords = _add(place, "AstroCoords", coord_system_id="UTC-FK5-GEO")
    instant = _add(_add(coords, "Time", unit="s"), "TimeInstant")
    _add(instant, "ISOTime", f"{_moment(trigger.centre_time_s):%Y-%m-%dT%H:%M:%S.%f}")
    position = _add(coords, "Position2D", unit="deg")
    _add(position, "Name1", "RA")
    _add(position, "Name2", "Dec")
    value = _add(position, "Value2")
    _add(value, "C1", f"{ra_deg:.10g}")
    _add(value, "C2", f"{dec_deg:.10g}")
    _add(position, "Error2Radius", f"{BEAM_ARCMIN / 60:g}")


def _cite(top: Any, how: Cite, *ivorns: str) -> None:
    citations = _add(top, "Citations")
    for ivorn in ivorns:
        _add(citations, "EventIVORN", ivorn, cite=how.value)


def _text(top: Any) -> bytes:
    etree = need("lxml.etree", "live", "writing VOEvents")
    return bytes(etree.tostring(top, xml_declaration=True, encoding="UTF-8", pretty_print=True))


@dataclass(frozen=True)
class Answer:
    """Of a broker.

    Parameters
    ----------
    accepted : ack; else nak
    text : the reason, if one was given
    tries : connections that it took
    """

    accepted: bool
    text: str = ""
    tries: int = 1


def send_voevent(
    host: str,
    port: int,
    event: VOEvent,
    *,
    timeout_s: float = 20.0,
    tries: int = 3,
    wait_s: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Send an event to the authors' port of a broker, and take its answer.

    A broker that is not reached or does not answer is tried again, which is safe: it takes an event of a name once.
    A refusal is final.

    Parameters
    ----------
    timeout_s : of one try, all told
    wait_s : before the second try; doubled before each after that

    Raises
    ------
    ResourceError
        No answer in any try.
    """
    problem = ""
    for n in range(1, tries + 1):
        try:
            answer = _exchange(host, port, event.xml, time.monotonic() + timeout_s)
        except (OSError, FormatError) as error:
            problem = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            if n < tries:
                sleep(wait_s * 2 ** (n - 1))
        else:
            return Answer(answer.accepted, answer.text, n)
    raise ResourceError(f"{host}:{port}: {problem} ({tries} tries); {event.ivorn} may not have been sent")


def _exchange(host: str, port: int, xml: bytes, until: float) -> Answer:
    with socket.create_connection((host, port), _left(until)) as link:
        link.sendall(struct.pack(">I", len(xml)) + xml)
        while True:
            (length,) = struct.unpack(">I", _receive(link, 4, until))
            if length > _LARGEST_ANSWER:
                raise FormatError(f"an answer of {length} bytes; this is not a broker of VOEvents")
            answer = read_answer(_receive(link, length, until))
            if answer is not None:
                return answer


def _receive(link: socket.socket, n: int, until: float) -> bytes:
    data = b""
    while len(data) < n:
        link.settimeout(_left(until))
        more = link.recv(n - len(data))
        if not more:
            raise FormatError("the broker hung up without an answer")
        data += more
    return data


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def read_answer(data: bytes) -> Answer | None:
    """Of a Transport document; None for one that is not an answer, as iamalive.

    Raises
    ------
    FormatError
    """
    etree = need("lxml.etree", "live", "reading answers of brokers")
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False)
    try:
        top = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise FormatError("the broker's answer is no XML") from None
    if etree.QName(top).localname != "Transport":
        raise FormatError(f"expected an answer of a broker, found {etree.QName(top).localname}")
    role = top.get("role", "")
    words = [e.text or "" for e in top.iter("Result", "{*}Result")]
    return Answer(role == "ack", " ".join(words).strip()) if role in ("ack", "nak") else None
