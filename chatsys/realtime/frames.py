"""One outgoing event, encoded once for all its recipients, and the frames of RFC 6455 that carry it.

A Socket.IO event in the default namespace is the Engine.IO message ``42["name",payload]`` (Engine.IO 4, Socket.IO 5);
an acknowledgement is ``43<id>[payload]``. The bytes are the same for each recipient, and so is the unmasked frame that
a server puts round them, so it is made once; it is all that is kept while an event waits for a slow reader.
"""

from __future__ import annotations

from typing import Any

import msgspec
from engineio import packet

from chatsys.wire.objects import encode

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

_FIN = 0x80
_BESIDE = 160  # bytes that are kept beside an event's frame while it waits
_HEAD = {126: 4, 127: 10}  # bytes before the payload, by a frame's second byte; 2 where that is the payload's size


def frame(opcode: int, payload: bytes) -> bytes:
    """A final, unmasked frame (RFC 6455 §5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 65536:
        return bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str) -> bytes:
    """A close frame with a code (RFC 6455 §7.4) and a reason of at most 123 bytes in UTF-8."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode()[:123])


class Outgoing:
    """An Engine.IO packet on its way to one or many sockets.

    ``frame`` is its WebSocket frame, the same object for every recipient. ``seq`` is the message's sequence number in
    its room for a ``receive-message``, else 0. ``cost`` is what it counts for while it waits, in bytes: its frame and
    what is kept beside it, and the frame once more for holes that the allocator can leave between frames that stay.
    """

    __slots__ = ("cost", "frame", "seq")

    def __init__(self, payload: bytes, seq: int = 0) -> None:
        self.frame = frame(TEXT, payload)
        self.cost = 2 * len(self.frame) + _BESIDE
        self.seq = seq

    @property
    def packet(self) -> packet.Packet:
        """The packet as python-engineio sends it by long-polling."""
        text = self.frame[_HEAD.get(self.frame[1], 2) :].decode()
        return packet.Packet(int(text[0]), data=text[1:])


def event(name: str, payload: msgspec.Struct | list[Any], seq: int = 0) -> Outgoing:
    """The Socket.IO event ``name`` with its one argument."""
    return encoded_event(name, encode(payload), seq)


def encoded_event(name: str, payload: bytes, seq: int = 0) -> Outgoing:
    """The same for an argument that is JSON already."""
    return Outgoing(b'42["' + name.encode() + b'",' + payload + b"]", seq)


def acknowledgement(ack_id: int, answer: msgspec.Struct) -> Outgoing:
    """The Socket.IO acknowledgement of the client's packet ``ack_id``."""
    return Outgoing(b"43%d[" % ack_id + encode(answer) + b"]")
