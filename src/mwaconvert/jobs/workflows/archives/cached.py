"""Calibrated measurement sets of a run that passed, handed out as long as the cache has them."""

from __future__ import annotations

import shutil
from pathlib import Path

from mwaconvert.archive.catalog import Action, Catalog, RunState
from mwaconvert.archive.identifiers import SdmName, StatusUid, parse_execution, safe_name
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.jobs.delivery.places import part_beside, remove
from mwaconvert.jobs.workflows.archives.resolving import refresh
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, now


def hand_out_cached(
    site: ArchiveSite, catalog: Catalog, run_id: str, folder: Path, by: str, reason: str = ""
) -> Path:
    """Copy the measurement sets of a run into a folder of its name, whole or not at all; gives that folder.

    The release date of a member set is asked before the copy and again after it. Of execution blocks of the VLA none
    is known here: who may call this may have them.

    Raises
    ------
    InputError
        A run that did not pass, sets that are proprietary or have left the cache, a folder that is there.
    ResourceError
        They cannot be copied, or left the cache meanwhile.
    """
    run = catalog.run(run_id)
    target, cached = folder / safe_name(run.run_id), site.areas["cache"] / safe_name(run.folder)
    if run.state is not RunState.COMPLETED:
        raise InputError(f"{run_id} is {run.state.value}: only runs that passed are handed out")
    if target.exists():
        raise InputError(f"{target}: is there already; name another folder with -d")
    _check_public(site, catalog, run.target)
    if not cached.is_dir():
        raise InputError(
            f"{run_id}: its measurement sets have left the cache; restore or calibrate them again"
        )
    part = part_beside(target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(cached, part, symlinks=True)
        _check_public(site, catalog, run.target)
        part.rename(target)
    except OSError as error:  # also that of shutil, which tells of many files
        words = error.strerror or "files are gone or cannot be read"
        raise ResourceError(f"{run_id}: its measurement sets were not copied: {words}") from None
    finally:
        remove(part)
    catalog.note(Action.HANDED_OUT, run_id, by, now(), reason=reason, detail=str(target))
    return target


def _check_public(site: ArchiveSite, catalog: Catalog, target: str) -> None:
    uid = parse_execution(target)
    if not isinstance(uid, SdmName):
        mous = StatusUid(uid)
        refresh(site, catalog, mous)
        catalog.deliveries(mous).check_public(mous, now())
