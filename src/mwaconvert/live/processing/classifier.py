"""Classifiers as plug-ins: models in ONNX that take a picture and give a probability. None is shipped.

The model of frequency and time takes (1, 32, 64, 1), that of DM and time (1, 64, 64, 1), averaged from what was cut
out; column 1 of what a model gives is the probability of a pulse.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from mwaconvert.errors import Error, FormatError, ResourceError
from mwaconvert.live.processing.extract import Extract
from mwaconvert.live.processing.products import Score
from mwaconvert.live.settings import Classify, expanded
from mwaconvert.transients.judging.classifiers import Floats, Network, scaled

_FREQ_TIME, _DM_TIME = (32, 64), (64, 64)
#: of one answer, and of loading; then the process hangs, s
_LONGEST_S = 60.0

Pictures: TypeAlias = list[Floats | None]


class _Child:
    """A process of its own for the models: one that dies or hangs takes nobody along.

    Raises
    ------
    Error
        The models cannot be used.
    """

    def __init__(self, models: Sequence[tuple[str, tuple[int, int]]]) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._lock = threading.Lock()
        self.process = context.Process(target=_serve, args=(theirs, models), daemon=True)
        self.process.start()
        theirs.close()
        self.names: list[str] = self._answer()

    def ask(self, pictures: Pictures) -> list[float]:
        """Probabilities. Raises Error if a model fails, ResourceError if the process is gone or hangs."""
        with self._lock:
            try:
                self._pipe.send(pictures)
            except OSError:
                raise ResourceError("its process died") from None
            answer: list[float] = self._answer()
            return answer

    def _answer(self) -> Any:
        try:
            if not self._pipe.poll(_LONGEST_S):
                self.process.kill()
                raise ResourceError(f"no answer in {_LONGEST_S:g} s")
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise ResourceError("its process died") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(pipe: Connection, wanted: Sequence[tuple[str, tuple[int, int]]]) -> None:
    """The process of the models: until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent ends it
    models: list[Network | None] = []

    def load(_: Pictures) -> list[str]:
        models.extend(Network(Path(path), size, threads=1) if path else None for path, size in wanted)
        return [_name(model.path) for model in models if model is not None]

    def ask(pictures: Pictures) -> list[float]:
        asked = zip(models, pictures, strict=True)
        return [float("nan") if m is None or p is None else m(p) for m, p in asked]

    with suppress(EOFError, OSError):
        pipe.send(_tried(load, []))
        while True:
            pipe.send(_tried(ask, pipe.recv()))


def _name(path: Path) -> str:
    return f"{path.name} sha256:{sha256(path.read_bytes()).hexdigest()[:16]}"


def _tried(what: Callable[[Pictures], Any], pictures: Pictures) -> Any:
    try:
        return what(pictures)
    except Error as error:
        return error
    except Exception as error:  # the errors of a runtime have no common class
        return FormatError(f"{type(error).__name__}: {str(error)[:200]}")


class Classifier:
    """Both models, as far as the settings name them.

    Attributes
    ----------
    problem : why some candidates, or all from then on, have no probability; empty if none
    """

    def __init__(self, settings: Classify) -> None:
        self.settings, self.problem = settings, ""
        paths = [_path(settings.model_freqtime), _path(settings.model_dmtime)]
        wanted = list(zip(paths, (_FREQ_TIME, _DM_TIME), strict=True))
        self._child = _Child(wanted) if any(paths) else None
        self._names = self._child.names if self._child else []

    @classmethod
    def without(cls, settings: Classify, problem: str) -> Classifier:
        """One whose models cannot be used: it says so, and gives no probabilities."""
        found = cls(replace(settings, model_freqtime="", model_dmtime=""))
        found.problem = problem
        return found

    @property
    def words(self) -> str:
        """By what candidates are ranked."""
        if self._child is None:
            return (
                f"S/N; the classifier failed: {self.problem}"
                if self.problem
                else "S/N; there is no classifier"
            )
        names = " and ".join(self._names)
        return f"{names}; S/N where it failed: {self.problem}" if self.problem else names

    def score(self, found: Extract) -> Score:
        """Probabilities of a candidate; none if a model fails, which is then in `problem`."""
        child = self._child
        if child is None:
            return Score()
        by_channel = self.settings.scaling == "channel"
        pictures: Pictures = [
            _small(found.freq_time, _FREQ_TIME, by_channel=by_channel)
            if self.settings.model_freqtime
            else None,
            _small(found.dm_time, _DM_TIME, by_channel=False) if self.settings.model_dmtime else None,
        ]
        try:
            freq_time, dm_time = child.ask(pictures)
        except ResourceError as error:  # gone: what comes after is ranked by S/N, too
            self.problem, self._child = str(error), None
            return Score()
        except Error as error:
            self.problem = str(error)
            return Score()
        return Score(
            freq_time=freq_time,
            dm_time=dm_time,
            model=", ".join(self._names),
            scaling=self.settings.scaling,
        )

    def accepts(self, score: Score) -> bool:
        """Above both limits; what has no probability passes."""
        s = self.settings
        return not (score.freq_time <= s.thresh_freqtime or score.dm_time <= s.thresh_dmtime)


def _path(name: str) -> str:
    # models of Keras, which configurations of ARTS name, are not for us
    return expanded(name) if name.endswith(".onnx") else ""


def _small(picture: Floats, shape: tuple[int, int], *, by_channel: bool) -> Floats:
    n, m = shape
    rows, columns = picture.shape
    return scaled(picture.reshape(n, rows // n, m, columns // m).mean((1, 3)), by_channel=by_channel)
