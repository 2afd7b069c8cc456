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
