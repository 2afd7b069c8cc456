"""RFI detection by AOFlagger, where it is installed: in processes of its own, which read images from files.

AOFlagger is licensed under the GPL and holds Python's lock while it works, so it is never imported here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert.conversion.options import Options
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.staging import check_input

#: file of AOFlagger's strategy for the MWA
MWA_STRATEGY = "mwa-default.lua"
WORKER = "mwaconvert.conversion.rfi.aoflagger_worker"


def check_aoflagger(options: Options) -> str:
    """Which AOFlagger with which strategy, for reports.

    Raises
    ------
    InputError : it is not installed, or the strategy cannot be its own
    """
    if find_spec("aoflagger") is None:
        raise InputError(
            "`rfi=aoflagger`: AOFlagger is not installed; pip install mwaconvert[aoflagger] (Linux on x86-64), "
            "or leave the option out for the built-in detection, which decides the same",
            option="rfi",
        )
    name = f"AOFlagger {aoflagger_version()}".rstrip()
    if options.rfi_strategy is None:
        return f"{name} with its strategy for the MWA"
    path = Path(options.rfi_strategy)
    if path.suffix != ".lua":
        raise InputError(
            f"{path}: AOFlagger wants a Lua strategy (.lua); TOML files are for the built-in one"
        )
    check_input(path, "RFI strategy")
    return f"{name} with {path}"


def aoflagger_version() -> str:
    """Version of the installed AOFlagger; empty if it is not known."""
    try:
        return version("aoflagger")
    except PackageNotFoundError:
        return ""


class AOFlagger:
    """Flags blocks of images, sharing the baselines out to worker processes.

    Parameters
    ----------
    strategy : Lua file; empty: AOFlagger's own for the MWA
    """

    def __init__(self, strategy: str, n_workers: int) -> None:
        self._strategy = strategy
        self._n_workers = n_workers
        self._workers: list[subprocess.Popen[str]] = []

    def __enter__(self) -> AOFlagger:
        self._folder = tempfile.TemporaryDirectory(prefix="mwaconvert-")
        for _ in range(self._n_workers):
            words = [sys.executable, "-m", WORKER, self._folder.name, self._strategy]
            self._workers.append(
                subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()  # it holds nothing that would have to be finished
            worker.communicate()
        self._folder.cleanup()

    def __call__(
        self, images: npt.NDArray[np.float32], missing: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8]:
        """(n_rows, n_times, n_chan) 1 where RFI was found, of images (n_rows, 8, n_times, n_chan).

        missing : (1, n_times, n_chan) the same cells of all rows
        """
        folder = Path(self._folder.name)
        found = np.zeros((len(images), *images.shape[2:]), np.uint8)
        try:
            for name, array in (("images", images), ("missing", missing[0]), ("found", found)):
                np.save(folder / f"{name}.npy", array)
        except OSError as error:
            raise ResourceError(f"{folder}: no room for images: {error.strerror}; set TMPDIR") from error
        asked = []
        for k, worker in enumerate(self._workers):
            rows = list(range(k, len(images), self._n_workers))
            if rows:
                asked.append(worker)
                self._send(worker, rows)
        for worker in asked:
            self._receive(worker)
        return np.load(folder / "found.npy")  # type: ignore[no-any-return]

    def _send(self, worker: subprocess.Popen[str], rows: list[int]) -> None:
        assert worker.stdin is not None
        try:
            worker.stdin.write(json.dumps(rows) + "\n")
            worker.stdin.flush()
        except OSError:
            pass  # it is gone: the answer says so

    def _receive(self, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout is not None
        answer = worker.stdout.readline()
        if not answer:
            raise ResourceError(f"a process of AOFlagger ended with status {worker.wait()}")
        message = json.loads(answer)
        if message:
            raise InputError(f"AOFlagger could not use {self._strategy or 'its strategy'}: {message}")
