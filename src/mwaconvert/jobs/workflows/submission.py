"""From a row of a job file, or a form of a client, to a job that the store takes in."""

from __future__ import annotations

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.limits import NO_LIMIT, Capacity
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Job, Request
from mwaconvert.jobs.workflows import conversion, download
from mwaconvert.jobs.workflows.site import Site
from mwaconvert.vocabulary.job_file import JobRow
from mwaconvert.vocabulary.job_rows import JobKind

_KINDS = {
    JobKind.CONVERSION: conversion.KIND,
    JobKind.DOWNLOAD: download.KIND,
    JobKind.VOLTAGES: download.KIND,
}


def submit(
    store: Store,
    row: JobRow,
    owner: str,
    group: str | None = None,
    *,
    site: Site | None = None,
    capacity: Capacity = NO_LIMIT,
) -> Job:
    """Take a job in.

    Parameters
    ----------
    group
        Of the owner; its folder on a shared disk gets what is not delivered as an archive.
    site
        Where the job will run: what cannot be delivered there is refused.
    capacity
        The most that a job may need.

    Raises
    ------
    DuplicateError, QuotaError
        As `Store.submit`.
    InputError
        Jobs of this type cannot be carried out here.
    """
    if row.kind not in _KINDS:
        raise InputError(f"{row.kind.name.lower()} jobs cannot be carried out here; types c, d and v can")
    if site is not None:
        site.place(str(row.canonical["delivery"]), group)
    shared = {} if group is None or row.canonical["delivery"] == "acacia" else {"group": group}
    request = Request(_KINDS[row.kind], owner, {**row.canonical, **shared}, row.given)
    return store.submit(request, allow_resubmit=row.allow_resubmit, capacity=capacity)
