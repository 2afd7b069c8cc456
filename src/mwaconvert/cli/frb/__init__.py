"""The verb frb: events of CHIME/FRB, their data and figures."""

from __future__ import annotations

import click

from mwaconvert.cli.frb import catalogue, data, jobs
from mwaconvert.cli.verbs import SETTINGS


@click.group(
    short_help="Events of CHIME/FRB: catalogue, archive, data, figures, jobs.", context_settings=SETTINGS
)
def frb() -> None:
    """Events of CHIME/FRB: the catalogue, what the archive holds, data and figures, jobs of the cluster."""


for _name, _command in {**data.COMMANDS, **catalogue.COMMANDS, **jobs.COMMANDS}.items():
    frb.add_command(_command, _name)
