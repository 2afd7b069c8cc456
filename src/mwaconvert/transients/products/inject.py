"""Pulses added to a file: a filterbank with them, and a table of what they are."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mwaconvert import __version__
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.machine import own_memory_bytes
from mwaconvert.progress import Progress, Stage
from mwaconvert.spectra.stream import Stream
from mwaconvert.staging import StagedPath
from mwaconvert.text import size_text
from mwaconvert.transients.injection import InjectedStream, channel_noise, random_pulses, truth_table, with_dm
from mwaconvert.transients.products import common
from mwaconvert.transients.products.report import FileKind, ProductFile, ProductReport
from mwaconvert.transients.products.requests import InjectRequest

_GULP_BYTES = 16 << 20
_WIDEST = 64  # samples, of pulses by default


@dataclass(frozen=True, eq=False)
class InjectPlan:
    """What is added, and what is written: made by `plan_inject`."""

    request: InjectRequest
    stream: Stream
    masked: npt.NDArray[np.bool_] | None  #: (n_chan) channels that get nothing
    gulp: int  #: samples at a time
    memory_bytes: int  #: with that of the process

    @property
    def widths_s(self) -> tuple[float, float]:
        """Range of widths."""
        dt_s = self.stream.dt_s
        return self.request.widths_s or (dt_s, _WIDEST * dt_s)

    def lines(self) -> dict[str, str]:
        """What would be done, by name."""
        low, high = self.request.dm_range
        narrow, wide = self.widths_s
        return self.stream.facts() | {
            "pulses": f"{self.request.n_pulses} of DM {low:g} to {high:g} pc/cm^3, {1e3 * narrow:.4g} to "
            f"{1e3 * wide:.4g} ms, S/N {self.request.snrs[0]:g} to {self.request.snrs[1]:g}",
            "output": f"{self.request.target}, and {self.request.target.with_suffix('.csv')}",
            "memory": f"about {size_text(self.memory_bytes)}",
        }

    def run(self, progress: Progress | None = None) -> ProductReport:
        """Add pulses and write.

        Parameters
        ----------
        progress : told of the stages scaling and dedispersing

        Raises
        ------
        InputError : the file is too short for a sweep, or an output exists
        ResourceError : it takes more memory than is allowed, or an output cannot be written
        """
        started = time.perf_counter()
        request, stream = self.request, self.stream
        common.check_memory(request.path, self.memory_bytes, request)
        pulses = [
            replace(p, scattering_s=request.scattering_s, index=request.index)
            for p in random_pulses(
                stream, request.n_pulses, request.dm_range, self.widths_s, request.snrs, request.seed
            )
        ]
        noise = channel_noise(stream, progress, request.threads)
        if self.masked is not None:
            noise = np.where(self.masked, 0.0, noise)
        injected = InjectedStream(stream, with_dm(pulses, stream.dm), noise, request.seed)
        bits = 8 if np.dtype(stream.dtype) == np.uint8 else 32
        with FilterbankWriter(
            request.target,
            stream.freq_mhz,
            stream.dt_s,
            bits,
            start_mjd=stream.start_mjd,
            source=stream.source,
            dm=stream.dm,
            header=stream.recording.to_sigproc(),
            rawdatafile=f"{stream.path.name} with {len(pulses)} pulses by mwaconvert {__version__}",
            overwrite=request.overwrite,
        ) as writer:
            for first in range(0, stream.n_times, self.gulp):
                count = min(self.gulp, stream.n_times - first)
                writer.write(injected.spectra(first, count, request.threads).data)
                if progress is not None:
                    progress(Stage.DEDISPERSING, first + count, stream.n_times)
        table = request.target.with_suffix(".csv")
        with StagedPath(table, request.overwrite) as staged:
            staged.temporary.write_text(truth_table(pulses), "utf-8")
        outputs = (
            ProductFile.of(request.target, FileKind.FILTERBANK),
            ProductFile.of(table, FileKind.CANDIDATES),
        )
        return common.finish(request, (stream,), {"n_pulses": len(pulses)}, outputs, started)


def plan_inject(request: InjectRequest) -> InjectPlan:
    """Decide what is added, and refuse what cannot be done.

    Parameters
    ----------
    request : what is asked for

    Raises
    ------
    InputError : a value that makes no sense, or an output that exists
    FormatError : the file is damaged
    """
    request.check()
    common.check_suffix(request.target, (".fil",))
    common.check_outputs(request, [request.path], [request.target, request.target.with_suffix(".csv")])
    stream = common.open_file(request.path, request)
    gulp = request.gulp or max(1, _GULP_BYTES // stream.bytes_per_sample)
    held = min(gulp, stream.n_times) * stream.n_chan * 16
    if stream.frugal:
        held += stream.n_times * stream.bytes_per_sample
    masked = common.masked_channels(stream, request).masked
    return InjectPlan(request, stream, masked, gulp, held + own_memory_bytes())
