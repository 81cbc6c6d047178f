"""What values on the wire must look like, written from docs/PROTOCOL.md alone, and how a check fails.

A shape is one of these:

- a :class:`ValueKind`;
- a dict from key to shape: the value has exactly these keys; a key that ends with ``?`` may be absent;
- a list of one shape: each element of the value has that shape;
- any other object: the value is equal to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class CheckFailed(Exception):
    """The server deviates from the protocol; the message says how."""


class NotApplicable(Exception):
    """The check cannot judge this server; the message says why."""


@dataclass(frozen=True)
class ValueKind:
    """The values for which ``holds`` is true. Failures call them ``name``."""

    name: str
    holds: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_ids(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def either(*kinds: Any) -> ValueKind:
    """A value of one of these kinds, or equal to one of these values."""
    names = " or ".join(each.name if isinstance(each, ValueKind) else repr(each) for each in kinds)
    return ValueKind(
        names, lambda value: any(each.holds(value) if isinstance(each, ValueKind) else each == value for each in kinds)
    )


TEXT = ValueKind("a string", _is_text)
SOME_TEXT = ValueKind("a string that is not empty", lambda value: _is_text(value) and bool(value))
BOOLEAN = ValueKind("a boolean", lambda value: isinstance(value, bool))
WHOLE = ValueKind("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))
UUID = ValueKind("a UUID in lower case", lambda value: _is_text(value) and bool(_UUID.fullmatch(value)))
TIMESTAMP = ValueKind("a timestamp", lambda value: _is_text(value) and bool(_TIMESTAMP.fullmatch(value)))
IDS = ValueKind("a list of different strings", _is_ids)
MAYBE_TIMESTAMP = either(TIMESTAMP, None)
TEXTS = ValueKind(
    "a list of strings that is not empty",
    lambda value: isinstance(value, list) and bool(value) and all(map(_is_text, value)),
)

STATUS = either("online", "offline")
NAMES: dict[str, Any] = {"username": TEXT, "displayName": TEXT, "avatar": TEXT}
PROFILE = NAMES | {"userId": UUID, "bio": TEXT, "status": STATUS, "lastSeen": MAYBE_TIMESTAMP, "createdAt": TIMESTAMP}
_SENT = NAMES | {"id": UUID, "seq?": WHOLE, "userId": SOME_TEXT, "message": TEXT, "room": TEXT, "timestamp": TIMESTAMP}
_RECEIPTS = {"delivered": BOOLEAN, "deliveredTo": IDS, "read": BOOLEAN, "readBy": IDS}
MESSAGE = _SENT | _RECEIPTS | {"editedAt": None}
PUSHED = _SENT | _RECEIPTS | {"editedAt?": None}
PRESENCE = {"online": BOOLEAN, "lastSeen": MAYBE_TIMESTAMP}
_SESSION = {"sessionId": UUID, "socketId": SOME_TEXT, "userId": SOME_TEXT, "room": TEXT, "joinedAt": TIMESTAMP}
ROOM_USER = NAMES | _SESSION | {"status": PRESENCE}
WHO = {"username": TEXT, "displayName": TEXT, "userId": SOME_TEXT}
_RECEIPT = {"messageId": UUID, "timestamp": TIMESTAMP}
EVENTS: dict[str, Any] = {
    "room-users": [ROOM_USER],
    "message-history": [MESSAGE],
    "receive-message": PUSHED,
    "user-joined": WHO | {"avatar": TEXT, "message": TEXT, "timestamp": TIMESTAMP},
    "user-left": WHO | {"message": TEXT, "timestamp": TIMESTAMP},
    "user-status-update": WHO | {"online": BOOLEAN, "lastSeen": TIMESTAMP},
    "user-typing": WHO | {"isTyping": BOOLEAN},
    "message-status-update": _RECEIPT | {"delivered": True, "deliveredTo": IDS, "deliveredBy": TEXT},
    "message-read-update": _RECEIPT | {"read": True, "readBy": IDS, "readByUser": TEXT, "readByUsername": TEXT},
    "messages-marked-read": {"messageIds": IDS, "readBy": TEXT, "readByUsername": TEXT, "timestamp": TIMESTAMP},
    "error": {"message": SOME_TEXT},
}
"""The payload of each event to clients."""


def conform(value: Any, shape: Any, where: str = "the body") -> None:
    """Raises CheckFailed that names the first part of ``value`` that does not have its ``shape``."""
    if isinstance(shape, ValueKind):
        if not shape.holds(value):
            raise CheckFailed(f"{where} is {short(value)}, not {shape.name}")
    elif isinstance(shape, dict):
        _conform_object(value, shape, where)
    elif isinstance(shape, list) and len(shape) == 1:
        if not isinstance(value, list):
            raise CheckFailed(f"{where} is {short(value)}, not a list")
        for number, element in enumerate(value):
            conform(element, shape[0], f"{where}[{number}]")
    elif value != shape or isinstance(value, bool) is not isinstance(shape, bool):
        raise CheckFailed(f"{where} is {short(value)}, not {short(shape)}")


def _conform_object(value: Any, shape: dict[str, Any], where: str) -> None:
    if not isinstance(value, dict):
        raise CheckFailed(f"{where} is {short(value)}, not an object")
    keys = {key.removesuffix("?"): each for key, each in shape.items()}
    missing = [key for key in shape if not key.endswith("?") and key not in value]
    surplus = [key for key in value if key not in keys]
    if missing or surplus:
        problems = [f"lacks {', '.join(missing)}"] if missing else []
        problems += [f"has unexpected keys: {', '.join(surplus)}"] if surplus else []
        raise CheckFailed(f"{where} {' and '.join(problems)}")
    for key, element in value.items():
        conform(element, keys[key], f"{where}.{key}")


def same(value: Any, expected: Any, what: str) -> None:
    """Raises CheckFailed if ``value`` is not ``expected``. The message calls the value ``what``."""
    if value != expected:
        raise CheckFailed(f"{what} is {short(value)}, expected {short(expected)}")


def true(holds: object, otherwise: str) -> None:
    """Raises CheckFailed with the text ``otherwise`` if ``holds`` is not true."""
    if not holds:
        raise CheckFailed(otherwise)


def short(value: Any, most: int = 160) -> str:
    """A value as JSON on one line, as a failure shows it."""
    return cut(json.dumps(value, ensure_ascii=False, default=repr), most)


def cut(text: str, most: int = 400) -> str:
    """A text on one line; the middle of a long text is left out."""
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-most // 4 :]} ({len(text)} characters)"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
