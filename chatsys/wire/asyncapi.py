"""The events as an AsyncAPI 3.0 document, generated from the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

import chatsys
from chatsys.wire import catalogue, events, examples
from chatsys.wire.objects import encode
from chatsys.wire.schemas import schemas

ABOUT = """Chat over Socket.IO 5 (Engine.IO 4) at `/socket.io/`, by WebSocket or long-polling, in the default namespace.
Connecting needs no credentials: `join` carries a token, or the name of a guest. Each event has one argument.

A client may request a Socket.IO acknowledgement for each of its events. The acknowledgement has one argument, the reply
described below. The server processes the events of a socket in order. `GET /openapi.json` describes the HTTP endpoints;
docs/PROTOCOL.md describes the whole protocol in numbered sections (§)."""

TO = {"S": "this socket", "O": "the others in the room", "R": "all in the room"}
"""The recipients of an event, by the letters of the catalogue."""

_CHANNEL = "#/channels/chat"
_ANSWER = "acknowledgement"
_REFUSAL = "refusal"


def document() -> dict[str, Any]:
    """The document. The specification requires the server's view: ``receive`` is for the events that clients send."""
    kinds = [row.payload for row in (*catalogue.OUTGOING, *catalogue.INCOMING) if row.payload is not None]
    kinds += examples.ANSWERS
    found, components = schemas(kinds)
    schema = dict(zip(kinds, found, strict=True))
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for sent in catalogue.OUTGOING:
        example = examples.OUTGOING[sent.name]
        messages[sent.name] = _message(sent.name, sent.about, schema[sent.payload], example)
        operations[sent.name] = {
            "action": "send",
            "channel": {"$ref": _CHANNEL},
            "summary": sent.about,
            "description": f"To {' '.join(TO.get(word, word) for word in sent.to.split())}.",
            "messages": _refs(sent.name),
        }
    for got in catalogue.INCOMING:
        payload = {"type": "null"} if got.payload is None else schema[got.payload]
        messages[got.name] = _message(got.name, got.about, payload, examples.INCOMING.get(got.name))
        answer = got.answer.__name__
        operations[got.name] = {
            "action": "receive",
            "channel": {"$ref": _CHANNEL},
            "summary": got.about,
            "messages": _refs(got.name),
            "reply": {"channel": {"$ref": _CHANNEL}, "messages": _refs(answer, events.Failed.__name__)},
        }
    for kind, example in examples.ANSWERS.items():
        name = _REFUSAL if kind is events.Failed else _ANSWER
        messages[kind.__name__] = _message(name, (kind.__doc__ or "").split("\n")[0], schema[kind], example)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "chatsys events", "version": chatsys.__version__, "description": ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "chatsys": {
                "host": "{host}",
                "pathname": "/socket.io/",
                "protocol": "ws",
                "description": "Socket.IO over WebSocket or long-polling; `wss` and `https` behind a proxy with TLS.",
                "variables": {"host": {"default": "localhost:3001", "description": "Host and port, as for HTTP."}},
            }
        },
        "channels": {
            "chat": {
                "address": "/",
                "title": "The default namespace",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": components},
    }


def _message(name: str, about: str, payload: Any, example: Any) -> dict[str, Any]:
    about = about.replace("``", "`")
    found = {"name": name, "title": name, "summary": about, "payload": payload}
    if example is not None:
        value = msgspec.json.decode(encode(example))
        if isinstance(value, dict):  # the specification allows no other payload in an example
            found["examples"] = [{"payload": value}]
        else:
            found["payload"] = {**payload, "examples": [value]}
    return found


def _refs(*names: str) -> list[Mapping[str, str]]:
    return [{"$ref": f"{_CHANNEL}/messages/{name}"} for name in names]
