"""How CASA is started: as a child process with an environment of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mwaconvert.archive.layouts import Layout, LayoutKind
from mwaconvert.archive.requests.model import Telescope
from mwaconvert.errors import InputError


@dataclass(frozen=True)
class CasaRun:
    """A child process to start: arguments, folder, environment. Nothing is inherited."""

    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


def delivery_run(layout: Layout, casa: Path, home: Path, *, mpi_servers: int = 0) -> CasaRun:
    """The restore of a delivered package: its own script, started in the folder ``script``, as it must be.

    The script finds the method; extra steps in it are its own business. `home` keeps CASA's settings and logs.

    Raises
    ------
    InputError
        Not one script, or no delivered package.
    """
    scripts = sorted(layout.script.glob("*scriptForPI.py")) if layout.kind is LayoutKind.DELIVERY else []
    if len(scripts) != 1:
        raise InputError(
            f"{layout.script}: has {len(scripts)} files *scriptForPI.py; a delivered package has one"
        )
    words = ("--nologger", "--nogui", "--pipeline", "-c", scripts[0].name)
    return CasaRun(_launch(casa, mpi_servers) + words, layout.script, _environment(casa, home, layout))


def request_run(
    layout: Layout, casa: Path, home: Path, request: str, telescope: Telescope, *, mpi_servers: int = 0
) -> CasaRun:
    """The run of a request, by its name in the working folder."""
    module = "executeppr" if telescope is Telescope.ALMA else "executevlappr"
    program = f"import pipeline.infrastructure.{module} as ppr; ppr.executeppr({request!r}, importonly=False)"
    words = ("--nologger", "--nogui", "--pipeline", "-c", program)
    return CasaRun(_launch(casa, mpi_servers) + words, layout.working, _environment(casa, home, layout))


def _launch(casa: Path, mpi_servers: int) -> tuple[str, ...]:
    """CASA, or with servers its launcher: one client more than servers."""
    program = str(casa / "bin" / "casa")
    if mpi_servers == 0:
        return (program,)
    return (str(casa / "bin" / "mpicasa"), "-n", str(mpi_servers + 1), program)


def _environment(casa: Path, home: Path, layout: Layout) -> dict[str, str]:
    root = layout.root
    for _ in Path(layout.relative_path).parts:
        root = root.parent
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{casa / 'bin'}:/usr/bin:/bin",
        "SCIPIPE_ROOTDIR": str(root),
        "TZ": "UTC",
    }
