"""Raw intensity of an event from a service of CHIME/FRB: its beam, and its chunks into an archive of one event."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mwaconvert.clients.chime import API
from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.extras import need
from mwaconvert.text import some

_CHUNK = re.compile(
    r"(?:^|.*/)data/(?P<telescope>[a-z][a-z0-9_-]{0,31})/intensity/raw/(?P<day>\d{4}/\d\d/\d\d)/"
    r"astro_(?P<event>\d{1,19})/(?P<beam>\d{4})/(?P<name>[A-Za-z0-9_.-]{1,200}\.msgpack)"
)
_MOST_BYTES = 1 << 29  # of a chunk; those of CHIME/FRB have 17 MB


def fetch_event(base_url: str, event: int, folder: Path, *, beam: int | None = None) -> int:
    """Bring the chunks of one beam of an event into a folder, laid out as the archive is.

    Parameters
    ----------
    base_url : of the service, http://host:port/frb-master for example
    event : its number
    folder : becomes the root of an archive
    beam : its number; None: the one of the realtime pipeline's measurement, or the only one

    Returns
    -------
    int
        the number of the beam

    Raises
    ------
    InputError : there is no such event or beam
    ResourceError : the service does not answer
    FormatError : what it answers makes no sense
    """
    requests = need("requests", "client", "asking a service")
    api = API(base_url)
    try:
        return _fetch(api, event, folder, beam)
    except requests.HTTPError as error:
        if error.response.status_code == 404:
            raise InputError(f"event {event}: {api.base_url} does not have it ({error})") from error
        raise ResourceError(f"{api.base_url}: refused ({error})") from error
    except requests.JSONDecodeError as error:
        raise FormatError(f"{api.base_url}: an answer is not JSON") from error
    except requests.RequestException as error:
        raise ResourceError(
            f"{api.base_url}: no answer ({type(error).__name__}); is the service up?"
        ) from error


def _fetch(api: API, event: int, folder: Path, beam: int | None) -> int:
    names = api.get(f"/v1/events/filenames/{event}")
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise FormatError(f"{api.base_url}: expected a list of names of files")
    chunks: dict[int, list[tuple[str, re.Match[str]]]] = {}
    for name in names:
        found = _CHUNK.fullmatch(name)
        if found and int(found["event"]) == event:
            chunks.setdefault(int(found["beam"]), []).append((name, found))
    if not chunks:
        raise InputError(f"event {event}: {api.base_url} has no raw intensity of it")
    if beam is None and len(chunks) == 1:
        beam = next(iter(chunks))
    elif beam is None:
        beam = _brightest(api.get(f"/v1/events/{event}"), set(chunks))
    if beam not in chunks:
        there = some([f"{number:04d}" for number in sorted(chunks)])
        what = "the brightest beam is not known" if beam is None else f"no raw intensity of beam {beam:04d}"
        raise InputError(f"event {event}: {what}: give one with `beam`, of {there}", option="beam")
    for name, found in chunks[beam]:
        below = (
            "data",
            found["telescope"],
            "intensity",
            "raw",
            found["day"],
            f"astro_{event}",
            found["beam"],
        )
        target = folder.joinpath(*below)
        target.mkdir(parents=True, exist_ok=True)
        _download(api, name, target / found["name"])
    return beam


def _brightest(event: Any, beams: set[int]) -> int | None:
    """The beam that the realtime pipeline measured."""
    measured = event.get("measured_parameters") if isinstance(event, Mapping) else None
    for one in measured if isinstance(measured, Sequence) else ():
        pipeline = one.get("pipeline") if isinstance(one, Mapping) else None
        beam = one.get("beam_number") if isinstance(one, Mapping) else None
        if isinstance(pipeline, Mapping) and pipeline.get("name") == "realtime" and isinstance(beam, int):
            return beam if beam in beams else None
    return None


def _download(api: API, name: str, target: Path) -> None:
    asked = {"filename": name}
    with api.send("POST", "/v1/events/filename", json=asked, stream=True) as answer:
        held = 0
        with target.open("wb") as file:
            for piece in answer.iter_content(1 << 20):
                held += len(piece)
                if held > _MOST_BYTES:
                    raise FormatError(
                        f"{api.base_url}: {name} has more than {_MOST_BYTES} bytes: no chunk of an event"
                    )
                file.write(piece)
