"""Models of others as plug-ins: networks in ONNX that judge pictures of a candidate, as FETCH and its like do.

A model of cut-outs has one or two inputs of 256 x 256 numbers for each candidate, with or without an axis of length 1
for colours: frequency and time first, DM and time second. Each picture has the median 0 and the standard deviation 1.
The last number of a model's first output for a candidate is its score.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import FormatError, InputError
from mwaconvert.extras import need
from mwaconvert.transients.judging.cutouts import SIDE, Cutout

Floats = npt.NDArray[np.float32]


class Network:
    """A network that is read from a file; needs `mwaconvert[classifier]`.

    Parameters
    ----------
    path : .onnx
    size : of its pictures, rows and columns
    most : inputs that it may have
    threads : 0: as onnxruntime chooses

    Raises
    ------
    InputError : onnxruntime is not installed, or there is no such file
    FormatError : it is not a sound model, or one of other pictures
    """

    def __init__(self, path: Path, size: tuple[int, int], *, most: int = 1, threads: int = 0) -> None:
        runtime = need("onnxruntime", "classifier", f"reading {path.name}")
        if not path.is_file():
            raise InputError(f"{path}: there is no such file", path=path)
        self.path = path
        self.size = size
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has exceptions of its own for each fault
            raise FormatError(f"{path}: not a sound ONNX model: {str(error)[:200]}", path=path) from error
        self._inputs = [(held.name, list(held.shape)) for held in self._session.get_inputs()]
        sizes = [[n for n in shape[1:] if n != 1] for _, shape in self._inputs]
        if not 1 <= len(sizes) <= most or any(found != list(size) for found in sizes):
            shapes = ", ".join(f"{name} of {shape}" for name, shape in self._inputs)
            wanted = ("one input", "one or two inputs")[most - 1]
            raise FormatError(
                f"{path}: expected {wanted} of {size[0]} x {size[1]} numbers, found {shapes}", path=path
            )

    def __call__(self, *pictures: Floats) -> float:
        """The last number of its first output; NaN if there is none. Pictures: scaled, one for each input."""
        given: dict[str, Any] = {}
        for (name, shape), picture in zip(self._inputs, pictures, strict=False):
            axes = iter(self.size)
            given[name] = picture.reshape([1, *(1 if n == 1 else next(axes) for n in shape[1:])])
        out = np.asarray(self._session.run(None, given)[0], np.float64).ravel()
        return float(out[-1]) if out.size else float("nan")


class Classifier:
    """A network that judges cut-outs.

    Parameters
    ----------
    path : .onnx

    Raises
    ------
    InputError : onnxruntime is not installed, or there is no such file
    FormatError : it is not a sound model, or its inputs are not cut-outs
    """

    def __init__(self, path: Path) -> None:
        self._network = Network(path, (SIDE, SIDE), most=2)

    def score(self, cutout: Cutout) -> float:
        """Of a candidate.

        Raises
        ------
        FormatError : the model gives no number
        """
        score = self._network(scaled(cutout.falls.T), scaled(cutout.plane))
        if not np.isfinite(score):
            raise FormatError(f"{self._network.path}: expected a number for each candidate, found {score}")
        return score


def scaled(picture: Floats, *, by_channel: bool = False) -> Floats:
    """Less the median, over the standard deviation: of all, or of each row. What is not a number then is 0."""
    axis = 1 if by_channel else None
    centred = picture - np.median(picture, axis=axis, keepdims=True)
    sigma = centred.std(axis=axis, keepdims=True)
    return np.asarray(np.divide(centred, sigma, out=np.zeros_like(centred), where=sigma > 0), np.float32)
