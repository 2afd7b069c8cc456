"""The verb frb: events of CHIME/FRB, their data and figures."""

from __future__ import annotations

import click

from mwaconvert.cli.frb_data import COMMANDS

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(short_help="Events of CHIME/FRB: archive, data, figures.", context_settings=_SETTINGS)
def frb() -> None:
    """Events of CHIME/FRB: what the archive holds of them, their data, waterfalls and figures."""


for _name, _command in COMMANDS.items():
    frb.add_command(_command, _name)
