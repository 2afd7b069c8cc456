"""live master, start, stop, status and the rest: the services of a node and what is asked of them."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mwaconvert.cli.live.common import config, config_path
from mwaconvert.cli.verbs import SETTINGS, collect_often, verbose
from mwaconvert.errors import InputError, ResourceError

if TYPE_CHECKING:
    from mwaconvert.services.live.wire.messages import Reply

_service = click.argument("service", default="all")
#: exit code where a node says no
NOT_DONE = 1


@click.command(context_settings=SETTINGS)
@config
@click.option("--no-start", is_flag=True, help="Begin without services; start them with live start.")
@verbose
def master(config: Path | None, no_start: bool) -> None:
    """Keep the services of this node up, until SIGTERM, Ctrl-C or the command stop_master."""
    import asyncio
    import logging

    from mwaconvert.services.live.master import Master, run_master
    from mwaconvert.services.live.node import read_site

    collect_often()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    site = read_site(config_path(config))

    def ready(running: Master) -> None:
        network = site.settings.network
        click.echo(
            f"{site.node}: messages {network.host}:{running.hub.port}, text {network.text_host}:{running.text_port}"
        )

    try:
        asyncio.run(run_master(site, ready, start=not no_start))
    except OSError as error:
        raise ResourceError(f"{site.node}: {error.strerror or error}; does a master run already?") from None


def _ask(config: Path | None, command: str, service: str | None = None, payload: str | None = None) -> Any:
    from mwaconvert.services.live.node import read_site
    from mwaconvert.services.live.operator import ask
    from mwaconvert.services.live.wire.messages import Command

    return ask(read_site(config_path(config)), Command(command=command, service=service, payload=payload))


def _say(reply: Reply) -> None:
    message = reply.message
    if isinstance(message, dict):
        for name, value in message.items():
            click.echo(f"{name:<20}{value}")
    else:
        click.echo(message)
    if reply.status == "Error":
        click.get_current_context().exit(NOT_DONE)


@click.command(context_settings=SETTINGS)
@_service
@config
@verbose
def start(service: str, config: Path | None) -> None:
    """Start a service, or all; one that runs goes on."""
    _say(_ask(config, "start", service))


@click.command(context_settings=SETTINGS)
@_service
@config
@verbose
def stop(service: str, config: Path | None) -> None:
    """Stop a service, or all, or with the word master the node itself."""
    _say(_ask(config, "stop_master") if service == "master" else _ask(config, "stop", service))


@click.command(context_settings=SETTINGS)
@_service
@config
@verbose
def restart(service: str, config: Path | None) -> None:
    """Stop and start a service, or all."""
    _say(_ask(config, "restart", service))


@click.command(context_settings=SETTINGS)
@config
@verbose
def reload(config: Path | None) -> None:
    """Read the settings again; services go on."""
    _say(_ask(config, "reload"))


@click.command(context_settings=SETTINGS)
@config
@click.option("--json", "as_json", is_flag=True, help="Print all that is known as JSON.")
@verbose
def status(config: Path | None, as_json: bool) -> None:
    """Print how services, observations and ways out are; exit code 1 if a service is not well."""
    from mwaconvert.text import json_text, plain, utc_text

    facts = _ask(config, "node_status").message
    if as_json:
        click.echo(json_text(plain({"format": "mwaconvert live status", **facts})))
    else:
        click.echo(f"node {facts['node']}")
        for name, of in facts["services"].items():
            reason = f"  {of['reason']}" if of["reason"] else ""
            click.echo(f"  {name:<20}{of['health']:<10}{of['numbers'].get('state', ''):<9}{reason}".rstrip())
        for task_id, of in facts["observations"].items():
            click.echo(
                f"observation {task_id}: {of['source']}, {utc_text(of['start_s'])} to {utc_text(of['end_s'])}"
            )
    if any(of["health"] != "running" for of in facts["services"].values()):
        click.get_current_context().exit(NOT_DONE)


@click.command(context_settings=SETTINGS)
@click.argument("payload", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE")
@click.option("--stop", "end", flag_value="stop_observation", help="It ends now.")
@click.option(
    "--abort", "end", flag_value="abort_observation", help="It ends, and what is left to do is left undone."
)
@config
@verbose
def observe(payload: Path, end: str | None, config: Path | None) -> None:
    """Start the observation of a configuration (.parset or .yaml), in time; or end it."""
    _say(_ask(config, end or "start_observation", payload=str(payload.absolute())))


@click.command(context_settings=SETTINGS)
@click.argument("way", type=click.Choice(["lofar", "voevent", "kafka"]))
@click.option("--hours", type=click.FloatRange(0, 24, min_open=True), help="Real triggers for so long.")
@click.option("--test", is_flag=True, help="Triggers marked as tests, until switched off.")
@config
@verbose
def arm(way: str, hours: float | None, test: bool, config: Path | None) -> None:
    """Let a way out send: real triggers for some hours, or tests; who asked for it is kept."""
    if (hours is None) == (not test):
        raise InputError("expected --hours N for real triggers, or --test")
    _switch(config, way, "test" if test else "observe", time.time() + (hours or 0) * 3600)


@click.command(context_settings=SETTINGS)
@click.argument("way", type=click.Choice(["lofar", "voevent", "kafka"]))
@config
@verbose
def disarm(way: str, config: Path | None) -> None:
    """Switch a way out off."""
    _switch(config, way, "off", 0.0)


def _switch(config: Path | None, way: Any, wanted: Any, until_s: float) -> None:
    from mwaconvert.services.live.node import read_site
    from mwaconvert.services.live.operator import ask
    from mwaconvert.services.live.wire.messages import Switch

    switch = Switch(way=way, wanted=wanted, who=getpass.getuser(), until_s=until_s)
    _say(ask(read_site(config_path(config)), switch))


_event = click.argument("event", metavar="EVENT")
_way = click.option(
    "--way",
    type=click.Choice(["voevent", "kafka"]),
    default="voevent",
    show_default=True,
    help="It went out by.",
)


@click.command(context_settings=SETTINGS)
@_event
@_way
@click.option("--reason", required=True, help="In words, for those who received it.")
@config
@verbose
def retract(event: str, way: str, reason: str, config: Path | None) -> None:
    """Take back a VOEvent that went out, and its updates; EVENT is the id of its trigger or its ivorn."""
    _correct(config, "retract", way, event, reason)


@click.command(context_settings=SETTINGS)
@_event
@_way
@click.option("--dm", type=click.FloatRange(min=0), help="In pc/cm^3.")
@click.option("--dm-error", "dm_err", type=click.FloatRange(min=0), help="In pc/cm^3.")
@click.option("--snr", type=click.FloatRange(min=0))
@click.option("--flux", "flux_jy", type=click.FloatRange(min=0), help="In Jy.")
@click.option("--name", help="Of the source.")
@click.option(
    "--radec",
    "radec_deg",
    type=(click.FloatRange(0, 360, max_open=True), click.FloatRange(-90, 90)),
    metavar="RA DEC",
    help="In degrees.",
)
@config
@verbose
def update(event: str, way: str, config: Path | None, **changes: Any) -> None:
    """Send a VOEvent again with what is better known now; it says which one it supersedes."""
    _correct(config, "update", way, event, **changes)


def _correct(config: Path | None, what: Any, way: Any, event: str, reason: str = "", **changes: Any) -> None:
    from mwaconvert.services.live.commands import CORRECTION_S
    from mwaconvert.services.live.node import read_site
    from mwaconvert.services.live.operator import ask
    from mwaconvert.services.live.wire.messages import Changes, Correct

    correct = Correct(
        what=what, way=way, event=event, who=getpass.getuser(), reason=reason, changes=Changes(**changes)
    )
    _say(ask(read_site(config_path(config)), correct, timeout_s=CORRECTION_S + 5))
