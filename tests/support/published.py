"""Documents against the schemas that the package publishes: no key that a schema does not know, no other type."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = files("mwaconvert") / "schemas"


@cache
def _validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    _close(schema)
    return Draft202012Validator(schema)


def _close(schema: Any) -> None:
    """Readers have to bear keys that are new; what we write has none that is not published."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            _close(part)
    elif isinstance(schema, list):
        for part in schema:
            _close(part)


def check(document: Any, name: str | None = None) -> None:
    """Raise if a document is not as its schema says; without a name, that of its `format`, if it has one."""
    if name is None and isinstance(document, list):
        for item in document:
            check(item)
        return
    said = document.get("format") if isinstance(document, dict) else None
    if name is None and isinstance(said, str) and said.startswith("mwaconvert "):
        name = said.removeprefix("mwaconvert ").replace(" ", "-")
    if name is not None:
        found = [
            f"{error.json_path}: {error.message[:300]}" for error in _validator(name).iter_errors(document)
        ]
        assert not found, f"{name}.json: {'; '.join(found[:8])}"
