"""VOEvents against the schema, and sending them to brokers of all tempers."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.live.triggers import Trigger
from mwaconvert.live.voevent import (
    Author,
    Cite,
    burst_event,
    read_answer,
    retraction,
    rotation_deg,
    send_voevent,
)

AT = 1546452000.0  # 2019-01-02T18:00:00
CRAB = Trigger(
    id="a",
    task_id="1",
    beam=0,
    synthesised_beam=35,
    name="",
    time_s=AT,
    offset_s=10.0,
    top_mhz=1519.5,
    centre_mhz=1369.7,
    dm=56.791,
    dm_err=0.2,
    snr=50.0,
    width=31,
    width_s=2.5e-3,
    flux_jy=0.5,
    radec_deg=(83.63322083, 22.01446111),
    galactic_dm=180.0,
)


@pytest.fixture(scope="module")
def schema(darc):
    return etree.XMLSchema(etree.parse(darc / "schema/VOEvent-v2.0.xsd"))


def params(xml):
    return {p.get("name"): p.get("value") for p in etree.fromstring(xml).iter("Param")}


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize("name", ["", "R1 <&>"])
def test_schema(schema, test, name):
    author = Author(contact_name="A & B", contact_email="a@example.org")
    event = burst_event(replace(CRAB, name=name), test=test, now_s=AT + 5, author=author)
    top = etree.fromstring(event.xml)
    schema.assertValid(top)
    assert (top.get("role"), top.get("ivorn")) == ("test" if test else "observation", event.ivorn)
    assert top.findtext("Why/Name") == (name or "FRB1901021800")


def test_updates_and_retractions(schema):
    first = burst_event(CRAB, test=True, now_s=AT + 5)
    update = burst_event(replace(CRAB, snr=60.0), test=True, now_s=AT + 9, cites=(Cite.UPDATE, first.ivorn))
    back = retraction([first.ivorn], "interference in all beams", test=True, now_s=AT + 60)
    for event, word in ((update, "supersedes"), (back, "retraction")):
        top = etree.fromstring(event.xml)
        schema.assertValid(top)
        (cited,) = top.iter("EventIVORN")
        assert (cited.get("cite"), cited.text) == (word, first.ivorn)
    assert len({first.ivorn, update.ivorn, back.ivorn}) == 3


def test_names_of_events_differ():
    """Bursts of one minute, of minutes 1:11 and 11:1, and of two beams have names of their own."""
    others = [replace(CRAB, time_s=AT + 1e-3), replace(CRAB, time_s=AT + 36000), replace(CRAB, beam=3)]
    names = {burst_event(t, test=True, now_s=AT).ivorn for t in (CRAB, *others)}
    assert len(names) == 4
    assert next(iter(names)).startswith("ivo://nl.astron.apertif/alert#FRB1901")


def test_values_agree_with_the_golden_event(darc):
    """But for what was wrong there: units of time, the bandwidth, whole seconds."""
    golden = params((darc / "golden/2019-01-02T18:00:00.0.xml").read_bytes())
    event = burst_event(CRAB, test=True, now_s=AT, standard_names=False)
    ours = params(event.xml)
    assert set(ours) == set(golden)
    differ = {"sampling_time", "bandwidth", "MW_dm_limit", "backend", "galactic_electron_model"}
    for name in set(golden) - differ:
        assert float(ours[name]) == pytest.approx(float(golden[name]), rel=1e-4), name
    assert (ours["sampling_time"], ours["bandwidth"], ours["MW_dm_limit"]) == ("0.08192", "300", "180")
    later_us = round(1e6 * 4148.808 * 56.791 * (1369.7**-2 - 1519.5**-2))  # in the middle of the band
    assert etree.fromstring(event.xml).findtext(".//ISOTime") == f"2019-01-02T18:00:00.{later_us:06d}"
    assert "dm_error" in params(burst_event(CRAB, test=True, now_s=AT).xml)


def test_rotation(darc):
    golden = json.loads((darc / "golden/numeric_functions_from_darc.json").read_text())
    assert rotation_deg(*golden["hadec_crab_2019-01-02T18"]) == pytest.approx(golden["rot_deg"])


def test_what_cannot_be_sent():
    with pytest.raises(InputError, match="direction of compound beam 0 is not known"):
        burst_event(replace(CRAB, radec_deg=None), test=True, now_s=AT)
    with pytest.raises(InputError, match="cannot stand in an XML document"):
        burst_event(replace(CRAB, name="a\0b"), test=True, now_s=AT)


ANSWER = (
    '<trn:Transport xmlns:trn="http://telescope-networks.org/schema/Transport/v1.1" version="1.0" role="{}">'
    "<Origin>ivo://a</Origin><TimeStamp>2020-01-01T00:00:00</TimeStamp><Meta><Result>{}</Result></Meta>"
    "</trn:Transport>"
)


def framed(role, text=""):
    data = ANSWER.format(role, text).encode()
    return struct.pack(">I", len(data)) + data


@contextmanager
def broker(*answers):
    """A broker that gives each connection the next answer; None: it says nothing until the other side leaves."""
    received = []

    def serve():
        for answer in answers:
            link, _ = server.accept()
            with link:
                length = struct.unpack(">I", link.recv(4, socket.MSG_WAITALL))[0]
                received.append(link.recv(length, socket.MSG_WAITALL))
                if answer is None:
                    link.recv(1)
                else:
                    for i in range(0, len(answer), 100):
                        link.sendall(answer[i : i + 100])

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], received
        thread.join()


EVENT = burst_event(CRAB, test=True, now_s=AT)


def send(port, **options):
    return send_voevent("127.0.0.1", port, EVENT, wait_s=0.0, **options)


def test_ack():
    with broker(framed("iamalive") + framed("ack")) as (port, received):
        assert send(port).accepted
    assert received == [EVENT.xml]


def test_nak_is_final():
    with broker(framed("nak", "Schema validation failed")) as (port, _):
        answer = send(port)
    assert (answer.accepted, answer.text, answer.tries) == (False, "Schema validation failed", 1)


def test_retries():
    waits = []
    with broker(None, b"", framed("ack")) as (port, received):
        answer = send_voevent("127.0.0.1", port, EVENT, timeout_s=0.2, wait_s=0.5, sleep=waits.append)
    assert (answer.accepted, answer.tries, waits) == (True, 3, [0.5, 1.0])
    assert received == [EVENT.xml] * 3


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, "no answer in time"),
        (b"", "hung up"),
        (b"\xff\xff\xff\xff", "not a broker of VOEvents"),
        (struct.pack(">I", 3) + b"<a>", "no XML"),
        (struct.pack(">I", 4) + b"<a/>", "expected an answer of a broker"),
    ],
)
def test_no_answer(answer, problem):
    with broker(answer) as (port, _), pytest.raises(ResourceError, match=problem):
        send(port, timeout_s=0.2, tries=1)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ResourceError, match=r"refused.*2 tries"):
        send(port, tries=2)


def test_answers_with_entities_are_not_expanded():
    bomb = (
        b'<!DOCTYPE a [<!ENTITY x "y">]><Transport role="nak"><Meta><Result>&x;</Result></Meta></Transport>'
    )
    assert "y" not in (read_answer(bomb).text if read_answer(bomb) else "")
    with pytest.raises(FormatError):
        read_answer(b"\x00")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def receive(link):
    return link.recv(struct.unpack(">I", link.recv(4, socket.MSG_WAITALL))[0], socket.MSG_WAITALL)


@contextmanager
def comet(folder, port, subscribers):
    words = [
        Path(sys.executable).with_name("twistd"),
        "-n",
        "--pidfile=",
        "comet",
        "--receive",
        "--broadcast",
    ]
    words += [
        "--local-ivo=ivo://org.example/broker",
        f"--receive-port={port}",
        f"--broadcast-port={subscribers}",
    ]
    words += [
        "--save-event",
        f"--save-event-directory={folder}",
        f"--eventdb={folder}/db",
        "--broadcast-test-interval=0",
    ]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for _ in range(300):
            with socket.socket() as link:
                if link.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, process.stdout.read().decode()
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stdout.close()


@pytest.mark.services
def test_a_real_broker_takes_and_forwards(tmp_path):
    """Comet acknowledges our events, hands them to subscribers, and takes none twice."""
    pytest.importorskip("comet")
    port, subscribers = free_port(), free_port()
    with comet(tmp_path, port, subscribers), socket.create_connection(("127.0.0.1", subscribers), 20) as link:
        time.sleep(0.5)  # until it is subscribed
        assert send(port).accepted
        again = send(port)
        assert not again.accepted
        assert "seen" in again.text.lower()
        assert send_voevent(
            "127.0.0.1", port, retraction([EVENT.ivorn], "a test", test=True, now_s=AT)
        ).accepted
        seen = receive(link)
        while b"Transport" in seen[:200]:  # it asks whether we are alive
            seen = receive(link)
        assert etree.fromstring(seen).get("ivorn") == EVENT.ivorn
    assert any(
        EVENT.xml == Path(p).read_bytes() for p in map(os.fspath, tmp_path.iterdir()) if Path(p).is_file()
    )
