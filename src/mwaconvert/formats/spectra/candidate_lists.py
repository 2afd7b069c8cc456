"""Lists of candidates: our own tables (CSV, ECSV, JSON), PRESTO's .singlepulse, heimdall's .cand, AMBER's .trigger."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from mwaconvert import __version__
from mwaconvert.errors import FormatError, InputError
from mwaconvert.spectra.aliases import warn_renamed
from mwaconvert.spectra.candidate import NOT_KNOWN, Candidate, Flag, SearchFacts, to_table
from mwaconvert.staging import StagedPath
from mwaconvert.text import json_text as strict_json
from mwaconvert.text import plain

SUFFIXES = (".csv", ".ecsv", ".json", ".singlepulse", ".cand", ".trigger")

#: columns of our own table: fields of `Candidate`, and how they are written
_COLUMNS = {
    "time_s": ".6f",
    "time_err_s": ".6f",
    "dm": ".4f",
    "dm_err": ".4f",
    "snr": ".2f",
    "width_s": ".6f",
    "width_err_s": ".6f",
    "n_detections": "d",
    "mjd": ".10f",
}
_FLAGS = "flags"  # after these: names of flags, with spaces between
_SCORE = "score"  # after these
_BEAMS = ("beam", "n_beams")  # the last columns, where beams were compared

_JSON_FORMAT = "mwaconvert candidates"

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


def __getattr__(name: str) -> Any:
    if name == "Listed":
        warn_renamed("formats.spectra.candidate_lists.Listed", "spectra.candidate.Candidate")
        return Candidate
    raise AttributeError(f"module {__name__} has no attribute {name}")


def csv_text(candidates: Sequence[Candidate], facts: SearchFacts) -> str:
    """The table as text: comments that begin with #, names of the columns, rows."""
    out = io.StringIO()
    for key, value in {"program": f"mwaconvert {__version__}", **facts.lines()}.items():
        out.write(f"# {key}: {' '.join(value.split())}\n")
    table = csv.writer(out, lineterminator="\n")
    beams = _BEAMS if facts.n_beams > 1 else ()
    table.writerow([*_COLUMNS, _FLAGS, _SCORE, *beams])
    for candidate in candidates:
        cells = [_cell(getattr(candidate, name), how) for name, how in _COLUMNS.items()]
        cells += [" ".join(candidate.flags), _cell(candidate.score, ".4f")]
        table.writerow([*cells, *(getattr(candidate, name) for name in beams)])
    return out.getvalue()


def ecsv_text(candidates: Sequence[Candidate], facts: SearchFacts) -> str:
    """The table as astropy's ECSV: every field of a candidate, with units, and the facts as metadata."""
    from astropy.table import Table

    table = Table(to_table(candidates, facts))
    table.meta = {"program": f"mwaconvert {__version__}", **table.meta}
    out = io.StringIO()
    table.write(out, format="ascii.ecsv")
    return out.getvalue()


def json_text(candidates: Sequence[Candidate], facts: SearchFacts) -> str:
    """The table as strict JSON: every field of a candidate; what is not known is null."""
    rows = [{field.name: getattr(c, field.name) for field in fields(Candidate)} for c in candidates]
    whole = {
        "format": _JSON_FORMAT,
        "software": {"mwaconvert": __version__},
        "search": facts.lines(),
        "candidates": rows,
    }
    return strict_json(plain(whole)) + "\n"


def _cell(value: float | None, how: str) -> str:
    """A value as the table has it; what is not known is empty."""
    return "" if value is None or math.isnan(value) else format(value, how)


def list_text(path: Path, candidates: Sequence[Candidate], facts: SearchFacts) -> str:
    """Candidates as text in the format that the ending of a name stands for, in any case.

    Parameters
    ----------
    path : .csv, .ecsv, .json, .singlepulse, .cand or .trigger
    candidates : of `transients.search.Search.candidates`, best first
    facts : of the search

    Raises
    ------
    InputError : another ending
    """
    by_time = sorted(candidates, key=lambda c: c.time_s)
    match path.suffix.lower():
        case ".csv":
            return csv_text(candidates, facts)
        case ".ecsv":
            return ecsv_text(candidates, facts)
        case ".json":
            return json_text(candidates, facts)
        case ".singlepulse":
            return "\n".join([_PRESTO, *(_presto_line(c, facts) for c in by_time)]) + "\n"
        case ".cand":
            return "".join(_heimdall_line(c, facts) + "\n" for c in candidates)
        case ".trigger":
            return "\n".join([f"# {_AMBER_NAMES}", *(_amber_line(c, facts) for c in by_time)]) + "\n"
    raise InputError(f"{path}: candidates are written as {', '.join(SUFFIXES)}")


def _presto_line(c: Candidate, facts: SearchFacts) -> str:
    sample, width = round(c.time_s / facts.dt_s), _width(c, facts)
    return f"{c.dm:7.2f} {c.snr:7.2f} {c.time_s:13.6f} {sample:10d}     {width:3d}"


def _heimdall_line(c: Candidate, facts: SearchFacts) -> str:
    width = _width(c, facts)
    begin = round(c.time_s / facts.dt_s - width / 2)
    return (
        f"{c.snr:.4f}\t{round(c.time_s / facts.dt_s)}\t{c.time_s:.6f}\t{round(np.log2(width))}\t{_trial(c, facts)}\t"
        f"{c.dm:.4f}\t{c.n_detections}\t{begin}\t{begin + width}"
    )


def _amber_line(c: Candidate, facts: SearchFacts) -> str:
    start_s = c.time_s - c.width_s / 2
    return (
        f"{c.beam} 0 {round(start_s / facts.dt_s)} {_width(c, facts)} 1 {start_s:.6g} {_trial(c, facts)} {c.dm:g} "
        f"{c.n_detections} {c.snr:.6g}"
    )


def _width(c: Candidate, facts: SearchFacts) -> int:
    """Samples of the boxcar."""
    return max(1, round(c.width_s / facts.dt_s))


def _trial(c: Candidate, facts: SearchFacts) -> int:
    """Number of the DM nearest to that of a candidate."""
    return int(np.abs(facts.dms - c.dm).argmin())


def write_candidates(
    path: Path, candidates: Sequence[Candidate], facts: SearchFacts, *, overwrite: bool = False
) -> None:
    """Write candidates; the ending of the name decides how.

    Parameters
    ----------
    path : .csv, .ecsv, .json, or .singlepulse (PRESTO), .cand (heimdall), .trigger (AMBER)
    candidates : best first
    facts : of the search, as `transients.search.Search.facts` has them
    overwrite : replace an existing file

    Raises
    ------
    InputError : the ending is not one of these, or the file exists
    """
    text = list_text(path, candidates, facts)
    with StagedPath(path, overwrite) as staged:
        staged.temporary.write_text(text, "utf-8", "backslashreplace")


def read_list(path: Path, dt_s: float | None = None) -> list[Candidate]:
    """Read a list of candidates; its content decides whose it is.

    Parameters
    ----------
    path : .csv, .ecsv, .json, .singlepulse, .cand or .trigger of any generation
    dt_s : seconds per sample, which lists of other programs do not state. With it widths are in seconds too, and the
        times of AMBER, which are those of the start of a boxcar, become those of its middle; without it they stay as
        they are in the list, and `width_s` is NaN

    Returns
    -------
    list of Candidate
        in the order of the file

    Raises
    ------
    FormatError : it is none of these, or a line is damaged

    Examples
    --------
    >>> path, head = Path("burst.singlepulse"), "# DM Sigma Time (s) Sample Downfact"
    >>> text = f"{head}\\n 56.70 9.30 1.250000 1250 4\\n"
    >>> path.write_text(text) > 0
    True
    >>> read_list(path, dt_s=1e-3)
    [<Candidate: t = 1.25000 s, DM = 56.700, S/N = 9.30, width = 4 ms>]
    """
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{path}: expected a list of candidates, found bytes that are not text") from None
    if text.lstrip().startswith("{"):
        return _read_json(path, text)
    if text.startswith("# %ECSV"):
        return _read_ecsv(path, text)
    lines = [(k, line.strip()) for k, line in enumerate(text.splitlines(), 1) if line.strip()]
    comments = [line for _, line in lines if line.startswith("#")]
    rows = [(k, line) for k, line in lines if not line.startswith("#")]
    # earlier releases wrote no score, and no flags before that
    names = [*_COLUMNS, _FLAGS, _SCORE, *_BEAMS]
    if rows and rows[0][1] in [",".join(names[: len(_COLUMNS) + n]) for n in (0, 1, 2, 4)]:
        return [_own(path, k, line) for k, line in rows[1:]]
    if comments and "Downfact" in comments[0]:
        return [_listed(v[2], v[0], v[1], v[4], dt_s) for v in _numbers(path, rows, {5})]
    for comment in comments:
        names = comment.lstrip("# ").split()
        if "integration_step" in names:
            return _read_amber(path, names, rows, dt_s)
    if not rows:
        raise FormatError(f"{path}: there is no candidate and no header of a known list in it")
    # heimdall writes no header; pipelines that merge beams add columns
    return [
        _listed(v[2], v[5], v[0], 2.0 ** min(v[3], 62.0), dt_s, beam=int(v[12]) if len(v) > 12 else 0)
        for v in _numbers(path, rows, {9, 14, 15})
    ]


def _listed(
    time_s: float, dm: float, snr: float, width: float, dt_s: float | None, beam: int = 0
) -> Candidate:
    """A candidate of another program, whose width is in samples."""
    width_s = NOT_KNOWN if dt_s is None else width * dt_s
    return Candidate(time_s=time_s, dm=dm, snr=snr, width_s=width_s, width_samples=width, beam=beam)


def _own(path: Path, k: int, line: str) -> Candidate:
    """A row of our own table."""
    words = line.split(",")
    try:
        beams = dict(zip(_BEAMS, map(int, words[-2:]), strict=True)) if len(words) > len(_COLUMNS) + 2 else {}
        words = words[: len(words) - len(beams)]
        score = float(words.pop() or NOT_KNOWN) if len(words) > len(_COLUMNS) + 1 else NOT_KNOWN
        flags = tuple(Flag(name) for name in words.pop().split()) if len(words) > len(_COLUMNS) else ()
        values: dict[str, Any] = dict(zip(_COLUMNS, words, strict=True))
        values = {
            name: int(word) if name == "n_detections" else float(word)
            for name, word in values.items()
            if word
        }
        return Candidate(**values, **beams, flags=flags, score=score)
    except (ValueError, TypeError):
        expected = f"{len(_COLUMNS)} numbers, {','.join(_COLUMNS)}"
        raise FormatError(f"{path}: line {k}: expected {expected}, found {line[:60]!r}") from None


def _read_json(path: Path, text: str) -> list[Candidate]:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}: not valid JSON: {error}") from None
    if whole.get("format") != _JSON_FORMAT or not isinstance(whole.get("candidates"), list):
        raise FormatError(
            f"{path}: expected JSON of the format '{_JSON_FORMAT}', found {whole.get('format')!r}"
        )
    return [_of_facts(path, k, row) for k, row in enumerate(whole["candidates"], 1)]


def _read_ecsv(path: Path, text: str) -> list[Candidate]:
    from astropy.table import Table

    try:
        table = Table.read(text.splitlines(), format="ascii.ecsv")
    except Exception as error:  # astropy raises whatever a damaged header leads to
        raise FormatError(f"{path}: not a sound ECSV table: {error}") from error
    # text that is empty is masked
    rows = [
        {name: None if row[name] is np.ma.masked else row[name].item() for name in table.colnames}
        for row in table
    ]
    return [_of_facts(path, k, row) for k, row in enumerate(rows, 1)]


def _of_facts(path: Path, k: int, row: Any) -> Candidate:
    """A candidate from its fields by name."""
    values: dict[str, Any] = {}
    try:
        for field in fields(Candidate):
            held = row.get(field.name)
            if held is None or (isinstance(held, float) and math.isnan(held)):
                continue
            if field.name == "flags":
                names = held.split() if isinstance(held, str) else held
                values["flags"] = tuple(Flag(name) for name in names)
            else:
                values[field.name] = int(held) if isinstance(field.default, int) else float(held)
        return Candidate(**values)
    except (ValueError, TypeError, AttributeError):
        expected = ", ".join(field.name for field in fields(Candidate))
        raise FormatError(f"{path}: candidate {k}: expected {expected}, found {str(row)[:80]}") from None


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


def _read_amber(
    path: Path, names: list[str], rows: list[tuple[int, str]], dt_s: float | None
) -> list[Candidate]:
    if names != _AMBER.get(len(names), "").split():
        known = ", ".join(map(str, _AMBER))
        raise FormatError(f"{path}: its header names {len(names)} columns, expected AMBER's {known}: {names}")
    at = {name.lower(): k for k, name in enumerate(names)}
    beam = at.get("beam_id", at.get("beam", 0))
    found = []
    for v in _numbers(path, rows, {len(names)}):
        width = v[at["integration_step"]]
        middle_s = v[at["time"]] + (0 if dt_s is None else width * dt_s / 2)
        found.append(_listed(middle_s, v[at["dm"]], v[at["snr"]], width, dt_s, beam=int(v[beam])))
    return found
