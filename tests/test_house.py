"""The house: what imports what. Files make no circle, imports for type checking counted, but for a few doors."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "mwaconvert"
FILES = {
    ".".join(("mwaconvert", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}
#: names what is public, and loads it at first use; all take its version and its compiled modules
PACKAGE = "mwaconvert"
#: methods that users want on what they hold, with what they import
DOORS = {
    ("mwaconvert.observation.observation", "Observation.plan"): {
        "mwaconvert.conversion.options",
        "mwaconvert.conversion.planner",
    },
    ("mwaconvert.spectra.spectra", "Spectra.search"): {"mwaconvert.transients.search"},
    ("mwaconvert.conversion.plan", "Plan.run"): {
        "mwaconvert.conversion.pipeline",
        "mwaconvert.qa.collector",
        "mwaconvert.qa.page",
    },
    ("mwaconvert.conversion.plan", "Plan.blocks"): {"mwaconvert.conversion.pipeline"},
    ("mwaconvert.conversion.plan", "Plan.describe"): {"mwaconvert.conversion.report.describe"},
    ("mwaconvert.conversion.plan", "Plan.to_uvdata"): {"mwaconvert.conversion.to_uvdata"},
    ("mwaconvert.conversion.plan", "Plan.to_xarray"): {"mwaconvert.conversion.to_xarray"},
}
#: what these methods return, for type checkers
DOOR_TYPES = {
    ("mwaconvert.observation.observation", "mwaconvert.conversion.plan"),
    ("mwaconvert.conversion.plan", "mwaconvert.conversion.report.report"),
    ("mwaconvert.spectra.spectra", "mwaconvert.transients.search"),
}


def imports(module: str) -> Iterator[tuple[str, str]]:
    """(place, imported module of this package) of a file; place: the method or function, or `types`, or empty."""
    path = FILES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def visit(node: ast.AST, place: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            inside = place
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inside = f"{place}.{child.name}".lstrip(".")
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inside = "types"
            elif isinstance(child, ast.Import):
                yield from ((place, alias.name) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
                base = ".".join([*above, *([child.module] if child.module else [])])
                for alias in child.names:
                    whole = f"{base}.{alias.name}"
                    yield place, whole if whole in FILES else base
            yield from visit(child, inside)

    for place, found in visit(ast.parse(path.read_text(encoding="utf-8")), ""):
        if found in FILES and found not in (module, PACKAGE):
            yield place, found


def is_door(module: str, place: str, found: str) -> bool:
    if place == "types":
        return (module, found) in DOOR_TYPES
    return found in DOORS.get((module, place), ())


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of files from each of which all others are reached (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def walk(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for after in graph[node]:
            if after not in number:
                walk(after)
            if after in stack:
                low[node] = min(low[node], low[after])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[-len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in number:
            walk(node)
    return found


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert circles(graph) == [["b", "c"]]
    assert circles(graph | {"d": {"a"}}) == [["a", "b", "c", "d"]]


def test_no_circle_of_files():
    graph = {
        module: {found for place, found in imports(module) if not is_door(module, place, found)}
        for module in FILES
    }
    assert circles(graph) == []


@pytest.mark.parametrize(("module", "method"), DOORS)
def test_doors_are_used(module, method):
    """A door that nobody goes through is walled up."""
    assert {found for place, found in imports(module) if place == method} == DOORS[module, method]


def test_simulate_shares_nothing_with_the_converter():
    """So that each can be the other's test."""
    seen, left = set(), {module for module in FILES if module.startswith("mwaconvert.simulate")}
    while left:
        module = left.pop()
        seen.add(module)
        left |= {found for _, found in imports(module)} - seen
    rooms = {module.split(".")[1] for module in seen}
    assert rooms.isdisjoint({"api", "conversion", "formats", "qa", "visibilities", "vocabulary"})
