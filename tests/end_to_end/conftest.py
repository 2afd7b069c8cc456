"""Simulated observations, each made once, and the data files they are compared with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mwaconvert.simulate import Simulation, simulate

#: smallest observations of each correlator that still have every feature of a large one
MWAX = {"like": "mwax-128", "n_tiles": 5, "fine_khz": 80.0, "duration_s": 12.0, "coarse_channels": 2}
LEGACY = {"like": "legacy-128", "fine_khz": 40.0, "duration_s": 6.0}

Simulated = Callable[..., Simulation]


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Function that simulates with the arguments of `simulate`; the same arguments give the same files."""
    made: dict[str, Simulation] = {}

    def make(**kind: Any) -> Simulation:
        key = repr(sorted(kind.items()))
        if key not in made:
            made[key] = simulate(tmp_path_factory.mktemp("sim"), **kind)
        return made[key]

    return make


@pytest.fixture(scope="session")
def mwax(simulated: Simulated) -> Simulation:
    """Noise on 5 tiles, 2 coarse channels of 16 fine ones, 6 integrations."""
    return simulated(**MWAX, noise_jy=3.0)


@pytest.fixture(scope="session")
def legacy(simulated: Simulated) -> Simulation:
    """Noise on 128 tiles, 1 coarse channel of 32 fine ones, 3 integrations, float32."""
    return simulated(**LEGACY, noise_jy=3.0)


@pytest.fixture(params=["mwax", "legacy"])
def observation(request: pytest.FixtureRequest) -> Simulation:
    """Each correlator in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def link_files() -> Callable[[Simulation, Path], Path]:
    """Function that copies an observation into a folder, where its files may be changed; returns the metafits."""
    import shutil

    def copy(sim: Simulation, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        for path in (sim.metafits, *sim.raw):
            shutil.copy(path, folder)
        return folder / sim.metafits.name

    return copy
