"""Defaults of `mwaconvert convert` that a user or a folder has: the table [convert] of mwaconvert.toml.

What the command line says goes before the file of the working folder, that before the file of the user, that before
`--like`, and that before what is built in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mwaconvert.errors import InputError
from mwaconvert.vocabulary.options import Spec
from mwaconvert.vocabulary.request import EXCLUSIVE, read_settings, refuse_contradictions, said

NAME = "mwaconvert.toml"
_TABLE = "convert"
#: settings that name one observation or one run
_NOT_HERE = ("metafits", "files", "dry_run", "defaults")


def places() -> tuple[Path, ...]:
    """Files of defaults, the one that counts most first."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return Path(NAME), config / "mwaconvert" / NAME


def with_defaults(given: Mapping[Spec, Sequence[Any]]) -> tuple[dict[Spec, Sequence[Any]], tuple[str, ...]]:
    """What a command line says, and what files of defaults add.

    Parameters
    ----------
    given : as of `vocabulary.request.build`

    Returns
    -------
    the same with the settings that it and earlier files leave open; a note for each file

    Raises
    ------
    InputError : a file that cannot be read, a setting that does not exist or a value that it cannot have, settings of
        one file that contradict each other
    """
    merged, notes = dict(given), list[str]()
    for path in places():
        settings = _read(path)
        open_ = {key: value for key, value in settings.items() if not _is_decided(key, merged)}
        merged |= said(open_)
        if open_:
            notes.append(f"defaults of {path}: {_in_words(open_)}")
        if left := {key: value for key, value in settings.items() if key not in open_}:
            notes.append(f"defaults of {path} that give way to what was said before them: {_in_words(left)}")
    return merged, tuple(notes)


def _in_words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}={value}`" for key, value in settings.items())


def _is_decided(key: str, given: Mapping[Spec, Sequence[Any]]) -> bool:
    """Whether a setting, or one that excludes it, is given."""
    rivals = {key}.union(*(group for group in EXCLUSIVE if key in group))
    return any(spec.sets in rivals for spec in given)


def _read(path: Path) -> dict[str, Any]:
    """The settings of a file; none if there is no file or no such table in it."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    import tomllib  # most have no such file

    try:
        whole = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None
    settings = whole.get(_TABLE, {})
    if not isinstance(settings, dict):
        raise InputError(f"{path}: {_TABLE} is {settings!r}; expected a table, [{_TABLE}]")
    for key in _NOT_HERE:
        if key in settings:
            raise InputError(f"{path}: {key} cannot be a default; leave it out")
    try:
        refuse_contradictions(*read_settings(said(settings)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return settings
