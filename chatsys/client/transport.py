"""The interface between a Socket.IO session and its transport, and the WebSocket code that both clients share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import msgspec

from chatsys.protocol import frames


class TransportError(Exception):
    """The connection could not be made, or was lost; the text is the cause."""


class Handshaken(msgspec.Struct):
    """The server's first packet; ``pingInterval`` and ``pingTimeout`` in milliseconds, ``maxPayload`` in bytes."""

    sid: str
    upgrades: list[str] = []
    pingInterval: int = 25_000  # noqa: N815
    pingTimeout: int = 20_000  # noqa: N815
    maxPayload: int = 1_000_000  # noqa: N815

    @property
    def silence(self) -> float:
        """Seconds without a packet after which the client gives the server up."""
        return (self.pingInterval + self.pingTimeout) / 1000


def handshaken(packet: bytes) -> Handshaken:
    """The handshake in the server's first packet. Raises TransportError for anything else."""
    try:
        if packet[:1] != b"0":
            raise TransportError(f"connect: the first packet is {packet[:40]!r}, not an Engine.IO handshake")
        return msgspec.json.decode(packet[1:], type=Handshaken)
    except msgspec.DecodeError as error:
        raise TransportError(f"connect: the Engine.IO handshake is not readable: {error}") from error


class Hooks(msgspec.Struct, frozen=True):
    """The callbacks of a transport; none of them may wait.

    ``received(packet)`` and ``received_binary(data)`` for incoming data, ``lost(cause)`` when the connection has ended
    unexpectedly, ``failed(what, error)`` for an error that the connection survived, ``upgraded(ms)`` after an upgrade.
    """

    received: Callable[[bytes], None]
    received_binary: Callable[[bytes], None]
    lost: Callable[[str], None]
    failed: Callable[[str, BaseException], None]
    upgraded: Callable[[float], None]


class PacketTransport(Protocol):
    """Carries packets."""

    def send(self, packet: bytes) -> None:
        """Send one text packet, now or as soon as the socket takes it; never waits."""
        ...

    def send_binary(self, data: bytes) -> None:
        """Send one binary message, in order with the packets."""
        ...

    def close(self, farewell: bytes = b"") -> None:
        """Send ``farewell``, if any, and close. Idempotent; ``lost`` is not called."""
        ...


class ClientWebSocket(ABC):
    """A WebSocket without I/O: a subclass says how bytes are written and how the socket is closed."""

    __slots__ = ("_closed", "_receive", "hooks", "reader")

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self._receive = hooks.received
        self.reader = frames.ServerFrames()
        self._closed = False

    def send(self, packet: bytes) -> None:
        """Send one text packet, now or as soon as the socket takes it."""
        self._write(frames.masked(packet))

    def send_binary(self, data: bytes) -> None:
        """Send one binary message."""
        self._write(frames.masked(data, frames.BINARY))

    @abstractmethod
    def close(self, farewell: bytes = b"") -> None:
        """Close the socket, after ``farewell`` and a closing frame if there is one. Idempotent."""

    @abstractmethod
    def _write(self, data: bytes) -> None:
        """Send bytes, now or as soon as the socket takes them."""

    def _goodbye(self, farewell: bytes) -> None:
        self._write(frames.masked(farewell) + frames.masked(frames.NORMAL.to_bytes(2, "big"), frames.CLOSE))

    def _deliver(self, messages: list[tuple[int, bytes]]) -> None:
        receive = self._receive
        for opcode, payload in messages:
            if opcode == frames.TEXT:
                receive(payload)
            elif opcode == frames.BINARY:
                self.hooks.received_binary(payload)
            elif opcode == frames.PING:
                self._write(frames.masked(payload, frames.PONG))
            elif opcode == frames.CLOSE:
                code = int.from_bytes(payload[:2], "big")
                self._fail(f"closed by the server ({code} {payload[2:].decode('utf-8', 'replace')})".replace(" )", ")"))
            if self._closed:
                return

    def _fail(self, cause: str) -> None:
        if not self._closed:
            self.close()
            self.hooks.lost(cause)
