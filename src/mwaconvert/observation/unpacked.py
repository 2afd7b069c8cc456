"""Raw data that come in archives: unpacked into a temporary folder for as long as they are used."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mwaconvert.errors import FormatError, ResourceError
from mwaconvert.staging import check_input
from mwaconvert.unpacking import unpack

_ARCHIVES = (".tar", ".zip", ".gz", ".tgz")
_COPY_BYTES = 1 << 22


def is_archive(path: Path) -> bool:
    """Whether a name is that of an archive."""
    return path.suffix.lower() in _ARCHIVES


@contextmanager
def unpacked(paths: Sequence[Path]) -> Iterator[Mapping[Path, Path]]:
    """What is in archives, within a context.

    Parameters
    ----------
    paths : of which those that are archives (tar, zip, gz) are unpacked

    Yields
    ------
    mapping
        for each archive the folder where its content lies, or the one file of a .gz

    Raises
    ------
    InputError, FormatError, ResourceError : an archive that is missing, damaged or larger than the room in TMPDIR
    """
    archives = [path for path in paths if is_archive(path)]
    if not archives:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="mwaconvert-") as folder:
        places = {}
        for k, archive in enumerate(archives):
            own = Path(folder) / str(k)
            own.mkdir()
            places[archive] = _unpack(archive, own)
        yield places


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
