"""Lists of candidates of other programs: PRESTO's .singlepulse, heimdall's .cand, AMBER's .trigger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mwaconvert.errors import FormatError, InputError

if TYPE_CHECKING:
    from mwaconvert.spectra.stream import Stream
    from mwaconvert.transients.candidates import Row
    from mwaconvert.transients.search import Search

SUFFIXES = (".csv", ".singlepulse", ".cand", ".trigger")

_PRESTO = "# DM      Sigma      Time (s)     Sample    Downfact"
_AMBER_NAMES = (
    "beam_id batch_id sample_id integration_step compacted_integration_steps time DM_id DM compacted_DMs SNR"
)
#: columns of AMBER's generations by their number; the names differ too
_AMBER = {
    7: "beam batch sample integration_step time DM SNR",
    8: "beam_id batch_id sample_id integration_step time DM_id DM SNR",
    9: "beam batch sample integration_step compacted_integration_steps time DM compacted_DMs SNR",
    10: _AMBER_NAMES,
}


@dataclass(frozen=True)
class Listed:
    """A candidate as another program lists it."""

    time_s: float  #: as in the list: PRESTO and heimdall the middle of the boxcar, AMBER its start
    dm: float  #: pc/cm^3
    snr: float
    width_samples: float  #: of the boxcar, in samples of its program
    beam: int = 0


def list_text(path: Path, rows: list[Row], search: Search, stream: Stream) -> str:
    """Candidates as text in the format that the ending of a name stands for.

    Parameters
    ----------
    path : .singlepulse, .cand or .trigger
    rows : of `transients.candidates.candidate_rows`
    search, stream : where they are from

    Raises
    ------
    InputError : another ending
    """
    dt_s = stream.dt_s
    if path.suffix == ".singlepulse":
        lines = [_PRESTO]
        for row in sorted(rows, key=lambda r: r.time_s):
            sample, width = round(row.time_s / dt_s), max(1, round(row.width_s / dt_s))
            lines.append(f"{row.dm:7.2f} {row.snr:7.2f} {row.time_s:13.6f} {sample:10d}     {width:3d}")
        return "\n".join(lines) + "\n"
    if path.suffix == ".cand":
        lines = []
        for row in rows:
            width = max(1, round(row.width_s / dt_s))
            begin = round(row.time_s / dt_s - width / 2)
            trial = int(np.abs(search.dms - row.dm).argmin())
            power = round(np.log2(width))
            lines.append(
                f"{row.snr:.4f}\t{round(row.time_s / dt_s)}\t{row.time_s:.6f}\t{power}\t{trial}\t{row.dm:.4f}\t"
                f"{row.n_detections}\t{begin}\t{begin + width}"
            )
        return "".join(line + "\n" for line in lines)
    if path.suffix == ".trigger":
        lines = [f"# {_AMBER_NAMES}"]
        for row in sorted(rows, key=lambda r: r.time_s):
            width = max(1, round(row.width_s / dt_s))
            start_s = row.time_s - row.width_s / 2
            trial = int(np.abs(search.dms - row.dm).argmin())
            lines.append(
                f"0 0 {round(start_s / dt_s)} {width} 1 {start_s:.6g} {trial} {row.dm:g} "
                f"{row.n_detections} {row.snr:.6g}"
            )
        return "\n".join(lines) + "\n"
    raise InputError(f"{path}: candidates are written as {', '.join(SUFFIXES)}")


def read_list(path: Path) -> list[Listed]:
    """Read a list of candidates; its content decides whose it is.

    Parameters
    ----------
    path : .singlepulse, .cand or .trigger of any generation

    Returns
    -------
    candidates in the order of the file

    Raises
    ------
    FormatError : it is none of these, or a line is damaged
    """
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{path}: expected a list of candidates, found bytes that are no text") from None
    lines = [(k, line.strip()) for k, line in enumerate(text.splitlines(), 1) if line.strip()]
    comments = [line for _, line in lines if line.startswith("#")]
    rows = [(k, line) for k, line in lines if not line.startswith("#")]
    if comments and "Downfact" in comments[0]:
        return [Listed(v[2], v[0], v[1], v[4]) for v in _numbers(path, rows, {5})]
    for comment in comments:
        names = comment.lstrip("# ").split()
        if "integration_step" in names:
            return _read_amber(path, names, rows)
    if not rows:
        raise FormatError(f"{path}: there is no candidate and no header of a known list in it")
    # heimdall writes no header; pipelines that merge beams add columns
    numbers = _numbers(path, rows, {9, 14, 15})
    return [
        Listed(v[2], v[5], v[0], 2.0 ** min(v[3], 62.0), int(v[12]) if len(v) > 12 else 0) for v in numbers
    ]


def _numbers(path: Path, rows: list[tuple[int, str]], counts: set[int]) -> list[list[float]]:
    out = []
    for k, line in rows:
        words = line.split()
        try:
            values = [float(word) for word in words]
        except ValueError:
            raise FormatError(f"{path}: line {k}: expected numbers, found {line[:60]!r}") from None
        if len(values) not in counts or not np.isfinite(values).all():
            raise FormatError(
                f"{path}: line {k}: expected {' or '.join(map(str, sorted(counts)))} numbers, found {line[:60]!r}"
            )
        out.append(values)
    return out


def _read_amber(path: Path, names: list[str], rows: list[tuple[int, str]]) -> list[Listed]:
    if names != _AMBER.get(len(names), "").split():
        known = ", ".join(map(str, _AMBER))
        raise FormatError(f"{path}: its header names {len(names)} columns, expected AMBER's {known}: {names}")
    at = {name.lower(): k for k, name in enumerate(names)}
    beam = at.get("beam_id", at.get("beam", 0))
    return [
        Listed(v[at["time"]], v[at["dm"]], v[at["snr"]], v[at["integration_step"]], int(v[beam]))
        for v in _numbers(path, rows, {len(names)})
    ]
