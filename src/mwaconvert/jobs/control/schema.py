"""Tables of the store. A change here needs a migration in `migrations/versions` and a new VERSION."""

from __future__ import annotations

import sqlalchemy as sa

VERSION = "0002"
"""The newest migration; `databases.migrate` brings an older store to it."""

metadata = sa.MetaData()

# sqlite_autoincrement: SQLite gives a row the greatest id plus one, used before or not, unless it is told otherwise

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # of the call that submitted it: a call repeated after a lost answer finds its own job
    sa.Column("token", sa.String(32), nullable=False, unique=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("owner", sa.String(128), nullable=False),
    sa.Column("name", sa.String(256), unique=True),
    sa.Column("given", sa.JSON, nullable=False),
    sa.Column("canonical", sa.JSON, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("step", sa.String(128)),
    sa.Column("progress", sa.Float, nullable=False, default=0.0),
    sa.Column("progress_text", sa.Text, nullable=False, default=""),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("estimate_memory", sa.BigInteger),
    sa.Column("estimate_time_s", sa.Float),
    sa.Column("estimate_output", sa.BigInteger),
    sa.Column("fault", sa.String(16)),
    sa.Column("error_text", sa.Text),
    # grows each time the job goes back to the queue: what an old run still wants to write is refused
    sa.Column("run", sa.Integer, nullable=False, default=1),
    sa.Column("worker", sa.String(128)),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, default=False),
    sa.Column("hidden", sa.Boolean, nullable=False, default=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("finished", sa.Float),
    sa.Column("expires", sa.Float),
    # in the order of the queue
    sa.Index("jobs_queue", "state", sa.desc("priority"), "id"),
    sa.Index("jobs_owner", "owner", "id"),
    sa.Index("jobs_digest", "digest"),
    sqlite_autoincrement=True,
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("step", sa.String(128), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("worker", sa.String(128), nullable=False),
    sa.Column("host", sa.String(256), nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),
    sa.Column("pid", sa.Integer),
    sa.Column("pid_started", sa.String(64)),
    sa.Column("batch_id", sa.String(64)),
    sa.Column("directory", sa.Text, nullable=False),
    sa.Column("log_path", sa.Text, nullable=False),
    sa.Column("result", sa.JSON),
    sa.Column("fault", sa.String(16)),
    sa.Column("error_text", sa.Text),
    # a rerun starts before this attempt: its result counts no more
    sa.Column("superseded", sa.Boolean, nullable=False, default=False),
    sa.UniqueConstraint("job_id", "step", "number"),
    sqlite_autoincrement=True,
)

gates = sa.Table(
    "gates",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("gate", sa.String(128), nullable=False),
    sa.Column("answers", sa.JSON, nullable=False),
    sa.Column("stops", sa.JSON, nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("opened", sa.Float, nullable=False),
    sa.Column("answer", sa.String(64)),
    sa.Column("decided_by", sa.String(128)),
    sa.Column("decided", sa.Float),
    sa.Column("why", sa.Text),
    sa.Column("superseded", sa.Boolean, nullable=False, default=False),
    sqlite_autoincrement=True,
)

products = sa.Table(
    "products",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha1", sa.String(40)),
    sa.Column("sha256", sa.String(64)),
    sa.Column("expires", sa.Float, index=True),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("removed", sa.Float),
    sqlite_autoincrement=True,
)

# no foreign key: what happened stays when a job is deleted
events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", sa.Integer().with_variant(sa.BigInteger, "postgresql"), primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("happening", sa.String(32), nullable=False),
    sa.Column("job_id", sa.Integer, index=True),
    sa.Column("owner", sa.String(128)),
    sa.Column("state", sa.String(16)),
    sa.Column("step", sa.String(128)),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Index("events_owner", "owner", "seq"),
    sqlite_autoincrement=True,
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    # the public half of a key: finds the row without trying every hash
    sa.Column("key_id", sa.String(16), nullable=False, unique=True),
    sa.Column("salt", sa.String(32), nullable=False),
    sa.Column("hash", sa.String(128), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("quota_running", sa.Integer),
    sa.Column("quota_queued", sa.Integer),
    sa.Column("quota_disk", sa.BigInteger),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("revoked", sa.Float),
    sa.Column("details", sa.JSON, nullable=False),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("key", sa.String(512), primary_key=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("job_id", sa.Integer),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("sent", sa.Float),
    sa.Column("tries", sa.Integer, nullable=False, default=0),
    sa.Column("answer", sa.Text),
    sa.Column("sender", sa.String(128)),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("host", sa.String(256), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("pid_started", sa.String(64), nullable=False),
    sa.Column("beats", sa.Integer, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("seen", sa.Float, nullable=False),
    sa.Column("alive", sa.Boolean, nullable=False),
)

switches = sa.Table(
    "switches",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.String(64), nullable=False),
    sa.Column("until", sa.Float),
)
