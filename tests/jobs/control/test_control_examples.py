"""The examples of the docstrings run, and the control plane stays where it belongs."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

from mwaconvert.jobs import control

FOLDER = Path(control.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("module", ["store", "events", "inline"])
def test_the_example_runs(module):
    found = doctest.testmod(importlib.import_module(f"mwaconvert.jobs.control.{module}"))
    assert found.attempted > 0
    assert found.failed == 0


def imported(path: Path) -> set[str]:
    """Modules that a file imports, also inside its functions and for types alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "mwaconvert":
            names |= {f"mwaconvert.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


@pytest.mark.parametrize("module", MODULES)
def test_control_knows_no_domain_and_dbos_has_one_importer(module):
    names = imported(FOLDER / f"{module}.py")
    allowed = (
        "mwaconvert.errors",
        "mwaconvert.text",
        "mwaconvert.machine",
        "mwaconvert.staging",
        "mwaconvert.jobs.control",
    )
    assert all(name.startswith(allowed) for name in names if name.startswith("mwaconvert"))
    assert ("dbos" in names) == (module == "durable")


def test_the_launcher_needs_the_standard_library_alone():
    assert imported(FOLDER / "launch.py") == {"ctypes", "json", "os", "resource", "signal", "sys"}
