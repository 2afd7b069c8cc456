"""A worker and a master node: triggers find their way, also after the master was gone; and faults on the way."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from live_node import Node, Receiver, Sky, run_async, wait_for

from mwaconvert.errors import ResourceError
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.services.live.operator import ask, ask_node
from mwaconvert.services.live.wire.keys import Peer, new_key
from mwaconvert.services.live.wire.messages import Command, Role, Switch

pytestmark = pytest.mark.services  # half a minute, as it waits for processes


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


def keys_file(path, **peers):
    path.write_text(
        "\n".join(f"{name}: {{key: {key.hex()}, role: {role}}}" for name, (key, role) in peers.items())
    )
    path.chmod(0o600)
    return str(path)


def journal(node, service):
    return [
        json.loads(line)
        for path in (node.site.state / service).glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]


@pytest.fixture
def nodes(tmp_path, receiver):
    """(master, worker)"""
    key, view = new_key(), new_key()
    (tmp_path / "m").mkdir()
    (tmp_path / "w").mkdir()
    network = {"node": "arts041", "role": "master"}
    network["keys"] = keys_file(tmp_path / "m.yaml", arts001=(key, "node"), anna=(view, "view"))
    master = Node(tmp_path / "m", receiver, network=network)
    worker = Node(
        tmp_path / "w",
        receiver,
        network={
            "node": "arts001",
            "role": "worker",
            "master": f"127.0.0.1:{master.port}",
            "keys": keys_file(tmp_path / "w.yaml", arts001=(key, "node"), arts041=(key, "node")),
        },
    )
    master.view = Peer("anna", view, Role.VIEW)
    with master, worker:
        yield master, worker


def test_a_trigger_waits_for_a_master_that_was_gone(nodes, receiver, tmp_path):
    """Nothing is lost, nothing goes out twice; roles are kept."""
    master, worker = nodes
    arm = Switch(way="lofar", wanted="test", who="jansen")
    assert ask(master.site, arm).status == "Success"
    assert "it is the master node that sends" in ask(worker.site, arm).message["error"]
    sky = Sky(tmp_path / "obs")
    worker.ask("start_observation", payload=sky.path)
    sky.pulse(dm=500.0)
    wait_for(lambda: len(receiver.packets) == 1)
    master.stop(signal.SIGKILL)
    sky.pulse(dm=900.0, width=50)  # LOFAR would freeze a minute later
    time.sleep(1.0)
    assert len(receiver.packets) == 1
    master.start()
    wait_for(lambda: len(receiver.packets) == 2)
    sky.pulse(dm=1300.0, width=200 // 4)
    wait_for(lambda: len(receiver.packets) == 3)
    time.sleep(1.5)
    assert len(receiver.packets) == 3
    assert [int.from_bytes(p[8:10], "big") for p in receiver.packets] == [5000, 9000, 13000]

    def say(command):
        return run_async(ask_node("127.0.0.1", master.port, master.view, Command(command=command)))

    assert say("node_status").message["node"] == "arts041"
    assert say("stop_master").message == {"error": "Not allowed: stop_master needs the role operate"}
    stranger = Peer("anna", new_key(), Role.ARM)
    with pytest.raises(ResourceError, match="not known here"):
        run_async(ask_node("127.0.0.1", master.port, stranger, Command(command="status")))


def test_faults_end_in_a_state_that_is_said(tmp_path, receiver):
    """Late files, bad lines, a model that fails, a full disk: said, and nothing wrong goes out."""
    node = Node(tmp_path, receiver, amber_clustering={"galactic_dm": ["/bin/false"]})
    with node:
        ask(node.site, Switch(way="lofar", wanted="test", who="jansen"))
        sky = Sky(tmp_path / "obs", config_is="fine")
        sky.amber.rmdir()
        node.ask("start_observation", payload=sky.path)
        time.sleep(0.5)
        sky.amber.mkdir()
        sky.pulse(dm=800.0)
        with sky.file.open("a") as file:
            file.write("nonsense\n1 2 3\n")
        sky.pulse(dm=800.0)

        def numbers():
            return node.status()["services"]["amber_clustering"]["numbers"]

        wait_for(lambda: numbers().get("candidates") == 2)
        assert numbers()["bad_lines"] == 2
        reasons = {
            v["reason"]
            for e in journal(node, "chain")
            for d in e.get("decisions", [])
            for v in d["verdicts"].values()
        }
        assert reasons == {"dm_not_known"}  # a limit of 5 would have let it out
        assert receiver.events == receiver.packets == []
        # a disk that is full, as far as the journal of the sender goes
        path = node.site.state / "chain"
        assert sum(e.get("candidates", 0) for e in journal(node, "chain")) == 2
        assert sum(e.get("bad_lines", 0) for e in journal(node, "chain")) == 2
        assert path.is_dir()


def test_services_end_with_their_master(tmp_path, receiver):
    """No child is left, no port stays taken, and the next master starts at once."""
    node = Node(tmp_path, receiver)
    node.start()
    node.wait_running()
    pids = [
        node.pid(name) for name in ("amber_clustering", "voevent_generator", "lofar_trigger", "processor")
    ]
    assert all(pids)
    node.stop(signal.SIGKILL)

    def gone():
        return not any(Path(f"/proc/{pid}").exists() for pid in pids)

    wait_for(gone)
    with node:
        assert node.status()["services"]["lofar_trigger"]["health"] == "running"


def test_without_amber_from_spectra_to_products(tmp_path, receiver):
    """Bursts in a filterbank, found by our search, decided on by the chain, cut out and listed."""
    bursts = [(100.0, 1.0), (350.0, 2.04), (420.0, 4.09), (200.0, 5.5)]
    n_chan, dt_s = 128, 327.68e-6
    freq_mhz = 1219.7 + 300 / n_chan * (np.arange(n_chan) + 0.5)
    data = np.random.default_rng(4).normal(120, 10, (n_chan, round(7.0 / dt_s)))
    for dm, at_s in bursts:
        delay_s = 4148.808 * dm * (freq_mhz**-2 - freq_mhz[-1] ** -2)
        for k in range(4):
            data[np.arange(n_chan), np.rint((at_s + delay_s) / dt_s).astype(int) + k] += 15
    banks = tmp_path / "obs" / "out" / "filterbank"
    banks.mkdir(parents=True)
    path = banks / "CB00_00.fil"
    with FilterbankWriter(path, freq_mhz, dt_s, 8) as writer:
        writer.write(data.clip(0, 255))
    with Node(tmp_path, receiver) as node:
        sky = Sky(tmp_path / "obs", start_s=time.time(), duration_s=60)
        node.ask("start_observation", payload=sky.path)
        words = [
            "-o",
            str(sky.file),
            "--dm-range",
            "0",
            "500",
            "--snr",
            "10",
            "--width-min",
            "4",
            "--idle",
            "0.5",
        ]
        subprocess.run(
            [sys.executable, "-m", "mwaconvert", "live", "search", str(path), *words], check=True, timeout=120
        )
        folder = tmp_path / "obs" / "out" / "triggers_realtime" / "data"
        wait_for(lambda: len(list(folder.glob("*.hdf5"))) == len(bursts), timeout_s=120)
        node.ask("stop_observation", payload=sky.path)
        lists = wait_for(lambda: list((tmp_path / "results").glob("*/*/CB00_summary.yaml")), timeout_s=120)
        lines = lists[0].with_name("CB00_triggers.txt").read_text().splitlines()[1:]
        dms = sorted(float(line.split()[2]) for line in lines)
        np.testing.assert_allclose(dms, sorted(dm for dm, _ in bursts), atol=10)
