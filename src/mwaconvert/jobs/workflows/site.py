"""Where a site has its raw data and solutions, and where products go: what steps need and no job may choose."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.slurm import Slurm
from mwaconvert.jobs.control.work import NO_LIMITS, Limits
from mwaconvert.jobs.delivery.places import Folder, Place, Source, scratch
from mwaconvert.jobs.executors.executor import Cluster
from mwaconvert.jobs.workflows.archives.site import ArchiveSite

#: days that a product is kept unless a configuration or a job says otherwise
LIFE_DAYS = 7.0


@dataclass(frozen=True)
class Site:
    """A site.

    Attributes
    ----------
    sources
        Places of raw data, in the order of preference: `<place>/<obsid>` and below is searched.
    packages
        Where archives go (delivery acacia); `places` has those where files go as they are, by the name of
        the delivery (scratch, dug, astro).
    shared
        In place of such a place the root of a disk on which each group of users has a folder.
    solutions
        Folder of calibration solutions, if there is one.
    life_days
        How long a product is kept unless a job says otherwise; None: for ever.
    limits
        Of a conversion.
    program
        Starts the converter.
    slurm
        Runs conversions, as batch jobs; None: they are children of the worker. The folder of attempts must
        lie on a disk that its nodes share.
    cluster
        Carries out jobs of containers; None: there are none here.
    archive
        Restores and reviews; None: it does neither.

    Examples
    --------
    >>> site = local_site([Path("raw")], Path("products"))
    >>> site.place("acacia")
    Folder('...products')
    """

    sources: tuple[Source, ...]
    packages: Place
    places: Mapping[str, Folder] = field(default_factory=dict)
    shared: Mapping[str, Path] = field(default_factory=dict)
    solutions: Path | None = None
    life_days: float | None = LIFE_DAYS
    limits: Limits = NO_LIMITS
    program: tuple[str, ...] = (sys.executable, "-m", "mwaconvert")
    slurm: Slurm | None = None
    cluster: Cluster | None = None
    archive: ArchiveSite | None = None

    def end_batch(self, batch_id: str) -> None:
        """End what a step had begun before its worker lost sight of it."""
        slurm = self.slurm or (None if self.archive is None else self.archive.slurm)
        if batch_id.isdigit() and slurm is not None:
            slurm.cancel(batch_id)
        elif self.cluster is not None:
            self.cluster.executor.end(batch_id)

    def place(self, delivery: str, group: str | None = None) -> Place:
        """Where a delivery goes.

        Parameters
        ----------
        group
            Of the owner of the job; it names a folder on shared disks.

        Raises
        ------
        InputError
            The site has no such place, or the owner has no group there.
        """
        if delivery == "acacia":
            return self.packages
        if delivery in self.shared:
            if group is None:
                raise InputError(f"delivery to {delivery} needs a group, and the user has none")
            return scratch(self.shared[delivery], group)
        try:
            return self.places[delivery]
        except KeyError:
            known = ", ".join(["acacia", *self.places, *self.shared])
            raise InputError(f"this site does not deliver to {delivery}; choose from {known}") from None


def local_site(
    roots: Sequence[Path], products: Path, *, solutions: Path | None = None, life_days: float | None = None
) -> Site:
    """A site of folders on one machine.

    Parameters
    ----------
    roots
        Folders with raw data.
    products
        Packages go there; files that are delivered as they are, to a folder for each job in it.
    """
    there = Folder(products)
    files = dict.fromkeys(("scratch", "dug", "astro"), there)
    sources = tuple(Folder(root) for root in roots)
    return Site(sources, there, files, solutions=solutions, life_days=life_days)
