"""The HTTP endpoints as an OpenAPI 3.1 document, generated from the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

import chatsys
from chatsys.web.catalogue import ALWAYS, JSON, MEANINGS, OPERATIONS, PARAMETERS, SUBJECTS, HttpOperation, Media
from chatsys.web.responses import refusal, status_of
from chatsys.wire.answers import Problem
from chatsys.wire.objects import Wire, encode
from chatsys.wire.requests import Sent
from chatsys.wire.schemas import schemas

ABOUT = """Bodies and answers are JSON objects. A body may also be `application/x-www-form-urlencoded`. Fields that are
not listed here are ignored. Every answer has a boolean `success`; a refusal also has a `message`, and after a failed
validation a list `errors`.

Send a token in `Authorization: Bearer <token>`, or in `x-access-token`. Timestamps are UTC with three fractional
digits.

The server answers `HEAD` as `GET` without the body, and a preflight with `OPTIONS` on every path with 204. Every answer
has the CORS headers. A slash at the end of a path makes no difference. For an unknown path or method, the answer is 404
and `Route <target> not found`. Behind a reverse proxy, the server counts failed logins by the address in
`X-Forwarded-For` if `CHATSYS_FORWARDED_ALLOW_IPS` names the proxy; otherwise all clients of the proxy share one
address.

`/asyncapi.json` describes the events. docs/ERRORS.md says what each error means to a client and to the operator, and
docs/PROTOCOL.md specifies all of this in numbered sections (§)."""

FORM = "application/x-www-form-urlencoded"
RETRY = {429, 503}
"""Statuses with ``Retry-After``."""

_HEADERS = {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}}}


def document() -> dict[str, Any]:
    """The document."""
    made = [given for row in OPERATIONS for given in (*_flat(row.gives.values()), row.takes)]
    kinds = [*dict.fromkeys(type(each) for each in made if isinstance(each, Sent | Wire))]
    found, components = schemas(kinds)
    schema = dict(zip(kinds, found, strict=True))
    paths: dict[str, Any] = {}
    for row in OPERATIONS:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, schema)
    common = {_name(status): _refused(status, (), schema[Problem]) for status in ALWAYS}
    return {
        "openapi": "3.1.0",
        "info": {"title": "chatsys", "version": chatsys.__version__, "description": ABOUT},
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": about} for name, about in SUBJECTS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": common,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "accessToken": {"type": "apiKey", "in": "header", "name": "x-access-token"},
            },
        },
    }


def _operation(row: HttpOperation, schema: dict[type, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": row.name, "tags": [row.subject], "summary": row.summary}
    if row.about:
        found["description"] = row.about
    if row.token:
        found["security"] = [{"bearer": []}, {"accessToken": []}]
    parameters = [
        {"name": name, "in": "path", "required": True, "description": PARAMETERS[name], "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", row.path)
    ]
    parameters += [
        {"name": each.name, "in": "query", "description": each.about, "schema": each.schema} for each in row.query
    ]
    if parameters:
        found["parameters"] = parameters
    if row.takes is not None:
        body = {"schema": schema[type(row.takes)], "example": _plain(row.takes)}
        required = any(field.required for field in msgspec.structs.fields(row.takes))
        found["requestBody"] = {"required": required, "content": {JSON: body, FORM: body}}
    responses: dict[int, Any] = {status: {"$ref": f"#/components/responses/{_name(status)}"} for status in ALWAYS}
    refused: dict[int, list[tuple[str, Any]]] = {}
    for each in row.refuses:
        refused.setdefault(status_of(each), []).append((each.code, msgspec.json.decode(refusal(each).body)))
    for status, given in row.gives.items():
        if isinstance(given, Problem):
            refused.setdefault(status, []).append(("not_ready", _plain(given)))
        else:
            responses[status] = _given(status, given, schema)
    responses |= {status: _refused(status, examples, schema[Problem]) for status, examples in refused.items()}
    found["responses"] = {str(status): responses[status] for status in sorted(responses)}
    return found


def _given(status: int, given: Any, schema: dict[type, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"description": MEANINGS[status]}
    if given is not None:
        found["content"] = dict(_content(each, schema) for each in _flat([given]))
    return found


def _content(given: Any, schema: dict[type, Any]) -> tuple[str, Any]:
    if isinstance(given, Media):
        return given.kind, {}
    return JSON, {"schema": schema[type(given)], "example": _plain(given)}


def _refused(status: int, own: Iterable[tuple[str, Any]], schema: Any) -> dict[str, Any]:
    """A refusal with an example of each cause; the causes that can affect any request come last."""
    examples: dict[str, Any] = {}
    always = [(name, _plain(each)) for name, each in ALWAYS.get(status, {}).items()]
    for name, value in (*own, *always):
        examples[name if name not in examples else f"{name}_{len(examples)}"] = {"value": value}
    found: dict[str, Any] = {
        "description": MEANINGS[status],
        "content": {JSON: {"schema": schema, "examples": examples}},
    }
    if status in RETRY:
        found["headers"] = _HEADERS
    return found


def _plain(value: Any) -> Any:
    return msgspec.json.decode(encode(value))


def _name(status: int) -> str:
    return f"Refused{status}"


def _flat(given: Iterable[Any]) -> list[Any]:
    return [one for each in given for one in (each if isinstance(each, tuple) else (each,))]
