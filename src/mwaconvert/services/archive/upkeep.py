"""What a service does for its archive by itself: mail goes out, old runs go."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from mwaconvert.errors import Error
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.workflows.archives.retaining import expire_pass
from mwaconvert.jobs.workflows.archives.running import send_mail
from mwaconvert.jobs.workflows.archives.site import ArchiveSite

_log = logging.getLogger(__name__)
_EXPIRE_S = 3600.0
_NAME = "service"


@dataclass
class ArchiveUpkeep:
    """Called again and again; passes over the working areas come once an hour.

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
        if self.site.retention is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EXPIRE_S
        with self.site.catalog() as catalog:
            try:
                for item in expire_pass(self.site, self.store, catalog, _NAME):
                    _log.info("%s: removed from %s by age", item.path.name, item.area)
            except Error as error:  # somebody edits the file just now; the next pass reads it again
                _log.warning("nothing was removed by age: %s", error)
