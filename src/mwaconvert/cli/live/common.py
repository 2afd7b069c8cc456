"""What the verbs of live share."""

from __future__ import annotations

from pathlib import Path

import click

config = click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="MWACONVERT_LIVE_CONFIG",
    metavar="FILE",
    help="Settings of the node (YAML); also by MWACONVERT_LIVE_CONFIG. Default: ~/darc/config.yaml, if it is there.",
)


def config_path(given: Path | None) -> Path | None:
    """The configuration in use, as old clients look for it; None: defaults."""
    usual = Path.home() / "darc" / "config.yaml"
    return given or (usual if usual.is_file() else None)
