"""Triggers: what goes to the ring buffers and to LOFAR, byte for byte, and how it is sent."""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.live.criteria import BEFORE_S, Decision
from mwaconvert.live.observation import Observation, delay_s
from mwaconvert.live.settings import Dada
from mwaconvert.live.sources import Kind

#: a page of the ring buffer, s
PAGE_S = 1.024
#: half axes of a compound beam, arcmin
BEAM_ARCMIN = 15.0
_LONGEST_LINE = 1023


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A pulse that is worth a trigger.

    Parameters
    ----------
    id : the same for the same pulse of an observation, whoever makes the trigger
    task_id, beam, synthesised_beam : where it was seen
    name : of the known source; empty for a new one
    time_s : arrival at the top of the band, seconds since 1970
    offset_s : the same from the start of the observation
    top_mhz, centre_mhz : of the band
    dm, dm_err : of the catalogue with no error, if the source is known; else as measured, pc/cm^3
    snr, width : width in samples
    width_s, flux_jy : flux by the radiometer equation, not calibrated
    radec_deg : of the compound beam; None if it is not known
    galactic_dm : None if it is not known
    """

    id: str
    task_id: str
    beam: int
    synthesised_beam: int
    name: str
    time_s: float
    offset_s: float
    top_mhz: float
    centre_mhz: float
    dm: float
    dm_err: float
    snr: float
    width: int
    width_s: float
    flux_jy: float
    radec_deg: tuple[float, float] | None
    galactic_dm: float | None

    @property
    def centre_time_s(self) -> float:
        """Arrival in the middle of the band, later than at its top."""
        return self.time_s + delay_s(self.dm, self.centre_mhz, self.top_mhz)


def trigger_of(decision: Decision, observation: Observation, galactic_dm: float | None = None) -> Trigger:
    """What is sent of a cluster."""
    cluster, receiver = decision.cluster, observation.receiver
    is_new = decision.source.kind is Kind.NEW
    width_s = cluster.width * receiver.dt_s
    return Trigger(
        id=f"{decision.task_id}-{decision.beam:02d}-{round(decision.arrival_s * 1e3)}-{round(cluster.dm * 10)}",
        task_id=decision.task_id,
        beam=decision.beam,
        synthesised_beam=cluster.beam,
        name=decision.source.name,
        time_s=decision.arrival_s,
        offset_s=cluster.time_s,
        top_mhz=receiver.top_mhz,
        centre_mhz=receiver.centre_mhz,
        dm=cluster.dm if is_new else decision.source.dm,
        # a wrong DM smears a pulse over the band by about 1 ms per unit
        dm_err=width_s * 1e3 if is_new else 0.0,
        snr=cluster.snr,
        width=cluster.width,
        width_s=width_s,
        flux_jy=receiver.flux_jy(cluster.snr, width_s),
        radec_deg=observation.pointing_deg(decision.beam),
        galactic_dm=galactic_dm,
    )


def select(triggers: Sequence[Trigger]) -> tuple[Trigger, int]:
    """The one of several, gathered from all beams, that goes out: of known sources if there are any, the brightest.

    Returns
    -------
    trigger, compound beams among all of them
    """
    best = max(triggers, key=lambda t: (bool(t.name), t.snr))
    return best, len({t.beam for t in triggers})


def dada_event(triggers: Sequence[Trigger], start_s: float, settings: Dada | None = None) -> str:
    """Text that asks dada_dbevent to dump windows of the ring buffer.

    A line an event: start, end and, in the dialect of ten fields, arrival, each as a second and its fraction; DM, S/N,
    width, beam.

    Parameters
    ----------
    start_s : of the observation, seconds since 1970
    """
    settings = settings or Dada()
    lines = []
    for t in triggers:
        first_s = max(0.0, t.offset_s - BEFORE_S)
        length_s = BEFORE_S + max(settings.min_window_size, t.dm / 1000) + settings.delay_end
        numbers = f"{t.dm:.10g} {t.snr:.10g} {t.width} {t.synthesised_beam}"
        lines.append(_event_line(start_s, first_s, first_s + length_s, t.offset_s, numbers, settings.dialect))
    return _event_text(start_s, lines)


def polcal_events(duration_s: float, start_s: float, settings: Dada | None = None) -> list[tuple[float, str]]:
    """Dumps of an observation of a polarisation calibrator: (seconds after the start when each is due, its text).

    Dumps are whole pages, begin on a page, and end within the observation.
    """
    settings = settings or Dada()
    length_s = math.ceil(settings.polcal_dump_size / PAGE_S) * PAGE_S
    events = []
    for i in range(1, settings.polcal_max_dumps + 1):
        first_s = math.floor(i * settings.polcal_interval / PAGE_S) * PAGE_S
        if first_s + length_s <= duration_s:
            line = _event_line(start_s, first_s, first_s + length_s, first_s, "0 0 0 0", settings.dialect)
            events.append((first_s, _event_text(start_s, [line])))
    return events


def _event_line(
    start_s: float, first_s: float, last_s: float, arrival_s: float, numbers: str, dialect: Literal["8", "10"]
) -> str:
    times = (first_s, last_s, arrival_s) if dialect == "10" else (first_s, last_s)
    line = " ".join([*(_dada_time(start_s, t).replace(".", " ") for t in times), numbers])
    if len(line) > _LONGEST_LINE:
        raise InputError(f"an event line of {len(line)} bytes; dada_dbevent reads {_LONGEST_LINE}")
    return line


def _event_text(start_s: float, lines: list[str]) -> str:
    return "\n".join([f"N_EVENTS {len(lines)}", _dada_time(start_s, 0.0), *lines]) + "\n"


def _dada_time(start_s: float, offset_s: float) -> str:
    """2019-01-01-12:00:36.201; milliseconds carry over, and keep their zeros."""
    moment_ms = round(start_s * 1000) + round(offset_s * 1000)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment_ms)
    return f"{moment:%Y-%m-%d-%H:%M:%S}.{moment_ms % 1000:03d}"


def lofar_packet(
    dm: float,
    centre_time_s: float,
    centre_mhz: float,
    *,
    test: bool,
    lofar_mhz: float = 200.0,
    buffer_s: float = 5.0,
) -> bytes:
    """Eleven bytes that ask LOFAR to freeze its buffers when the pulse is in their middle.

    0x99 0xA0, seconds since 1970 (4), milliseconds (2), ten times the DM (2), T or S for test or observation; the
    highest byte first.

    Parameters
    ----------
    centre_time_s : arrival at `centre_mhz`, seconds since 1970

    Raises
    ------
    InputError
        A DM or a time that the packet cannot hold.

    Examples
    --------
    >>> lofar_packet(56.791, 1546452000.0, 1370.0, test=True).hex()
    '99a05c2cfc280109023854'
    """
    if not 0 <= dm <= 6553.5:
        raise InputError(f"DM {dm:g}: a LOFAR packet holds 0 to 6553.5")
    freeze_ms = round(1e3 * (centre_time_s + delay_s(dm, lofar_mhz, centre_mhz) + buffer_s / 2))
    seconds, milliseconds = divmod(freeze_ms, 1000)
    if not 0 <= seconds < 1 << 31:
        raise InputError(f"{seconds} s after 1970: a LOFAR packet holds times of 1970 to 2038")
    return struct.pack(">BBiHHc", 0x99, 0xA0, seconds, milliseconds, round(10 * dm), b"T" if test else b"S")


def lofar_packet_of(
    trigger: Trigger, *, test: bool, lofar_mhz: float = 200.0, buffer_s: float = 5.0
) -> bytes:
    """The packet of a trigger; errors as of `lofar_packet`."""
    return lofar_packet(
        trigger.dm,
        trigger.centre_time_s,
        trigger.centre_mhz,
        test=test,
        lofar_mhz=lofar_mhz,
        buffer_s=buffer_s,
    )


def send_tcp(host: str, port: int, data: bytes, *, timeout_s: float = 5.0) -> bytes:
    """Send bytes, say that there are no more, and take what comes back until the other side closes.

    Returns
    -------
    the answer; most receivers give none and just close

    Raises
    ------
    ResourceError
        Not reached, refused, or not closed in time.
    """
    try:
        with socket.create_connection((host, port), timeout_s) as link:
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)
            return link.recv(4096)
    except OSError as error:
        raise ResourceError(f"{host}:{port}: {_words(error)}") from error


def send_udp(host: str, port: int, data: bytes, *, timeout_s: float = 2.0) -> bytes:
    """Send one packet and wait for an answer, which a receiver need not give.

    Returns
    -------
    the answer; empty if none came

    Raises
    ------
    ResourceError
        The host is not known, or says that nobody listens there.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as link:
            link.settimeout(timeout_s)
            link.connect(address)
            link.send(data)
            try:
                return link.recv(4096)
            except TimeoutError:
                return b""
    except OSError as error:
        raise ResourceError(f"{host}:{port}: {_words(error)}") from error


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or str(error)).lower()
