"""A few seconds of `make fuzz`, with a seed of their own."""

import os
import subprocess
import sys
from pathlib import Path

import mwaconvert


def test_damaged_files_are_refused_or_read(tmp_path):
    words = [sys.executable, Path(__file__).with_name("fuzz_readers.py"), "--seconds", "4", "--seed", "7"]
    package = str(Path(mwaconvert.__file__).resolve().parents[1])
    done = subprocess.run(
        [*words, "--keep", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": package},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 findings" in done.stdout
    assert done.stdout.count("\n| ") > 25  # readers
