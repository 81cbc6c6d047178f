"""Events of this server to the others, and theirs to this one, over a bus that may lose some.

Events travel with their sequence numbers, never as finished packets: that is how a receiver puts the messages of
several servers in order, and how it sees that one is missing. What is missing is read from the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

import msgspec

from chatsys.bus.contract import Bus
from chatsys.chat import fanout as happened

logger = logging.getLogger("chatsys.realtime")

LONG_TEXT = 2000
"""Characters; a message with a longer text is read from the store by those who have the room."""


class Stored(happened.Event, frozen=True, kw_only=True):
    """A message that was stored and is too long to be carried."""

    seq: int


Carried = (
    happened.MessagePosted
    | happened.SessionOpened
    | happened.SessionClosed
    | happened.PresenceChanged
    | happened.Typing
    | happened.MessageDelivered
    | happened.MessageRead
    | happened.MessagesRead
    | happened.ServerLost
    | Stored
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Carried).decode


class LocalFanout(Protocol):
    """What this server does with the events of the others."""

    def stored(self, room: str, seq: int) -> None:
        """A message is stored that the event does not carry."""

    def ended_elsewhere(self, event: happened.SessionClosed) -> None:
        """Another server has ended a session."""

    def deliver(self, event: happened.Event) -> None:
        """Tell the local members."""

    def catch_up(self) -> None:
        """Events may have been lost: read every room."""


class Peers:
    """The other servers, as this one sees them: a :class:`chatsys.bus.contract.Receiver`. ``bus`` is set once open."""

    def __init__(self, fanout: LocalFanout) -> None:
        self._fanout = fanout
        self.bus: Bus | None = None

    @property
    def deaf(self) -> bool:
        """Whether this server has heard nothing for too long."""
        return self.bus is not None and self.bus.deaf

    def enter(self, room: str) -> asyncio.Event | None:
        """This server has a room from now on. Wait for what is given before reading it."""
        return self.bus.enter(room) if self.bus is not None else None

    def leave(self, room: str) -> None:
        """This server no longer has the room."""
        if self.bus is not None:
            self.bus.leave(room)

    def send(self, event: happened.Event, servers: Sequence[str] | None) -> None:
        """Hand an event on to the others of ``servers``; None: to those that had the room last. Never waits."""
        if self.bus is None:
            return
        others = self.bus.others(event.room, servers)
        if not others:
            return
        if isinstance(event, happened.MessagePosted) and len(event.message.text) > LONG_TEXT:
            event = Stored(room=event.room, seq=event.message.seq)
        elif isinstance(event, happened.SessionClosed):
            event = happened.SessionClosed(room=event.room, ended=msgspec.structs.replace(event.ended, servers=()))
        self.bus.send(event.room, _encode(event), others)

    def received(self, room: str, event: bytes) -> None:
        """Tell this server's members."""
        try:
            told = _decode(event)
        except msgspec.DecodeError as error:
            logger.warning("An event of another server could not be read, room %r is read instead: %s", room, error)
            self.missed(room)
            return
        if isinstance(told, Stored):
            self._fanout.stored(told.room, told.seq)
        elif isinstance(told, happened.SessionClosed):
            self._fanout.ended_elsewhere(told)
        else:
            self._fanout.deliver(told)

    def missed(self, room: str | None) -> None:
        """Read this room, or all, as far as this server has them."""
        if room is None:
            self._fanout.catch_up()
        else:
            self._fanout.deliver(happened.ServerLost(room=room))
