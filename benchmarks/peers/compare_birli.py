"""Compare what we write with what Birli writes: the same simulated raw files and the same options through both programs.

`compare_birli.py [CASE ...]` prints a line for each case with the largest differences, then what is known about
them. Exit code 1 if a difference is larger than its tolerance and not explained.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from measure import converter
from peers.outputs import Output, read_output
from peers.run_birli import command as birli_command

SOURCES = [(0.5, -26.0, 10.0), (3.0, -29.0, 4.0)]
COMMON: dict[str, Any] = {"sources": SOURCES, "noise_jy": 2.0, "seed": 1, "flagged_tiles": [3]}
LEGACY = {"like": "legacy-128", "duration_s": 16.0, "coarse_channels": 2, "quack_s": 2.0, **COMMON}
MWAX = {
    "like": "mwax-128", "n_tiles": 24, "duration_s": 16.0, "int_time_s": 0.5, "fine_khz": 10.0,
    "coarse_channels": 2, "quack_s": 2.0, **COMMON,
}  # fmt: skip
SHORT = {"like": "mwax-128", "n_tiles": 16, "duration_s": 16.0, "coarse_channels": 4, **COMMON}
PICKET = {**LEGACY, "coarse_channels": [120, 121, 140, 141]}
ODD = {**MWAX, "n_tiles": 16, "fine_khz": 51.2, "coarse_channels": [100, 101, 103]}
MWAX_256 = {"like": "mwax-256", "duration_s": 4.0, "fine_khz": 160.0, **COMMON}

#: differences in relation to what is compared: rms of visibilities, weight, metres, seconds, Hz
TOLERANCE = {
    "vis": 5e-7,
    "weight": 1e-6,
    "uvw": 2e-4,
    "time": 1e-6,
    "interval": 0.0,
    "position": 1e-6,
    "freq": 1e-3,
    "flags": 0.0,
}

UNITS = {
    "vis": "(rms/rms)", "weight": "", "uvw": "(m)", "time": "(s)", "interval": "(s)", "position": "(m)",
    "freq": "(Hz)", "flags": "(share)",
}  # fmt: skip

#: differences found: who is right
KNOWN = {
    "cables": "XY and YX where the cables of X and Y differ: Birli takes the length of the other polarisation, and "
    "leaves autocorrelations as they are; ours takes the lengths of the two inputs that were multiplied",
    "centroid": "averages that are partly flagged, and a short last one: Birli writes time, interval and uvw of "
    "a whole average; ours writes those of the integrations that went in",
    "gap": "after the first integration that any coarse channel lacks, Birli flags everything to the end of the "
    "observation, ours only what is missing",
}


@dataclass(frozen=True)
class Case:
    """One run of both programs.

    Attributes
    ----------
    simulation : arguments of `mwaconvert.simulate.simulate`
    options : given to both
    known : key of `KNOWN` that says why they differ
    touches : what then differs
    suffix : of the output: .uvfits or .ms
    equal_cables : give X and Y of each tile the same cable length
    solutions : apply calibration solutions: full matrices, some of them missing
    scale : of the correlator (SCALEFAC), which the Van Vleck correction asks for
    """

    simulation: dict[str, Any]
    options: str = ""
    known: str = ""
    touches: tuple[str, ...] = ()
    equal_cables: bool = True
    suffix: str = ".uvfits"
    solutions: bool = False
    scale: float | None = None


TIMING = ("time", "interval", "uvw")
CASES = {
    "legacy": Case(LEGACY),
    "legacy averaged": Case(LEGACY, "--flag-init 4 --avg-time-res 4 --avg-freq-res 160"),
    "legacy Rice": Case({**LEGACY, "compress": True}),
    "legacy mixed band": Case(PICKET),
    "legacy cables": Case(LEGACY, known="cables", touches=("vis",), equal_cables=False),
    "MWAX": Case(MWAX),
    "MWAX averaged": Case(MWAX, "--avg-time-res 2 --avg-freq-res 40"),
    "MWAX 8 s averages": Case(MWAX, "--avg-time-res 8", "centroid", TIMING),
    "MWAX short last average": Case(MWAX, "--avg-time-factor 5 --flag-init 0", "centroid", TIMING),
    "MWAX odd channels averaged": Case({**ODD, "coarse_channels": 1}, "--avg-freq-factor 5"),
    "MWAX odd channels, picket fence": Case(ODD),
    "MWAX 256 tiles": Case(MWAX_256),
    "MWAX, measurement set": Case(MWAX, suffix=".ms"),
    "MWAX averaged, measurement set": Case(MWAX, "--avg-time-res 2 --avg-freq-res 40", suffix=".ms"),
    "legacy, measurement set": Case(LEGACY, suffix=".ms"),
    "no corrections": Case(
        MWAX, "--no-cable-delay --no-digital-gains --no-geometric-delay --passband-gains none"
    ),
    "cable only": Case(MWAX, "--no-digital-gains --no-geometric-delay --passband-gains none"),
    "geometry only": Case(MWAX, "--no-cable-delay --no-digital-gains --passband-gains none"),
    "gains only": Case(MWAX, "--no-cable-delay --no-geometric-delay --passband-gains none"),
    "passband jake, legacy": Case(LEGACY, "--passband-gains jake"),
    "passband cotter, MWAX": Case(MWAX, "--passband-gains cotter"),
    "phase centre": Case(MWAX, "--phase-centre 10 -20"),
    "pointing centre": Case(MWAX, "--pointing-centre"),
    "cotter's position": Case(MWAX, "--emulate-cotter"),
    "tracked by the correlator": Case({**SHORT, "geodel": 3, "cabledel": 1}),
    "static flags": Case(
        MWAX, "--flag-edge-width 80 --flag-dc --flag-autos --flag-antennas 5 --flag-init 4 --flag-end 2"
    ),
    "selection": Case(MWAX, "--sel-time 5 20 --no-sel-autos"),
    "solutions": Case(MWAX, solutions=True),
    "solutions, averaged": Case(MWAX, "--avg-time-res 2 --avg-freq-res 40", solutions=True),
    "Van Vleck": Case(
        {**LEGACY, "noise_jy": 20.0, "duration_s": 4.0}, "--van-vleck --flag-init 0", scale=0.0164
    ),
    "missing integrations": Case({**SHORT, "missing": ["ch=1,t=0-1", "ch=2,t=4"]}, "", "gap", ("flags",)),
    "missing coarse channel": Case({**SHORT, "missing": ["ch=1"]}, "--provided-chan-ranges"),
}


def convert_both(case: Case, folder: Path) -> list[tuple[Output, Output]]:
    """Simulate and convert; the files of each program in pairs."""
    from mwaconvert.simulate import simulate

    made = simulate(folder / "raw", **case.simulation)
    if case.equal_cables:
        _equal_cables(made.metafits)
    files = [str(path) for path in made.raw]
    options = case.options.split()
    if case.solutions:
        options += ["--apply-di-cal", str(_solutions(folder / "solutions.bin", made.metafits))]
    if case.scale is not None:
        _set_scale(made.raw, case.scale)
    ours, theirs = folder / f"ours{case.suffix}", folder / f"birli{case.suffix}"
    words = ["-q", "-m", str(made.metafits), "-o", str(ours), "--like", "birli", "--no-rfi"]
    _run([*converter(), *words, *options, *files])
    _run(birli_command(made.metafits, theirs, files, options))
    found = [
        sorted(path.name.removeprefix(kind) for path in folder.glob(f"{kind}*")) for kind in ("ours", "birli")
    ]
    if found[0] != found[1]:
        raise RuntimeError(f"different files: ours {found[0]}, Birli {found[1]}")
    return [(read_output(folder / f"ours{end}"), read_output(folder / f"birli{end}")) for end in found[0]]


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{(result.stdout + result.stderr)[-1000:]}")


def _equal_cables(metafits: Path) -> None:
    """Give Y of each tile the cable length of X."""
    from astropy.io import fits

    with fits.open(metafits, mode="update") as hdus:
        table = hdus["TILEDATA"].data
        order = np.lexsort((table["Pol"], table["Antenna"])).reshape(-1, 2)
        table["Length"][order[:, 1]] = table["Length"][order[:, 0]]


def _solutions(path: Path, metafits: Path) -> Path:
    """AOCal solutions: random matrices, none for a tile, for a channel, and for a tile in a channel."""
    from mwaconvert.observation.metafits import read_metadata

    meta = read_metadata(metafits)
    rng = np.random.default_rng(1)
    shape = (1, meta.n_antennas, len(meta.coarse_channels) * 32, 4)
    jones = (rng.normal(0, 0.5, shape) + 1j * rng.normal(0, 0.5, shape)).astype("<c16")
    jones[..., [0, 3]] += 1
    jones[0, 4] = jones[0, :, 7] = jones[0, 6, 20] = np.nan
    header = struct.pack("<8s6I2d", b"MWAOCAL\0", 0, 0, *shape, 0.0, 0.0)
    path.write_bytes(header + jones.tobytes())
    return path


def _set_scale(raw: Sequence[Path], scale: float) -> None:
    from astropy.io import fits

    for path in raw:
        with fits.open(path, mode="update") as hdus:
            for hdu in hdus[1:]:
                hdu.header["SCALEFAC"] = scale


def differences(ours: Output, theirs: Output) -> dict[str, float]:
    """Largest differences. Visibilities and weights: of values that neither flags.

    `vis` is relative to the rms of the same polarisation among auto- or among cross-correlations;
    `flags` is the share of values that only one of them flags.
    """
    if ours.vis.shape != theirs.vis.shape:
        raise RuntimeError(f"different shapes: ours {ours.vis.shape}, Birli's {theirs.vis.shape}")
    for name in ("antenna1", "antenna2"):
        if not np.array_equal(getattr(ours, name), getattr(theirs, name)):
            raise RuntimeError(f"{name} differs")
    good = ~(ours.flagged | theirs.flagged)
    vis = 0.0
    for rows in (ours.antenna1 == ours.antenna2, ours.antenna1 != ours.antenna2):
        for pol in range(4):
            use = good[rows, :, pol]
            if use.any():
                a, b = ours.vis[rows, :, pol][use], theirs.vis[rows, :, pol][use]
                vis = max(vis, _rms(a - b) / _rms(b))
    return {
        "vis": vis,
        "weight": float(np.abs(ours.weight[good] / theirs.weight[good] - 1).max(initial=0)),
        "uvw": float(np.abs(ours.uvw_m - theirs.uvw_m).max()),
        "time": float(np.abs((ours.day - theirs.day) * 86400 + ours.time_s - theirs.time_s).max()),
        "interval": float(np.abs(ours.inttime_s - theirs.inttime_s).max()),
        "position": float(np.abs(ours.position_m - theirs.position_m).max()),
        "freq": float(np.abs(ours.freq_hz - theirs.freq_hz).max()),
        "flags": float(np.mean(ours.flagged != theirs.flagged)),
    }


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.abs(values.astype(np.complex128)) ** 2)))


def compare(case: Case) -> tuple[dict[str, float], list[str]]:
    """Differences of all files of a case, and the names of those that are too large and not explained."""
    with tempfile.TemporaryDirectory(prefix="compare-birli-") as folder:
        each = [differences(*pair) for pair in convert_both(case, Path(folder))]
    worst = {name: max(found[name] for found in each) for name in TOLERANCE}
    return worst, [name for name in TOLERANCE if worst[name] > TOLERANCE[name] and name not in case.touches]


def main() -> None:
    names = sys.argv[1:] or list(CASES)
    unknown = set(names) - set(CASES)
    if unknown:
        sys.exit(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    print(f"| case | {' | '.join(f'{name} {unit}'.strip() for name, unit in UNITS.items())} | |")
    print("| --- " * (len(UNITS) + 2) + "|")
    bad, seen = [], set()
    for name in names:
        case = CASES[name]
        try:
            worst, wrong = compare(case)
        except RuntimeError as error:
            print(f"| {name} | {error} |", flush=True)
            bad.append(name)
            continue
        bad += [name] * bool(wrong)
        seen |= {case.known} - {""}
        verdict = "differs: " + ", ".join(wrong) if wrong else case.known or "same"
        numbers = " | ".join("0" if value == 0 else f"{value:.1e}" for value in worst.values())
        print(f"| {name} | {numbers} | {verdict} |", flush=True)
    for key in sorted(seen):
        print(f"\n{key}: {KNOWN[key]}")
    if bad:
        sys.exit(f"\nunexplained: {', '.join(bad)}")


if __name__ == "__main__":
    main()
