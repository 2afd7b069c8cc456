"""From a row of a job file, or a form of a client, to a job that the store takes in."""

from __future__ import annotations

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Job, Request
from mwaconvert.jobs.workflows import conversion, download
from mwaconvert.vocabulary.job_file import JobRow
from mwaconvert.vocabulary.job_rows import JobKind

_KINDS = {
    JobKind.CONVERSION: conversion.KIND,
    JobKind.DOWNLOAD: download.KIND,
    JobKind.VOLTAGES: download.KIND,
}


def submit(store: Store, row: JobRow, owner: str) -> Job:
    """Take a job in.

    Raises
    ------
    DuplicateError, QuotaError
        As `Store.submit`.
    InputError
        Jobs of this type cannot be carried out here.
    """
    if row.kind not in _KINDS:
        raise InputError(f"{row.kind.name.lower()} jobs cannot be carried out here; types c, d and v can")
    request = Request(_KINDS[row.kind], owner, row.canonical, row.given)
    return store.submit(request, allow_resubmit=row.allow_resubmit)
