"""The verb live as a user meets it."""

import json
import socket
import threading

import pytest
from click.testing import CliRunner

from mwaconvert.cli.main import main


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def files(tmp_path):
    (tmp_path / "CB00_step1.trigger").write_text(
        "# beam_id batch_id sample_id integration_step time DM_id DM SNR\n"
        "30 0 1 10 100.0 1 500.0 25\n30 0 1 10 200.0 1 500.0 12\nbad\n"
    )
    (tmp_path / "CB00.parset").write_text(
        "startpacket=1217362088000000\nduration=300\namber_dir=a\noutput_dir=b\ntaskid=1\nbeam=0\n"
        "datetimesource=2019-05-18-23:51:13.field\n"
    )
    return tmp_path / "CB00_step1.trigger", "--parset", tmp_path / "CB00.parset"


def test_decide(files):
    result = run("live", "decide", *files, "--galactic-dm", 100)
    assert result.exit_code == 0, result.output
    assert "2 candidates, 1 bad line" in result.stdout
    assert "freeze of the LOFAR buffers, would be sent:" in result.stdout
    assert "snr_low" in result.stdout
    assert "99a0" in result.stdout


def test_decide_as_json(files):
    result = run("live", "decide", *files, "--json")
    facts = json.loads(result.stdout)
    assert len(facts["decisions"]) == 2
    assert facts["decisions"][0]["verdicts"]["lofar"]["reason"] == "dm_not_known"
    assert facts["outgoing"] == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "expected --voevent, --lofar or --dada"),
        (("--lofar", "host"), "expected HOST:PORT"),
        (("--lofar", "host:99999"), "expected HOST:PORT"),
        (("--kafka", "host:9092"), "expected HOST:PORT/TOPIC"),
        (("--kafka", "host/topic"), "expected HOST:PORT"),
    ],
)
def test_bad_words(words, problem):
    result = run("live", "test-trigger", *words)
    assert result.exit_code == 2
    assert problem in result.stderr


def test_bad_parset(files, tmp_path):
    (tmp_path / "CB00.parset").write_text("duration=300\n")
    result = run("live", "decide", *files)
    assert result.exit_code == 2
    assert "lacks startpacket" in result.stderr


def test_trigger_without_an_answer():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for way in ("--voevent", "--dada"):
        result = run("live", "test-trigger", way, f"127.0.0.1:{port}")
        assert result.exit_code == 1
        assert "answer      none: " in result.stdout
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as quiet:
        quiet.bind(("127.0.0.1", 0))
        result = run(
            "live", "test-trigger", "--lofar", f"127.0.0.1:{quiet.getsockname()[1]}", "--timeout", 0.2
        )
        assert quiet.recv(20)[-1:] == b"T"
    assert result.exit_code == 1
    assert "UDP promises none" in result.stdout


def test_trigger_with_an_answer():
    received = []

    def serve():
        link, _ = server.accept()
        with link:
            while data := link.recv(1000):
                received.append(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        result = run("live", "test-trigger", "--dada", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert result.exit_code == 0
    assert b"".join(received).splitlines()[2].endswith(b" 0 0 0 0")
    assert "taken, connection closed" in result.stdout


def test_trigger_to_kafka(tmp_path):
    """To the mock broker of librdkafka, and to nobody."""
    pytest.importorskip("confluent_kafka")
    options = tmp_path / "mock.yaml"
    options.write_text("test.mock.num.brokers: 1\n")
    options.chmod(0o600)
    words = (
        "live",
        "test-trigger",
        "--kafka",
        "localhost:9/arts",
        "--kafka-options",
        options,
        "--timeout",
        20,
    )
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "sent        Kafka to localhost:9/arts" in result.stdout
    assert 'role="test"' in result.stdout
    assert "answer      partition " in result.stdout
    result = run("live", "test-trigger", "--kafka", "127.0.0.1:9/arts", "--timeout", 0.5)
    assert result.exit_code == 1
    assert "answer      none: Kafka, topic arts" in result.stdout
    options.write_text("no.such.option: 1\n")
    result = run(*words)
    assert result.exit_code == 1
    assert "no.such.option" in result.stdout
    options.chmod(0o644)
    assert "chmod 600" in run(*words).stderr
