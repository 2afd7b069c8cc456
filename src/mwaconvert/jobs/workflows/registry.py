"""All kinds of jobs, by name."""

from __future__ import annotations

from mwaconvert.jobs.control.work import Workflow
from mwaconvert.jobs.workflows import cluster, conversion, download
from mwaconvert.jobs.workflows.archives.kinds import archives
from mwaconvert.jobs.workflows.site import Site


def workflows(site: Site) -> dict[str, Workflow]:
    """The kinds of jobs that a site carries out."""
    made = [conversion.workflow(site), download.workflow(site)]
    if site.cluster is not None:
        made.append(cluster.workflow(site.cluster))
    if site.archive is not None:
        made += archives(site.archive)
    return {workflow.kind: workflow for workflow in made}
