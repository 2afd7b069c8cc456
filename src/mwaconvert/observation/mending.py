"""Metafits files that mwalib does not read though a conversion could: a mended copy, and what was done to it.

A card that no conversion needs may be missing; numbers may be written as 1.0 where an integer is expected, lists with
blanks, and a cable without a length. What decides values of the output is never made up.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwaconvert.errors import MetadataError
from mwaconvert.fits_heads import check_heads

if TYPE_CHECKING:
    from astropy.io import fits

#: cards that mwalib insists on, and what stands for them: no value of the output depends on it
_NOT_NEEDED: dict[str, Any] = {
    "MJD": 0.0,
    "LST": 0.0,
    "HA": "00:00:00.00",
    "DATE-OBS": "2000-01-01T00:00:00",
    "FILENAME": "",
    "CREATOR": "",
    "PROJECT": "",
    "RECVRS": "0",
    "DELAYS": ",".join(["0"] * 16),
    "FREQCENT": 0.0,
    "AZIMUTH": 0.0,
    "ALTITUDE": 90.0,
    "NSCANS": 1,
}
#: of an observation with GEODEL=2 these say where the tiles look
_POINTING = ("AZIMUTH", "ALTITUDE")
_INTEGERS = ("GPSTIME", "EXPOSURE", "GRIDNUM", "NINPUTS", "CENTCHAN", "NSCANS", "NCHANS")
_LISTS = ("CHANNELS", "RECVRS", "DELAYS")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?")


def mend(path: Path, copy: Path) -> list[str]:
    """Write a copy of a metafits that mwalib may read.

    Returns
    -------
    sentences on what is different in the copy; none if nothing had to be mended, and no copy was written

    Raises
    ------
    MetadataError : it is not a metafits, or a key or column has a value that nothing can stand for
    """
    import warnings

    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a damaged file astropy says much
        try:
            check_heads(path)
            with fits.open(path, memmap=False) as hdus:
                notes = _mend_hdus(path, hdus)
                if notes:
                    hdus.writeto(copy, output_verify="ignore")
        except MetadataError:
            raise
        except Exception as error:
            raise MetadataError(f"{path}: not a usable metafits file: it is damaged: {error}") from error
    return notes


def _mend_hdus(path: Path, hdus: fits.HDUList) -> list[str]:
    if "TILEDATA" not in hdus:
        raw = " (it looks like a raw file: give the metafits first)" if "CORR_VER" in hdus[0].header else ""
        raise MetadataError(f"{path}: not a usable metafits file: it has no table TILEDATA{raw}")
    header = hdus[0].header
    notes = _mend_cards(path, header) + _mend_lengths(path, hdus["TILEDATA"])
    for key in _LISTS:
        notes += _mend_list(path, header, key)
    return notes


def _mend_cards(path: Path, header: fits.Header) -> list[str]:
    notes = []
    for key in _INTEGERS:
        value = header.get(key)
        if isinstance(value, float) and value.is_integer():
            header[key] = int(value)
            notes.append(f"{path}: {key} is {value}; taken as {int(value)}.")
    for key, default in _NOT_NEEDED.items():
        if key in _POINTING and header.get("GEODEL", 0) == 2:
            continue
        value = header.get(key)
        bad_date = key == "DATE-OBS" and isinstance(value, str) and not _DATE.fullmatch(value)
        if value is None or bad_date or (value == "" and default != ""):
            header[key] = default
            notes.append(f"{path}: {key} {'is not a date' if bad_date else 'is missing'}; it is not needed.")
    return notes


def _mend_list(path: Path, header: fits.Header, key: str) -> list[str]:
    text = str(header.get(key, ""))
    numbers = [part for part in re.split(r"[,\s]+", text) if part]
    if not numbers or not all(part.isdigit() for part in numbers):
        raise MetadataError(f"{path}: expected numbers with commas between them in {key}, found {text!r}")
    mended = ",".join(numbers)
    if mended == text:
        return []
    header[key] = mended
    return [f"{path}: {key} is {text!r}; taken as {mended}."]


def _mend_lengths(path: Path, table: fits.BinTableHDU) -> list[str]:
    """Tiles whose cable has no length cannot be corrected for it: they are flagged."""
    if "Length" not in table.columns.names or "Flag" not in table.columns.names:
        return []
    unknown = [not _is_length(str(text)) for text in table.data["Length"]]
    if not any(unknown):
        return []
    names = sorted({str(name) for name, bad in zip(table.data["TileName"], unknown, strict=True) if bad})
    if all(unknown):
        raise MetadataError(
            f"{path}: expected the length of a cable in column Length of TILEDATA, found none"
        )
    table.data["Length"][unknown] = "EL_0"
    table.data["Flag"][unknown] = 1
    return [
        f"{path}: column Length of TILEDATA holds no number for {', '.join(names)}: flagged, as the delay of the "
        "cable is not known."
    ]


def _is_length(text: str) -> bool:
    try:
        float(text.strip().removeprefix("EL_"))
    except ValueError:
        return False
    return "nan" not in text.lower()
