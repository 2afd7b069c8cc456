"""The exception tree: every error the package raises on purpose is an `Error`.

A message names options by their fields, in back quotes: "`threshold=0`: expected a positive number". A face puts its
own words there: --snr 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Error(Exception):
    """Base class. The message names the file, what was expected, what was found and what to do.

    Parameters
    ----------
    message : one sentence
    option : field name of the option that is to blame
    path : the file that is to blame

    Examples
    --------
    >>> InputError("`threshold=0`: expected a positive number", option="threshold").option
    'threshold'
    """

    #: whether the message is a sentence; a list of problems has a line for each
    one_line = True

    def __init__(self, message: str = "", *, option: str = "", path: Path | None = None) -> None:
        if self.one_line:  # words of a damaged file, or of a library, may break lines
            message = " ".join(line.strip() for line in message.splitlines() if line.strip())
        super().__init__(message)
        self.option = option
        self.path = path


class InputError(Error):
    """An option, argument or array that cannot be used."""


class MetadataError(Error):
    """Metadata that are missing, contradict each other or do not belong to the data."""


class FormatError(Error):
    """A file that does not hold what its format promises."""


class ResourceError(Error):
    """The machine refused: no space, no permission, no memory."""
