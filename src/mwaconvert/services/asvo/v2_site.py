"""API v2: what a user may ask beside jobs: observations that are here, the queue, a new key.

Only the addresses of these are known of the ASVO, not the bodies: names are those of this program. What its own
scheduler and web site use among themselves (states and priorities set from outside, projects) is not here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from mwaconvert.errors import Error
from mwaconvert.jobs.control.states import Role, State
from mwaconvert.jobs.delivery.inputs import RawFile, Wanted, find
from mwaconvert.jobs.delivery.places import Folder
from mwaconvert.services.asvo import words
from mwaconvert.services.asvo.v2 import PREFIX, Code, Operator, ProblemError, ServiceOf, Viewer
from mwaconvert.services.service import Service

router = APIRouter(prefix=PREFIX, tags=["ASVO v2"])
_MOST_QUEUED = 500

ObsId = Annotated[int, InPath(ge=888_888_889, le=9_999_999_999)]


@router.get("/observation/metadata/{obs_id}")
def observation_metadata(obs_id: ObsId, session: Viewer, service: ServiceOf) -> JSONResponse:
    """An observation whose metafits is in a folder of this service, and its raw files."""
    del session
    files = _files(service, obs_id)
    facts = {"obs_id": obs_id, **_metafits_facts(files[0])}
    raw = [file for file in files if not file.name.endswith(".metafits")]
    facts["files"] = [{"name": file.name, "size": file.entry.n_bytes} for file in raw]
    return JSONResponse(facts)


def _files(service: Service, obs_id: int) -> tuple[RawFile, ...]:
    folders = [source for source in service.site.sources if isinstance(source, Folder)]
    for wanted in (Wanted.VISIBILITIES, Wanted.METADATA):
        try:
            return find(folders, obs_id, wanted)
        except Error:
            continue
    raise ProblemError(Code.NO_OBSERVATION, f"observation {obs_id} is in no folder of this service")


def _metafits_facts(file: RawFile) -> dict[str, Any]:
    from mwaconvert.conversion.report.report import observation_facts
    from mwaconvert.observation.metafits import read_metadata
    from mwaconvert.text import plain

    try:
        facts = observation_facts(read_metadata(Path(file.source.location(file.entry.name))))
    except Error as error:
        raise ProblemError(Code.NO_OBSERVATION, str(error).partition(": ")[2]) from None
    del facts["obsid"]
    found: dict[str, Any] = plain({**facts, "metafits": file.name})
    return found


@router.get("/scheduler/user_job_count")
def user_job_count(session: Viewer, service: ServiceOf) -> JSONResponse:
    """How many jobs of the user are in each state."""
    counts = service.store.counts(owner=session.name)
    return JSONResponse({"jobs": {state.value: count for state, count in counts.items()}})


@router.get("/scheduler/queued_jobs")
def queued_jobs(session: Viewer, service: ServiceOf) -> JSONResponse:
    """The queue in its order; of jobs of others, unless the user approves, their place alone."""
    sees_all = session.allows(Role.APPROVE)
    queue = [job for job in service.store.next_queued(_MOST_QUEUED) if job.kind in words.KINDS]
    places = [
        {"place": place, "job_id": job.id, "obs_id": job.canonical["obs_id"], "user": job.owner}
        for place, job in enumerate(queue, 1)
        if sees_all or job.owner == session.name
    ]
    total = service.store.counts()[State.QUEUED]
    return JSONResponse({"jobs": places, "total_count": total})


@router.post("/new_api_key")
def new_api_key(session: Operator, service: ServiceOf) -> JSONResponse:
    """A new key for the user; the one before, and all that was opened with it, end."""
    user = session.user
    key = service.store.add_user(user.name, user.role, user.quotas, user.details)
    return JSONResponse({"api_key": key})
