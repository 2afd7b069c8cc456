"""Conversion jobs: raw data of an observation to a uvfits file or measurement set in a package."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

from mwaconvert.errors import FormatError
from mwaconvert.jobs.control.work import Context, Json, Step, Workflow
from mwaconvert.jobs.delivery.inputs import Wanted
from mwaconvert.jobs.delivery.package import Stem
from mwaconvert.jobs.workflows import steps
from mwaconvert.jobs.workflows.site import Site
from mwaconvert.vocabulary.job_file import Conversion, read_job
from mwaconvert.vocabulary.job_rows import JobKind
from mwaconvert.vocabulary.request import from_json

KIND = "conversion"
#: in the folder of an attempt
_RAW, _PRODUCT, _REPORT, _PICTURE = "raw", "product", "report.json", "picture.html"
_PERCENT = re.compile(r"(\d+) %")


def workflow(site: Site) -> Workflow:
    """Steps of a conversion job at a site."""
    return Workflow(
        KIND,
        (
            Step("stage", partial(stage, site=site), retry=steps.PATIENT),
            Step("convert", partial(convert, site=site), steps.PATIENT, site.limits),
            Step("check", check),
            Step("package", package),
            Step("deliver", partial(steps.deliver, site=site), retry=steps.PATIENT),
        ),
    )


def stage(context: Context, site: Site) -> Json:
    """Bring the raw data."""
    return steps.stage_raw(context, site, Wanted.VISIBILITIES)


def convert(context: Context, site: Site) -> Json:
    """Run the converter, as a child or a batch job, with the words that say what the job's parameters say."""
    conversion = _conversion(context)
    folder = context.directory
    (folder / _PRODUCT).mkdir(exist_ok=True)
    (folder / _RAW).symlink_to(Path(context.results["stage"]["metafits"]).parent)
    words = _words(context, conversion, site)
    argv = [*site.program, "convert", *words]
    used: Json = {}
    if site.slurm is None:
        ended = context.run(argv, on_line=partial(_tell, context))
        used = {"cpu_s": ended.cpu_s, "memory": ended.memory, "limits_held_by": dict(ended.held_by)}
    else:
        folder = site.slurm.run(context, argv, on_line=partial(_tell, context))
    return {
        "folder": str(folder),
        "report": str(folder / _REPORT),
        "picture": str(folder / _PICTURE),
        "command": ["mwaconvert", "convert", *words],
        "notes": list(conversion.notes),
        **used,
    }


def _words(context: Context, conversion: Conversion, site: Site) -> list[str]:
    """Words for the converter, which runs in the folder of an attempt.

    Products keep them: they tell no folder of the site, and are the same however often the step was begun.
    """
    staged = context.results["stage"]
    obs_id = int(context.job.canonical["obs_id"])
    raw = [Path(_RAW, Path(path).name) for path in staged["files"] if is_raw(path)]
    request = conversion.request(Path(_RAW, Path(staged["metafits"]).name), raw, site.solutions)
    facts = request.to_json()
    suffix = str(facts["outputs"][0])
    facts |= {
        "outputs": [f"{_PRODUCT}/{obs_id:010d}.{suffix}"],
        "report": _REPORT,
        "qa": _PICTURE,
        "overwrite": True,
        "defaults": False,
    }
    if site.limits.memory is not None:
        facts["max_memory_gib"] = site.limits.memory / 2**30
    return from_json(facts).to_words()


def _conversion(context: Context) -> Conversion:
    conversion = read_job(JobKind.CONVERSION, context.job.given).conversion
    assert conversion is not None  # jobs of this kind have one
    return conversion


def is_raw(path: str) -> bool:
    """Whether a file holds raw visibilities, by its name."""
    return re.search(r"_(gpubox\d+|ch\d+)_?\d*\.fits$", path) is not None


def _tell(context: Context, line: str) -> None:
    """A line of the converter as progress of the job."""
    found = _PERCENT.search(line)
    if found:
        context.progress(int(found[1]) / 100, line.strip())


def check(context: Context) -> Json:
    """Open what was made, and hold it against the converter's own report."""
    made = context.results["convert"]
    report = json.loads(Path(made["report"]).read_text())
    outputs = [Path(made["folder"], output["path"]) for output in report["outputs"]]
    for path, output in zip(outputs, report["outputs"], strict=True):
        _check_output(path, output)
    return {"outputs": [str(path) for path in outputs]}


def _check_output(path: Path, output: dict[str, Any]) -> None:
    from mwaconvert.formats.visibilities.reader import open_visibilities

    opened = open_visibilities(path)
    found = len(opened.header.time_mjd), sum(w.n_chan for w in opened.header.spectral_windows)
    stated = output["times"], output["channels"]
    if found != stated:
        raise FormatError(
            f"{path}: holds {found[0]} times and {found[1]} channels; its report says {stated[0]} and {stated[1]}"
        )


def package(context: Context) -> Json:
    """Pack the product with the metafits, its record and its picture."""
    obs_id = int(context.job.canonical["obs_id"])
    made, staged = context.results["convert"], context.results["stage"]
    outputs = [Path(path) for path in context.results["check"]["outputs"]]
    contents = {path.name: path for path in outputs}
    contents[steps.metafits_name(obs_id)] = Path(staged["metafits"])
    report = json.loads(Path(made["report"]).read_text())
    facts = steps.job_facts(
        context,
        command=made["command"],
        notes=made["notes"],
        limits_held_by=made.get("limits_held_by", {}),
        missing=staged["missing"],
        report=report,
    )
    stem = Stem.MS if outputs[0].suffix == ".ms" else Stem.UVFITS
    return steps.pack(context, stem, contents, facts)
