"""Building the package from a checkout."""

import io
import re
import shutil
import subprocess
import sys
import tarfile
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
    for name in ("CMakeLists.txt", "LICENSE", "README.md", "pyproject.toml"):  # and no history
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
    for name in ("one", "two"):
        written = (tmp_path / name / "mwaconvert" / "_version.py").read_text()
        assert written == '__version__ = "0.1.dev0"\n'


def test_versions_come_from_tags(tmp_path):
    """The tag; between tags the commit too; any clone and any archive has a version that pip takes."""
    pytest.importorskip("setuptools_scm")
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("pyproject.toml", ".git_archival.txt", ".gitattributes"):
        shutil.copy(ROOT / name, checkout)

    def git(*words: str) -> bytes:
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *who, *words], cwd=checkout, check=True, capture_output=True).stdout

    def version(folder: Path = checkout) -> str:
        code = (
            "import warnings; warnings.simplefilter('ignore')\n"
            "from setuptools_scm import Configuration, _get_version\n"
            "print(_get_version(Configuration.from_file('pyproject.toml')))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert version() == "0.1.dev0"
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    assert re.fullmatch(r"0\.1\.dev1\+g[0-9a-f]+", version())
    git("tag", "v0.2.0")
    assert version() == "0.2.0"
    git("commit", "-qm", "two", "--allow-empty")
    assert re.fullmatch(r"0\.2\.1\.dev1\+g[0-9a-f]+", version())
    git("clone", "-q", "--depth", "1", "--no-tags", checkout.as_uri(), str(tmp_path / "shallow"))
    assert re.fullmatch(r"0\.1\.dev1\+g[0-9a-f]+", version(tmp_path / "shallow"))
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--prefix=files/", "HEAD"))) as archive:
        archive.extractall(tmp_path, filter="data")
    assert re.fullmatch(r"0\.2\.1\.dev1\+g[0-9a-f]+", version(tmp_path / "files"))
