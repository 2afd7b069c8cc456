"""What the archive knows, in one database: SQLite by default, PostgreSQL by its URL.

A member set goes in and comes out as a `MemberSnapshot`; a pass over all of them tells what changed. Runs, decisions
and ingests are rows beside. Of two analysts who decide at once the database lets one through.
"""

from __future__ import annotations

from mwaconvert.archive.catalog.members import Members
from mwaconvert.archive.catalog.reviews import Reviews
from mwaconvert.archive.catalog.runs import Runs


class Catalog(Members, Runs, Reviews):
    """A catalogue in a database, which may be that of the jobs.

    Parameters
    ----------
    url : of SQLAlchemy, as ``sqlite:///archive.db``; it may hold a password and is never shown

    Examples
    --------
    >>> with Catalog("sqlite://") as catalog:
    ...     catalog.qa_queue()
    ()
    """
