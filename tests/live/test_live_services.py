"""A whole node: master, services, and what goes out, with processes killed while it runs."""

import ast
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from growth import held
from live_node import Node, Receiver, Sky, wait_for

from mwaconvert.cli.live.darc import darc
from mwaconvert.services.live.operator import ask
from mwaconvert.services.live.wire.messages import Switch


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def node(tmp_path, receiver):
    with Node(tmp_path, receiver) as found:
        yield found


def journal(node, service):
    (path,) = (node.site.state / service).glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def outcomes(node, service):
    return [e["outcome"] for e in journal(node, service) if "outcome" in e]


def arm(node, way, wanted="test", hours=1.0):
    return ask(node.site, Switch(way=way, wanted=wanted, who="jansen", until_s=time.time() + hours * 3600))


def test_from_a_line_to_all_ways_out_with_kills(node, receiver, tmp_path):
    """Each pulse goes out once on each way, though every process is killed on the way."""
    for way in ("lofar", "voevent"):
        assert arm(node, way).status == "Success"
    sky = Sky(tmp_path / "obs")
    assert node.ask("start_observation", payload=sky.path).message == "Observation started"
    wait_for(lambda: list((node.site.state / "chain").glob("*.jsonl")))
    sky.pulse(dm=500.0)
    wait_for(lambda: receiver.events and receiver.packets and receiver.xml)
    for service in ("amber_clustering", "dada_trigger", "lofar_trigger", "voevent_generator"):
        node.kill(service)
    time.sleep(0.2)
    second = sky.pulse(dm=700.0, width=50)
    wait_for(lambda: len(receiver.events) == 2 and len(receiver.packets) == 2 and len(receiver.xml) == 2)
    node.stop(signal.SIGKILL)  # the master: its services end with it
    wait_for(lambda: node.pid("amber_clustering") is None)
    third = sky.pulse(dm=900.0, width=50)
    node.start()
    wait_for(lambda: len(receiver.events) == 3 and len(receiver.packets) == 3 and len(receiver.xml) == 3)
    assert third > second
    node.ask("stop_observation", payload=sky.path)
    time.sleep(1.5)  # what would be sent twice is sent again every second
    assert (len(receiver.events), len(receiver.packets), len(receiver.xml)) == (3, 3, 3)
    assert [text.splitlines()[2].split()[4] for text in receiver.events] == ["500", "700", "900"]
    assert all(packet.endswith(b"T") for packet in receiver.packets)
    assert all(b'role="test"' in xml for xml in receiver.xml)
    assert [word[:15] for word in outcomes(node, "lofar_trigger")] == ["sent, as a test"] * 3
    candidates = sum(e.get("candidates", 0) for e in journal(node, "chain"))
    assert candidates == 3


@pytest.mark.services  # seconds, as it waits for processes
def test_arming(node, receiver, tmp_path):
    """Off by default; real triggers only while armed, which is kept over a restart, with who."""
    sky = Sky(tmp_path / "obs")
    node.ask("start_observation", payload=sky.path)
    sky.pulse(dm=400.0)
    wait_for(lambda: len(outcomes(node, "lofar_trigger")) == 1)
    assert outcomes(node, "lofar_trigger") == ["not sent: the way is switched off"]
    assert arm(node, "lofar", "observe", hours=30).status == "Error"
    assert arm(node, "lofar", "observe").message == "lofar_trigger: triggers are real"
    node.kill("lofar_trigger")
    time.sleep(1.2)
    sky.pulse(dm=600.0, width=50)
    wait_for(lambda: receiver.packets)
    assert receiver.packets[0].endswith(b"S")
    facts = wait_for(lambda: node.status()["services"]["lofar_trigger"]["numbers"])
    assert (facts["state"], facts["armed_by"]) == ("observe", "jansen")


def test_stale_lines_trigger_nothing(node, receiver, tmp_path):
    """A file that was there before, and pulses of long ago or of the future."""
    arm(node, "lofar")
    sky = Sky(tmp_path / "obs", start_s=time.time() - 1000, duration_s=2000)
    sky.pulse(dm=500.0, age_s=400.0)
    sky.pulse(dm=800.0, age_s=-30.0)
    node.ask("start_observation", payload=sky.path)
    seen = wait_for(
        lambda: (
            [e for e in journal(node, "chain") if e.get("decisions")]
            if list((node.site.state / "chain").glob("*"))
            else None
        )
    )
    reasons = {d["verdicts"]["iquv"]["reason"] for e in seen for d in e["decisions"]}
    assert reasons == {"too_old", "in_future"}
    assert receiver.events == receiver.packets == []


def test_the_text_protocol(node, tmp_path):
    """Replies as old clients know them."""

    def say(command, service="None", payload=None):
        more = f", 'payload':'{payload}'" if payload else ""
        reply = ast.literal_eval(node.text(f"{{'service':'{service}', 'command':'{command}'{more}}}"))
        return reply["status"], reply["message"]

    names = ["amber_listener", "amber_clustering", "dada_trigger", "voevent_generator", "lofar_trigger"]
    assert say("status", "all") == ("Success", dict.fromkeys(node.status()["services"], "running"))
    assert set(names) <= set(say("status", "all")[1])
    assert say("start", "dada_trigger") == ("Success", {"dada_trigger": "already running"})
    assert say("stop", "dada_trigger") == ("Success", {"dada_trigger": "stopped"})
    assert say("stop", "dada_trigger") == ("Success", {"dada_trigger": "stopped"})
    assert say("status", "dada_trigger") == ("Success", {"dada_trigger": "stopped"})
    assert say("start", "dada_trigger") == ("Success", {"dada_trigger": "started"})
    assert say("restart", "dada_trigger") == (
        "Success",
        {"dada_trigger": {"stop": "stopped", "start": "started"}},
    )
    assert say("get_attr interval", "lofar_trigger") == ("Success", "{'LOFARTrigger.interval': 0.1}")
    assert say("get_attr nothing", "lofar_trigger") == ("Error", "No such attribute: nothing")
    assert say("get_attr hostname") == ("Success", "{'DARCMaster.hostname': arts001}")
    assert say("fly", "dada_trigger") == ("Error", {"error": "Unknown command: fly"})
    assert say("status", "tea") == ("Error", {"error": "Invalid service: tea"})
    assert say("start_observation") == ("Error", {"error": "Payload missing"})
    assert say("start_observation", payload="/no.yaml") == ("Error", "Failed: config file not found")
    (tmp_path / "a.txt").write_text("")
    assert say("start_observation", payload=tmp_path / "a.txt") == (
        "Error",
        "Failed: unknown config file type",
    )
    off = Sky(tmp_path / "off", proctrigger=False)
    assert say("start_observation", payload=off.path)[1] == "Process triggers disabled - not starting"
    past = Sky(tmp_path / "past", task_id="2", start_s=time.time() - 1000, duration_s=10)
    assert say("start_observation", payload=past.path) == (
        "Warning",
        "Only offline processing and processor started",
    )
    one = Sky(tmp_path / "one", task_id="3")
    assert say("start_observation", "dada_trigger", one.path) == (
        "Warning",
        "Only observation for dada_trigger started",
    )
    assert say("stop_observation", payload=one.path) == ("Success", "Stopped observation")
    assert say("lofar_status") == ("Success", "LOFAR triggering is disabled")
    assert say("lofar_enable") == ("Success", "LOFAR triggering enabled")
    wait_for(lambda: say("lofar_status")[1] == "LOFAR triggering is enabled")
    assert say("lofar_enable")[1] == "LOFAR triggering already enabled"
    assert say("voevent_status")[1] == "VOEvent sending is disabled"
    node.sections["network"]["page_port"] = 1
    node.write_config()
    assert say("reload") == ("Success", "Config reloaded")
    assert say("status", "amber_clustering")[1] == {"amber_clustering": "running"}  # not ended by it
    node.sections["amber_clustering"]["no_such_thing"] = 1
    node.config.write_text("amber_clustering: {no_such_thing: 1}")
    assert say("reload")[0] == "Error"
    assert say("status", "amber_clustering")[1] == {"amber_clustering": "running"}
    done = CliRunner().invoke(darc, ["--port", str(node.text_port), "--service", "all", "status"])
    assert (done.exit_code, done.output.splitlines()[0]) == (0, "status: Success")
    done = CliRunner().invoke(darc, ["--port", str(node.text_port), "--service", "tea", "status"])
    assert (done.exit_code, done.output) == (1, "status: Error\nmessage: {'error': 'Invalid service: tea'}\n")
    assert ast.literal_eval(node.text("nonsense}"))["message"] == {"error": "Cannot parse message"}
    assert ast.literal_eval(node.text("{'service': 'all'}"))["message"] == {"error": "No command specified"}
    long = "{'service':'all', 'command':'status', 'payload':'" + "x" * 900_000 + "'}"
    assert ast.literal_eval(node.text(long))["status"] == "Success"
    began = time.monotonic()
    future = Sky(tmp_path / "future", task_id="4", start_s=time.time() + 3000)
    assert say("start_observation", payload=future.path) == ("Success", "Observation started")
    assert time.monotonic() - began < 10  # it does not wait for the start
    assert say("stop_master") == ("Success", "Stopping master")
    assert node.process.wait(30) == 0


@pytest.mark.services  # seconds, as it waits for processes
def test_observations_are_kept_apart(node, receiver, tmp_path):
    """Two observations at once: lines, decisions and ends of one are not of the other."""
    one, two = Sky(tmp_path / "one", task_id="1"), Sky(tmp_path / "two", task_id="2", beam=3)
    for sky in (one, two):
        node.ask("start_observation", payload=sky.path)
    wait_for(lambda: len(list((node.site.state / "chain").glob("*.jsonl"))) == 2)
    node.ask("abort_observation", payload=one.path)
    time.sleep(0.3)
    one.pulse(dm=300.0)
    two.pulse(dm=400.0)
    wait_for(lambda: receiver.events)
    time.sleep(0.5)
    assert [text.splitlines()[2].split()[4] for text in receiver.events] == ["400"]


@pytest.mark.services  # seconds, as it waits for processes
def test_candidates_are_cut_out_and_put_together(node, tmp_path, darc):
    """While the observation runs; the processor is killed on the way, and nothing is done twice."""
    banks = tmp_path / "obs" / "out" / "filterbank"
    banks.mkdir(parents=True)
    (banks / "CB00_00.fil").symlink_to(darc / "synthetic" / "synthetic_CB00_00.fil")
    sky = Sky(tmp_path / "obs", start_s=time.time(), duration_s=8)
    node.ask("start_observation", payload=sky.path)
    sky.write(0.12, 50.0, 20, 5)
    data = tmp_path / "obs" / "out" / "triggers_realtime" / "data"
    wait_for(lambda: list(data.glob("*DM50*.hdf5")))
    node.kill("processor")
    sky.write(0.24, 20.0, 20, 1)
    page = wait_for(lambda: list((tmp_path / "results").glob("*/*/A_info.html")), timeout_s=90)[0]
    (results,) = page.parent.glob("CB00_triggers.txt")
    assert [line.split()[2] for line in results.read_text().splitlines()[1:]] == ["50.00", "20.00"]
    assert len(list(data.glob("*.hdf5"))) == 2
    assert page.with_name("CB00.pdf").read_bytes().startswith(b"%PDF")
    assert "missing" not in page.read_text()


@pytest.mark.services  # seconds, as it asks often
def test_a_master_that_is_asked_again_and_again_does_not_grow(node):
    """The command puts off the collection of garbage; a process that runs for months must not."""
    for _ in range(50):
        node.status()
    before, _, _ = held(node.process.pid)
    for _ in range(400):
        node.status()
    assert held(node.process.pid)[0] - before < 1.5e6  # 3 MB, if nothing is collected


def test_a_service_that_ends_at_once_is_said_to(node):
    node.sections["dada_trigger"]["dialect"] = "9"
    node.write_config()
    node.kill("dada_trigger")

    def reason():
        return node.status()["services"]["dada_trigger"]["reason"]

    wait_for(lambda: "expected one of 8, 10, found '9'" in reason())


#: the released client as it is; its package would import all services, and what they need
CLIENT = """
import sys, types
package = types.ModuleType("darc")
package.__path__ = [sys.argv.pop(1) + "/darc"]
sys.modules["darc"] = package
from darc.control import main
main()
"""


@pytest.mark.services
def test_a_stock_client_talks_to_our_master(node, tmp_path):
    """The released client; MWACONVERT_DARC names a folder with its package (github.com/loostrum/darc)."""
    folder = os.environ.get("MWACONVERT_DARC")
    if not folder:
        pytest.skip("MWACONVERT_DARC names no folder with the package darc")

    def darc(*words):
        program = [sys.executable, "-c", CLIENT, folder, "--port", str(node.text_port)]
        env = {**os.environ, "HOME": str(tmp_path)}
        done = subprocess.run(
            [*program, *words], check=False, capture_output=True, text=True, env=env, timeout=60
        )
        return done.returncode, done.stdout

    code, text = darc("--service", "all", "status")
    assert code == 0
    assert "'amber_clustering': 'running'" in text
    sky = Sky(tmp_path / "obs")
    assert darc("--config", str(sky.path), "start_observation") == (
        0,
        "status: Success\nmessage: Observation started\n",
    )
    assert (
        darc("--config", str(sky.path), "stop_observation")[1]
        == "status: Success\nmessage: Stopped observation\n"
    )
    assert darc("--service", "dada_trigger", "restart")[1].endswith(
        "{'stop': 'stopped', 'start': 'started'}}\n"
    )
    assert darc("voevent_status")[1] == "status: Success\nmessage: VOEvent sending is disabled\n"
    assert darc("--service", "lofar_trigger", "get_attr", "interval")[1].endswith(
        "{'LOFARTrigger.interval': 0.1}\n"
    )
    assert darc("stop_master") == (0, "status: Success\nmessage: Stopping master\n")


@pytest.mark.services  # seconds, as it waits for processes
def test_an_event_is_taken_back(node, receiver, tmp_path):
    """By command, through master and sender, to the broker."""
    from mwaconvert.cli.live import live

    def run(*words):
        return CliRunner().invoke(live, [*words, "--config", str(node.config)])

    sky = Sky(tmp_path / "obs")
    arm(node, "voevent")
    node.ask("start_observation", payload=sky.path)
    sky.pulse(dm=400.0)
    wait_for(lambda: outcomes(node, "voevent_generator"))
    id = next(e["trigger"]["id"] for e in journal(node, "voevent_generator") if "trigger" in e)
    assert run("retract", "nonsense", "--reason", "x").exit_code == 1
    assert "sent, as a test" in run("update", id, "--dm", "401").output
    assert "sent, as a test" in run("retract", id, "--reason", "interference").output
    assert [xml.count(b"EventIVORN cite") for xml in receiver.xml] == [0, 1, 2]


@pytest.mark.services  # seconds, as it waits for processes
def test_from_a_line_to_a_topic_of_kafka(tmp_path, receiver):
    """The library's mock broker takes the event beside the one of VOEvents."""
    pytest.importorskip("confluent_kafka")
    options = tmp_path / "options.yaml"
    options.write_text("test.mock.num.brokers: 1\n")
    options.chmod(0o600)
    kafka = {"servers": "localhost:1", "topic": "t", "options": str(options), "interval": 0.1}
    with Node(tmp_path, receiver, kafka_sender=kafka) as node:
        for way in ("voevent", "kafka"):
            arm(node, way)
        sky = Sky(tmp_path / "obs")
        node.ask("start_observation", payload=sky.path)
        sky.pulse(dm=400.0)
        wait_for(lambda: receiver.xml and outcomes(node, "kafka_sender"))
        (outcome,) = outcomes(node, "kafka_sender")
        assert outcome.startswith("sent, as a test: partition ")
