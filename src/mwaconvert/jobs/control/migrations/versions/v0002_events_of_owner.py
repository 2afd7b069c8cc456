"""The events of one owner are found without reading those of all."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("events_owner", "events", ["owner", "seq"], unique=False)
