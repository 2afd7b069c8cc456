"""CHIME/FRB from Python: jobs of the cluster, and queries of events, sources, candidates and verifications.

The names are those of `chime_frb_api`, so a program that uses it changes one import. What differs: the address comes
from `CHIME_FRB_URL`, tokens that are given are used, a token is renewed when it ends and not before each call, no call
hangs, and jobs can be waited for.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mwaconvert import __version__
from mwaconvert.errors import InputError
from mwaconvert.extras import need

if TYPE_CHECKING:
    import requests

URL_VARIABLE = "CHIME_FRB_URL"
ACCESS_VARIABLE, REFRESH_VARIABLE = "CHIME_FRB_ACCESS_TOKEN", "CHIME_FRB_REFRESH_TOKEN"
#: as jobs of the cluster get them
JOB_ACCESS_VARIABLE, JOB_REFRESH_VARIABLE = "FRB_MASTER_ACCESS_TOKEN", "FRB_MASTER_REFRESH_TOKEN"
USER_VARIABLE, PASSWORD_VARIABLE = "FRB_MASTER_USERNAME", "FRB_MASTER_PASSWORD"
#: seconds to wait for a connection, and for the next bytes of an answer
_TIMEOUT_S = (5.0, 60.0)
_TRIES, _AGAIN_S = 3, 1.0
_SOON_S = 30.0
#: records that the service sends at once
PAGE = 1500
_AT_ONCE = 300
UNFINISHED = frozenset(
    {"new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"}
)


class API:
    """Requests to a service, with tokens.

    Parameters
    ----------
    base_url : of the service; else the variable CHIME_FRB_URL
    access_token, refresh_token : else CHIME_FRB_ACCESS_TOKEN and CHIME_FRB_REFRESH_TOKEN, or FRB_MASTER_..., which jobs
        of the cluster get
    username, password : to log in where there are no tokens; else FRB_MASTER_USERNAME and FRB_MASTER_PASSWORD
    authentication : False sends no token
    timeout_s : how long the next bytes of an answer may take
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        access_token: str | None = None,
        refresh_token: str | None = None,
        username: str | None = None,
        password: str | None = None,
        authentication: bool = True,
        timeout_s: float = _TIMEOUT_S[1],
    ) -> None:
        url = base_url or os.environ.get(URL_VARIABLE)
        if not url:
            raise InputError(f"name the service with base_url=, or set {URL_VARIABLE}")
        self.base_url = url.rstrip("/")
        self.access_token = access_token or _variable(ACCESS_VARIABLE, JOB_ACCESS_VARIABLE)
        self.refresh_token = refresh_token or _variable(REFRESH_VARIABLE, JOB_REFRESH_VARIABLE)
        self.username = username or os.environ.get(USER_VARIABLE)
        self.password = password or os.environ.get(PASSWORD_VARIABLE)
        self.authentication = authentication
        self._timeout_s = (_TIMEOUT_S[0], timeout_s)
        self._session = need("requests", "client", "the client of CHIME/FRB").Session()
        self._session.headers["User-Agent"] = f"mwaconvert/{__version__}"

    def __repr__(self) -> str:
        return f"API('{self.base_url}')"

    def generate_token(self, username: str | None = None, password: str | None = None) -> bool:
        """Log in; True, or an HTTPError."""
        login = {"username": username or self.username, "password": password or self.password}
        tokens = self._answer("POST", "/auth", json=login).json()
        self.access_token, self.refresh_token = tokens["access_token"], tokens["refresh_token"]
        return True

    def authorize(self) -> bool:
        """Whether the service takes the token, renewed if need be."""
        if not self.access_token and not (self.username and self.password):
            return False
        self.renew()
        return bool(self._answer("GET", "/auth/verify", headers=self._headers()).json()["valid"])

    def reauthorize(self) -> bool:
        """Get a new access token for the refresh token; True, or an HTTPError."""
        reply = self._answer("POST", "/auth/refresh", json={"refresh_token": self.refresh_token})
        self.access_token = reply.json()["access_token"]
        return True

    def get(self, url: str, **more: Any) -> Any:
        """What the service answers, as JSON."""
        return self.send("GET", url, **more).json()

    def post(self, url: str, **more: Any) -> Any:
        """What the service answers, as JSON."""
        return self.send("POST", url, **more).json()

    def put(self, url: str, **more: Any) -> Any:
        """What the service answers, as JSON."""
        return self.send("PUT", url, **more).json()

    def send(self, method: str, url: str, **more: Any) -> requests.Response:
        """An answer of the service.

        Raises
        ------
        requests.HTTPError : the service refuses; its own sentence is in the message
        requests.ConnectionError, requests.Timeout : it does not answer
        """
        if self.authentication:
            self.renew()
            more["headers"] = {**self._headers(), **more.get("headers", {})}
        return self._answer(method, url, **more)

    def _headers(self) -> dict[str, str]:
        return {"authorization": self.access_token} if self.access_token else {}

    def renew(self) -> None:
        """A new token if there is none, or it ends within half a minute."""
        if self.access_token and time.time() < _end_of(self.access_token) - _SOON_S:
            return
        if self.refresh_token:
            self.reauthorize()
        elif self.username and self.password:
            self.generate_token()

    def _answer(self, method: str, url: str, **more: Any) -> requests.Response:
        import requests

        # what only looks may be repeated
        tries = _TRIES if method == "GET" else 1
        reply: requests.Response
        while True:
            tries -= 1
            try:
                reply = self._session.request(method, self.base_url + url, timeout=self._timeout_s, **more)
                if reply.status_code not in (502, 503, 504) or not tries:
                    break
            except (requests.ConnectionError, requests.Timeout):
                if not tries:
                    raise
            time.sleep(_AGAIN_S)
        if not reply.ok:
            raise requests.HTTPError(f"{reply.status_code}: {_sentence(reply)}", response=reply)
        return reply


def _variable(*names: str) -> str | None:
    """The first of these that is set."""
    return next((value for name in names if (value := os.environ.get(name))), None)


def _end_of(token: str) -> float:
    """When a token ends, s since 1970; infinity if it does not say."""
    try:
        body = token.split(".")[1]
        facts = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return float(facts["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return float("inf")


def _sentence(reply: requests.Response) -> str:
    try:
        return str(reply.json()["error"])
    except (ValueError, KeyError, TypeError):
        return reply.reason or "refused"


class FRBMaster:
    """A service of CHIME/FRB.

    Parameters
    ----------
    base_url : else the variable CHIME_FRB_URL
    options : of `API`

    Examples
    --------
    >>> master = FRBMaster()  # doctest: +SKIP
    >>> master.swarm.spawn_job(image_name="alpine", command=["ls"], arguments=[], job_name="test")  # doctest: +SKIP
    >>> master.swarm.wait("test", timeout_s=600)  # doctest: +SKIP
    {'test': 'complete'}
    """

    def __init__(self, base_url: str | None = None, **options: Any) -> None:
        self.API = API(base_url, **options)
        self.swarm = Swarm(self.API)
        self.events = Events(self.API)
        self.sources = Sources(self.API)
        self.candidates = Candidates(self.API)
        self.verification = Verification(self.API)
        self.parameters = Parameters(self.API)

    def __repr__(self) -> str:
        return f"FRBMaster('{self.API.base_url}')"

    def version(self) -> str:
        """Of the service."""
        return str(self.API.get("/version")["version"])


class Swarm:
    """Jobs of the cluster."""

    def __init__(self, api: API) -> None:
        self.API = api

    def get_jobs(self) -> list[str]:
        """Names of all jobs."""
        return list(self.API.get("/v1/swarm/jobs"))

    def get_job_status(self, job_name: str | Sequence[str]) -> dict[str, str]:
        """States of jobs.

        Parameters
        ----------
        job_name : a regular expression that the beginning of a name must match, or a list of whole names
        """
        return dict(self.API.get(f"/v1/swarm/job-status/{_quoted(_pattern(job_name))}"))

    def spawn_job(
        self,
        image_name: str,
        command: Sequence[str],
        arguments: Sequence[str],
        job_name: str,
        mount_archiver: bool = True,
        swarm_network: bool = True,
        job_mem_limit: int = 4294967296,
        job_mem_reservation: int = 268435456,
        job_cpu_limit: float = 1,
        job_cpu_reservation: float = 1,
        environment: dict[str, str] | None = None,
    ) -> dict[str, str]:
        """Start a job; its id is under "ID".

        Parameters
        ----------
        job_name : unique among the jobs that are listed
        mount_archiver : see the archive, to read, as /data/chime
        job_mem_limit, job_mem_reservation : bytes
        job_cpu_limit, job_cpu_reservation : cores
        """
        order = {
            "image_name": image_name,
            "command": list(command),
            "arguments": list(arguments),
            "job_name": job_name,
            "mount_archiver": mount_archiver,
            "swarm_network": swarm_network,
            "job_mem_reservation": job_mem_reservation,
            "job_mem_limit": job_mem_limit,
            "job_cpu_limit": job_cpu_limit,
            "job_cpu_reservation": job_cpu_reservation,
            "environment": environment or {},
        }
        return dict(self.API.post("/v1/swarm/spawn-job", json=order))

    def spawn_baseband_job(
        self,
        event_number: int,
        task_name: str,
        arguments: Sequence[str] = (),
        job_id: int | None = None,
        image_name: str = "chimefrb/baseband-localization:latest",
        command: Sequence[str] = ("baseband_analysis/pipelines/cluster/cluster_cli.py",),
        job_name: str | None = None,
        job_mem_limit: int = 10 * 1024**3,
        job_mem_reservation: int = 10 * 1024**3,
        environment: dict[str, str] | None = None,
        **more: Any,
    ) -> dict[str, str]:
        """Start a job that works on the baseband data of an event, with the tokens of this client."""
        name = job_name or f"baseband-{event_number}-{task_name}"
        if job_name is None and job_id is not None and job_id >= 0:
            name += f"-{job_id}"
        of_job = [] if job_id is None else ["--job-id", str(job_id)]
        self.API.renew()
        tokens = {
            JOB_ACCESS_VARIABLE: self.API.access_token,
            JOB_REFRESH_VARIABLE: self.API.refresh_token,
        }
        given = {key: value for key, value in tokens.items() if value}
        return self.spawn_job(
            image_name=image_name,
            command=[*command, task_name],
            arguments=["--event-number", str(event_number), *of_job, "--", *arguments],
            job_name=name,
            job_mem_limit=job_mem_limit,
            job_mem_reservation=job_mem_reservation,
            environment={**given, **(environment or {})},
            **{"job_cpu_limit": 2, "job_cpu_reservation": 2, **more},
        )

    def get_logs(self, job_name: str) -> dict[str, str]:
        """What a job printed, each line as a Python literal with its time."""
        return dict(self.API.get(f"/v1/swarm/logs/{_quoted(job_name)}"))

    def get_log(self, job_name: str) -> str:
        """What a job printed, as it is."""
        return self.API.send("GET", f"/v1/swarm/log/{_quoted(job_name)}").text

    def get_record(self, job_name: str) -> dict[str, Any]:
        """All that the service knows of a job: what was asked for, what is enforced, how it ended."""
        return dict(self.API.get(f"/v1/swarm/job/{_quoted(job_name)}"))

    def prune_jobs(self, job_name: str | Sequence[str]) -> dict[str, bool]:
        """Remove jobs that are complete, by a regular expression or by their names."""
        return dict(self.API.get(f"/v1/swarm/prune-job/{_quoted(_pattern(job_name))}"))

    def kill_job(self, job_name: str) -> dict[str, bool]:
        """End a job, whatever its state, and remove it."""
        return dict(self.API.get(f"/v1/swarm/kill-job/{_quoted(job_name)}"))

    def kill_failed_jobs(self, job_name: str | Sequence[str]) -> dict[str, bool]:
        """Remove jobs that failed, by a regular expression or by their names."""
        states = self.get_job_status(job_name)
        failed = [name for name, state in states.items() if state not in UNFINISHED | {"complete"}]
        return {name: self.kill_job(name)[name] for name in failed}

    def jobs_running(self, job_names: str | Sequence[str]) -> bool:
        """Whether any of the jobs has not ended."""
        return not UNFINISHED.isdisjoint(self.get_job_status(job_names).values())

    def wait(
        self, job_name: str | Sequence[str], timeout_s: float | None = None, poll_s: float = 2.0
    ) -> dict[str, str]:
        """Wait until all jobs of a regular expression or of these names have ended; their states.

        Raises
        ------
        TimeoutError : some have not, after `timeout_s`
        InputError : there are none
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            states = self.get_job_status(job_name)
            if not states:
                raise InputError(f"no job is called {job_name!r}")
            left = sorted(name for name, state in states.items() if state in UNFINISHED)
            if not left:
                return states
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"after {timeout_s:g} s not ended: {', '.join(left[:8])}")
            time.sleep(poll_s if deadline is None else max(0.0, min(poll_s, deadline - time.monotonic())))

    def follow(self, job_name: str, timeout_s: float | None = None, poll_s: float = 1.0) -> Iterator[str]:
        """Lines that a job prints, as they come, until it ends.

        Raises
        ------
        TimeoutError : it has not ended after `timeout_s`
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        known = 0
        while True:
            state = self.get_record(job_name)["status"]
            reply = self.API.send("GET", f"/v1/swarm/log/{_quoted(job_name)}", params={"after": known})
            known = int(reply.headers["X-Log-Bytes"])
            yield from reply.text.splitlines()
            if state not in UNFINISHED:
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{job_name} is {state} after {timeout_s:g} s")
            time.sleep(poll_s)

    def monitor_jobs(
        self,
        job_name: str | Sequence[str],
        error_logs: bool = False,
        timeout_s: float | None = None,
        poll_s: float = 2.0,
    ) -> bool:
        """Wait for jobs, say how many completed, remove them all; whether all completed.

        Parameters
        ----------
        error_logs : print what those that failed have printed
        """
        states = self.wait(job_name, timeout_s, poll_s)
        counts = Counter("completed" if state == "complete" else "failed" for state in states.values())
        for word in ("completed", "failed"):
            print(f"{word}: {counts[word]} of {len(states)} ({100 * counts[word] / len(states):.0f} %)")
        failed = sorted(name for name, state in states.items() if state != "complete")
        for name in failed:
            print(f"{name}: {states[name]}: {self.get_record(name)['error']}")
            if error_logs:
                print(self.get_log(name))
        self.prune_jobs(list(states))
        for name in failed:
            self.kill_job(name)
        return not failed


class Events:
    """Events."""

    def __init__(self, api: API) -> None:
        self.API = api

    def get_event(self, event_number: int | Iterable[int], full_header: bool = False) -> dict[str, Any]:
        """An event, or events by number; numbers of numpy are fine."""
        if not isinstance(event_number, Iterable):
            kind = "full-header/" if full_header else ""
            return dict(self.API.get(f"/v1/events/{kind}{int(event_number)}"))
        numbers = [int(number) for number in event_number]
        found: dict[str, Any] = {}
        for start in range(0, len(numbers), _AT_ONCE):
            part = numbers[start : start + _AT_ONCE]
            if full_header:
                reply = self.API.get(f"/v1/events/full-header/{','.join(map(str, part))}")
            else:
                reply = self.API.post("/v1/events/get_events", json={"event_ids": part})
            # the service sends one alone as it is
            found.update({str(part[0]): reply} if len(part) == 1 else reply)
        return found

    def get_file(self, filename: str) -> requests.Response:
        """A file of the archive; read it with `iter_content`."""
        return self.API.send("POST", "/v1/events/filename", json={"filename": filename}, stream=True)

    def add_measured_parameters(
        self, event_number: int, measured_parameters: dict[str, Any] | Sequence[dict[str, Any]]
    ) -> bool:
        """Add what a pipeline measured."""
        entries = (
            [measured_parameters] if isinstance(measured_parameters, dict) else list(measured_parameters)
        )
        return bool(self.API.put(f"/v1/events/measured-parameters/{int(event_number)}", json=entries))


class Sources:
    """Sources."""

    def __init__(self, api: API) -> None:
        self.API = api

    def get_source(self, source_name: str) -> dict[str, Any]:
        """A source by its name in the TNS."""
        return dict(self.API.get(f"/v1/sources/{_quoted(source_name)}"))

    def get_source_type(self, source_type: str) -> list[dict[str, Any]]:
        """Sources of a type: FRB, FRB_REPEATER, PULSAR, STEADY, RRAT."""
        return list(self.API.get(f"/v1/sources/search/type/{_quoted(source_type)}"))

    def get_expected_spectrum(self, source_name: str) -> dict[str, list[float]]:
        """Frequencies and spectrum of a source."""
        return dict(self.API.get(f"/v1/sources/spectrum/{_quoted(source_name)}"))


class Candidates:
    """Candidates."""

    def __init__(self, api: API) -> None:
        self.API = api

    def get_all_candidates(self) -> list[dict[str, Any]]:
        """All candidates, with the numbers of their events."""
        return list(self.API.get("/v1/candidates"))


class Verification:
    """What people call events."""

    def __init__(self, api: API) -> None:
        self.API = api

    def get_verifications_paginated(
        self, verification_type: str, skip: int = 0, limit: int = PAGE, strict: bool = True
    ) -> list[dict[str, Any]]:
        """A page of verifications."""
        page = {"skip": skip, "limit": limit, "strict": str(strict).lower()}
        path = f"/v1/verification/get-verifications/{_quoted(verification_type)}"
        return list(self.API.get(path, params=page))

    def get_verifications(self, verification_type: str, strict: bool = True) -> list[dict[str, Any]]:
        """All verifications of a classification, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get_verifications_paginated(verification_type, len(found), PAGE, strict)
            found += page
            if len(page) < PAGE:
                return found

    def get_verification_for_event(self, event_id: int) -> dict[str, Any]:
        """What people called an event."""
        return dict(self.API.get(f"/v1/verification/get-verification/{int(event_id)}"))

    def get_conflicting_verifications(self) -> list[dict[str, Any]]:
        """Those about which people do not agree."""
        return list(self.API.get("/v1/verification/get-conflicting-verifications"))

    def add_verification(self, event_id: int, verification: dict[str, Any]) -> dict[str, Any]:
        """Say what an event is: classification, and who says so."""
        path = f"/v1/verification/add-user-classification/{int(event_id)}"
        return dict(self.API.post(path, json=verification))


class Parameters:
    """Parts of the telescope, and the archive."""

    def __init__(self, api: API) -> None:
        self.API = api

    def get_node_info(self, node_name: str) -> dict[str, Any]:
        """Beams and addresses of a node."""
        return dict(self.API.get(f"/v1/parameters/get-node-info/{_quoted(node_name)}"))

    def get_beam_info(self, beam_number: int) -> dict[str, Any]:
        """Which node has a beam."""
        return dict(self.API.get(f"/v1/parameters/get-beam-info/{int(beam_number)}"))

    def get_datapaths(self, event_number: int) -> list[str]:
        """Folders of the archive with data of an event."""
        return list(self.API.get(f"/v1/events/datapaths/{int(event_number)}"))

    def get_filenames(self, event_number: int) -> list[str]:
        """Files of an event."""
        return list(self.API.get(f"/v1/events/filenames/{int(event_number)}"))

    def get_datapath_size(self, datapath: str) -> int:
        """Bytes of a folder and all below it."""
        return int(self.API.post("/v1/events/datapath/size", json={"datapath": datapath}))


def _pattern(names: str | Sequence[str]) -> str:
    """A regular expression for whole names."""
    return names if isinstance(names, str) else f"(?:{'|'.join(map(re.escape, names))})$"


def _quoted(text: str) -> str:
    return quote(text, safe="")
