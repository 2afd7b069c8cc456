"""What all routes of one service share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from starlette.requests import HTTPConnection

from mwaconvert.frb.catalogue.catalogue import Catalogue
from mwaconvert.jobs.control.limits import Capacity
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Job, Product
from mwaconvert.jobs.delivery.places import Bucket
from mwaconvert.jobs.workflows import submission
from mwaconvert.jobs.workflows.site import Site
from mwaconvert.services.auth import Session, Sessions
from mwaconvert.services.config import Config
from mwaconvert.services.rows import Rows
from mwaconvert.services.signing import Links
from mwaconvert.services.sockets import Feed
from mwaconvert.vocabulary.job_file import JobRow

_DAY_S = 86400


@dataclass(frozen=True)
class Service:
    """A service: found by routes as `request.app.state.service`."""

    config: Config
    store: Store
    site: Site
    sessions: Sessions
    links: Links
    feed: Feed
    rows: Rows
    secret: bytes

    @cached_property
    def catalogue(self) -> Catalogue:
        """Events of CHIME/FRB, in the database of the jobs."""
        return Catalogue(self.store.engine)

    def submit(self, row: JobRow, session: Session) -> Job:
        """Take a job of a user in.

        Raises
        ------
        DuplicateError, QuotaError, InputError
            As `jobs.workflows.submission.submit`.
        """
        settings = self.config.conversion
        capacity = Capacity(
            memory=settings.max_memory,
            time_s=None if settings.max_hours is None else settings.max_hours * 3600,
            output=settings.max_output,
        )
        group = session.group if session.group in self.config.delivery.groups else None
        return submission.submit(self.store, row, session.name, group, site=self.site, capacity=capacity)

    def link_ends(self, product: Product) -> int:
        """When a link to a product ends: with the product; for ever is a week from the next midnight."""
        if product.expires is not None:
            return math.ceil(product.expires)
        return (int(self.store.now()) // _DAY_S + 8) * _DAY_S

    def bucket_link(self, name: str, expires: int) -> str:
        """A link that the bucket of packages itself has signed."""
        life_s = min(7 * _DAY_S, max(1, expires - int(self.store.now())))
        return cast(Bucket, self.site.packages).link(name, life_s)

    def base_url(self, connection: HTTPConnection) -> str:
        """How the one who asks calls this service."""
        if self.config.server.public_url is not None:
            return self.config.server.public_url
        scheme = "https" if connection.url.scheme in ("https", "wss") else "http"
        return f"{scheme}://{connection.url.netloc}"


def service_of(connection: HTTPConnection) -> Service:
    """The service of a request. A dependency of routes."""
    return cast(Service, connection.app.state.service)
