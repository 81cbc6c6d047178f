"""One namespace of a Socket.IO connection, without I/O: handlers, acknowledgements, events in both directions."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from chatsys.client.binary import BYTES, has_binary, put_back, taken_out
from chatsys.client.errors import ConnectionLost, ConnectRefused, SocketIOError

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_UNHANDLED = object()
"""The result of an event that has no handler."""


class Acknowledged(msgspec.Struct):
    """An acknowledgement: the server's arguments, and how long it took to come, in milliseconds."""

    args: list[Any]
    ms: float


class _Pending(msgspec.Struct):
    sent: float
    then: Callable[[Acknowledged | SocketIOError], None]


class PacketSender(Protocol):
    """What a namespace needs of its connection."""

    timeout: float
    """Seconds, for connecting and for each call."""

    def send(self, packet: bytes, buffers: list[bytes] | None = None) -> None:
        """Send a packet and the bytes that belong to it. Raises ConnectionLost without a connection."""
        ...


class Namespace:
    """One namespace; a client's ``of`` creates others on the same connection.

    Event handlers, ``then`` callbacks and ``on_disconnect(cause)`` run in the event loop and must not wait (spawn a
    greenlet or a task for that). ``connected`` is true between the server's consent and the end of the connection.
    ``unhandled`` counts the received events without a handler, by name; several clients may share one dictionary.
    """

    __slots__ = (
        "_handlers", "_opening", "_prefix", "acks", "auth", "connected", "connection", "last_ack", "namespace",
        "on_disconnect", "sid", "unhandled", "wanted",
    )  # fmt: skip

    def __init__(self, connection: PacketSender, namespace: str, auth: object) -> None:
        self.connection = connection
        self.namespace = namespace
        self.auth = auth
        self._prefix = b"" if namespace == "/" else namespace.encode() + b","
        self._handlers: dict[bytes, tuple[Callable[..., Any], msgspec.json.Decoder[Any] | None]] = {}
        self.acks: dict[int, _Pending] = {}
        self.last_ack = 0
        self._opening: Callable[[str | SocketIOError], None] = nothing
        self.connected = False
        self.wanted = False
        self.sid = ""
        self.unhandled: dict[bytes, int] = {}
        self.on_disconnect: Callable[[str], None] = nothing

    @property
    def farewell(self) -> bytes:
        """The packet that leaves this namespace."""
        return b"41" + self._prefix

    def on(self, event: str, handler: Callable[..., Any], payload: Any = None) -> None:
        """Call ``handler`` for each ``event``: with its arguments, or decoded as the one type ``payload``.

        With a ``payload`` type (a msgspec Struct, say) only the fields that it names are decoded. The event must then
        have exactly one argument. If the server requests an acknowledgement, it has what the handler returns: no
        argument for None, several for a tuple.
        """
        entry = (handler, None if payload is None else _decoder(payload))
        for name in _names(event):
            self._handlers[name] = entry

    def emit(
        self, event: str, *args: object, then: Callable[[Acknowledged | SocketIOError], None] | None = None
    ) -> None:
        """Send an event; bytes anywhere in ``args`` arrive as bytes.

        ``then`` gets the acknowledgement, or the error if the connection ends before it. Raises ConnectionLost if
        there is no connection.
        """
        if not self.connected:
            raise ConnectionLost("not connected")
        ack = b""
        if then is not None:
            self.last_ack += 1
            ack = b"%d" % self.last_ack
            self.acks[self.last_ack] = _Pending(time.perf_counter(), then)
        self._send(b"42", ack, (event, *args))

    def disconnect(self) -> None:
        """Leave this namespace; the connection stays."""
        was = self.connected
        self.wanted = False
        self._gone("disconnected")
        if was:
            self.connection.send(self.farewell)

    def expect(self, then: Callable[[str | SocketIOError], None]) -> None:
        """Expect the server's consent or refusal: ``then`` gets the Socket.IO id, or the error."""
        self._opening = then

    def enter(self) -> None:
        """Request to join this namespace. Raises ConnectionLost without a connection."""
        self._send(b"40", b"", self.auth)

    def _send(self, kind: bytes, ack: bytes, data: object) -> None:
        """Send a packet of this namespace; an event or an acknowledgement with bytes becomes its binary kind."""
        connection = self.connection
        if kind == b"40":
            connection.send(kind + self._prefix + (_encode(data) if data is not None else b""))
        elif has_binary(data):
            left, buffers = taken_out(data)
            binary = b"45" if kind == b"42" else b"46"
            connection.send(binary + b"%d-" % len(buffers) + self._prefix + ack + _encode(left), buffers)
        else:
            connection.send(kind + self._prefix + ack + _encode(data))

    # -- incoming packets

    def _event(self, packet: bytes, at: int) -> Any:
        """Handle an event whose JSON begins at ``at``; return the result of its handler."""
        end = packet.index(b'"', at + 2)
        name = packet[at + 2 : end]
        entry = self._handlers.get(name)
        if entry is None:
            if b"\\" not in name and packet[at : at + 2] == b'["':
                return self._unknown(name)
            return self._uncommon(_decode(packet[at:]))
        handler, decoder = entry
        if decoder is not None:
            return handler(decoder.decode(packet[end + 2 : -1]))
        return handler(*_decode(packet[at:])[1:])

    def _uncommon(self, data: list[Any]) -> Any:
        """Handle an event with bytes in it, or in a form that few servers write."""
        name, *args = data
        written = _written(str(name), ascii_only=False)
        entry = self._handlers.get(written)
        if entry is None:
            return self._unknown(written)
        handler, decoder = entry
        if decoder is None:
            return handler(*args)
        (value,) = args
        return handler(msgspec.convert(value, decoder.type, builtin_types=BYTES))

    def _unknown(self, name: bytes) -> object:
        self.unhandled[name] = self.unhandled.get(name, 0) + 1
        return _UNHANDLED

    def take(self, kind: bytes, ack: bytes, packet: bytes, at: int, buffers: list[bytes] | None = None) -> None:
        """Handle a packet of this namespace, except CONNECT and DISCONNECT, with its bytes if there are any."""
        if kind in b"25":
            if buffers is None:
                answer = self._event(packet, at)
            else:
                answer = self._uncommon(put_back(_decode(packet[at:]), buffers))
            if ack and answer is not _UNHANDLED:
                self._send(b"43", ack, [] if answer is None else answer if isinstance(answer, tuple) else [answer])
        else:
            pending = self.acks.pop(int(ack), None)
            if pending is not None:  # None: given up after its timeout, and counted then
                args = _decode(packet[at:])
                args = args if buffers is None else put_back(args, buffers)
                pending.then(Acknowledged(args, (time.perf_counter() - pending.sent) * 1000))

    def consented(self, answer: bytes) -> None:
        """The server accepted this client."""
        self.connected = True
        self.sid = _decode(answer).get("sid", "") if answer else ""
        self._opened(self.sid)

    def refused(self, answer: bytes) -> None:
        """The server refused this client."""
        refusal = _decode(answer) if answer else ""
        text = refusal.get("message", refusal) if isinstance(refusal, dict) else refusal
        self.wanted = False
        self._opened(ConnectRefused(f"refused: {text}"))

    def _opened(self, answer: str | SocketIOError) -> None:
        opening, self._opening = self._opening, nothing
        opening(answer)

    def lost(self, cause: str) -> None:
        """The namespace or the whole connection has ended unexpectedly."""
        self._opened(ConnectionLost(f"connect: {cause}"))
        if self._gone(cause):
            self.on_disconnect(cause)

    def _gone(self, cause: str) -> bool:
        was, self.connected = self.connected, False
        pending, self.acks = self.acks, {}
        for entry in pending.values():
            entry.then(ConnectionLost(cause))
        return was


@functools.cache
def _decoder(payload: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(payload)


def _written(event: str, *, ascii_only: bool) -> bytes:
    """The event's name as JSON writes it between the quotes."""
    return json.dumps(event, ensure_ascii=ascii_only)[1:-1].encode()


@functools.cache
def _names(event: str) -> frozenset[bytes]:
    """The event's name as JSON may write it: with and without escapes."""
    return frozenset(_written(event, ascii_only=ascii_only) for ascii_only in (True, False))


def nothing(*_: object) -> None:
    """The default callback, which does nothing."""
