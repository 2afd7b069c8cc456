"""Raw data that come in archives: unpacked into a temporary folder for as long as the conversion runs."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mwaconvert.errors import FormatError, ResourceError
from mwaconvert.staging import check_input
from mwaconvert.unpacking import unpack
from mwaconvert.vocabulary.request import Request

_ARCHIVES = (".tar", ".zip", ".gz", ".tgz")
_COPY_BYTES = 1 << 22


@contextmanager
def unpacked(request: Request) -> Iterator[Request]:
    """The request with folders and files in place of the archives (tar, zip, gz) that it names.

    Raises
    ------
    InputError, FormatError, ResourceError : an archive that is missing, damaged or larger than the room in TMPDIR
    """
    archives = [path for path in (request.metafits, *request.files) if path.suffix.lower() in _ARCHIVES]
    if not archives:
        yield request
        return
    with tempfile.TemporaryDirectory(prefix="mwaconvert-") as folder:
        places = {}
        for k, archive in enumerate(archives):
            own = Path(folder) / str(k)
            own.mkdir()
            places[archive] = _unpack(archive, own)
        names = ", ".join(path.name for path in archives)
        yield dataclasses.replace(
            request,
            metafits=places.get(request.metafits, request.metafits),
            files=tuple(places.get(path, path) for path in request.files),
            notes=(*request.notes, f"{names}: unpacked for this conversion"),
        )


def _unpack(archive: Path, folder: Path) -> Path:
    """Where the content of an archive lies: the folder, or the one file of a .gz."""
    check_input(archive, "archive")
    if archive.suffix.lower() not in (".gz", ".tgz"):
        unpack(archive, folder)
        return folder
    name = archive.stem + (".tar" if archive.suffix.lower() == ".tgz" else "")
    plain = folder / name
    _gunzip(archive, plain)
    if plain.suffix.lower() == ".tar":
        inside = folder / "tar"
        inside.mkdir()
        unpack(plain, inside)
        plain.unlink()
        return inside
    return plain


def _gunzip(archive: Path, target: Path) -> None:
    room = shutil.disk_usage(target.parent).free
    written = 0
    try:
        with gzip.open(archive) as source, target.open("wb") as file:
            while piece := source.read(_COPY_BYTES):
                written += len(piece)
                if written > room:
                    raise ResourceError(
                        f"{archive}: unpacks to more than the {room} bytes that are free in {tempfile.gettempdir()}; "
                        "set TMPDIR to a larger disk"
                    )
                file.write(piece)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FormatError(f"{archive}: damaged, or no gzip file: {error}; fetch it again") from None
