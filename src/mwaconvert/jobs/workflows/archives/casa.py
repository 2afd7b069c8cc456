"""CASA as the child of a worker, or as a batch job of Slurm where the site says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mwaconvert.archive.casa import CasaRun
from mwaconvert.jobs.control.slurm import Slurm
from mwaconvert.jobs.control.work import Context, StepError, TransientError


@dataclass(frozen=True)
class CasaEnd:
    """The log of a CASA, and its bad end if it had one: what it left tells whether that is a failure."""

    log: Path
    fault: StepError | None


def run_casa(
    context: Context, slurm: Slurm | None, make: Callable[[], CasaRun], *, mpi_servers: int
) -> CasaEnd:
    """Run CASA and wait for its end. With Slurm, what a worker that died had submitted is waited for.

    Parameters
    ----------
    make : clears what an earlier CASA left and says what to start; not called while such a one goes on or is done
    mpi_servers : of a parallel CASA, which gets a processor for each, and one for itself
    """
    if slurm is None:
        run = make()
        return CasaEnd(
            context.log_path,
            _fault(lambda: context.run(list(run.argv), directory=run.folder, env=dict(run.environment))),
        )
    attempt = slurm.begin(context, lambda: _words(make()), options=(f"--cpus-per-task={mpi_servers + 1}",))
    return CasaEnd(attempt.log_path, _fault(lambda: slurm.finish(context, attempt, "CASA")))


def _words(run: CasaRun) -> list[str]:
    """A command that starts CASA in its folder, with its own environment and nothing of the batch job's."""
    variables = [f"{name}={value}" for name, value in run.environment.items()]
    return ["/usr/bin/env", "-i", "-C", str(run.folder), *variables, *run.argv]


def _fault(do: Callable[[], object]) -> StepError | None:
    """A bad end, which the outcome may explain better; one that may pass by itself is no end."""
    try:
        do()
    except TransientError:
        raise
    except StepError as error:
        return error
    return None
