"""One event that is marked as a test, for each way out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mwaconvert.live.kafka import open_producer, send_kafka
from mwaconvert.live.observation import Receiver
from mwaconvert.live.triggers import Trigger, dada_event, lofar_packet_of, send_tcp, send_udp
from mwaconvert.live.voevent import burst_event, send_voevent


class Target(Enum):
    """Who is tried; the value is the name of its protocol."""

    VOEVENT = "VTP"
    LOFAR = "UDP"
    DADA = "TCP"


@dataclass(frozen=True)
class Drill:
    """What was sent, and what came back. `answered`: something came back that is not a refusal."""

    sent: str
    answer: str
    answered: bool


def drill(target: Target, host: str, port: int, *, now_s: float, timeout_s: float = 5.0) -> Drill:
    """Send one test.

    A VOEvent has the role test and names no source; a LOFAR packet ends in T; an event for dada_dbevent has a DM, S/N,
    width and beam of zero, as it knows no other mark, and is dumped like any other. dada_dbevent answers by closing
    the connection.

    Parameters
    ----------
    now_s : seconds since 1970

    Raises
    ------
    ResourceError
        Not reached, or refused by the host.
    """
    trigger = _test_of(now_s)
    match target:
        case Target.VOEVENT:
            event = burst_event(trigger, test=True, now_s=now_s, importance=0.0)
            reply = send_voevent(host, port, event, timeout_s=timeout_s, tries=1)
            word = "ack" if reply.accepted else "nak"
            return Drill(event.xml.decode(), f"{word} {reply.text}".strip(), reply.accepted)
        case Target.LOFAR:
            packet = lofar_packet_of(trigger, test=True)
            data = send_udp(host, port, packet, timeout_s=timeout_s)
            return Drill(packet.hex(), _shown(data) or "none, and UDP promises none", bool(data))
        case Target.DADA:
            text = dada_event([trigger], now_s)
            data = send_tcp(host, port, text.encode(), timeout_s=timeout_s)
            return Drill(text, _shown(data) or "taken, connection closed", answered=True)


def drill_kafka(
    servers: str, topic: str, options: Path | None = None, *, now_s: float, timeout_s: float = 5.0
) -> Drill:
    """Send one test to a topic of Kafka: a VOEvent with the role test.

    Parameters
    ----------
    servers : HOST:PORT, with commas between several
    options : a file (YAML) of options of librdkafka

    Raises
    ------
    Error
        Not reached or refused; options that cannot be used.
    """
    event = burst_event(_test_of(now_s), test=True, now_s=now_s, importance=0.0)
    producer = open_producer(servers, options, timeout_s=timeout_s)
    answer = send_kafka(producer, topic, event, timeout_s=timeout_s)
    return Drill(event.xml.decode(), answer, answered=True)


def _test_of(now_s: float) -> Trigger:
    receiver = Receiver()
    return Trigger(
        id="test",
        task_id="test",
        beam=0,
        synthesised_beam=0,
        name="test",
        time_s=now_s,
        offset_s=0.0,
        top_mhz=receiver.top_mhz,
        centre_mhz=receiver.centre_mhz,
        dm=0.0,
        dm_err=0.0,
        snr=0.0,
        width=0,
        width_s=0.0,
        flux_jy=0.0,
        radec_deg=(0.0, 90.0),
        galactic_dm=None,
    )


def _shown(data: bytes) -> str:
    return data.decode("ascii", "backslashreplace").strip()
