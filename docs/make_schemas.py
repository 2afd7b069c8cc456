"""Write a JSON Schema of each document of documents.py into the package: python docs/make_schemas.py"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

sys.path.insert(0, str(Path(__file__).parent))
from documents import DOCUMENTS

FOLDER = Path(__file__).parents[1] / "src" / "mwaconvert" / "schemas"


class _Schemas(GenerateJsonSchema):
    """As documents are written: a number that does not exist is null, a field is there although it has a default."""

    def float_schema(self, schema: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"type": ["number", "null"]}

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        if schema["schema"]["type"] == "float":
            return self.float_schema(schema["schema"])
        made: dict[str, Any] = super().nullable_schema(schema)
        return made

    def str_schema(self, schema: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"type": "string"}

    def field_is_required(self, field: Any, total: bool) -> bool:
        return field["type"] == "dataclass-field" or super().field_is_required(field, total)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False  # the name with capitals


def schemas() -> dict[str, str]:
    """Text of each schema by the name of its file."""
    texts = {}
    for name, document in DOCUMENTS.items():
        made = TypeAdapter(document).json_schema(schema_generator=_Schemas, mode="serialization")
        head = {"$schema": _Schemas.schema_dialect, "$id": f"urn:mwaconvert:{name}"}
        texts[f"{name}.json"] = json.dumps(head | made, indent=1, ensure_ascii=False) + "\n"
    return texts


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in schemas().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
