"""Where log lines go: stderr, a file of lines, a file of JSON. The library writes them to children of the logger
`mwaconvert` and sets no handler.
"""

from __future__ import annotations

import functools
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from mwaconvert.errors import Error
from mwaconvert.staging import Kind, check_target, refused
from mwaconvert.vocabulary.options import in_words

_FILES = {
    "--log-file": "Add log lines with their times to a file.",
    "--log-json": "Same, one JSON object a line.",
}


def keep_logs(command: click.Command) -> click.Command:
    """Give a verb the options --log-file and --log-json, and let -v show log lines while it works."""
    for name, words in _FILES.items():
        path = click.Path(path_type=Path, readable=False)
        command.params.append(click.Option([name], type=path, metavar="FILE", help=words))
    call = command.callback
    assert call is not None

    @functools.wraps(call)
    def kept(*words: Any, log_file: Path | None, log_json: Path | None, **params: Any) -> Any:
        verbose, quiet = bool(params.get("verbose")), bool(params.get("quiet"))
        with logged(verbose=verbose, quiet=quiet, lines=log_file, json_lines=log_json):
            return call(*words, **params)

    command.callback = kept
    return command


def take_log_words(words: list[str]) -> tuple[list[str], list[str]]:
    """The words of the options of `keep_logs`, and the others."""
    own: list[str] = []
    others: list[str] = []
    k = 0
    while k < len(words):
        n = 1 if words[k].partition("=")[0] != words[k] else 2
        if words[k].partition("=")[0] in _FILES:
            own += words[k : k + n]
            k += n
        elif words[k] == "--":
            return own, others + words[k:]
        else:
            others.append(words[k])
            k += 1
    return own, others


class _Lines(logging.Formatter):
    """Lines in the words of the command line."""

    def format(self, record: logging.LogRecord) -> str:
        return in_words(super().format(record))


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {
            "time": _utc(record),
            "level": record.levelname,
            "logger": record.name,
            "message": in_words(record.getMessage()),
        }
        return json.dumps(facts, ensure_ascii=False)


class _File(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        return f"{_utc(record)} {record.levelname} {record.name}: {in_words(record.getMessage())}"


def _utc(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


@contextmanager
def logged(*, verbose: bool, quiet: bool, lines: Path | None, json_lines: Path | None) -> Iterator[None]:
    """Show and keep what happens inside; an error that leaves is kept, too.

    Parameters
    ----------
    verbose, quiet : all lines on stderr, or only errors; otherwise warnings
    lines, json_lines : files to which all lines are added

    Raises
    ------
    InputError, ResourceError : a file that exists and holds no such lines, or cannot be written
    """
    shown = logging.StreamHandler()
    shown.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
    shown.setFormatter(
        _Lines("mwaconvert: %(asctime)s %(message)s" if verbose else "mwaconvert: %(message)s", "%H:%M:%S")
    )
    kept: list[logging.Handler] = []
    loggers = logging.getLogger("mwaconvert"), logging.getLogger("py.warnings")
    before = [logger.level for logger in loggers]
    try:
        for path, kind, formatter in ((lines, Kind.LOG, _File()), (json_lines, Kind.LOG_JSON, _Json())):
            if path is not None:
                kept.append(_opened(path, kind, formatter))
        logging.captureWarnings(True)
        for logger in loggers:
            logger.setLevel(logging.DEBUG if kept else shown.level)
            for handler in (shown, *kept):
                logger.addHandler(handler)
        yield
    except Error as error:
        for handler in kept:
            record = logging.LogRecord("mwaconvert", logging.ERROR, __file__, 0, str(error), None, None)
            handler.handle(record)
        raise
    finally:
        logging.captureWarnings(False)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
            for handler in (shown, *kept):
                logger.removeHandler(handler)
        for handler in kept:
            handler.close()


def _opened(path: Path, kind: Kind, formatter: logging.Formatter) -> logging.Handler:
    check_target(path, kind, overwrite=True)  # lines are added, nothing is replaced
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise refused(path, error) from None
    handler.setFormatter(formatter)
    return handler
