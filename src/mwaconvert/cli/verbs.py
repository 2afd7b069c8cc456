"""What all verbs share."""

from __future__ import annotations

import gc

import click

_COLLECTED = gc.get_threshold()
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

verbose = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,  # seen by main
    help="Tracebacks of unexpected errors.",
)


def collect_often() -> None:
    """As Python does by itself: `main` puts it off, which a process that runs for months must not."""
    gc.set_threshold(*_COLLECTED)
