"""Writes the picture: as PNG, or as one self-contained HTML page of panels and tables of the report."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from mwaconvert.conversion.report.report import Report
from mwaconvert.qa.collector import QaCollector
from mwaconvert.qa.figure import panels, titles, write_png
from mwaconvert.staging import StagedPath
from mwaconvert.text import size_text
from mwaconvert.visibilities.file_report import FileReport
from mwaconvert.visibilities.quality import relative_noise

#: tiles and channels that are listed
WORST = 12
#: events of --rfi-array that are listed
EVENTS = 40
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222 }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
p.facts { color: #555; margin: .2rem 0 1rem }
img { max-width: 100%; display: block; margin: .8rem 0 }
table { border-collapse: collapse; font-size: .88rem }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.off { color: #888 } code { font-size: .85rem; overflow-wrap: anywhere }
"""


class Quiet(str):
    """A cell that is set back."""


def write_picture(data: QaCollector, report: Report | FileReport) -> None:
    """Draw what was gathered, and write it under the name that was chosen.

    Raises
    ------
    ResourceError : the file cannot be written
    """
    write = write_png if data.path.suffix.lower() == ".png" else write_html
    with StagedPath(data.path, data.overwrite) as staged:
        write(data, report, staged.temporary)


def write_html(data: QaCollector, report: Report | FileReport, path: Path) -> None:
    """Write the page."""
    head, line = titles(data, report)
    parts = [f"<h1>{escape(head)}</h1><p class=facts>{escape(line)}</p>"]
    for name, png in panels(data, report):
        picture = base64.b64encode(png).decode()
        parts.append(f'<img alt="{escape(name)}" src="data:image/png;base64,{picture}">')
    parts += _of_file(report) if isinstance(report, FileReport) else _tables(report)
    parts += _worst(report)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(head)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )
    path.write_text(page, encoding="utf-8")


def _tables(report: Report) -> Iterable[str]:
    yield "<h2>Steps</h2>" + _table(
        ("step", "", "why"),
        [(s.name, "applied" if s.applied else Quiet("not applied"), s.reason) for s in report.steps],
    )
    cells = max(1, report.input_cells)
    yield "<h2>Flag rules</h2>" + _table(
        ("rule", "% of the input"),
        [(r.name, f"{100 * r.cells / cells:.2f}") for r in report.flag_counts if r.cells],
    )
    yield "<h2>Outputs</h2>" + _table(
        ("file", "size", "times", "baselines", "channels"),
        [(str(o.path), size_text(o.bytes), o.times, o.baselines, o.channels) for o in report.outputs],
    )
    if report.notes:
        yield "<h2>Notes</h2><ul>" + "".join(f"<li>{_marked(note)}</li>" for note in report.notes) + "</ul>"
    software = ", ".join(f"{name} {version}" for name, version in report.software.items())
    yield f"<h2>Run</h2><p><code>{escape(report.header.command_line)}</code></p><p>{escape(software)}</p>"
    yield f"<p>Smearing: {escape(str(report.smearing))}</p>"


def _of_file(report: FileReport) -> Iterable[str]:
    yield "<h2>File</h2>" + _table(
        ("file", "size", "times", "baselines", "channels"),
        [
            (
                report.path,
                size_text(report.bytes),
                len(report.header.time_mjd),
                len(report.header.antenna1),
                len(report.occupancy.channel),
            )
        ],
    )


def _worst(report: Report | FileReport) -> Iterable[str]:
    if report.quality is None:
        return
    names = [a.name for a in report.header.metadata.antennas]
    noise = relative_noise(report.quality)
    worst = [i for i in np.argsort(-noise).tolist()[:WORST] if noise[i] > 0]
    yield "<h2>Noisiest tiles</h2>" + _table(
        ("tile", "noise XX", "noise YY", "in units of the median tile"),
        [
            (names[i], *(f"{sigma:.4g}" for sigma in report.quality.antenna_noise[i]), f"{noise[i]:.2f}")
            for i in worst
        ],
    )
    found = report.quality.interference
    fraction = np.nan_to_num(found.channel)
    freqs = np.concatenate([w.freq_hz for w in report.header.spectral_windows])
    head = "Channels flagged most by the data" if found.of_input else "Channels flagged most"
    yield f"<h2>{head}</h2>" + _table(
        ("MHz", "% of the input" if found.of_input else "% of the file"),
        [
            (f"{freqs[c] / 1e6:.3f}", f"{100 * fraction[c]:.2f}")
            for c in np.argsort(-fraction, kind="stable").tolist()[:WORST]
            if fraction[c] > 0
        ],
    )
    if report.array_rfi is not None:
        yield "<h2>Interference on all baselines</h2>" + _table(
            ("shape", "from MHz", "to MHz", "timesteps", "sigma", "polarisation"),
            [
                (
                    event.shape,
                    f"{event.low_hz / 1e6:.3f}",
                    f"{event.high_hz / 1e6:.3f}",
                    f"{event.timesteps[0]} to {event.timesteps[1]}",
                    f"{event.sigma:.1f}",
                    event.polarisation,
                )
                for event in report.array_rfi.events[:EVENTS]
            ],
        )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    titles = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{body}</table>"


def _cell(value: object) -> str:
    text = str(value)
    kind = (
        " class=number"
        if text.replace(".", "", 1).isdigit()
        else " class=off"
        if isinstance(value, Quiet)
        else ""
    )
    return f"<td{kind}>{_marked(text)}</td>"


def _marked(text: str) -> str:
    """Text in which fields of options, between back quotes, are set as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
