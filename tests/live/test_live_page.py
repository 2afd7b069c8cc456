"""The status page, its numbers, and many nodes asked at once."""

import asyncio
import socket
import time

import httpx
import pytest
from live_node import Node, Receiver, Sky, run_async, wait_for

from mwaconvert.services.live.operator import poll
from mwaconvert.services.live.processes.page import colour, page_facts
from mwaconvert.services.live.wire.keys import Peer, new_key
from mwaconvert.services.live.wire.link import serve
from mwaconvert.services.live.wire.messages import Message, Reply, Role

KEY = new_key()
VIEW = Peer("status", KEY, Role.VIEW)


def test_forty_nodes_some_dead_are_asked_in_two_seconds():
    """Twenty answer, ten are silent, ten are not there."""

    async def answering(link):
        while (message := await link.receive()) is not None:
            facts = {"services": {"a": {"health": "running"}}}
            reply = Reply(status="Success", message=facts)
            link.send(Message(sender="node", to=link.peer.name, body=reply, id=message.id))

    async def job():
        servers = [await serve("127.0.0.1", 0, "node", {"status": VIEW}, answering) for _ in range(20)]
        silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(10)]
        dead = [socket.create_server(("127.0.0.1", 0)) for _ in range(10)]
        ports = [s.sockets[0].getsockname()[1] for s in servers] + [
            s.getsockname()[1] for s in (*silent, *dead)
        ]
        for s in dead:
            s.close()
        begun = time.monotonic()
        found = await poll(
            {f"n{k}": f"127.0.0.1:{port}" for k, port in enumerate(ports)}, VIEW, timeout_s=1.0
        )
        took_s = time.monotonic() - begun
        for s in (*servers, *silent):
            s.close()
        await asyncio.sleep(0.05)
        return found, took_s

    found, took_s = run_async(job())
    assert [colour(of) for of in found.values()] == ["good"] * 20 + ["unknown"] * 20
    assert took_s < 2.0


def test_names_from_files_are_text_on_the_page():
    from mwaconvert.services.live.processes.page import _TEMPLATES

    nodes = {"<i>": {"error": "<script>x</script>"}}
    text = _TEMPLATES.get_template("status.html").render(page_facts(nodes, 0.1))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


def test_the_page_of_a_node(tmp_path, receiver, darc):
    with Node(tmp_path, receiver) as node:
        base = f"http://127.0.0.1:{node.page_port}"
        banks = tmp_path / "obs" / "out" / "filterbank"
        banks.mkdir(parents=True)
        (banks / "CB00_00.fil").symlink_to(darc / "synthetic" / "synthetic_CB00_00.fil")
        sky = Sky(tmp_path / "obs", start_s=time.time(), duration_s=60)
        node.ask("start_observation", payload=sky.path)
        sky.write(0.12, 50.0, 20, 5)

        def facts():
            try:
                return httpx.get(f"{base}/status.json", timeout=10).json()
            except httpx.TransportError:
                return None

        wait_for(lambda: (f := facts()) and f["candidates"] and f["pictures"])
        page = httpx.get(base, timeout=10)
        assert "amber_clustering" in page.text
        assert "50.00" in page.text
        assert "data:image/png;base64," in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        numbers = httpx.get(f"{base}/metrics", timeout=10).text
        assert 'mwaconvert_live_node_answers{node="arts001"} 1.0' in numbers
        assert 'name="candidates",node="arts001",service="amber_clustering"} 1.0' in numbers
        wait_for((tmp_path / "web" / "index.html").is_file)
        assert "green" in (tmp_path / "web" / "index.html").read_text()
        assert "0 dropped, as a peer was slow; 0 for which nobody was there" in page.text
        assert 'name="last_sky_to_file_s",node="arts001",service="processor"}' in numbers
        old = tmp_path / "web" / "processing.html"
        wait_for(lambda: old.is_file() and f"<td>{sky.task_id}</td><td>observing</td>" in old.read_text())
