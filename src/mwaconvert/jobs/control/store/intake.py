"""Jobs are taken in."""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control import limits
from mwaconvert.jobs.control.schema import jobs
from mwaconvert.jobs.control.states import ACTIVE, Happening, State
from mwaconvert.jobs.control.store.journal import Journal
from mwaconvert.jobs.control.store.rows import all_rows, first_row, job_of, one_row
from mwaconvert.jobs.control.store.usage import quotas_of, usage_of
from mwaconvert.jobs.control.work import (
    NO_QUOTAS,
    DuplicateError,
    Job,
    QuotaError,
    Quotas,
    Request,
    canonical_json,
    duplicate_key,
)

_MAX_ID = 999_999_999  # ids of ten digits look like observations
_NEW_JOB = jobs.insert().returning(*jobs.columns)
_TWIN = (
    sa.select(jobs.c.id, jobs.c.state)
    .where(jobs.c.digest == sa.bindparam("of_digest"), ~jobs.c.hidden)
    .where(jobs.c.state.in_(sa.bindparam("in_the_way", expanding=True)))
    .order_by(jobs.c.id.desc())
    .limit(1)
)


class Intake(Journal):
    """Submission."""

    def submit(
        self,
        request: Request,
        *,
        allow_resubmit: bool = False,
        quotas: Quotas | None = None,
        capacity: limits.Capacity = limits.NO_LIMIT,
    ) -> Job:
        """Take a job in, atomically with the check for duplicates and quotas.

        Parameters
        ----------
        allow_resubmit
            Take it though the same job is completed. One that still runs or waits always stands in the way,
            a failed, cancelled or expired one never does.
        quotas
            Instead of those of the owner's user record.
        capacity
            The most that one job may need.

        Raises
        ------
        DuplicateError
            The same job, or one of the same name, is there; holds its id.
        QuotaError
            A quota or the estimate refuses it; the message holds the numbers.
        """
        digest = duplicate_key(request.kind, request.owner, request.canonical)
        canonical_json(request.given)
        token = secrets.token_hex(16)
        is_again = False

        def work(c: sa.Connection) -> Job:
            nonlocal is_again
            # of a transaction that was committed, and whose answer was lost
            mine = first_row(c, sa.select(jobs).where(jobs.c.token == token)) if is_again else None
            if mine is not None:
                return job_of(mine)
            is_again = True
            self._alone(c)
            _refuse_duplicates(c, request, digest, allow_resubmit)
            allowed = quotas if quotas is not None else quotas_of(c, request.owner)
            usage = limits.Usage() if allowed == NO_QUOTAS else usage_of(c, request.owner)
            reason = limits.refusal(request.estimate, usage, allowed, capacity)
            if reason is not None:
                raise QuotaError(reason)
            row = {
                "token": token,
                "kind": request.kind,
                "owner": request.owner,
                "name": request.name,
                "given": dict(request.given),
                "canonical": dict(request.canonical),
                "digest": digest,
                "state": State.QUEUED.value,
                "priority": request.priority,
                "estimate_memory": request.estimate.memory,
                "estimate_time_s": request.estimate.time_s,
                "estimate_output": request.estimate.output,
                "created": self.now(),
            }
            new = one_row(c, _NEW_JOB, **row)
            if new["id"] > _MAX_ID:
                raise ResourceError(f"the store has used up all {_MAX_ID} ids of jobs; start a new one")
            self._event(c, Happening.SUBMITTED, new, kind=request.kind, name=request.name)
            return job_of(new)

        return self._write(work)


def _refuse_duplicates(c: sa.Connection, request: Request, digest: str, allow_resubmit: bool) -> None:
    states = ACTIVE if allow_resubmit else ACTIVE | {State.COMPLETED}
    in_the_way = sorted(state.value for state in states)
    twin = next(iter(all_rows(c, _TWIN, of_digest=digest, in_the_way=in_the_way)), None)
    if twin is not None:
        raise DuplicateError(f"the same job is there already: job {twin['id']}, {twin['state']}", twin["id"])
    if request.name is not None:
        namesake = c.execute(sa.select(jobs.c.id).where(jobs.c.name == request.name)).scalar()
        if namesake is not None:
            raise DuplicateError(f"a job named {request.name!r} is there already: job {namesake}", namesake)
