"""Runs, decisions and ingests of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from mwaconvert.archive.catalog import rows
from mwaconvert.archive.catalog.database import Database
from mwaconvert.archive.quality.ingest import IngestItem
from mwaconvert.archive.quality.notes import QaNotes, QaRecords
from mwaconvert.archive.reruns import RunInput
from mwaconvert.errors import InputError, MetadataError


class RunState(Enum):
    """Coarse states of a run."""

    RUNNING = "running"
    WAITING = "waiting"  # for an analyst
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a pipeline over a member set or an execution block (`target`)."""

    run_id: str
    kind: str
    target: str
    attempt: int = 1
    parent: str | None = None
    state: RunState = RunState.RUNNING
    assigned_to: str = ""
    casa: str = ""
    pipeline: str = ""
    mpi_servers: int = 0
    procedure: str = ""
    folder: str = ""


class Runs(Database):
    """What was done with it."""

    def put_run(self, run: Run, inputs: Sequence[RunInput], at: datetime) -> None:
        """Put a run, or its new state; its inputs are written once.

        Raises
        ------
        MetadataError
            Another run of this kind has this attempt at this target.
        """
        row = {name: getattr(run, name) for name in Run.__slots__} | {"state": run.state.value}
        try:
            with self._writing() as connection:
                new = not self._rows(connection, "pipeline_run", run_id=run.run_id)
                self._put(connection, "pipeline_run", {**row, "changed_at": rows.iso(at)})
                if new and inputs:
                    connection.execute(
                        self._t["run_input"].insert(), [rows.of_input(run.run_id, item) for item in inputs]
                    )
        except self._sql.exc.IntegrityError:
            raise MetadataError(f"{run.target} has an attempt {run.attempt} of {run.kind} already") from None

    def next_attempt(self, target: str, kind: str) -> int:
        """The number of the next run of a kind over a target, from 1."""
        runs = self._t["pipeline_run"]
        query = self._sql.select(self._sql.func.max(runs.c.attempt))
        with self._reading() as connection:
            last = connection.execute(query.where(runs.c.target == target, runs.c.kind == kind)).scalar()
        return int(last or 0) + 1

    def runs(self, target: str | None = None, limit: int = 200) -> tuple[Run, ...]:
        """Runs of a target, or of all, the last changed first."""
        runs = self._t["pipeline_run"]
        query = self._sql.select(runs).order_by(runs.c.changed_at.desc(), runs.c.run_id).limit(limit)
        if target is not None:
            query = query.where(runs.c.target == target)
        with self._reading() as connection:
            return tuple(_run(row) for row in connection.execute(query).mappings())

    def put_inputs(self, run_id: str, inputs: Sequence[RunInput]) -> None:
        """What a run uses, or uses now: a step that is repeated writes the same."""
        with self._writing() as connection:
            for item in inputs:
                self._put(connection, "run_input", rows.of_input(run_id, item))

    def inputs(self, run_id: str) -> dict[str, str]:
        """SHA-256 of what a run used, by name."""
        with self._reading() as connection:
            return {row["name"]: row["sha256"] for row in self._rows(connection, "run_input", run_id=run_id)}

    def run(self, run_id: str) -> Run:
        """A run; `InputError` for one the catalogue does not know."""
        with self._reading() as connection:
            found = self._rows(connection, "pipeline_run", run_id=run_id)
        if not found:
            raise InputError(f"there is no run {run_id}")
        return _run(found[0])

    def qa_queue(self, analyst: str | None = None) -> tuple[Run, ...]:
        """Runs that wait for a decision, the longest waiting first; of one analyst, or all."""
        runs = self._t["pipeline_run"]
        query = self._sql.select(runs).where(runs.c.state == RunState.WAITING.value)
        if analyst is not None:
            query = query.where(runs.c.assigned_to == analyst)
        with self._reading() as connection:
            found = connection.execute(query.order_by(runs.c.changed_at, runs.c.run_id)).mappings().all()
        return tuple(_run(row) for row in found)

    def decisions(self, run_id: str) -> QaRecords:
        """Decisions on a run, oldest first."""
        with self._reading() as connection:
            found = self._rows(connection, "qa_record", order="revision", run_id=run_id)
        return QaRecords(tuple(rows.to_record(row) for row in found))

    def decide(self, run_id: str, notes: QaNotes, by: str, at: datetime, *, seen: int) -> QaRecords:
        """Decide on a run as one who saw `seen` decisions; of two at once the second is refused.

        Raises
        ------
        InputError
            No such run, or someone decided in between.
        """
        self.run(run_id)
        after = self.decisions(run_id).decide(notes, by, at, seen=seen)
        try:
            with self._writing() as connection:
                connection.execute(self._t["qa_record"].insert(), rows.of_record(run_id, after.rows[-1]))
        except self._sql.exc.IntegrityError:
            # between our look and our row another came: its words, not ours
            return self.decisions(run_id).decide(notes, by, at, seen=seen)
        return after

    def put_ingest(self, run_id: str, attempt: int, items: Sequence[IngestItem]) -> None:
        """Put the items of an ingest, or what became of them."""
        with self._writing() as connection:
            for item in items:
                self._put(connection, "ingest_item", rows.of_item(run_id, attempt, item))

    def ingested(self, run_id: str) -> tuple[IngestItem, ...]:
        """Items of the last ingest of a run."""
        with self._reading() as connection:
            found = self._rows(connection, "ingest_item", order="attempt", run_id=run_id)
        last = found[-1]["attempt"] if found else 0
        return tuple(rows.to_item(row) for row in found if row["attempt"] == last)


def _run(row: Any) -> Run:
    values = {name: row[name] for name in Run.__slots__}
    return Run(**{**values, "state": RunState(values["state"])})
