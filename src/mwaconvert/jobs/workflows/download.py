"""Download jobs: raw visibilities, metadata or voltages as they are."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mwaconvert.jobs.control.work import Context, Json, Step, Workflow
from mwaconvert.jobs.delivery.inputs import Span, Wanted
from mwaconvert.jobs.delivery.package import Stem
from mwaconvert.jobs.workflows import steps
from mwaconvert.jobs.workflows.site import Site

KIND = "download"
#: by the parameter download_type
WANTED = {
    "vis": (Wanted.VISIBILITIES, Stem.VISIBILITIES),
    "vis_meta": (Wanted.METADATA, Stem.METADATA),
    "volt": (Wanted.VOLTAGES, Stem.VOLTAGES),
}


def workflow(site: Site) -> Workflow:
    """Steps of a download job at a site."""
    return Workflow(
        KIND,
        (
            Step("stage", partial(stage, site=site), retry=steps.PATIENT),
            Step("package", package),
            Step("deliver", partial(steps.deliver, site=site), retry=steps.PATIENT),
        ),
    )


def stage(context: Context, site: Site) -> Json:
    """Bring the files."""
    canonical = context.job.canonical
    wanted, _ = WANTED[canonical["download_type"]]
    return steps.stage_raw(context, site, wanted, span_of(canonical))


def span_of(canonical: Json) -> Span | None:
    """The part of the voltages that a job asks for; None if it asks for something else."""
    if canonical["download_type"] != "volt":
        return None
    channels = None
    if canonical.get("channel_range"):
        channels = int(canonical["from_channel"]), int(canonical["to_channel"])
    return Span(int(canonical["offset"]), int(canonical["duration"]), channels)


def package(context: Context) -> Json:
    """Pack the files under their own names."""
    staged = context.results["stage"]
    paths = [Path(path) for path in staged["files"]]
    metafits = Path(staged["metafits"])
    contents = {path.name: path for path in paths if path != metafits}
    contents[steps.metafits_name(int(context.job.canonical["obs_id"]))] = metafits
    facts = steps.job_facts(context, missing=staged["missing"])
    return steps.pack(context, WANTED[context.job.canonical["download_type"]][1], contents, facts)
