"""Several files in one request: which of them are one observation."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from mwaconvert.errors import InputError
from mwaconvert.formats.spectra.reader import is_one_of_many, open_stream
from mwaconvert.spectra.joined import follows
from mwaconvert.spectra.stream import Stream
from mwaconvert.transients.products.requests import Grouping, SeveralRequest

Asked = TypeVar("Asked", bound=SeveralRequest)

#: stands for the name of the first file of an observation in names of outputs
NAME = "{name}"
_OUTPUTS = ("output", "write_mask", "report")


def observations(request: Asked) -> list[Asked]:
    """A request for each observation of the files of one.

    Parameters
    ----------
    request : with `grouping` auto, files are one observation if each begins where another one ends, with the same
        channels, source and direction; files without a start time are observations of their own

    Returns
    -------
    list of requests
        in the order of the files; `{name}` in their outputs stands for the name of their first file

    Raises
    ------
    InputError : outputs of several observations have the same name, or there is no such file
    FormatError : a file is damaged
    """
    groups = _groups(request)
    made = []
    for group in groups:
        changes: dict[str, Any] = {
            name: _named(getattr(request, name), group[0]) for name in _output_fields(request)
        }
        changes |= {"path": group[0], "continued": tuple(group[1:]), "grouping": Grouping.ONE}
        made.append(replace(request, **changes))
    if len(made) > 1:
        for name in _output_fields(request):
            given = getattr(request, name)
            if given is not None and len({getattr(each, name) for each in made}) < len(made):
                raise InputError(
                    f"{given}: the files are {len(made)} observations, whose outputs need names of their own: put "
                    f"{NAME} into it, for the name of a file, or say that they are one with `grouping`",
                    option=name,
                    path=given,
                )
    return made


def _output_fields(request: SeveralRequest) -> list[str]:
    return [field.name for field in fields(request) if field.name in _OUTPUTS]


def _named(path: Path | None, first: Path) -> Path | None:
    return None if path is None else Path(str(path).replace(NAME, first.stem))


def _groups(request: SeveralRequest) -> list[list[Path]]:
    files = [request.path, *request.continued]
    if len(files) == 1 or request.grouping == Grouping.ONE or is_one_of_many(files[0]):
        return [files]
    if request.grouping == Grouping.EACH:
        return [[file] for file in files]
    voltages: dict[str, Any] = {
        "band_mhz": request.band_mhz,
        "channels": request.channels,
        "average": request.average,
    }
    streams = {file: open_stream(file, **voltages) for file in files}
    try:
        return _by_time(streams)
    finally:
        for stream in streams.values():
            stream.close()


def _by_time(streams: dict[Path, Stream]) -> list[list[Path]]:
    """Files that follow each other, in the order in which the first of them were given."""
    timed = sorted(
        (file for file, stream in streams.items() if stream.start_mjd is not None),
        key=lambda file: streams[file].start_mjd or 0.0,
    )
    groups: list[list[Path]] = []
    for file in timed:
        before = next((group for group in groups if follows(streams[group[-1]], streams[file])), None)
        if before is None:
            groups.append([file])
        else:
            before.append(file)
    groups += [[file] for file in streams if file not in timed]
    order = list(streams)
    return sorted(groups, key=lambda group: min(order.index(file) for file in group))
