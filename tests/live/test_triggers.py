"""Event texts and packets, byte for byte; sending; the gate."""

import json
import socket
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.live.clusters import Changes, Cluster
from mwaconvert.live.criteria import Judge
from mwaconvert.live.gate import Admission, Arming, Gate, State
from mwaconvert.live.observation import Observation
from mwaconvert.live.settings import Dada, Settings
from mwaconvert.live.sources import sources_of
from mwaconvert.live.triggers import (
    Trigger,
    dada_event,
    lofar_packet,
    lofar_packet_of,
    polcal_events,
    select,
    send_tcp,
    send_udp,
    trigger_of,
)


def unix(text):
    return datetime.fromisoformat(text + "+00:00").timestamp()


START = unix("2019-01-01T12:00:00")
ONE = Trigger(
    id="a",
    task_id="1",
    beam=0,
    synthesised_beam=22,
    name="",
    time_s=START + 38.249,
    offset_s=38.249,
    top_mhz=1519.7,
    centre_mhz=1369.7,
    dm=56.791,
    dm_err=0.2,
    snr=15.2,
    width=2,
    width_s=1.6e-4,
    flux_jy=1.0,
    radec_deg=(83.6, 22.0),
    galactic_dm=50.0,
)


def test_golden_event_text(darc):
    golden = json.loads((darc / "golden/dbevent_text_from_darc.json").read_text())
    assert dada_event([ONE], START) == golden["event_text"]


def test_event_with_ten_fields():
    text = dada_event([ONE], START, Dada(dialect="10")).splitlines()[2]
    assert text == (
        "2019-01-01-12:00:36 201 2019-01-01-12:00:42 345 2019-01-01-12:00:38 249 56.791 15.2 2 22"
    )


def test_event_never_before_the_start_and_with_its_zeros():
    """A pulse right after the start; fractions keep their zeros, and milliseconds carry."""
    early = dada_event([replace(ONE, offset_s=0.5)], START).splitlines()[2]
    assert early.startswith("2019-01-01-12:00:00 000 2019-01-01-12:00:06 144 ")
    carry = dada_event([replace(ONE, offset_s=12.0479996)], START).splitlines()[2]
    assert carry.startswith("2019-01-01-12:00:10 000 ")
    wide = dada_event([replace(ONE, offset_s=100.0, dm=5000.0)], START).splitlines()[2]
    assert wide.startswith("2019-01-01-12:01:37 952 2019-01-01-12:01:47 048 ")


def test_polcal_dumps():
    dumps = polcal_events(299.008, START)
    assert [round(due / 1.024) for due, _ in dumps] == [58, 117, 175, 234]
    assert dumps[0][1] == (
        "N_EVENTS 1\n2019-01-01-12:00:00.000\n2019-01-01-12:00:59 392 2019-01-01-12:01:30 112 0 0 0 0\n"
    )
    assert len(polcal_events(100.0, START)) == 1
    seen = Observation(
        task_id="1",
        beam=7,
        start_s=0,
        duration_s=1,
        source="3C286polcal",
        source_beam=7,
        datetimesource="x",
        amber_dir=Path("a"),
        output_dir=Path("b"),
    )
    assert seen.is_polcal
    assert not replace(seen, beam=8).is_polcal


def test_golden_packets(darc):
    golden = json.loads((darc / "golden/lofar_packets_from_darc.json").read_text())
    assert len(golden) == 4
    for packet in golden:
        ours = lofar_packet(packet["dm"], unix(packet["utc"]), packet["nu_GHz"] * 1e3, test=True)
        assert ours.hex() == packet["hex"]


def test_packet_limits():
    at = START
    assert lofar_packet(56.791, at, 1370.0, test=False)[-1:] == b"S"
    # milliseconds never come out as 1000
    for i in range(2000):
        packet = lofar_packet(0.0, at + i * 0.00051, 1370.0, test=True)
        assert int.from_bytes(packet[6:8], "big") < 1000
    with pytest.raises(InputError, match=r"0 to 6553\.5"):
        lofar_packet(6554.0, at, 1370.0, test=True)
    with pytest.raises(InputError, match="2038"):
        lofar_packet(50.0, unix("2038-01-19T03:14:08"), 1370.0, test=True)


def cluster(**changes):
    facts = {"time_s": 10.0, "dm": 500.0, "snr": 25.0, "width": 20, "beam": 30, "instance": 1, "n_members": 9}
    facts |= {"n_beams": 4, "first_s": 10.0, "last_s": 10.1, "dm_low": 490.0, "dm_high": 510.0, "grown_by": 9}
    return Cluster(id=1, **{**facts, **changes})


def test_trigger_of_a_decision():
    """The middle of the band is later than its top; a known source has the DM of the catalogue."""
    seen = Observation(
        task_id="7",
        beam=3,
        start_s=START,
        duration_s=300,
        source="R1",
        source_beam=3,
        datetimesource="x",
        amber_dir=Path("a"),
        output_dir=Path("b"),
        pointings_deg={3: (10.0, 20.0)},
    )
    judge = Judge(seen, Settings(), sources_of({"frbs": {"R1": 501.0}}), None)
    (decision,) = judge.judge(Changes((cluster(),), {}), START + 11).decisions
    known = trigger_of(decision, seen)
    assert (known.name, known.dm, known.dm_err, known.radec_deg) == ("R1", 501.0, 0.0, (10.0, 20.0))
    assert known.centre_time_s - known.time_s == pytest.approx(0.2077, abs=1e-3)
    assert known.id == f"7-03-{round((START + 10) * 1000)}-5000"
    packet = lofar_packet_of(known, test=True)
    freeze_s = int.from_bytes(packet[2:6], "big") + int.from_bytes(packet[6:8], "big") / 1e3
    assert freeze_s == pytest.approx(
        START + 10 + 4148.808 * 501 * (200**-2 - known.top_mhz**-2) + 2.5, abs=1e-3
    )
    judge = Judge(replace(seen, source="x"), Settings(), sources_of({}), 10.0)
    (decision,) = judge.judge(Changes((cluster(),), {}), START + 11).decisions
    assert trigger_of(decision, seen, 10.0).dm_err == pytest.approx(1.6384)


def test_send_tcp():
    received = []

    def serve(server):
        link, _ = server.accept()
        with link:
            while data := link.recv(100):
                received.append(data)
            link.sendall(b"taken")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        assert send_tcp("127.0.0.1", server.getsockname()[1], b"N_EVENTS 0\n") == b"taken"
        thread.join()
    assert b"".join(received) == b"N_EVENTS 0\n"


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ResourceError, match="no answer in time"):
            send_tcp("127.0.0.1", port, b"x", timeout_s=0.1)
    with pytest.raises(ResourceError, match="refused"):
        send_tcp("127.0.0.1", port, b"x")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as quiet:
        quiet.bind(("127.0.0.1", 0))
        assert send_udp("127.0.0.1", quiet.getsockname()[1], b"x", timeout_s=0.1) == b""
        assert quiet.recv(10) == b"x"


def test_selection_over_beams():
    new, known, fainter = (
        replace(ONE, beam=b, name=n, snr=s) for b, n, s in ((1, "", 90), (2, "R1", 30), (2, "R1", 20))
    )
    assert select([new, fainter, known]) == (known, 2)
    assert select([replace(new, snr=10), new]) == (new, 1)


HOUR = 3600.0


def other(i, **changes):
    return replace(ONE, **{"id": f"t{i}", "time_s": ONE.time_s + 10 * i, **changes})


def test_gate_sends_once():
    """The same pulse from another beam, or after a restart, does not go out again."""
    gate = Gate(10, 10)
    assert gate.admit(ONE, State.OBSERVE, START) is Admission.SEND
    gate = Gate(10, 10, gate.sent)
    for again in (ONE, other(0, id="b", beam=4, dm=60.0), other(0, id="c", time_s=ONE.time_s + 0.4)):
        assert gate.admit(again, State.OBSERVE, START + 1) is Admission.DUPLICATE
    assert gate.admit(other(1), State.OBSERVE, START + 2) is Admission.SEND


def test_gate_limits():
    gate = Gate(3, 5)
    seen = [gate.admit(other(i), State.OBSERVE, START + 1800 * i).name for i in range(12)]
    # three in any hour; five of one source in a day
    assert seen[:5] == ["SEND"] * 5
    assert seen[5:] == ["QUOTA"] * 7
    assert [gate.admit(other(20 + i, name="R1"), State.OBSERVE, START + 30000).name for i in range(4)] == [
        *["SEND"] * 3,
        "RATE",
    ]
    assert gate.admit(other(30), State.OBSERVE, START + 2 * 86400) is Admission.SEND


def test_gate_is_off_and_tests_use_up_nothing():
    gate = Gate(1, 1)
    assert gate.admit(ONE, State.OFF, START) is Admission.OFF
    assert gate.admit(ONE, State.TEST, START) is Admission.SEND
    assert gate.admit(ONE, State.OBSERVE, START) is Admission.SEND
    # a clock that goes back does not open it
    assert gate.admit(other(1), State.OBSERVE, START - 7200) is Admission.RATE


def test_arming():
    armed = Arming().armed("jansen", now_s=START, until_s=START + HOUR)
    assert Arming.of(json.loads(json.dumps(armed.facts()))) == armed
    assert [armed.state(START + t).name for t in (-1, 0, HOUR - 1, HOUR)] == [
        "TEST",
        "OBSERVE",
        "OBSERVE",
        "TEST",
    ]
    assert armed.set(State.OFF, "jansen", now_s=START).state(START) is State.OFF
    assert Arming().state(START) is State.OFF
    for who, until_s in (("", START + 1), ("a", START), ("a", START + 25 * HOUR)):
        with pytest.raises(InputError):
            Arming().armed(who, now_s=START, until_s=until_s)
    with pytest.raises(InputError, match="with an end"):
        armed.set(State.OBSERVE, "a", now_s=START)
    with pytest.raises(FormatError, match="no state"):
        Arming.of({"wanted": "always"})
