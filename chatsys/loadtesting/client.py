"""A lean Socket.IO 5 client on gevent: connect, emit, call, handlers, namespaces, reconnect.

Protocols: https://github.com/socketio/engine.io-protocol (4) and https://github.com/socketio/socket.io-protocol (5).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gevent
import msgspec
from gevent.hub import get_hub

from chatsys.loadtesting.namespace import (
    Acknowledged,
    AckTimeout,
    ConnectFailed,
    ConnectionLost,
    ConnectRefused,
    Namespace,
    SocketIOError,
    nothing,
)
from chatsys.loadtesting.transport import TRANSPORTS, Address, Hooks, Transport, TransportError

__all__ = [
    "AckTimeout",
    "Acknowledged",
    "ConnectFailed",
    "ConnectRefused",
    "ConnectionLost",
    "Namespace",
    "SocketIOClient",
    "SocketIOError",
    "backoff",
]

# The official client's defaults: https://socket.io/docs/v4/client-options/#reconnectiondelay
BACKOFF_FIRST = 1.0
BACKOFF_MOST = 5.0
BACKOFF_SPREAD = 0.5


def backoff() -> Iterator[float]:
    """Seconds before each further try: 1, 2, 4 and then always 5, each longer or shorter by up to a half."""
    delay = BACKOFF_FIRST
    while True:
        yield delay * random.uniform(1 - BACKOFF_SPREAD, 1 + BACKOFF_SPREAD)
        delay = min(delay * 2, BACKOFF_MOST)


class _Partial(msgspec.Struct):
    """A packet that waits for its bytes."""

    missing: int
    take: Callable[[list[bytes]], None]
    buffers: list[bytes]


class SocketIOClient(Namespace):
    """One Socket.IO connection, and its first namespace; ``of`` gives others.

    ``on_failure(what, error)`` and ``on_upgrade(ms)`` run in the event loop and must not wait. ``on_reconnect()`` runs
    in a greenlet of its own and may wait; ``away`` is then how long there was no connection, in milliseconds.

    As the official client it comes back by itself from a lost connection, and not after the server has disconnected
    it: :meth:`connect` does that.
    """

    __slots__ = (
        "_address", "_fast", "_hooks", "_namespaces", "_partial", "_reconnecting", "_silence", "_transport",
        "_transport_class", "_watchdog", "away", "last_heard", "on_failure", "on_reconnect", "on_upgrade", "packets",
        "reconnect", "timeout",
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
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        verify: bool = True,
        server_name: str | None = None,
    ) -> None:
        """``url`` and the last five as :class:`Address` takes them; ``timeout`` (seconds) holds for connecting and for
        each :meth:`call`. Raises ValueError for what is no address."""
        super().__init__(self, namespace, auth)
        self._address = Address(
            url,
            path=path,
            headers=headers,
            cookies=cookies,
            ca_file=ca_file,
            verify=verify,
            server_name=server_name,
        )
        self._transport_class = TRANSPORTS[transport]
        self._transport: Transport | None = None
        self._hooks = Hooks(self._received, self._received_binary, self._lost, self._failed, self._upgraded)
        self._namespaces: dict[str, Namespace] = {namespace: self}
        self._fast = namespace == "/"
        self._partial: _Partial | None = None
        self._reconnecting: gevent.Greenlet | None = None
        self._watchdog: Any = None
        self._silence = 45.0
        self.timeout = timeout
        self.reconnect = reconnect
        self.away = 0.0
        self.last_heard = 0.0
        self.packets = 0
        self.on_reconnect: Callable[[], None] = nothing
        self.on_failure: Callable[[str, BaseException], None] = nothing
        self.on_upgrade: Callable[[float], None] = nothing

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies that go with each request: those given, and those that the server has set."""
        return self._address.cookies

    def of(self, namespace: str, auth: object = None) -> Namespace:
        """Another namespace on this connection: joined by :meth:`connect`, or by its own if that is past."""
        if namespace not in self._namespaces:
            self._namespaces[namespace] = Namespace(self, namespace, auth)
        return self._namespaces[namespace]

    def connect(self) -> float:
        """Connect, and join all namespaces; the milliseconds from the first packet to the server's last consent.

        Raises ConnectRefused if the server is there and refuses, or ConnectFailed.
        """
        for namespace in self._namespaces.values():
            namespace.wanted = True
        return self._connect()

    def _connect(self) -> float:
        begun = time.perf_counter()
        self._partial = None
        wanted = [namespace for namespace in self._namespaces.values() if namespace.wanted]
        for namespace in wanted:
            namespace._expect()
        transport = self._transport = self._transport_class(self._address, self._hooks)
        try:
            with gevent.Timeout(self.timeout, TransportError(f"connect: no answer in {self.timeout:g} s")):
                opened = transport.open(self.timeout)
                self._silence = (opened.pingInterval + opened.pingTimeout) / 1000
                for namespace in wanted:
                    namespace._enter()
        except BaseException as error:
            transport.close()
            self._all_lost("connect failed")
            if isinstance(error, TransportError | ConnectionLost):
                raise ConnectFailed(str(error)) from error
            raise
        taken = (time.perf_counter() - begun) * 1000
        self._watch()
        return taken

    def send(self, packet: bytes, buffers: list[bytes] | None = None) -> None:
        """Send a packet and the bytes that belong to it; for namespaces. Raises ConnectionLost without a connection."""
        transport = self._transport
        if transport is None:
            raise ConnectionLost("not connected")
        transport.send(packet)
        for data in buffers or ():
            transport.send_binary(data)

    def disconnect(self) -> None:
        """Say goodbye and close; no reconnect, no ``on_disconnect``."""
        self._end(self.farewell)

    def vanish(self) -> None:
        """Drop the connection without a word, as a phone in a tunnel does; no reconnect, no ``on_disconnect``."""
        self._end(b"")

    def _end(self, farewell: bytes) -> None:
        if self._reconnecting is not None:
            self._reconnecting.kill(block=False)
            self._reconnecting = None
        self._unwatch()
        was = self.connected
        for namespace in self._namespaces.values():
            namespace._gone("disconnected")
        if self._transport is not None:
            self._transport.close(farewell if was else b"")

    # -- what comes in

    def _received(self, packet: bytes) -> None:
        self.last_heard = time.monotonic()
        self.packets += 1
        try:
            if packet.startswith(b'42["') and self._fast:
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

    def _message(self, packet: bytes) -> None:
        """A Socket.IO packet off the fast path: other kinds, another namespace, bytes, an acknowledgement."""
        if self._partial is not None:
            self._broken("a text came where bytes were to come")
            return
        kind, at, attachments = packet[1:2], 2, 0
        if kind in {b"5", b"6"}:
            at = packet.index(b"-", 2) + 1
            attachments = int(packet[2 : at - 1])
        name = "/"
        if packet[at : at + 1] == b"/":
            comma = packet.find(b",", at)
            comma = len(packet) if comma < 0 else comma
            name = packet[at:comma].decode()
            at = comma + 1
        namespace = self._namespaces.get(name)
        if namespace is None:
            raise SocketIOError(f"a packet for namespace {name} came")
        if kind == b"0":
            namespace.consented(packet[at:])
        elif kind == b"4":
            namespace.refused(packet[at:])
        elif kind == b"1":
            self._disconnected(namespace)
        elif kind in {b"2", b"3", b"5", b"6"}:
            digits = at
            while packet[digits : digits + 1].isdigit():
                digits += 1
            ack = packet[at:digits]
            if attachments:
                self._fast = False
                self._partial = _Partial(
                    attachments, lambda buffers: namespace.take(kind, ack, packet, digits, buffers), []
                )
            else:
                namespace.take(kind, ack, packet, digits)
        else:
            raise SocketIOError(f"a Socket.IO packet {packet[:20]!r} is not understood")

    def _received_binary(self, data: bytes) -> None:
        self.last_heard = time.monotonic()
        self.packets += 1
        partial = self._partial
        if partial is None:
            self._broken("bytes came that belong to no packet")
            return
        partial.buffers.append(data)
        if len(partial.buffers) < partial.missing:
            return
        self._partial, self._fast = None, self.namespace == "/"
        try:
            partial.take(partial.buffers)
        except gevent.GreenletExit:
            raise
        except Exception as error:
            self.on_failure("receive", error)

    def _broken(self, what: str) -> None:
        """The server has broken the protocol: nothing that follows can be understood."""
        self.on_failure("receive", SocketIOError(what))
        self._transport.close()
        self._lost(what)

    # -- when the connection ends

    def _disconnected(self, namespace: Namespace) -> None:
        """The server has put this client out of a namespace; with the last one the connection ends. No way back."""
        namespace.wanted = False
        others = [each for each in self._namespaces.values() if each is not namespace and each.connected]
        if not others:
            self._unwatch()
            self._transport.close()
        namespace.lost("disconnected by the server")

    def _watch(self) -> None:
        """Notice a server that falls silent: it must ping within interval + timeout."""
        self._unwatch()
        self.last_heard = time.monotonic()
        self._watchdog = get_hub().loop.timer(self._silence, self._silence / 4)
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

    def _failed(self, what: str, error: BaseException) -> None:
        self.on_failure(what, error)

    def _upgraded(self, ms: float) -> None:
        self.on_upgrade(ms)

    def _lost(self, cause: str) -> None:
        again = self._watchdog is not None and self.reconnect and self._reconnecting is None
        self._unwatch()
        self._partial, self._fast = None, self.namespace == "/"
        self._all_lost(cause)
        if again:
            self._reconnecting = gevent.spawn(self._come_back, time.monotonic())

    def _all_lost(self, cause: str) -> None:
        for namespace in self._namespaces.values():
            namespace.lost(cause)

    def _come_back(self, since: float) -> None:
        try:
            for delay in backoff():
                gevent.sleep(delay)
                try:
                    self._connect()
                    break
                except ConnectRefused:
                    raise
                except ConnectFailed as error:
                    self.on_failure("reconnect", error)
            self.away = (time.monotonic() - since) * 1000
            self._reconnecting = None
            self.on_reconnect()
        except Exception as error:
            self.on_failure("reconnect", error)
        finally:
            self._reconnecting = None
