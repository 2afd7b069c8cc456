"""The verb worker: carry out the jobs of a service, on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from mwaconvert.cli.service.serve import config_option
from mwaconvert.cli.verbs import SETTINGS, collect_often, verbose


@click.command(
    short_help="Carry out jobs of a service.",
    context_settings=SETTINGS,
)
@config_option
@click.option(
    "--id", "worker_id", metavar="NAME", help="Name of this worker, always the same. Default: the machine."
)
@click.option("--at-once", type=click.IntRange(1), metavar="N", help="Jobs that run at the same time.")
@verbose
def worker(config_path: Path, worker_id: str | None, at_once: int | None) -> None:
    """Carry out jobs, until SIGTERM or Ctrl-C; what runs then goes back to the queue.

    Workers of several machines share a PostgreSQL database and the folders of the configuration. One that comes
    back under its name takes over what it left.
    """
    from mwaconvert.extras import need

    need("uvicorn", "service", "worker")
    from mwaconvert.services import server
    from mwaconvert.services.config import read_config
    from mwaconvert.services.telemetry import log_as_json

    collect_often()
    log_as_json()
    config = read_config(config_path)
    changes = {"id": worker_id or config.workers.id, "here": at_once or max(1, config.workers.here)}
    settings = config.workers.model_copy(update=changes)
    server.work(config.model_copy(update={"workers": settings}))
