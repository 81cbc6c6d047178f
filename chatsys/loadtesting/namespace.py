"""One namespace of a Socket.IO connection: its handlers, its acknowledgements, its events in both directions."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gevent
import msgspec
from gevent.event import AsyncResult

from chatsys.loadtesting.binary import BYTES, has_binary, put_back, taken_out

if TYPE_CHECKING:
    from chatsys.loadtesting.client import SocketIOClient

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_NOBODY = object()
"""What the handler of an event gives that has none."""


class SocketIOError(Exception):
    """Something went wrong between this client and the server; the text is the cause."""


class ConnectFailed(SocketIOError):
    """No connection: nobody answers, or the server refused."""


class ConnectRefused(ConnectFailed):
    """The server is there, and does not want this client in the namespace: to try again is no use."""


class ConnectionLost(SocketIOError):
    """The connection ended without our asking."""


class AckTimeout(SocketIOError):
    """The server did not acknowledge in time."""


class Acknowledged(msgspec.Struct):
    """An acknowledgement: the server's arguments, and how long it took to come, in milliseconds."""

    args: list[Any]
    ms: float


class _Pending(msgspec.Struct):
    sent: float
    then: Callable[[Acknowledged | SocketIOError], None]


class Namespace:
    """One namespace; ``SocketIOClient.of`` makes others beside the client's own.

    Event handlers, ``then`` callbacks and ``on_disconnect(cause)`` run in the event loop and must not wait (spawn a
    greenlet for that). ``unhandled`` counts the events that came and have no handler, by name; several clients may
    share one dictionary.
    """

    __slots__ = (
        "_acks", "_connected", "_connection", "_handlers", "_last_ack", "_opening", "_prefix", "auth", "namespace",
        "on_disconnect", "sid", "unhandled", "wanted",
    )  # fmt: skip

    def __init__(self, connection: SocketIOClient, namespace: str, auth: object) -> None:
        self._connection = connection
        self.namespace = namespace
        self.auth = auth
        self._prefix = b"" if namespace == "/" else namespace.encode() + b","
        self._handlers: dict[bytes, tuple[Callable[..., Any], msgspec.json.Decoder[Any] | None]] = {}
        self._acks: dict[int, _Pending] = {}
        self._last_ack = 0
        self._opening: AsyncResult | None = None
        self._connected = False
        self.wanted = False
        self.sid = ""
        self.unhandled: dict[bytes, int] = {}
        self.on_disconnect: Callable[[str], None] = nothing

    @property
    def connected(self) -> bool:
        """True between the server's consent and the end of the connection."""
        return self._connected

    @property
    def farewell(self) -> bytes:
        """The packet that leaves this namespace."""
        return b"41" + self._prefix

    def on(self, event: str, handler: Callable[..., Any], payload: Any = None) -> None:
        """Call ``handler`` for each ``event``: with its arguments, or decoded as the one type ``payload``.

        With a ``payload`` type (a msgspec Struct, say) only the fields that it names are decoded. The event must then
        have exactly one argument. What the handler returns answers the server if that asks for an acknowledgement:
        nothing for None, several arguments for a tuple.
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
        if not self._connected:
            raise ConnectionLost("not connected")
        ack = b""
        if then is not None:
            self._last_ack += 1
            ack = b"%d" % self._last_ack
            self._acks[self._last_ack] = _Pending(time.perf_counter(), then)
        self._send(b"42", ack, (event, *args))

    def call(self, event: str, *args: object, timeout: float | None = None) -> Acknowledged:
        """Send an event and wait for its acknowledgement. Raises AckTimeout or ConnectionLost."""
        result = AsyncResult()

        def then(answer: Acknowledged | SocketIOError) -> None:
            result.set(answer)

        self.emit(event, *args, then=then)
        number = self._last_ack
        patience = self._connection.timeout if timeout is None else timeout
        try:
            answer = result.get(timeout=patience)
        except gevent.Timeout as error:
            raise AckTimeout(f"{event}: no acknowledgement in {patience:g} s") from error
        finally:
            self._acks.pop(number, None)
        if isinstance(answer, SocketIOError):
            raise answer
        return answer

    def connect(self) -> float:
        """Join this namespace on the connection that there is; the milliseconds until the server's consent.

        Raises ConnectRefused, or ConnectFailed without an answer or a connection.
        """
        self.wanted = True
        begun = time.perf_counter()
        try:
            with gevent.Timeout(self._connection.timeout, ConnectFailed("connect: no answer to the namespace")):
                self._expect()
                self._enter()
        except ConnectionLost as error:
            raise ConnectFailed(str(error)) from error
        return (time.perf_counter() - begun) * 1000

    def disconnect(self) -> None:
        """Leave this namespace; the connection stays."""
        was = self._connected
        self.wanted = False
        self._gone("disconnected")
        if was:
            self._connection.send(self.farewell)

    def _expect(self) -> None:
        """From now on the server's consent or refusal may come."""
        self._opening = AsyncResult()

    def _enter(self) -> None:
        try:
            self._send(b"40", b"", self.auth)
            self.sid = self._opening.get()
        finally:
            self._opening = None

    def _send(self, kind: bytes, ack: bytes, data: object) -> None:
        """Send a packet of this namespace; an event or an acknowledgement with bytes as its binary sibling."""
        connection = self._connection
        if kind == b"40":
            connection.send(kind + self._prefix + (_encode(data) if data is not None else b""))
        elif has_binary(data):
            left, buffers = taken_out(data)
            sibling = b"45" if kind == b"42" else b"46"
            connection.send(sibling + b"%d-" % len(buffers) + self._prefix + ack + _encode(left), buffers)
        else:
            connection.send(kind + self._prefix + ack + _encode(data))

    # -- what comes in

    def _event(self, packet: bytes, at: int) -> Any:
        """Handle an event whose JSON begins at ``at``; what its handler gives."""
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
        """An event with bytes in it, or written as few servers write it."""
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
        return _NOBODY

    def take(self, kind: bytes, ack: bytes, packet: bytes, at: int, buffers: list[bytes] | None = None) -> None:
        """A packet of this namespace but for CONNECT and DISCONNECT, with its bytes if there are any."""
        if kind in b"25":
            if buffers is None:
                answer = self._event(packet, at)
            else:
                answer = self._uncommon(put_back(_decode(packet[at:]), buffers))
            if ack and answer is not _NOBODY:
                self._send(b"43", ack, [] if answer is None else answer if isinstance(answer, tuple) else [answer])
        else:
            pending = self._acks.pop(int(ack), None)
            if pending is not None:  # None: given up after its timeout, and counted then
                args = _decode(packet[at:])
                args = args if buffers is None else put_back(args, buffers)
                pending.then(Acknowledged(args, (time.perf_counter() - pending.sent) * 1000))

    def consented(self, answer: bytes) -> None:
        """The server lets this client in."""
        self._connected = True
        if self._opening is not None:
            self._opening.set(_decode(answer).get("sid", "") if answer else "")

    def refused(self, answer: bytes) -> None:
        """The server does not let this client in."""
        refusal = _decode(answer) if answer else ""
        text = refusal.get("message", refusal) if isinstance(refusal, dict) else refusal
        self.wanted = False
        if self._opening is not None:
            self._opening.set_exception(ConnectRefused(f"refused: {text}"))

    def lost(self, cause: str) -> None:
        """The namespace or the whole connection has ended without our asking."""
        if self._opening is not None and not self._opening.ready():
            self._opening.set_exception(ConnectionLost(f"connect: {cause}"))
        if self._gone(cause):
            self.on_disconnect(cause)

    def _gone(self, cause: str) -> bool:
        was, self._connected = self._connected, False
        pending, self._acks = self._acks, {}
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
    """The callback of whoever has set none."""
