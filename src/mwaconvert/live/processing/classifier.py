"""Classifiers as plug-ins: models in ONNX that take a picture and give a probability. None is shipped.

The model of frequency and time takes (1, 32, 64, 1), that of DM and time (1, 64, 64, 1), averaged from what was cut
out; column 1 of what a model gives is the probability of a pulse.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from mwaconvert.live.processing.extract import Extract
from mwaconvert.live.processing.products import Score
from mwaconvert.live.settings import Classify, expanded
from mwaconvert.transients.judging.classifiers import Floats, Network, scaled

_FREQ_TIME, _DM_TIME = (32, 64), (64, 64)


class Classifier:
    """Both models, as far as the settings name them."""

    def __init__(self, settings: Classify) -> None:
        self.settings = settings
        self._freq_time = _model(settings.model_freqtime, _FREQ_TIME)
        self._dm_time = _model(settings.model_dmtime, _DM_TIME)
        self._names = [_named(model) for model in (self._freq_time, self._dm_time) if model is not None]

    @property
    def words(self) -> str:
        """By what candidates are ranked."""
        return " and ".join(self._names) or "S/N; there is no classifier"

    def score(self, found: Extract) -> Score:
        """Probabilities of a candidate."""
        by_channel = self.settings.scaling == "channel"
        return Score(
            freq_time=_asked(self._freq_time, found.freq_time, by_channel=by_channel),
            dm_time=_asked(self._dm_time, found.dm_time, by_channel=False),
            model=", ".join(self._names),
            scaling=self.settings.scaling if self._names else "",
        )

    def accepts(self, score: Score) -> bool:
        """Above both limits; what has no model passes."""
        s = self.settings
        return not (score.freq_time <= s.thresh_freqtime or score.dm_time <= s.thresh_dmtime)


def _model(name: str, size: tuple[int, int]) -> Network | None:
    # models of Keras, which configurations of ARTS name, are not for us
    return Network(Path(expanded(name)), size, threads=1) if name.endswith(".onnx") else None


def _named(model: Network) -> str:
    return f"{model.path.name} sha256:{sha256(model.path.read_bytes()).hexdigest()[:16]}"


def _asked(model: Network | None, picture: Floats, *, by_channel: bool) -> float:
    if model is None:
        return float("nan")
    n, m = model.size
    rows, columns = picture.shape
    small = picture.reshape(n, rows // n, m, columns // m).mean((1, 3))
    return model(scaled(small, by_channel=by_channel))
