"""Install a wheel where there is no compiler, and see that it works there.

    python install/check_wheel.py dist/*.whl [--beside pyuvdata xarray] [--tests tests/kernels tests/end_to_end]

Each wheel gets an environment of its own: nothing but its Python on PATH, and packages only as wheels. Then the
demo runs. `--beside` installs the newest of other packages with it, and has them read what was written. `--tests`
runs tests of the checkout against the installed package; the PATH then has the system's programs, but no compiler.
What was downloaded and installed, and how long it took, is printed.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPILERS = re.compile(
    r"(.*-)?(cc|c\+\+|c[89]9|gcc|g\+\+|clang|clang\+\+|cpp|ld|as|cmake|ninja|make|gmake|meson|ccache)(-[\d.]+)?"
)
SIMULATE = (
    "simulate --like mwax-128 --duration 16 --int-time 2 --fine-chan 20 --coarse-channels 2 "
    "--point 0.5 -26.5 10 --noise 20 -o demo"
)
CONVERT = "--timeres 8 --freqres 40 -o demo.uvfits -o demo.ms"
#: what reads the demo's products, beside the package that it names
READERS = {
    "pyuvdata": (
        "from pyuvdata import UVData\n"
        "for name in ('demo.uvfits', 'demo.ms')[: 1 + has('casacore')]:\n"
        "    data = UVData.from_file(name)\n"
        "    assert data.Nfreqs == 64 and data.Nants_telescope == 128, name\n"
        "data = mwaconvert.open(next(Path('demo').glob('*.metafits'))).plan(rfi='none').to_uvdata()\n"
        "assert data.Ntimes == 8"
    ),
    "xarray": (
        "import xarray\n"
        "plan = mwaconvert.open(next(Path('demo').glob('*.metafits'))).plan(rfi='none', time_res_s=8)\n"
        "sizes = [xarray.DataArray(block.vis, dims=('row', 'chan', 'pol')).sizes for block in plan.blocks()]\n"
        "assert sizes and sizes[0]['pol'] == 4"
    ),
    "casatools": (
        "folder = Path.home() / '.casa'\n"
        "folder.mkdir()\n"
        "(folder / 'config.py').write_text('import casadata; measurespath = casadata.datapath; '\n"
        "    'datapath = [measurespath]; measures_auto_update = data_auto_update = False; nologfile = True')\n"
        "import casatools\n"
        "table = casatools.table()\n"
        "table.open('demo.ms')\n"
        "assert table.nrows() == 2 * 8256 and table.getcol('DATA', 0, 8).shape == (4, 64, 8)\n"
        "table.close()"
    ),
}
#: what a package needs that it does not require
ALSO = {"casatools": ("casadata",)}
PREAMBLE = (
    "import importlib.util\nfrom pathlib import Path\nimport mwaconvert\n"
    "def has(name):\n    return importlib.util.find_spec(name) is not None\n"
)


class Environment:
    """An empty environment: a Python, and nothing else on PATH."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.python = folder, folder / "env" / "bin" / "python"
        subprocess.run([python, "-m", "venv", folder / "env"], check=True)
        self.site = next((folder / "env" / "lib").glob("python*/site-packages"))
        #: pip's own settings stay: where packages come from is the machine's affair
        kept = {
            key: value
            for key, value in os.environ.items()
            if key.startswith("PIP_") or "proxy" in key.lower()
        }
        self.variables = kept | {"PATH": str(self.python.parent), "HOME": str(folder), "LANG": "C.UTF-8"}
        self._no_compiler()

    def _no_compiler(self) -> None:
        for folder in self.variables["PATH"].split(":"):
            found = [path.name for path in Path(folder).iterdir() if COMPILERS.fullmatch(path.name)]
            if found:
                raise SystemExit(f"{folder} has compilers: {found}")

    def add_system_programs(self) -> None:
        """Links to all programs of the PATH but the compilers."""
        links = self.folder / "programs"
        links.mkdir()
        for folder in os.environ["PATH"].split(":"):
            for program in sorted(Path(folder).glob("*")):
                if not COMPILERS.fullmatch(program.name) and not (links / program.name).is_symlink():
                    (links / program.name).symlink_to(program)
        self.variables["PATH"] += f":{links}"
        self._no_compiler()

    def run(self, *words: str | Path, cwd: Path | None = None) -> float:
        """Seconds that a command took; ends the check if it fails."""
        begun = time.monotonic()
        done = subprocess.run(words, cwd=cwd or self.folder, env=self.variables, check=False)
        if done.returncode:
            raise SystemExit(f"exit code {done.returncode} of: {' '.join(map(str, words))[:500]}")
        return time.monotonic() - begun

    def pip(self, verb: str, *words: str | Path) -> float:
        return self.run(self.python, "-m", "pip", verb, "-q", "--disable-pip-version-check", *words)

    def python_code(self, code: str) -> float:
        return self.run(self.python, "-I", "-c", PREAMBLE + code)


def cpu_s() -> float:
    """Of all programs that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def largest(site: Path, n: int = 6) -> str:
    sizes = sorted(((megabytes(path), path.name) for path in site.iterdir() if path.is_dir()), reverse=True)
    return ", ".join(f"{name} {size:.0f}" for size, name in sizes[:n])


def check(wheel: Path, python: str, beside: list[str], tests: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="wheel-") as name:
        folder = Path(name)
        environment = Environment(folder, python)
        only = ("--only-binary", ":all:")
        downloaded_s = environment.pip("download", *only, "-d", folder / "wheels", wheel)
        before = megabytes(environment.site)
        begun_s = cpu_s()
        installed_s = environment.pip(
            "install", *only, "--no-index", "--find-links", folder / "wheels", wheel
        )
        sizes_mb = [
            wheel.stat().st_size / 1e6,
            megabytes(folder / "wheels"),
            megabytes(environment.site) - before,
        ]
        print(
            f"{wheel.name}: {sizes_mb[0]:.1f} MB\n"
            f"  with what it needs {sizes_mb[1]:.0f} MB, downloaded in {downloaded_s:.0f} s\n"
            f"  installed in {installed_s:.0f} s, {cpu_s() - begun_s:.0f} s of a processor; {sizes_mb[2]:.0f} MB\n"
            f"  the largest: {largest(environment.site)}",
            flush=True,
        )
        version = wheel.name.split("-")[1]
        environment.python_code(f"assert mwaconvert.__version__ == {version!r}, mwaconvert.__version__")
        command = environment.python.parent / "mwaconvert"
        environment.run(command, *SIMULATE.split())
        metafits = next((folder / "demo").glob("*.metafits"))
        took_s = environment.run(environment.python, "-m", "mwaconvert", metafits, *CONVERT.split())
        print(f"  the demo converts in {took_s:.1f} s", flush=True)
        for package in beside:
            environment.pip("install", *only, package, *ALSO.get(package, ()), wheel)
            environment.python_code(READERS[package])
            environment.run(
                environment.python, "-m", "mwaconvert", metafits, *CONVERT.split(), "--overwrite", "-q"
            )
            shown = environment.site.glob(f"{package}-*.dist-info")
            print(f"  beside {', '.join(path.name.removesuffix('.dist-info') for path in shown)}", flush=True)
        if tests:
            environment.pip("install", *only, f"{wheel}[test]")
            environment.add_system_programs()
            environment.run(
                environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=ROOT
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("--beside", nargs="*", default=[], choices=list(READERS))
    parser.add_argument("--tests", nargs="*", default=[])
    options = parser.parse_args()
    for wheel in options.wheels:
        number = re.search(r"-cp3(\d+)-", wheel.name)[1]
        python = shutil.which(f"python3.{number}")
        if python is None:
            sys.exit(f"{wheel.name}: no python3.{number} on this machine")
        check(wheel.resolve(), python, options.beside, options.tests)


if __name__ == "__main__":
    main()
