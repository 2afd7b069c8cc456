"""The Python API: the names of manta-ray-client's, and what it does beyond it."""

import ssl

import pytest
import requests
from fake_asvo import KEY, fake_asvo, job_row

from mwaconvert.clients import asvo
from mwaconvert.clients.asvo import Notify, Session, address_from
from mwaconvert.errors import FormatError, InputError


@pytest.fixture
def server():
    with fake_asvo() as running:
        yield running


def where(server) -> tuple[str, str, int, str]:
    return "0", "127.0.0.1", server.server_port, KEY


@pytest.mark.parametrize(
    ("environ", "api"),
    [
        ({}, "https://asvo.mwatelescope.org:443/api"),
        ({"MWA_ASVO_HOST": "h"}, "https://h:443/api"),
        ({"MWA_ASVO_HOST": "h", "MWA_ASVO_PORT": "8778", "MWA_ASVO_HTTPS": "0"}, "http://h:8778/api"),
        ({"MWA_ASVO_HOST": "h", "MWA_ASVO_HTTPS": "yes"}, "http://h:443/api"),  # only 1 is TLS
        ({"MWA_ASVO_HOST": "h:8778", "MWA_ASVO_PORT": "1"}, "https://h:8778/api"),
        ({"MWA_ASVO_HOST": "https://h:8778/", "MWA_ASVO_HTTPS": "0"}, "https://h:8778/api"),
        ({"MWA_ASVO_HOST": "http://h", "MWA_ASVO_PORT": "8778"}, "http://h:80/api"),
    ],
)
def test_addresses_of_both_clients(environ, api):
    assert address_from(environ).api == api


@pytest.mark.parametrize("host", ["ftp://h", "http://", "h/path", "h:port", ""])
def test_wrong_addresses(host):
    if host == "":
        assert address_from({"MWA_ASVO_HOST": ""}).host == "asvo.mwatelescope.org"
    else:
        with pytest.raises(InputError, match="MWA_ASVO_HOST"):
            address_from({"MWA_ASVO_HOST": host})


def test_versions():
    assert asvo.get_api_version_number() == "mantaray-clientv2.0"
    assert asvo.get_version_number() == "2.0.1"
    assert asvo.get_pretty_version_string().startswith("manta-ray-client version 2.0.1")


def test_a_session(server, tmp_path):
    server.script.jobs = [job_row(21, "queued")]
    with Session.login(*where(server)) as session:
        flags = ["norfi", "allowmissing"]
        assert session.submit_conversion_job(1110103576, 8, 40, 80, "ms", True, flags) == {"job_id": 101}
        assert server.script.heard[-1].form == {
            "obs_id": "1110103576",
            "timeres": "8",
            "freqres": "40",
            "edgewidth": "80",
            "conversion": "ms",
            "calibrate": "True",
            "norfi": "1",
            "allowmissing": "1",
        }
        assert session.submit_download_job(1110103576, "vis") == {"job_id": 102}
        assert session.get_jobs()[0]["row"]["id"] == 21
        session.cancel_job(21)
        file = server.add_file("a.tar", b"data")
        path = session.download_file_product(21, file["url"], tmp_path / "a.tar")
        assert path.read_bytes() == b"data"


def test_failures_are_those_of_requests(server):
    with pytest.raises(requests.HTTPError) as caught:
        Session.login("0", "127.0.0.1", server.server_port, "wrong")
    assert caught.value.response.text == "Invalid API key"
    assert KEY not in str(caught.value)
    server.script.replies = [(400, {"error": "no", "error_code": 0})]
    with Session.login(*where(server)) as session, pytest.raises(requests.HTTPError):
        session.submit_download_job(1, "vis")


def test_a_null_list_is_an_empty_one(server):
    server.script.jobs = None
    with Session.login(*where(server)) as session:
        assert session.get_jobs() == []


def test_the_notifier(server):
    for frame in (job_row(21, "queued"), "no json", job_row(21, "completed"), None):
        server.script.frames.put(frame)
    with Notify.login(*where(server), sslopt={"cert_reqs": ssl.CERT_NONE}) as notify:
        assert notify.recv()["row"]["job_state"] == "queued"
        assert notify.recv()["row"]["job_state"] == "completed"
        assert notify.recv() is None


def test_a_silent_notifier(server):
    with Notify.login(*where(server)) as notify, pytest.raises(TimeoutError):
        notify.recv(0.1)


def test_an_endless_answer_is_cut(server, tmp_path, monkeypatch):
    monkeypatch.setattr("mwaconvert.clients.downloads.time.sleep", lambda _: None)
    file = server.add_file("a.tar", bytes(5_000_000))
    with (
        Session.login(*where(server)) as session,
        pytest.raises(FormatError, match="more than the 1000 bytes"),
    ):
        session.download_file_product(21, file["url"], tmp_path / "a.tar", 1000, file["sha1"])
    assert list(tmp_path.iterdir()) == []
