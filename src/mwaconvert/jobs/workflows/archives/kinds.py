"""Kinds of jobs of an archive."""

from __future__ import annotations

from mwaconvert.jobs.control.work import Workflow
from mwaconvert.jobs.workflows.archives import cleaning, restore, review
from mwaconvert.jobs.workflows.archives.asking import Purpose
from mwaconvert.jobs.workflows.archives.site import ArchiveSite


def archives(site: ArchiveSite) -> list[Workflow]:
    """Restores, runs for each purpose, cleanups."""
    runs = [review.workflow(site, purpose) for purpose in Purpose]
    return [restore.workflow(site), *runs, cleaning.workflow(site)]
