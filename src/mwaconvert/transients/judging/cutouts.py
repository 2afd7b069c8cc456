"""Candidates cut out of the data, for classifiers: frequency and time, DM and time, profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert.extras import need
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import Stream
from mwaconvert.staging import StagedPath
from mwaconvert.transients.prepare import Preparation

Floats = npt.NDArray[np.float32]

SIDE = 256  #: samples, channels and DMs of a cut-out, as classifiers of such pictures expect
_PER_WIDTH = 2  # samples of a pulse that are left by averaging


@dataclass(frozen=True, eq=False)
class Cutout:
    """What a classifier looks at; the pulse is in the middle of the times.

    Parameters
    ----------
    candidate : which
    falls : (SIDE, SIDE) time and frequency, the highest channel first, dedispersed; each channel about 0, in units of
        its noise
    plane : (SIDE, SIDE) DM, from that of the data to twice that of the pulse, and time
    dms : (SIDE) of the plane
    dt_s : seconds per sample of both
    """

    candidate: Candidate
    falls: Floats
    plane: Floats
    dms: npt.NDArray[np.float64]
    dt_s: float

    @property
    def profile(self) -> Floats:
        """(SIDE) mean over the channels."""
        return np.asarray(self.falls.mean(1), np.float32)


def cut_out(stream: Stream, candidate: Candidate, prepare: Preparation | None = None) -> Cutout:
    """Read a candidate's data.

    Parameters
    ----------
    stream : where it was found
    candidate : which
    prepare : what is done to the spectra before
    """
    dt_s = stream.dt_s
    factor = max(1, round(candidate.width_s / dt_s) // _PER_WIDTH)
    n_times = SIDE * factor
    dms = np.linspace(stream.dm, max(2 * candidate.dm - stream.dm, stream.dm + 1), SIDE)
    per_dm = delay_per_dm(stream.freq_mhz, "top", stream.k_dm)
    sweep = int(delay_samples(dms[-1] - stream.dm, per_dm / dt_s).max())
    first = round(candidate.time_s / dt_s) - n_times // 2
    piece = piece_of(stream, first, first + n_times + sweep, prepare)
    aligned = piece.dedisperse(candidate.dm)
    falls = aligned.data if aligned.weights is None else aligned.data * (aligned.weights > 0)
    falls = _averaged(_resized(falls[::-1, :n_times].astype(np.float32)), factor)
    plane = _averaged(piece.series(dms)[:, :n_times], factor)
    return Cutout(candidate, np.ascontiguousarray(falls.T), plane, dms, factor * dt_s)


def piece_of(stream: Stream, low: int, high: int, prepare: Preparation | None) -> Spectra:
    """Samples about a pulse, each channel scaled; beyond the ends of the file there is nothing but zeros."""
    first, last = max(0, low), min(stream.n_times, high)
    read = stream.spectra(first, last - first)
    if prepare is not None:
        read = prepare(read)
    read = read.scale()
    data = np.zeros((stream.n_chan, high - low), np.float32)
    weights = np.zeros(data.shape, np.float32)
    place = slice(first - low, last - low)
    data[:, place] = read.data
    held = np.ones((1, 1), np.float32) if read.weights is None else read.weights
    weights[:, place] = held if held.ndim == 2 else held[:, None]
    return replace(read, data=data, weights=weights)


def _averaged(x: Floats, factor: int) -> Floats:
    """Means over time."""
    return np.asarray(x.reshape(x.shape[0], -1, factor).mean(2), np.float32)


def _resized(x: Floats) -> Floats:
    """SIDE channels: means of several, or each of few several times."""
    n = x.shape[0]
    if n < SIDE:
        return np.asarray(x[np.arange(SIDE) * n // SIDE], np.float32)
    first = np.arange(SIDE) * n // SIDE
    number = np.diff(np.append(first, n))
    return np.asarray(np.add.reduceat(x, first, axis=0) / number[:, None], np.float32)


def write_cutout(path: Path, cutout: Cutout, stream: Stream, number: int, *, overwrite: bool = False) -> None:
    """Write a cut-out as HDF5 with the names of `your`, which FETCH reads.

    Parameters
    ----------
    path : .h5
    cutout : of `cut_out`
    stream : the file it is from
    number : of the candidate
    overwrite : replace an existing file

    Raises
    ------
    InputError : h5py is not installed, or the file exists
    """
    h5py = need("h5py", "hdf5", f"writing {path.name}")
    c = cutout.candidate
    with StagedPath(path, overwrite) as staged, h5py.File(staged.temporary, "w") as file:
        file.attrs.update(
            {
                "cand_id": number,
                "tcand": c.time_s,
                "dm": c.dm,
                "dm_opt": c.dm,
                "snr": c.snr,
                "snr_opt": c.snr,
                "width": max(1, round(c.width_s / stream.dt_s)),
                "label": -1,
                "basename": path.stem,
                "filelist": str(stream.path),
                "source_name": stream.source,
                "tsamp": cutout.dt_s,
                "native_tsamp": stream.dt_s,
                "fch1": float(stream.freq_mhz[-1]),
                "foff": -abs(stream.df_mhz),
                "nchans": stream.n_chan,
                "tstart": stream.start_mjd or 0.0,
                "flags": " ".join(c.flags),
            }
        )
        for name, values, axes in (
            ("data_freq_time", cutout.falls, ("time", "frequency")),
            ("data_dm_time", cutout.plane, ("dm", "time")),
            ("profile", cutout.profile, ("time",)),
        ):
            held = file.create_dataset(name, data=values, compression="gzip", compression_opts=4)
            for axis, label in zip(held.dims, axes, strict=True):
                axis.label = label
