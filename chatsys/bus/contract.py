"""What a broker must do for the bus, and what the bus does for a server. See docs/REALTIME.md, "Several servers".

A broker carries bytes on channels. Each server has its own channel, named by the server's id. If the broker has
``rooms``, each room also has a channel, to which servers subscribe. Otherwise a message for a room goes to the
channel of each server that has clients in the room.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

OnMessage = Callable[[str, bytes], None]
"""Called with a channel and a message that arrived on it. Never blocks, never raises."""


class Line(ABC):
    """One connection to a broker. After any error that it raises, the bus closes it and opens another one.

    Except in ``run``, no wait for the broker takes longer than the ``timeout`` (seconds) passed to :meth:`Broker.open`.
    """

    @abstractmethod
    async def run(self) -> None:
        """Receive until the connection is lost, then raise the reason. Malformed data also ends the connection."""

    @abstractmethod
    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish pairs of channel and message, in order. The broker has received them when this returns."""

    @abstractmethod
    async def subscribe(self, channels: Sequence[str]) -> None:
        """Subscribe. Messages published on these channels after this returns are received."""

    @abstractmethod
    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """Stop receiving messages on these channels."""

    @abstractmethod
    def abort(self) -> None:
        """Drop the connection immediately: pending calls fail."""

    @abstractmethod
    async def close(self) -> None:
        """Release all resources. Called once, after ``run`` has ended."""


class Broker(ABC):
    """A message broker, to which the bus opens connections."""

    name: ClassVar[str]
    """The name for log lines and error messages."""

    rooms: ClassVar[bool]
    """Whether each room has a channel."""

    message_bytes: ClassVar[int]
    """The preferred maximum size of a message in bytes. A message with a single event may be larger."""

    remedy: ClassVar[str]
    """A hint for the operator when the broker can't be used."""

    @abstractmethod
    async def open(self, on_message: OnMessage, timeout: float) -> Line:
        """Open a connection within ``timeout`` seconds. Raises BusUnavailable for a failure that it has a hint for."""


class Bus(ABC):
    """The bus as a server uses it. No method waits for the broker."""

    @property
    @abstractmethod
    def deaf(self) -> bool:
        """Whether messages have not arrived for too long. This server should then get no new clients."""

    @abstractmethod
    def enter(self, room: str) -> asyncio.Event | None:
        """Start receiving a room's events. Before reading the room, wait for the returned event (at most 0.5 s)."""

    @abstractmethod
    def leave(self, room: str) -> None:
        """Stop receiving a room's events."""

    @abstractmethod
    def others(self, room: str, servers: Sequence[str] | None) -> Sequence[str]:
        """The other servers with clients in a room: ``servers`` (from the store) or, if None, the last known."""

    @abstractmethod
    def send(self, room: str, event: bytes, others: Sequence[str]) -> None:
        """Send an event to the other servers with clients in the room. Events of one room arrive in order."""


class Receiver(Protocol):
    """The server as the bus calls it, on the event loop. The methods must not block."""

    def received(self, room: str, event: bytes) -> None:
        """Handle an event of a room from another server."""

    def missed(self, room: str | None) -> None:
        """Read the store: events of this room (None: of any room) may have been lost."""
