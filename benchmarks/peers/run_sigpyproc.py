"""Single pulses of a filterbank by sigpyproc, run in the environment that has it (Python 3.12 or later).

    python run_sigpyproc.py FILE.fil DMS.txt OUT.txt METHOD CLEANING SNR

METHOD is presto or heimdall (its CPU versions of their single-pulse searches), CLEANING none, iqrm (noisy channels
masked) or zerodm (those masked, then the mean over the channels subtracted). OUT has a line for each pulse of each DM:
DM, time (s), S/N, width (s).
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
from sigpyproc.readers import FilReader

BLOCK = 1000  # samples that PRESTO's search scales together in series that are shorter than two of its blocks
SHORT = 16000


def main() -> None:
    path, dms, out, method, cleaning, snr = sys.argv[1:]
    logging.disable(logging.INFO)
    name = path
    if cleaning != "none":
        name = path.replace(".fil", "_masked.fil")
        FilReader(path).clean_rfi(method="iqrm", threshold=3.0, outfile_name=name)
    if cleaning == "zerodm":
        name = FilReader(name).remove_zerodm(outfile_name=name.replace(".fil", "_zero.fil"))
    file = FilReader(name)
    dt_s = file.header.tsamp
    rows = []
    for dm in np.loadtxt(dms):
        series = file.dedisperse(float(dm))
        block = {"block_size": BLOCK} if method == "presto" and series.data.size < SHORT else {}
        found = series.find_pulses(snr_min=float(snr), method=method, **block).table
        columns = (np.full(len(found), dm), found["bin"] * dt_s, found["snr"], found["width_s"].to_value("s"))
        rows.append(np.column_stack([np.asarray(column, float) for column in columns]))
    np.savetxt(Path(out), np.concatenate(rows))


if __name__ == "__main__":
    main()
