"""The tables of the catalogue, for SQLite and PostgreSQL alike.

Times are text, UTC, ISO form: both engines sort and compare it alike. Rows of deliveries, decisions and ingested items
are added, never changed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from mwaconvert.extras import need


@cache
def metadata() -> Any:
    """All tables, as SQLAlchemy's MetaData; made once."""
    sql = need("sqlalchemy", "archive", "the catalogue")
    found = sql.MetaData()
    _observation(sql, found)
    _processing(sql, found)
    _reviews(sql, found)
    return found


# One function: the columns of tables, one after the other.
def _observation(sql: Any, found: Any) -> None:
    """Projects, unit sets, scheduling blocks, sessions, execution blocks, deliveries, files."""
    text, number, flag = sql.String, sql.Integer, sql.Boolean

    def column(name: str, kind: Any, *more: Any, **words: Any) -> Any:
        return sql.Column(name, kind, *more, **{"nullable": False, **words})

    def unit() -> Any:
        return sql.ForeignKey("obs_unit_set.status_uid")

    sql.Table(
        "obs_unit_set",
        found,
        column("status_uid", text, primary_key=True),
        column("project", text, index=True),
        column("level", text, index=True),
        column("parent", text, unit(), nullable=True, index=True),
        column("project_uid", text, nullable=True),
        column("part_id", text, nullable=True),
        column("project_status", text, nullable=True),
        column("state", text, index=True),
        column("qa2", text),
        column("release_date", text, nullable=True),
        column("calibrated", text),
        column("official", flag),
        column("complete", flag),
        column("separate", flag),
        column("block_statuses", sql.JSON),
        column("seen_at", text),
        sql.UniqueConstraint("project_uid", "part_id"),
    )
    sql.Table(
        "sched_block",
        found,
        column("uid", text, primary_key=True),
        column("mous", text, unit(), index=True),
        column("status_uid", text, unique=True, nullable=True),
        column("name", text),
    )
    sql.Table(
        "obs_session",
        found,
        column("mous", text, unit(), primary_key=True),
        column("ordinal", number, primary_key=True),
        column("part_id", text, nullable=True),
        column("sb_status", text, nullable=True),
        column("start", text, nullable=True),
        column("stop", text, nullable=True),
        column("end_raw", text),
        sql.UniqueConstraint("mous", "part_id"),
    )
    sql.Table(
        "exec_block",
        found,
        column("uid", text, primary_key=True),
        column("mous", text, unit(), primary_key=True, index=True),
        column("sched_block", text, nullable=True),
        column("start", text, nullable=True),
        column("stop", text, nullable=True),
        column("qa0", text),
    )
    sql.Table(
        "session_eb",
        found,
        column("mous", text, primary_key=True),
        column("eb", text, primary_key=True),
        column("ordinal", number),
        column("position", number),
        sql.ForeignKeyConstraint(["mous", "ordinal"], ["obs_session.mous", "obs_session.ordinal"]),
        sql.UniqueConstraint("mous", "ordinal", "position"),
    )
    sql.Table(
        "delivery",
        found,
        column("mous", text, unit(), primary_key=True),
        column("observed_at", text, primary_key=True),
        column("release_date", text, nullable=True),
        column("cause", text),
    )
    sql.Table(
        "product_file",
        found,
        column("name", text, primary_key=True),
        column("owner", text, unit(), primary_key=True, index=True),
        column("file_class", text),
        column("role", text),
        column("size", sql.BigInteger, nullable=True),
        column("sha256", text, nullable=True),
        column("archive_crc", text, nullable=True),
    )


# One function: the columns of tables, one after the other.
def _processing(sql: Any, found: Any) -> None:
    """Runs, what they used, decisions, ingests."""
    text, number = sql.String, sql.Integer

    def column(name: str, kind: Any, *more: Any, **words: Any) -> Any:
        return sql.Column(name, kind, *more, **{"nullable": False, **words})

    def run() -> Any:
        return sql.ForeignKey("pipeline_run.run_id")

    sql.Table(
        "pipeline_run",
        found,
        column("run_id", text, primary_key=True),
        column("kind", text),
        column("target", text, index=True),  # member set or execution block
        column("attempt", number),
        column("parent", text, run(), nullable=True),
        column("state", text, index=True),
        column("assigned_to", text),
        column("casa", text),
        column("pipeline", text),
        column("mpi_servers", number),
        column("procedure", text),
        column("folder", text),
        column("changed_at", text),
        sql.UniqueConstraint("target", "kind", "attempt"),
    )
    sql.Table(
        "run_input",
        found,
        column("run_id", text, run(), primary_key=True),
        column("name", text, primary_key=True),
        column("kind", text),
        column("sha256", text),
        column("from_analyst", sql.Boolean),
    )
    sql.Table(
        "qa_record",
        found,
        column("run_id", text, run(), primary_key=True),
        column("revision", number, primary_key=True),
        column("status", text),
        column("score", sql.Float, nullable=True),
        column("standard", text),
        column("analyst", text),
        column("comments", text),
        column("extra", sql.JSON),
        column("decided_by", text),
        column("at", text),
    )
    sql.Table(
        "ingest_item",
        found,
        column("run_id", text, run(), primary_key=True),
        column("attempt", number, primary_key=True),
        column("name", text, primary_key=True),
        column("role", text),
        column("size", sql.BigInteger, nullable=True),
        column("sha256", text, nullable=True),
        column("archive_id", text),
        column("archive_version", number, nullable=True),
        column("verified_at", text, nullable=True),
    )


def _reviews(sql: Any, found: Any) -> None:
    """The audit trail, which only grows; notes before a decision; the two states of a target."""
    text = sql.String

    def column(name: str, kind: Any, *more: Any, **words: Any) -> Any:
        return sql.Column(name, kind, *more, **{"nullable": False, **words})

    sql.Table(
        "audit",
        found,
        column("seq", sql.Integer, primary_key=True, autoincrement=True),
        column("key", text, nullable=True, unique=True),
        column("at", text),
        column("actor", text),
        column("action", text),
        column("subject", text, index=True),
        column("reason", text),
        column("detail", text),
    )
    sql.Table(
        "qa_draft",
        found,
        column("run_id", text, sql.ForeignKey("pipeline_run.run_id"), primary_key=True),
        column("analyst", text, primary_key=True),
        column("text", text),
        column("at", text),
    )
    sql.Table(
        "qa_state",
        found,
        column("target", text, primary_key=True),
        column("calibration", text),
        column("srdp", text),
        column("run_id", text),
        column("changed_at", text),
    )
