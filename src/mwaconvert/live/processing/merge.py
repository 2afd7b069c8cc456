"""Results of all beams of an observation put together on the master: what is there, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from mwaconvert.errors import FormatError
from mwaconvert.live.files import write_whole
from mwaconvert.live.observation import Observation
from mwaconvert.live.processing.products import Counts, Found, read_lists
from mwaconvert.text import json_text, plain, utc_text


@dataclass(frozen=True)
class Merged:
    """What beams delivered.

    Parameters
    ----------
    counts : by compound beam
    found : best first
    missing : why a beam is not among them, by compound beam
    """

    counts: Mapping[int, Counts]
    found: tuple[Found, ...]
    missing: Mapping[int, str]


def merge(folder: Path, beams: Sequence[int]) -> Merged:
    """Read the lists of all beams; one that is not there or damaged is named, and costs the others nothing."""
    counts, found, missing = {}, [], {}
    for beam in beams:
        try:
            counts[beam], more = read_lists(folder, beam)
        except FileNotFoundError:
            missing[beam] = "no results yet"
        except (FormatError, OSError) as error:
            missing[beam] = str(error)
        else:
            found += more
    ranked = sorted(found, key=lambda f: (-(0.0 if math.isnan(f.p) else f.p), -f.snr))
    return Merged(counts, tuple(ranked), missing)


def result_folder(root: Path, observation: Observation) -> Path:
    """<root>/<date>/<datetimesource>, as ARTS has it."""
    name = observation.datetimesource
    return root / name[:10].replace("-", "") / name


def write_merged(
    folder: Path,
    observation: Observation,
    merged: Merged,
    parset: Mapping[str, str],
    *,
    galactic_dm: float | None,
    ranked_by: str,
    most: int = 100,
) -> Path:
    """info.yaml (JSON, which is YAML), coordinates.txt and the page A_info.html; the page."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        **parset,
        "freq": observation.receiver.centre_mhz,
        "ymw16": galactic_dm,
        "startpacket": round(observation.start_s * 781250),
        "missing": {f"CB{beam:02d}": why for beam, why in merged.missing.items()},
    }
    write_whole(folder / "info.yaml", json_text(plain(facts)) + "\n")
    write_whole(folder / "coordinates.txt", "\n".join(_coordinates(observation)) + "\n")
    page = folder / "A_info.html"
    write_whole(page, _page(observation, merged, galactic_dm, ranked_by, most))
    return page


def _coordinates(observation: Observation) -> list[str]:
    from astropy import units
    from astropy.coordinates import SkyCoord

    lines = ["#CB RA Dec Gl Gb"]
    for beam in sorted(observation.pointings_deg):
        place = observation.pointing_deg(beam)
        assert place is not None
        galactic = SkyCoord(place[0] * units.deg, place[1] * units.deg).galactic
        lines.append(f"{beam:02d} {place[0]:.6f} {place[1]:.6f} {galactic.l.deg:.6f} {galactic.b.deg:.6f}")
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def row(cells: Sequence[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return "\n".join(["<table>", row(head, "th"), *(row(cells, "td") for cells in rows), "</table>"])


def _page(
    observation: Observation, merged: Merged, galactic_dm: float | None, ranked_by: str, most: int
) -> str:
    dt_ms = observation.receiver.dt_s * 1e3
    facts = [
        ("Source", observation.source),
        ("Start", utc_text(observation.start_s)),
        ("Duration", f"{observation.duration_s:g} s"),
        ("Task", observation.task_id),
        ("Galactic DM", "not known" if galactic_dm is None else f"{galactic_dm:g}"),
        ("Ranked by", ranked_by),
        ("Candidates", len(merged.found)),
        *((f"CB{beam:02d} is missing", why) for beam, why in merged.missing.items()),
    ]
    n_without = sum(math.isnan(f.p) for f in merged.found)
    if 0 < n_without < len(merged.found):
        facts.append(
            ("Without p", f"{n_without}, by S/N behind the others: no classifier there, or it failed")
        )
    counts = [
        (f"{beam:02d}", c.raw, c.clustered, c.thresholds, c.classified, c.left_out)
        for beam, c in merged.counts.items()
    ]
    found = [
        (
            "" if math.isnan(f.p) else f"{f.p:.2f}",
            f"{f.snr:.2f}",
            f"{f.dm:.2f}",
            f"{f.time_s:.4f}",
            f"{f.width * dt_ms:.2f}",
            f"{f.beam:02d}",
            f.synthesised,
        )
        for f in merged.found[:most]
    ]
    left = len(merged.found) - most
    title = escape(f"ARTS FRB Alert System - {observation.datetimesource}")
    return "\n".join(
        [
            f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{title}</title></head><body><h1>{title}</h1>',
            _table(("", ""), facts),
            _table(
                ("CB", "candidates", "clusters", "above thresholds", "accepted", "left out in storms"), counts
            ),
            _table(("p", "S/N", "DM", "time (s)", "width (ms)", "CB", "SB"), found),
            f"<p>{left} more are in the lists of the beams.</p>" if left > 0 else "",
            "</body></html>",
        ]
    )
