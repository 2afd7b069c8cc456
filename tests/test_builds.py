"""Building the package from a checkout."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: the small one of the two modules is enough to see where it is built
QUICK = ["-C", "build.targets=_ufuncs", "-C", "install.components=none"]


@pytest.mark.external
def test_two_builds_at_once(tmp_path):
    """Two installs from one checkout: each builds in a folder of its own, and nothing is left in the tree."""
    for name in ("scikit_build_core", "cython_cmake", "pybind11"):
        pytest.importorskip(name)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("CMakeLists.txt", "LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout)
    for name in ("cpp", "src"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    before = sorted(checkout.rglob("*"))

    command = [sys.executable, "-m", "pip", "install", "-v", "--no-deps", "--no-build-isolation", *QUICK]
    builds = [
        subprocess.Popen(
            [*command, "--target", tmp_path / name, checkout],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("one", "two")
    ]
    logs = [build.communicate(timeout=600)[0] for build in builds]
    assert [build.returncode for build in builds] == [0, 0], "\n\n".join(log[-3000:] for log in logs)
    folders = {re.search(r"Build files have been written to: (\S+)", log)[1] for log in logs}
    assert len(folders) == 2
    assert sorted(checkout.rglob("*")) == before
