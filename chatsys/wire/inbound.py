"""Reads what clients send: accepts a payload of any type, and returns only what the contract names (§9, §14).

Each function takes the first argument of one event as decoded from JSON, or None if there is none. Only :func:`join`
raises for a wrong shape, since a failed join has its own answer. Fields that an event does not name are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chatsys.errors import JoinRefused
from chatsys.model import rules

_NOTHING: Mapping[str, Any] = {}


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A join with a valid room. ``token``, ``username`` and ``user_id`` are as sent; the chat checks them."""

    room: str
    token: object = None
    username: object = None
    user_id: object = None
    since: int | None = None
    epoch: object = None


def join(payload: object) -> JoinRequest:
    """Read a join. Raises JoinRefused if the payload is not an object, or if its room or ``since`` is invalid."""
    fields = _fields(payload)
    room = rules.room_name(fields.get("room"))
    if room is None:
        raise JoinRefused
    return JoinRequest(
        room=room,
        token=fields.get("token"),
        username=fields.get("username"),
        user_id=fields.get("userId"),
        since=_since(fields.get("since")),
        epoch=fields.get("epoch"),
    )


def send_message(payload: object) -> tuple[object, object]:
    """The text and the client's message id, both as sent; the chat checks them."""
    fields = _fields(payload)
    return fields.get("message"), fields.get("clientMessageId")


def receipt(payload: object) -> tuple[str, str] | None:
    """A receipt's room and message id, or None if the id is not shaped like a UUID or the room is not a string."""
    fields = _fields(payload)
    message_id, room = fields.get("messageId"), fields.get("room")
    if isinstance(message_id, str) and rules.is_uuid(message_id) and isinstance(room, str):
        return room, message_id.lower()
    return None


def mark_all_read(payload: object) -> str | None:
    """The room, or None if it is not a string."""
    room = _fields(payload).get("room")
    return room if isinstance(room, str) else None


def typing(payload: object) -> bool:
    """Whether the client is typing: the payload's truthiness."""
    return bool(payload)


def online_status(payload: object) -> bool | None:
    """The requested status, or None if it is not a boolean."""
    online = _fields(payload).get("online")
    return online if isinstance(online, bool) else None


def _fields(payload: object) -> Mapping[str, Any]:
    return payload if isinstance(payload, dict) else _NOTHING


def _since(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise JoinRefused("since must be a whole number of at least 0")
    return min(value, rules.SEQ_MAX)
