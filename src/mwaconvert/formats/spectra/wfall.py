"""Waterfalls in .npz files: our own, those of `get_wfall.py`, of CHIME/FRB's data releases, and of fitburst."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import __version__
from mwaconvert.errors import FormatError, InputError
from mwaconvert.formats.promises import check_promise
from mwaconvert.spectra.dispersion import K_DM
from mwaconvert.spectra.recording import Frame, Recording
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.staging import Kind, StagedPath
from mwaconvert.unpacking import READER_ERRORS

_TINY = np.float32(1e-30)
_KINDS = "wfall and dt_s, intensity and dt, or data_full and metadata"


def write_wfall(
    path: Path, spectra: Spectra, *, reference_mhz: float | None = None, overwrite: bool = False
) -> None:
    """Write a waterfall as `get_wfall.py` does, and as its plot scripts read it.

    Parameters
    ----------
    path : .npz
    spectra : masked samples become 0, which nothing else is
    reference_mhz : frequency at which times are what they say; None: the centre of the highest channel
    overwrite : replace an existing file

    Notes
    -----
    intensity (n_chan, n_times) float32 from the lowest to the highest channel; dt (s), df (MHz), dm (pc/cm^3), fbottom
    (MHz, lower edge of the band). Beyond these: weights, freqs (MHz), k_dm, start_mjd, source, version, and what is
    known of the recording (telescope, ra_deg, dec_deg, frame ...).

    Examples
    --------
    >>> write_wfall(Path("ones.npz"), Spectra(np.ones((4, 10)), 400.0 + np.arange(4), 1e-3))
    >>> read_wfall(Path("ones.npz"))
    <ArrayStream ones.npz (waterfall): 4 channels, 400 to 403 MHz, 10 samples of 1000 us, DM 0>
    """
    data = spectra.data.astype(np.float32)  # a copy, which is changed
    weights = np.ones((1, 1), np.float32) if spectra.weights is None else spectra.weights
    weights = np.broadcast_to(weights[:, None] if weights.ndim == 1 else weights, data.shape)
    data[data == 0] = _TINY
    data[weights <= 0] = 0
    df_mhz = spectra.df_mhz
    values: dict[str, Any] = {
        "intensity": data,
        "dt": spectra.dt_s,
        "df": df_mhz,
        "dm": spectra.dm,
        "fbottom": spectra.fbottom,
        "weights": weights,
        "freqs": spectra.freq_mhz,
        "k_dm": spectra.k_dm,
        "source": spectra.source,
        "version": f"mwaconvert {__version__}",
    }
    if spectra.start_mjd is not None:
        values["start_mjd"] = spectra.start_mjd
    if reference_mhz is not None:
        values["reference_mhz"] = reference_mhz
    for field in fields(spectra.recording):
        held = getattr(spectra.recording, field.name)
        if held != field.default:
            values[field.name] = held
    with StagedPath(path, overwrite, Kind.NPZ) as staged, staged.temporary.open("wb") as file:
        np.savez(file, **values)


def read_wfall(path: Path) -> ArrayStream:
    """Read a waterfall.

    Parameters
    ----------
    path : .npz of `write_wfall` or get_wfall.py (intensity, dt, df, dm, fbottom), of a CHIME/FRB data release (wfall,
        dt_s, center_freq_mhz; or intensity with frequencies), or of fitburst (data_full, metadata)

    Returns
    -------
    ArrayStream
        zeros and values that are not finite have weight 0

    Raises
    ------
    FormatError : it is none of these, or it is damaged
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            members = arrays.zip.infolist()
            check_promise(path, "it", sum(m.file_size for m in members), path.stat().st_size)
            names = set(arrays.files)
            if {"wfall", "dt_s"} <= names:
                spectra, kind = _release(path, arrays), "CHIME/FRB waterfall"
            elif {"intensity", "dt"} <= names:
                spectra, kind = _intensity(path, arrays), "waterfall"
            elif {"data_full", "metadata"} <= names:
                from mwaconvert.formats.spectra.fitburst import read_fitburst

                spectra, kind = read_fitburst(path, _plane(path, arrays, "data_full")), "fitburst"
            else:
                found = ", ".join(ascii(name)[1:-1] for name in sorted(names)[:12]) or "nothing"
                raise FormatError(f"{path}: expected the arrays {_KINDS}, found {found}")
            scalars = {
                key: np.asarray(arrays[key]).item()
                for key in names - {"metadata", "burst_parameters"}
                if np.asarray(arrays[key]).ndim == 0
            }
    except (*READER_ERRORS, OSError, InputError) as error:
        raise FormatError(f"{path}: not a sound .npz file: {error}") from error
    return ArrayStream(spectra, path, kind, scalars)


def _number(path: Path, arrays: Any, key: str, default: float | None = None) -> float:
    if key not in arrays.files:
        if default is None:
            raise FormatError(f"{path}: there is no array '{key}' in it")
        return default
    value = np.asarray(arrays[key])
    if value.size != 1 or value.dtype.kind not in "fiu":
        raise FormatError(
            f"{path}: '{key}': expected a number, found {value.dtype} of the shape {value.shape}"
        )
    return float(value.reshape(()))


def _plane(path: Path, arrays: Any, key: str) -> npt.NDArray[np.float32]:
    value = np.asarray(arrays[key])
    if value.ndim != 2 or 0 in value.shape or value.dtype.kind not in "fiu":
        raise FormatError(
            f"{path}: '{key}': expected (channels, samples), found {value.dtype} of the shape {value.shape}"
        )
    return value.astype(np.float32)


def _release(path: Path, arrays: Any) -> Spectra:
    """Burst of a release of CHIME/FRB: a frequency for each channel, or 400 MHz around that of the band."""
    data = _plane(path, arrays, "wfall")
    given = np.asarray(arrays["center_freq_mhz"]) if "center_freq_mhz" in arrays.files else np.empty(0)
    if given.shape == data.shape[:1] and given.size > 1:  # of each channel
        freq_mhz = given.astype(np.float64)
    else:  # of the band
        centre = _number(path, arrays, "center_freq_mhz", 600.1953125)
        df_mhz = 400.0 / len(data)
        freq_mhz = centre - 200 + df_mhz * (np.arange(len(data), dtype=np.float64) + 0.5)
    return Spectra(
        data,
        freq_mhz,
        _number(path, arrays, "dt_s"),
        weights=_seen(data),
        dm=_number(path, arrays, "dm", 0.0),
    )


def _intensity(path: Path, arrays: Any) -> Spectra:
    data = _plane(path, arrays, "intensity")
    weights = _seen(data)
    if "weights" in arrays.files:
        given = np.asarray(arrays["weights"], np.float32)
        if given.shape != data.shape:
            raise FormatError(f"{path}: weights of the shape {given.shape} for an intensity of {data.shape}")
        weights = np.where(weights > 0, given, np.float32(0))
        data = np.where(data == _TINY, np.float32(0), data)
    df_mhz = _number(path, arrays, "df")
    if "freqs" in arrays.files:
        freq_mhz = np.asarray(arrays["freqs"], np.float64)
    else:
        freq_mhz = _number(path, arrays, "fbottom") + df_mhz * (np.arange(len(data), dtype=np.float64) + 0.5)
    start = _number(path, arrays, "start_mjd", np.nan)
    return Spectra(
        data,
        freq_mhz,
        _number(path, arrays, "dt"),
        weights=None if (weights == 1).all() else weights,
        dm=_number(path, arrays, "dm"),
        start_mjd=start if np.isfinite(start) else None,
        source=str(arrays["source"]) if "source" in arrays.files else "",
        k_dm=_number(path, arrays, "k_dm", K_DM),
        recording=_recording(path, arrays),
    )


def _recording(path: Path, arrays: Any) -> Recording:
    """What our own files say of the recording."""
    held: dict[str, Any] = {}
    for field in fields(Recording):
        if field.name not in arrays.files:
            continue
        if field.name == "frame":
            held["frame"] = Frame(str(arrays["frame"]))
        elif isinstance(field.default, str):
            held[field.name] = str(arrays[field.name])
        else:
            number = _number(path, arrays, field.name)
            held[field.name] = int(number) if isinstance(field.default, int) else number
    return Recording(**held)


def _seen(data: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Weight 1 where a sample is there: these files mark masked ones with 0 or NaN."""
    seen: npt.NDArray[np.float32] = (np.isfinite(data) & (data != 0)).astype(np.float32)
    return seen
