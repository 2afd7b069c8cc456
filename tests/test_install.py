"""What `make demo` says while it installs."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "install" / "with_progress.py"


@pytest.fixture(scope="module")
def with_progress():
    spec = importlib.util.spec_from_file_location("with_progress", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Collecting astropy<9,>=6.1 (from mwaconvert==0.1)", "finds packages: astropy"),
        ("  Downloading pyarrow-26.0.1-cp311-cp311-any.whl (55.1 MB)", "downloads pyarrow, 55.1 MB"),
        ("  [12/63] Building CXX object CMakeFiles/a.dir/b.cpp.o", "compiles the kernels: 12 of 63"),
        ("  [ 42%] Building CXX object CMakeFiles/a.dir/b.cpp.o", "compiles the kernels: 42 %"),
        ("Installing collected packages: numpy", "puts packages in place"),
    ],
)
def test_lines_of_pip(line, words, with_progress):
    assert with_progress.said(line)[0] == words
    assert with_progress.said("  copying a.py -> b.py") is None


def test_what_fails_is_told(tmp_path):
    """The exit code of pip, and its last words."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--no-index", str(tmp_path / "nothing.whl")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "nothing.whl" in done.stdout
