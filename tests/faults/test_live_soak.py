"""A short day of the live services, and an account that finds what is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from live_account import Account
from live_node import Node, Receiver

SOAK = Path(__file__).with_name("live_soak.py")


@pytest.mark.services  # a minute, as it waits for processes
def test_links_that_are_cut_and_disks_that_are_full():
    for only in ("broker", "fill worker"):
        words = ["--compress", "4000", "--only", only]
        done = subprocess.run(
            [sys.executable, str(SOAK), *words], capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "nothing lost, nothing sent twice" in done.stdout


@pytest.fixture
def books(tmp_path):
    """Two nodes that never ran, a receiver, and what writes their journals."""
    receiver = Receiver()
    nodes = []
    for name in ("worker", "master"):
        (tmp_path / name).mkdir()
        nodes.append(Node(tmp_path / name, receiver, network={"node": name}))

    def write(node, service, *entries, file="journal"):
        folder = nodes[node].site.folder(service)
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))

    def wrong(written=None, future=()):
        return Account(*nodes, receiver, written or {}, list(future)).wrong()

    yield receiver, write, wrong
    receiver.close()


def test_the_account_of_a_day_in_which_all_is_well(books):
    receiver, write, wrong = books
    packet = bytes.fromhex("99a05c2cfc280109") + (5000).to_bytes(2, "big") + b"T"
    receiver.packets.append(packet)
    write(0, "chain", {"candidates": 1, "sends": {"a": {}}}, {"done": "a", "outcome": "sent"}, file="1-CB00")
    write(1, "lofar_trigger", {"id": "a", "sending": packet.hex()}, {"id": "a", "outcome": "sent, as a test"})
    assert wrong({"1": [500.0]}) == []


def test_the_account_finds_what_is_wrong(books):
    receiver, write, wrong = books
    packet = bytes.fromhex("99a05c2cfc280109") + (5000).to_bytes(2, "big")
    receiver.packets += [packet + b"T", packet + b"S"]
    xml = '<v role="test" ivorn="ivo://{}"><Param name="dm" value="500"/></v>'
    receiver.xml += [xml.format(name).encode() for name in "xxy"]
    write(
        0,
        "chain",
        {"candidates": 2, "sends": {"a": {}, "b": {}}},
        {"done": "a", "outcome": "sent"},
        file="1-CB00",
    )
    write(
        1,
        "lofar_trigger",
        {"id": "a", "sending": "00"},
        {"id": "a", "outcome": "sent"},
        {"id": "a", "outcome": "sent"},
        {"id": "c", "outcome": "failed: why"},
    )
    found = "\n".join(wrong({"1": [500.0]}, [("1", 700.0)]))
    for words in (
        "1: 2 lines were read of 1",
        "1 triggers without an end, as b",
        "a pulse of the future, DM 700.0, triggered or was not seen",
        "2 packets of DM 500.0, of 1 pulses",
        "a packet that is not a test",
        "2 VOEvents of DM 500.0, of 1 pulses",
        "1 times: failed: why",
        "lofar_trigger: 2 are said to be sent and were not received, as a",
        "lofar_trigger: 1 have two ends",
        "lofar_trigger: 2 were received that are in no journal",
        "voevent_generator: 2 were received that are in no journal",
    ):
        assert words in found
