"""What jobs are called by the MWA ASVO: one table of states, and rows as its API v1 gives them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from mwaconvert.jobs.control.states import Fault, State
from mwaconvert.jobs.control.work import Job, Product
from mwaconvert.jobs.workflows import conversion, download

KINDS = (conversion.KIND, download.KIND)
"""Kinds of jobs that the ASVO knows."""


class Word(StrEnum):
    """States of the ASVO. Jobs here are never `preparing`, `staged` or `imaging`."""

    PREPARING = "preparing"
    QUEUED = "queued"
    WAITCAL = "waitcal"
    STAGING = "staging"
    STAGED = "staged"
    DOWNLOADING = "downloading"
    PREPROCESSING = "preprocessing"
    IMAGING = "imaging"
    DELIVERING = "delivering"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def number(self) -> int:
        """What clients before version 2 understand."""
        return _NUMBERS.get(self, 1)


_NUMBERS = {Word.QUEUED: 0, Word.COMPLETED: 2, Word.ERROR: 3, Word.EXPIRED: 4, Word.CANCELLED: 5}

_STATES = {
    State.QUEUED: Word.QUEUED,
    State.WAITING: Word.WAITCAL,
    State.COMPLETED: Word.COMPLETED,
    State.FAILED: Word.ERROR,
    State.CANCELLED: Word.CANCELLED,
    State.EXPIRED: Word.EXPIRED,
}
#: of a job that runs, by its step; None before the first
STEPS: dict[str | None, Word] = {
    None: Word.STAGING,
    "stage": Word.DOWNLOADING,
    "convert": Word.PREPROCESSING,
    "check": Word.PREPROCESSING,
    "package": Word.DELIVERING,
    "deliver": Word.DELIVERING,
}


def word_of(state: State, step: str | None) -> Word:
    """The ASVO's word for a state and step."""
    return STEPS[step] if state is State.RUNNING else _STATES[state]


def meaning_of(word: Word) -> tuple[State, frozenset[str | None]] | None:
    """State and steps that a word stands for (no steps: any); None if no job here is ever in it."""
    for state, known in _STATES.items():
        if known is word:
            return state, frozenset()
    steps = frozenset(step for step, known in STEPS.items() if known is word)
    return (State.RUNNING, steps) if steps else None


class JobType(StrEnum):
    """Types of jobs, as `job_params` has them."""

    CONVERSION = "conversion"
    VISIBILITIES = "download_visibilities"
    METADATA = "download_metadata"
    VOLTAGES = "download_voltage"

    @property
    def number(self) -> int:
        return list(JobType).index(self)


_DOWNLOADS = {"vis": JobType.VISIBILITIES, "vis_meta": JobType.METADATA, "volt": JobType.VOLTAGES}


def type_of(job: Job) -> JobType:
    """Type of a job of one of KINDS."""
    return JobType.CONVERSION if job.kind == conversion.KIND else _DOWNLOADS[job.canonical["download_type"]]


def kind_of(job_type: JobType) -> tuple[str, dict[str, str]]:
    """Kind of the jobs of a type, and what sets them apart from others of the kind."""
    if job_type is JobType.CONVERSION:
        return conversion.KIND, {}
    return download.KIND, {
        "download_type": next(name for name, known in _DOWNLOADS.items() if known is job_type)
    }


def needs_numbers(client: str) -> bool:
    """Whether a program, by the name it logged in with, understands numbers of states alone."""
    found = re.match(r"mantaray-clientv(\d+)\.", client)
    return found is not None and int(found[1]) < 2


def iso(seconds: float | None) -> str | None:
    """Time as the ASVO writes it: UTC without saying so, microseconds always."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def user_number(name: str) -> int:
    """A number for a user, always the same."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


def params(job: Job) -> dict[str, Any]:
    """`job_params`: as given, with what clients insist on in the form they insist on."""
    found: dict[str, Any] = {
        **job.given,
        "obs_id": f"{job.canonical['obs_id']:010d}",
        "delivery": str(job.canonical["delivery"]),
        "job_type": str(type_of(job)),
        "priority": 1,
    }
    if job.canonical.get("group"):
        found["user_pawsey_group"] = str(job.canonical["group"])
    return found


def error_of(job: Job) -> tuple[int | None, str | None]:
    """Number and text of the error of a job that failed, never without a text."""
    if job.state is not State.FAILED:
        return None, None
    fault = job.fault or Fault.STEP
    return list(Fault).index(fault) + 1, job.error_text or fault.words


def files_of(job: Job, products: Sequence[Product], address: Any) -> list[dict[str, Any]]:
    """Files of a job: one entry for each archive, and one for the folder of a job on a shared disk.

    Parameters
    ----------
    address : gives the link of a product
    """
    if job.canonical["delivery"] == "acacia":
        return [
            {"type": "acacia", "url": address(product), "size": product.size, "sha1": product.sha1}
            for product in products
        ]
    # astro is gone from the released clients, which end at types that they do not know
    kind = "dug" if job.canonical["delivery"] == "dug" else "scratch"
    first = products[0]
    name = str(first.details["name"])
    folder = first.path.removesuffix(name) + name.partition("/")[0]
    return [{"type": kind, "path": folder, "size": sum(product.size for product in products)}]


def row_of(job: Job, files: list[dict[str, Any]], *, numbers: bool) -> dict[str, Any]:
    """The `row` of a job in a list or a frame of API v1."""
    word = word_of(job.state, job.step)
    error_code, error_text = error_of(job)
    return {
        "id": job.id,
        "user_id": user_number(job.owner),
        "job_type": type_of(job).number,
        "job_state": word.number if numbers else word.value,
        "job_params": params(job),
        "error_code": error_code,
        "error_text": error_text,
        "created": iso(job.created),
        "started": iso(job.started),
        "completed": iso(job.finished),
        "product": {"files": files} if files else None,
    }
