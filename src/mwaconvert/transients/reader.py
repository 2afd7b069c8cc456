"""Open a file of spectra of any known format: its content decides which it is."""

from __future__ import annotations

from pathlib import Path

from mwaconvert.errors import FormatError, InputError
from mwaconvert.transients.spectra import Spectra
from mwaconvert.transients.stream import Stream


def open(path: str | Path) -> Spectra:
    """Read a whole file.

    Parameters
    ----------
    path : file; see `open_stream`

    Returns
    -------
    Spectra
        total intensity, channels from the lowest to the highest

    Raises
    ------
    InputError : there is no such file
    FormatError : its format is not known, or it is damaged
    """
    stream = open_stream(path)
    try:
        return stream.spectra()
    finally:
        stream.close()


def open_stream(path: str | Path) -> Stream:
    """Open a file without reading its spectra.

    Parameters
    ----------
    path : SIGPROC filterbank or series, PSRFITS in search mode

    Returns
    -------
    Stream

    Raises
    ------
    InputError : there is no such file
    FormatError : its format is not known, or its header is not sound
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as file:
        magic = file.read(16)
    if magic.startswith(b"SIMPLE  ="):
        from mwaconvert.formats.psrfits import SearchStream

        return SearchStream(path)
    if magic[4:] == b"HEADER_START":
        from mwaconvert.formats.sigproc import FilterbankStream

        return FilterbankStream(path)
    raise FormatError(
        f"{path}: expected a SIGPROC filterbank (HEADER_START) or a FITS file (SIMPLE), found "
        + (f"{magic[:8]!r}" if magic else "an empty file")
    )
