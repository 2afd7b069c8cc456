"""The verb config: check the configuration of a service."""

from __future__ import annotations

from pathlib import Path

import click

from mwaconvert.cli.verbs import SETTINGS


@click.group(short_help="Check the configuration of a service.", context_settings=SETTINGS)
def config() -> None:
    """Configurations of a service."""


@config.command(context_settings=SETTINGS)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
def check(file: Path) -> None:
    """Say all that is wrong in a configuration, without starting anything."""
    from mwaconvert.extras import need

    need("pydantic", "service", "config check")
    from mwaconvert.services.config import read_config

    found = read_config(file)
    click.echo(f"{file}: in order")
    click.echo(f"database {_without_password(found.database)}, work in {found.work}")
    for where in found.raw:
        click.echo(f"raw data from {where.place}")
    click.echo(f"packages to {found.delivery.packages.place}, kept {found.delivery.life_days:g} days")


def _without_password(url: str) -> str:
    import re

    return re.sub(r"(://[^/:@]+):[^@]+@", r"\1:***@", url)
