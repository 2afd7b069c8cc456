"""The life of products: until when they are kept, which have ended, and their removal.

Only files that the store says were delivered are ever removed, and only while they are what was delivered.
Nothing is searched for, so nothing of anybody else's can be found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from mwaconvert.errors import Error
from mwaconvert.jobs.delivery.places import Entry, Place

#: days that a product is kept unless a configuration or a job says otherwise
LIFE_DAYS = 7.0


@dataclass(frozen=True)
class Delivered:
    """What a job delivered, as the store keeps it.

    Attributes
    ----------
    place : name of the place in the configuration
    files : its files at the place
    when : with a time zone
    life_days : None: kept until somebody removes it
    """

    job_id: int
    place: str
    files: tuple[Entry, ...]
    when: datetime
    life_days: float | None = LIFE_DAYS

    @property
    def ends(self) -> datetime | None:
        """When its life is over; None: never."""
        return None if self.life_days is None else self.when + timedelta(days=self.life_days)


class Fate(Enum):
    """What became of a file whose time had come."""

    REMOVED = "removed"
    GONE = "was gone already"
    CHANGED = "is not what was delivered any more, so it was left"
    FAILED = "could not be removed"


@dataclass(frozen=True)
class Removal:
    """The end of one file.

    Attributes
    ----------
    reason : a sentence, where it could not be removed
    """

    job_id: int
    name: str
    fate: Fate
    reason: str = ""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do; a failed removal is to be tried again."""
        return self.fate is not Fate.FAILED


def expired(products: Iterable[Delivered], now: datetime) -> tuple[Delivered, ...]:
    """Products whose life is over, the oldest first."""
    over = [
        (product.ends, product) for product in products if product.ends is not None and product.ends <= now
    ]
    return tuple(product for _, product in sorted(over, key=lambda pair: pair[0]))


def remove_product(product: Delivered, places: Mapping[str, Place]) -> tuple[Removal, ...]:
    """Remove the files of a product from its place; done again, it changes nothing.

    Parameters
    ----------
    places : by the names of the configuration

    Returns
    -------
    what became of each file
    """
    place = places.get(product.place)
    if place is None:
        reason = f"the configuration has no place {product.place!r} any more"
        return tuple(Removal(product.job_id, file.name, Fate.FAILED, reason) for file in product.files)
    return tuple(_remove(product.job_id, file, place) for file in product.files)


def _remove(job_id: int, file: Entry, place: Place) -> Removal:
    try:
        there = place.stat(file.name)
        if there is None:
            return Removal(job_id, file.name, Fate.GONE)
        sums = {entry.sha256 for entry in (there, file) if entry.sha256 is not None}
        if there.n_bytes != file.n_bytes or len(sums) > 1:
            return Removal(job_id, file.name, Fate.CHANGED)
        place.remove(file.name)
    except Error as error:
        return Removal(job_id, file.name, Fate.FAILED, str(error))
    return Removal(job_id, file.name, Fate.REMOVED)
