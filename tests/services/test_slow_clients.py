"""Clients that open a connection and do not say what they want, or say it drop by drop."""

import socket
import time
from collections.abc import Iterator

import pytest
from recorded_asvo import RecordedMwaClient
from serving import OBSID, Serving, serving

from mwaconvert.services import connections

HEAD_S = 1.0
LONGER_S = 3.0
WHOLE = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def service(tmp_path, monkeypatch) -> Iterator[Serving]:
    monkeypatch.setattr(connections, "HEAD_S", HEAD_S)
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def peer(service) -> Iterator[socket.socket]:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as opened:
        yield opened


def is_answered(peer: socket.socket) -> bool:
    answer = b""
    while b"}" not in answer:
        answer += peer.recv(10_000)
    return answer.startswith(b"HTTP/1.1 200")


def is_closed(peer: socket.socket) -> bool:
    """Whether the service ends the connection without an answer; waits for it."""
    try:
        return peer.recv(1000) == b""
    except ConnectionResetError:
        return True


def test_a_client_that_says_nothing_is_let_go(peer):
    assert is_closed(peer)


def test_a_head_that_comes_drop_by_drop_is_not_waited_for(peer):
    def drip() -> None:
        for _ in range(600):
            peer.sendall(b"X")
            time.sleep(0.05)

    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        drip()


def test_nor_is_the_second_on_a_connection(peer):
    peer.sendall(WHOLE)
    assert is_answered(peer)
    peer.sendall(WHOLE[:20])
    assert is_closed(peer)


def test_requests_in_pieces_are_answered_however_old_their_connection_is(peer, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", LONGER_S)
    peer.sendall(WHOLE)
    assert is_answered(peer)
    for _ in range(4):
        time.sleep(LONGER_S / 3)
        peer.sendall(WHOLE[:20])
        peer.sendall(WHOLE[20:])
        assert is_answered(peer)


def test_a_websocket_stays_open(service):
    client = RecordedMwaClient(service.url, service.user())
    assert client.login().status == 200
    with client.notifier() as notifier:
        time.sleep(3 * HEAD_S)
        client.submit("download_vis_job", {"obs_id": OBSID, "download_type": "vis"})
        assert notifier.recv()["row"]["job_state"] == "queued"
