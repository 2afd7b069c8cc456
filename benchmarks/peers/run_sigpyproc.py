"""Single pulses of a filterbank by sigpyproc, run in the environment that has it (Python 3.12 or later).

    python run_sigpyproc.py FILE.fil DMS.txt SNR METHOD:CLEANING=OUT.txt ...

METHOD is presto or heimdall (its CPU versions of their single-pulse searches), CLEANING none, iqrm (noisy channels
masked) or zerodm (those masked, then the mean over the channels subtracted). OUT has a line for each pulse of each DM:
DM, time (s), S/N, width (s). It prints the seconds that each search took, without start-up.
"""

from __future__ import annotations

import logging
import sys
import time

import numpy as np
from sigpyproc.readers import FilReader

BLOCK = 1000  # samples that PRESTO's search scales together in series that are shorter than two of its blocks
SHORT = 16000


def cleaned(path: str, how: str) -> str:
    """Name of a file after cleaning."""
    if how == "none":
        return path
    name = path.replace(".fil", f"_{how}.fil")
    FilReader(path).clean_rfi(method="iqrm", threshold=3.0, outfile_name=name)
    if how == "zerodm":
        return FilReader(name).remove_zerodm(outfile_name=name.replace(".fil", "_mean.fil"))
    return name


def main() -> None:
    path, list_of_dms, snr, *searches = sys.argv[1:]
    logging.disable(logging.INFO)
    dms = np.loadtxt(list_of_dms)
    FilReader(path).dedisperse(0.0).find_pulses(snr_min=50)  # compiles
    for search in searches:
        what, _, out = search.partition("=")
        method, _, how = what.partition(":")
        begin = time.perf_counter()
        file = FilReader(cleaned(path, how))
        rows = []
        for dm in dms:
            series = file.dedisperse(float(dm))
            block = {"block_size": BLOCK} if method == "presto" and series.data.size < SHORT else {}
            found = series.find_pulses(snr_min=float(snr), method=method, **block).table
            times = found["bin"] * file.header.tsamp
            columns = (np.full(len(found), dm), times, found["snr"], found["width_s"].to_value("s"))
            rows.append(np.column_stack([np.asarray(column, float) for column in columns]))
        np.savetxt(out, np.concatenate(rows))
        print("seconds", what, time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main()
