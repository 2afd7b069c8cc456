"""The .npz files of fitburst: spectra with the parameters of a first guess."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import FormatError
from mwaconvert.formats.spectra.plain_pickle import read_plain
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.staging import Kind, StagedPath

_MOST_BYTES = 1 << 20  # of a pickled dictionary of a file


def _read_dict(path: Path, key: str) -> dict[str, Any]:
    """A pickled dict, as fitburst keeps it: an array of one object. It is not unpickled, see `plain_pickle`."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            raw = io.BytesIO(member.read(_MOST_BYTES + 1))
        if len(raw.getbuffer()) > _MOST_BYTES:
            raise FormatError(
                f"{path}: '{key}' takes more than {_MOST_BYTES >> 20} MiB: it is not a dictionary of fitburst"
            )
        form: Any = np.lib.format
        reader = form.read_array_header_1_0 if form.read_magic(raw) == (1, 0) else form.read_array_header_2_0
        shape, _, dtype = reader(raw)
        if not dtype.hasobject:
            raise FormatError(f"{path}: '{key}': expected a dictionary, found {dtype} of the shape {shape}")
        value = read_plain(raw.read())
    except FormatError:
        raise
    except Exception as error:  # a damaged archive raises whatever it meets
        raise FormatError(f"{path}: '{key}' cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path}: '{key}': expected a dictionary, found {type(value).__name__}")
    return value


def read_parameters(path: Path) -> dict[str, list[float]]:
    """The first guess of the burst: lists with a value for each component.

    Parameters
    ----------
    path : .npz of fitburst

    Raises
    ------
    FormatError
    """
    return _read_dict(path, "burst_parameters")


def read_fitburst(path: Path, data: npt.NDArray[Any]) -> Spectra:
    """Spectra of a fitburst file.

    Parameters
    ----------
    path : .npz
    data : its array data_full, (n_chan, n_times)

    Returns
    -------
    Spectra
        bad channels have weight 0; at the DM of the parameters if the data are dedispersed

    Raises
    ------
    FormatError
    """
    facts = _read_dict(path, "metadata")
    needed = {"freqs_bin0", "res_freq", "res_time"}
    if not needed <= facts.keys():
        raise FormatError(f"{path}: its metadata has no {', '.join(sorted(needed - facts.keys()))}")
    if data.ndim != 2:
        raise FormatError(f"{path}: data_full: expected (channels, samples), found the shape {data.shape}")
    try:
        step = float(facts["res_freq"])
        freq_mhz = float(facts["freqs_bin0"]) + step * (
            np.arange(len(data), dtype=np.float64) + 0.5
        )  # bin 0 begins there
        bad = np.asarray(facts.get("bad_chans", []), np.int64).ravel()
        dt_s, start = float(facts["res_time"]), float(facts.get("times_bin0", np.nan))
        dm = float(np.ravel(read_parameters(path)["dm"])[0]) if facts.get("is_dedispersed") else 0.0
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise FormatError(f"{path}: its metadata makes no sense: {error}") from error
    if bad.size and (bad.min() < 0 or bad.max() >= len(data)):
        raise FormatError(f"{path}: bad channels {bad.min()} to {bad.max()} of {len(data)}")
    weights = np.ones(len(data), np.float32)
    weights[bad] = 0
    return Spectra(
        data,
        freq_mhz,
        dt_s,
        weights=weights if bad.size else None,
        dm=dm,
        start_mjd=start if start > 1 else None,
    )


def write_fitburst(
    path: Path, spectra: Spectra, *, arrival_s: float, width_s: float, dm: float, overwrite: bool = False
) -> None:
    """Write spectra with a first guess of one component, for fitburst.

    Parameters
    ----------
    path : .npz
    spectra : at a DM of 0, or dedispersed to `dm`
    arrival_s : of the burst, from the first sample, at the highest frequency
    width_s : of the burst
    dm : pc/cm^3
    overwrite : replace an existing file
    """
    gone = np.zeros(spectra.n_chan, bool)
    if spectra.weights is not None:
        gone = (spectra.weights if spectra.weights.ndim == 1 else spectra.weights.max(1)) <= 0
    metadata = {
        "bad_chans": np.flatnonzero(gone).tolist(),
        "freqs_bin0": spectra.fbottom,
        "is_dedispersed": spectra.dm != 0,
        "num_freq": spectra.n_chan,
        "num_time": spectra.n_times,
        "times_bin0": spectra.start_mjd or 0.0,
        "res_freq": spectra.df_mhz,
        "res_time": spectra.dt_s,
    }
    parameters = {
        "amplitude": [0.0],
        "arrival_time": [arrival_s],
        "burst_width": [width_s],
        "dm": [spectra.dm or dm],
        "dm_index": [-2.0],
        "ref_freq": [float(spectra.freq_mhz[-1])],
        "scattering_index": [-4.0],
        "scattering_timescale": [0.0],
        "spectral_index": [0.0],
        "spectral_running": [0.0],
    }
    with StagedPath(path, overwrite, Kind.NPZ) as staged, staged.temporary.open("wb") as file:
        np.savez(
            file,
            data_full=spectra.data.astype(np.float32),
            metadata=np.array(metadata, object),
            burst_parameters=np.array(parameters, object),
        )
