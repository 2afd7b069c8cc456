"""Read raw data with mwalib: `run_mwalib.py METAFITS FILES...` prints seconds and peak memory.

The time is that of the calls of `read_by_baseline` alone, without start-up and opening.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from measure import Run, not_installed, report


def main() -> None:
    try:
        from mwalib import CorrelatorContext
    except ImportError:
        not_installed("mwalib: pip install mwalib")
    metafits, *files = sys.argv[1:]
    with CorrelatorContext(metafits, files) as context:
        started = time.perf_counter()
        for timestep in context.provided_timestep_indices:
            for coarse in context.provided_coarse_chan_indices:
                context.read_by_baseline(timestep, coarse)
        seconds = time.perf_counter() - started
    report(Run(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3))


if __name__ == "__main__":
    main()
