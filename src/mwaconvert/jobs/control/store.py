"""The store of jobs: the only SQL of the package.

SQLite (WAL) in a file by default, PostgreSQL by URL. One writer at a time on both (BEGIN IMMEDIATE, an
advisory lock): what a transaction has read stays true until it commits, so that the check for duplicates,
the quotas and the order of events need no further care. Each write is repeatable: it names the state that it
starts from, so a transaction whose answer was lost may be run again.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.jobs.control import limits, schema
from mwaconvert.jobs.control.schema import (
    attempts,
    events,
    gates,
    jobs,
    outbox,
    products,
    switches,
    users,
    workers,
)
from mwaconvert.jobs.control.states import (
    ACTIVE,
    TERMINAL,
    Fault,
    Happening,
    Outcome,
    Role,
    Sending,
    State,
    Switch,
)
from mwaconvert.jobs.control.work import (
    NO_QUOTAS,
    Attempt,
    DecidedError,
    Decision,
    DuplicateError,
    Estimate,
    Event,
    Gate,
    Job,
    Json,
    Message,
    Product,
    QuotaError,
    Quotas,
    Request,
    UnknownError,
    User,
    WorkerRecord,
    canonical_json,
    duplicate_key,
)

T = TypeVar("T")
Row = dict[str, Any]
_WRITER_LOCK = 0x6D7761  # a number of our own among PostgreSQL's advisory locks
_BUSY_S = 10
_IDS_AT_ONCE = 5000  # databases limit how many numbers a query may have
_MAX_ID = 999_999_999  # ids of ten digits look like observations


def engine_of(url: str) -> sa.Engine:
    """An engine with the settings that jobs need: WAL, synchronous=normal and a busy timeout on SQLite."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_size=10, max_overflow=20)
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_S}, pool_size=10, max_overflow=20)

    @sa.event.listens_for(engine, "connect")
    def settings(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def url_of(database: str | Path) -> str:
    """The URL of a store given as a path or as a URL already."""
    text = str(database)
    if "://" not in text:
        return f"sqlite:///{Path(text).resolve()}"
    if text.startswith(("postgresql://", "postgres://")):
        return "postgresql+psycopg://" + text.split("://", 1)[1]
    return text


def _control_transactions(engine: sa.Engine) -> None:
    """Let us begin transactions on SQLite, not its driver: a writer must lock before it reads."""

    @sa.event.listens_for(engine, "connect")
    def no_implicit_begin(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        is_write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


class Store:
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

    def __init__(
        self, database: str | Path, *, now: Callable[[], float] = time.time, patience_s: float = 60.0
    ) -> None:
        self.url = url_of(database)
        self.now = now
        self.patience_s = patience_s
        if self.url.startswith("sqlite"):
            path = Path(sa.make_url(self.url).database or "")
            if not path.parent.is_dir():
                raise InputError(f"{path}: the folder of the store of jobs does not exist; make it first")
        self.engine = engine_of(self.url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        if self.is_sqlite:
            _control_transactions(self.engine)
        self._writer = threading.Lock()
        self._changed = threading.Condition()
        self._writes = 0
        self._bring_up_to_date()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _bring_up_to_date(self) -> None:
        if self._read(_version_of) != schema.VERSION:
            from mwaconvert.jobs.control import upkeep

            try:
                upkeep.migrate(self.engine)
            except sa.exc.OperationalError as error:
                raise ResourceError(
                    f"{self.engine.url}: the store of jobs cannot be made or brought up to date ({error.orig}); see "
                    "whether its disk is full, and whether you may write there"
                ) from error

    # -- transactions

    @contextmanager
    def _patient(self) -> Iterator[Callable[[sa.exc.DBAPIError], None]]:
        deadline = time.monotonic() + self.patience_s
        wait_s = 0.05

        def again_or_raise(error: sa.exc.DBAPIError) -> None:
            nonlocal wait_s
            if time.monotonic() > deadline:
                raise ResourceError(
                    f"the database of jobs did not answer for {self.patience_s:.0f} s ({error.orig}); "
                    "see whether it runs, its disk is full or another program holds it"
                ) from error
            time.sleep(wait_s)
            wait_s = min(1.0, wait_s * 2)

        yield again_or_raise

    def _transaction(self, work: Callable[[sa.Connection], T], write: bool, is_lazy: bool = False) -> T:
        with self._patient() as again_or_raise:
            while True:
                try:
                    # SQLite lets those who wait for its lock sleep for up to 0.1 s: our own threads queue here
                    with self._writer if write else nullcontext():
                        result = self._try(work, write, is_lazy)
                    break
                except sa.exc.OperationalError as error:
                    again_or_raise(error)
        if write:
            with self._changed:
                self._writes += 1
                self._changed.notify_all()
        return result

    def _try(self, work: Callable[[sa.Connection], T], write: bool, is_lazy: bool) -> T:
        with self.engine.connect().execution_options(write=write) as connection, connection.begin():
            if write and not self.is_sqlite:
                connection.execute(_LOCK_LAZILY if is_lazy else _LOCK)
            return work(connection)

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        return self._transaction(work, write=False)

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
        return self._transaction(work, write=True)

    def _write_lazily(self, work: Callable[[sa.Connection], T]) -> T:
        """Write what may be lost if PostgreSQL loses its power at once: beginnings, not ends.

        The worker that lives on is refused when it writes the end, and gives the job back. What SQLite may
        lose with the power of the machine is the same, and there no worker lives on.
        """
        return self._transaction(work, write=True, is_lazy=True)

    def wait_for_change(self, timeout_s: float) -> None:
        """Return when this process wrote something, or after `timeout_s`: other processes must be polled."""
        with self._changed:
            before = self._writes
            self._changed.wait_for(lambda: self._writes != before, timeout_s)

    # -- events

    def _event(
        self,
        c: sa.Connection,
        happening: Happening,
        job: Row | None = None,
        step: str | None = None,
        **data: Any,
    ) -> None:
        row = {
            "at": self.now(),
            "happening": happening.value,
            "job_id": job["id"] if job else None,
            "owner": job["owner"] if job else None,
            "state": job["state"] if job else None,
            "step": step if step is not None or job is None else job["step"],
            "data": data,
        }
        c.execute(_NEW_EVENT, row)

    def events(
        self,
        after: int = 0,
        *,
        limit: int = 1000,
        job_id: int | None = None,
        owner: str | None = None,
        leave_out: Happening | None = None,
    ) -> list[Event]:
        """Events with `seq` greater than `after`, oldest first: of all, of a job or of an owner."""
        query = sa.select(events).where(events.c.seq > after).order_by(events.c.seq).limit(limit)
        if leave_out is not None:
            query = query.where(events.c.happening != leave_out.value)
        if job_id is not None:
            query = query.where(events.c.job_id == job_id)
        if owner is not None:
            query = query.where(events.c.owner == owner)
        return [_event_of(row) for row in self._read(lambda c: _all(c, query))]

    def last_seq(self) -> int:
        """The number of the newest event, 0 if there is none."""
        return self._read(lambda c: c.execute(sa.select(sa.func.max(events.c.seq))).scalar()) or 0

    # -- submission and listing

    def submit(
        self,
        request: Request,
        *,
        allow_resubmit: bool = False,
        quotas: Quotas | None = None,
        capacity: limits.Capacity = limits.NO_LIMIT,
    ) -> Job:
        """Take a job in, atomically with the check for duplicates and quotas.

        Parameters
        ----------
        allow_resubmit
            Take it though the same job is completed. One that still runs or waits always stands in the way,
            a failed, cancelled or expired one never does.
        quotas
            Instead of those of the owner's user record.
        capacity
            The most that one job may need.

        Raises
        ------
        DuplicateError
            The same job, or one of the same name, is there; holds its id.
        QuotaError
            A quota or the estimate refuses it; the message holds the numbers.
        """
        digest = duplicate_key(request.kind, request.owner, request.canonical)
        canonical_json(request.given)
        token = secrets.token_hex(16)

        def work(c: sa.Connection) -> Job:
            mine = _first(c, sa.select(jobs).where(jobs.c.token == token))
            if mine is not None:
                return _job_of(mine)
            _refuse_duplicates(c, request, digest, allow_resubmit)
            allowed = quotas if quotas is not None else _quotas_of(c, request.owner)
            usage = limits.Usage() if allowed == NO_QUOTAS else _usage_of(c, request.owner)
            reason = limits.refusal(request.estimate, usage, allowed, capacity)
            if reason is not None:
                raise QuotaError(reason)
            row = {
                "token": token,
                "kind": request.kind,
                "owner": request.owner,
                "name": request.name,
                "given": dict(request.given),
                "canonical": dict(request.canonical),
                "digest": digest,
                "state": State.QUEUED.value,
                "priority": request.priority,
                "estimate_memory": request.estimate.memory,
                "estimate_time_s": request.estimate.time_s,
                "estimate_output": request.estimate.output,
                "created": self.now(),
            }
            job_id = c.execute(_NEW_JOB, row).scalar_one()
            if job_id > _MAX_ID:
                raise ResourceError(f"the store has used up all {_MAX_ID} ids of jobs; start a new one")
            new = _row_of(c, job_id)
            self._event(c, Happening.SUBMITTED, new, kind=request.kind, name=request.name)
            return _job_of(new)

        return self._write(work)

    def job(self, job_id: int) -> Job:
        """One job; UnknownError if there is none of that id."""
        return _job_of(self._read(lambda c: _row_of(c, job_id)))

    def job_named(self, name: str) -> Job | None:
        """The listed job of that name."""
        query = sa.select(jobs).where(jobs.c.name == name)
        row = self._read(lambda c: _first(c, query))
        return None if row is None else _job_of(row)

    def jobs(
        self,
        *,
        owner: str | None = None,
        kind: str | None = None,
        states: Iterable[State] | None = None,
        text: str = "",
        before: int | None = None,
        limit: int | None = 100,
        hidden: bool = False,
    ) -> list[Job]:
        """Jobs, newest first. The next page begins `before` the last id of this one.

        Parameters
        ----------
        text
            Stands in the name, owner, parameters or error of a job, or is its id; case does not count.
        """
        query = sa.select(jobs).where(*_filters(owner, kind, states, hidden)).order_by(jobs.c.id.desc())
        if text:
            query = query.where(_mentions(text))
        if before is not None:
            query = query.where(jobs.c.id < before)
        if limit is not None:
            query = query.limit(limit)
        return [_job_of(row) for row in self._read(lambda c: _all(c, query))]

    def counts(self, *, owner: str | None = None, kind: str | None = None) -> dict[State, int]:
        """How many listed jobs are in each state."""
        query = (
            sa.select(jobs.c.state, sa.func.count())
            .where(*_filters(owner, kind, None, False))
            .group_by(jobs.c.state)
        )
        found = dict(self._read(lambda c: [tuple(row) for row in c.execute(query)]))
        return {state: found.get(state.value, 0) for state in State}

    def attempts(self, job_id: int) -> list[Attempt]:
        """All attempts of all steps of a job, oldest first."""
        return [_attempt_of(row) for row in self._read(lambda c: _all(c, _ATTEMPTS, job_id=job_id))]

    def decisions(self, job_id: int) -> list[Decision]:
        """The gates that a job reached, oldest first."""
        return [_decision_of(row) for row in self._read(lambda c: _all(c, _GATES, job_id=job_id))]

    def open_gates(self, limit: int = 1000) -> list[Decision]:
        """Gates that wait for an answer, oldest first."""
        query = (
            sa.select(gates)
            .join(jobs, jobs.c.id == gates.c.job_id)
            .where(gates.c.answer.is_(None), ~gates.c.superseded, jobs.c.state == State.WAITING.value)
            .order_by(gates.c.id)
            .limit(limit)
        )
        return [_decision_of(row) for row in self._read(lambda c: _all(c, query))]

    def products(self, job_id: int) -> list[Product]:
        """Products of a job, those that are removed as well."""
        query = sa.select(products).where(products.c.job_id == job_id).order_by(products.c.id)
        return [_product_of(row) for row in self._read(lambda c: _all(c, query))]

    def products_of(self, job_ids: Iterable[int]) -> dict[int, list[Product]]:
        """Products that are not removed of many jobs, by job; a job without any is left out."""
        wanted = sorted(job_ids)
        found: dict[int, list[Product]] = {}
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            query = (
                sa.select(products)
                .where(products.c.job_id.in_(wanted[start : start + _IDS_AT_ONCE]))
                .where(products.c.removed.is_(None))
                .order_by(products.c.id)
            )
            for row in self._read(lambda c, query=query: _all(c, query)):  # type: ignore[misc]
                found.setdefault(row["job_id"], []).append(_product_of(row))
        return found

    def product(self, product_id: int) -> Product:
        """One product; UnknownError if there is none of that id."""
        query = sa.select(products).where(products.c.id == product_id)
        row = self._read(lambda c: _first(c, query))
        if row is None:
            raise UnknownError(f"there is no product {product_id}")
        return _product_of(row)

    # -- what users do to a job

    def cancel(self, job_id: int, by: str, why: str = "") -> Job:
        """Cancel a job: at once if it waits, else its worker is asked to end it. May be repeated.

        Raises
        ------
        InputError
            The job is completed, failed or expired.
        """

        def work(c: sa.Connection) -> Job:
            row = _row_of(c, job_id)
            state = State(row["state"])
            if state is State.CANCELLED or row["cancel_requested"]:
                return _job_of(row)
            if state.is_terminal:
                raise InputError(f"job {job_id} is {state} already and cannot be cancelled")
            if state is State.RUNNING:
                row = _set(c, row, cancel_requested=True)
                self._event(c, Happening.CANCEL_REQUESTED, row, by=by, why=why)
                return _job_of(row)
            row = _set(c, row, state=State.CANCELLED, finished=self.now(), run=row["run"] + 1)
            self._event(c, Happening.CANCELLED, row, by=by, why=why)
            return _job_of(row)

        return self._write(work)

    def retry(self, job_id: int, by: str, redo: Sequence[str] = ()) -> Job:
        """Queue a job that has ended once more. Finished steps are kept.

        Parameters
        ----------
        redo
            Steps and gates that are done anew although they are done (`Workflow.names_from`).

        Raises
        ------
        InputError
            The job has not ended.
        DuplicateError
            The same job was submitted again meanwhile.
        """

        def work(c: sa.Connection) -> Job:
            row = _row_of(c, job_id)
            state = State(row["state"])
            if not state.is_terminal:
                raise InputError(f"job {job_id} is {state}: only a job that has ended can be tried again")
            if state in (State.COMPLETED, State.EXPIRED) and not redo:
                raise InputError(f"job {job_id} is {state}: name the step from which it shall run again")
            _refuse_active_twin(c, row)
            again = sa.or_(attempts.c.step.in_(redo), attempts.c.outcome == Outcome.LOST.value)
            c.execute(attempts.update().where(attempts.c.job_id == job_id, again).values(superseded=True))
            # a gate that stopped the job is asked again, and so is one that nobody answered
            asked = sa.or_(gates.c.gate.in_(redo), gates.c.answer.is_(None))
            if row["fault"] == Fault.GATE.value:
                asked = sa.or_(asked, gates.c.gate == row["step"])
            c.execute(gates.update().where(gates.c.job_id == job_id, asked).values(superseded=True))
            row = self._requeue(c, row)
            self._event(c, Happening.RETRIED, row, by=by, redo=list(redo))
            return _job_of(row)

        return self._write(work)

    def decide(self, job_id: int, gate: str, answer: str, by: str, why: str = "") -> Job:
        """Answer a gate. Of two who answer at once one wins, and the other is told.

        Raises
        ------
        DecidedError
            Somebody answered before, or the job does not wait there any more.
        InputError
            An answer that the gate does not know.
        """

        def work(c: sa.Connection) -> Job:
            row = _row_of(c, job_id)
            at_gate = sa.and_(gates.c.job_id == job_id, gates.c.gate == gate, ~gates.c.superseded)
            found = _first(c, sa.select(gates).where(at_gate))
            if found is None:
                raise UnknownError(f"job {job_id} waits at no gate {gate!r}")
            if found["answer"] is not None:
                raise DecidedError(
                    f"{found['decided_by']} has answered gate {gate} of job {job_id} before: {found['answer']}"
                )
            if row["state"] != State.WAITING.value:
                raise DecidedError(
                    f"job {job_id} is {row['state']} and does not wait at gate {gate} any more"
                )
            if answer not in found["answers"]:
                raise InputError(f"gate {gate} takes {', '.join(found['answers'])}, not {answer!r}")
            c.execute(
                gates.update()
                .where(gates.c.id == found["id"])
                .values(answer=answer, decided_by=by, decided=self.now(), why=why)
            )
            self._event(c, Happening.GATE_DECIDED, row, gate, answer=answer, by=by, why=why)
            if answer in found["stops"]:
                text = f"{by} answered gate {gate} with {answer}" + (f": {why}" if why else "")
                return _job_of(self._end(c, row, State.FAILED, Fault.GATE, text))
            return _job_of(self._requeue(c, row))

        return self._write(work)

    def hide(self, job_id: int, by: str) -> None:
        """Take a job that has ended out of the lists and free its name. May be repeated."""

        def work(c: sa.Connection) -> None:
            row = _row_of(c, job_id)
            if not State(row["state"]).is_terminal:
                raise InputError(f"job {job_id} is {row['state']}: cancel it first")
            if not row["hidden"]:
                self._event(
                    c, Happening.HIDDEN, _set(c, row, hidden=True, name=None), by=by, name=row["name"]
                )

        self._write(work)

    # -- what engines do

    def next_queued(self, limit: int, skip: Iterable[int] = ()) -> list[Job]:
        """The jobs that should start next: priority, then age; none above its owner's running quota."""

        def work(c: sa.Connection) -> list[Job]:
            allowed = dict(
                tuple(row)
                for row in c.execute(
                    sa.select(users.c.name, users.c.quota_running).where(users.c.quota_running.is_not(None))
                )
            )
            left = {owner: quota - _running_of(c, owner) for owner, quota in allowed.items()}
            picked: list[Job] = []
            unwanted = set(skip)
            while len(picked) < limit:
                full = [owner for owner, free in left.items() if free <= 0]
                query = (
                    sa.select(jobs)
                    .where(jobs.c.state == State.QUEUED.value)
                    .where(jobs.c.id.not_in(unwanted), jobs.c.owner.not_in(full))
                    .order_by(jobs.c.priority.desc(), jobs.c.id)
                    .limit(limit - len(picked))
                )
                found = [_job_of(row) for row in _all(c, query)]
                if not found:
                    break
                for job in found:
                    unwanted.add(job.id)
                    if left.get(job.owner, 1) > 0:
                        left[job.owner] = left.get(job.owner, limit + 1) - 1
                        picked.append(job)
            return picked

        return self._read(work)

    def start_run(self, job_id: int, run: int, worker: str) -> Job | None:
        """Give a queued job to a worker; None if it is not to be had (any more, or yet: see its state).

        A worker that asks for its own running job again gets it: it was restarted.
        """

        def work(c: sa.Connection) -> Job | None:
            row = _row_of(c, job_id)
            if row["run"] != run:
                return None
            if row["state"] == State.RUNNING.value and row["worker"] == worker:
                return _job_of(row)
            if row["state"] != State.QUEUED.value:
                return None
            quota = _quotas_of(c, row["owner"]).running
            if quota is not None and _running_of(c, row["owner"]) >= quota:
                return None
            started = row["started"] or self.now()
            row = _set(c, row, state=State.RUNNING, worker=worker, started=started)
            self._event(c, Happening.STARTED, row, worker=worker, run=run)
            return _job_of(row)

        return self._write_lazily(work)

    def begin_attempt(self, job: Job, step: str, host: str, work_dir: Path) -> Attempt | None:
        """Begin an attempt of a step; None if the job was taken away from this run."""

        def work(c: sa.Connection) -> Attempt | None:
            held = _held(c, job.id, job.run)
            if held is None:
                return None
            self._lose_attempts(c, held)
            number = (c.execute(_LAST_NUMBER, {"job_id": job.id, "of_step": step}).scalar() or 0) + 1
            directory = work_dir / str(job.id) / f"{step}.{number}"
            row = {
                "job_id": job.id,
                "step": step,
                "number": number,
                "run": job.run,
                "outcome": Outcome.RUNNING.value,
                "worker": job.worker or "",
                "host": host,
                "started": self.now(),
                "directory": str(directory),
                "log_path": str(directory.with_name(f"{step}.{number}.log")),
            }
            attempt_id = c.execute(_NEW_ATTEMPT, row).scalar_one()
            held = _set(c, held, step=step, progress=0.0, progress_text="")
            self._event(c, Happening.STEP_STARTED, held, step, attempt=number)
            return _attempt_of({**_NEW_ATTEMPT_ROW, **row, "id": attempt_id})

        return self._write_lazily(work)

    def note_attempt(
        self,
        attempt: Attempt,
        *,
        pid: int | None = None,
        pid_started: str | None = None,
        batch_id: str | None = None,
    ) -> None:
        """Keep the process group or the batch id of an attempt."""
        noted = {"pid": pid, "pid_started": pid_started, "batch_id": batch_id}
        values = {key: value for key, value in noted.items() if value is not None}
        self._write(lambda c: c.execute(attempts.update().where(attempts.c.id == attempt.id).values(values)))

    def progress(self, attempt: Attempt, fraction: float, text: str) -> None:
        """How far a job is."""

        def work(c: sa.Connection) -> None:
            held = _held(c, attempt.job_id, attempt.run)
            if held is not None:
                row = _set(c, held, progress=fraction, progress_text=text)
                self._event(c, Happening.PROGRESS, row, attempt.step, fraction=fraction, text=text)

        self._write_lazily(work)

    def finish_attempt(
        self,
        attempt: Attempt,
        result: Json,
        made: Sequence[Product] = (),
        messages: Sequence[tuple[str, str, Json]] = (),
        *,
        is_last: bool = False,
    ) -> bool:
        """A step is done: its result, products and messages count from now on, all or none.

        Parameters
        ----------
        messages
            (key, kind, payload) for the outbox; one whose key is there is left out.
        is_last
            The job is completed with it.

        Returns
        -------
        bool
            False if the job was taken away from this run: nothing was recorded.
        """

        def work(c: sa.Connection) -> bool:
            now = self.now()
            row = _held(c, attempt.job_id, attempt.run)
            done = {"outcome": Outcome.DONE.value, "ended": now, "result": dict(result)}
            if row is None or c.execute(_END_ATTEMPT, {"attempt_id": attempt.id, **done}).rowcount == 0:
                kept = _all(c, _ATTEMPT, attempt_id=attempt.id)
                return any(found["outcome"] == Outcome.DONE.value for found in kept)
            for product in made:
                c.execute(products.insert().values(_product_row(product, attempt.job_id)))
            for key, kind, payload in messages:
                self._enqueue(c, key, kind, payload, attempt.job_id)
            self._event(
                c, Happening.STEP_ENDED, row, attempt.step, outcome=Outcome.DONE.value, attempt=attempt.number
            )
            if is_last:
                self._end(c, row, State.COMPLETED)
            return True

        return self._write(work)

    def fail_attempt(
        self, attempt: Attempt, outcome: Outcome, fault: Fault | None = None, text: str = ""
    ) -> None:
        """An attempt ended without success. What becomes of the job is said by `end_run`."""

        def work(c: sa.Connection) -> None:
            row = _row_of(c, attempt.job_id)
            ended = {
                "outcome": outcome.value,
                "ended": self.now(),
                "fault": fault.value if fault else None,
                "error_text": text or None,
            }
            if c.execute(_END_ATTEMPT, {"attempt_id": attempt.id, **ended}).rowcount:
                self._event(
                    c,
                    Happening.STEP_ENDED,
                    row,
                    attempt.step,
                    outcome=outcome.value,
                    attempt=attempt.number,
                    text=text,
                )

        self._write(work)

    def end_run(self, job: Job, state: State, fault: Fault | None = None, text: str | None = None) -> None:
        """The job of this run is completed, failed or cancelled; nothing happens if it was taken away."""

        def work(c: sa.Connection) -> None:
            row = _held(c, job.id, job.run)
            if row is not None:
                self._end(c, row, state, fault, text)

        self._write(work)

    def open_gate(self, job: Job, gate: Gate) -> None:
        """Let the job wait at a gate. No worker holds it while it waits."""

        def work(c: sa.Connection) -> None:
            row = _held(c, job.id, job.run)
            if row is None:
                return
            c.execute(
                gates.insert().values(
                    job_id=job.id,
                    gate=gate.name,
                    answers=list(gate.answers),
                    stops=list(gate.stops),
                    role=gate.role.value,
                    opened=self.now(),
                )
            )
            row = _set(
                c, row, state=State.WAITING, step=gate.name, worker=None, progress=0.0, progress_text=""
            )
            self._event(c, Happening.GATE_OPENED, row, gate.name, answers=list(gate.answers))
            if row["cancel_requested"]:
                self._end(c, row, State.CANCELLED)

        self._write(work)

    # -- workers

    def register_worker(self, worker: str, host: str, pid: int, pid_started: str) -> None:
        """A worker begins. What ran under its id before must have been taken from it by `reap` first."""

        def work(c: sa.Connection) -> None:
            now = self.now()
            c.execute(workers.delete().where(workers.c.id == worker))
            row = {"id": worker, "host": host, "pid": pid, "pid_started": pid_started, "beats": 0}
            c.execute(workers.insert().values(**row, started=now, seen=now, alive=True))
            self._event(c, Happening.WORKER_STARTED, None, worker=worker, host=host)

        self._write(work)

    def beat(self, worker: str, pid: int, pid_started: str) -> bool:
        """The heartbeat of a worker; False if another has declared it dead, or has taken its id."""
        mine = sa.and_(
            workers.c.id == worker,
            workers.c.pid == pid,
            workers.c.pid_started == pid_started,
            workers.c.alive,
        )
        beat = workers.update().where(mine).values(beats=workers.c.beats + 1, seen=self.now())
        return self._write_lazily(lambda c: c.execute(beat).rowcount) > 0

    def workers(self) -> list[WorkerRecord]:
        """All workers that ever were."""
        query = sa.select(workers).order_by(workers.c.id)
        return [WorkerRecord(**row) for row in self._read(lambda c: _all(c, query))]

    def reap(self, worker: str, beats: int | None = None) -> list[int] | None:
        """Declare a worker dead: its jobs go back to the queue.

        Parameters
        ----------
        beats
            The heartbeat at which it was believed dead: nothing happens if it has beaten since.

        Returns
        -------
        list of int or None
            Ids of the jobs that were taken from it; None if it is alive, or another was faster.
        """

        def work(c: sa.Connection) -> list[int] | None:
            known = _first(c, sa.select(workers).where(workers.c.id == worker))
            if known is not None and beats is not None and (known["beats"] != beats or not known["alive"]):
                return None
            if known is not None and known["alive"]:
                c.execute(workers.update().where(workers.c.id == worker).values(alive=False))
                self._event(c, Happening.WORKER_LOST, None, worker=worker)
            theirs = sa.and_(jobs.c.worker == worker, jobs.c.state == State.RUNNING.value)
            rows = _all(c, sa.select(jobs).where(theirs))
            for row in rows:
                self._take_back(c, row)
            return [row["id"] for row in rows]

        return self._write(work)

    def renew_run(self, job: Job) -> None:
        """Give a queued job a new run: the engine has lost the one that it had."""

        def work(c: sa.Connection) -> None:
            row = _row_or_none(c, job.id)
            if row is not None and row["run"] == job.run and row["state"] == State.QUEUED.value:
                self._event(c, Happening.REQUEUED, _set(c, row, run=job.run + 1))

        self._write(work)

    def take_back(self, job: Job) -> None:
        """A worker gives a job of its own back to the queue: it stops before the job has ended."""

        def work(c: sa.Connection) -> None:
            row = _held(c, job.id, job.run)
            if row is not None:
                self._take_back(c, row)

        self._write(work)

    def stop_worker(self, worker: str) -> None:
        """A worker ends in good order."""

        def work(c: sa.Connection) -> None:
            c.execute(workers.update().where(workers.c.id == worker).values(alive=False))
            self._event(c, Happening.WORKER_STOPPED, None, worker=worker)

        self._write(work)

    def running_attempts(self, worker: str) -> list[Attempt]:
        """Attempts that run under a worker, as far as the store knows."""
        query = sa.select(attempts).where(
            attempts.c.worker == worker, attempts.c.outcome == Outcome.RUNNING.value
        )
        return [_attempt_of(row) for row in self._read(lambda c: _all(c, query))]

    def stray_batches(self) -> list[Attempt]:
        """Attempts whose batch job may still run though their job was cancelled while nobody watched it."""
        query = (
            sa.select(attempts)
            .join(jobs, jobs.c.id == attempts.c.job_id)
            .where(jobs.c.state == State.CANCELLED.value, attempts.c.batch_id.is_not(None))
            .where(attempts.c.outcome == Outcome.LOST.value)
        )
        return [_attempt_of(row) for row in self._read(lambda c: _all(c, query))]

    def stray_batch_ended(self, attempt_id: int) -> None:
        """The batch job of an attempt was ended after its job was cancelled."""
        ended = attempts.update().where(attempts.c.id == attempt_id).values(outcome=Outcome.CANCELLED.value)
        self._write(lambda c: c.execute(ended))

    def to_be_ended(self, runs: Mapping[int, int]) -> dict[int, bool]:
        """Of the runs (job id -> run) of a worker: those to end, and whether by a cancel (else: taken away)."""
        query = sa.select(jobs.c.id, jobs.c.run, jobs.c.state, jobs.c.cancel_requested).where(
            jobs.c.id.in_(runs)
        )
        rows = {row["id"]: row for row in self._read(lambda c: _all(c, query))}
        ending = {}
        for job_id, run in runs.items():
            row = rows.get(job_id)
            is_held = row is not None and row["run"] == run and row["state"] == State.RUNNING.value
            if row is None or not is_held:
                ending[job_id] = False
            elif row["cancel_requested"]:
                ending[job_id] = True
        return ending

    # -- users

    def add_user(
        self,
        name: str,
        role: Role,
        quotas: Quotas = NO_QUOTAS,
        details: Json | None = None,
        secret: str | None = None,
    ) -> str:
        """Add a user, or give one a new key; returns the key, which is stored nowhere.

        Parameters
        ----------
        secret
            A password chosen by somebody, checked together with the name; by default a key is made that
            needs no name.
        """
        key_id = secrets.token_hex(6)
        key = secret if secret is not None else f"{key_id}.{secrets.token_urlsafe(24)}"
        salt = secrets.token_hex(16)
        row = {
            "name": name,
            "key_id": key_id,
            "salt": salt,
            "hash": _hash(key, salt),
            "role": role.value,
            "quota_running": quotas.running,
            "quota_queued": quotas.queued,
            "quota_disk": quotas.disk,
            "created": self.now(),
            "details": dict(details or {}),
        }

        def work(c: sa.Connection) -> str:
            c.execute(users.delete().where(users.c.name == name))
            c.execute(users.insert().values(row))
            self._event(c, Happening.USER_CHANGED, None, user=name, role=role.value)
            return key

        return self._write(work)

    def revoke_user(self, name: str) -> None:
        """The key of a user opens nothing any more."""

        def work(c: sa.Connection) -> None:
            mine = sa.and_(users.c.name == name, users.c.revoked.is_(None))
            if c.execute(users.update().where(mine).values(revoked=self.now())).rowcount == 0:
                raise UnknownError(f"no user {name!r} with a key that is valid")
            self._event(c, Happening.USER_CHANGED, None, user=name, revoked=True)

        self._write(work)

    def users(self) -> list[User]:
        """All users, also those whose key is revoked."""
        query = sa.select(users).order_by(users.c.name)
        return [_user_of(row) for row in self._read(lambda c: _all(c, query))]

    def user(self, name: str) -> User | None:
        """The user of a name whose key is valid, None if there is none."""
        query = sa.select(users).where(users.c.name == name, users.c.revoked.is_(None))
        row = self._read(lambda c: _first(c, query))
        return None if row is None else _user_of(row)

    def authenticate(self, key: str, name: str | None = None) -> User | None:
        """The user of a key (or of a name and its password); None if the key is wrong or revoked."""
        known = users.c.key_id == key.partition(".")[0] if name is None else users.c.name == name
        row = self._read(lambda c: _first(c, sa.select(users).where(known)))
        # an unknown name takes as long as a wrong key
        found = _hash(key, row["salt"] if row is not None else "00")
        if row is None or not hmac.compare_digest(found, row["hash"]) or row["revoked"] is not None:
            return None
        return _user_of(row)

    # -- outbox

    def enqueue_message(self, key: str, kind: str, payload: Json, job_id: int | None = None) -> bool:
        """Put a message into the outbox; False if one of that key is there."""
        return self._write(lambda c: self._enqueue(c, key, kind, payload, job_id))

    def message(self, key: str) -> Message:
        """One message."""
        query = sa.select(outbox).where(outbox.c.key == key)
        row = self._read(lambda c: _first(c, query))
        if row is None:
            raise UnknownError(f"no message {key!r} in the outbox")
        return _message_of(row)

    def messages(self, state: Sending | None = None, limit: int = 100) -> list[Message]:
        """Messages, oldest first."""
        query = sa.select(outbox).order_by(outbox.c.created, outbox.c.key).limit(limit)
        if state is not None:
            query = query.where(outbox.c.state == state.value)
        return [_message_of(row) for row in self._read(lambda c: _all(c, query))]

    def claim_message(
        self, key: str, sender: str, most: int | None = None, period_s: float = 0.0
    ) -> Message | None:
        """Take a pending message for sending; None if another has it, or the rate has no room.

        Parameters
        ----------
        most, period_s
            At most so many messages of this kind in so many seconds; those that may be out count.
        """

        def work(c: sa.Connection) -> Message | None:
            found = _first(c, sa.select(outbox).where(outbox.c.key == key))
            if found is None or found["state"] != Sending.PENDING.value:
                return None
            recent = sa.or_(outbox.c.sent >= self.now() - period_s, outbox.c.state == Sending.SENDING.value)
            count = sa.select(sa.func.count()).where(outbox.c.kind == found["kind"], recent)
            if most is not None and (c.execute(count).scalar() or 0) >= most:
                return None
            values = {"state": Sending.SENDING.value, "sender": sender, "tries": found["tries"] + 1}
            c.execute(outbox.update().where(outbox.c.key == key).values(values))
            return _message_of({**found, **values})

        return self._write(work)

    def settle_message(self, key: str, state: Sending, answer: str) -> None:
        """What became of a message that was taken for sending."""

        def work(c: sa.Connection) -> None:
            taken = sa.and_(outbox.c.key == key, outbox.c.state == Sending.SENDING.value)
            sent = self.now() if state in (Sending.SENT, Sending.UNKNOWN) else None
            values = {"state": state.value, "answer": answer, "sent": sent}
            if c.execute(outbox.update().where(taken).values(values)).rowcount:
                found = _one(c, sa.select(outbox).where(outbox.c.key == key))
                job = _row_or_none(c, found["job_id"])
                self._event(
                    c, Happening.SENT, job, key=key, kind=found["kind"], state=state.value, answer=answer
                )

        self._write(work)

    def abandon_messages(self, sender: str) -> int:
        """Messages that a dead sender was sending: nobody knows whether they went out, so a person must look."""
        theirs = sa.and_(outbox.c.state == Sending.SENDING.value, outbox.c.sender == sender)
        lost = outbox.update().where(theirs).values(state=Sending.UNKNOWN.value, answer=Sending.UNKNOWN.words)
        return self._write(lambda c: c.execute(lost).rowcount)

    def resend(self, key: str, by: str) -> None:
        """A person lets a message that was not sent be tried again."""

        def work(c: sa.Connection) -> None:
            states = [state.value for state in (Sending.FAILED, Sending.UNKNOWN, Sending.TESTED)]
            stuck = sa.and_(outbox.c.key == key, outbox.c.state.in_(states))
            if c.execute(outbox.update().where(stuck).values(state=Sending.PENDING.value)).rowcount == 0:
                raise InputError(f"message {key!r} is not there, or waits or was sent already")
            self._event(c, Happening.SENT, None, key=key, state=Sending.PENDING.value, by=by)

        self._write(work)

    def switch(self, name: str = "outbox") -> Switch:
        """Where a switch stands: TEST unless somebody has set it LIVE, and its time is not over."""
        query = sa.select(switches).where(switches.c.name == name)
        row = self._read(lambda c: _first(c, query))
        if row is None or (row["until"] is not None and self.now() > row["until"]):
            return Switch.TEST
        return Switch(row["value"])

    def set_switch(
        self, value: Switch, by: str, why: str, *, until: float | None = None, name: str = "outbox"
    ) -> None:
        """Set a switch, for good or until a time; the event keeps who and why."""

        def work(c: sa.Connection) -> None:
            c.execute(switches.delete().where(switches.c.name == name))
            c.execute(switches.insert().values(name=name, value=value.value, until=until))
            self._event(
                c, Happening.SWITCHED, None, switch=name, value=value.value, by=by, why=why, until=until
            )

        self._write(work)

    # -- expiry

    def expired_products(self) -> list[Product]:
        """Products whose time is over and whose files are not removed."""
        over = sa.and_(products.c.expires <= self.now(), products.c.removed.is_(None))
        query = sa.select(products).where(over).order_by(products.c.id)
        return [_product_of(row) for row in self._read(lambda c: _all(c, query))]

    def product_removed(self, product_id: int) -> None:
        """The files of a product are gone; a job without any product left is expired."""

        def work(c: sa.Connection) -> None:
            is_left = sa.and_(products.c.id == product_id, products.c.removed.is_(None))
            c.execute(products.update().where(is_left).values(removed=self.now()))
            job_id = c.execute(sa.select(products.c.job_id).where(products.c.id == product_id)).scalar()
            left = sa.select(sa.func.count()).where(products.c.job_id == job_id, products.c.removed.is_(None))
            row = _row_or_none(c, job_id)
            if row is not None and row["state"] == State.COMPLETED.value and c.execute(left).scalar() == 0:
                self._event(c, Happening.EXPIRED, _set(c, row, state=State.EXPIRED))

        self._write(work)

    def extend(self, job_id: int, expires: float | None, by: str) -> None:
        """Give the products of a job another end (None: never)."""

        def work(c: sa.Connection) -> None:
            of_job = sa.and_(products.c.job_id == job_id, products.c.removed.is_(None))
            c.execute(products.update().where(of_job).values(expires=expires))
            self._event(
                c, Happening.PROGRESS, _set(c, _row_of(c, job_id), expires=expires), expires=expires, by=by
            )

        self._write(work)

    def old_jobs(self, ended_before: float) -> list[Job]:
        """Jobs that ended before a time and have no product left."""
        has_product = sa.exists().where(products.c.job_id == jobs.c.id, products.c.removed.is_(None))
        query = (
            sa.select(jobs)
            .where(
                jobs.c.state.in_([state.value for state in TERMINAL]),
                jobs.c.finished < ended_before,
                ~has_product,
            )
            .order_by(jobs.c.id)
        )
        return [_job_of(row) for row in self._read(lambda c: _all(c, query))]

    def delete_job(self, job_id: int) -> None:
        """Forget a job that has ended; its events stay."""

        def work(c: sa.Connection) -> None:
            row = _row_or_none(c, job_id)
            if row is not None and State(row["state"]).is_terminal:
                c.execute(jobs.delete().where(jobs.c.id == job_id))

        self._write(work)

    # -- pieces of transactions

    def _end(
        self, c: sa.Connection, row: Row, state: State, fault: Fault | None = None, text: str | None = None
    ) -> Row:
        values: dict[str, Any] = {"state": state, "finished": self.now(), "fault": fault, "error_text": text}
        if state is State.COMPLETED:
            values |= {"progress": 1.0, "expires": c.execute(_SOONEST, {"job_id": row["id"]}).scalar()}
        ended = _set(c, row, **values, worker=None, cancel_requested=False)
        self._event(c, Happening(state.value), ended, fault=fault, text=text)
        return ended

    def _requeue(self, c: sa.Connection, row: Row) -> Row:
        return _set(
            c,
            row,
            state=State.QUEUED,
            run=row["run"] + 1,
            worker=None,
            fault=None,
            error_text=None,
            finished=None,
            cancel_requested=False,
            progress=0.0,
            progress_text="",
        )

    def _take_back(self, c: sa.Connection, row: Row) -> None:
        self._lose_attempts(c, row)
        if row["cancel_requested"]:
            self._end(c, row, State.CANCELLED)
        else:
            self._event(c, Happening.REQUEUED, self._requeue(c, row))

    def _lose_attempts(self, c: sa.Connection, job: Row) -> None:
        for row in _all(c, _RUNNING_ATTEMPTS, job_id=job["id"]):
            lost = {"outcome": Outcome.LOST.value, "ended": self.now(), "fault": Fault.LOST.value}
            c.execute(_END_ATTEMPT, {"attempt_id": row["id"], **lost})
            told = {"outcome": Outcome.LOST.value, "attempt": row["number"]}
            self._event(c, Happening.STEP_ENDED, job, row["step"], **told)

    def _enqueue(self, c: sa.Connection, key: str, kind: str, payload: Json, job_id: int | None) -> bool:
        if c.execute(sa.select(outbox.c.key).where(outbox.c.key == key)).first() is not None:
            return False
        row = {"key": key, "kind": kind, "payload": dict(payload), "job_id": job_id, "created": self.now()}
        c.execute(outbox.insert().values(**row, state=Sending.PENDING.value))
        return True


def _version_of(c: sa.Connection) -> str | None:
    if not sa.inspect(c).has_table("alembic_version"):
        return None
    return c.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _hash(key: str, salt: str) -> str:
    return hashlib.scrypt(key.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1).hex()


def _all(c: sa.Connection, query: sa.Select[Any], **parameters: Any) -> list[Row]:
    result = c.execute(query, parameters)
    keys = tuple(result.keys())
    return [dict(zip(keys, row, strict=True)) for row in result]


def _first(c: sa.Connection, query: sa.Select[Any]) -> Row | None:
    return next(iter(_all(c, query.limit(1))), None)


def _one(c: sa.Connection, query: sa.Select[Any], **parameters: Any) -> Row:
    return _all(c, query, **parameters)[0]


# statements of the hot path, built once: to build one takes longer than to run it
_JOB = sa.select(jobs).where(jobs.c.id == sa.bindparam("job_id"))
_CHANGE_JOB = jobs.update().where(jobs.c.id == sa.bindparam("job_id"))
_NEW_JOB = jobs.insert().returning(jobs.c.id)
_NEW_EVENT = events.insert()
_LOCK = sa.select(sa.func.pg_advisory_xact_lock(_WRITER_LOCK))
_LOCK_LAZILY = _LOCK.add_columns(sa.func.set_config("synchronous_commit", "off", True))
_NEW_ATTEMPT_ROW = {
    column.name: False if column.name == "superseded" else None for column in attempts.columns
}
_NEW_ATTEMPT = attempts.insert().returning(attempts.c.id)
_ATTEMPTS = sa.select(attempts).where(attempts.c.job_id == sa.bindparam("job_id")).order_by(attempts.c.id)
_ATTEMPT = sa.select(attempts).where(attempts.c.id == sa.bindparam("attempt_id"))
_END_ATTEMPT = attempts.update().where(
    attempts.c.id == sa.bindparam("attempt_id"), attempts.c.outcome == Outcome.RUNNING.value
)
_LAST_NUMBER = sa.select(sa.func.max(attempts.c.number)).where(
    attempts.c.job_id == sa.bindparam("job_id"), attempts.c.step == sa.bindparam("of_step")
)
_RUNNING_ATTEMPTS = sa.select(attempts).where(
    attempts.c.job_id == sa.bindparam("job_id"), attempts.c.outcome == Outcome.RUNNING.value
)
_GATES = sa.select(gates).where(gates.c.job_id == sa.bindparam("job_id")).order_by(gates.c.id)
_USER = sa.select(users).where(users.c.name == sa.bindparam("user_name"))
_SOONEST = sa.select(sa.func.min(products.c.expires)).where(
    products.c.job_id == sa.bindparam("job_id"), products.c.removed.is_(None)
)


def _row_or_none(c: sa.Connection, job_id: int | None) -> Row | None:
    return next(iter(_all(c, _JOB, job_id=job_id)), None)


def _row_of(c: sa.Connection, job_id: int) -> Row:
    row = _row_or_none(c, job_id)
    if row is None:
        raise UnknownError(f"there is no job {job_id}")
    return row


def _held(c: sa.Connection, job_id: int, run: int) -> Row | None:
    """The row of a job that this run still holds."""
    row = _row_or_none(c, job_id)
    return row if row is not None and row["run"] == run and row["state"] == State.RUNNING.value else None


def _set(c: sa.Connection, row: Row, **values: Any) -> Row:
    """Change a job as this transaction has read it; returns it as it is then."""
    state = values.get("state")
    if state is not None and not State(row["state"]).may_become(state):
        raise InputError(f"job {row['id']} is {row['state']} and cannot become {state}")
    # drivers do not agree on how to write an enum
    values = {key: value.value if isinstance(value, Enum) else value for key, value in values.items()}
    c.execute(_CHANGE_JOB, {"job_id": row["id"], **values})
    return {**row, **values}


def _filters(
    owner: str | None, kind: str | None, states: Iterable[State] | None, hidden: bool
) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    if not hidden:
        wanted.append(~jobs.c.hidden)
    if owner is not None:
        wanted.append(jobs.c.owner == owner)
    if kind is not None:
        wanted.append(jobs.c.kind == kind)
    if states is not None:
        wanted.append(jobs.c.state.in_([state.value for state in states]))
    return wanted


def _mentions(text: str) -> sa.ColumnElement[bool]:
    """Jobs in which a text stands."""
    told = [jobs.c.name, jobs.c.owner, jobs.c.error_text, sa.cast(jobs.c.given, sa.Text)]
    found = [column.icontains(text, autoescape=True) for column in told]
    if text.isdecimal() and len(text) < 10:
        found.append(jobs.c.id == int(text))
    return sa.or_(*found)


def _refuse_duplicates(c: sa.Connection, request: Request, digest: str, allow_resubmit: bool) -> None:
    in_the_way = ACTIVE if allow_resubmit else ACTIVE | {State.COMPLETED}
    twin = _first(
        c,
        sa.select(jobs)
        .where(jobs.c.digest == digest, ~jobs.c.hidden, jobs.c.state.in_([s.value for s in in_the_way]))
        .order_by(jobs.c.id.desc()),
    )
    if twin is not None:
        raise DuplicateError(f"the same job is there already: job {twin['id']}, {twin['state']}", twin["id"])
    if request.name is not None:
        namesake = c.execute(sa.select(jobs.c.id).where(jobs.c.name == request.name)).scalar()
        if namesake is not None:
            raise DuplicateError(f"a job named {request.name!r} is there already: job {namesake}", namesake)


def _refuse_active_twin(c: sa.Connection, row: Row) -> None:
    active = [state.value for state in ACTIVE]
    twin = sa.select(jobs.c.id).where(jobs.c.digest == row["digest"], jobs.c.state.in_(active))
    found = c.execute(twin).scalar()
    if found is not None:
        raise DuplicateError(f"the same job is queued or runs already: job {found}", found)


def _quotas_of(c: sa.Connection, owner: str) -> Quotas:
    row = next(iter(_all(c, _USER, user_name=owner)), None)
    return NO_QUOTAS if row is None else Quotas(row["quota_running"], row["quota_queued"], row["quota_disk"])


def _running_of(c: sa.Connection, owner: str) -> int:
    running = sa.and_(jobs.c.owner == owner, jobs.c.state == State.RUNNING.value)
    return c.execute(sa.select(sa.func.count()).where(running)).scalar() or 0


def _usage_of(c: sa.Connection, owner: str) -> limits.Usage:
    active = sa.select(jobs.c.state, sa.func.count(), sa.func.sum(jobs.c.estimate_output)).where(
        jobs.c.owner == owner, jobs.c.state.in_([state.value for state in ACTIVE])
    )
    counts = {
        state: (count, int(output or 0)) for state, count, output in c.execute(active.group_by(jobs.c.state))
    }
    kept = sa.select(sa.func.sum(products.c.size)).where(
        products.c.job_id == jobs.c.id, jobs.c.owner == owner, products.c.removed.is_(None)
    )
    return limits.Usage(
        running=counts.get(State.RUNNING.value, (0, 0))[0],
        queued=counts.get(State.QUEUED.value, (0, 0))[0],
        disk=int(c.execute(kept).scalar() or 0),
        promised=sum(output for _, output in counts.values()),
    )


def _job_of(row: Row) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        owner=row["owner"],
        name=row["name"],
        given=row["given"],
        canonical=row["canonical"],
        digest=row["digest"],
        state=State(row["state"]),
        step=row["step"],
        progress=row["progress"],
        progress_text=row["progress_text"],
        priority=row["priority"],
        estimate=Estimate(row["estimate_memory"], row["estimate_time_s"], row["estimate_output"]),
        fault=None if row["fault"] is None else Fault(row["fault"]),
        error_text=row["error_text"],
        run=row["run"],
        worker=row["worker"],
        cancel_requested=row["cancel_requested"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        expires=row["expires"],
    )


def _attempt_of(row: Row) -> Attempt:
    values = {
        **row,
        "outcome": Outcome(row["outcome"]),
        "fault": None if row["fault"] is None else Fault(row["fault"]),
        "directory": Path(row["directory"]),
        "log_path": Path(row["log_path"]),
    }
    return Attempt(**values)


def _decision_of(row: Row) -> Decision:
    values = {key: value for key, value in row.items() if key != "id"}
    lists = {"answers": tuple(row["answers"]), "stops": tuple(row["stops"]), "role": Role(row["role"])}
    return Decision(**{**values, **lists})


def _event_of(row: Row) -> Event:
    state = None if row["state"] is None else State(row["state"])
    return Event(**{**row, "happening": Happening(row["happening"]), "state": state})


def _product_of(row: Row) -> Product:
    return Product(**row)


def _product_row(product: Product, job_id: int) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "path": product.path,
        "size": product.size,
        "sha1": product.sha1,
        "sha256": product.sha256,
        "expires": product.expires,
        "details": dict(product.details),
    }


def _user_of(row: Row) -> User:
    quotas = Quotas(row["quota_running"], row["quota_queued"], row["quota_disk"])
    return User(row["name"], Role(row["role"]), quotas, row["created"], row["revoked"], row["details"])


def _message_of(row: Row) -> Message:
    values = {key: value for key, value in row.items() if key != "sender"}
    return Message(**{**values, "state": Sending(row["state"])})
