"""The verb users: who may use a service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mwaconvert.cli.service.serve import config_option
from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.errors import InputError

if TYPE_CHECKING:
    from mwaconvert.jobs.control.store import Store
    from mwaconvert.services.config import Config

_ROLES = ("view", "operate", "approve")
_NAME_CHARACTERS = "letters, digits, dots, dashes and underscores"


@contextmanager
def _open(config_path: Path) -> Iterator[tuple[Config, Store]]:
    from mwaconvert.extras import need

    need("pydantic", "service", "users")
    from mwaconvert.jobs.control.store import Store
    from mwaconvert.services.config import read_config

    config = read_config(config_path)
    store = Store(config.database)
    try:
        yield config, store
    finally:
        store.close()


@click.group(short_help="Who may use a service.", context_settings=SETTINGS)
def users() -> None:
    """Users of a service, their keys and roles."""


@users.command(context_settings=SETTINGS)
@click.argument("name", metavar="NAME")
@click.option("--role", type=click.Choice(_ROLES), default="operate", show_default=True,
              help="view: look; operate: submit and cancel too; approve: decide at gates too.")  # fmt: skip
@click.option("--group", metavar="GROUP", help="Whose folder on shared disks gets the products.")
@click.option("--running", type=click.IntRange(0), metavar="N", help="Jobs that run at once, at most.")
@click.option("--queued", type=click.IntRange(0), metavar="N", help="Jobs that wait, at most.")
@click.option("--disk", metavar="SIZE", help="Of all products, at most: 500, 500GB, 2TiB.")
@click.option("--replace", is_flag=True, help="Give a user that is there a new key; the old one ends.")
@config_option
def add(
    name: str,
    role: str,
    group: str | None,
    running: int | None,
    queued: int | None,
    disk: str | None,
    replace: bool,
    config_path: Path,
) -> None:
    """Add a user and print the key, which is kept nowhere: give it to them."""
    import re

    from mwaconvert.jobs.control.states import Role
    from mwaconvert.jobs.control.work import Quotas
    from mwaconvert.vocabulary import values

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise InputError(f"'{name}' is not a user name: use at most 64 {_NAME_CHARACTERS}")
    with _open(config_path) as (config, store):
        if group is not None and group not in config.delivery.groups:
            known = ", ".join(config.delivery.groups) or "none"
            raise InputError(f"there is no group {group} in {config_path}; groups are {known}")
        if not replace and any(user.name == name and user.revoked is None for user in store.users()):
            raise InputError(f"there is a user {name} already; --replace gives a new key")
        new = config.quotas_of_new_users()
        try:
            size = new.disk if disk is None else int(values.gibibytes(disk) * 2**30)
        except ValueError as error:
            raise InputError(f"--disk {disk}: {error}") from None
        quotas = Quotas(
            new.running if running is None else running, new.queued if queued is None else queued, size
        )
        click.echo(store.add_user(name, Role(role), quotas, {} if group is None else {"group": group}))


@users.command(context_settings=SETTINGS)
@click.argument("name", metavar="NAME")
@config_option
def revoke(name: str, config_path: Path) -> None:
    """End the key and all sessions of a user; jobs and products stay."""
    with _open(config_path) as (_, store):
        store.revoke_user(name)
    click.echo(f"user {name}: the key opens nothing any more")


@users.command("list", context_settings=SETTINGS)
@config_option
def list_(config_path: Path) -> None:
    """All users, with roles and quotas."""
    with _open(config_path) as (_, store):
        found = store.users()
    for user in found:
        state = "" if user.revoked is None else "  revoked"
        group = f"  group {user.details['group']}" if user.details.get("group") else ""
        limits = {"running": user.quotas.running, "queued": user.quotas.queued, "bytes": user.quotas.disk}
        quotas = "".join(f"  {key} {value}" for key, value in limits.items() if value is not None)
        click.echo(f"{user.name:<20} {user.role:<8}{group}{quotas}{state}")
