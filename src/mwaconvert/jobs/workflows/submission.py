"""From a row of a job file, or a form of a client, to a job that the store takes in."""

from __future__ import annotations

import os
from pathlib import Path

from mwaconvert.errors import Error, InputError
from mwaconvert.jobs.control.limits import NO_LIMIT, Capacity
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Estimate, Job, Request
from mwaconvert.jobs.delivery.inputs import Wanted, find
from mwaconvert.jobs.delivery.places import Folder
from mwaconvert.jobs.workflows import conversion, download, timing
from mwaconvert.jobs.workflows.site import Site
from mwaconvert.vocabulary.job_file import Conversion, JobRow
from mwaconvert.vocabulary.job_rows import JobKind
from mwaconvert.vocabulary.options import in_words

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
        Where the job will run: what cannot be delivered or converted there is refused.
    capacity
        The most that a job may need.

    Raises
    ------
    DuplicateError, QuotaError
        As `Store.submit`.
    InputError
        Jobs of this type cannot be carried out here.
    """
    needed = admit(row, site, group)
    shared = {} if group is None or row.canonical["delivery"] == "acacia" else {"group": group}
    request = Request(_KINDS[row.kind], owner, {**row.canonical, **shared}, row.given, estimate=needed)
    return store.submit(request, allow_resubmit=row.allow_resubmit, capacity=capacity)


def admit(row: JobRow, site: Site | None = None, group: str | None = None) -> Estimate:
    """What a job needs that can run.

    Raises
    ------
    InputError
        Jobs of this type cannot be carried out here, or not with these options, or go nowhere.
    """
    if row.kind not in _KINDS:
        raise InputError(f"{row.kind.name.lower()} jobs cannot be carried out here; types c, d and v can")
    if site is None:
        return Estimate()
    site.place(str(row.canonical["delivery"]), group)
    return estimate(row, site)


def estimate(row: JobRow, site: Site) -> Estimate:
    """What a job needs of memory and time, and what it writes, if its raw data are in folders of the site.

    Raises
    ------
    InputError
        The plan refuses the options of the job, or the memory that the site allows.
    """
    wanted, span = Wanted.VISIBILITIES, None
    if row.conversion is None:
        wanted, span = download.WANTED[row.canonical["download_type"]][0], download.span_of(row.canonical)
    folders = [source for source in site.sources if isinstance(source, Folder)]
    try:
        files = find(folders, row.obs_id, wanted, span)
    except Error:
        return Estimate()  # they may be elsewhere; if not, the job says what is missing
    if row.conversion is None:
        n_bytes = sum(file.entry.n_bytes or 0 for file in files)
        return Estimate(time_s=timing.copy_s(2 * n_bytes), output=n_bytes)
    paths = [Path(file.source.location(file.entry.name)) for file in files]
    raw = [path for path in paths if conversion.is_raw(path.name)]
    return _planned(row.conversion, paths[0], raw, site)


def _planned(wanted: Conversion, metafits: Path, raw: list[Path], site: Site) -> Estimate:
    """Memory, time and output of a conversion, by its plan."""
    import mwaconvert
    from mwaconvert.conversion.options import make_options
    from mwaconvert.conversion.planner import make_plan

    request = wanted.request(metafits, raw, site.solutions)
    try:
        observation = mwaconvert.open(metafits, raw)
    except Error:
        return Estimate()  # raw data that are damaged fail the job, which says which file
    try:
        options = request.resolve(observation.metadata, observation.provided_coarse)
        if site.limits.memory is not None:
            options["max_memory_gib"] = site.limits.memory / 2**30
        plan = make_plan(observation, make_options(options))
        facts = plan.describe([path.name for path in request.output_paths(observation.metadata.obsid)])
    except InputError as error:
        if wanted.calibrate:  # that there are no solutions yet fails the job, not its submission
            return Estimate()
        raise InputError(in_words(str(error))) from error
    output = sum(file["bytes"] for file in facts["output"]["files"])
    time_s = timing.conversion_s(
        facts["input"]["bytes"], output, detects_rfi=facts["rfi"] is not None, threads=os.cpu_count() or 1
    )
    return Estimate(facts["memory_bytes"], time_s, output)
