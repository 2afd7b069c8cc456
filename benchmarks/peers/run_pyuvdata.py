"""Convert with pyuvdata: `run_pyuvdata.py METAFITS OUTPUT FILES...` prints seconds and peak memory.

Cable lengths, digital gains and the coarse passband are corrected and the data phased to the pointing, as far as
pyuvdata can; flags as it makes them by default. The time is that of reading and writing, without the import.
"""

from __future__ import annotations

import resource
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from measure import Run, not_installed, report

#: pyuvdata asks astropy for the position of the array, and astropy a server
SITES = {
    "mwa": {
        "name": "Murchison Widefield Array",
        "aliases": ["MWA"],
        "source": "MWA",
        "latitude": -26.703319405555554,
        "latitude_unit": "degree",
        "longitude": 116.67081523611111,
        "longitude_unit": "degree",
        "elevation": 377.827,
        "elevation_unit": "meter",
        "timezone": "Australia/Perth",
    }
}


def main() -> None:
    try:
        from pyuvdata import UVData
    except ImportError:
        not_installed("pyuvdata: pip install pyuvdata")
    from astropy.coordinates import EarthLocation
    from astropy.coordinates.sites import SiteRegistry
    from astropy.utils import iers

    EarthLocation._site_registry = SiteRegistry.from_json(SITES)
    iers.conf.auto_download = False
    warnings.simplefilter("ignore")

    metafits, output, *files = sys.argv[1:]
    started = time.perf_counter()
    data = UVData()
    data.read_mwa_corr_fits([metafits, *files], phase_to_pointing_center=True)
    if output.endswith(".ms"):
        data.write_ms(output)
    else:
        data.write_uvfits(output)
    seconds = time.perf_counter() - started
    report(Run(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3))


if __name__ == "__main__":
    main()
