"""Prints docs/API.md from both documents: ``make docs`` runs ``python -m chatsys.web.reference > docs/API.md``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chatsys.web import openapi
from chatsys.web.catalogue import ALWAYS
from chatsys.wire import asyncapi

Part = Mapping[str, Any]

_JSON = "application/json"


def markdown() -> str:
    """The page."""
    http, socket = openapi.document(), asyncapi.document()
    lines = ["# HTTP endpoints and events", "", "<!-- Made by `make docs` from chatsys/web and chatsys/wire. -->", ""]
    lines += [
        "A running server shows this page at `/docs`, where you can also send requests. Its sources are the documents",
        "`/openapi.json` (OpenAPI 3.1) and `/asyncapi.json` (AsyncAPI 3.0).",
        "",
        "## HTTP",
        "",
        _linked(http["info"]["description"]),
        "",
        "The server may also refuse any request with one of these:",
        "",
        *_answers(http["components"]["responses"].values(), ALWAYS),
    ]
    for tag in http["tags"]:
        lines += ["", f"## HTTP: {tag['name']}", "", _linked(tag["description"])]
        for path, methods in http["paths"].items():
            for method, row in methods.items():
                if tag["name"] in row["tags"]:
                    lines += _operation(f"{method.upper()} {path}", row)
    lines += ["", "## Events", "", _linked(socket["info"]["description"])]
    for title, action in (("from clients", "receive"), ("to clients", "send")):
        lines += ["", f"## Events {title}"]
        for name, row in socket["operations"].items():
            if row["action"] == action:
                lines += _event(name, row, socket["components"]["messages"])
    lines += ["", "## Types", "", "A field with `?` may be absent."]
    schemas = {**socket["components"]["schemas"], **http["components"]["schemas"]}
    for name in sorted(schemas):
        lines += _type(name, schemas[name])
    return "\n".join(lines) + "\n"


def _operation(title: str, row: Part) -> Iterator[str]:
    yield from ("", f"### `{title}`", "", row["summary"] + ("; needs a token." if "security" in row else "."))
    if "description" in row:
        yield from ("", _linked(row["description"]))
    if row.get("parameters"):
        yield from ("", "| parameter | in | type | |", "|---|---|---|---|")
        for each in row["parameters"]:
            about = f"{each['description']} {_limits(each['schema'])}".strip()
            yield f"| `{each['name']}` | {each['in']} | {_kind(each['schema'])} | {about} |"
    if "requestBody" in row:
        body = row["requestBody"]["content"][_JSON]
        yield from ("", f"Body: {_kind(body['schema'])}", "", *_example(body["example"]))
    own = {int(status): given for status, given in row["responses"].items() if "$ref" not in given}
    yield from ("", *_answers(own.values(), own))
    for given in own.values():
        example = given.get("content", {}).get(_JSON, {}).get("example")
        if example is not None:
            yield from ("", *_example(example))


def _answers(answers: Iterable[Part], statuses: Iterable[int]) -> Iterator[str]:
    yield from ("| status | body | when |", "|---|---|---|")
    for status, given in zip(statuses, answers, strict=True):
        content = given.get("content", {})
        kinds = [_kind(media["schema"]) if "schema" in media else kind for kind, media in content.items()]
        said = [each["value"] for each in content.get(_JSON, {}).get("examples", {}).values()]
        words = dict.fromkeys(_said(value) for value in said)
        when = " ".join([given["description"], *(f"`{word}`" for word in words)])
        headers = "".join(f", `{name}`" for name in given.get("headers", {}))
        yield f"| {status} | {' or '.join(kinds) or 'none'}{headers} | {when} |"


def _said(refusal: Part) -> str:
    more = "; ".join([*refusal.get("errors", ()), *([refusal["reason"]] if "reason" in refusal else ())])
    return f"{refusal['message']}: {more}" if more else str(refusal["message"])


def _event(name: str, row: Part, messages: Part) -> Iterator[str]:
    message = messages[_last(row["messages"][0])]
    yield from ("", f"### `{name}`", "", f"{row['summary']} {row.get('description', '')}".strip())
    payload = message["payload"]
    yield from ("", f"Argument: {'none' if payload.get('type') == 'null' else _kind(payload)}")
    for example in _examples(message):
        yield from ("", *_example(example))
    replies = [messages[_last(each)] for each in row.get("reply", {}).get("messages", ())]
    if replies:
        yield from ("", "Acknowledgement: " + " or ".join(_kind(each["payload"]) for each in replies))
        for example in _examples(replies[0]):
            yield from ("", *_example(example))


def _examples(message: Part) -> list[Any]:
    return [*(each["payload"] for each in message.get("examples", ())), *message["payload"].get("examples", ())]


def _type(name: str, schema: Part) -> Iterator[str]:
    yield from ("", f"### {name}", "", schema["description"], "", "| field | type | |", "|---|---|---|")
    for field, each in schema["properties"].items():
        mark = "" if field in schema["required"] else "?"
        yield f"| `{field}{mark}` | {_kind(each)} | {_limits(each)} |"


def _kind(schema: Part) -> str:
    if "$ref" in schema:
        name = _last(schema)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    return str(schema.get("type", "anything"))


def _limits(schema: Part) -> str:
    one = schema["anyOf"][0] if "anyOf" in schema else schema
    words = [one.get("description", "")]
    for key, text in (("minLength", "At least {} characters."), ("maxLength", "At most {} characters.")):
        words += [text.format(one[key])] if key in one else []
    words += [f"Default {one['default']}."] if "default" in one else []
    return " ".join(filter(None, words))


def _example(value: Any) -> list[str]:
    return ["```json", json.dumps(value, indent=2, ensure_ascii=False), "```"]


def _last(reference: Part) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _linked(text: str) -> str:
    return re.sub(r"\bdocs/(\w+\.md)", r"[\1](\1)", text)


if __name__ == "__main__":
    print(markdown(), end="")
