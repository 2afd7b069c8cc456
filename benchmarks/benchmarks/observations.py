"""Small simulated observations, made once for all benchmarks of a class (asv's `setup_cache`)."""

from __future__ import annotations

from pathlib import Path

from mwaconvert.simulate import simulate

KINDS = {
    "mwax": {"like": "mwax-128"},
    "legacy": {"like": "legacy-128"},
    "rice": {"like": "legacy-128", "compress": True, "bscale": 2.0**-8},
}
#: raw data as complex64: 8 integrations, 128 tiles, 32 channels of 40 kHz, 4 polarisations
MEGABYTES = 8 * 8256 * 32 * 4 * 8 / 1e6


def make_observations() -> dict[str, str]:
    """One observation of each kind in the working directory; kind -> metafits."""
    return {
        kind: str(simulate(Path(kind).resolve(), duration_s=16.0, noise_jy=20.0, **options).metafits)
        for kind, options in KINDS.items()
    }
