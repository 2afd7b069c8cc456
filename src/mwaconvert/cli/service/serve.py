"""The verb serve: the service, for jobs of other machines and programs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mwaconvert.cli.verbs import SETTINGS, collect_often, verbose
from mwaconvert.errors import InputError

CONFIG_VARIABLE = "MWACONVERT_CONFIG"
_TRIAL = Path("mwaconvert-trial")
_PATH = click.Path(path_type=Path)
#: of verbs that cannot do without
config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar=CONFIG_VARIABLE,
    required=True,
    metavar="FILE",
    help=f"The configuration of the service; also by {CONFIG_VARIABLE}.",
)


@click.command(
    short_help="Serve jobs to the ASVO's clients and a web page.",
    context_settings=SETTINGS,
)
@click.option(
    "--config",
    "config_path",
    type=_PATH,
    envvar=CONFIG_VARIABLE,
    metavar="FILE",
    help=f"The configuration; also by {CONFIG_VARIABLE}.",
)
@click.option("--trial", is_flag=True, help=f"Set everything up in DIR ({_TRIAL}) and serve it.")
@click.argument("folder", type=_PATH, required=False, metavar="[DIR]")
@verbose
def serve(config_path: Path | None, trial: bool, folder: Path | None) -> None:
    """Serve jobs, until SIGTERM or Ctrl-C.

    \b
    Examples:
      mwaconvert serve --trial
          everything in one folder: a simulated observation, a user, http and https;
          prints one line of JSON with addresses and key, then serves
      mwaconvert serve --config /etc/mwaconvert.toml
          as the configuration says; see mwaconvert config check
    """
    from mwaconvert.extras import need

    need("fastapi", "service", "serve")
    from mwaconvert.services import server
    from mwaconvert.services.config import read_config
    from mwaconvert.services.telemetry import log_as_json

    collect_often()
    log_as_json()
    if trial:
        if config_path is not None:
            raise InputError("--trial makes its own configuration; leave --config out")
        from mwaconvert.services.trial import set_up

        made = set_up(folder or _TRIAL)
        server.serve(made.config, made.sockets, lambda: click.echo(json.dumps(made.facts)))
        return
    if folder is not None:
        raise InputError(f"{folder}: a folder is for --trial; without it name a configuration with --config")
    if config_path is None:
        raise InputError("name a configuration with --config, or try it with mwaconvert serve --trial")
    config = read_config(config_path)
    listening = server.configured_socket(config)
    server.serve(config, [listening], lambda: click.echo(f"mwaconvert serves {listening.url}"))
