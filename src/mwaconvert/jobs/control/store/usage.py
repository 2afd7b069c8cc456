"""What a user may have, and has."""

from __future__ import annotations

import sqlalchemy as sa

from mwaconvert.jobs.control import limits
from mwaconvert.jobs.control.schema import jobs, products, users
from mwaconvert.jobs.control.states import ACTIVE, State
from mwaconvert.jobs.control.store.rows import all_rows
from mwaconvert.jobs.control.work import NO_QUOTAS, Quotas

_USER = sa.select(users).where(users.c.name == sa.bindparam("user_name"))


def quotas_of(c: sa.Connection, owner: str) -> Quotas:
    row = next(iter(all_rows(c, _USER, user_name=owner)), None)
    return NO_QUOTAS if row is None else Quotas(row["quota_running"], row["quota_queued"], row["quota_disk"])


def running_of(c: sa.Connection, owner: str) -> int:
    running = sa.and_(jobs.c.owner == owner, jobs.c.state == State.RUNNING.value)
    return c.execute(sa.select(sa.func.count()).where(running)).scalar() or 0


def usage_of(c: sa.Connection, owner: str) -> limits.Usage:
    active = sa.select(jobs.c.state, sa.func.count(), sa.func.sum(jobs.c.estimate_output)).where(
        jobs.c.owner == owner, jobs.c.state.in_([state.value for state in ACTIVE])
    )
    counts = {
        state: (count, int(output or 0)) for state, count, output in c.execute(active.group_by(jobs.c.state))
    }
    kept = sa.select(sa.func.sum(products.c.size)).where(
        products.c.job_id == jobs.c.id, jobs.c.owner == owner, products.c.removed.is_(None)
    )
    return limits.Usage(
        running=counts.get(State.RUNNING.value, (0, 0))[0],
        queued=counts.get(State.QUEUED.value, (0, 0))[0],
        disk=int(c.execute(kept).scalar() or 0),
        promised=sum(output for _, output in counts.values()),
    )
