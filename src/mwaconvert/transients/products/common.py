"""What all products share: the file they open, channels that are masked and scaled, memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.formats.spectra.choices import Choices
from mwaconvert.formats.spectra.presto import file_of
from mwaconvert.formats.spectra.reader import open_stream
from mwaconvert.machine import free_bytes, peak_memory_bytes
from mwaconvert.progress import Progress
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.stream import Stream, StreamPart
from mwaconvert.staging import Kind, check_targets, kind_of, write_json
from mwaconvert.text import size_text
from mwaconvert.transients.periodicity.candidate import PeriodCandidate
from mwaconvert.transients.prepare import Preparation, channel_statistics, select_channels
from mwaconvert.transients.products.report import InputFile, ProductFile, ProductReport
from mwaconvert.transients.products.requests import SearchRequest, SeveralRequest, SpectraRequest

_log = logging.getLogger(__name__)


def open_file(path: Path, request: SpectraRequest) -> Stream:
    """Open a file of spectra or voltages, those that continue it, and of them what was asked for."""
    stream = open_stream(
        [path, *request.continued],
        band_mhz=request.band_mhz,
        channels=request.channels,
        average=request.average,
        choices=Choices(
            pol=request.pol,
            use_weights=request.use_weights,
            use_scales=request.use_scales,
            use_offsets=request.use_offsets,
        ),
    )
    if request.k_dm is not None:
        stream.k_dm = request.k_dm
    if isinstance(request, SearchRequest) and request.barycentric:
        check_barycentric(stream)
    if request.start_s is None and request.end_s is None:
        return stream
    return _part(stream, request.start_s or 0.0, request.end_s)


def check_barycentric(stream: Stream) -> None:
    """Refuse before the work what barycentric times cannot be made of.

    Raises
    ------
    InputError
    """
    from mwaconvert.transients.barycentre import check_known

    if stream.start_mjd is None:
        raise InputError(f"{stream.path}: there is no start time in it: barycentric times need it")
    try:
        check_known(stream.recording)
    except InputError as error:
        raise InputError(f"{stream.path}: {error}", option="barycentric", path=stream.path) from None


def _part(stream: Stream, start_s: float, end_s: float | None) -> Stream:
    """What is between two times."""
    first = int(start_s / stream.dt_s + 1e-6)
    last = stream.n_times if end_s is None else min(stream.n_times, int(np.ceil(end_s / stream.dt_s - 1e-6)))
    if first >= stream.n_times:
        raise InputError(
            f"{stream.path}: `start_s={start_s:g}`: the data last {stream.n_times * stream.dt_s:.6g} s",
            option="start_s",
            path=stream.path,
        )
    part = StreamPart(stream, first, max(1, last - first))
    if first:
        part.notes = (
            *part.notes,
            f"times are counted from {first * stream.dt_s:.6f} s of the file, see `start_s`",
        )
    return part


def check_one(request: SeveralRequest) -> None:
    """Refuse files of several observations, each of which has a request of its own.

    Raises
    ------
    InputError
    """
    from mwaconvert.transients.products.observations import observations

    if request.continued and len(found := observations(request)) > 1:
        raise InputError(
            f"{request.path}: the files are {len(found)} observations: ask for each of them, or say with `grouping` "
            "that they are one",
            option="grouping",
            path=request.path,
        )


def check_suffix(path: Path, suffixes: Iterable[str]) -> None:
    """Refuse a name with another ending.

    Raises
    ------
    InputError
    """
    if path.suffix.lower() not in suffixes:
        raise InputError(
            f"{path}: expected a name that ends in {', '.join(suffixes)}", option="output", path=path
        )


def check_outputs(request: SpectraRequest, inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Refuse outputs that must not be written, before the work; the report is one of them.

    Raises
    ------
    InputError : an output is an input, or exists and must not be replaced
    ResourceError : its folder cannot be written
    """
    targets = [(path, kind_of(path)) for path in outputs]
    if request.report is not None:
        targets.append((request.report, Kind.JSON))
    read = [file for path in (*inputs, *request.continued) for file in _input_files(path)]
    check_targets(targets, inputs=read, overwrite=request.overwrite)


def _input_files(path: Path) -> list[Path]:
    """All files that are read with one: the chunks in a folder, both files of a series."""
    if path.is_dir():
        return [file for file in path.iterdir() if file.is_file()]
    if path.suffix.lower() in (".dat", ".inf"):
        return [file_of(path, ".inf"), file_of(path, ".dat")]
    return [path]


def masked_channels(stream: Stream, request: SpectraRequest) -> Preparation:
    """Channels that are left out by number or frequency.

    Raises
    ------
    InputError : there is no such channel, or none is left
    """
    try:
        return Preparation(select_channels(stream.freq_mhz, list(request.mask), list(request.mask_mhz)))
    except InputError as error:
        raise InputError(
            f"{stream.path}: {error}; see `mask` and `mask_mhz`", option="mask", path=stream.path
        ) from None


def planned_scales(prepare: Preparation, stream: Stream) -> Preparation:
    """As if scales were known: what they are takes a pass through the file, which a plan does not make."""
    return replace(prepare, mean=np.zeros(stream.n_chan), std=np.ones(stream.n_chan))


def found_scales(
    prepare: Preparation, stream: Stream, threads: int, progress: Progress | None
) -> Preparation:
    """Mean and variation of each channel, by one pass through the file."""
    mean, std = channel_statistics(stream, progress, threads)
    return replace(prepare, mean=mean, std=std, threads=threads)


def check_memory(
    path: Path, needed: int, request: SpectraRequest, advice: str = "take lower DMs or a smaller `gulp`"
) -> None:
    """Refuse what does not fit.

    Parameters
    ----------
    advice : what to do about it

    Raises
    ------
    ResourceError : it takes more than allowed, or more than the machine has
    """
    if request.max_memory_gib is not None:
        allowed, what = int(request.max_memory_gib * 2**30), "`max_memory_gib` allows"
    else:
        allowed, what = free_bytes(), "this machine has free"
    if needed > allowed:
        raise ResourceError(
            f"{path}: this takes {size_text(needed)} of memory, {what} {size_text(allowed)}: {advice}",
            option="gulp",
            path=path,
        )


def finish(
    request: SpectraRequest,
    streams: tuple[Stream, ...],
    numbers: Mapping[str, Any],
    outputs: tuple[ProductFile, ...],
    started: float,
    *,
    candidates: tuple[Candidate, ...] | tuple[PeriodCandidate, ...] = (),
    notes: tuple[str, ...] = (),
) -> ProductReport:
    """The report of what was done, written where it was asked for.

    Parameters
    ----------
    started : `time.perf_counter` at the beginning
    """
    if isinstance(request, SearchRequest):
        pulses = [c for c in candidates if isinstance(c, Candidate)]
        numbers = dict(numbers) | _measures(request, streams[0], pulses)
    own = tuple(note for stream in streams for note in stream.notes)
    report = ProductReport(
        request,
        tuple(InputFile.of(stream) for stream in streams),
        numbers,
        outputs,
        candidates,
        (*own, *notes),
        time.perf_counter() - started,
        peak_memory_bytes(),
    )
    _say(report)
    if request.report is not None:
        write_json(request.report, report.to_dict(), overwrite=request.overwrite)
    return report


def _say(report: ProductReport) -> None:
    """Log lines of what was read, decided and written."""
    for file in report.inputs:
        _log.info("read %s: %s, %d channels, %d samples", file.path, file.format, file.n_chan, file.n_times)
    for name, value in report.numbers.items():
        _log.info("%s: %s", name, value)
    for note in report.notes:
        _log.info("note: %s", note)
    for written in report.outputs:
        _log.info("written: %s (%s)", written.path, written.kind.value)
    _log.info("done in %.3g s", report.wall_s)


def _measures(request: SearchRequest, stream: Stream, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """What is asked for of each candidate beyond the search, in their order."""
    found: dict[str, Any] = {}
    if request.barycentric:
        from mwaconvert.transients.barycentre import barycentric_mjd

        times = np.array([np.nan if c.mjd is None else c.mjd for c in candidates])
        found["mjd_barycentric"] = (
            barycentric_mjd(
                times,
                stream.recording,
                dms=[c.dm for c in candidates],
                freq_mhz=float(stream.freq_mhz[-1]),
                k_dm=stream.k_dm,
            ).tolist()
            if candidates
            else []
        )
    if request.gain_k_jy is not None and request.tsys_k is not None:
        from mwaconvert.transients.flux import Receiver

        masked = masked_channels(stream, request).masked
        n_used = stream.n_chan if masked is None else int((~masked).sum())
        receiver = Receiver(
            gain_k_jy=request.gain_k_jy,
            tsys_k=request.tsys_k,
            bandwidth_mhz=n_used * (stream.df_mhz or 1.0),
            n_pol=1 if request.pol is not None else 2,
        )
        found["flux_density_jy"] = [receiver.flux_density_jy(c) for c in candidates]
        found["fluence_jy_ms"] = [receiver.fluence_jy_ms(c) for c in candidates]
    return found
