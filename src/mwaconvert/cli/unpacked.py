"""Raw data that come in archives, in a request: unpacked for as long as the conversion runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

from mwaconvert.observation import unpacked as archives
from mwaconvert.vocabulary.request import Request


@contextmanager
def unpacked(request: Request) -> Iterator[Request]:
    """The request with folders and files in place of the archives (tar, zip, gz) that it names.

    Raises
    ------
    InputError, FormatError, ResourceError : an archive that is missing, damaged or larger than the room in TMPDIR
    """
    with archives.unpacked((request.metafits, *request.files)) as places:
        if not places:
            yield request
            return
        names = ", ".join(path.name for path in places)
        yield dataclasses.replace(
            request,
            metafits=places.get(request.metafits, request.metafits),
            files=tuple(places.get(path, path) for path in request.files),
            notes=(*request.notes, f"{names}: unpacked for this conversion"),
        )
