"""Events, sources, candidates, verifications and files, as the recorded client asks for them."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from chime import Chime, Recorded, chime

from mwaconvert.frb.catalogue.catalogue import Catalogue
from mwaconvert.frb.catalogue.files import read_holdings
from mwaconvert.frb.catalogue.model import Classification, Holdings, Vote
from mwaconvert.jobs.control.states import Role

EVENT = {
    "id": 9386707,
    "fpga_time": 39927134208,
    "event_type": "EXTRAGALACTIC",
    "beam_numbers": [166, 1166],
    "measured_parameters": [
        {"pipeline": {"name": "fitburst", "status": "COMPLETE"}, "dm": 715.81},
        {
            "pipeline": {"name": "realtime", "status": "COMPLETE", "logs": ""},
            "datetime": "2018-07-25 17:59:43.000000 UTC+0000",
            "dm": 716.55,
            "snr": 19.24,
            "ra": 94.36,
            "dec": 66.58,
        },
    ],
}
FOLDER = "data/chime/intensity/raw/2018/07/25/astro_9386707/0166"
CHUNK = "astro_9386707_20180725175943000000_beam0166_00000001_01.msgpack"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Chime]:
    folder = tmp_path_factory.mktemp("chime")
    held = folder / "root" / FOLDER
    held.mkdir(parents=True)
    (held / CHUNK).write_bytes(b"intensity")
    (held / "longer.txt").write_bytes(b"words and words")
    (folder / "secret").write_text("secret")
    (held / "out").symlink_to(folder / "secret")
    with chime(folder, roots=[f"site={folder / 'root'}"]) as running:
        yield running


@pytest.fixture
def client(cluster) -> Recorded:
    return cluster.client()


def test_events_come_back_as_they_were_sent(client):
    assert client.call("POST", "/v1/events/", EVENT).status == 200
    assert client.call("POST", "/v1/events/", {"id": 2, "beam_numbers": []}).status == 200
    assert client.call("GET", "/v1/events/9386707").json() == EVENT
    both = client.call("POST", "/v1/events/get_events", {"event_ids": [9386707, 2, 3]}).json()
    assert sorted(both) == ["2", "9386707"]
    alone = client.call("POST", "/v1/events/get_events", {"event_ids": [9386707]}).json()
    assert alone == EVENT
    assert client.call("GET", "/v1/events/77").status == 404
    assert client.call("POST", "/v1/events/get_events", {"event_ids": list(range(1, 5002))}).status == 400


def test_what_is_measured_is_written_back(client):
    client.call("POST", "/v1/events/", EVENT)
    measured = [{"pipeline": {"name": "mine"}, "dm": 716.0, "sub_burst_dm": [1.0]}]
    assert client.call("PUT", "/v1/events/measured-parameters/9386707", measured).json() is True
    assert client.call("GET", "/v1/events/9386707").json()["measured_parameters"][-1] == measured[0]
    assert client.call("PUT", "/v1/events/measured-parameters/77", measured).status == 404


def test_full_headers(client):
    client.call("POST", "/v1/events/", {"id": 11, "full_header": {"event_no": 11}})
    client.call("POST", "/v1/events/", {"id": 12, "full_header": {"event_no": 12}})
    assert client.call("GET", "/v1/events/full-header/11").json() == {"event_no": 11}
    assert sorted(client.call("GET", "/v1/events/full-header/11,12").json()) == ["11", "12"]
    assert client.call("GET", "/v1/events/full-header/9386707").status == 404


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"event_type": "X"}, "expected its number"),
        ({"id": "../../etc"}, "expected its number"),
        ({"id": -4}, "expected its number"),
        ({"id": True}, "expected its number"),
        ({"id": 1 << 70}, "expected its number"),
        ({"id": 1, "beam_numbers": "166"}, "beam_numbers: a list of whole numbers"),
        ({"id": 1, "measured_parameters": [1]}, "a list of objects is expected"),
        ({"id": 1, "measured_parameters": [{"pipeline": "x"}]}, "a list of objects is expected"),
    ],
)
def test_events_that_are_refused(client, body, text):
    reply = client.call("POST", "/v1/events/", body)
    assert reply.status == 400
    assert text in reply.json()["error"]


def test_numbers_that_json_does_not_know(client):
    reply = client.call("POST", "/v1/events/", b'{"id": 5, "dm": NaN}')
    assert reply.status == 400
    assert client.call("GET", "/v1/events/5").status == 404


def test_files_of_the_archive(client):
    client.call("POST", "/v1/events/", EVENT)
    assert client.call("GET", "/v1/events/datapaths/9386707").json() == [f"/{FOLDER}"]
    names = client.call("GET", "/v1/events/filenames/9386707").json()
    assert names == [f"/{FOLDER}/{CHUNK}", f"/{FOLDER}/longer.txt"]
    assert client.call("POST", "/v1/events/filename", {"filename": names[0]}).body == b"intensity"
    assert client.call("POST", "/v1/events/datapath/size", {"datapath": f"/{FOLDER}"}).json() == 24
    largest = {"datapath": f"/{FOLDER}", "fileformat": ".msgpack"}
    assert client.call("POST", "/v1/events/datapath/max-size", largest).json() == 9
    assert client.call("GET", "/v1/events/datapaths/4").json() == []


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../secret",
        f"/{FOLDER}/../../../../../../../../secret",
        f"/{FOLDER}/out",
        "",
        "/",
        "a\0b",
    ],
)
def test_files_leave_the_roots_only(client, name):
    assert client.call("POST", "/v1/events/filename", {"filename": name}).status == 404
    if name not in ("", "/"):
        assert client.call("POST", "/v1/events/datapath/size", {"datapath": name}).status == 404


@pytest.mark.parametrize("number", ["..%2f..%2fetc", "abc", "-1", "1e3", "%00", "9" * 40])
def test_numbers_of_events_are_no_paths(client, number):
    for path in ("", "datapaths/", "filenames/", "full-header/"):
        assert client.call("GET", f"/v1/events/{path}{number}").status in (400, 404)
    assert client.call("GET", f"/v1/verification/get-verification/{number}").status in (400, 404)


def test_votes_and_conflicts(client):
    def say(number: int, word: str, user: str) -> dict:
        body = {"classification": word, "user": user, "comments": "x"}
        return client.call("POST", f"/v1/verification/add-user-classification/{number}", body).json()

    def listed(word: str, more: str = "") -> set[int]:
        found = client.call("GET", f"/v1/verification/get-verifications/{word}{more}").json()
        return {record["event_id"] for record in found}

    record = say(501, "RFI", "ann")
    assert record["user_verification"] == [{"classification": "RFI", "user": "ann", "comments": "x"}]
    assert record["data_status"] == {"baseband_data": False, "intensity_data": False}
    assert 501 in listed("RFI", "?skip=0&limit=10&strict=true")
    say(501, "FAINT", "bob")
    assert 501 not in listed("RFI", "?strict=true")
    assert 501 in listed("FAINT")
    assert {
        r["event_id"] for r in client.call("GET", "/v1/verification/get-conflicting-verifications").json()
    } == {501}
    say(501, "known source", "cat")
    assert 501 in listed("KNOWN%20SOURCE")
    say(501, "RFI", "cat")  # another opinion of the same person
    assert 501 in listed("RFI", "?strict=true")
    assert client.call("GET", "/v1/verification/get-conflicting-verifications").json() == []
    assert len(client.call("GET", "/v1/verification/get-verification/501").json()["user_verification"]) == 3
    assert listed("NEW SOURCE") == set()
    assert client.call("GET", "/v1/verification/get-verifications/nonsense").status == 400
    assert client.call("GET", "/v1/verification/get-verifications/RFI?limit=0").status == 400
    assert client.call("GET", "/v1/verification/get-verification/77").status == 404


def test_three_pages_of_verifications(cluster, client):
    votes = tuple(Vote(10**6 + k, "ann", Classification.NEW_CANDIDATE) for k in range(3200))
    catalogue_of(cluster).load(Holdings(votes=votes))
    seen, skip = [], 0
    sizes = []
    while True:
        path = f"/v1/verification/get-verifications/NEW CANDIDATE?skip={skip}&limit=1500&strict=true"
        page = client.call("GET", path).json()
        seen += [record["event_id"] for record in page]
        sizes.append(len(page))
        if len(page) < 1500:
            break
        skip += 1500
    assert sizes == [1500, 1500, 200]
    assert sorted(seen) == [vote.event_id for vote in votes]
    whole = client.call("GET", "/v1/verification/get-verifications/New%20CANDIDATE").json()
    assert len(whole) == 3200  # the tutorial asks without pages


def catalogue_of(cluster: Chime) -> Catalogue:
    return Catalogue(cluster.serving.store.engine)


def test_the_public_catalogue(cluster, client, filterbanks: Path):
    """The way of the tutorial from a name in the TNS to the numbers of its bursts."""
    catalogue = catalogue_of(cluster)
    holdings = read_holdings(filterbanks / "frb" / "CHIME_catalog-2021-1-27.json")
    assert len(holdings.events) == 535
    catalogue.load(holdings)
    catalogue.load(holdings)  # again: nothing is doubled
    repeaters = client.call("GET", "/v1/sources/search/type/FRB_REPEATER").json()
    assert len(repeaters) == 18
    source = client.call("GET", "/v1/sources/FRB20180916B").json()
    candidates = client.call("GET", "/v1/candidates").json()
    numbers = [n for c in candidates if c["id"] in source["candidate_id"] for n in c["events"]]
    assert len(numbers) == 19
    event = client.call("GET", "/v1/events/9386707").json()
    realtime = next(p for p in event["measured_parameters"] if p["pipeline"]["name"] == "realtime")
    assert realtime["dm"] == 716.5512084961
    assert realtime["datetime"].startswith("2018-07-25 17:59:42.99")
    assert client.call("GET", "/v1/sources/180725.J0613+67").json()["name"] == "FRB20180725A"
    assert client.call("GET", "/v1/sources/20180725A").json()["type"] == "FRB"
    assert client.call("GET", "/v1/sources/nobody").status == 404
    spectrum = client.call("GET", "/v1/sources/spectrum/FRB20180725A").json()
    peak = spectrum["freqs"][spectrum["expected_spectrum"].index(1.0)]
    assert math.isclose(peak, 607.385, abs_tol=1.0)  # peak_frequency of the catalogue
    known = client.call("GET", "/v1/verification/get-verifications/KNOWN%20CANDIDATE").json()
    assert len(known) == 61
    assert client.call("GET", "/v2/tns/search/9386707?sandbox=false").json() == {
        "success": True,
        "tns_name": "FRB20180725A",
    }


def test_alerts_and_subscribers(client):
    for kind in ("detection", "update", "retraction"):
        reply = client.call("POST", f"/v1/voe/{kind}?debug=1?trial=1", {"VOEvent": {"event_no": 1}})
        assert reply.json() == {"type": kind, "voe_created": True, "transmission": "debug mode"}
    record = client.call("GET", "/v1/voe/1").json()["record"]
    assert [entry["information_source_type"] for entry in record] == ["HEADER", "INTENSITY", "HUMAN"]
    assert [entry["id"] for entry in client.call("GET", "/v1/voe").json()] == [1]
    assert client.call("GET", "/v1/voe/2").status == 404
    someone = {"email_address": "ann@example.org", "xmls": True}
    assert client.call("POST", "/v1/voe-subscribers/add", someone).json() is True
    assert client.call("POST", "/v1/voe-subscribers/add", someone).json() is True
    assert client.call("GET", "/v1/voe-subscribers/").json() == [someone]
    assert client.call("POST", "/v1/voe-subscribers/", {"email_address": "ann@example.org"}).json() == someone
    assert (
        client.call("POST", "/v1/voe-subscribers/delete", {"email_address": "ann@example.org"}).json() is True
    )
    assert client.call("GET", "/v1/voe-subscribers/").json() == []


def test_injections_and_calibrations(client):
    assert client.call("GET", "/v1/mimic/active_injections").json() == []
    assert client.call("GET", "/v1/mimic/123").json() == {"injection": None, "detection": None}
    key = client.call("POST", "/v1/mimic/injection", {"dm": 5.0, "injection_program": "p"}).json()["uuid"]
    assert [record["uuid"] for record in client.call("GET", "/v1/mimic/active_injections").json()] == [key]
    assert client.call("POST", "/v1/mimic/detection", {"uuid": key, "snr": 9.0}).status == 200
    assert client.call("GET", "/v1/mimic/active_injections").json() == []
    assert client.call("GET", f"/v1/mimic/{key}").json()["detection"]["snr"] == 9.0
    assert client.call("GET", "/v2/mimic/injection/programs").json() == ["p"]
    made = {
        "source_name": "CAS_A",
        "utc_date": "20190101",
        "ra": 350.8,
        "dec": 58.8,
        "calprod_filepath": "/a.npz",
    }
    assert client.call("POST", "/v1/calibration", made).json() is True
    for path in ("20190101", "CAS_A", "CAS_A/20190101", "CAS_A/20181231-20190102"):
        assert client.call("GET", f"/v1/calibration/{path}").json() == [made], path
    assert client.call("GET", "/v1/calibration/CYG_A").json() == []
    assert client.call("GET", "/v1/calibration/nearest/20190101/11.0/11.0").json() == made
    assert client.call("GET", "/v1/calibration/nearest/20200101/11.0/11.0").status == 404
    assert (
        client.call("POST", "/v1/calibration/get-calibration", {"calprod_filepath": "/a.npz"}).json() == made
    )


def test_nodes_and_beams(client):
    node = client.call("GET", "/v1/parameters/get-node-info/cf1n1").json()
    assert node == {"beams": list(range(8, 16)), "ip_addrs": ["10.6.201.11", "10.7.201.11"]}
    assert client.call("GET", "/v1/parameters/get-beam-info/1234").json()["hostname"] == "cf7n1"
    for number in (0, 255, 1000, 2128, 3255):  # each the other's inverse
        name = client.call("GET", f"/v1/parameters/get-beam-info/{number}").json()["hostname"]
        assert number in client.call("GET", f"/v1/parameters/get-node-info/{name}").json()["beams"]
    assert client.call("GET", "/v1/parameters/get-beam-info/256").status == 404
    assert client.call("GET", "/v1/parameters/get-node-info/x").status == 404


def test_who_only_looks_changes_nothing(cluster):
    looks = cluster.client("looks", Role.VIEW)
    assert looks.call("GET", "/v1/candidates").status == 200
    for method, path in (
        ("POST", "/v1/events/"),
        ("PUT", "/v1/events/measured-parameters/1"),
        ("POST", "/v1/verification/add-user-classification/1"),
        ("POST", "/v1/voe/detection"),
        ("POST", "/v1/mimic/injection"),
        ("POST", "/v1/calibration"),
        ("POST", "/v1/voe-subscribers/add"),
    ):
        assert looks.call(method, path, {}).status == 403, path
    assert looks.call("POST", "/v2/tns/submit/1").status == 403
    assert json.loads(Recorded(cluster.url).send("GET", "/v1/candidates").body)["error"].startswith(
        "log in first"
    )
