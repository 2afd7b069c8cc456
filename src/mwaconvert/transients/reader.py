"""Read a filterbank of any known format."""

from __future__ import annotations

from pathlib import Path

from mwaconvert.errors import FormatError, InputError
from mwaconvert.transients.spectra import Spectra


def open(path: str | Path) -> Spectra:
    """Read a SIGPROC filterbank or a PSRFITS file in search mode; the content decides which it is.

    Parameters
    ----------
    path : file

    Returns
    -------
    Spectra
        total intensity, channels from the lowest to the highest

    Raises
    ------
    InputError : there is no such file
    FormatError : it is neither, or it is damaged
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as file:
        magic = file.read(16)
    if magic.startswith(b"SIMPLE  ="):
        from mwaconvert.formats.psrfits import read_search

        return read_search(path)
    if magic[4:] == b"HEADER_START":
        from mwaconvert.formats.sigproc import read_filterbank

        return read_filterbank(path)
    raise FormatError(
        f"{path}: expected a SIGPROC filterbank (HEADER_START) or a FITS file (SIMPLE), found "
        + (f"{magic[:8]!r}" if magic else "an empty file")
    )
