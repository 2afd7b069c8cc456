"""Steps that several kinds of jobs share: raw data come, a package is made and delivered."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mwaconvert import __version__
from mwaconvert.errors import InputError
from mwaconvert.jobs.control.work import Context, Json, Product, Retry, TransientError
from mwaconvert.jobs.delivery.inputs import Span, Staged, Wanted, find, stage
from mwaconvert.jobs.delivery.package import (
    Archive,
    Package,
    Stem,
    check_package,
    package_name,
    write_package,
)
from mwaconvert.jobs.delivery.places import Entry, Folder, Place, UnreachableError, link_or_copy
from mwaconvert.jobs.workflows.site import Site
from mwaconvert.machine import tree_bytes
from mwaconvert.text import plural, some

#: of steps that wait for other machines
PATIENT = Retry(tries=5, first_s=2.0, longest_s=60.0)
_DAY_S = 86400.0

Value = TypeVar("Value")


def reaching(action: Callable[[], Value]) -> Value:
    """Do something with a place; that it does not answer may pass."""
    try:
        return action()
    except UnreachableError as error:
        raise TransientError(str(error)) from error


def stage_raw(context: Context, site: Site, wanted: Wanted, span: Span | None = None) -> Json:
    """Bring the raw data of the job's observation to the folder of this attempt."""
    obs_id = int(context.job.canonical["obs_id"])
    context.progress(0.0, "looking for raw data")
    files = reaching(lambda: find(site.sources, obs_id, wanted, span))
    context.progress(0.1, f"bringing {plural(len(files), 'file')}")
    staged = reaching(lambda: stage(files, context.directory / "raw", span))
    _refuse_damage(obs_id, staged, allow_missing=bool(context.job.canonical.get("allow_missing", True)))
    return {
        "metafits": str(staged.metafits),
        "files": [str(path) for path in staged.files],
        "missing": list(staged.missing),
        "bytes": staged.n_bytes,
    }


def _refuse_damage(obs_id: int, staged: Staged, *, allow_missing: bool) -> None:
    if staged.damaged:
        raise InputError(f"obsid {obs_id}: {'; '.join(staged.damaged)}")
    if staged.missing and not allow_missing:
        raise InputError(
            f"obsid {obs_id}: {plural(len(staged.missing), 'raw file')} missing: {some(list(staged.missing), 8)};"
            " set allowmissing=true to convert without"
        )


def metafits_name(obs_id: int) -> str:
    """Name of the metafits in a package."""
    return f"{obs_id:010d}.metafits"


def job_facts(context: Context, **more: Any) -> dict[str, Any]:
    """What `job.json` says of a job."""
    job = context.job
    return {
        "format": "mwaconvert job",
        "layout": 1,
        "job_id": job.id,
        "kind": job.kind,
        "given": dict(job.given),
        "canonical": dict(job.canonical),
        "software": {"mwaconvert": __version__},
        **more,
    }


def pack(context: Context, stem: Stem, contents: Mapping[str, Path], facts: Mapping[str, Any]) -> Json:
    """Make the job's archive and open it again, or leave the files as they are to be delivered."""
    canonical = context.job.canonical
    if canonical["delivery_format"] == "files":
        return {"files": {name: str(path) for name, path in contents.items()}, "facts": dict(facts)}
    archive = Archive.ZIP if canonical.get("delivery_format") == "zip" else Archive.TAR
    name = package_name(int(canonical["obs_id"]), context.job.id, stem, archive)
    size = max(1, sum(tree_bytes(path) for path in contents.values()))
    package = write_package(
        context.directory / name,
        contents,
        facts,
        archive,
        progress=lambda done: context.progress(min(0.7, 0.7 * done / size), "packing"),
    )
    context.progress(0.7, "checking the package")
    check_package(package.path)
    return {
        "package": str(package.path),
        "bytes": package.n_bytes,
        "sha1": package.sha1,
        "sha256": package.sha256,
    }


def deliver(context: Context, site: Site) -> Json:
    """Put what was packed where the job wants it, and give back the room that it took here."""
    packed = context.results["package"]
    delivery = str(context.job.canonical["delivery"])
    place = site.place(delivery, context.job.canonical.get("group"))
    if "package" in packed:
        path = Path(str(packed["package"]))
        package = Package(path, packed["bytes"], packed["sha1"], packed["sha256"], 0)
        # on a shared disk each job has its folder, where its owner looks
        name = path.name if delivery == "acacia" else f"{context.job.id}/{path.name}"
        entries = [_deliver_package(place, package, name)]
    elif isinstance(place, Folder):
        entries = _deliver_files(context, place, packed["files"])
    else:
        raise InputError(f"delivery to {delivery} is of archives only")
    expires = _expires(context, site)
    for entry, sha1 in entries:
        details = {"delivery": delivery, "name": entry.name}
        context.deliver(
            Product(place.location(entry.name), entry.n_bytes or 0, sha1, entry.sha256, expires, details)
        )
    return {"products": [place.location(entry.name) for entry, _ in entries]}


def _deliver_package(place: Place, package: Package, name: str) -> tuple[Entry, str | None]:
    return reaching(lambda: place.deliver(package.path, name, package.sha256)), package.sha1


def _deliver_files(
    context: Context, place: Folder, files: Mapping[str, str]
) -> list[tuple[Entry, str | None]]:
    """Files as they are, in a folder that has the number of the job as its name."""
    tree = context.directory / "files"
    tree.mkdir(exist_ok=True)
    for name, path in files.items():
        _link_tree(Path(path), tree / name)
    entries = reaching(lambda: place.deliver_tree(tree, str(context.job.id)))
    shutil.rmtree(tree)
    return [(entry, None) for entry in entries]


def _link_tree(source: Path, target: Path) -> None:
    if not source.is_dir():
        if not target.exists():
            link_or_copy(source, target)
        return
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        _link_tree(path, target / path.name)


def _expires(context: Context, site: Site) -> float | None:
    asked = context.job.given.get("expiry_days")
    days = site.life_days if asked is None else float(asked)
    return None if days is None else time.time() + days * _DAY_S
