"""Engine.IO 4: packets, polling payloads, and a packet that is encoded and framed once for all its recipients.

A packet is text that begins with its type, or the bytes of a binary message. On a WebSocket each is one message; a
polling payload holds several, separated by ``\\x1e``, binary ones as ``b`` and base64.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from typing import Any

import msgspec
from engineio import packet
from engineio.payload import Payload

from chatsys.protocol.frames import BINARY, TEXT, frame

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = (
    str(number)
    for number in (
        packet.OPEN,
        packet.CLOSE,
        packet.PING,
        packet.PONG,
        packet.MESSAGE,
        packet.UPGRADE,
        packet.NOOP,
    )
)

Data = str | bytes

POLL_PACKETS = Payload.max_decode_packets
"""How many packets python-engineio's client takes in one answer."""

_BESIDE = 160  # bytes that are kept beside an event's frame while it waits
_HEAD = {126: 4, 127: 10}  # bytes before the payload, by a frame's second byte; 2 where that is the payload's size


class Malformed(ValueError):
    """A client sent what is no packet; the text says what is wrong."""


class Outgoing:
    """An Engine.IO packet on its way to one or many connections.

    ``frame`` is its WebSocket frame, the same object for every recipient and all that is kept while the packet waits.
    ``cost`` is what it counts for while it waits for one connection alone, in bytes: its frame and what is kept beside
    it, and the frame once more for holes that the allocator can leave between frames that stay.
    """

    __slots__ = ("cost", "frame")

    def __init__(self, payload: bytes, opcode: int = TEXT) -> None:
        self.frame = frame(opcode, payload)
        self.cost = 2 * len(self.frame) + _BESIDE

    @property
    def packet(self) -> packet.Packet:
        """The packet as a polling payload takes it."""
        payload = self.frame[_HEAD.get(self.frame[1], 2) :]
        if self.frame[0] & 0x0F == BINARY:
            return packet.Packet(packet.MESSAGE, data=payload)
        text = payload.decode()
        return packet.Packet(int(text[0]), data=text[1:])


def opening(handshake: dict[str, Any]) -> Outgoing:
    """The packet that opens a connection."""
    return Outgoing(OPEN.encode() + msgspec.json.encode(handshake))


def encode_payload(packets: Iterable[Outgoing]) -> bytes:
    """The body of the answer to a poll."""
    encoded: str = Payload([out.packet for out in packets]).encode()
    return encoded.encode()


def decode_payload(body: bytes, most: int) -> list[Data]:
    """The packets of a POST. Raises Malformed for what is no payload, or one of more than ``most`` packets.

    Split here and not by python-engineio, which reads JSON in the text of a message.
    """
    try:
        parts = body.decode().split("\x1e")
        if len(parts) > most:
            raise Malformed(f"a payload may have {most} packets")
        return [b64decode(part[1:], validate=True) if part[:1] == "b" else part for part in parts]
    except Malformed:
        raise
    except ValueError as error:
        raise Malformed("not a payload") from error
