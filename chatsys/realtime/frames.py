"""The chat's events and acknowledgements as packets. Each is encoded and framed once for all its recipients.

A Socket.IO event in the default namespace is the Engine.IO message ``42["name",payload]``; an acknowledgement is
``43<id>[payload]``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from chatsys.protocol.packets import Outgoing
from chatsys.wire.objects import encode


def event(name: str, payload: msgspec.Struct | list[Any]) -> Outgoing:
    """The Socket.IO event ``name`` with its one argument."""
    return encoded_event(name, encode(payload))


def encoded_event(name: str, payload: bytes) -> Outgoing:
    """As :func:`event`, for an argument encoded as JSON."""
    return Outgoing(b'42["' + name.encode() + b'",' + payload + b"]")


def acknowledgement(ack_id: int, answer: msgspec.Struct) -> Outgoing:
    """The Socket.IO acknowledgement of the client's packet ``ack_id``."""
    return Outgoing(b"43%d[" % ack_id + encode(answer) + b"]")
