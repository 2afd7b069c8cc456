"""Files that fill the catalogue: the public catalogue of CHIME/FRB as JSON and CSV, tables, and events as JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mwaconvert.errors import FormatError, InputError
from mwaconvert.frb.archive import event_number
from mwaconvert.frb.catalogue.model import (
    REALTIME,
    Classification,
    Event,
    Holdings,
    Source,
    SourceType,
    Vote,
    classification,
    read_event,
    source_name,
)
from mwaconvert.text import plural, some

#: casts the votes of the public catalogue
CATALOGUE_USER = "catalogue 1"
_MOST_BYTES = 1 << 30
_MJD_0 = datetime(1858, 11, 17)
_MISSING = "-9999"
#: columns of a plain table
COLUMNS = {
    "event_id": "number of the event; needed",
    "datetime": "UTC, 2018-07-25 17:59:43.123456",
    "event_type": "EXTRAGALACTIC, GALACTIC or AMBIGUOUS",
    "beams": "numbers, with blanks between them",
    "dm": "pc/cm3",
    "dm_error": "pc/cm3",
    "snr": "",
    "width": "ms",
    "flux": "Jy",
    "ra": "degrees",
    "ra_error": "degrees",
    "dec": "degrees",
    "dec_error": "degrees",
    "source": "name in the TNS",
    "source_type": ", ".join(SourceType),
    "classification": ", ".join(Classification),
    "user": "who classified",
    "baseband_data": "true or false",
    "intensity_data": "true or false",
}
_NUMBERS = ("dm", "dm_error", "snr", "width", "flux", "ra", "ra_error", "dec", "dec_error")
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


def read_holdings(path: Path, number_of: Callable[[str], int | None] = lambda _name: None) -> Holdings:
    """What a file holds, whichever of the forms it has.

    Parameters
    ----------
    number_of
        The number of the event of a burst, by its name; the CSV of the public catalogue has none.

    Raises
    ------
    FormatError, InputError : it is none of them
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes are too many for a catalogue", path=path)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", path=path) from None
    except UnicodeDecodeError:
        raise FormatError(f"{path}: is neither JSON nor a table of text", path=path) from None
    try:
        if text.lstrip()[:1] in ("[", "{"):
            return _of_json(text)
        rows = list(csv.DictReader(text.splitlines()))
        names = set(rows[0]) if rows else set()
        return _public_table(rows, number_of) if {"tns_name", "sub_num"} <= names else _plain_table(rows)
    except (InputError, csv.Error) as error:
        raise FormatError(f"{path}: {error}", path=path) from None


def _of_json(text: str) -> Holdings:
    try:
        data = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON: {str(error)[:200]}") from None
    entries = data if isinstance(data, list) else [data]
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InputError("a list of events is expected")
    if "event_number" in entries[0]:
        return _public_json(entries)
    return Holdings(events=tuple(map(read_event, entries)))


# ------------------------------------------------------------------------------------------- the public catalogue


def _public_json(entries: list[dict[str, Any]]) -> Holdings:
    """Catalogue 1 as JSON: an object for each burst."""
    events, votes = [], []
    members: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for entry in entries:
        try:
            number = event_number(str(entry["event_number"]))
            events.append(_public_event(number, entry))
            name = source_name(str(entry["repeater_of"] or entry["tns_name"]))
        except (KeyError, TypeError, OverflowError) as error:
            raise InputError(f"burst {entry.get('tns_name', '?')}: {error} is missing or no number") from None
        members.setdefault(name, []).append((number, entry))
        word = Classification.KNOWN_CANDIDATE if entry["repeater_of"] else Classification.NEW_CANDIDATE
        votes.append(Vote(number, CATALOGUE_USER, word))
    sources = [_public_source(name, of_source) for name, of_source in members.items()]
    return Holdings(tuple(events), tuple(sources), tuple(votes))


def _public_event(number: int, entry: Mapping[str, Any]) -> Event:
    when = utc_of(float(entry["toa"]))
    place = {key: entry[key] for key in ("ra", "ra_error", "dec", "dec_error")}
    galactic = {
        "dm_model": "NE2001",
        "dm": entry["bonsai_dm"] - entry["dm_excess_ne2001"],
        "ymw16": entry["bonsai_dm"] - entry["dm_excess_ymw16"],
    }
    realtime = {
        "pipeline": _pipeline(REALTIME),
        "datetime": when,
        "dm": entry["bonsai_dm"],
        "snr": entry["bonsai_snr"],
        "width": entry["box_car_width"] * 1e3,
        **place,
        "galactic_dm": galactic,
    }
    fitted = {
        "pipeline": _pipeline("fitburst"),
        "datetime": when,
        "dm": entry["fitburst_dm"],
        "dm_error": entry["fitburst_dm_error"],
        "snr": entry["fitburst_snr"],
        **{key: entry[key] for key in ("flux", "flux_error", "fluence", "fluence_error")},
        # the file says ms and has seconds
        "width": _scaled(str(entry["pulse_width_ms"][0]), 1e3),
        "sub_burst_width": [_scaled(str(width), 1e3) for width in entry["pulse_width_ms"]],
        "spectral_index": entry["spectral_index"][0],
        "spectral_running": entry["spectral_running"][0],
        **place,
        "galactic_dm": galactic,
    }
    facts = {
        "fpga_time": None,
        "event_type": "EXTRAGALACTIC",
        "beam_numbers": [],
        "tns_name": entry["tns_name"],
        "previous_name": entry["old_name"],
    }
    return Event(number, facts, (_finite(realtime), _finite(fitted)))


def _pipeline(name: str) -> dict[str, str]:
    return {"name": name, "status": "COMPLETE", "logs": "public catalogue 1"}


def _public_source(name: str, members: list[tuple[int, dict[str, Any]]]) -> Source:
    own = next((entry for _, entry in members if source_name(entry["tns_name"]) == name), members[0][1])
    repeats = bool(members[0][1]["repeater_of"])
    facts = {
        "ra": own["ra"],
        "ra_error": own["ra_error"],
        "dec": own["dec"],
        "dec_error": own["dec_error"],
        "dm": own["bonsai_dm"],
        "previous_name": own["old_name"],
    }
    numbers = tuple(number for number, _ in members)
    return Source(
        name, SourceType.FRB_REPEATER if repeats else SourceType.FRB, _finite(facts), {name: numbers}
    )


def utc_of(mjd: float) -> str:
    """UTC of a Modified Julian Date, to the microsecond.

    Examples
    --------
    >>> utc_of(58324.74980320592)
    '2018-07-25 17:59:42.996991'
    """
    if not 0 <= mjd < 200000:
        raise InputError(f"{mjd} is no MJD of this age")
    return (_MJD_0 + timedelta(days=mjd)).strftime("%Y-%m-%d %H:%M:%S.%f")


def _public_table(rows: list[dict[str, str]], number_of: Callable[[str], int | None]) -> Holdings:
    """Catalogue 1 as CSV: a row for each part of a burst, and no numbers of events; they must be there already."""
    bursts: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        bursts.setdefault(source_name(row["tns_name"]), []).append(row)
    measured: dict[int, tuple[dict[str, Any], ...]] = {}
    unknown = []
    for name, parts in bursts.items():
        number = number_of(name)
        if number is None:
            unknown.append(name)
            continue
        measured[number] = (_fitted(parts),)
    if not measured:
        raise InputError(
            f"none of its {plural(len(bursts), 'burst')} is in the catalogue, and it has no numbers of events: "
            "load the JSON of the same catalogue first"
        )
    left_out = (f"not known by an event: {some(unknown, 8)}",) if unknown else ()
    return Holdings(measured=measured, left_out=left_out)


def _fitted(parts: list[dict[str, str]]) -> dict[str, Any]:
    """What was fitted to a burst; lists have an entry for each part."""
    first = parts[0]
    facts: dict[str, Any] = {
        "pipeline": {"name": "catalogue 1", "status": "COMPLETE", "logs": "CSV of the public catalogue"},
        "datetime": utc_of(float(first["mjd_400"])),
        "dm": _value(first["dm_fitb"]),
        "dm_error": _value(first["dm_fitb_err"]),
        "snr": _value(first["snr_fitb"]),
        "flux": _value(first["flux"]),
        "fluence": _value(first["fluence"]),
        "ra": _value(first["ra"]),
        "dec": _value(first["dec"]),
        "sub_burst_width": [_scaled(row["width_fitb"], 1e3) for row in parts],
        "mjd_400": [_value(row["mjd_400"]) for row in parts],
        "mjd_inf": [_value(row["mjd_inf"]) for row in parts],
        "spectral_index": [_value(row["sp_idx"]) for row in parts],
        "spectral_running": [_value(row["sp_run"]) for row in parts],
        "scattering_time": _scaled(first["scat_time"], 1e3),
    }
    return facts


def _value(text: str) -> float | None:
    """A number of the table; limits (<0.0017) and what is missing are none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if text.startswith(_MISSING) or not math.isfinite(value) else value


def _scaled(text: str, factor: float) -> float | None:
    value = _value(text)
    return None if value is None else value * factor


def _finite(facts: dict[str, Any]) -> dict[str, Any]:
    """Without numbers that JSON has not."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in facts.items()
    }


# --------------------------------------------------------------------------------------------------- plain tables


def _plain_table(rows: list[dict[str, str]]) -> Holdings:
    """A table of events, with one row for each."""
    if not rows:
        raise InputError("there is no row in it")
    unknown = sorted(str(name) for name in set(rows[0]) - set(COLUMNS))
    if "event_id" not in rows[0] or unknown:
        said = f"there is no column {', '.join(unknown)}" if unknown else "there is no column event_id"
        raise InputError(f"{said}; columns are {', '.join(COLUMNS)}")
    events, votes, status = [], [], {}
    members: dict[str, list[int]] = {}
    kinds: dict[str, str] = {}
    for line, row in enumerate(rows, 2):
        try:
            cells = {name: (text or "").strip() for name, text in row.items() if name is not None}
            event = _plain_event(cells)
            events.append(event)
            if cells.get("classification"):
                votes.append(
                    Vote(event.id, cells.get("user") or "table", classification(cells["classification"]))
                )
            status[event.id] = {
                name: _TRUTH[cells.get(name, "").lower()] for name in ("baseband_data", "intensity_data")
            }
            if cells.get("source"):
                name = source_name(cells["source"])
                members.setdefault(name, []).append(event.id)
                kinds[name] = str(SourceType((cells.get("source_type") or SourceType.FRB).upper()))
        except (InputError, ValueError, KeyError) as error:
            raise InputError(f"line {line}: {error}") from None
    sources = [Source(name, SourceType(kinds[name]), {}, {name: tuple(ids)}) for name, ids in members.items()]
    return Holdings(tuple(events), tuple(sources), tuple(votes), status)


def _plain_event(cells: Mapping[str, str]) -> Event:
    measured: dict[str, Any] = {"pipeline": {"name": REALTIME, "status": "COMPLETE", "logs": "table"}}
    if cells.get("datetime"):
        when = datetime.fromisoformat(cells["datetime"])
        measured["datetime"] = when.strftime("%Y-%m-%d %H:%M:%S.%f")
    for name in _NUMBERS:
        if cells.get(name):
            value = float(cells[name])
            if not math.isfinite(value):
                raise InputError(f"{name} is {cells[name]}")
            measured[name] = value
    facts = {
        "fpga_time": None,
        "event_type": cells.get("event_type") or "AMBIGUOUS",
        "beam_numbers": [int(word) for word in cells.get("beams", "").split()],
    }
    return Event(event_number(cells["event_id"]), facts, (measured,))
