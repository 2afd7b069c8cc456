"""Cleanup as a job: proven first, then removed."""

from __future__ import annotations

from functools import partial

from mwaconvert.jobs.control.work import Context, Json, Request, Step, Workflow
from mwaconvert.jobs.workflows.archives.ingesting import clean_up, folders_of, prove
from mwaconvert.jobs.workflows.archives.site import ArchiveSite

KIND = "srdp-cleanup"


def workflow(site: ArchiveSite) -> Workflow:
    """Steps of a cleanup at a site."""
    return Workflow(
        KIND, (Step("prove", partial(_prove, site=site)), Step("remove", partial(_remove, site=site)))
    )


def cleanup_request(run_id: str, owner: str, reason: str) -> Request:
    """The request of a cleanup of a run."""
    return Request(KIND, owner, {"cleans": run_id, "reason": reason})


def _prove(context: Context, site: ArchiveSite) -> Json:
    """Read each product back from the archive, or refuse."""
    facts = context.job.canonical
    with site.catalog() as catalog:
        prove(site, catalog, facts["cleans"], context.job.owner, facts["reason"])
        return {"removed": bool(folders_of(site, catalog.run(facts["cleans"]).folder))}


def _remove(context: Context, site: ArchiveSite) -> Json:
    """Remove the folders of the run."""
    facts, removed = context.job.canonical, context.results["prove"]["removed"]
    with site.catalog() as catalog:
        clean_up(
            site,
            catalog,
            facts["cleans"],
            context.job.owner,
            reason=facts["reason"],
            detail="removed" if removed else "gone already",
            key=f"{facts['cleans']}/cleaned/{context.job.id}",
        )
    return {"removed": removed}
