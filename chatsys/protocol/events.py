"""Socket.IO 5: decode what a client may send, strictly, and encode what a server sends.

A packet is the text of an Engine.IO message: its type, ``<attachments>-``, ``/namespace,``, an acknowledgement's id,
JSON. :func:`read_event` is a fast path for events of the default namespace without attachments, which are nearly all
that chat clients send. python-socketio's codec decodes the other packets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec
from socketio import packet

from chatsys.protocol.frames import BINARY
from chatsys.protocol.packets import Malformed, Outgoing

DEFAULT = "/"
"""The namespace of a packet that does not name one."""

ID_DIGITS = 20
"""Maximum digits of an acknowledgement's id; clients count from 0."""

_RESERVED = frozenset({"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"})
_decode = msgspec.json.Decoder().decode


class ClientEvent(msgspec.Struct, frozen=True, gc=False):
    """An event from a client: its name, its first argument (None if it has none) and the id to acknowledge, if any.

    ``data`` is the packet's whole list, beginning with the name.
    """

    name: str
    payload: Any
    ack_id: int | None
    namespace: str = DEFAULT
    data: Sequence[Any] = ()


class Connect(msgspec.Struct, frozen=True):
    """A client connects to a namespace, with its ``auth`` data."""

    namespace: str
    auth: Any


class Disconnect(msgspec.Struct, frozen=True):
    """A client leaves a namespace."""

    namespace: str


class Ignored(msgspec.Struct, frozen=True):
    """An acknowledgement. The server never requests one, so it ignores them."""


Incoming = ClientEvent | Connect | Disconnect | Ignored


class Partial:
    """An event whose attachments have not all arrived; ``size`` is the bytes that have."""

    __slots__ = ("_packet", "since", "size")

    def __init__(self, packet: packet.Packet, since: float) -> None:
        self._packet = packet
        self.size = 0
        self.since = since

    def add(self, attachment: bytes) -> Incoming | None:
        """Add an attachment. Returns the event if it was the last one. Raises Malformed if it does not belong here."""
        self.size += len(attachment)
        try:
            whole = self._packet.add_attachment(attachment)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise Malformed("an unexpected attachment") from error
        return _incoming(self._packet) if whole else None


def read_event(text: str) -> ClientEvent | None:
    """Decode an event of the default namespace (``2[...]`` or ``2<id>[...]``). Returns None for any other packet.

    Raises Malformed if the text begins like such an event but is not one.
    """
    start = text.find("[", 1, ID_DIGITS + 2)
    digits = text[1:start]
    if start < 0 or (digits and not (digits.isascii() and digits.isdigit())):
        return None
    try:
        data = _decode(text[start:])
    except (msgspec.DecodeError, RecursionError):
        data = _with_surrogates(text[start:])
    return _event(data, int(digits) if digits else None, DEFAULT)


def read_packet(text: str, now: float, attachments: int) -> Incoming | Partial:
    """Decode any packet with at most ``attachments`` attachments. Raises Malformed if the text is not a packet."""
    if text[:1] == "2" and (event := read_event(text)) is not None:
        return event
    if text[:1] not in "0123456" or not text:
        raise Malformed("not a Socket.IO packet")
    try:
        read = packet.Packet(encoded_packet=text)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise Malformed("not a Socket.IO packet") from error
    if read.attachment_count > attachments:
        raise Malformed(f"a packet may have at most {attachments} attachments")
    if read.packet_type in (packet.BINARY_EVENT, packet.BINARY_ACK):
        return Partial(read, now) if read.attachment_count else _incoming(read)
    if read.attachment_count:
        raise Malformed("a packet of this type has no attachments")
    return _incoming(read)


def _incoming(read: packet.Packet) -> Incoming:
    namespace, data = read.namespace or DEFAULT, read.data
    if read.id is not None and read.id >= 10**ID_DIGITS:
        raise Malformed("the id of an acknowledgement is too long")
    match read.packet_type:
        case packet.EVENT | packet.BINARY_EVENT:
            return _event(data, read.id, namespace)
        case packet.CONNECT if data is None or isinstance(data, dict):
            return Connect(namespace, data)
        case packet.DISCONNECT if data is None:
            return Disconnect(namespace)
        case packet.ACK | packet.BINARY_ACK if isinstance(data, list) and read.id is not None:
            return Ignored()
    raise Malformed("not a Socket.IO packet")


def _event(data: Any, ack_id: int | None, namespace: str) -> ClientEvent:
    """The event in a packet's data: a list that begins with its name. A number as name is converted to text."""
    if not isinstance(data, list) or not data:
        raise Malformed("an event must be a list")
    name = data[0]
    if isinstance(name, int | float) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or name in _RESERVED:
        raise Malformed("an event must have a name that is not reserved")
    return ClientEvent(name, data[1] if len(data) > 1 else None, ack_id, namespace, data)


def _with_surrogates(text: str) -> Any:
    """Decode JSON with the standard library: it accepts lone surrogates, which JavaScript sends and RFC 8259 allows."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed("not JSON") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def connected(namespace: str, socket_id: str) -> Outgoing:
    """The packet that admits a client to a namespace."""
    return _packet(packet.CONNECT, {"sid": socket_id}, namespace)


def refused(namespace: str, message: str) -> Outgoing:
    """The packet that refuses a client's CONNECT to a namespace."""
    return _packet(packet.CONNECT_ERROR, {"message": message}, namespace)


def sent(data: list[Any], namespace: str = DEFAULT, ack_id: int | None = None) -> list[Outgoing]:
    """Encode an event (its name and arguments) or, with ``ack_id``, an acknowledgement. Bytes become attachments."""
    kind = packet.EVENT if ack_id is None else packet.ACK
    encoded = packet.Packet(kind, data, namespace, ack_id).encode()
    texts = encoded if isinstance(encoded, list) else [encoded]
    return [_message(text) if isinstance(text, str) else Outgoing(bytes(text), BINARY) for text in texts]


def _packet(kind: int, data: Any, namespace: str) -> Outgoing:
    return _message(packet.Packet(kind, data, namespace).encode())


def _message(text: str) -> Outgoing:
    return Outgoing(b"4" + text.encode("utf-8", "replace"))
