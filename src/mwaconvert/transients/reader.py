"""Open a file of spectra of any known format: its content decides which it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mwaconvert.errors import FormatError, InputError
from mwaconvert.transients.spectra import Spectra
from mwaconvert.transients.stream import ArrayStream, Stream


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
    if magic.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        from mwaconvert.formats.wfall import read_wfall

        return read_wfall(path)
    if path.suffix in (".dat", ".inf") and path.with_suffix(".inf").is_file():
        return _presto(path)
    raise FormatError(
        f"{path}: expected a SIGPROC filterbank (HEADER_START) or a FITS file (SIMPLE), found "
        + (f"{magic[:8]!r}" if magic else "an empty file")
    )


def _presto(path: Path) -> Stream:
    """A time series as spectra of one channel, at the highest frequency of its band."""
    from mwaconvert.formats.presto import read_series

    info, values = read_series(path)
    top = float(info.freqs.max())
    spectra = Spectra(
        values[None],
        np.array([top if top > 0 else 1.0]),
        info.dt,
        dm=info.dm,
        start_mjd=info.start_mjd or None,
        source=info.source,
        notes=() if top > 0 else ("the .inf file has no frequency",),
    )
    return ArrayStream(spectra, path, "PRESTO", {"telescope": info.telescope, "notes": info.notes})
