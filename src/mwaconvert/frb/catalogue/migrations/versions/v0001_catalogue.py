"""The first catalogue."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


# One function: the columns of tables, one after the other.
def upgrade() -> None:
    op.create_table(
        "frb_events",
        sa.Column("id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("event_type", sa.String(length=64)),
        sa.Column("recorded", sa.String(length=40)),
        sa.Column("dm", sa.Float()),
        sa.Column("snr", sa.Float()),
        sa.Column("ra", sa.Float()),
        sa.Column("dec", sa.Float()),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "frb_measurements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", _NUMBER, nullable=False),
        sa.Column("pipeline", sa.String(length=256), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["frb_events.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "frb_sources",
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("other_name", sa.String(length=256)),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "frb_candidates",
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.Column("source", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["source"], ["frb_sources.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "frb_candidate_events",
        sa.Column("candidate", sa.String(length=256), nullable=False),
        sa.Column("event_id", _NUMBER, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["candidate"], ["frb_candidates.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("candidate", "event_id"),
    )
    op.create_table(
        "frb_verifications",
        sa.Column("event_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("data_status", sa.JSON(), nullable=False),
        sa.Column("last", sa.String(length=32)),
        sa.Column("agreed", sa.String(length=32)),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "frb_votes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", _NUMBER, nullable=False),
        sa.Column("user", sa.String(length=256), nullable=False),
        sa.Column("classification", sa.String(length=32), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["frb_verifications.event_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "frb_records",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("frb_records_kind", "frb_records", ["kind", "key"])
    for table, column in _INDEXED:
        op.create_index(f"ix_{table}_{column}", table, [column])


_INDEXED = (
    ("frb_events", "event_type"),
    ("frb_events", "recorded"),
    ("frb_measurements", "event_id"),
    ("frb_sources", "type"),
    ("frb_sources", "other_name"),
    ("frb_candidates", "source"),
    ("frb_candidate_events", "event_id"),
    ("frb_verifications", "last"),
    ("frb_verifications", "agreed"),
    ("frb_votes", "event_id"),
)


def downgrade() -> None:
    for table in (
        "frb_records",
        "frb_votes",
        "frb_verifications",
        "frb_candidate_events",
        "frb_candidates",
        "frb_sources",
        "frb_measurements",
        "frb_events",
    ):
        op.drop_table(table)
