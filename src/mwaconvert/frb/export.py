"""Waterfalls to files of other programs: SIGPROC, PSRFITS in search mode, fitburst, waterfall .npz, FBH5."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert import __version__
from mwaconvert.errors import InputError
from mwaconvert.spectra.spectra import Spectra, channel_sums
from mwaconvert.staging import check_target, kind_of
from mwaconvert.transients.figures import find_peak, pulse_of


class Format(StrEnum):
    """What is written."""

    SIGPROC = "sigproc"
    PSRFITS = "psrfits"
    FBH5 = "fbh5"
    WFALL = "wfall"
    FITBURST = "fitburst"


_BY_SUFFIX = {".fil": Format.SIGPROC, ".sf": Format.PSRFITS, ".h5": Format.FBH5, ".npz": Format.WFALL}


def format_of(path: Path, named: str | None = None) -> Format:
    """The format of an output: the one that is named, or that of its ending.

    Parameters
    ----------
    path : the output
    named : a value of `Format`

    Raises
    ------
    InputError : the ending is that of no format, or of another one

    Examples
    --------
    >>> format_of(Path("a.npz"), "fitburst").value, format_of(Path("a.fil")).value
    ('fitburst', 'sigproc')
    """
    by_suffix = _BY_SUFFIX.get(path.suffix.lower())
    if by_suffix is None:
        raise InputError(
            f"{path}: expected a name that ends in {', '.join(_BY_SUFFIX)}", option="output", path=path
        )
    chosen = by_suffix if named is None else Format(named)
    other = Format.WFALL if chosen is Format.FITBURST else chosen
    if by_suffix is not other:
        raise InputError(f"{path}: {chosen} is not written to {path.suffix}", option="output", path=path)
    return chosen


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that must not be written, before the work.

    Raises
    ------
    InputError : it exists and must not be replaced
    """
    check_target(path, kind_of(path), overwrite=overwrite)


def write_spectra(
    path: Path, spectra: Spectra, chosen: Format, *, origin: str = "", overwrite: bool = False
) -> None:
    """Write a waterfall; numbers are float32.

    Parameters
    ----------
    path : its ending is that of the format
    spectra : samples of weight 0 become the mean of their channel where a format has no weights (SIGPROC, FBH5)
    chosen : the format
    origin : where the data are from
    overwrite : replace an existing file

    Raises
    ------
    InputError : the output exists, or there is no pulse to guess the parameters of fitburst from
    """
    about = f"{origin}; mwaconvert {__version__}, K = {spectra.k_dm:.9g}"
    if chosen is Format.WFALL:
        from mwaconvert.formats.spectra.wfall import write_wfall

        write_wfall(path, spectra, overwrite=overwrite)
    elif chosen is Format.FITBURST:
        _write_fitburst(path, spectra, overwrite=overwrite)
    elif chosen is Format.PSRFITS:
        from mwaconvert.formats.spectra.psrfits_writer import SearchWriter

        with SearchWriter(
            path,
            spectra.freq_mhz,
            spectra.dt_s,
            32,
            dm=spectra.dm,
            start_mjd=spectra.start_mjd,
            source=spectra.source,
            recording=spectra.recording,
            overwrite=overwrite,
        ) as psrfits:
            psrfits.write(spectra.data, spectra.weights)
    elif chosen is Format.SIGPROC:
        from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter

        with FilterbankWriter(
            path,
            spectra.freq_mhz,
            spectra.dt_s,
            32,
            dm=spectra.dm,
            start_mjd=spectra.start_mjd,
            source=spectra.source,
            rawdatafile=about,
            header=spectra.recording.to_sigproc(),
            overwrite=overwrite,
        ) as sigproc:
            sigproc.write(filled(spectra))
    else:
        from mwaconvert.formats.spectra.hdf5 import Fbh5Writer

        head = {"tstart": spectra.start_mjd, "source_name": spectra.source, "rawdatafile": about}
        head |= spectra.recording.to_sigproc() | ({"refdm": spectra.dm, "data_type": 6} if spectra.dm else {})
        with Fbh5Writer(
            path, spectra.freq_mhz, spectra.dt_s, np.float32, header=head, overwrite=overwrite
        ) as fbh5:
            fbh5.write(filled(spectra))


def filled(spectra: Spectra) -> npt.NDArray[np.float32]:
    """Values with the mean of the channel where the weight is 0; 0 in channels without any.

    Examples
    --------
    >>> filled(Spectra(np.array([[1.0, 3.0, np.nan]]), np.array([400.0]), 1e-3))
    array([[1., 3., 2.]], dtype=float32)
    """
    data = spectra.data.astype(np.float32)
    if spectra.weights is None:
        return data
    count, total, _ = channel_sums(data, spectra.weights, np.zeros(spectra.n_chan)).T
    mean = (total / np.maximum(count, 1)).astype(np.float32)
    weights = spectra.weights if spectra.weights.ndim == 2 else spectra.weights[:, None]
    return np.where(weights > 0, data, mean[:, None])


def _write_fitburst(path: Path, spectra: Spectra, *, overwrite: bool) -> None:
    from mwaconvert.formats.spectra.fitburst import write_fitburst

    width, snr = pulse_of(spectra)
    if snr <= 0:
        raise InputError(f"{path}: there is no pulse in the data from which fitburst could begin", path=path)
    peak = find_peak(filled(spectra).sum(0))
    write_fitburst(
        path,
        spectra,
        arrival_s=(peak + 0.5) * spectra.dt_s,
        width_s=width * spectra.dt_s,
        dm=spectra.dm,
        overwrite=overwrite,
    )
