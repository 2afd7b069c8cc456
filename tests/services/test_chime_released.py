"""The released chime-frb-api 4.10.0, unmodified, against the service; its own tests, and the tutorial word by word.

CHIME_FRB_API_PYTHON names a Python in which it is installed: its requirements and ours exclude each other.
"""

import ast
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chime import Chime, chime

from mwaconvert.frb.catalogue.catalogue import Catalogue
from mwaconvert.frb.catalogue.files import read_holdings
from mwaconvert.frb.catalogue.model import Classification, Holdings, Vote, read_event

pytestmark = pytest.mark.services
DRIVER = Path(__file__).parents[1] / "support" / "released_chime.py"
TUTORIAL = Path(__file__).parents[3] / "shared" / "seeds" / "001_21d7118536130802.txt"
EVENTS = {
    100001: ("NEW CANDIDATE", "NEW CANDIDATE"),
    100002: ("KNOWN CANDIDATE",),
    100003: ("RFI",),
    100004: ("FAINT",),
    100005: ("KNOWN SOURCE",),
    100006: ("UNCLASSIFIED",),
}
#: in place of the one of the wheel, which wants MongoDB
CONFTEST = """
import pytest, requests
from chime_frb_api.backends import frb_master

@pytest.fixture(scope="session")
def master():
    return frb_master.FRBMaster(debug=True, base_url="{url}")

class Collection:
    def find_one(self, wanted):
        reply = requests.get("{url}/v1/verification/get-verification/%d" % wanted["id"])
        return reply.json() if reply.status_code == 200 else None

class Database:
    verification = Collection()

@pytest.fixture(scope="session")
def test_db():
    return Database()
"""


@functools.cache
def released_python() -> str:
    """A Python with the released client."""
    python = os.environ.get("CHIME_FRB_API_PYTHON", sys.executable)
    told = "import importlib.metadata as m; import chime_frb_api; print(m.version('chime-frb-api'))"
    done = subprocess.run([python, "-c", told], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("chime-frb-api is not installed; name a Python that has it by CHIME_FRB_API_PYTHON")
    return python


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Chime]:
    folder = tmp_path_factory.mktemp("chime")
    raw = folder / "root" / "data/chime/intensity/raw/2018/07/25/astro_9386707/0166"
    raw.mkdir(parents=True)
    (raw / "a.msgpack").write_bytes(b"intensity" * 1000)
    with chime(folder, anonymous="debug", hold_s=2.0, roots=[f"site={folder / 'root'}"]) as running:
        running.client("debug")
        catalogue_of(running).load(
            Holdings(
                events=tuple(
                    read_event({"id": n, "event_type": "FRB", "measured_parameters": [{"dm": 300.0}]})
                    for n in EVENTS
                ),
                votes=tuple(
                    Vote(n, f"user {k}", Classification(word))
                    for n, words in EVENTS.items()
                    for k, word in enumerate(words)
                ),
            )
        )
        yield running


def catalogue_of(cluster: Chime) -> Catalogue:
    return Catalogue(cluster.serving.store.engine)


def released(cluster: Chime, snippet: str, tokens: dict[str, str] | None = None, code: int = 0) -> Any:
    """What a snippet leaves in `result`, or its last words if it must fail."""
    python = released_python()
    if tokens is None:
        client = cluster.client("debug")
        tokens = {"CHIME_FRB_ACCESS_TOKEN": client.token, "CHIME_FRB_REFRESH_TOKEN": client.refresh}
    env = {key: value for key, value in os.environ.items() if "FRB" not in key}
    done = subprocess.run(
        [python, DRIVER],
        input=snippet,
        env={**env, **tokens, "CHIME_URL": cluster.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        return done.stderr
    return json.loads(done.stdout[done.stdout.rindex("RESULT ") + 7 :])


MASTER = """
import time
from chime_frb_api import frb_master
master = frb_master.FRBMaster()
def spawn(name, *command):
    master.swarm.spawn_job(image_name="alpine", command=list(command), arguments=[], job_name=name)
"""


def test_its_own_tests(cluster, tmp_path):
    """All but those of the event tracer, which speak to MongoDB alone."""
    python = released_python()
    told = "import chime_frb_api; print(chime_frb_api.__path__[0])"
    wheel = Path(
        subprocess.run([python, "-c", told], capture_output=True, text=True, check=True).stdout.strip()
    )
    for path in (wheel / "tests").glob("test_*.py"):
        if path.name != "test_event_tracer.py":
            text = path.read_text().replace("http://localhost:8001", cluster.url)
            (tmp_path / path.name).write_text(text)
    (tmp_path / "conftest.py").write_text(CONFTEST.replace("{url}", cluster.url))
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={key: value for key, value in os.environ.items() if "FRB" not in key},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed >= 75
    assert "failed" not in done.stdout.splitlines()[-1]
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_tokens_and_a_refresh_before_each_call(cluster):
    snippet = MASTER + "master.swarm.get_jobs(); master.swarm.get_jobs(); result = [master.version(), sent]"
    version, sent = released(cluster, snippet)
    assert version
    paths = [path for _, path in sent]
    assert paths.count("/v1/swarm/jobs") == 2
    assert paths[paths.index("/auth/verify") + 1 :][:4] == [
        "/v1/swarm/jobs",
        "/auth/refresh",
        "/v1/swarm/jobs",
        "/auth/refresh",
    ]


def test_wrong_and_expired_tokens(cluster):
    client = cluster.client("debug")
    call = MASTER + "result = master.swarm.get_jobs()"
    wrong = {"CHIME_FRB_ACCESS_TOKEN": "wrong", "CHIME_FRB_REFRESH_TOKEN": "wrong"}
    assert "401" in released(cluster, call, wrong, code=1)
    store = cluster.serving.store
    now, store.now = store.now, lambda: now() - 2000
    try:
        old = cluster.client("debug")
    finally:
        store.now = now
    expired = {"CHIME_FRB_ACCESS_TOKEN": old.token, "CHIME_FRB_REFRESH_TOKEN": client.refresh}
    assert isinstance(released(cluster, call, expired), list)
    # without a refresh token the released client verifies once, and then fails
    alone = {"CHIME_FRB_ACCESS_TOKEN": client.token}
    assert "401" in released(cluster, call + "\nmaster.swarm.get_jobs()", alone, code=1)


def test_a_job_from_pending_to_complete(cluster):
    snippet = (
        MASTER
        + """
spawn("whole-1", "sh", "-c", "echo one; sleep 1; echo two")
seen = []
while (state := master.swarm.get_job_status("whole")["whole-1"]) != "complete":
    seen += [state] if state not in seen else []
    time.sleep(0.05)
running = master.swarm.jobs_running(["whole-1"])
result = [seen, running, master.swarm.get_logs("whole-1"), master.swarm.prune_jobs("whole-.*")]
"""
    )
    seen, running, logs, pruned = released(cluster, snippet)
    assert [word for word in seen if word != "preparing"] == ["pending", "running"]
    assert running is False
    assert pruned == {"whole-1": True}
    text = logs["whole-1"]
    lines = [ast.literal_eval(line) for line in re.findall(r"b'[^']*'", text)]
    assert "".join(map(repr, lines)) == text
    assert [line[31:] for line in lines] == [b"one\n", b"two\n"]
    assert all(re.match(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ", line) for line in lines)


def test_monitor_kill_failed_and_baseband(cluster):
    snippet = (
        MASTER
        + """
spawn("good-1", "true"); spawn("good-2", "true")
good = master.swarm.monitor_jobs("good")
spawn("mixed-1", "true"); spawn("mixed-2", "false")
mixed = master.swarm.monitor_jobs("mixed")
spawn("bad-1", "false"); spawn("bad-2", "sleep", "300")
while master.swarm.get_job_status("bad-1")["bad-1"] != "failed":
    pass
killed = master.swarm.kill_failed_jobs("bad")
last = master.swarm.kill_job("bad-2")
made = master.swarm.spawn_baseband_job(event_number=568586754, task_name="beamform", arguments=["x"], job_id=1,
    image_name="alpine", command=["echo"], job_mem_limit=1 << 28, job_mem_reservation=1 << 20)
while master.swarm.get_job_status("baseband-568586754-beamform-1") != {"baseband-568586754-beamform-1": "complete"}:
    pass
log = master.swarm.get_logs("baseband-568586754-beamform-1")
master.swarm.prune_jobs("baseband")
result = [good, mixed, killed, last, "ID" in made, log, master.swarm.get_jobs()]
"""
    )
    good, mixed, killed, last, is_made, log, left = released(cluster, snippet)
    assert (good, mixed, killed, last, is_made, left) == (
        True,
        False,
        {"bad-1": True},
        {"bad-2": True},
        True,
        [],
    )
    said = log["baseband-568586754-beamform-1"]
    assert "beamform --event-number 568586754 --job-id 1 -- x" in said


def test_twenty_jobs_a_loud_one_and_one_with_children(cluster):
    snippet = (
        MASTER
        + """
from concurrent.futures import ThreadPoolExecutor
def one_of_many(k):
    order = dict(image_name="alpine", command=["echo", str(k)], arguments=[], job_name=f"crowd-{k}")
    frb_master.FRBMaster().swarm.spawn_job(**order)
with ThreadPoolExecutor(20) as pool:
    list(pool.map(one_of_many, range(20)))
while set(master.swarm.get_job_status("crowd").values()) != {"complete"}:
    time.sleep(0.1)
logs = [master.swarm.get_logs(f"crowd-{k}")[f"crowd-{k}"] for k in range(20)]
master.swarm.prune_jobs("crowd")
loud = "import sys\\nfor k in range(100000): sys.stdout.write('%099d\\\\n' % k)"
spawn("loud", "python3", "-c", loud)
while master.swarm.get_job_status("loud") != {"loud": "complete"}:
    time.sleep(0.1)
size = len(master.swarm.get_logs("loud")["loud"])
master.swarm.kill_job("loud")
spawn("kids", "sh", "-c", "sleep 300 & sleep 301 & echo $$; wait")
while not (text := master.swarm.get_logs("kids")["kids"]):
    time.sleep(0.1)
result = [logs, size, text, master.swarm.kill_job("kids")]
"""
    )
    logs, size, text, killed = released(cluster, snippet)
    assert [log[-len(f" {k}xx'") :] for k, log in enumerate(logs)] == [f" {k}\\n'" for k in range(20)]
    assert size == 100000 * (31 + 99 + 5)
    assert killed == {"kids": True}
    pid = int(re.search(r"Z (\d+)", text)[1])
    children = subprocess.run(
        ["ps", "-o", "pid=", "-g", str(pid)], capture_output=True, text=True, check=False
    )
    assert children.stdout.strip() == ""


def test_a_bad_regex(cluster):
    assert "400 Client Error" in released(cluster, MASTER + "master.swarm.get_job_status('(')", code=1)


def test_three_pages_of_verifications(cluster):
    catalogue_of(cluster).load(
        Holdings(votes=tuple(Vote(10**7 + k, "ann", Classification.TODELETE) for k in range(3100)))
    )
    snippet = (
        MASTER + "found = master.verification.get_all_todelete_verifications(); result = [len(found), sent]"
    )
    n_found, sent = released(cluster, snippet)
    assert n_found == 3100
    assert sum("get-verifications" in path for _, path in sent) == 3


def test_events_sources_and_files(cluster, filterbanks: Path):
    catalogue_of(cluster).load(read_holdings(filterbanks / "frb" / "CHIME_catalog-2021-1-27.json"))
    snippet = (
        MASTER
        + """
repeaters = master.sources.get_source_type("FRB_REPEATER")
numbers = [n for c in master.candidates.get_all_candidates() for n in c["events"]]
events = master.events.get_event(numbers)
pipeline = {"name": "mine", "status": "COMPLETE", "log": "", "version": "1"}
master.events.add_measured_parameters(9386707, {"pipeline": pipeline, "dm": 716.0})
one = master.events.get_event(9386707)
paths = master.parameters.get_datapaths(9386707)
names = master.parameters.get_filenames(9386707)
size = master.parameters.get_datapath_size(paths[0])
data = b"".join(master.events.get_file(names[0]).iter_content(1024))
said = master.verification.add_verification(9386707, {"classification": "KNOWN CANDIDATE", "user": "me"})
result = [len(repeaters), len(numbers), len(events), one["measured_parameters"][-1]["dm"], paths, size, len(data),
    said["user_verification"][-1]["classification"], len(master.verification.get_conflicting_verifications())]
"""
    )
    n_repeaters, n_numbers, n_events, dm, paths, size, n_data, word, n_conflicts = released(cluster, snippet)
    assert (n_repeaters, n_numbers, n_events, dm) == (18, 535, 535, 716.0)
    assert paths == ["/data/chime/intensity/raw/2018/07/25/astro_9386707/0166"]
    assert size == n_data == 9000
    assert (word, n_conflicts) == ("KNOWN CANDIDATE", 1)


# ----------------------------------------------------------------------------------------------- the tutorial


def tutorial() -> str:
    if not TUTORIAL.is_file():
        pytest.skip(f"the tutorial is not at {TUTORIAL}")
    return TUTORIAL.read_text()


def block(text: str, first: str, last: str) -> str:
    """The lines from one to another, as they stand."""
    start = text.index(first)
    return text[start : text.index(last, start) + len(last)]


def test_the_blocks_of_jobs_run(cluster):
    """Each statement by itself; those that need jobs find jobs of these names."""
    text = tutorial()
    opening = block(text, "from chime_frb_api import frb_master", "master = frb_master.FRBMaster()")
    statements = re.findall(r"^\s*(master\.swarm\.\w+\((?:[^()]|\([^()]*\))*\))", text, re.MULTILINE)
    assert len(statements) == 13
    for statement in statements:
        if "spawn" in statement:
            prepare = "kill = [master.swarm.kill_job(name) for name in master.swarm.get_jobs()]"
        else:
            prepare = """
import time
kill = [master.swarm.kill_job(name) for name in master.swarm.get_jobs()]
for name in ("test", "hello-1", "hello-2"):
    master.swarm.spawn_job(image_name="alpine", command=["ls"], arguments=["/"], job_name=name)
while master.swarm.jobs_running(["test", "hello-1", "hello-2"]):
    time.sleep(0.1)
"""
        known = statement.replace("chimefrb/baseband-localization:latest", "alpine")
        found = released(cluster, f"{opening}\n{prepare}\nresult = {known}")
        if "spawn" in statement:
            assert "ID" in found, statement
        elif "monitor_jobs" in statement:
            assert found is True, statement
        elif "get_logs" in statement:
            assert re.fullmatch(
                r"(b'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z [^']*\\n')+", next(iter(found.values()))
            )
        elif "kill_job" in statement or "prune_jobs" in statement:
            assert found == {"hello-1": True}, statement
        elif "get_job_status" in statement:
            assert found == {"test": "complete"}
        elif "get_jobs" in statement:
            assert sorted(found) == ["hello-1", "hello-2", "test"]
        else:
            assert found in ({}, False), statement
    released(
        cluster, opening + "\nresult = [master.swarm.kill_job(name) for name in master.swarm.get_jobs()]"
    )


def test_the_blocks_of_queries_run(cluster, filterbanks: Path):
    catalogue = catalogue_of(cluster)
    catalogue.load(read_holdings(filterbanks / "frb" / "CHIME_catalog-2021-1-27.json"))
    text = tutorial()
    first = block(text, "from chime_frb_api import frb_master\n\n\ndef", "print(event_id, data_path, snr)")
    asked = first.replace("<TNS name of FRB>", "FRB20180916B") + "\nresult = [event_ids, data_path]"
    numbers, path = released(cluster, asked)
    assert len(numbers) == 19
    assert re.fullmatch(r"/data/frb-archiver/201[89]/\d\d/\d\d/astro_\d+/intensity/processed/", path)

    catalogue.load(
        Holdings(
            votes=(
                Vote(600001, "ann", Classification.NEW_SOURCE),
                Vote(600002, "ann", Classification.NEW_SOURCE),
            ),
            status={600001: {"baseband_data": True}},
        )
    )
    text = text[text.index("How do you get events that have baseband data?") :]
    second = block(text, "import chime_frb_api, requests", 'events_with_bb.append(event["event_id"])')
    assert "get-verifications/NEW SOURCE" in second
    assert released(cluster, second + "\nresult = events_with_bb") == [600001]

    text = text[text.index("How do you get events classified by tsar") :]
    third = block(text, "import chime_frb_api, requests", 'events_selected.append(event["event_id"])')
    for word, n_least in (
        ("KNOWN%20CANDIDATE", 61),
        ("FAINT", 1),
        ("KNOWN%20SOURCE", 1),
        ("New%20CANDIDATE", 474),
        ("RFI", 1),
    ):
        found = released(cluster, third.replace("XXX", word) + "\nresult = events_selected")
        assert len(found) >= n_least, word
