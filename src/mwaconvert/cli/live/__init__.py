"""The verb live: the services of ARTS, what candidates would trigger, and a test of each way out."""

from __future__ import annotations

import click

from mwaconvert.cli.live.search import search
from mwaconvert.cli.live.services import (
    arm,
    disarm,
    master,
    observe,
    reload,
    restart,
    retract,
    start,
    status,
    stop,
    update,
)
from mwaconvert.cli.live.trials import decide, reprocess, test_trigger
from mwaconvert.cli.verbs import SETTINGS


@click.group(
    short_help="Transients at ARTS: services, triggers of AMBER candidates.", context_settings=SETTINGS
)
def live() -> None:
    """Run the services of ARTS, judge candidates of AMBER as they do, and try the ways out."""


for command in (
    master,
    start,
    stop,
    restart,
    status,
    reload,
    observe,
    arm,
    disarm,
    retract,
    update,
    decide,
    test_trigger,
    reprocess,
    search,
):
    live.add_command(command)
