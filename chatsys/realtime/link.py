"""The events of this server to the others, and theirs to this one, over a bus that may lose some.

What the bus loses is found again: a message by its sequence number, joins and leaves by reading the room, and both
whenever the bus reports a gap. Events that are published while a payload is on its way leave together in the next.

A server that is alone says nothing. Servers greet each other when they start and once in a third of the lease; one
that hears a greeting from a stranger begins to publish, and asks it to catch up with what was stored before.

Why not python-socketio's AsyncRedisManager: it carries finished packets for rooms of sockets, one publication each.
Here a receiver needs the room's sequence number to put messages of several servers in order and to find gaps.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from chatsys.chat import fanout as happened
from chatsys.chat.bus import Bus
from chatsys.errors import StoreUnavailable

if TYPE_CHECKING:
    from chatsys.realtime.fanout import SocketFanout

logger = logging.getLogger("chatsys.realtime")

LONG_TEXT = 2000
"""Characters; a message with a longer text is read from the store by those who have the room."""

WAITING_MOST = 20_000
"""Events that may wait for the bus; past it they are dropped, and the others are told to catch up."""

RETRY = 0.5
"""Seconds until what the bus did not take is tried again."""

ANSWER_WITHIN = 2.0
"""Seconds after its start from which a server that nobody has answered takes itself to be alone.

An answer that comes later, or only to the next greeting, makes both sides catch up.
"""

CLOSE_WITHIN = 1.0
"""Seconds that a server that stops gives the bus to take what waits."""


class Stored(happened.Event, frozen=True, kw_only=True):
    """A message that was stored and is too long to be carried."""

    seq: int


Carried = (
    happened.MessagePosted
    | happened.UserJoined
    | happened.UserLeft
    | happened.PresenceChanged
    | happened.Typing
    | happened.MessageDelivered
    | happened.MessageRead
    | happened.MessagesRead
    | happened.ServerLost
    | Stored
)


class Letter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One payload. ``gap``: events before this one may have been lost. ``leaving``: the server stops."""

    server: str
    events: list[Carried] = []
    gap: bool = False
    leaving: bool = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Letter).decode


class Link:
    """This server's end of the bus. Made by :func:`open_link`."""

    def __init__(self, fanout: SocketFanout, bus: Bus, server_id: str, lease: float) -> None:
        self._fanout = fanout
        self._bus = bus
        self._server_id = server_id
        self._lease = lease
        self._peers: dict[str, float] = {}
        self._unsure_until = time.monotonic() + min(ANSWER_WITHIN, lease)
        self._waiting: list[Carried] = []
        self._gap = False
        self._sending: asyncio.Task[None] | None = None
        bus.subscribe(self._received, fanout.catch_up)

    def send(self, event: happened.Event) -> None:
        """Hand an event on to the other servers, if there are any. Never waits."""
        now = time.monotonic()
        if now > self._unsure_until and not self._peers:
            return
        if len(self._waiting) >= WAITING_MOST:
            self._waiting.clear()
            self._gap = True
        if isinstance(event, happened.MessagePosted) and len(event.message.text) > LONG_TEXT:
            event = Stored(room=event.room, seq=event.message.seq)
        assert isinstance(event, Carried)
        self._waiting.append(event)
        self._wake()

    def _wake(self) -> None:
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        await asyncio.sleep(0)  # events of the same turn of the loop leave together
        while self._waiting or self._gap:
            events, self._waiting = self._waiting, []
            gap, self._gap = self._gap, False
            if not await self._post(Letter(server=self._server_id, events=events, gap=gap)):
                self._waiting = events + self._waiting
                self._gap = self._gap or gap
                await asyncio.sleep(RETRY)
        self._sending = None

    async def _post(self, letter: Letter) -> bool:
        try:
            await self._bus.publish(_encode(letter))
        except StoreUnavailable as error:
            logger.warning("the bus between servers took nothing: %s", error)
            return False
        return True

    def _received(self, payload: bytes) -> None:
        try:
            letter = _decode(payload)
        except msgspec.DecodeError as error:
            logger.warning("a payload of another server could not be read: %s", error)
            return
        if letter.server == self._server_id:
            return
        if letter.leaving:
            self._peers.pop(letter.server, None)
        else:
            if letter.server not in self._peers:
                self._gap = True  # it may have missed what was stored before it was known
                self._wake()
            self._peers[letter.server] = time.monotonic()
        for event in letter.events:
            if isinstance(event, Stored):
                self._fanout.stored(event.room, event.seq)
            elif isinstance(event, happened.UserLeft):
                self._fanout.ended_elsewhere(event)
            else:
                self._fanout.deliver(event)
        if letter.gap:
            self._fanout.catch_up()

    async def greet(self) -> None:
        """Greet now and then, and forget servers that no longer do."""
        while True:
            await self._post(Letter(server=self._server_id))
            await asyncio.sleep(self._lease / 3)
            oldest = time.monotonic() - 2 * self._lease
            self._peers = {server: heard for server, heard in self._peers.items() if heard > oldest}

    async def close(self) -> None:
        """Send what waits, and say good-bye."""
        sending = self._sending
        if sending is not None:
            await asyncio.wait([sending], timeout=CLOSE_WITHIN)
            sending.cancel()
        await self._post(Letter(server=self._server_id, leaving=True))


@asynccontextmanager
async def open_link(fanout: SocketFanout, bus: Bus | None, server_id: str, lease: float) -> AsyncIterator[None]:
    """Tie ``fanout`` to those of other servers by ``bus``; without one there are no others. ``lease`` in seconds."""
    if bus is None:
        yield
        return
    fanout.link = link = Link(fanout, bus, server_id, lease)
    greeting = asyncio.create_task(link.greet())
    try:
        yield
    finally:
        greeting.cancel()
        await asyncio.wait([greeting])
        fanout.link = None
        await link.close()
