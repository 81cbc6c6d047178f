"""One Socket.IO connection of a client, without I/O: it sorts incoming packets by kind and namespace.

Protocols: https://github.com/socketio/engine.io-protocol (4) and https://github.com/socketio/socket.io-protocol (5).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from chatsys.client.address import ServerAddress
from chatsys.client.errors import ConnectionLost, SocketIOError
from chatsys.client.namespace import Namespace, nothing
from chatsys.client.transport import Hooks, PacketTransport


class _Partial(msgspec.Struct):
    """A packet whose bytes have not all arrived."""

    missing: int
    take: Callable[[list[bytes]], None]
    buffers: list[bytes]


class ClientSession(Namespace):
    """A connection and its first namespace. A subclass carries the packets, and may have further namespaces.

    ``on_failure(what, error)`` and ``on_upgrade(ms)`` run in the event loop and must not wait.
    """

    __slots__ = (
        "_fast", "_partial", "_transport", "address", "hooks", "last_received", "namespaces", "on_failure",
        "on_upgrade", "packets", "timeout",
    )  # fmt: skip

    def __init__(self, address: ServerAddress, namespace: str, auth: object, timeout: float) -> None:
        super().__init__(self, namespace, auth)
        self.address = address
        self._transport: PacketTransport | None = None
        self.hooks = Hooks(self._received, self._received_binary, self._lost, self._failed, self._upgraded)
        self.namespaces: dict[str, Namespace] = {namespace: self}
        self._fast = namespace == "/"
        self._partial: _Partial | None = None
        self.timeout = timeout
        self.last_received = 0.0
        self.packets = 0
        self.on_failure: Callable[[str, BaseException], None] = nothing
        self.on_upgrade: Callable[[float], None] = nothing

    def send(self, packet: bytes, buffers: list[bytes] | None = None) -> None:
        """Send a packet and the bytes that belong to it; for namespaces. Raises ConnectionLost without a connection."""
        transport = self._transport
        if transport is None:
            raise ConnectionLost("not connected")
        transport.send(packet)
        for data in buffers or ():
            transport.send_binary(data)

    def _begin(self) -> list[Namespace]:
        """Before a new connection, reset the state of the last one; return the namespaces to join."""
        self._partial, self._fast = None, self.namespace == "/"
        return [namespace for namespace in self.namespaces.values() if namespace.wanted]

    # -- incoming packets

    def _received(self, packet: bytes) -> None:
        self.last_received = time.monotonic()
        self.packets += 1
        try:
            if packet.startswith(b'42["') and self._fast:
                self._event(packet, 2)
            elif packet.startswith(b"2"):
                self.send(b"3" + packet[1:])
            elif packet.startswith(b"4"):
                self._message(packet)
            elif packet.startswith(b"1"):
                self._hang_up("closed by the server")
            elif not packet.startswith(b"6"):
                raise SocketIOError(f"an Engine.IO packet {packet[:20]!r} is not understood")
        except Exception as error:
            self.on_failure("receive", error)

    def _message(self, packet: bytes) -> None:
        """Handle a Socket.IO packet off the fast path: other kinds, another namespace, bytes, an acknowledgement."""
        if self._partial is not None:
            self._broken("a text packet came where bytes were expected")
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
        namespace = self.namespaces.get(name)
        if namespace is None:
            raise SocketIOError(f"a packet came for the unknown namespace {name}")
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
        self.last_received = time.monotonic()
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
        except Exception as error:
            self.on_failure("receive", error)

    def _broken(self, what: str) -> None:
        """The server has broken the protocol: nothing that follows can be understood."""
        self.on_failure("receive", SocketIOError(what))
        self._hang_up(what)

    # -- when the connection ends

    def _hang_up(self, cause: str) -> None:
        """Close the connection without notice, and treat it as lost."""
        if self._transport is not None:
            self._transport.close()
        self._lost(cause)

    def _disconnected(self, namespace: Namespace) -> None:
        """The server removed this client from a namespace. After the last one the connection ends; no reconnect."""
        namespace.wanted = False
        others = [each for each in self.namespaces.values() if each is not namespace and each.connected]
        if not others:
            self._finish()
        namespace.lost("disconnected by the server")

    def _finish(self, farewell: bytes = b"") -> None:
        """End the connection, without a reconnect."""
        if self._transport is not None:
            self._transport.close(farewell)

    def _failed(self, what: str, error: BaseException) -> None:
        self.on_failure(what, error)

    def _upgraded(self, ms: float) -> None:
        self.on_upgrade(ms)

    def _lost(self, cause: str) -> None:
        """The connection has ended unexpectedly."""
        self._partial, self._fast = None, self.namespace == "/"
        for namespace in self.namespaces.values():
            namespace.lost(cause)

    def _leave(self) -> bytes:
        """Leave every namespace; return the packet that says so, empty if there was no connection."""
        was = self.connected
        for namespace in self.namespaces.values():
            namespace._gone("disconnected")
        return self.farewell if was else b""
