"""What a broker has to do for the bus, and what the bus does for a server. See docs/REALTIME.md, "Several servers".

A broker carries bytes on channels. Each server has a channel of its own, named by its id. A broker with ``rooms`` also
has one for each room, to which servers subscribe; with the other kind a message for a room goes to the channels of the
servers that have it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

OnMessage = Callable[[str, bytes], None]
"""Called with a channel and a message that came on it. Never blocks, never raises."""


class Line(ABC):
    """One connection to a broker. Whatever it raises, the bus closes it and opens another one.

    Every wait of a line ends within the patience (seconds) that it was opened with.
    """

    @abstractmethod
    async def run(self) -> None:
        """Receive until the connection is lost, then raise why. Damaged data loses the connection."""

    @abstractmethod
    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Hand messages to the broker, each with its channel, in order. The broker has them when this returns."""

    @abstractmethod
    async def subscribe(self, channels: Sequence[str]) -> None:
        """From the return of this on, what is published on these channels is received."""

    @abstractmethod
    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """These channels are of no interest any longer."""

    @abstractmethod
    def abort(self) -> None:
        """Give the connection up at once: what waits on it fails."""

    @abstractmethod
    async def close(self) -> None:
        """Free what the line holds. Called once, after ``run`` has ended; ends within the patience."""


class Broker(ABC):
    """Where lines come from."""

    name: ClassVar[str]
    """As an operator calls it."""

    rooms: ClassVar[bool]
    """Whether each room has a channel."""

    message_bytes: ClassVar[int]
    """How long a message had better not be. A single event may be longer."""

    remedy: ClassVar[str]
    """What to do if it can't be used."""

    @abstractmethod
    async def open(self, on_message: OnMessage, patience: float) -> Line:
        """A new connection, within ``patience`` seconds. Raises BusUnavailable where it knows what helps."""


class Bus(ABC):
    """What a server does with the bus. None of it waits for a broker."""

    @property
    @abstractmethod
    def deaf(self) -> bool:
        """Whether no token of its own came back for more than a lease: this server should not be given new clients."""

    @abstractmethod
    def enter(self, room: str) -> asyncio.Event | None:
        """This server has a room from now on. Wait for what is given, half a second at most, before reading it."""

    @abstractmethod
    def leave(self, room: str) -> None:
        """This server no longer has the room."""

    @abstractmethod
    def others(self, room: str, servers: Sequence[str] | None) -> Sequence[str]:
        """Who else has a room: of ``servers``, the newest answer of the store; None: of the answer before."""

    @abstractmethod
    def send(self, room: str, event: bytes, others: Sequence[str]) -> None:
        """Hand an event on to the other servers that have its room. Events that are sent together arrive in order."""


class Receiver(Protocol):
    """The server's side. Called on the event loop; must not block."""

    def received(self, room: str, event: bytes) -> None:
        """An event in a room, from another server."""

    def missed(self, room: str | None) -> None:
        """Events of this room, or of any (None), may have been lost: look into the store."""
