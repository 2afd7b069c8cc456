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

SEARCHES = (("presto", "none"), ("presto", "iqrm"), ("presto", "zerodm"), ("heimdall", "zerodm"))


def write_fil(path: Path, data: np.ndarray, band: Band) -> None:
    """A SIGPROC file of bytes."""
    with FilterbankWriter(path, band.freqs, band.dt, 8, start_mjd=60000.0) as writer:
        writer.write(data)


def by_sigpyproc(
    python: Path, path: Path, band: Band, method: str, cleaning: str, snr: float
) -> list[Candidate]:
    """Candidates of a file, best first."""
    dms = dm_trials(0.0, band.dm_max, float(delay_per_dm(band.freqs).max()), band.dt)
    list_of_dms, out = path.with_suffix(".dms"), path.with_suffix(".txt")
    np.savetxt(list_of_dms, dms)
    script = Path(__file__).with_name("run_sigpyproc.py")
    run = [python, script, path, list_of_dms, out, method, cleaning, str(snr)]
    subprocess.run([str(word) for word in run], check=True, capture_output=True)
    rows = np.loadtxt(out, ndmin=2).reshape(-1, 4)
    table = np.zeros(len(rows), [(name, "f8") for name in ("dm", "time_s", "snr", "width_s")])
    for name, values in zip(table.dtype.names, rows.T, strict=True):
        table[name] = values
    found = pulses(table, (band.freqs[0], band.freqs[-1]), K_DM, dms)
    return Precision(dms, band.freqs, band.dt, K_DM).measured(found)


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
        scores = {name: Score() for name in (("mwaconvert", ""), *SEARCHES)}
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(asked.files):
                data, truth = make(band, sky, 8, seed)
                path = Path(folder) / f"{sky}{seed}.fil"
                write_fil(path, data, band)
                for (program, cleaning), score in scores.items():
                    begin = time.perf_counter()
                    if cleaning:
                        rows = by_sigpyproc(asked.python, path, band, program, cleaning, asked.snr)
                    else:
                        rows = search(
                            data, band, argparse.Namespace(raw=False, without=[], snr=asked.snr, threads=0)
                        )
                    score.wall_s += time.perf_counter() - begin
                    score.add(truth, rows, band)
                for left in Path(folder).iterdir():
                    left.unlink()
        for (program, cleaning), score in scores.items():
            got = score.summary()
            results[f"{sky} {program} {cleaning}".strip()] = got
            print(
                f"{sky:6} {program:10} {cleaning:7}: found {got['found']} of {got['wanted']} "
                f"({100 * got['found_part']:.1f} %), {got['false_per_minute']:.1f} false and "
                f"{60 * got['double'] / got['seconds']:.1f} double rows a minute, S/N {got['snr_ratio']:.3f} of ideal; "
                f"{got['wall_s']:.1f} s for {got['seconds']:.0f} s",
                flush=True,
            )
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
