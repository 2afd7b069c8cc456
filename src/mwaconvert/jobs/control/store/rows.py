"""Rows of the tables, and what they are outside the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mwaconvert.jobs.control.states import Fault, Happening, Outcome, Role, Sending, State
from mwaconvert.jobs.control.work import (
    Attempt,
    Decision,
    Estimate,
    Event,
    Job,
    Message,
    Product,
    Quotas,
    User,
)

Row = dict[str, Any]


def all_rows(c: sa.Connection, query: sa.Executable, **parameters: Any) -> list[Row]:
    result = c.execute(query, parameters)
    keys = tuple(result.keys())
    return [dict(zip(keys, row, strict=True)) for row in result]


def first_row(c: sa.Connection, query: sa.Select[Any]) -> Row | None:
    return next(iter(all_rows(c, query.limit(1))), None)


def one_row(c: sa.Connection, query: sa.Executable, **parameters: Any) -> Row:
    return all_rows(c, query, **parameters)[0]


def job_of(row: Row) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        owner=row["owner"],
        name=row["name"],
        given=row["given"],
        canonical=row["canonical"],
        digest=row["digest"],
        state=State(row["state"]),
        step=row["step"],
        progress=row["progress"],
        progress_text=row["progress_text"],
        priority=row["priority"],
        estimate=Estimate(row["estimate_memory"], row["estimate_time_s"], row["estimate_output"]),
        fault=None if row["fault"] is None else Fault(row["fault"]),
        error_text=row["error_text"],
        run=row["run"],
        worker=row["worker"],
        cancel_requested=row["cancel_requested"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        expires=row["expires"],
    )


def attempt_of(row: Row) -> Attempt:
    values = {
        **row,
        "outcome": Outcome(row["outcome"]),
        "fault": None if row["fault"] is None else Fault(row["fault"]),
        "directory": Path(row["directory"]),
        "log_path": Path(row["log_path"]),
    }
    return Attempt(**values)


def decision_of(row: Row) -> Decision:
    values = {key: value for key, value in row.items() if key != "id"}
    lists = {"answers": tuple(row["answers"]), "stops": tuple(row["stops"]), "role": Role(row["role"])}
    return Decision(**{**values, **lists})


def event_of(row: Row) -> Event:
    state = None if row["state"] is None else State(row["state"])
    return Event(**{**row, "happening": Happening(row["happening"]), "state": state})


def product_of(row: Row) -> Product:
    return Product(**row)


def product_row(product: Product, job_id: int) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "path": product.path,
        "size": product.size,
        "sha1": product.sha1,
        "sha256": product.sha256,
        "expires": product.expires,
        "details": dict(product.details),
    }


def user_of(row: Row) -> User:
    quotas = Quotas(row["quota_running"], row["quota_queued"], row["quota_disk"])
    return User(row["name"], Role(row["role"]), quotas, row["created"], row["revoked"], row["details"])


def message_of(row: Row) -> Message:
    values = {key: value for key, value in row.items() if key != "sender"}
    return Message(**{**values, "state": Sending(row["state"])})
