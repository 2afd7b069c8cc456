"""RFI detection: the strategy, and the call of the kernels (cpp/include/mwaconvert/rfi.hpp)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.staging import check_input

#: Fields that the kernels do not see under their own name.
_PYTHON_ONLY = {"name", "sensitivity"}
_WHOLE_FROM_ONE = ("iterations", "longest_window", "block_time", "block_freq", "subbands")
_WINDOWS = ("window_time", "window_freq")


@dataclass(frozen=True)
class RfiStrategy:
    """Parameters of the detection. The defaults decide as AOFlagger's MWA strategy of 2021-03-30 does.

    The steps are described in docs/rfi.md. In each polarisation the amplitudes pass `iterations` times through
    SumThreshold, with thresholds that fall by `threshold_step`; between the passes outlying timesteps and
    channels are rejected and a smooth background is subtracted.

    Raises
    ------
    InputError
        A value of the wrong type, or out of range.
    """

    name: str = "aoflagger-mwa-2021"  #: for reports
    sensitivity: float = 1.0  #: divides all thresholds of SumThreshold

    # SumThreshold (Offringa et al. 2010)
    iterations: int = 3  #: passes; all but the last subtract a background
    threshold: float = 1.0  #: of the last pass, in units of `first_threshold`
    threshold_step: float = 2.0  #: threshold of a pass over that of the next
    transient_factor: float = 1.0  #: threshold along frequency over the one along time
    first_threshold: float = 6.0  #: of single samples, in modes of the noise
    threshold_ratio: float = 1.5  #: rho: what the sum of twice as many samples may exceed
    longest_window: int = 256  #: samples; windows are 1, 2, 4, ... long

    # rejection by rms, in standard deviations from the median
    timestep_rms: float = 3.5
    channel_rms: float = 3.0  #: times the threshold of the pass
    last_timestep_rms: float = 4.0  #: at the very end

    # background: means of blocks, smoothed by a Gaussian
    block_time: int = 3  #: cells
    block_freq: int = 3
    window_time: int = 21  #: blocks, odd; beyond them the Gaussian is cut off
    window_freq: int = 31
    variance_time: float = 2.5  #: blocks squared
    variance_freq: float = 5.0

    subbands: int = 48  #: groups of channels, each with noise of its own in the last pass

    # scale-invariant rank operator (Offringa et al. 2012)
    rank_time: float = 0.2  #: eta; 0.2 flags stretches of which 80 % are flagged
    rank_freq: float = 0.2
    rank_missing: float = 0.1  #: how much of an unflagged cell a missing one counts as

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "name":
                self._need(isinstance(value, str), field.name, "text")
            elif field.type == "int":
                self._need(
                    isinstance(value, int) and not isinstance(value, bool), field.name, "a whole number"
                )
            else:
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                self._need(number and math.isfinite(value) and value >= 0, field.name, "a number not below 0")
        for key in _WHOLE_FROM_ONE:
            self._need(1 <= getattr(self, key) <= 32768, key, "1 to 32768")
        for key in _WINDOWS:
            self._need(getattr(self, key) % 2 == 1 and 1 <= getattr(self, key) <= 1023, key, "odd, 1 to 1023")
        for key in ("sensitivity", "variance_time", "variance_freq"):
            self._need(getattr(self, key) > 0, key, "above 0")
        for key in ("rank_time", "rank_freq", "rank_missing"):
            self._need(getattr(self, key) <= 1, key, "0 to 1")

    def _need(self, ok: bool, key: str, expected: str) -> None:
        if not ok:
            raise InputError(f"RFI strategy: {key} = {getattr(self, key)!r}, expected {expected}")

    @classmethod
    def from_toml(cls, path: str | Path) -> RfiStrategy:
        """Read a strategy: a TOML file of some of the fields, the others keeping their defaults.

        Without a `name` the strategy is called after the file.

        Raises
        ------
        InputError
            The file cannot be read, is not TOML, or has an unknown key or a value that cannot be used.
        """
        import tomllib

        path = Path(path)
        check_input(path, "RFI strategy")
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read the RFI strategy {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"RFI strategy {path} is not a TOML file: {error}") from error
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise InputError(
                f"RFI strategy {path}: unknown key {', '.join(unknown)}; known are {', '.join(known)}"
            )
        try:
            return cls(**{"name": path.stem, **values})
        except InputError as error:
            raise InputError(f"{error} (in {path})") from error

    def parameters(self) -> _core.RfiParameters:
        """As the kernels take them."""
        parameters = _core.RfiParameters()
        for field in dataclasses.fields(self):
            if field.name not in _PYTHON_ONLY:
                setattr(parameters, field.name, getattr(self, field.name))
        parameters.threshold = self.threshold / self.sensitivity
        return parameters


def flag_baselines(
    vis: npt.NDArray[np.complex64],
    mask: npt.NDArray[np.bool_],
    strategy: RfiStrategy,
    threads: int = 0,
    out: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.bool_]:
    """Detect RFI in baselines, each on its own and over its full time axis.

    Phase rotations do not matter, gains do: correct the passband first. Results do not depend on `threads`.

    Parameters
    ----------
    vis : (n_baselines, n_time, n_chan, 4) contiguous; products XX, XY, YX, YY; channels of one contiguous band
    mask : (n_time, n_chan) or (n_baselines, n_time, n_chan) cells flagged beforehand: they are left out of the
        detection, but their amplitudes count in the rms of a timestep or channel, so missing data should be 0
    strategy : parameters
    threads : 0: all cores this process may use
    out : (n_baselines, n_time, n_chan) to write into

    Returns
    -------
    (n_baselines, n_time, n_chan) True where RFI was found, where `mask` is, and where a product is NaN or
    infinite. `out`, if that was given.

    Raises
    ------
    InputError
        Arrays of other types or shapes, or not contiguous.
    """
    if vis.ndim != 4 or mask.ndim not in (2, 3):
        raise InputError(
            f"visibilities of 4 dimensions and a mask of 2 or 3, found {vis.ndim} and {mask.ndim}"
        )
    if out is None:
        out = np.empty(vis.shape[:3], np.bool_)
    for name, array, dtype in (("vis", vis, np.complex64), ("mask", mask, np.bool_), ("out", out, np.bool_)):
        if array.dtype != dtype or not array.flags.c_contiguous:
            raise InputError(f"array '{name}': expected contiguous {np.dtype(dtype)}, found {array.dtype}")
    missing = mask.reshape(-1, *mask.shape[-2:]).view(np.uint8)
    amplitude = np.empty((len(vis), 4, *vis.shape[1:3]), np.float32)
    _core.rfi_amplitudes(vis, amplitude, threads)
    cells = out.view(np.uint8)
    _core.rfi_flag(amplitude, missing, strategy.parameters(), cells, threads)
    np.not_equal(cells, 0, out=out)
    return out


def worker_bytes(n_time: int, n_chan: int) -> int:
    """Memory that `flag_baselines` takes for each thread, besides its arrays (rounded up)."""
    return n_time * (n_chan + 32) * 56 + 1_000_000
