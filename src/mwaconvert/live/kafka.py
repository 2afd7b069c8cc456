"""VOEvents to a topic of Kafka, by librdkafka."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mwaconvert.errors import FormatError, ResourceError
from mwaconvert.extras import need
from mwaconvert.live.files import refuse_shared
from mwaconvert.live.settings import read_yaml
from mwaconvert.live.voevent import VOEvent

_log = logging.getLogger(__name__)


def open_producer(servers: str, options: Path | None, *, timeout_s: float) -> Any:
    """What sends; it calls when the first event is sent.

    Parameters
    ----------
    servers : HOST:PORT, with commas between several
    options : a file (YAML) of options of librdkafka, as those of TLS and the secret
    timeout_s : until an event must have been taken

    Raises
    ------
    Error
        The library is not installed; a file of options that others may read, or that cannot be used.
    """
    found: Any = {}
    if options is not None:
        refuse_shared(options)
        found = read_yaml(options)
        if not isinstance(found, dict):
            raise FormatError(f"{options}: expected options of librdkafka and their values", path=options)
    kafka = need("confluent_kafka", "kafka", "sending to Kafka")
    wanted = {
        **found,
        "bootstrap.servers": servers,
        "enable.idempotence": True,
        "message.timeout.ms": round(timeout_s * 1e3),
        "logger": _log,  # else each try to connect is a line on the terminal
    }
    try:
        return kafka.Producer(wanted)
    except (kafka.KafkaException, ValueError, TypeError) as error:
        raise ResourceError(f"Kafka: {error}") from None


def send_kafka(producer: Any, topic: str, event: VOEvent, *, timeout_s: float) -> str:
    """Send an event and wait until it was taken: its value is the XML, its key the ivorn.

    Returns
    -------
    where in the topic it is

    Raises
    ------
    ResourceError
        Not taken in time, or refused; unless it says so, it may have been taken.
    """
    kafka = need("confluent_kafka", "kafka", "sending to Kafka")
    said: list[Any] = []
    try:
        producer.produce(
            topic, value=event.xml, key=event.ivorn, on_delivery=lambda *report: said.append(report)
        )
        producer.flush(timeout_s + 5)
    except (kafka.KafkaException, BufferError) as error:
        raise ResourceError(f"Kafka, topic {topic}: {error}") from None
    if not said:
        raise ResourceError(f"Kafka, topic {topic}: no answer; {event.ivorn} may have been sent")
    problem, message = said[0]
    if problem is not None:
        raise ResourceError(f"Kafka, topic {topic}: {problem}; {event.ivorn} may have been sent")
    return f"partition {message.partition()}, offset {message.offset()}"
