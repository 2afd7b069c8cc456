"""A dedispersion from a request to a waterfall, a filterbank or a time series."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import __version__
from mwaconvert.errors import InputError
from mwaconvert.formats.spectra.masks import read_mask
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.machine import own_memory_bytes
from mwaconvert.progress import Progress
from mwaconvert.spectra.dispersion import Reference, delay_per_dm, reference_mhz
from mwaconvert.spectra.recording import Frame
from mwaconvert.spectra.stream import Stream
from mwaconvert.text import size_text
from mwaconvert.transients.clean.cleaning import Cleaning
from mwaconvert.transients.cleaned import CleanedStream
from mwaconvert.transients.dedispersion import Dedispersion, plan_dedispersion
from mwaconvert.transients.prepare import Preparation
from mwaconvert.transients.products import common
from mwaconvert.transients.products.report import FileKind, ProductFile, ProductReport
from mwaconvert.transients.products.requests import DedisperseRequest

#: endings of what can be written
KINDS = {
    ".npz": FileKind.WATERFALL,
    ".fil": FileKind.FILTERBANK,
    ".sf": FileKind.FILTERBANK,
    ".h5": FileKind.FILTERBANK,
    ".tim": FileKind.SERIES,
    ".dat": FileKind.SERIES,
}


@dataclass(frozen=True, eq=False)
class DedispersePlan:
    """How a file is dedispersed, and what is written: made by `plan_dedisperse`."""

    request: DedisperseRequest
    work: Dedispersion  #: its scales are not known yet
    memory_bytes: int  #: with that of the process

    @property
    def suffix(self) -> str:
        """Which of `KINDS` is written."""
        return self.request.target.suffix.lower()

    @property
    def kind(self) -> FileKind:
        """What is written."""
        return KINDS[self.suffix]

    def lines(self) -> dict[str, str]:
        """What would be done, by name."""
        work, stream = self.work, self.work.stream
        return stream.facts() | {
            "DM": f"{work.dm:g} pc/cm^3 (K = {stream.k_dm:.9g} MHz^2 s cm^3 / pc)",
            "reference": _reference_text(self.request, stream),
            "sweep": f"{work.sweep} samples, {work.sweep * stream.dt_s:.6g} s",
            "output": f"{self.request.target}: {work.n_sub} sub-bands of {work.tscrunch * stream.dt_s * 1e6:g} us",
            "gulps": f"{-(-stream.n_times // work.gulp)} of {work.gulp} samples",
            "memory": f"about {size_text(self.memory_bytes)}",
        }

    def run(self, progress: Progress | None = None) -> ProductReport:
        """Dedisperse, write and report.

        Parameters
        ----------
        progress : told of the stages scaling and dedispersing

        Raises
        ------
        InputError : the output exists
        ResourceError : it takes more memory than is allowed, or the output cannot be written
        """
        started = time.perf_counter()
        request, work = self.request, self.work
        common.check_memory(request.path, self.memory_bytes, request)
        if request.scale:
            found = common.found_scales(work.prepare, work.stream, request.threads, progress)
            work = replace(work, prepare=found)
        clipped = _write(work, request, progress)
        notes = []
        if clipped:
            notes.append(
                f"{clipped} values did not fit into {request.n_bits} bits and were clipped; see `n_bits`"
            )
        numbers = {
            "dm": work.dm,
            "n_sub": work.n_sub,
            "dt_s": work.tscrunch * work.stream.dt_s,
            "sweep_s": work.sweep * work.stream.dt_s,
            "reference_mhz": reference_mhz(work.stream.freq_mhz, request.reference),
            "n_clipped": clipped,
            "memory_bytes": self.memory_bytes,
        }
        output = ProductFile.of(request.target, self.kind)
        return common.finish(request, (work.stream,), numbers, (output,), started, notes=tuple(notes))


def plan_dedisperse(request: DedisperseRequest) -> DedispersePlan:
    """Decide how to dedisperse, and refuse what cannot be done.

    Parameters
    ----------
    request : what is asked for

    Raises
    ------
    InputError : a value that makes no sense, an output that exists, a sweep that is longer than the file
    FormatError : the file is damaged
    """
    request.check()
    dm, target = request.known_dm, request.target
    suffix = target.suffix.lower()
    common.check_suffix(target, KINDS)
    if request.n_bits is not None and suffix not in (".fil", ".sf"):
        raise InputError("`n_bits` is for .fil and .sf; other outputs are float32", option="n_bits")
    series = KINDS[suffix] is FileKind.SERIES
    if request.n_sub is not None and series:
        raise InputError(
            f"`n_sub` does not go with {suffix}, which holds the sum over all channels", option="n_sub"
        )
    stream = common.open_file(request.path, request)
    prepare = common.masked_channels(stream, request)
    if request.clean:
        stream = _cleaned(stream, request, prepare)
        prepare = Preparation()
    work = plan_dedispersion(
        stream,
        dm,
        n_sub=request.n_sub,
        tscrunch=request.tscrunch,
        reference=_known_reference(request),
        gulp=request.gulp,
        threads=request.threads,
    )
    outputs = [target, target.with_suffix(".inf")] if suffix == ".dat" else [target]
    common.check_outputs(request, [request.path, *request.mask_files], outputs)
    if request.scale:
        prepare = common.planned_scales(prepare, stream)
    work = replace(work, prepare=prepare)
    if KINDS[suffix] is FileKind.WATERFALL:
        needed = work.spectra_memory_bytes
    else:
        needed = work.series_memory_bytes if series else work.memory_bytes
        work.need_complete()
    if isinstance(stream, CleanedStream):
        needed += stream.memory_bytes
    return DedispersePlan(request, work, needed + own_memory_bytes())


def _cleaned(stream: Stream, request: DedisperseRequest, prepare: Preparation) -> CleanedStream:
    """The file as it is after cleaning."""
    across_s = float(delay_per_dm(stream.freq_mhz, "top", stream.k_dm).max())
    masks = tuple(read_mask(path, stream) for path in request.mask_files)
    return CleanedStream(
        stream,
        Cleaning(baseline=request.baseline, channels=request.bad_channels, impulses=request.impulses),
        prepare,
        masks,
        sweep=min(stream.n_times, int(max(0.0, request.known_dm - stream.dm) * across_s / stream.dt_s)),
        threads=request.threads,
    )


def _write(work: Dedispersion, request: DedisperseRequest, progress: Progress | None) -> int:
    """Write what was asked for; how many values were clipped."""
    target, overwrite = request.target, request.overwrite
    suffix = target.suffix.lower()
    if suffix == ".npz":
        from mwaconvert.formats.spectra.wfall import write_wfall

        reference = (
            None if request.reference == "top" else reference_mhz(work.stream.freq_mhz, request.reference)
        )
        write_wfall(target, work.spectra(progress), reference_mhz=reference, overwrite=overwrite)
        return 0
    if suffix == ".dat":
        _write_presto(work, request, progress)
        return 0
    if suffix == ".h5":
        _write_fbh5(work, request, progress)
        return 0
    if suffix == ".sf":
        _write_psrfits(work, request, progress)
        return 0
    series = suffix == ".tim"
    with FilterbankWriter(
        target,
        work.stream.freq_mhz[-1:] if series else _centres(work),
        work.stream.dt_s * work.tscrunch,
        request.n_bits or (8 if _whole_bytes(work) and not series else 32),
        dm=work.dm,
        series=series,
        start_mjd=_start_mjd(work),
        source=work.stream.source,
        rawdatafile=_origin(work, request),
        header=_header(work),
        overwrite=overwrite,
    ) as writer:
        for piece in _rows(work, progress, series=series):
            writer.write(piece)
            del piece  # not beside the next one
    return writer.clipped


def _rows(
    work: Dedispersion, progress: Progress | None, *, series: bool
) -> Iterator[npt.NDArray[np.uint8] | npt.NDArray[np.float32]]:
    """(n_chan, n_times) blocks, of one channel if it is a series."""
    if series:
        for piece in work.series(progress):
            yield piece[None]
        return
    for block in work.blocks(work.need_complete(), progress):
        yield block.data
        del block


def _write_psrfits(work: Dedispersion, request: DedisperseRequest, progress: Progress | None) -> None:
    from mwaconvert.formats.spectra.psrfits_writer import SearchWriter

    with SearchWriter(
        request.target,
        _centres(work),
        work.stream.dt_s * work.tscrunch,
        request.n_bits or (8 if _whole_bytes(work) else 32),
        dm=work.dm,
        start_mjd=_start_mjd(work),
        source=work.stream.source,
        recording=work.stream.recording,
        overwrite=request.overwrite,
    ) as writer:
        for block in work.blocks(work.need_complete(), progress):
            writer.write(block.data, block.weights)
            del block  # not beside the next one


def _write_presto(work: Dedispersion, request: DedisperseRequest, progress: Progress | None) -> None:
    from mwaconvert.formats.spectra.presto import SeriesInfo, write_series

    stream = work.stream
    info = SeriesInfo(
        stream.dt_s * work.tscrunch,
        len(work.need_complete()) // work.tscrunch,
        work.dm,
        float(stream.freq_mhz[0]),
        stream.df_mhz,
        stream.n_chan,
        _start_mjd(work) or 0.0,
        stream.source,
        telescope=stream.recording.telescope,
        barycentric=stream.recording.frame is Frame.BARYCENTRIC,
        ra_deg=stream.recording.ra_deg,
        dec_deg=stream.recording.dec_deg,
        notes=f"{_origin(work, request)}; delays relative to {_reference_words(request)}",
    )
    write_series(request.target, info, work.series(progress), overwrite=request.overwrite)


def _write_fbh5(work: Dedispersion, request: DedisperseRequest, progress: Progress | None) -> None:
    from mwaconvert.formats.spectra.hdf5 import Fbh5Writer

    stream = work.stream
    about = {
        "tstart": _start_mjd(work),
        "source_name": stream.source,
        "rawdatafile": _origin(work, request),
    }
    if work.dm:
        about |= {"refdm": work.dm, "data_type": 6}
    dtype = np.uint8 if _whole_bytes(work) else np.float32
    dt_s = stream.dt_s * work.tscrunch
    head = _header(work) | about
    target, centres = request.target, _centres(work)
    with Fbh5Writer(target, centres, dt_s, dtype, header=head, overwrite=request.overwrite) as h5:
        for piece in _rows(work, progress, series=False):
            h5.write(piece)
            del piece  # not beside the next one


def _header(work: Dedispersion) -> dict[str, Any]:
    """Keywords of SIGPROC for what is known of the recording."""
    return work.stream.recording.to_sigproc()


def _centres(work: Dedispersion) -> npt.NDArray[np.float64]:
    """(n_sub) MHz, centres of the sub-bands."""
    centres: npt.NDArray[np.float64] = work.stream.freq_mhz.reshape(work.n_sub, -1).mean(1)
    return centres


def _whole_bytes(work: Dedispersion) -> bool:
    """Whether values stay whole numbers of 8 bits."""
    as_they_are = work.prepare.mean is None and work.n_sub == work.stream.n_chan and work.tscrunch == 1
    return as_they_are and np.dtype(work.stream.dtype) == np.uint8


def _start_mjd(work: Dedispersion) -> float | None:
    """UTC of the first sample for which all channels are within the file."""
    stream = work.stream
    first = work.need_complete().start
    return None if stream.start_mjd is None else stream.start_mjd + first * stream.dt_s / 86400


def _origin(work: Dedispersion, request: DedisperseRequest) -> str:
    """Where the data are from, for headers."""
    told = "" if request.reference == "top" else f", reference {request.reference}"
    return f"{work.stream.path.name}; mwaconvert {__version__}, K = {work.stream.k_dm:.9g}{told}"


def _known_reference(request: DedisperseRequest) -> Reference:
    """The reference frequency, with the option that is to blame if there is none of that name.

    Raises
    ------
    InputError
    """
    try:
        reference_mhz(np.ones(1), request.reference)
    except InputError as error:
        raise InputError(f"`reference={request.reference}`: {error}", option="reference") from None
    return request.reference


def _reference_words(request: DedisperseRequest) -> str:
    words = {
        "top": "the highest channel",
        "bottom": "the lowest channel",
        "centre": "the centre of the band",
        "infinity": "infinite frequency",
    }
    return words.get(str(request.reference), f"{request.reference} MHz")


def _reference_text(request: DedisperseRequest, stream: Stream) -> str:
    return f"{_reference_words(request)}, {reference_mhz(stream.freq_mhz, request.reference):.6f} MHz"
