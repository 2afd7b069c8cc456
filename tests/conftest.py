"""Fixtures: the reference data, which are not part of this repository, and a small simulated observation."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data" / "mwa"


@pytest.fixture
def mwa_data() -> Path:
    """Folder of reference observations; tests that need it skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"reference data not found at {DATA}")
    return DATA


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    """Metafits of an MWAX observation: 8 tiles, one flagged; 2 coarse channels; 4 integrations, one lost."""
    from mwaconvert.simulate import simulate

    return simulate(
        tmp_path_factory.mktemp("small"),
        "mwax-128",
        n_tiles=8,
        duration_s=8,
        coarse_channels=2,
        noise_jy=3,
        missing=["ch=1,t=2"],
        flagged_tiles=[5],
    ).metafits
