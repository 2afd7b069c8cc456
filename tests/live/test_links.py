"""Messages, keys, links, the text protocol and journals, by themselves."""

import asyncio
import json
import os
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from live_node import run_async

from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.services.live.processes.journal import Journal, file_name
from mwaconvert.services.live.wire.keys import Peer, new_key, read_peers
from mwaconvert.services.live.wire.link import call, client_tls, serve, server_tls
from mwaconvert.services.live.wire.messages import Beat, Command, Message, Reply, Role
from mwaconvert.services.live.wire.text_port import parse_request, reply_text, serve_text

KEY = new_key()
PEERS = {"w": Peer("w", KEY, Role.NODE)}
HELLO = Message(sender="w", to="m", body=Command(command="status"))


async def _echo(link):
    while (message := await link.receive()) is not None:
        link.send(message)


async def _server(on_link=_echo):
    server = await serve("127.0.0.1", 0, "m", PEERS, on_link)
    return server, server.sockets[0].getsockname()[1]


def test_a_message_there_and_back():
    async def job():
        server, port = await _server()
        link = await call("127.0.0.1", port, "w", KEY)
        link.send(HELLO)
        found = await link.receive()
        await link.close()
        server.close()
        return found, link.peer.name

    assert run_async(job()) == (HELLO, "m")


@pytest.mark.parametrize(("name", "key"), [("w", new_key()), ("stranger", KEY)], ids=["key", "name"])
def test_strangers_are_refused(name, key):
    async def job():
        server, port = await _server()
        try:
            await call("127.0.0.1", port, name, key)
        finally:
            server.close()

    with pytest.raises(ResourceError, match="not known here"):
        run_async(job())


def test_a_master_without_the_key_is_found_out():
    async def impostor(reader, writer):
        writer.write(b'{"nonce": "00"}\n')
        await reader.readline()
        writer.write(b'{"name": "m", "proof": "00"}\n')
        writer.close()

    async def job():
        server = await asyncio.start_server(impostor, "127.0.0.1", 0)
        try:
            await call("127.0.0.1", server.sockets[0].getsockname()[1], "w", KEY)
        finally:
            server.close()

    with pytest.raises(ResourceError, match="does not know the key"):
        run_async(job())


@pytest.mark.parametrize("wrong", ["changed", "twice", "long"])
def test_what_was_changed_or_said_twice_ends_the_link(wrong):
    caught = []

    async def take(link):
        try:
            while await link.receive() is not None:
                pass
        except FormatError as error:
            caught.append(str(error))

    async def job():
        server, port = await _server(take)
        link = await call("127.0.0.1", port, "w", KEY)
        data = HELLO.encoded()
        line = link._proof("caller", 0, data) + b" " + data + b"\n"
        if wrong == "changed":
            line = line.replace(b"status", b"stop_m")
        elif wrong == "twice":
            line += line
        else:
            line = b"x" * (3 << 20)
        link._writer.write(line)
        while not caught:
            await asyncio.sleep(0.01)
        await link.close()
        server.close()

    run_async(job())
    assert ("more than" if wrong == "long" else "proof is wrong") in caught[0]


def test_a_peer_that_does_not_read_costs_messages_not_time():
    async def deaf(link):
        await asyncio.sleep(1)

    async def job():
        server, port = await _server(deaf)
        link = await call("127.0.0.1", port, "w", KEY)
        big = Message(sender="w", to="m", body=Beat(numbers={"a": "x" * 100_000}))
        sent = [link.send(big) for _ in range(1500)]
        await link.close()
        server.close()
        return sent, link.dropped

    sent, dropped = run_async(job())
    assert sent.count(False) == dropped >= 400


def test_roles_and_keys(tmp_path):
    path = tmp_path / "keys.yaml"
    path.write_text(f"anna: {{key: {'ab' * 32}, role: view}}\n")
    with pytest.raises(InputError, match="chmod 600"):
        read_peers(path)
    path.chmod(0o600)
    assert read_peers(path)["anna"].role is Role.VIEW
    assert "ab" * 5 not in repr(read_peers(path)["anna"])
    for bad in ("a: {key: abcd, role: view}", f"a: {{key: {'ab' * 32}, role: king}}", "[]", "a: 1"):
        path.write_text(bad)
        with pytest.raises(FormatError):
            read_peers(path)


@given(st.binary(max_size=300))
def test_messages_of_noise(data):
    with pytest.raises(FormatError):
        Message.decoded(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["sender", "to", "body", "id", "task_id"]), _JSON), _JSON)
def test_messages_of_other_things(facts, body):
    kinds = ("start", "stop", "send", "beat", "switch", "command", "reply")
    if isinstance(body, dict):
        facts = {**facts, "body": {**body, "kind": kinds[len(body) % len(kinds)]}}
    try:
        message = Message.decoded(json.dumps(facts).encode())
    except FormatError:
        return
    assert Message.decoded(message.encoded()) == message


@given(st.text(max_size=200))
def test_requests_of_noise(text):
    for request in (text, "{" + text + "}", "{'command': '" + text + "'}"):
        with suppress(FormatError):
            assert parse_request(request).command


@given(st.text(min_size=1, max_size=100), st.text(max_size=100))
@example("None", "")
def test_requests_as_python_writes_them(command, payload):
    text = repr({"service": "all", "command": command, "payload": payload})
    if command == "None":
        with pytest.raises(FormatError, match="No command specified"):
            parse_request(text)
    else:
        request = parse_request(text)
        assert request.command == command
        assert request.payload == (payload if payload not in ("", "None") else None)


def test_replies_as_old_masters_write_them():
    assert reply_text(Reply(status="Success", message="Config reloaded")) == (
        "{'status': \"Success\", 'message': \"Config reloaded\"}"
    )
    assert reply_text(Reply(status="Error", message={"error": "x"})) == (
        "{'status': \"Error\", 'message': {'error': 'x'}}"
    )


def test_a_client_that_says_nothing_holds_up_nobody():
    async def job():
        async def fine(command):
            return Reply(status="Success", message=command.command)

        server = await serve_text("127.0.0.1", 0, fine)
        port = server.sockets[0].getsockname()[1]
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"{'command':")
        await asyncio.sleep(0.05)
        writer.write(b" 'status'}")
        found = await reader.read()
        for _, other in [*silent, (reader, writer)]:
            other.close()
        server.close()
        return found

    assert run_async(job()) == b"{'status': \"Success\", 'message': \"status\"}"


def test_journals_mend_what_was_torn(tmp_path):
    path = tmp_path / "a.jsonl"
    journal = Journal(path)
    journal.append({"a": 1})
    journal.append({"a": float("nan")})
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"n": 3, "a"')
    journal = Journal(path)
    assert [e["n"] for e in journal.entries()] == [1, 2]
    assert journal.append({"a": 3}) == 3
    assert [e["a"] for e in journal.entries()] == [1, None, 3]
    journal.close()
    path.write_bytes(b"x\n" + path.read_bytes())
    with pytest.raises(FormatError, match="not an entry"):
        Journal(path)


def test_a_full_disk_leaves_journals_whole(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "a.jsonl")
    journal.append({"a": 1})
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:5]))
    with pytest.raises(OSError, match="No space"):
        journal.append({"a": 2})
    monkeypatch.undo()
    assert journal.append({"a": 3}) == 2
    assert [e["a"] for e in journal.entries()] == [1, 3]
    journal.close()


def test_names_of_files_stay_in_their_folder():
    assert file_name("190518009") == "190518009"
    assert "/" not in file_name("../../etc/passwd")


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_noise_at_the_port_harms_nobody(noise):
    """A peer that is known gets through after any number of strangers."""

    async def job():
        server, port = await _server()
        for data in noise:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data + b"\n")
            writer.write_eof()
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        link = await call("127.0.0.1", port, "w", KEY)
        link.send(HELLO)
        found = await link.receive()
        await link.close()
        server.close()
        return found

    assert run_async(job()) == HELLO


def test_tls(tmp_path):
    """Beneath the keys; an authority that is not known is refused."""
    trustme = pytest.importorskip("trustme")
    authority, other = trustme.CA(), trustme.CA()
    cert = authority.issue_cert("localhost")
    cert.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    cert.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")

    async def job(ca):
        tls = server_tls(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
        server = await serve("127.0.0.1", 0, "m", PEERS, _echo, tls)
        try:
            port = server.sockets[0].getsockname()[1]
            link = await call("localhost", port, "w", KEY, tls=client_tls(str(tmp_path / ca)))
            link.send(HELLO)
            found = await link.receive()
            await link.close()
        finally:
            server.close()
        return found

    assert run_async(job("ca.pem")) == HELLO
    with pytest.raises(ResourceError, match="certificate verify failed"):
        run_async(job("other.pem"))
