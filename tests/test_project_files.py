"""What forges, archives and indexes read about the project says the same everywhere."""

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
yaml = pytest.importorskip("yaml")


def read(name: str) -> dict:
    text = (ROOT / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith(".json") else yaml.safe_load(text)


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("name", ["CITATION.cff", ".zenodo.json", "codemeta.json"])
def test_metadata_agree(name, project):
    found = read(name)
    assert found["keywords"] == project["keywords"]
    assert found["license"].removeprefix("https://spdx.org/licenses/") == project["license"]
    people = found.get("authors") or found.get("creators") or found["author"]
    assert [one["name"] for one in people] == [one["name"] for one in project["authors"]]
    assert (found.get("title") or found["name"]) == project["name"]
    about = [read(other).get("abstract") or read(other)["description"] for other in (name, "CITATION.cff")]
    assert about[0] == about[1]


def bounds(requirements: list[str]) -> dict[str, str]:
    """name -> range of versions, without markers, extras and blanks."""
    found = (re.match(r"([\w-]+)(?:\[.*?\])?\s*([^;]*)", text) for text in requirements)
    return {one[1].removesuffix("-base"): one[2].strip() for one in found}


def test_conda_recipe_requires_the_same(project):
    recipe = yaml.safe_load((ROOT / "install" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    of_conda = recipe["requirements"]
    assert bounds(of_conda["run"]) == bounds(project["dependencies"]) | {"python": project["requires-python"]}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    host = bounds(of_conda["host"])
    assert {name: host[name] for name in bounds(build)} == bounds(build)
    entries = {f"{name} = {target}" for name, target in project["scripts"].items()}
    assert set(recipe["build"]["python"]["entry_points"]) == entries
    assert recipe["about"]["summary"] == project["description"]


def test_images_name_extras_that_exist(project):
    for path in (ROOT / "install").glob("*Containerfile"):
        text = path.read_text(encoding="utf-8")
        extras = ",".join(re.findall(r"'(?:mwaconvert|\.)\[(.*?)\]'", text)).split(",")
        assert extras != [""]
        assert set(extras) <= set(project["optional-dependencies"])


def test_paper():
    folder = ROOT / "docs" / "paper"
    paper = (folder / "paper.md").read_text(encoding="utf-8")
    entries = re.findall(r"^@\w+\{(\w+),", (folder / "paper.bib").read_text(encoding="utf-8"), re.M)
    assert len(entries) == len(set(entries))
    assert set(re.findall(r"@(\w+\d{4})", paper)) == set(entries)


def test_changelog():
    """Keep a Changelog: the newest first, each part at most once, in kinds that have a name."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.split(r"^## ", text, flags=re.M)[1:]
    assert releases[0].startswith("[Unreleased]\n")
    for release in releases:
        kinds = re.findall(r"^### (.*)$", release, re.M)
        assert len(kinds) == len(set(kinds))
        assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
        lines = [line for line in release.splitlines()[1:] if line]
        assert all(line.startswith(("### ", "- ", "  ")) for line in lines)


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_forge_files_are_whole(path):
    content = read(str(path.relative_to(ROOT)))
    assert isinstance(content, dict)
    for element in content.get("body", ()):  # a form
        assert element["attributes"]["label"]
