"""The process of one script: `python -m mwaconvert.frb.closed.process SETTINGS SCRIPT ARGUMENT...`."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from collections.abc import Sequence
from datetime import date
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_HERE = "mwaconvert.frb.closed"
#: packages that scripts name, with what they find in them
OFFERED = {
    "iautils": ("cascade", "spectra", "spectra_utils"),
    "frb_common": ("common_utils",),
}


class _Offered(MetaPathFinder, Loader):
    """Finds our modules under the names of closed packages, before any that may be installed."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        package, _, name = fullname.partition(".")
        if package not in OFFERED or (name and name not in OFFERED[package]):
            return None
        return ModuleSpec(fullname, self, is_package=not name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        _, _, name = spec.name.partition(".")
        return importlib.import_module(f"{_HERE}.{name}") if name else None

    def exec_module(self, module: ModuleType) -> None:
        """Ours have run already; a package has nothing of its own."""


def offer() -> None:
    """Let imports of this process find our modules."""
    sys.meta_path.insert(0, _Offered())


def run(script: str, words: Sequence[str], settings: dict[str, Any]) -> None:
    """Run a script as Python does, with our modules under the names it imports.

    Parameters
    ----------
    script : file
    words : its arguments
    settings : roots ([name, folder, layout] each), telescope, day (ISO, or None) and beam, of `cascade.Archive`
    """
    from mwaconvert.frb.archive import Layout, Root
    from mwaconvert.frb.closed.cascade import ARCHIVE

    ARCHIVE.roots = tuple(
        Root(name, Path(folder), Layout[layout]) for name, folder, layout in settings["roots"]
    )
    ARCHIVE.telescope, ARCHIVE.beam = settings["telescope"], settings["beam"]
    ARCHIVE.day = date.fromisoformat(settings["day"]) if settings["day"] else None
    offer()
    sys.argv = [script, *words]
    sys.path.insert(0, str(Path(script).resolve().parent))
    runpy.run_path(script, init_globals=_forgotten(words), run_name="__main__")


def _forgotten(words: Sequence[str]) -> dict[str, str]:
    """`figname`, which the plot script of the tutorial sets only where --figname is not given."""
    for k, word in enumerate(words):
        if word == "--figname" and k + 1 < len(words):
            return {"figname": words[k + 1]}
        if word.startswith("--figname="):
            return {"figname": word.partition("=")[2]}
    return {}


def main() -> None:
    """Run the script that the arguments name; a refusal of ours is one sentence and exit code 2."""
    from mwaconvert.errors import Error

    try:
        run(sys.argv[2], sys.argv[3:], json.loads(sys.argv[1]))
    except Error as error:
        sys.stderr.write(f"mwaconvert: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
