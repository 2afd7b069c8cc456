"""An observation: its metadata and where the visibilities of each timestep and coarse channel lie."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import IntArray
from mwaconvert.conversion.options import OptionValues, spelled
from mwaconvert.errors import FormatError, InputError
from mwaconvert.observation import clock, rawfiles, timemap
from mwaconvert.observation.metafits import channels_per_coarse, read_metadata
from mwaconvert.observation.model import Metadata, RawFile
from mwaconvert.text import html_facts, plural, utc_text

if TYPE_CHECKING:
    from mwaconvert.conversion.plan import Plan

_log = logging.getLogger(__name__)

#: floats of one visibility cell: 4 polarisations, real and imaginary
CELL = 8

#: what plans ask of an HDU
_HDU_FIELDS = (
    ("unix_ms", "i8"),
    ("data_bytes", "i8"),
    ("kind", "i4"),
    ("file", "i4"),
    ("weight_offset", "i8"),
)


@dataclass(frozen=True)
class Observation:
    """What was observed, and what of it is in the raw files.

    Attributes
    ----------
    metadata : fine width, channel count and integration time are those of the raw files
    files : in order of coarse channel and batch
    int_time_ms : length of an integration
    timestep_unix_ms : (n_t,) start of each timestep from the first to the last that any file has, without
        holes
    hdu_index : (n_t, n_coarse) index into `hdus`, -1 where the data are missing; columns are those of
        `metadata.coarse_channels`
    hdus : visibility HDUs of all files: the fields of `_core.scan_fits`, `file` (index into `files`) and
        `weight_offset` (where in the file the data of the weights HDU start, -1 if there are none)
    provided_coarse : indices of coarse channels that have files
    common : timesteps that all provided coarse channels have: the first unbroken run
    common_good : the same for timesteps that start at GOODTIME or later
    notes : sentences on everything unusual
    """

    metadata: Metadata
    files: tuple[RawFile, ...]
    int_time_ms: int
    timestep_unix_ms: IntArray
    hdu_index: npt.NDArray[np.int32]
    hdus: npt.NDArray[np.void]
    provided_coarse: tuple[int, ...]
    common: range
    common_good: range
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        meta = self.metadata
        return (
            f"Observation({meta.obsid}, {meta.correlator}, {plural(meta.n_antennas, 'tile')},"
            f" {plural(len(self.provided_coarse), 'coarse channel')}, {plural(self.n_timesteps, 'timestep')} of"
            f" {meta.int_time_s:g} s)"
        )

    def _repr_html_(self) -> str:
        meta = self.metadata
        channels = [meta.coarse_channels[c] for c in self.provided_coarse]
        return html_facts(
            {
                "observation": f"{meta.obsid} {meta.name}",
                "start": f"{utc_text(meta.sched_start_unix_s)} UTC",
                "correlator": f"{meta.correlator}, {meta.n_fine} channels of {meta.fine_width_hz / 1e3:g} kHz each",
                "tiles": str(meta.n_antennas),
                "receiver channels": ", ".join(str(channel.number) for channel in channels),
                "timesteps": f"{self.n_timesteps} of {meta.int_time_s:g} s",
                "raw files": str(len(self.files)),
                "notes": "; ".join(self.notes) or "none",
            }
        )

    @property
    def n_timesteps(self) -> int:
        return len(self.timestep_unix_ms)

    def input_bytes(self, timesteps: range, coarse: Iterable[int]) -> int:
        """Size of the visibilities of a selection in the raw files."""
        index = self.hdu_index[timesteps.start : timesteps.stop][:, list(coarse)]
        return int(self.hdus["data_bytes"][index[index >= 0]].sum())

    @spelled
    def plan(self, **options: Unpack[OptionValues]) -> Plan:
        """Decide what a conversion will do.

        Parameters
        ----------
        **options : fields of `mwaconvert.Options`

        Raises
        ------
        InputError : options that are unknown, contradict each other or do not suit the observation
        """
        from mwaconvert.conversion.options import make_options
        from mwaconvert.conversion.planner import make_plan

        return make_plan(self, make_options(options))


def open_observation(
    metafits: str | PathLike[str], files: Iterable[str | PathLike[str]] | None = None
) -> Observation:
    """Read the metafits and the headers of the raw files; no data are read.

    Parameters
    ----------
    metafits : metadata file
    files : raw files, or folders of them; None takes those of the same obsid beside the metafits, or in folders
        beside it

    Raises
    ------
    InputError : files that do not exist, are missing, doubled, or of two correlators
    MetadataError : a metafits that cannot be used or belongs to another observation
    FormatError : a raw file that is damaged, or whose size contradicts the metafits
    """
    metadata = read_metadata(Path(metafits))
    paths = (
        rawfiles.find_raw_files(metadata.path, metadata.obsid)
        if files is None
        else rawfiles.expand_folders((Path(path) for path in files), metadata.obsid)
    )
    names = rawfiles.parse_names(paths)
    if names[0].correlator != metadata.correlator:
        # the files know; metafits of early MWAX observations still say legacy
        metadata = read_metadata(metadata.path, names[0].correlator)
    scans = rawfiles.scan_files(names, metadata)
    notes = list(metadata.notes)
    metadata = _as_in_files(metadata, scans, notes)
    tables = [_visibility_hdus(scan, number, metadata, notes) for number, scan in enumerate(scans)]
    hdus = np.concatenate(clock.mend_times(tables, scans, metadata, notes))
    if not hdus.size:
        raise InputError(f"none of the {len(scans)} raw files holds a whole integration")
    coarse = np.array([scan.coarse for scan in scans])[hdus["file"]]
    int_time_ms = round(metadata.int_time_s * 1000)
    times, index = timemap.place(hdus, coarse, int_time_ms, scans, metadata, notes)
    timemap.note_missing(index, scans, metadata, notes)
    good_ms = round(metadata.good_time_unix_s * 1000)
    _log.info(
        "%s: observation %d of %s, %d raw files of %d coarse channels, %d timesteps of %g s",
        metadata.path,
        metadata.obsid,
        metadata.correlator,
        len(scans),
        len({scan.coarse for scan in scans}),
        len(times),
        metadata.int_time_s,
    )
    return Observation(
        metadata=metadata,
        files=tuple(RawFile(scan.name.path, scan.coarse, scan.name.batch) for scan in scans),
        int_time_ms=int_time_ms,
        timestep_unix_ms=times,
        hdu_index=index,
        hdus=hdus,
        provided_coarse=tuple(sorted({scan.coarse for scan in scans})),
        common=timemap.common_run(index >= 0, np.ones(len(times), dtype=bool)),
        common_good=timemap.common_run(index >= 0, times >= good_ms),
        notes=tuple(notes),
    )


def scheduled_observation(metafits: str | PathLike[str]) -> Observation:
    """An observation as its metafits promises it, for plans without data: all channels at all times.

    Raises
    ------
    InputError, MetadataError, FormatError : a metafits that cannot be used
    """
    metadata = read_metadata(Path(metafits))
    int_time_ms = round(metadata.int_time_s * 1000)
    n_times = max(1, round(metadata.sched_duration_s / metadata.int_time_s))
    times = round(metadata.sched_start_unix_s * 1000) + int_time_ms * np.arange(n_times, dtype=np.int64)
    n_bl, n_coarse = metadata.n_antennas * (metadata.n_antennas + 1) // 2, len(metadata.coarse_channels)
    hdus = np.zeros(n_times * n_coarse, dtype=[*_HDU_FIELDS])
    hdus["unix_ms"] = np.repeat(times, n_coarse)
    hdus["data_bytes"] = 4 * CELL * n_bl * metadata.n_fine
    everywhere = np.ones(n_times, dtype=bool)
    provided = np.ones((n_times, n_coarse), dtype=bool)
    return Observation(
        metadata=metadata,
        files=(),
        int_time_ms=int_time_ms,
        timestep_unix_ms=times,
        hdu_index=np.arange(len(hdus), dtype=np.int32).reshape(n_times, n_coarse),
        hdus=hdus,
        provided_coarse=tuple(range(n_coarse)),
        common=timemap.common_run(provided, everywhere),
        common_good=timemap.common_run(provided, times >= round(metadata.good_time_unix_s * 1000)),
        notes=(
            *metadata.notes,
            f"There are no raw files: all {n_coarse} coarse channels and {n_times} timesteps of the schedule are "
            "assumed.",
        ),
    )


def _as_in_files(metadata: Metadata, scans: tuple[rawfiles.RawScan, ...], notes: list[str]) -> Metadata:
    """Metadata with the channel width and integration time of the raw files, if they have them."""
    width_khz = rawfiles.uniform_number(scans, "FINECHAN")
    if width_khz is not None and round(width_khz * 1000) != round(metadata.fine_width_hz):
        n_fine = channels_per_coarse(width_khz * 1000, scans[0].name.path)
        notes.append(
            f"The metafits says fine channels of {metadata.fine_width_hz / 1000:g} kHz, the raw files "
            f"{width_khz:g} kHz; the raw files were followed."
        )
        metadata = replace(metadata, fine_width_hz=width_khz * 1000, n_fine=n_fine)
    int_time_s = rawfiles.uniform_number(scans, "INTTIME")
    if int_time_s is not None and round(int_time_s * 1000) < 1:
        raise FormatError(
            f"{scans[0].name.path}: INTTIME is {int_time_s:g} s; expected at least a millisecond"
        )
    if int_time_s is not None and round(int_time_s * 1000) != round(metadata.int_time_s * 1000):
        notes.append(
            f"The metafits says integrations of {metadata.int_time_s:g} s, the raw files {int_time_s:g} s; "
            "the raw files were followed."
        )
        metadata = replace(metadata, int_time_s=int_time_s)
    return metadata


def _visibility_hdus(
    scan: rawfiles.RawScan, number: int, metadata: Metadata, notes: list[str]
) -> npt.NDArray[np.void]:
    """The visibility HDUs of one file, each with the place of its weights."""
    path, hdus = scan.name.path, scan.hdus
    if hdus.size and hdus["kind"][-1] == rawfiles.KIND_TRUNCATED:
        notes.append(f"{path}: the file ends inside HDU {hdus['hdu'][-1]}; that HDU is treated as missing.")
        hdus = hdus[:-1]
    n_bl = metadata.n_antennas * (metadata.n_antennas + 1) // 2
    if metadata.correlator == "legacy":
        vis = np.ones(len(hdus), dtype=bool)
        expected = (n_bl * CELL, metadata.n_fine)
    else:
        # pairs of visibilities and weights
        vis = (hdus["naxis1"] != CELL // 2) | (hdus["naxis2"] != n_bl)
        expected = (metadata.n_fine * CELL, n_bl)
    wrong = vis & ((hdus["naxis1"] != expected[0]) | (hdus["naxis2"] != expected[1]))
    if wrong.any():
        bad = hdus[wrong][0]
        raise FormatError(
            f"{path}: HDU {bad['hdu']}: expected {expected[0]} x {expected[1]} numbers for "
            f"{metadata.n_antennas} tiles and {metadata.n_fine} fine channels, "
            f"found {bad['naxis1']} x {bad['naxis2']}"
        )
    table = np.zeros(vis.sum(), dtype=[*hdus.dtype.descr, ("file", "i4"), ("weight_offset", "i8")])
    for field in hdus.dtype.names or ():
        table[field] = hdus[field][vis]
    table["file"] = number
    table["weight_offset"] = _weight_offsets(hdus, vis)
    without = table["weight_offset"] < 0
    if metadata.correlator == "mwax" and without.any():
        notes.append(
            f"{path}: integrations without a weights HDU, whose weights are taken as 1: "
            f"{without.sum()} of {len(table)}."
        )
    if not len(table):
        notes.append(f"{path}: the file holds no whole integration.")
    return table


def _weight_offsets(hdus: npt.NDArray[np.void], vis: npt.NDArray[np.bool_]) -> IntArray:
    """Data offset of the weights HDU that follows each visibility HDU, -1 where it does not."""
    following = np.arange(1, len(hdus) + 1)[vis]
    offsets = np.full(len(following), -1, dtype=np.int64)
    inside = following < len(hdus)
    after = hdus[following[inside]]
    before = hdus[vis][inside]
    same_marker = (after["marker"] == before["marker"]) & (after["marker"] >= 0)
    paired = (
        ~vis[following[inside]]
        & ((after["unix_ms"] == before["unix_ms"]) | same_marker)
        & (after["kind"] == rawfiles.KIND_FLOAT32)
    )
    offsets[inside] = np.where(paired, after["data_offset"], -1)
    return offsets
