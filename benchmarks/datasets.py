"""Simulated observations that the benchmarks convert: made once, kept and reused.

The harness itself uses the standard library only and runs this file as a script to simulate: memory that the
parent had used would count as that of the programs it starts.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: two sources off the phase centre, so that fringes turn
SOURCES = [(0.5, -26.0, 10.0), (3.0, -29.0, 4.0)]
N_BASELINES = 8256  # 128 tiles
VISIBILITY_BYTES = 8

_SCALES: dict[str, dict[str, dict[str, Any]]] = {
    "full": {
        "mwax": {"duration_s": 24.0, "coarse_channels": 4},
        "mwax-rfi": {"duration_s": 24.0, "coarse_channels": 4},
        "legacy": {"duration_s": 24.0, "coarse_channels": 4},
        "rice": {"duration_s": 64.0, "coarse_channels": 24},
    },
    "small": {
        "mwax": {"duration_s": 16.0, "coarse_channels": 1},
        "mwax-rfi": {"duration_s": 16.0, "coarse_channels": 1},
        "legacy": {"duration_s": 16.0, "coarse_channels": 1},
        "rice": {"duration_s": 16.0, "coarse_channels": 4},
    },
}
_KINDS: dict[str, dict[str, Any]] = {
    "mwax": {"like": "mwax-128", "int_time_s": 0.5, "fine_khz": 10.0},
    "mwax-rfi": {"like": "mwax-128", "int_time_s": 0.5, "fine_khz": 10.0, "rfi_fraction": 0.01},
    "legacy": {"like": "legacy-128", "int_time_s": 0.5, "fine_khz": 10.0},
    "rice": {"like": "legacy-128", "int_time_s": 2.0, "fine_khz": 40.0, "compress": True, "bscale": 2.0**-8},
}
DESCRIPTIONS = {
    "mwax": "MWAX float32, 0.5 s / 10 kHz",
    "mwax-rfi": "the same with interference in 1 % of the cells",
    "legacy": "legacy float32, 0.5 s / 10 kHz",
    "rice": "legacy int32 Rice, 2 s / 40 kHz",
}


@dataclass(frozen=True)
class Dataset:
    """An observation on disk, 128 tiles.

    Attributes
    ----------
    files : raw files, one for each coarse channel, ascending
    n_times, n_coarse : integrations and coarse channels
    integration_bytes : one integration of all channels as complex64
    """

    name: str
    metafits: Path
    files: tuple[Path, ...]
    n_times: int
    n_coarse: int
    integration_bytes: int

    @property
    def raw_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)

    def __str__(self) -> str:
        return (
            f"{DESCRIPTIONS[self.name]}: {self.n_coarse} coarse channels x {self.n_times} integrations, "
            f"{self.raw_bytes / 1e9:.2f} GB"
        )


def dataset(name: str, root: Path, scale: str) -> Dataset:
    """The data set, simulated if it is not yet under `root`."""
    options = {**_KINDS[name], **_SCALES[scale][name], "noise_jy": 20.0, "seed": 1}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]
    folder = root / f"{name}-{scale}-{digest}"
    if not list(folder.glob("*.metafits")):  # written last
        print(f"simulating {folder} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, __file__, json.dumps(options), str(folder)], check=True)
    (metafits,) = folder.glob("*.metafits")
    n_fine = round(1280 / options["fine_khz"])
    return Dataset(
        name,
        metafits,
        # box numbers count down from the highest channel in legacy file names
        tuple(sorted(folder.glob("*.fits"), reverse=not name.startswith("mwax"))),
        n_times=round(options["duration_s"] / options["int_time_s"]),
        n_coarse=options["coarse_channels"],
        integration_bytes=options["coarse_channels"] * n_fine * N_BASELINES * 4 * VISIBILITY_BYTES,
    )


def _simulate(options: str, folder: str) -> None:
    from mwaconvert.simulate import simulate

    simulate(folder, sources=SOURCES, overwrite=True, **json.loads(options))


if __name__ == "__main__":
    _simulate(*sys.argv[1:])
