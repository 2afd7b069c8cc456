"""Jobs as containers of Apptainer, each a batch job of Slurm. The folder of attempts must be on a disk of all nodes."""

from __future__ import annotations

import math
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.slurm import Slurm
from mwaconvert.jobs.control.states import Fault
from mwaconvert.jobs.control.work import (
    Attempt,
    Context,
    Ended,
    Json,
    Keeper,
    Limits,
    StepError,
    TransientError,
)
from mwaconvert.jobs.executors import watch
from mwaconvert.jobs.executors.executor import (
    MOUNT,
    Prepared,
    Way,
    last_words,
    note_mount,
    refuse_bad_end,
    see_archive,
)
from mwaconvert.jobs.executors.order import Order
from mwaconvert.jobs.executors.process import answer, end_of, passed_on, write_order

_WATCH = Path(watch.__file__)
_GRACE_S = 5.0


class ApptainerExecutor:
    """Batch jobs that run Apptainer.

    Parameters
    ----------
    archive
        The folder, on all nodes, that containers see as /data/chime.
    sif
        A folder of images as files, chimefrb_maestro_latest.sif for chimefrb/maestro; None: nodes fetch them.
    """

    way = Way.APPTAINER

    def __init__(self, slurm: Slurm, archive: Path | None = None, sif: Path | None = None) -> None:
        self.slurm = slurm
        self.archive = archive
        self.sif = sif

    def prepare(self, order: Order) -> Prepared:
        if shutil.which("sbatch") is None:
            raise ResourceError("sbatch is not installed here; Slurm must be reachable from the worker")
        see_archive(order, self.archive)
        self._image(order)
        enforced = {
            "job_mem_limit": "Slurm, and watched",
            "job_mem_reservation": "Slurm gives the limit",
            "job_cpu_limit": "Slurm, whole cores",
            "job_cpu_reservation": "Slurm gives the limit",
        }
        missing = []
        if not float(order.cpu_limit).is_integer():
            missing.append(
                f"job_cpu_limit: {order.cpu_limit:g} cores; Slurm gives {math.ceil(order.cpu_limit)}"
            )
        note_mount(order, self.archive, enforced, missing)
        return Prepared(enforced, tuple(missing))

    def run(self, context: Context, order: Order) -> Json:
        self._write(context, order)
        # a little more than the job may use: who watches over it takes some, and says what it used too much
        limits = Limits(memory=order.memory_limit + 2**28)
        known = replace(context, limits=limits, keeper=_Words(context.keeper))
        argv = [sys.executable, "-I", "-S", str(_WATCH), str(context.directory)]
        options = [f"--cpus-per-task={math.ceil(order.cpu_limit)}"]
        try:
            folder = self.slurm.run(known, argv, options=options)
        except TransientError:
            if any((folder / "claimed").exists() for folder in self._folders(context)):
                raise StepError(
                    f"{order.name}: its node went down; it is not started again", Fault.LOST
                ) from None
            raise
        facts = answer(folder)
        log_path = folder.with_name(f"{folder.name}.log")
        if facts is None:
            raise StepError(
                f"{order.name}: what watched over it on its node did not say how it ended", Fault.LOST
            )
        end = end_of(facts)
        refuse_bad_end(order, end, last_words(log_path))
        return {"exit_code": end.code, "memory_peak": facts.get("memory_peak"), "notes": list(end.notes)}

    def end(self, batch_id: str) -> None:
        self.slurm.cancel(batch_id)

    def _folders(self, context: Context) -> list[Path]:
        return [context.directory, *(attempt.directory for attempt in context.earlier)]

    def _image(self, order: Order) -> str:
        if self.sif is None:
            return f"docker://{order.image}"
        name, _, tag = order.image.partition(":")
        file = self.sif / f"{name.replace('/', '_')}_{tag or 'latest'}.sif"
        if not file.is_file():
            raise StepError(f"there is no image {order.image} here: no file {file}", Fault.INPUT)
        return str(file)

    def _write(self, context: Context, order: Order) -> None:
        words = ["apptainer", "exec" if order.command else "run", "--containall"]
        if order.mount_archive and self.archive is not None:
            words += ["--bind", f"{self.archive}:{MOUNT}:ro"]
        work = context.directory / "work"
        work.mkdir(exist_ok=True)
        # values go by the environment: words of a command are for all to see
        given = {f"APPTAINERENV_{name}": value for name, value in order.environment.items()}
        wanted = {
            "argv": [*words, self._image(order), *order.argv],
            "environment": {**passed_on(), **given},
            "folder": str(work),
            "log": str(context.log_path),
            "memory": order.memory_limit,
            "cpus": order.cpu_limit,
            "group": None,
            "notes": [],
            "grace_s": _GRACE_S,
        }
        write_order(context.directory, wanted)


@dataclass(frozen=True)
class _Words:
    """Tells how far a job is in the words of a swarm: one that waits in the queue of Slurm is pending."""

    keeper: Keeper

    def run(self, context: Context, argv: list[str], options: Json) -> Ended:
        return self.keeper.run(context, argv, options)

    def progress(self, attempt: Attempt, fraction: float, text: str) -> None:
        self.keeper.progress(attempt, fraction, "pending" if text.endswith(": pending") else text)

    def note_batch(self, attempt: Attempt, batch_id: str) -> None:
        self.keeper.note_batch(attempt, batch_id)
