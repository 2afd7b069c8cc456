"""Jobs of the cluster: all users see all of them, and end their own."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException, Query
from fastapi.responses import JSONResponse, PlainTextResponse

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.limits import Capacity
from mwaconvert.jobs.control.states import Role, State
from mwaconvert.jobs.control.work import DuplicateError, Job, QuotaError, Standing, UnknownError, User
from mwaconvert.jobs.executors import logs
from mwaconvert.jobs.executors.order import read_order
from mwaconvert.jobs.workflows import cluster
from mwaconvert.services.chime.patterns import matcher
from mwaconvert.services.chime.route import ChimeRoute
from mwaconvert.services.chime.tokens import Operator, ServiceOf, current_user
from mwaconvert.services.chime.words import Word, word_of
from mwaconvert.services.service import Service

router = APIRouter(prefix="/v1/swarm", route_class=ChimeRoute, dependencies=[Depends(current_user)])
#: so long a kill waits until nothing of the job is left
_KILL_S = 15.0
_LOOK_S = 0.05


@router.get("/jobs")
def names(service: ServiceOf) -> list[str]:
    """Names of all jobs, the oldest first."""
    return [job.name for job in service.store.standings(cluster.KIND)]


@router.get("/job-status/{pattern:path}")
def status(pattern: str, service: ServiceOf) -> JSONResponse:
    """States of the jobs whose names begin as a regular expression says."""
    is_meant = matcher(pattern)
    found = {job.name: word_of(job) for job in service.store.standings(cluster.KIND) if is_meant(job.name)}
    return JSONResponse(found)  # as it is: what checks an answer takes longer than to find it


@router.post("/spawn-job")
def spawn(given: Annotated[dict[str, Any], Body()], user: Operator, service: ServiceOf) -> dict[str, str]:
    """Take a job in."""
    there = service.site.cluster
    assert there is not None  # of is_served
    order = read_order(given)
    try:
        job = cluster.submit(
            service.store, order, user.name, there, Capacity(memory=service.config.workers.memory)
        )
    except DuplicateError as error:
        raise HTTPException(409, str(error)) from None
    except QuotaError as error:
        raise HTTPException(400, str(error)) from None
    return {"ID": str(job.id), "name": order.name}


@router.get("/logs/{name:path}")
def log(name: str, service: ServiceOf) -> JSONResponse:
    """What a job printed, in the form of the service of CHIME/FRB."""
    lines, _ = logs.read(_log_paths(service, _job(service, name)))
    return JSONResponse({name: logs.compat(lines)})


@router.get("/log/{name:path}", response_class=PlainTextResponse)
def clean_log(name: str, service: ServiceOf, after: Annotated[int, Query(ge=0)] = 0) -> PlainTextResponse:
    """What a job printed, as it is. Who follows it says `after`, the header `X-Log-Bytes` of the last answer."""
    lines, known = logs.read(_log_paths(service, _job(service, name)), after)
    return PlainTextResponse(logs.clean(lines), headers={"X-Log-Bytes": str(known)})


@router.get("/job/{name:path}")
def record(name: str, service: ServiceOf) -> dict[str, Any]:
    """All that is known of a job: what was asked for, what it is kept from, how it ended."""
    job = _job(service, name)
    results = {attempt.step: attempt.result for attempt in service.store.attempts(job.id)}
    return {
        "id": job.id,
        "name": job.name,
        "owner": job.owner,
        "status": word_of(job),
        "asked": dict(job.given),
        "prepared": results.get(cluster.PREPARE),
        "result": results.get(cluster.RUN),
        "error": job.error_text,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
    }


@router.get("/prune-job/{pattern:path}")
def prune(pattern: str, user: Operator, service: ServiceOf) -> dict[str, bool]:
    """Take jobs that are complete out of the list."""
    is_meant = matcher(pattern)
    pruned = {}
    for job in service.store.standings(cluster.KIND):
        if is_meant(job.name) and word_of(job) is Word.COMPLETE and _may_end(user, job):
            service.store.hide(job.id, user.name)
            pruned[job.name] = True
    return pruned


@router.get("/kill-job/{name:path}")
def kill(name: str, user: Operator, service: ServiceOf) -> dict[str, bool]:
    """End a job, whatever its state, and take it out of the list; false if there is none, or it does not end."""
    job = service.store.job_named(name)
    if job is None or job.kind != cluster.KIND:
        return {name: False}
    if not _may_end(user, job):
        raise HTTPException(403, f"{name} is of {job.owner}; only they, and who may approve, can kill it")
    deadline = time.monotonic() + _KILL_S
    while not job.state.is_terminal:
        try:
            job = service.store.cancel(job.id, user.name, "killed")
        except InputError:  # it ended just now
            job = service.store.job(job.id)
        if job.state.is_terminal:
            break
        if time.monotonic() > deadline:
            return {name: False}
        time.sleep(_LOOK_S)
        job = service.store.job(job.id)
    service.store.hide(job.id, user.name)
    return {name: True}


def _job(service: Service, name: str) -> Job:
    job = service.store.job_named(name)
    if job is None or job.kind != cluster.KIND:
        raise UnknownError(f"there is no job {name[:128]!r}")
    return job


def _may_end(user: User, job: Job | Standing) -> bool:
    return job.owner == user.name or user.role.allows(Role.APPROVE)


def _log_paths(service: Service, job: Job) -> list[Any]:
    if job.state is State.QUEUED and job.run == 1:
        return []
    return [attempt.log_path for attempt in service.store.attempts(job.id) if attempt.step == cluster.RUN]
