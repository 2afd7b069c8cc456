"""VOEvents on a topic of Kafka: what the library is asked, what becomes of what it answers, and its own mock broker."""

import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest
import yaml
from live_node import run_async
from test_senders import give, trigger

from mwaconvert.errors import InputError
from mwaconvert.live.settings import settings_of
from mwaconvert.services.live.node import Name, Site, read_site, services_of
from mwaconvert.services.live.processes.events import KafkaSender
from mwaconvert.services.live.wire.messages import Correct

TOPIC = "arts.voevent.frb"


class KafkaError(Exception):
    pass


class Producer:
    """Of the library, as far as it is used."""

    made: ClassVar[list] = []
    report: ClassVar[object] = None
    fails: ClassVar[str] = ""

    def __init__(self, options):
        self.options, self.sent, self.waiting = options, [], []
        Producer.made.append(self)

    def produce(self, topic, value, key, on_delivery):
        if Producer.fails == "produce":
            raise BufferError("queue full")
        self.sent.append((topic, value, key))
        self.waiting.append(on_delivery)

    def flush(self, timeout):
        assert timeout > 20
        if Producer.fails == "silence":
            return 1
        place = SimpleNamespace(partition=lambda: 0, offset=lambda: 41 + len(self.sent))
        while self.waiting:
            self.waiting.pop(0)(Producer.report, place)
        return 0


@pytest.fixture
def library(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "confluent_kafka", SimpleNamespace(Producer=Producer, KafkaException=KafkaError)
    )
    Producer.made, Producer.report, Producer.fails = [], None, ""
    return Producer


def site_with(tmp_path, **kafka):
    facts = {"servers": "localhost:9092", "topic": TOPIC, "interval": 0.01, "send_events": True, **kafka}
    return Site(
        settings_of(
            {
                "network": {"state_dir": str(tmp_path / "state"), "node": "n"},
                "voevent_generator": {"voevent_dir": str(tmp_path / "xml")},
                "kafka_sender": facts,
            }
        )
    )


@pytest.fixture
def options(tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("security.protocol: SASL_SSL\nsasl.password: secret\nbootstrap.servers: elsewhere:1\n")
    path.chmod(0o600)
    return path


class Sending:
    """A sender, and what it says became of each trigger."""

    def __init__(self, site):
        self.sender, self.done = KafkaSender(site), []
        self.sender.post = lambda to, body, **more: self.done.append(body.outcome) or True

    def give(self, *triggers):
        run_async(give(self.sender, *triggers))
        return self.done


def test_an_event_goes_out_once_with_an_account(library, options, tmp_path):
    site = site_with(tmp_path, options=str(options))
    one = Sending(site)
    assert one.give(trigger()) == ["sent, as a test: partition 0, offset 42"]
    again = Sending(site)
    assert again.give(trigger()) == one.done
    (producer,) = library.made
    assert producer.options.pop("logger").name == "mwaconvert.live.kafka"
    assert producer.options == {
        "security.protocol": "SASL_SSL",
        "sasl.password": "secret",
        "bootstrap.servers": "localhost:9092",
        "enable.idempotence": True,
        "message.timeout.ms": 20000,
    }
    ((topic, xml, ivorn),) = producer.sent
    assert topic == TOPIC
    assert f'ivorn="{ivorn}"'.encode() in xml
    assert b'role="test"' in xml
    assert (tmp_path / "xml/kafka/1-00-1-test.xml").read_bytes() == xml
    assert "secret" not in (tmp_path / "state/n/kafka_sender/journal.jsonl").read_text()


@pytest.mark.parametrize(
    ("fails", "report", "words"),
    [
        ("produce", None, "queue full"),
        ("silence", None, "no answer; ivo://"),
        ("", "_MSG_TIMED_OUT", "_MSG_TIMED_OUT; ivo://"),
    ],
)
def test_what_fails_is_said(library, tmp_path, fails, report, words):
    library.fails, library.report = fails, report
    one = Sending(site_with(tmp_path))
    (outcome,) = one.give(trigger())
    assert outcome.startswith(f"failed: Kafka, topic {TOPIC}: {words}")
    assert words in one.sender.trouble["way"]


def test_what_was_going_out_at_a_crash_is_not_sent_again(library, tmp_path):
    """Kafka knows no names."""
    site = site_with(tmp_path)
    t = trigger()
    facts = {
        "id": t.id,
        "name": "",
        "time_s": t.time_s,
        "dm": t.dm,
        "snr": t.snr,
        "sent_s": 0.0,
        "is_test": True,
    }
    KafkaSender(site).begin(f"{t.id}-lofar", "x", sent=facts)
    (outcome,) = Sending(site).give(t)
    assert outcome.startswith("unknown")
    assert library.made == []


def test_corrections(library, tmp_path):
    one = Sending(site_with(tmp_path))
    one.give(trigger())
    retract = Correct(what="retract", way="kafka", event="1-00-1", who="jansen", reason="interference")
    answer = run_async(one.sender.correct(retract, "a"))
    assert answer.endswith("sent, as a test: partition 0, offset 43")
    assert b'cite="retraction"' in library.made[0].sent[1][1]


def test_other_settings_are_for_the_next_event(library, tmp_path):
    """And nothing waits for the event that is going out meanwhile: a broker may be silent for long."""
    one = Sending(site_with(tmp_path))
    one.give(trigger())
    one.sender.site = site_with(tmp_path, servers="other:9092")
    with one.sender._lock:
        run_async(one.sender.on_reload())
    one.give(trigger(id="1-00-2", dm=900.0, time_s=time.time() - 9))
    assert [p.options["bootstrap.servers"] for p in library.made] == ["localhost:9092", "other:9092"]
    assert [len(p.sent) for p in library.made] == [1, 1]


def test_secrets_are_for_their_owner(library, options, tmp_path):
    options.chmod(0o644)
    (outcome,) = Sending(site_with(tmp_path, options=str(options))).give(trigger())
    assert "others than its owner can read the secrets" in outcome


def test_it_is_there_only_with_servers(tmp_path):
    assert Name.KAFKA not in services_of(settings_of({}))
    with_servers = {"kafka_sender": {"servers": "h:1", "topic": "t"}}
    assert Name.KAFKA in services_of(settings_of(with_servers))
    assert Name.KAFKA not in services_of(
        settings_of({**with_servers, "network": {"role": "worker", "master": "h:1"}})
    )
    (tmp_path / "c.yaml").write_text("kafka_sender: {servers: 'h:1'}")
    with pytest.raises(InputError, match=r"kafka_sender\.topic"):
        read_site(tmp_path / "c.yaml")


def test_a_broker_takes_it(tmp_path):
    """The mock broker of librdkafka, over its own protocol, read by a consumer."""
    kafka = pytest.importorskip("confluent_kafka")
    path = tmp_path / "mock.yaml"
    path.write_text(yaml.safe_dump({"test.mock.num.brokers": 1}))
    path.chmod(0o600)
    one = Sending(site_with(tmp_path, options=str(path)))
    assert one.give(trigger(), replace(trigger(), id="1-00-2", dm=900.0, time_s=time.time() - 9)) != []
    assert all("sent, as a test: partition" in outcome for outcome in one.done)
    (broker,) = one.sender._producer.list_topics(timeout=10).brokers.values()
    consumer = kafka.Consumer(
        {
            "bootstrap.servers": f"{broker.host}:{broker.port}",
            "group.id": "t",
            "auto.offset.reset": "earliest",
        }
    )
    try:
        consumer.subscribe([TOPIC])
        found, end = [], time.monotonic() + 30
        while len(found) < 2 and time.monotonic() < end:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                found.append(message)
    finally:
        consumer.close()
    assert len({m.key() for m in found}) == 2
    assert all(m.key() in m.value() for m in found)


def test_no_broker_is_a_failure_in_time(tmp_path, monkeypatch):
    pytest.importorskip("confluent_kafka")
    monkeypatch.setattr("mwaconvert.services.live.processes.events._KAFKA_S", 1.0)
    (outcome,) = Sending(site_with(tmp_path, servers="127.0.0.1:9")).give(trigger())
    assert outcome.startswith("failed: Kafka, topic")
