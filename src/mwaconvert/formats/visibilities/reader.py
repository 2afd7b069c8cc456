"""Opens a visibility file; its content decides which kind it is."""

from __future__ import annotations

from pathlib import Path

from mwaconvert.errors import InputError
from mwaconvert.formats.visibilities.existing import VisibilityFile
from mwaconvert.staging import check_input


def open_visibilities(path: Path) -> VisibilityFile:
    """Open a uvfits file or a measurement set.

    Raises
    ------
    InputError : no such file, or neither
    FormatError : what it holds cannot be shown
    ResourceError : arcae, which reads measurement sets, cannot be imported
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    if path.is_dir():
        from mwaconvert.formats.visibilities.existing_ms import open_ms

        if not (path / "table.dat").is_file():
            raise InputError(f"{path}: is a directory, but no measurement set (it has no table.dat)")
        return open_ms(path)
    check_input(path, "uvfits file")
    with path.open("rb") as file:
        start = file.read(9)
    if start[:6] != b"SIMPLE":
        raise InputError(f"{path}: expected a uvfits file or a measurement set, this is neither")
    from mwaconvert.formats.visibilities.existing_uvfits import open_uvfits

    return open_uvfits(path)
