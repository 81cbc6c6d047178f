"""JSON schemas of the types on the wire (draft 2020-12, as in OpenAPI 3.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

REF = "#/components/schemas/{name}"


def schemas(types: Iterable[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The schema of each type, and the components that the schemas refer to, by name.

    A field with a default value is always sent, so it is marked as required.
    """
    found, components = msgspec.json.schema_components(types, ref_template=REF)
    for component in components.values():
        component["description"] = prose(component.get("description", ""))
        component.pop("title", None)
        required = set(component.get("required", ()))
        for name, field in component.get("properties", {}).items():
            if "default" in field:
                del field["default"]
                required.add(name)
        component["required"] = [name for name in component.get("properties", {}) if name in required]
    return list(found), components


def prose(docstring: str) -> str:
    """A docstring as Markdown, one line for each paragraph."""
    text = re.sub(r"contract (?=§)", "", docstring.replace("``", "`").strip())
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
