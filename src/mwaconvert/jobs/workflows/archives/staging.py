"""Files of an archive brought to where a pipeline looks for them, whole and once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mwaconvert.archive.products import problem_of_file, sha256_of
from mwaconvert.archive.units import ProductFile
from mwaconvert.errors import FormatError, InputError
from mwaconvert.jobs.delivery.places import part_beside, remove
from mwaconvert.jobs.workflows.archives.stores.store import Kept, Store, fetch
from mwaconvert.unpacking import unpack

#: names that the raw data of an execution block have in archives, after its own
RAW_ENDINGS = (".asdm.sdm.tar", ".sdm.tar", ".tar", ".ms.tar")


def file_into(stores: Sequence[Store], file: ProductFile, target: Path) -> str:
    """Bring a product file, checked by all that the archive says of it; gives its SHA-256.

    Raises
    ------
    InputError, FormatError
        As `stores.fetch`; a size that is not the one the archive tells.
    """
    whole = file.sha256 is None and file.size is not None and target.is_file()
    if whole and target.stat().st_size == file.size:
        return sha256_of(target)  # of an earlier try: it got its name when it was whole
    found = fetch(stores, file.name, target, file.sha256)
    problem = problem_of_file(target, file)
    if problem is not None:
        target.unlink()
        raise FormatError(f"{file.name}: {problem}")
    return found


def find_raw(stores: Sequence[Store], execution: str) -> tuple[str, Kept]:
    """Name and size of the raw data of an execution block; `InputError` if no store has them."""
    for store in stores:
        for ending in RAW_ENDINGS:
            copies = store.find(execution + ending)
            if copies:
                return execution + ending, copies[0]
    raise InputError(f"{execution}: no store of the archive has its raw data ({execution}.asdm.sdm.tar)")


def fetch_raw(stores: Sequence[Store], name: str, target: Path, scratch: Path) -> None:
    """Bring raw data and unpack them; a folder that is there was unpacked whole.

    Raises
    ------
    FormatError
        The archive file leaves its folder, or does not hold one folder.
    """
    if target.exists():
        return
    packed = scratch / name
    fetch(stores, name, packed)
    part = part_beside(target)
    part.mkdir()
    try:
        entries = unpack(packed, part)
        if len(entries) != 1 or not entries[0].is_dir():
            raise FormatError(
                f"{name}: holds {len(entries)} entries; expected one folder, the execution block"
            )
        entries[0].rename(target)
    finally:
        remove(part)
        packed.unlink()


def own_text(path: Path, data: bytes) -> None:
    """Write a small file, whole or not at all."""
    part = part_beside(path)
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
