"""A process that runs AOFlagger on images in files: python -m mwaconvert.conversion.rfi.aoflagger_worker FOLDER [LUA]

Reads lists of rows from standard input, as JSON, one a line; answers each with an empty JSON string, or with what
went wrong. FOLDER holds images.npy (n_rows, 8, n_times, n_chan), missing.npy (n_times, n_chan) and found.npy
(n_rows, n_times, n_chan), which it writes into.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def main(folder: Path, strategy_file: str) -> None:
    """Serve until standard input ends."""
    import aoflagger

    # what the library prints must not be taken for answers
    answers, sys.stdout = sys.stdout, sys.stderr
    flagger = aoflagger.AOFlagger()
    strategy: Any = None
    for line in sys.stdin:
        try:
            if strategy is None:
                path = strategy_file or flagger.find_strategy_file(aoflagger.TelescopeId.MWA)
                strategy = flagger.load_strategy_file(path)
            _flag(flagger, strategy, folder, json.loads(line))
            message = ""
        except Exception as error:
            message = str(error) or type(error).__name__
        print(json.dumps(message), file=answers, flush=True)


def _flag(flagger: Any, strategy: Any, folder: Path, rows: list[int]) -> None:
    images = np.load(folder / "images.npy", mmap_mode="r")
    missing = np.load(folder / "missing.npy", mmap_mode="r")
    found = np.load(folder / "found.npy", mmap_mode="r+")
    n_times, n_chan = images.shape[2:]
    image_set = flagger.make_image_set(n_times, n_chan, 8)
    for row in rows:
        parts, finite = finite_parts(images[row])
        gone = (missing != 0) | ~finite
        for k in range(8):
            image_set.set_image_buffer(k, np.ascontiguousarray(parts[k].T))
        mask = flagger.make_flag_mask(n_times, n_chan, False)
        mask.set_buffer(np.ascontiguousarray(gone.T))
        flags = strategy.run(image_set, mask).get_buffer().T
        found[row] = flags & ~gone


def finite_parts(images: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Images of a baseline with 0 where an amplitude is not a finite number, as the built-in detection has it:
    AOFlagger would take such a value into the statistics and backgrounds of the good cells around it.

    Returns
    -------
    (8, n_times, n_chan) real and imaginary parts; (n_times, n_chan) where the amplitudes of all products are finite
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(images[0::2] ** 2 + images[1::2] ** 2)
    return np.where(np.repeat(finite, 2, axis=0), images, np.float32(0)), finite.all(axis=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
