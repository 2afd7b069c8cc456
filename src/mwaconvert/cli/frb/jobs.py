"""Subcommands of `frb jobs`: jobs of the cluster from the shell, through a service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mwaconvert.cli.verbs import SETTINGS, verbose
from mwaconvert.clients.chime import ACCESS_VARIABLE, PASSWORD_VARIABLE, REFRESH_VARIABLE, URL_VARIABLE
from mwaconvert.errors import InputError, ResourceError

if TYPE_CHECKING:
    from mwaconvert.clients.chime import FRBMaster

#: exit codes beside those of all verbs
FAILED = 1


@click.group(short_help="Jobs of the cluster.", context_settings=SETTINGS)
def jobs() -> None:
    """Jobs of the cluster.

    The service is named by --url or CHIME_FRB_URL; CHIME_FRB_ACCESS_TOKEN and CHIME_FRB_REFRESH_TOKEN are tokens, or
    FRB_MASTER_USERNAME and FRB_MASTER_PASSWORD log in.
    """


def _at(command: Callable[..., Any]) -> Callable[..., Any]:
    of_url = click.option(
        "--url", envvar=URL_VARIABLE, metavar="URL", help=f"Of the service; also by {URL_VARIABLE}."
    )
    return of_url(verbose(command))


@contextmanager
def _service(url: str | None) -> Iterator[FRBMaster]:
    """The service, whose refusals become sentences."""
    from mwaconvert.clients.chime import FRBMaster
    from mwaconvert.extras import need

    requests = need("requests", "client", "frb jobs")
    master = FRBMaster(url)
    try:
        yield master
    except requests.HTTPError as error:
        raise InputError(str(error)) from None
    except requests.RequestException:
        raise ResourceError(
            f"{master.API.base_url} does not answer; see --url, and whether it runs"
        ) from None
    except TimeoutError as error:
        raise ResourceError(str(error)) from None


def _print(facts: object) -> None:
    click.echo(json.dumps(facts, indent=1))


@jobs.command(context_settings=SETTINGS)
@click.argument("username")
@click.password_option(confirmation_prompt=False, envvar=PASSWORD_VARIABLE)
@_at
def login(username: str, password: str, url: str | None) -> None:
    """Print tokens as lines that a shell takes in: eval "$(mwaconvert frb jobs login ann)"."""
    import shlex

    with _service(url) as master:
        master.API.generate_token(username, password)
        click.echo(f"export {ACCESS_VARIABLE}={shlex.quote(str(master.API.access_token))}")
        click.echo(f"export {REFRESH_VARIABLE}={shlex.quote(str(master.API.refresh_token))}")


@jobs.command(context_settings={**SETTINGS, "ignore_unknown_options": True})
@click.argument("name")
@click.argument("image")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--memory", type=float, default=4.0, show_default=True, metavar="GIB", help="The most that it may use."
)
@click.option("--cpus", type=float, default=1.0, show_default=True, metavar="N", help="The same, in cores.")
@click.option("--env", multiple=True, metavar="NAME=VALUE")
@click.option("--no-archive", is_flag=True, help="Without /data/chime.")
@_at
def spawn(
    name: str,
    image: str,
    command: tuple[str, ...],
    memory: float,
    cpus: float,
    env: tuple[str, ...],
    no_archive: bool,
    url: str | None,
) -> None:
    """Start a job: its name, an image, and behind -- the command."""
    wrong = [word for word in env if "=" not in word]
    if wrong:
        raise InputError(f"--env {wrong[0]}: NAME=VALUE is expected")
    limit = int(memory * 2**30)
    with _service(url) as master:
        made = master.swarm.spawn_job(
            image,
            command[:1],
            command[1:],
            name,
            mount_archiver=not no_archive,
            job_mem_limit=limit,
            job_mem_reservation=min(limit, 268435456),
            job_cpu_limit=cpus,
            job_cpu_reservation=cpus,
            environment=dict(word.split("=", 1) for word in env),
        )
    click.echo(made["ID"])


@jobs.command(context_settings=SETTINGS)
@click.argument("pattern", default=".*")
@click.option("--json", "as_json", is_flag=True)
@_at
def status(pattern: str, as_json: bool, url: str | None) -> None:
    """States of all jobs, or of those whose names begin as a regular expression says."""
    with _service(url) as master:
        states = master.swarm.get_job_status(pattern)
    if as_json:
        _print(states)
        return
    width = max(map(len, states), default=0)
    for name, state in states.items():
        click.echo(f"{name:<{width}}  {state}")


@jobs.command(context_settings=SETTINGS)
@click.argument("name")
@_at
def show(name: str, url: str | None) -> None:
    """All that is known of a job, as JSON."""
    with _service(url) as master:
        _print(master.swarm.get_record(name))


@jobs.command(context_settings=SETTINGS)
@click.argument("name")
@click.option("--follow", is_flag=True, help="Until the job ends.")
@_at
def logs(name: str, follow: bool, url: str | None) -> None:
    """What a job printed."""
    with _service(url) as master:
        if not follow:
            click.echo(master.swarm.get_log(name), nl=False)
            return
        for line in master.swarm.follow(name):
            click.echo(line)


@jobs.command(context_settings=SETTINGS)
@click.argument("pattern")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), metavar="S", help="Wait no longer.")
@click.pass_context
@_at
def wait(context: click.Context, pattern: str, timeout_s: float | None, url: str | None) -> None:
    """Wait until jobs have ended; exit code 1 if one did not complete."""
    with _service(url) as master:
        states = master.swarm.wait(pattern, timeout_s)
    completed = sum(state == "complete" for state in states.values())
    click.echo(f"{completed} of {len(states)} completed")
    for name, state in states.items():
        if state != "complete":
            click.echo(f"{name}  {state}")
    context.exit(0 if completed == len(states) else FAILED)


@jobs.command(context_settings=SETTINGS)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_at
def kill(names: tuple[str, ...], url: str | None) -> None:
    """End jobs, whatever their states, and take them out of the list."""
    with _service(url) as master:
        killed = {name: master.swarm.kill_job(name)[name] for name in names}
    left = [name for name, is_killed in killed.items() if not is_killed]
    if left:
        raise InputError(f"not there, or not to be ended: {', '.join(left)}")


@jobs.command(context_settings=SETTINGS)
@click.argument("pattern")
@_at
def prune(pattern: str, url: str | None) -> None:
    """Take jobs that are complete out of the list."""
    with _service(url) as master:
        for name in master.swarm.prune_jobs(pattern):
            click.echo(name)


#: of the verb frb, by name
COMMANDS: dict[str, click.Command] = {"jobs": jobs}
