"""Paths of the reference filterbanks, which are not part of this repository."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def filterbanks() -> Path:
    """Folder with fil/ and frb/; tests that need it skip where it is absent."""
    if not (DATA / "fil").is_dir() or not (DATA / "frb").is_dir():
        pytest.skip(f"reference data not found at {DATA}")
    return DATA


@pytest.fixture(scope="session")
def darc() -> Path:
    """Folder of the DARC reference data; tests that need it skip where it is absent."""
    if not (DATA / "darc" / "amber").is_dir():
        pytest.skip(f"reference data not found at {DATA}")
    return DATA / "darc"
