"""Passes over the working areas: what is older than the retention file keeps is removed, and told."""

from __future__ import annotations

from mwaconvert.archive.catalog import Action, Catalog
from mwaconvert.archive.quality.retention import Aged, expire
from mwaconvert.errors import InputError
from mwaconvert.jobs.control.states import ACTIVE
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, now

#: areas of runs; what was handed out is its owner's
_AREAS = ("processing", "qa", "cache")


def expire_pass(
    site: ArchiveSite, store: Store, catalog: Catalog, by: str, *, dry_run: bool = False
) -> tuple[Aged, ...]:
    """One pass: the retention file is read again; runs of jobs that have not ended stay, whatever their age.

    Raises
    ------
    InputError, FormatError
        The site has no retention file, or one that is not right: nothing is removed.
    """
    if site.retention is None:
        raise InputError("the site has no retention file; name it as files.retention")
    areas = {name: site.areas[name] for name in _AREAS}

    def note(item: Aged) -> None:
        catalog.note(
            Action.EXPIRED,
            item.path.name,
            by,
            now(),
            reason=f"{item.area} keeps {item.days:g} days",
            detail=f"unchanged since {item.last_change:%Y-%m-%d %H:%M} UTC",
            key=f"{item.path.name}/{item.area}/{item.last_change.isoformat()}",
        )

    return expire(site.retention, areas, now(), dry_run=dry_run, busy=_busy(store), telling=note)


def _busy(store: Store) -> frozenset[str]:
    """Names of the folders of runs under way."""
    jobs = store.jobs(states=ACTIVE, limit=None)
    return frozenset(str(job.canonical.get("folder", f"restore.{job.id}")) for job in jobs)
