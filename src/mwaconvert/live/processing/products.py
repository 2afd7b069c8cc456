"""Files of a beam: a candidate as HDF5, lists and counts; by the names and columns that ARTS knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mwaconvert.errors import FormatError
from mwaconvert.extras import need
from mwaconvert.formats.hdf5_file import open_hdf5_file, read_attributes
from mwaconvert.live.files import whole, write_whole
from mwaconvert.live.processing.extract import Extract, Wanted
from mwaconvert.live.settings import read_yaml


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a classifier says; NaN where there is no model. `model`: its name and hash."""

    freq_time: float = float("nan")
    dm_time: float = float("nan")
    model: str = ""
    scaling: str = ""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Of a beam; -1: not known, as AMBER wrote no header. `left_out`: clusters of storms, the faintest of a batch."""

    raw: int = -1
    clustered: int = -1
    thresholds: int = -1
    classified: int = -1
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class Found:
    """A line of a list of triggers. `p`: probability, or NaN."""

    beam: int
    snr: float
    dm: float
    time_s: float
    width: int
    synthesised: int
    p: float = field(default=float("nan"))


def candidate_name(found: Extract) -> str:
    """As ARTS names it, without an end."""
    w = found.wanted
    return f"TOA{w.time_s:.4f}_DM{w.dm:.2f}_DS{w.width}_SNR{w.snr:.0f}"


def write_candidate(folder: Path, found: Extract, score: Score | None = None) -> Path:
    """Write a candidate as HDF5; another one of the same name is left alone, the same one is written anew.

    Raises
    ------
    InputError
        h5py is not installed.
    """
    h5py = need("h5py", "hdf5", "writing candidates")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{candidate_name(found)}.hdf5"
    number = 1
    while path.exists() and not _is_of(path, found.wanted):
        number += 1
        path = folder / f"{candidate_name(found)}_{number}.hdf5"
    w, score = found.wanted, score or Score()
    buffer = BytesIO()  # HDF5 itself does not survive a disk that is full
    with h5py.File(buffer, "w") as file:
        file.create_dataset("data_freq_time", data=found.freq_time.astype(np.float64))
        file.create_dataset("data_dm_time", data=found.dm_time.astype(np.float64))
        file.attrs.update(
            {
                "nfreq": found.freq_time.shape[0],
                "ntime": found.freq_time.shape[1],
                "ndm": found.dms.size,
                "tsamp": found.dt_s,
                "sb": w.beam,
                "dms": found.dms,
                "dm": found.dm,
                "snr": found.snr,
                "toa": found.time_s,
                "downsamp": found.width,
                "dm_amber": w.dm,
                "snr_amber": w.snr,
                "toa_amber": w.time_s,
                "downsamp_amber": w.width,
                "prob_freqtime": score.freq_time,
                "prob_dmtime": score.dm_time,
                "model": score.model,
                "scaling": score.scaling,
            }
        )
    with whole(path) as beside:
        beside.write_bytes(buffer.getvalue())
    return path


def read_candidate(path: Path) -> tuple[Extract, Score]:
    """What `write_candidate` wrote.

    Raises
    ------
    FormatError
        It is not such a file, or cannot be read.
    """
    try:
        with open_hdf5_file(path) as file:
            facts, planes = (
                read_attributes(file),
                {name: file[f"data_{name}"][:] for name in ("freq_time", "dm_time")},
            )
        wanted = Wanted(
            time_s=float(facts["toa_amber"]),
            dm=float(facts["dm_amber"]),
            snr=float(facts["snr_amber"]),
            width=int(facts["downsamp_amber"]),
            beam=int(facts["sb"]),
        )
        score = Score(
            freq_time=float(facts["prob_freqtime"]),
            dm_time=float(facts["prob_dmtime"]),
            model=str(facts["model"]),
            scaling=str(facts["scaling"]),
        )
        found = Extract(
            wanted=wanted,
            time_s=float(facts["toa"]),
            dm=float(facts["dm"]),
            snr=float(facts["snr"]),
            width=int(facts["downsamp"]),
            dt_s=float(facts["tsamp"]),
            freq_time=planes["freq_time"].astype(np.float32),
            dm_time=planes["dm_time"].astype(np.float32),
            dms=facts["dms"],
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: is not a candidate that was cut out: {error}", path=path) from None
    return found, score


def _is_of(path: Path, wanted: Wanted) -> bool:
    """Whether a file is of this candidate: whoever wrote it may have died before it could say so."""
    names = {
        "toa_amber": "time_s",
        "dm_amber": "dm",
        "snr_amber": "snr",
        "downsamp_amber": "width",
        "sb": "beam",
    }
    try:
        with open_hdf5_file(path) as file:
            facts = read_attributes(file)
            return all(facts.get(key) == getattr(wanted, name) for key, name in names.items())
    except (FormatError, OSError):
        return False


def write_lists(folder: Path, beam: int, found: Sequence[Found], counts: Counts) -> None:
    """CB00_triggers.txt and CB00_summary.yaml, the latter last: who sees it sees all."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{f.beam:02d} {f.snr:.2f} {f.dm:.2f} {f.time_s:.4f} {f.width} {f.synthesised} {f.p:.2f}"
        for f in found
    ]
    _write_lines(folder / f"CB{beam:02d}_triggers.txt", ["#cb snr dm time downsamp sb p", *lines])
    facts = [
        f"ncand_raw: {counts.raw}",
        f"ncand_post_clustering: {counts.clustered}",
        f"ncand_post_thresholds: {counts.thresholds}",
        f"ncand_post_classifier: {counts.classified}",
        f"ncand_left_out: {counts.left_out}",
    ]
    _write_lines(folder / f"CB{beam:02d}_summary.yaml", facts)


def write_clusters(path: Path, found: Sequence[Found]) -> None:
    """grouped_pulses.singlepulse: clusters before anything was cut out."""
    lines = [f"{f.snr:.2f} {f.dm:.2f} {f.time_s:.4f} {f.width} {f.synthesised}" for f in found]
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_lines(path, ["#snr dm time downsamp sb", *lines])


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_whole(path, "\n".join(lines) + "\n")


def read_lists(folder: Path, beam: int) -> tuple[Counts, list[Found]]:
    """What `write_lists` wrote.

    Raises
    ------
    FileNotFoundError
        No summary: the beam is not ready.
    FormatError
    """
    path = folder / f"CB{beam:02d}_summary.yaml"
    facts: Any = read_yaml(path)
    names = ("ncand_raw", "ncand_post_clustering", "ncand_post_thresholds", "ncand_post_classifier")
    try:
        raw, clustered, thresholds, classified = (int(facts[name]) for name in names)
        left_out = int(facts.get("ncand_left_out", 0))  # DARC writes none
    except (KeyError, TypeError, ValueError):
        raise FormatError(f"{path}: expected numbers of {', '.join(names)}", path=path) from None
    counts = Counts(
        raw=raw, clustered=clustered, thresholds=thresholds, classified=classified, left_out=left_out
    )
    return counts, _read_triggers(folder / f"CB{beam:02d}_triggers.txt")


def _read_triggers(path: Path) -> list[Found]:
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        try:
            cb, snr, dm, time_s, width, sb, p = line.split()
            found.append(
                Found(
                    beam=int(cb),
                    snr=float(snr),
                    dm=float(dm),
                    time_s=float(time_s),
                    width=int(width),
                    synthesised=int(sb),
                    p=float(p),
                )
            )
        except ValueError:
            raise FormatError(
                f"{path}: {line[:60]!r}: expected cb snr dm time downsamp sb p", path=path
            ) from None
    return found
