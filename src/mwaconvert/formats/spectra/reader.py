"""Open a file of spectra of any known format: its content decides which it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mwaconvert.constants import FITS_BLOCK, FITS_CARD
from mwaconvert.errors import FormatError, InputError
from mwaconvert.formats.spectra.choices import Choices
from mwaconvert.spectra.joined import JoinedStream
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import Stream
from mwaconvert.staging import check_input

_MAGIC_BYTES = 16
_FITS = b"SIMPLE  ="
_KNOWN = (
    "a SIGPROC filterbank, PSRFITS, HDF5, a waterfall (.npz), chunks of CHIME/FRB (.msgpack), a PRESTO series (.dat "
    "with .inf), VDIF, or a metafits file beside MWA voltages"
)


def open(
    path: str | Path | Sequence[str | Path],
    *,
    band_mhz: tuple[float, float] | None = None,
    channels: int | None = None,
    average: int = 1,
    choices: Choices | None = None,
) -> Spectra:
    """Read a whole file, or several of one observation.

    Parameters
    ----------
    path, band_mhz, channels, average, choices : see `open_stream`

    Returns
    -------
    Spectra
        total intensity, channels from the lowest to the highest

    Raises
    ------
    InputError : there is no such file
    FormatError : its format is not known, or it is damaged

    Examples
    --------
    >>> import numpy as np
    >>> from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
    >>> with FilterbankWriter(Path("noise.fil"), 400.0 + np.arange(4), 1e-3, 8) as writer:
    ...     writer.write(np.full((4, 100), 7))
    >>> open("noise.fil")
    <Spectra: 4 channels, 400 to 403 MHz, 100 samples of 1000 us, DM 0>
    """
    stream = open_stream(path, band_mhz=band_mhz, channels=channels, average=average, choices=choices)
    try:
        return stream.spectra()
    finally:
        stream.close()


def open_stream(
    path: str | Path | Sequence[str | Path],
    *,
    band_mhz: tuple[float, float] | None = None,
    channels: int | None = None,
    average: int = 1,
    choices: Choices | None = None,
) -> Stream:
    """Open a file without reading its spectra.

    Parameters
    ----------
    path : SIGPROC filterbank or series (.fil, .tim), PSRFITS in search mode, HDF5 of blimpy or CHIME/FRB, waterfall
        (.npz) of this package, get_wfall.py, CHIME/FRB's releases or fitburst, chunks of CHIME/FRB (a .msgpack, several
        of them, or their folder), PRESTO series (.dat with .inf), voltages in VDIF, or a metafits file with the MWA
        voltages beside it (or after it in a list); several filterbanks in a list are one observation
    band_mhz : of VDIF: edges of the band, that of the first channel first
    channels : of voltages: split each channel of the file into this many; default: of VDIF 1, of MWAX 128
    average : of voltages: spectra that become one
    choices : polarisation, and whether weights and scales are believed; default all of it

    Returns
    -------
    Stream

    Raises
    ------
    InputError : there is no such file, or a package for its format is not installed
    FormatError : its format is not known, or its header is not sound
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(p) for p in path]
    if not paths:
        raise InputError("no file was given")
    first, kind = paths[0], ""
    if first.is_dir():
        from mwaconvert.formats.spectra.chime_msgpack import chunk_files

        paths = [*chunk_files(first), *paths[1:]]
        if not paths:
            raise InputError(f"{first}: a folder without chunks of CHIME/FRB (.msgpack); give a file")
    for p in paths:
        check_input(p, "file")
    kind = _kind(paths[0])
    if kind not in ("vdif", "vcs") and (band_mhz is not None or channels is not None or average != 1):
        raise InputError(
            f"{paths[0]}: holds no voltages: a band, channels and averages are for voltages only"
        )
    choices = choices or Choices()
    _check_choices(paths[0], kind, choices)
    if kind == "msgpack":
        from mwaconvert.formats.spectra.chime_msgpack import ChunkStream

        return ChunkStream(paths)
    if kind == "vcs":
        from mwaconvert.formats.spectra.vcs import VcsStream

        if band_mhz is not None:
            raise InputError(f"{first}: the band of MWA voltages is known, it cannot be given")
        return VcsStream(paths[0], paths[1:], fine=channels or 128, average=average)
    if kind == "vdif":
        from mwaconvert.formats.spectra.vdif import VdifStream

        if len(paths) > 1:
            raise InputError(f"{first}: one file of VDIF at a time")
        return VdifStream(first, band_mhz, channels or 1, average)
    if len(paths) == 1:
        return _READERS[kind](first, choices)
    return JoinedStream([_READERS[_kind_of_spectra(p)](p, choices) for p in paths])


def is_one_of_many(path: Path) -> bool:
    """Whether a file is one of those that only together are spectra: chunks of CHIME/FRB, MWA voltages.

    Raises
    ------
    InputError : there is no such file
    FormatError : its format is not known
    """
    if path.is_dir():
        return True
    check_input(path, "file")
    return _kind(path) in ("msgpack", "vcs")


def _kind_of_spectra(path: Path) -> str:
    """Which format a file has that is one of several."""
    kind = _kind(path)
    if kind not in _READERS:
        raise InputError(
            f"{path}: only filterbanks can be joined, all chunks of CHIME/FRB, or MWA voltages", path=path
        )
    return kind


def _check_choices(path: Path, kind: str, choices: Choices) -> None:
    """Refuse a choice that the format does not offer."""
    offered = {"sigproc": {"pol"}, "hdf5": {"pol"}, "psrfits": set(choices.given)}.get(kind, set())
    for name in choices.given:
        if name not in offered:
            raise InputError(
                f"{path}: there is nothing in this format that `{name}` could choose", option=name
            )


def _kind(path: Path) -> str:
    """Which format a file has."""
    with path.open("rb") as file:
        magic = file.read(_MAGIC_BYTES)
    if not magic:
        raise FormatError(f"{path}: expected {_KNOWN}, found an empty file")
    if magic[4:] == b"HEADER_START":
        return "sigproc"
    if magic.startswith(_FITS):
        return "vcs" if _is_metafits(path) else "psrfits"
    if magic.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if magic.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "npz"
    if magic[:3] in (b"\xdc\x00\x11", b"\xdc\x00\x15"):  # an array of 17 or of 21 items
        return "msgpack"
    if path.suffix.lower() in (".dat", ".inf"):
        from mwaconvert.formats.spectra.presto import file_of

        if file_of(path, ".inf").is_file():
            return "presto"
    from mwaconvert.formats.spectra.vdif import looks_like_vdif

    if looks_like_vdif(path):
        return "vdif"
    if magic.startswith(b"HDR_SIZE"):
        raise FormatError(f"{path}: MWAX voltages: give the metafits file, and the voltages beside it")
    raise FormatError(f"{path}: expected {_KNOWN}, found {magic[:8]!r}")


def _is_metafits(path: Path) -> bool:
    """Whether the first header has the keys of a metafits file."""
    with path.open("rb") as file:
        head = file.read(200 * FITS_BLOCK)
    cards = [head[at : at + FITS_CARD] for at in range(0, len(head), FITS_CARD)]
    end = next((k for k, card in enumerate(cards) if card.rstrip() == b"END"), len(cards))
    keys = {card[:8].rstrip() for card in cards[:end]}
    return {b"GPSTIME", b"CHANNELS"} <= keys


def _sigproc(path: Path, choices: Choices) -> Stream:
    from mwaconvert.formats.spectra.sigproc import FilterbankStream

    return FilterbankStream(path, choices.pol)


def _psrfits(path: Path, choices: Choices) -> Stream:
    from mwaconvert.formats.spectra.psrfits import SearchStream

    return SearchStream(path, choices)


def _hdf5(path: Path, choices: Choices) -> Stream:
    from mwaconvert.formats.spectra.hdf5 import open_hdf5

    return open_hdf5(path, choices.pol)


def _npz(path: Path, _choices: Choices) -> Stream:
    from mwaconvert.formats.spectra.wfall import read_wfall

    return read_wfall(path)


def _presto(path: Path, _choices: Choices) -> Stream:
    from mwaconvert.formats.spectra.presto import SeriesStream

    return SeriesStream(path)


_READERS: dict[str, Callable[[Path, Choices], Stream]] = {
    "sigproc": _sigproc,
    "psrfits": _psrfits,
    "hdf5": _hdf5,
    "npz": _npz,
    "presto": _presto,
}
