"""The published schemas are those of the package's types, and hold what they say."""

import json
import runpy
from pathlib import Path

import published
import pytest
from jsonschema import Draft202012Validator

DOCS = Path(__file__).parents[1] / "docs"


def test_schemas_are_those_of_the_types():
    made = runpy.run_path(str(DOCS / "make_schemas.py"))["schemas"]()
    texts = {path.name: path.read_text("utf-8") for path in published.SCHEMAS.iterdir()}
    assert texts == made, "run python docs/make_schemas.py"
    for text in texts.values():
        Draft202012Validator.check_schema(json.loads(text))


def test_the_page_names_every_schema():
    page = (DOCS / "report.md").read_text("utf-8")
    assert [path.name for path in published.SCHEMAS.iterdir() if f"`{path.stem}`" not in page] == []


@pytest.mark.parametrize("change", [{"obsid": "1"}, {"more": 1}, {"result": None}])
def test_a_document_that_is_otherwise_is_refused(change):
    sound = {"job_id": 3, "obs_id": "1110103576", "result": "Error: lost"}
    published.check([sound], "job-errors")
    with pytest.raises(AssertionError, match="job-errors"):
        published.check([sound | change], "job-errors")
