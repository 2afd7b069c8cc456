"""Packages that only some formats and figures need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mwaconvert.errors import InputError


def need(package: str, extra: str, what: str) -> Any:
    """Import a package of an extra.

    Parameters
    ----------
    package : its name, to import
    extra : of this package, that installs it
    what : that needs it, the beginning of the message

    Returns
    -------
    module

    Raises
    ------
    InputError : it is not installed
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise InputError(
            f"{what} needs {package.partition('.')[0]}, which is not installed: pip install 'mwaconvert[{extra}]'"
        ) from error
