"""Paths of the reference data, which are not part of this repository."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data" / "mwa"


@pytest.fixture
def mwa_data() -> Path:
    """Folder of reference observations; tests that need it skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"reference data not found at {DATA}")
    return DATA
