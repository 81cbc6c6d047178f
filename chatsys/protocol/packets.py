"""Engine.IO 4: packets and polling payloads. A packet is encoded and framed once for all its recipients.

A packet is text that begins with its type, or the bytes of a binary message. On a WebSocket, each packet is one
message. A polling payload contains several packets, separated by ``\\x1e``; binary ones are ``b`` followed by base64.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from typing import Any

import msgspec
from engineio import packet
from engineio.payload import Payload

from chatsys.protocol.frames import BINARY, TEXT, frame

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = map(str, range(7))

Data = str | bytes

POLL_PACKETS = Payload.max_decode_packets
"""Maximum packets that python-engineio's client accepts in one response."""

_OVERHEAD = 160  # bytes of memory that a waiting packet takes in addition to its frame
_HEAD = {126: 4, 127: 10}  # bytes before the payload, by the frame's second byte; otherwise 2


class Malformed(ValueError):
    """A client sent something that is not a packet; the text says what is wrong."""


class Outgoing:
    """An Engine.IO packet for one or many connections.

    ``frame`` is its WebSocket frame, one object shared by all recipients. ``cost`` is the bytes of memory that count
    while the packet waits for a single connection: the frame, the overhead, and the frame's size again, since freed
    frames can leave gaps between frames that stay.
    """

    __slots__ = ("cost", "frame")

    def __init__(self, payload: bytes, opcode: int = TEXT) -> None:
        self.frame = frame(opcode, payload)
        self.cost = 2 * len(self.frame) + _OVERHEAD

    @property
    def packet(self) -> packet.Packet:
        """The packet for a polling payload."""
        payload = self.frame[_HEAD.get(self.frame[1], 2) :]
        if self.frame[0] & 0x0F == BINARY:
            return packet.Packet(packet.MESSAGE, data=payload)
        text = payload.decode()
        return packet.Packet(int(text[0]), data=text[1:])


def opening(handshake: dict[str, Any]) -> Outgoing:
    """The OPEN packet with a connection's handshake data."""
    return Outgoing(OPEN.encode() + msgspec.json.encode(handshake))


def encode_payload(packets: Iterable[Outgoing]) -> bytes:
    """The body of the response to a poll."""
    encoded: str = Payload([out.packet for out in packets]).encode()
    return encoded.encode()


def decode_payload(body: bytes, most: int) -> list[Data]:
    """The packets of a POST. Raises Malformed if the body is not a payload or has more than ``most`` packets.

    python-engineio is not used here, because it parses JSON in the text of a message.
    """
    if body.count(b"\x1e") >= most:
        raise Malformed(f"a payload may have at most {most} packets")
    try:
        parts = body.decode().split("\x1e")
        return [b64decode(part[1:], validate=True) if part[:1] == "b" else part for part in parts]
    except ValueError as error:
        raise Malformed("not a payload") from error
