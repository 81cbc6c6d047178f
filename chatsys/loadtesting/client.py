"""A lean Socket.IO 5 client on gevent: connect, emit, call, handlers, reconnect.

Protocols: https://github.com/socketio/engine.io-protocol (4) and https://github.com/socketio/socket.io-protocol (5).
"""

from __future__ import annotations

import functools
import json
import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import gevent
import msgspec
from gevent.event import AsyncResult

from chatsys.loadtesting.transport import TRANSPORTS, Transport, TransportError

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode

# The official client's defaults: https://socket.io/docs/v4/client-options/#reconnectiondelay
BACKOFF_FIRST = 1.0
BACKOFF_MOST = 5.0
BACKOFF_SPREAD = 0.5


class SocketIOError(Exception):
    """Something went wrong between this client and the server; the text is the cause."""


class ConnectFailed(SocketIOError):
    """No connection: nobody answers, or the server refused."""


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


class SocketIOClient:
    """One Socket.IO connection in one namespace.

    Event handlers, ``then`` callbacks, ``on_disconnect(cause)`` and ``on_failure(what, error)`` run in the event loop
    and must not wait (spawn a greenlet for that). ``on_reconnect()`` runs in a greenlet of its own and may wait.
    ``unhandled`` counts the events that came and have no handler, by name; several clients may share one dictionary.
    """

    __slots__ = (
        "_acks", "_connected", "_handlers", "_last_ack", "_opening", "_prefix", "_reconnecting", "_silence", "_timeout",
        "_transport", "_transport_class", "_url", "_watchdog", "auth", "last_heard", "namespace", "on_disconnect",
        "on_failure", "on_reconnect", "packets", "reconnect", "sid", "unhandled",
    )  # fmt: skip

    def __init__(
        self,
        url: str,
        *,
        transport: str = "websocket",
        namespace: str = "/",
        path: str = "/socket.io/",
        auth: object = None,
        reconnect: bool = True,
        timeout: float = 10.0,
    ) -> None:
        """``url`` is http(s)://host:port; ``timeout`` (seconds) holds for connecting and for each :meth:`call`."""
        self._url = urlsplit(url.rstrip("/"))._replace(path=path, query=f"EIO=4&transport={transport}", fragment="")
        self._transport_class = TRANSPORTS[transport]
        self._transport: Transport | None = None
        self._timeout = timeout
        self.namespace = namespace
        self._prefix = b"" if namespace == "/" else namespace.encode() + b","
        self.auth = auth
        self.reconnect = reconnect
        self._handlers: dict[bytes, tuple[Callable[..., None], msgspec.json.Decoder[Any] | None]] = {}
        self._acks: dict[int, _Pending] = {}
        self._last_ack = 0
        self._opening: AsyncResult | None = None
        self._connected = False
        self._reconnecting: gevent.Greenlet | None = None
        self._watchdog: Any = None
        self._silence = 45.0
        self.last_heard = 0.0
        self.packets = 0
        self.unhandled: dict[bytes, int] = {}
        self.sid = ""
        self.on_reconnect: Callable[[], None] = _nothing
        self.on_disconnect: Callable[[str], None] = _nothing
        self.on_failure: Callable[[str, BaseException], None] = _nothing

    @property
    def connected(self) -> bool:
        """True between the server's consent and the end of the connection."""
        return self._connected

    def on(self, event: str, handler: Callable[..., None], payload: Any = None) -> None:
        """Call ``handler`` for each ``event``: with its arguments, or decoded as the one type ``payload``.

        With a ``payload`` type (a msgspec Struct, say) only the fields that it names are decoded. The event must then
        have exactly one argument.
        """
        entry = (handler, None if payload is None else _decoder(payload))
        for name in _names(event):
            self._handlers[name] = entry

    def connect(self) -> float:
        """Connect; the milliseconds from the first packet to the server's consent. Raises ConnectFailed."""
        begun = time.perf_counter()
        self._opening = AsyncResult()
        self._transport = self._transport_class(self._url, self._received, self._lost)
        try:
            with gevent.Timeout(self._timeout, TransportError(f"connect: no answer in {self._timeout:g} s")):
                opened = self._transport.open(self._timeout)
                self._silence = (opened.pingInterval + opened.pingTimeout) / 1000
                self._transport.send(b"40" + self._prefix + (_encode(self.auth) if self.auth is not None else b""))
                self.sid = self._opening.get()
        except (TransportError, SocketIOError) as error:
            raise ConnectFailed(str(error)) from error
        finally:
            self._opening = None
            if not self._connected:
                self._transport.close()
        taken = (time.perf_counter() - begun) * 1000
        self._watch()
        return taken

    def emit(
        self, event: str, *args: object, then: Callable[[Acknowledged | SocketIOError], None] | None = None
    ) -> None:
        """Send an event. ``then`` gets the acknowledgement, or the error if the connection ends before it.

        Raises ConnectionLost if there is no connection.
        """
        if not self._connected:
            raise ConnectionLost("not connected")
        ack = b""
        if then is not None:
            self._last_ack += 1
            ack = b"%d" % self._last_ack
            self._acks[self._last_ack] = _Pending(time.perf_counter(), then)
        self._transport.send(b"42" + self._prefix + ack + _encode((event, *args)))

    def call(self, event: str, *args: object, timeout: float | None = None) -> Acknowledged:
        """Send an event and wait for its acknowledgement. Raises AckTimeout or ConnectionLost."""
        result = AsyncResult()

        def then(answer: Acknowledged | SocketIOError) -> None:
            result.set(answer)

        self.emit(event, *args, then=then)
        number = self._last_ack
        patience = self._timeout if timeout is None else timeout
        try:
            answer = result.get(timeout=patience)
        except gevent.Timeout as error:
            raise AckTimeout(f"{event}: no acknowledgement in {patience:g} s") from error
        finally:
            self._acks.pop(number, None)
        if isinstance(answer, SocketIOError):
            raise answer
        return answer

    def disconnect(self) -> None:
        """Say goodbye and close; no reconnect, no ``on_disconnect``."""
        self._end(b"41" + self._prefix)

    def vanish(self) -> None:
        """Drop the connection without a word, as a phone in a tunnel does; no reconnect, no ``on_disconnect``."""
        self._end(b"")

    def _end(self, farewell: bytes) -> None:
        if self._reconnecting is not None:
            self._reconnecting.kill(block=False)
            self._reconnecting = None
        was, self._connected = self._connected, False
        self._unwatch()
        if self._transport is not None:
            self._transport.close(farewell if was else b"")
        self._fail_acks("disconnected")

    # -- what comes in

    def _received(self, packet: bytes) -> None:
        self.last_heard = time.monotonic()
        self.packets += 1
        try:
            if packet.startswith(b'42["') and not self._prefix:
                self._event(packet, 2)
            elif packet.startswith(b"2"):
                self._transport.send(b"3" + packet[1:])
            elif packet.startswith(b"4"):
                self._message(packet)
            elif packet.startswith(b"1"):
                self._transport.close()
                self._lost("closed by the server")
            elif not packet.startswith(b"6"):
                raise SocketIOError(f"an Engine.IO packet {packet[:20]!r} is not understood")
        except gevent.GreenletExit:
            raise
        except Exception as error:
            self.on_failure("receive", error)

    def _event(self, packet: bytes, at: int) -> None:
        end = packet.index(b'"', at + 2)
        entry = self._handlers.get(packet[at + 2 : end])
        if entry is None:
            name = packet[at + 2 : end]
            self.unhandled[name] = self.unhandled.get(name, 0) + 1
            return
        handler, decoder = entry
        if decoder is not None:
            handler(decoder.decode(packet[end + 2 : -1]))
        else:
            handler(*_decode(packet[at:])[1:])

    def _message(self, packet: bytes) -> None:
        """A Socket.IO packet off the fast path: other kinds, a namespace, an acknowledgement wanted or given."""
        kind, at = packet[1:2], 2
        if packet[at : at + 1] == b"/":
            comma = packet.find(b",", at)
            comma = len(packet) if comma < 0 else comma
            if packet[at:comma] != self.namespace.encode():
                raise SocketIOError(f"a packet for namespace {packet[at:comma].decode()} came")
            at = comma + 1
        digits = at
        while packet[digits : digits + 1].isdigit():
            digits += 1
        if kind == b"2":
            self._event(packet, digits)
            if digits > at:
                self._transport.send(b"43" + self._prefix + packet[at:digits] + b"[]")
        elif kind == b"3":
            pending = self._acks.pop(int(packet[at:digits]), None)
            if pending is not None:  # None: given up after its timeout, and counted then
                pending.then(Acknowledged(_decode(packet[digits:]), (time.perf_counter() - pending.sent) * 1000))
        elif kind == b"0" and self._opening is not None:
            self._connected = True
            self._opening.set(_decode(packet[at:]).get("sid", "") if len(packet) > at else "")
        elif kind == b"4" and self._opening is not None:
            refusal = _decode(packet[at:]) if len(packet) > at else ""
            text = refusal.get("message", refusal) if isinstance(refusal, dict) else refusal
            self._opening.set_exception(SocketIOError(f"refused: {text}"))
        elif kind == b"1":
            self._transport.close()
            self._lost("disconnected by the server")
        else:
            raise SocketIOError(f"a Socket.IO packet {packet[:20]!r} is not understood")

    # -- when the connection ends

    def _watch(self) -> None:
        """Notice a server that falls silent: it must ping within interval + timeout."""
        self._unwatch()
        self.last_heard = time.monotonic()
        self._watchdog = gevent.get_hub().loop.timer(self._silence, self._silence / 4)
        self._watchdog.start(self._still_there)

    def _still_there(self) -> None:
        if time.monotonic() - self.last_heard > self._silence:
            self._transport.close()
            self._lost(f"no ping for {self._silence:g} s")

    def _unwatch(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog.close()
            self._watchdog = None

    def _lost(self, cause: str) -> None:
        if self._opening is not None and not self._opening.ready():
            self._opening.set_exception(ConnectionLost(f"connect: {cause}"))
        if not self._connected:
            return
        self._connected = False
        self._unwatch()
        self._fail_acks(cause)
        self.on_disconnect(cause)
        if self.reconnect and self._reconnecting is None:
            self._reconnecting = gevent.spawn(self._come_back)

    def _fail_acks(self, cause: str) -> None:
        pending, self._acks = self._acks, {}
        for entry in pending.values():
            entry.then(ConnectionLost(cause))

    def _come_back(self) -> None:
        delay = BACKOFF_FIRST
        try:
            while not self._connected:
                gevent.sleep(delay * random.uniform(1 - BACKOFF_SPREAD, 1 + BACKOFF_SPREAD))
                delay = min(delay * 2, BACKOFF_MOST)
                try:
                    self.connect()
                except ConnectFailed as error:
                    self.on_failure("reconnect", error)
            self._reconnecting = None
            self.on_reconnect()
        except Exception as error:
            self.on_failure("reconnect", error)
        finally:
            self._reconnecting = None


@functools.cache
def _decoder(payload: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(payload)


@functools.cache
def _names(event: str) -> frozenset[bytes]:
    """The event's name as JSON writes it between the quotes: with and without escapes."""
    return frozenset(json.dumps(event, ensure_ascii=escaped)[1:-1].encode() for escaped in (True, False))


def _nothing(*_: object) -> None:
    """The callback of whoever has set none."""
