"""A small simulated observation, shared by the tests of this folder."""

from pathlib import Path

import pytest

from mwaconvert.simulate import simulate


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    """Metafits of an MWAX observation of 8 tiles (one flagged), 2 coarse channels, 4 integrations (a gap)."""
    folder = tmp_path_factory.mktemp("small")
    return simulate(
        folder,
        "mwax-128",
        n_tiles=8,
        duration_s=8,
        coarse_channels=2,
        noise_jy=3,
        missing=["ch=1,t=2"],
        flagged_tiles=[5],
    ).metafits
