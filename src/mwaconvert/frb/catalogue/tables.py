"""Tables of the catalogue. A change here needs a migration in `migrations/versions` and a new VERSION.

They lie in the database of the jobs, and have a version of their own: neither knows the other's tables.
"""

from __future__ import annotations

import sqlalchemy as sa

VERSION = "0001"
VERSION_TABLE = "frb_alembic_version"

metadata = sa.MetaData()
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")

events = sa.Table(
    "frb_events",
    metadata,
    sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
    sa.Column("event_type", sa.String(64), index=True),
    # of the measurement that stands for the event
    sa.Column("recorded", sa.String(40), index=True),
    sa.Column("dm", sa.Float),
    sa.Column("snr", sa.Float),
    sa.Column("ra", sa.Float),
    sa.Column("dec", sa.Float),
    sa.Column("facts", sa.JSON, nullable=False),
)

measurements = sa.Table(
    "frb_measurements",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("event_id", sa.ForeignKey("frb_events.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("pipeline", sa.String(256), nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
)

sources = sa.Table(
    "frb_sources",
    metadata,
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("type", sa.String(32), nullable=False, index=True),
    sa.Column("other_name", sa.String(256), index=True),
    sa.Column("facts", sa.JSON, nullable=False),
)

candidates = sa.Table(
    "frb_candidates",
    metadata,
    sa.Column("id", sa.String(256), primary_key=True),
    sa.Column("source", sa.ForeignKey("frb_sources.name", ondelete="CASCADE"), nullable=False, index=True),
)

# an event may be known by its number before it is loaded
candidate_events = sa.Table(
    "frb_candidate_events",
    metadata,
    sa.Column("candidate", sa.ForeignKey("frb_candidates.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("event_id", _NUMBER, primary_key=True, autoincrement=False, index=True),
)

verifications = sa.Table(
    "frb_verifications",
    metadata,
    sa.Column("event_id", _NUMBER, primary_key=True, autoincrement=False),
    sa.Column("data_status", sa.JSON, nullable=False),
    # what the last vote says, and what is not contested
    sa.Column("last", sa.String(32), index=True),
    sa.Column("agreed", sa.String(32), index=True),
)

votes = sa.Table(
    "frb_votes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column(
        "event_id",
        sa.ForeignKey("frb_verifications.event_id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("user", sa.String(256), nullable=False),
    sa.Column("classification", sa.String(32), nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
)

records = sa.Table(
    "frb_records",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("key", sa.String(256), nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Index("frb_records_kind", "kind", "key"),
)
