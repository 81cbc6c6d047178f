"""Socket.IO 5: what a client may send, read strictly, and what a server sends.

A packet is the text of an Engine.IO message: its type, ``<attachments>-``, ``/namespace,``, an acknowledgement's id,
JSON. :func:`read_event` is a short path for events of the default namespace without attachments, which is nearly all
that chat clients send; the others are read by python-socketio's codec.
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
"""The namespace of a packet that names none."""

ID_DIGITS = 20
"""How many digits an acknowledgement's id may have; clients count from 0."""

_RESERVED = frozenset({"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"})
_decode = msgspec.json.Decoder().decode


class ClientEvent(msgspec.Struct, frozen=True, gc=False):
    """What a client sent: the event's name, its first argument (None without one), the acknowledgement asked for.

    ``data`` is the packet's whole list, the name first.
    """

    name: str
    payload: Any
    ack_id: int | None
    namespace: str = DEFAULT
    data: Sequence[Any] = ()


class Connect(msgspec.Struct, frozen=True):
    """A client connects to a namespace, with what it says of itself."""

    namespace: str
    auth: Any


class Disconnect(msgspec.Struct, frozen=True):
    """A client leaves a namespace."""

    namespace: str


class Ignored(msgspec.Struct, frozen=True):
    """An acknowledgement of what this server never asked one for."""


Incoming = ClientEvent | Connect | Disconnect | Ignored


class Partial:
    """An event whose attachments are on their way; ``size`` is their bytes so far."""

    __slots__ = ("_packet", "since", "size")

    def __init__(self, packet: packet.Packet, since: float) -> None:
        self._packet = packet
        self.size = 0
        self.since = since

    def add(self, attachment: bytes) -> Incoming | None:
        """The event if that was the last attachment. Raises Malformed if one has no place in it."""
        self.size += len(attachment)
        try:
            whole = self._packet.add_attachment(attachment)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise Malformed("an attachment has no place") from error
        return _incoming(self._packet) if whole else None


def read_event(text: str) -> ClientEvent | None:
    """An event of the default namespace (``2[...]`` or ``2<id>[...]``); None if it is something else.

    Raises Malformed for what begins as one and is none.
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
    """Any packet; ``attachments`` is how many it may have. Raises Malformed for what is none."""
    if text[:1] == "2" and (event := read_event(text)) is not None:
        return event
    if text[:1] not in "0123456" or not text:
        raise Malformed("no Socket.IO packet")
    try:
        read = packet.Packet(encoded_packet=text)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise Malformed("no Socket.IO packet") from error
    if read.attachment_count > attachments:
        raise Malformed(f"a packet may have {attachments} attachments")
    if read.packet_type in (packet.BINARY_EVENT, packet.BINARY_ACK):
        return Partial(read, now) if read.attachment_count else _incoming(read)
    if read.attachment_count:
        raise Malformed("attachments of a packet that has none")
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
    raise Malformed("no Socket.IO packet")


def _event(data: Any, ack_id: int | None, namespace: str) -> ClientEvent:
    """The event in a packet's data: a list whose first element is its name, or a number, which names none of ours."""
    if not isinstance(data, list) or not data:
        raise Malformed("an event must be a list")
    name = data[0]
    if isinstance(name, int | float) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or name in _RESERVED:
        raise Malformed("an event must have a name of its own")
    return ClientEvent(name, data[1] if len(data) > 1 else None, ack_id, namespace, data)


def _with_surrogates(text: str) -> Any:
    """What only the standard library reads: escaped lone surrogates, which JavaScript sends and RFC 8259 allows."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Malformed("not JSON") from error


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def connected(namespace: str, socket_id: str) -> Outgoing:
    """The answer to a client that may be in the namespace."""
    return _packet(packet.CONNECT, {"sid": socket_id}, namespace)


def refused(namespace: str, message: str) -> Outgoing:
    """The answer to a client that may not."""
    return _packet(packet.CONNECT_ERROR, {"message": message}, namespace)


def sent(data: list[Any], namespace: str = DEFAULT, ack_id: int | None = None) -> list[Outgoing]:
    """An event (its name and arguments) or with ``ack_id`` an acknowledgement (its arguments), bytes as attachments."""
    kind = packet.EVENT if ack_id is None else packet.ACK
    encoded = packet.Packet(kind, data, namespace, ack_id).encode()
    texts = encoded if isinstance(encoded, list) else [encoded]
    return [_message(text) if isinstance(text, str) else Outgoing(bytes(text), BINARY) for text in texts]


def _packet(kind: int, data: Any, namespace: str) -> Outgoing:
    return _message(packet.Packet(kind, data, namespace).encode())


def _message(text: str) -> Outgoing:
    return Outgoing(b"4" + text.encode("utf-8", "replace"))
