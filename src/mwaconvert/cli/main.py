"""The command `mwaconvert`: verbs, and how errors reach the user."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mwaconvert import __version__
from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.errors import Error, InputError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: exit codes
OK, UNEXPECTED, REFUSED, INTERRUPTED = 0, 1, 2, 130

_ABOUT = """\
Convert raw visibilities of the Murchison Widefield Array to uvfits files and CASA measurement sets.

The raw files are found beside the metafits file, or given after it. The first word may be left out: convert
is meant.

\b
Examples:
  mwaconvert 1234567890.metafits
      raw files beside it -> 1234567890.uvfits
  mwaconvert 1234567890.metafits --timeres 8 --freqres 40 -o out.ms -o out.uvfits
      average to 8 s and 40 kHz, write both formats in one run
  mwaconvert 1234567890.metafits --phase-centre 12h30m -27d --report done.json --qa look.png
      another phase centre, a record of what was done, a picture of the data
  mwaconvert 1234567890.metafits --dry-run
      what would be done and why
  mwaconvert info 1234567890.metafits
      what was observed, which files are there
  mwaconvert qa out.ms -o look.png
      a picture of an existing uvfits file or measurement set
  mwaconvert simulate --like mwax-128 --duration 16 --point 0 -27 10 -o sim/
      raw files of a known sky
  mwaconvert search burst.fil --dm-range 0 1000 -o cands.csv --plots plots/
      dispersed pulses in a filterbank; see also dedisperse, waterfall, inject and fil-info
  mwaconvert period pulsar.fil --dm-range 0 100 --plots folds/
      pulsars in a filterbank; see also fold
  mwaconvert archive compare restored.ms delivered.ms
      two measurement sets column by column; also ppr show, diff, check and package check
  mwaconvert live decide CB00_step1.trigger --parset CB00.parset
      candidates of AMBER: which would trigger, and why not the others

All options of a verb: mwaconvert convert --help
"""


#: each is a command of the module of its name; what it does, so that --help need not load them all
_VERBS = {
    "archive": "Requests, packages and measurement sets of ALMA and the VLA.",
    "completion": "Completion of words in a shell, and man pages.",
    "config": "Check the configuration of a service.",
    "convert": "Raw files to uvfits and measurement sets (the default verb).",
    "dedisperse": "Dedisperse a filterbank at one DM.",
    "fil-info": "What a filterbank holds.",
    "fold": "Fold a filterbank at a period.",
    "frb": "Events of CHIME/FRB: catalogue, archive, data, figures, jobs.",
    "info": "What was observed, which files are there, what would be done.",
    "inject": "Add pulses to a filterbank, to see what a search finds.",
    "jobs": "Run the jobs of a file, and look after jobs.",
    "live": "Transients at ARTS: services, triggers of AMBER candidates.",
    "period": "Search a filterbank for periods.",
    "qa": "Draw an existing uvfits file or measurement set.",
    "restore": "Restore a member set of ALMA, or a delivered package.",
    "search": "Search a filterbank for dispersed pulses.",
    "serve": "Serve jobs to the ASVO's clients and a web page.",
    "simulate": "Raw files of a known sky.",
    "srdp": "Science-ready products: runs, quality assurance, ingest.",
    "sweep": "Remove what killed runs have left in a folder.",
    "users": "Who may use a service.",
    "waterfall": "Draw waterfalls of pulses.",
    "worker": "Carry out jobs of a service.",
}


#: work long: what they do can be kept in log files; convert has these options in its table
_LOGGED = {"dedisperse", "fold", "inject", "period", "qa", "search", "simulate", "waterfall"}


#: the folder of mwaconvert.cli that holds a verb, where it is not in mwaconvert.cli itself
_FOLDERS = {
    verb: folder
    for folder, verbs in {
        "archive": ("restore", "srdp"),
        "service": ("config", "jobs", "serve", "users", "worker"),
        "spectra": ("dedisperse", "fil-info", "fold", "inject", "period", "search", "waterfall"),
    }.items()
    for verb in verbs
}


class _Verbs(click.Group):
    """A group whose default verb is convert and whose errors are one sentence; loads the verb in use only."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(_VERBS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_VERBS.items()))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _VERBS:
            return None
        name = cmd_name.replace("-", "_")
        module = ".".join(["mwaconvert.cli", *_FOLDERS.get(cmd_name, "").split(), name])
        command: click.Command = getattr(importlib.import_module(module), name)
        if cmd_name in _LOGGED and all(option.name != "log_file" for option in command.params):
            from mwaconvert.cli.logs import keep_logs

            keep_logs(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        found = super().shell_complete(ctx, incomplete)
        # convert may be left out; a shell shows files where it is told of them first
        return found if incomplete.startswith("-") else [CompletionItem(incomplete, "file"), *found]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:  # only where a shell asks how to go on
            return super().parse_args(ctx, args)
        first = args[0].replace("_", "-")
        if first in _VERBS:
            args = [first, *args[1:]]
        elif not set(args).isdisjoint(("-V", "--version")):
            args = ["--version"]
        elif first not in ("-h", "--help"):
            word = (
                first.replace("-", "").isalpha() and not first.startswith("-") and not Path(args[0]).exists()
            )
            if word and not ctx.resilient_parsing:
                raise InputError(_no_such(first))
            args = ["convert", *args]
        return super().parse_args(ctx, args)

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _reader_may_leave():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_may_leave():
            return super().invoke(ctx)

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        words = list(sys.argv[1:] if args is None else args) or ["--help"]
        gc.set_threshold(100_000)  # loading modules makes many objects and no garbage
        if sys.stdout is not None and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names that are not text
        with _stoppable():
            try:
                code = super().main(words, prog_name="mwaconvert", standalone_mode=False)
                if sys.stdout is not None:
                    sys.stdout.flush()  # here, where a reader that has gone is understood
            except Exception as error:
                code = _explain(error, verbose="-v" in words or "--verbose" in words)
        sys.exit(code or OK)


class _ReaderGone(Exception):
    """Who reads our output has seen enough: head, or a pager. Click would call that a failure."""


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderGone from error
    except SystemExit as leave:  # rich leaves in its own way
        if isinstance(leave.__context__, BrokenPipeError):
            raise _ReaderGone from leave
        raise


def _no_such(word: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, _VERBS, 1)
    meant = f"did you mean {close[0]}?" if close else "see mwaconvert --help"
    return f"there is no verb or metafits file '{word}'; {meant}"


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let what ends a batch job or a terminal unwind like an interrupt: temporary files are removed."""

    def stop(number: int, _: object) -> None:
        for each in handled:  # the second one would end the tidying up
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    # under nohup SIGHUP is ignored, and stays so
    handled = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) == signal.SIG_DFL]
    for each in handled:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)


def _explain(error: Exception, *, verbose: bool) -> int:
    """Say what went wrong on stderr; the exit code."""
    match error:
        case click.Abort():
            message, code = "interrupted; no output was left half-written", INTERRUPTED
        case click.ClickException():
            message, code = error.format_message(), REFUSED
        case Error():
            from mwaconvert.vocabulary.options import in_words

            message, code = in_words(str(error)), REFUSED
        case _ReaderGone() | BrokenPipeError():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OK
        case OSError():
            message, code = f"{error.filename or 'file system'}: {error.strerror or error}", REFUSED
        case MemoryError():
            message, code = "out of memory; lower --max-memory or --threads", REFUSED
        case _:
            message = f"unexpected {type(error).__name__}: {error}"
            if not verbose:
                message += "; please report this with the output of the same command and -v"
            code = UNEXPECTED
    if verbose and not isinstance(error, click.exceptions.ClickException | click.Abort):
        import traceback

        traceback.print_exception(error)
    click.echo(f"mwaconvert: {message}", err=True)
    return code


@click.group(
    cls=_Verbs,
    help=_ABOUT,
    options_metavar="[VERB]",
    subcommand_metavar="OBS.metafits [RAW FILES]... [OPTIONS]",
    context_settings=SETTINGS,
)
@click.version_option(__version__, "-V", "--version", prog_name="mwaconvert")
def main() -> None:
    """Entry point."""
