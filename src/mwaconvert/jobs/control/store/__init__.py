"""The store of jobs: the only SQL of jobs. One class of many rooms, one for each purpose."""

from __future__ import annotations

from mwaconvert.jobs.control.store.accounts import Accounts
from mwaconvert.jobs.control.store.database import engine_of, url_of
from mwaconvert.jobs.control.store.expiry import Expiry
from mwaconvert.jobs.control.store.intake import Intake
from mwaconvert.jobs.control.store.listing import Listing, Selection
from mwaconvert.jobs.control.store.messages import Messages
from mwaconvert.jobs.control.store.orders import Orders
from mwaconvert.jobs.control.store.runs import Runs
from mwaconvert.jobs.control.store.workers import Workers

__all__ = ["Selection", "Store", "engine_of", "url_of"]


class Store(Listing, Intake, Orders, Runs, Workers, Accounts, Messages, Expiry):
    """Jobs and all that belongs to them.

    Parameters
    ----------
    database
        A path (SQLite) or an SQLAlchemy URL (`sqlite:///...`, `postgresql://...`). A missing file is made,
        an older store is brought up to date.
    now
        The clock, seconds since 1970.
    patience_s
        How long a call waits for a database that is locked or away before it raises ResourceError.

    Examples
    --------
    >>> import tempfile
    >>> from mwaconvert.jobs.control.work import Request
    >>> store = Store(tempfile.mkdtemp() + "/jobs.db")
    >>> job = store.submit(Request("convert", "ann", {"obsid": "1065880128"}))
    >>> job.id, str(job.state)
    (1, 'queued')
    >>> store.close()
    """
