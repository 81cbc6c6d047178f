"""Exchanges events with the other servers over a bus that may lose some.

Messages carry their sequence numbers, so a receiver can put the messages of several servers in order and detect a
missing one, which it reads from the store. For the same reason, events are not sent as finished packets.
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
"""Maximum characters of a message on the bus. The other servers read a longer message from the store."""


class Stored(happened.Event, frozen=True, kw_only=True):
    """Announces a stored message that is too long for the bus."""

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
    """How this server handles events of the other servers."""

    def stored(self, room: str, seq: int) -> None:
        """Read the store for message ``seq``, which is too long for the bus."""

    def ended_elsewhere(self, event: happened.SessionClosed) -> None:
        """Another server has ended a session."""

    def deliver(self, event: happened.Event) -> None:
        """Send an event to the local members."""

    def catch_up(self) -> None:
        """Read every room from the store, since events may have been lost."""


class Peers:
    """The other servers. A :class:`chatsys.bus.contract.Receiver`; ``bus`` is None until the bus is open."""

    def __init__(self, fanout: LocalFanout) -> None:
        self._fanout = fanout
        self.bus: Bus | None = None

    @property
    def deaf(self) -> bool:
        """Whether events of other servers do not arrive."""
        return self.bus is not None and self.bus.deaf

    def enter(self, room: str) -> asyncio.Event | None:
        """Start receiving a room's events. Before reading the room, wait for the returned event, if any."""
        return self.bus.enter(room) if self.bus is not None else None

    def leave(self, room: str) -> None:
        """Stop receiving a room's events."""
        if self.bus is not None:
            self.bus.leave(room)

    def send(self, event: happened.Event, servers: Sequence[str] | None) -> None:
        """Send an event to the other servers of ``servers``, or if None to those last known. Never waits."""
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
        """Handle an event of another server."""
        try:
            decoded = _decode(event)
        except msgspec.DecodeError as error:
            logger.warning("Could not decode an event of another server; reading room %r instead: %s", room, error)
            self.missed(room)
            return
        if isinstance(decoded, Stored):
            self._fanout.stored(decoded.room, decoded.seq)
        elif isinstance(decoded, happened.SessionClosed):
            self._fanout.ended_elsewhere(decoded)
        else:
            self._fanout.deliver(decoded)

    def missed(self, room: str | None) -> None:
        """Read the room (None: every room of this server) from the store, since events may have been lost."""
        if room is None:
            self._fanout.catch_up()
        else:
            self._fanout.deliver(happened.ServerLost(room=room))
