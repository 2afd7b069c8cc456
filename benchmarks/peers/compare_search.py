"""The injections of `benchmarks/injections.py` through searches of others, scored as ours are.

    python benchmarks/peers/compare_search.py --python PYTHON [--files N] [--skies noise real] [--json OUT]

PYTHON is that of an environment with sigpyproc 2 (`pip install sigpyproc`; it has PRESTO's and heimdall's single-pulse
searches for CPUs). Every search gets the same files, the same DMs (those of ours) and the same threshold. What is found
at each DM is joined over the DMs by our clustering for all, since no list over DMs comes out of these programs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from injections import BANDS, Band, Score, make, search

from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.dispersion import K_DM, delay_per_dm
from mwaconvert.transients.clean.precision import Precision
from mwaconvert.transients.events import pulses
from mwaconvert.transients.trials.dm_plan import dm_trials

SEARCHES = ("presto:none", "presto:iqrm", "presto:zerodm", "heimdall:zerodm")


def write_fil(path: Path, data: np.ndarray, band: Band) -> None:
    """A SIGPROC file of bytes."""
    with FilterbankWriter(path, band.freqs, band.dt, 8, start_mjd=60000.0) as writer:
        writer.write(data)


def by_sigpyproc(
    python: Path, path: Path, band: Band, snr: float
) -> dict[str, tuple[list[Candidate], float]]:
    """Candidates of a file, best first, and seconds, of each search."""
    dms = dm_trials(0.0, band.dm_max, float(delay_per_dm(band.freqs).max()), band.dt)
    list_of_dms = path.with_suffix(".dms")
    np.savetxt(list_of_dms, dms)
    outs = {name: path.with_suffix(f".{k}") for k, name in enumerate(SEARCHES)}
    words = [f"{name}={out}" for name, out in outs.items()]
    script = Path(__file__).with_name("run_sigpyproc.py")
    run = [str(word) for word in (python, script, path, list_of_dms, snr, *words)]
    told = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    seconds = dict(line.split()[1:] for line in told.splitlines() if line.startswith("seconds "))
    results = {}
    for name, out in outs.items():
        rows = np.loadtxt(out, ndmin=2).reshape(-1, 4)
        table = np.zeros(len(rows), [(column, "f8") for column in ("dm", "time_s", "snr", "width_s")])
        for column, values in zip(table.dtype.names, rows.T, strict=True):
            table[column] = values
        found = pulses(table, (band.freqs[0], band.freqs[-1]), K_DM, dms)
        results[name] = Precision(dms, band.freqs, band.dt, K_DM).measured(found), float(seconds[name])
    return results


def ours(data: np.ndarray, band: Band, snr: float) -> tuple[list[Candidate], float]:
    begin = time.perf_counter()
    rows = search(data, band, argparse.Namespace(raw=False, without=[], snr=snr, threads=0))
    return rows, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--skies", nargs="+", default=["noise", "real"])
    parser.add_argument("--snr", type=float, default=6.75)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    band = BANDS["apertif"]
    results = {}
    for sky in asked.skies:
        scores = {name: Score() for name in ("mwaconvert", *SEARCHES)}
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(asked.files):
                data, truth = make(band, sky, 8, seed)
                path = Path(folder) / f"{sky}{seed}.fil"
                write_fil(path, data, band)
                found = {"mwaconvert": ours(data, band, asked.snr)}
                found |= by_sigpyproc(asked.python, path, band, asked.snr)
                for name, (rows, seconds) in found.items():
                    scores[name].wall_s += seconds
                    scores[name].add(truth, rows, band)
                for left in Path(folder).iterdir():
                    left.unlink()
        for name, score in scores.items():
            got = score.summary()
            results[f"{sky} {name}"] = got
            print(
                f"{sky:6} {name:16}: found {got['found']} of {got['wanted']} "
                f"({100 * got['found_part']:.1f} %), {got['false_per_minute']:.1f} false and "
                f"{60 * got['double'] / got['seconds']:.1f} double rows a minute, S/N {got['snr_ratio']:.3f} of ideal; "
                f"{got['wall_s']:.1f} s for {got['seconds']:.0f} s",
                flush=True,
            )
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
