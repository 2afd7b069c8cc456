"""What a service does for its archive by itself: mail goes out, its metadata are followed, old runs go."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from mwaconvert.archive.catalog import Catalog
from mwaconvert.errors import Error
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.workflows.archives.retaining import expire_pass
from mwaconvert.jobs.workflows.archives.running import send_mail
from mwaconvert.jobs.workflows.archives.site import ArchiveSite
from mwaconvert.jobs.workflows.archives.updating import update_pass

_log = logging.getLogger(__name__)
_PASS_S = 3600.0
_NAME = "service"


@dataclass
class ArchiveUpkeep:
    """Called again and again; passes over the archive's metadata and the working areas come once an hour.

    Attributes
    ----------
    sender : id of the worker beside it, so that mail of a killed service is found
    """

    site: ArchiveSite
    store: Store
    sender: str
    _next: float = field(default=0.0)

    def __call__(self) -> None:
        if self.site.mail is not None:
            for message in send_mail(self.site, self.store, self.sender):
                _log.info("mail %s: %s", message.key, message.state.words)
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PASS_S
        with self.site.catalog() as catalog:
            self._look(catalog)
            self._expire(catalog)

    def _look(self, catalog: Catalog) -> None:
        """Calibrations and release dates follow the archive."""
        if self.site.metadata is None and self.site.obscore is None:
            return
        try:
            _log.info("the archive's metadata: %s", update_pass(self.site, catalog, _NAME).words)
        except Error as error:  # the archive is away; restores ask for themselves
            _log.warning("the archive's metadata were not looked at: %s", error)

    def _expire(self, catalog: Catalog) -> None:
        if self.site.retention is None:
            return
        try:
            for item in expire_pass(self.site, self.store, catalog, _NAME):
                _log.info("%s: removed from %s by age", item.path.name, item.area)
        except Error as error:  # somebody edits the file just now; the next pass reads it again
            _log.warning("nothing was removed by age: %s", error)
