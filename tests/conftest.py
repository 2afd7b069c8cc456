"""Fixtures: the reference data, which are not part of this repository, and a small simulated observation."""

import json
import logging
import os
import shutil
import subprocess
import types
from collections.abc import Iterator
from pathlib import Path

import published
import pytest

from mwaconvert import text

SHARED = Path(__file__).parents[2] / "shared" / "data"
DATA = SHARED / "mwa"


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    """A service sets the levels of its process for good; the next test begins as a new process does."""
    loggers = [logging.getLogger(name) for name in (None, "mwaconvert", "uvicorn.error", "dbos")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def published_schemas(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Every document of ours that a test makes, in this process or as a file of another, is as its schema says."""

    def dumps(facts: object, **how: object) -> str:
        published.check(facts)
        return json.dumps(facts, **how)

    monkeypatch.setattr(text, "json", types.SimpleNamespace(dumps=dumps))
    yield
    folder = request.node.funcargs.get("tmp_path")
    for path in folder.rglob("*.json") if folder is not None else ():
        try:
            document = json.loads(path.read_bytes())
        except (ValueError, OSError):
            continue  # a test of damage, or none of ours
        published.check(document)


@pytest.fixture
def mwa_data() -> Path:
    """Folder of reference observations; tests that need it skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"reference data not found at {DATA}")
    return DATA


@pytest.fixture
def filterbanks() -> Path:
    """Folder with fil/ and frb/; tests that need it skip where it is absent."""
    if not (SHARED / "fil").is_dir() or not (SHARED / "frb").is_dir():
        pytest.skip(f"reference data not found at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def darc() -> Path:
    """Folder of the DARC reference data; tests that need it skip where it is absent."""
    if not (SHARED / "darc" / "amber").is_dir():
        pytest.skip(f"reference data not found at {SHARED}")
    return SHARED / "darc"


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Folder on a disk of 24 MB; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def field() -> Path:
    """Folder of small inputs that trouble a converter; tests that need it skip where it is absent."""
    if not (SHARED / "field" / "conversion").is_dir():
        pytest.skip(f"reference data not found at {SHARED}")
    return SHARED / "field" / "conversion"
