"""The verb completion: words that a shell completes, and man pages."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from mwaconvert.cli.verbs import SETTINGS, verbose

SHELLS = ("bash", "fish", "zsh")
_AUTOLOADED = "$zsh_eval_context[-1] == loadautofunc", "$funcstack[1] == _mwaconvert"


@click.command(context_settings=SETTINGS, short_help="Completion of words in a shell, and man pages.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.option(
    "--install", is_flag=True, help="Write it, and man pages, where the shell and man look for them."
)
@verbose
@click.pass_context
def completion(context: click.Context, shell: str, install: bool) -> None:
    """Print what makes a shell complete verbs, options and files.

    \b
    Examples:
      mwaconvert completion zsh --install
          for all new shells of this user, with man pages
      source <(mwaconvert completion bash)
          for this one
    """
    kind = get_completion_class(shell)
    assert kind is not None
    main = context.find_root().command
    # the question of click's script is answered wrongly from the second call on, and nothing would be found
    text = kind(main, {}, "mwaconvert", "_MWACONVERT_COMPLETE").source().replace(*_AUTOLOADED)
    if not install:
        click.echo(text)
        return
    from mwaconvert.cli.man import write_pages

    file, more = _place(shell)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    click.echo(f"{file}: {more}")
    folder = _data() / "man" / "man1"
    click.echo(f"{folder}: {write_pages(main, folder)} pages, man mwaconvert is the first")


def _data() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()


def _place(shell: str) -> tuple[Path, str]:
    """Where a shell looks for the file, and what else it needs."""
    match shell:
        case "bash":
            file = _data() / "bash-completion" / "completions" / "mwaconvert"
            return (
                file,
                "new shells read it; those without the package bash-completion if ~/.bashrc sources it",
            )
        case "fish":
            config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
            return config / "fish" / "completions" / "mwaconvert.fish", "new shells read it"
        case _:
            folder = _data() / "zsh" / "site-functions"
            return folder / "_mwaconvert", f"~/.zshrc needs, before compinit, the line fpath+=({folder})"
