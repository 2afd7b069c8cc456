"""Time RFI detection on one core: `run_rfi.py aoflagger|mwaconvert N_TIMES N_CHANNELS quiet|noisy` prints
seconds per baseline.

The baselines are simulated (rfi_agreement.py): noise and a source; if noisy, narrow and short
interference. AOFlagger comes from PyPI and runs its MWA strategy.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from measure import Run, not_installed, report

BASELINES = 6


def main() -> None:
    program, n_times, n_channels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    try:
        from rfi_agreement import EDGES, AoFlagger, Case, simulate
    except SystemExit:
        not_installed("AOFlagger: pip install mwaconvert[aoflagger]")
    from mwaconvert.conversion.rfi.strategy import RfiStrategy, flag_baselines

    rfi = ("narrow", "transient") if sys.argv[4] == "noisy" else ()
    case = Case("timing", n_times, 40, n_channels // 32, source=2.0, mask=EDGES, rfi=rfi)
    baselines = [simulate(replace(case, name=f"timing {k}"), k)[:2] for k in range(BASELINES)]
    seconds = []
    if program == "aoflagger":
        flagger = AoFlagger()
        for vis, mask in baselines:
            flagger.prepare(vis, mask)
            started = time.process_time()
            flagger.run()
            seconds.append(time.process_time() - started)
    else:
        vis = np.stack([vis for vis, _ in baselines])
        found = np.empty(vis.shape[:3], np.bool_)
        for _ in range(2):  # the first one makes the scratch memory
            started = time.process_time()
            flag_baselines(vis, baselines[0][1], RfiStrategy(), 1, found)
            seconds = [(time.process_time() - started) / BASELINES]
    report(Run(float(np.mean(seconds)), 0.0))


if __name__ == "__main__":
    main()
