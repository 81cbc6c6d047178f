"""Checks answers over HTTP against ``/openapi.json``, which must describe their status, kind and body."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema

from chatsys.web import openapi

DOCUMENT = openapi.document()
NOT_FOUND = DOCUMENT["components"]["responses"]["Refused500"]
"""The schema of all refusals, and therefore of the answer if there is no endpoint."""


def check(method: str, target: str, status: int, headers: Mapping[str, str], body: bytes) -> tuple[str, str, int]:
    """Return the endpoint's method and path, and the status. Raises AssertionError for an undescribed answer."""
    method = "GET" if (bare := method == "HEAD") else method
    path, operation = endpoint(method, target)
    if method == "OPTIONS":
        assert (status, body) == (204, b"")
    elif operation is None:
        # a malformed path is refused before the method is checked
        assert status in {404, 413}, f"{method} {target} answered {status}, and is not described"
        conforms(NOT_FOUND, headers, body, bare=bare)
    else:
        described = operation["responses"].get(str(status))
        assert described is not None, f"{method} {path} answered {status}, which is not described"
        conforms(resolved(described), headers, body, bare=bare)
    return method, path, status


def endpoint(method: str, target: str) -> tuple[str, dict[str, Any] | None]:
    """Return the path as the document has it and its operation; the target and None if there is none."""
    path = target.partition("?")[0]
    path = path[:-1] if len(path) > 1 and path.endswith("/") else path
    for template, operations in DOCUMENT["paths"].items():
        if method.lower() in operations and _pattern(template).fullmatch(path):
            return template, operations[method.lower()]
    return target, None


def conforms(described: Mapping[str, Any], headers: Mapping[str, str], body: bytes, *, bare: bool = False) -> None:
    """Raises AssertionError for an answer that differs from its description; a ``bare`` answer has no body."""
    for name, header in described.get("headers", {}).items():
        jsonschema.validate(int(headers[name]), header["schema"])
    content = described.get("content")
    if content is None:
        assert body == b""
        return
    kind = headers["content-type"].partition(";")[0]
    media = content.get(kind, content.get("*/*"))
    assert media is not None, f"{kind} is not one of {list(content)}"
    if bare:
        assert body == b""
    elif "schema" in media:
        matches(media["schema"], json.loads(body))


def matches(schema: Any, value: Any) -> None:
    """Raises ValidationError unless ``value`` conforms to a schema of the document."""
    _validator(json.dumps(schema)).validate(value)


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the document that a reference points to."""
    found: Any = part
    if "$ref" in part:
        found = DOCUMENT
        for name in part["$ref"].split("/")[1:]:
            found = found[name]
    return dict(found)


@cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]})


@cache
def _pattern(template: str) -> re.Pattern[str]:
    inside = ".+" if template == "/chat/{name}" else "[^/]+"
    return re.compile(re.sub(r"{\w+}", inside, template))
