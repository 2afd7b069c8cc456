"""Words and numbers as people read them: sizes, percentages, plurals, columns; JSON as machines do."""

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

WIDTH = 110


_LABEL = 12


def sections(width: int, *parts: tuple[str, Sequence[str]]) -> str:
    """Labels in a first column, their lines in a second; a note has its label on each line."""
    lines: list[str] = []
    for label, entries in parts:
        for i, entry in enumerate(entries):
            head = f"{label if i == 0 or label == 'note' else '':<{_LABEL}}"
            lines += textwrap.wrap(
                entry,
                width,
                initial_indent=head,
                subsequent_indent=" " * (_LABEL + 4),
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)


def utc_text(unix_s: float) -> str:
    """2015-11-16T18:25:37 for seconds since 1970; with tenths if there are any."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=round(unix_s, 1))
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{moment.microsecond // 100000}" if moment.microsecond else "")


def size_text(n_bytes: float) -> str:
    """12.3 GB, in powers of ten."""
    if n_bytes < 1000:
        return f"{n_bytes:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        n_bytes /= 1000
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
    return f"{n_bytes / 1000:.3g} TB"


def took_text(seconds: float | None) -> str:
    """How long something took: 0.4 s, 12 s, 3 min 5 s, 2 h 4 min, 3 d 2 h.

    Examples
    --------
    >>> took_text(185)
    '3 min 5 s'
    """
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, low in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {low}" if rest else "")
    return f"{whole} s"


def about_text(seconds: float) -> str:
    """A time that is not known exactly: about 5 s, about 3 min, about 2 h, about 4 d.

    Examples
    --------
    >>> about_text(200)
    'about 3 min'
    """
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {max(1, round(seconds))} s"


def percent(fraction: float) -> str:
    """12 %, 1.8 %, 0.034 %; what is not all is not called 100 %."""
    value = 100 * fraction
    if 0 < value < 0.001:
        return "under 0.001 %"
    if 99.5 <= value < 100:
        return f"{min(value, 99.99):.2f} %"
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def plural(n: int, noun: str) -> str:
    """1 file, 2 files."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def some(names: list[str], limit: int = 16) -> str:
    """The first of them, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def json_text(facts: Mapping[str, Any] | list[Any]) -> str:
    """Strict JSON of what `plain` made."""
    return json.dumps(facts, indent=1, allow_nan=False)


def plain(value: Any) -> Any:
    """Arrays, paths and numpy scalars as what JSON knows; numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # an array or number of numpy, which is not loaded for this
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value


def html_picture(path: Path | None) -> str:
    """A picture of ours, .png or .html, for a notebook; empty where it is not or no longer."""
    if path is None or not path.is_file():
        return ""
    import base64
    import re

    if path.suffix.lower() == ".png":
        encoded = base64.b64encode(path.read_bytes()).decode()
        return f'<img alt="{html.escape(path.name)}" src="data:image/png;base64,{encoded}">'
    return "".join(
        re.findall(r'<img alt="[^"<>]*" src="data:image/png;base64,[^"<>]*">', path.read_text("utf-8"))
    )


def html_facts(facts: Mapping[str, str]) -> str:
    """Names and values as a table for a notebook.

    Examples
    --------
    >>> html_facts({"source": "B0355+54"})
    '<table><tr><th>source</th><td>B0355+54</td></tr></table>'
    """
    rows = (f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in facts.items())
    return f"<table>{''.join(rows)}</table>"
