"""Models of others as plug-ins: networks in ONNX that judge cut-outs, as FETCH and its like do.

A model has one or two inputs of 256 x 256 numbers for each candidate, with or without an axis of length 1 for colours:
frequency and time first, DM and time second. Each picture has the median 0 and the standard deviation 1.
The last number of the model's first output for a candidate is its score.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import FormatError, InputError
from mwaconvert.extras import need
from mwaconvert.transients.cutouts import SIDE, Cutout


class Classifier:
    """A network that is read from a file; needs `mwaconvert[classifier]`.

    Parameters
    ----------
    path : .onnx

    Raises
    ------
    InputError : onnxruntime is not installed, or there is no such file
    FormatError : it is not a sound model, or its inputs are not cut-outs
    """

    def __init__(self, path: Path) -> None:
        runtime = need("onnxruntime", "classifier", f"reading {path.name}")
        if not path.is_file():
            raise InputError(f"{path}: there is no such file", option="classifier", path=path)
        self._path = path
        try:
            self._session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has exceptions of its own for each fault
            raise FormatError(
                f"{path}: not a sound ONNX model: {' '.join(str(error).split())[:200]}"
            ) from error
        self._inputs = [(held.name, list(held.shape)) for held in self._session.get_inputs()]
        sizes = [[n for n in shape[1:] if n != 1] for _, shape in self._inputs]
        if len(sizes) not in (1, 2) or any(size != [SIDE, SIDE] for size in sizes):
            found = ", ".join(f"{name} of {shape}" for name, shape in self._inputs)
            raise FormatError(f"{path}: expected one or two inputs of {SIDE} x {SIDE} numbers, found {found}")

    def score(self, cutout: Cutout) -> float:
        """Of a candidate.

        Raises
        ------
        FormatError : the model gives no number
        """
        pictures = (cutout.falls.T, cutout.plane)
        given: dict[str, Any] = {}
        for (name, shape), picture in zip(self._inputs, pictures, strict=False):
            sizes = [1, *(n if isinstance(n, int) else SIDE for n in shape[1:])]
            given[name] = _normal(picture).reshape(sizes)
        out = np.asarray(self._session.run(None, given)[0], np.float64).ravel()
        if not out.size or not np.isfinite(out[-1]):
            raise FormatError(f"{self._path}: expected a number for each candidate, found {out.tolist()}")
        return float(out[-1])


def _normal(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """With the median 0 and the standard deviation 1."""
    about = picture - np.median(picture)
    return np.asarray(about / (about.std() or 1.0), np.float32)
