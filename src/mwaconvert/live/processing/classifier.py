"""Classifiers as plug-ins: models in ONNX that take a picture and give a probability. None is shipped.

The model of frequency and time takes (1, 32, 64, 1), that of DM and time (1, 64, 64, 1), averaged from what was cut
out; column 1 of what a model gives is the probability of a pulse.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import FormatError, InputError
from mwaconvert.extras import need
from mwaconvert.live.processing.extract import Extract
from mwaconvert.live.processing.products import Score
from mwaconvert.live.settings import Classify, expanded

Floats = npt.NDArray[np.float32]
_FREQ_TIME, _DM_TIME = (32, 64), (64, 64)


class Model:
    """One model.

    Raises
    ------
    InputError
        onnxruntime is not installed, or there is no such file.
    FormatError
        No model of ONNX, or one of other pictures.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        runtime = need("onnxruntime", "classifier", "classifying candidates")
        if not path.is_file():
            raise InputError(f"{path}: there is no such model", path=path)
        data = path.read_bytes()
        self.name = f"{path.name} sha256:{sha256(data).hexdigest()[:16]}"
        self.shape = shape
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session: Any = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common class
            raise FormatError(f"{path}: is not a model in ONNX: {str(error)[:200]}", path=path) from None
        wanted = self._session.get_inputs()[0]
        if list(wanted.shape[1:]) != [*shape, 1]:
            raise FormatError(
                f"{path}: takes {wanted.shape}; expected (1, {shape[0]}, {shape[1]}, 1)", path=path
            )
        self._input = wanted.name

    def __call__(self, picture: Floats) -> float:
        """Probability of a pulse. picture: `shape`, scaled."""
        (out,) = self._session.run(None, {self._input: picture[None, :, :, None].astype(np.float32)})
        return float(np.asarray(out).reshape(-1)[-1])


class Classifier:
    """Both models, as far as the settings name them."""

    def __init__(self, settings: Classify) -> None:
        self.settings = settings
        self._freq_time = _model(settings.model_freqtime, _FREQ_TIME)
        self._dm_time = _model(settings.model_dmtime, _DM_TIME)

    @property
    def words(self) -> str:
        """By what candidates are ranked."""
        names = [model.name for model in (self._freq_time, self._dm_time) if model is not None]
        return " and ".join(names) or "S/N; there is no classifier"

    def score(self, found: Extract) -> Score:
        """Probabilities of a candidate."""
        by_channel = self.settings.scaling == "channel"
        names = [model.name for model in (self._freq_time, self._dm_time) if model is not None]
        return Score(
            freq_time=_asked(self._freq_time, found.freq_time, by_channel=by_channel),
            dm_time=_asked(self._dm_time, found.dm_time, by_channel=False),
            model=", ".join(names),
            scaling=self.settings.scaling if names else "",
        )

    def accepts(self, score: Score) -> bool:
        """Above both limits; what has no model passes."""
        s = self.settings
        return not (score.freq_time <= s.thresh_freqtime or score.dm_time <= s.thresh_dmtime)


def _model(name: str, shape: tuple[int, int]) -> Model | None:
    # models of Keras, which configurations of ARTS name, are not for us
    return Model(Path(expanded(name)), shape) if name.endswith(".onnx") else None


def _asked(model: Model | None, picture: Floats, *, by_channel: bool) -> float:
    if model is None:
        return float("nan")
    n, m = model.shape
    rows, columns = picture.shape
    small = picture.reshape(n, rows // n, m, columns // m).mean((1, 3))
    return model(scaled(small, by_channel=by_channel))


def scaled(picture: Floats, *, by_channel: bool) -> Floats:
    """Less the median, over the standard deviation: of all, or of each channel. What is not a number then is 0."""
    axis = 1 if by_channel else None
    centred = picture - np.median(picture, axis=axis, keepdims=True)
    sigma = centred.std(axis=axis, keepdims=True)
    return np.asarray(np.divide(centred, sigma, out=np.zeros_like(centred), where=sigma > 0), np.float32)
