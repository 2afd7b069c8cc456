"""What the campaign attacks: command lines on small simulated data, and how their outputs are compared."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

MAIN = "from mwaconvert.cli.main import main; main()"
#: flags and amplitudes go to files in TMPDIR, as those of large observations do; how many files is written down
SPILLING = """
import atexit, dataclasses, os, tempfile
import mwaconvert.conversion.resources as resources
import mwaconvert.conversion.planner as planner
plan_detection, temporary_file, made = planner.plan_detection, tempfile.TemporaryFile, []
def counted(*words, **more):
    made.append(1)
    return temporary_file(*words, **more)
tempfile.TemporaryFile = counted
resources.mask_in_file = lambda *_: True
planner.plan_detection = lambda *a, **k: (
    None if (d := plan_detection(*a, **k)) is None else dataclasses.replace(d, spill_in_file=True)
)
atexit.register(lambda: open(os.environ["MWACONVERT_SPILLED"], "w").write(str(len(made))))
from mwaconvert.cli.main import main; main()
"""
PRODUCTS = "products"


@dataclass(frozen=True)
class Case:
    """A command line in a folder of its own.

    Attributes
    ----------
    outputs : what it writes there
    goes_on : whether the same command, given again, goes on where it was stopped; its products are packages
    spills : whether it has anything to keep in TMPDIR
    """

    name: str
    words: tuple[str, ...]
    outputs: tuple[str, ...]
    goes_on: bool = False
    spills: bool = False


def make_cases(inputs: Path) -> list[Case]:
    """Verbs that write: conversions to each kind of output, and others."""
    obs, legacy, slow = (
        str(next((inputs / name).glob("*.metafits"))) for name in ("mwax/1412607288", "legacy", "slow")
    )
    fil, ms, jobs = str(inputs / "a.fil"), str(inputs / "a.ms"), str(inputs / "jobs.csv")
    sky = ["--tiles", "4", "--coarse-channels", "1", "--duration", "4", "--seed", "3", "-o", "."]
    one_raw = "1412607288_20241010145430_ch131_000.fits"
    pulses = ["--dm-range", "20", "60", "--pulses", "3", "-o", "a.fil"]
    root = ("--root", str(inputs / "mwax"), "-d", PRODUCTS)
    return [
        Case("uvfits", (obs, "-o", "a.uvfits", "--report", "r.json"), ("a.uvfits", "r.json"), spills=True),
        Case("ms", (obs, "-o", "a.ms", "--qa", "a.png"), ("a.ms", "a.png"), spills=True),
        Case("dysco", (obs, "--compress", "dysco", "--no-autos", "-o", "d.ms"), ("d.ms",), spills=True),
        Case("uvh5", (obs, "-o", "a.uvh5"), ("a.uvh5",), spills=True),
        Case("legacy", (legacy, "-o", "b.uvfits"), ("b.uvfits",), spills=True),
        Case("mwaf", (legacy, "-o", "a_%%.mwaf"), ("a_01.mwaf",), spills=True),
        Case("spooled", (slow, "-o", "c.uvfits"), ("c.uvfits",), spills=True),
        Case("qa", ("qa", ms, "-o", "a.html"), ("a.html",)),
        Case("dedisperse", ("dedisperse", fil, "--dm", "50", "-o", "a.dat"), ("a.dat", "a.inf")),
        Case("waterfall", ("waterfall", fil, "--dm", "50", "-o", "a.pdf"), ("a.pdf",)),
        Case("search", ("search", fil, "--dm-range", "0", "60", "-o", "a.csv"), ("a.csv",)),
        Case("inject", ("inject", fil, *pulses), ("a.fil", "a.csv")),
        Case("simulate", ("simulate", *sky), ("1412607288.metafits", one_raw)),
        Case("jobs", ("jobs", "run", jobs, *root), (PRODUCTS,), goes_on=True),
    ]


def make_inputs(folder: Path) -> None:
    """Raw data of three kinds, a measurement set, a filterbank and a job file."""
    import numpy as np

    from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
    from mwaconvert.simulate import simulate

    obs = folder / "mwax" / "1412607288"
    sim = simulate(obs, "mwax-128", n_tiles=6, duration_s=16, coarse_channels=2, noise_jy=3)
    simulate(  # compressed: such files cannot be read in parts, so that amplitudes have to be kept
        folder / "legacy",
        "legacy-128",
        duration_s=8,
        fine_khz=40.0,
        coarse_channels=1,
        noise_jy=3,
        compress=True,
    )
    slow = simulate(folder / "slow", "mwax-128", n_tiles=4, duration_s=8, coarse_channels=1)
    _to_doubles(next(slow.metafits.parent.glob("*_ch*.fits")))
    code, errors = run(MAIN, [str(sim.metafits), "-o", "a.ms", "-q"], folder)
    if code:
        raise SystemExit(f"a measurement set cannot be made: {errors}")
    values = np.random.default_rng(1).normal(100, 10, (64, 8192)).astype(np.float32)
    with FilterbankWriter(folder / "a.fil", np.linspace(1200.0, 1500.0, 64), 1e-3, 32) as writer:
        writer.write(values)
    (folder / "jobs.csv").write_text(
        "obs_id=1412607288, job_type=c, timeres=4, freqres=40, conversion=uvfits\n"
        "obs_id=1412607288, job_type=d, download_type=vis\n"
    )


def _to_doubles(path: Path) -> None:
    """A raw file whose numbers no kernel reads, so that they are decoded to a file in TMPDIR."""
    import numpy as np
    from astropy.io import fits

    with fits.open(path) as hdus:
        images = [fits.ImageHDU(hdu.data.astype(np.float64), hdu.header) for hdu in hdus[1:]]
        fits.HDUList([hdus[0].copy(), *images]).writeto(path, overwrite=True)


def start(code: str, words: list[str] | tuple[str, ...], folder: Path, **env: str) -> subprocess.Popen[str]:
    """A program in a folder; what it says on stderr is kept in the file `errors` beside the folder."""
    with folder.with_suffix(".errors").open(
        "ab"
    ) as errors:  # no pipe: what outlives a kill would hold it open
        return subprocess.Popen(
            [sys.executable, "-c", code, *words],
            cwd=folder,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
        )


def said(folder: Path) -> str:
    """What programs said in a folder since the last call."""
    path = folder.with_suffix(".errors")
    text = path.read_text(errors="replace")
    path.unlink()
    return text


def run(code: str, words: list[str] | tuple[str, ...], folder: Path, **env: str) -> tuple[int, str]:
    """Exit code, and what was said."""
    process = start(code, words, folder, **env)
    code_of_exit = process.wait(timeout=600)
    return code_of_exit, said(folder)


def digest(path: Path) -> str:
    """Of the bytes of a file, or of all files of a directory but its HISTORY; 'none' where nothing is."""
    if not os.path.lexists(path):
        return "none"
    if path.name == PRODUCTS:
        return _digest_of_products(path)
    total = hashlib.sha256()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if file.is_file() and file.parent.name != "HISTORY":
            total.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return total.hexdigest()


def _digest_of_products(folder: Path) -> str:
    """Of the names and data in packages; what describes a job has times in it."""
    total = hashlib.sha256()
    # a job that failed is another one, with another number, when its line is submitted again
    packages = {package.name.split("_", 2)[2]: package for package in folder.glob("*.tar")}
    for kind, package in sorted(packages.items()):
        total.update(kind.encode())
        with tarfile.open(package) as tar:
            for member in sorted(tar.getmembers(), key=lambda m: m.name):
                total.update(member.name.encode())
                if member.name.endswith((".uvfits", ".metafits", ".fits")) and (
                    file := tar.extractfile(member)
                ):
                    total.update(file.read())
    return total.hexdigest()
