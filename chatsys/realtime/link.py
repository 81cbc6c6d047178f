"""The events of this server to the others, and theirs to this one, over a bus that may lose some.

What the bus loses is found again: a message by its sequence number, joins and leaves by reading the room, and both
whenever the bus reports a gap. Events that are published while a payload is on its way leave together in the next.

A server that is alone says nothing. Servers greet each other when they start and once in a third of the lease; one
that hears a greeting from a stranger begins to publish, and asks it to catch up with what was stored before.

An event is carried only if another server has its room. A server says so before its first socket there reads anything,
and waits until the others have heard it: what they did not carry until then is in the store by then.

Why not python-socketio's AsyncRedisManager: it carries finished packets for rooms of sockets, one publication each.
Here a receiver needs the room's sequence number to put messages of several servers in order and to find gaps.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from chatsys.chat import fanout as happened
from chatsys.chat.bus import Bus
from chatsys.errors import StoreError

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

HEARD_WITHIN = 0.5
"""Seconds that the first to enter a room here waits for the other servers to hear of it.

One that does not answer is not waited for again until it does; then the room catches up with what it did not carry.
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
    """One payload. A server's letters are numbered: one that is missing shows by the next.

    ``opened`` and ``closed`` are the rooms that the server came to have and no longer has, ``rooms`` all that it has;
    ``heard`` tells other servers which of their letters is the newest known. ``gap``: events before this letter may
    have been lost. ``asks``: the server may have lost letters, tells all its rooms and wants to hear those of the
    others. ``leaving``: it stops.
    """

    server: str
    number: int
    events: list[Carried] = []
    opened: list[str] = []
    closed: list[str] = []
    rooms: list[str] | None = None
    heard: dict[str, int] = {}
    gap: bool = False
    asks: bool = False
    leaving: bool = False


class _Draft(msgspec.Struct, kw_only=True):
    """What the next letter will say. ``changes`` tells of rooms whether this server has them; ``rooms``: name all.

    ``greets``: it is sent even if it says nothing else.
    """

    events: list[Carried] = []
    changes: dict[str, bool] = {}
    heard: dict[str, int] = {}
    gap: bool = False
    rooms: bool = False
    asks: bool = False
    greets: bool = False


class _Peer(msgspec.Struct, kw_only=True):
    """Another server: when it was last heard, its newest letter, and the rooms it has (None: not known).

    ``late`` are rooms of this server that it did not hear of in time, and the letters that told of them.
    """

    heard_at: float = 0.0
    number: int = 0
    rooms: set[str] | None = None
    late: dict[str, int] = {}


class _Opening(msgspec.Struct, kw_only=True):
    """A room that this server came to have: who has not yet heard the letter that says so."""

    number: int
    waits_for: set[str]
    known: asyncio.Event
    timer: asyncio.TimerHandle


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Letter).decode


class Link:
    """This server's end of the bus. Made by :func:`open_link`."""

    def __init__(self, fanout: SocketFanout, bus: Bus, server_id: str, lease: float) -> None:
        self._fanout = fanout
        self._bus = bus
        self._server_id = server_id
        self._lease = lease
        self._peers: dict[str, _Peer] = {}
        self._unsure_until = time.monotonic() + min(ANSWER_WITHIN, lease)
        self._number = 0
        self._draft = _Draft()
        self._openings: dict[str, _Opening] = {}
        self._sending: asyncio.Task[None] | None = None
        bus.subscribe(self._received, self._missed)

    def open_room(self, room: str) -> asyncio.Event | None:
        """This server has a room from now on.

        Set once the others have heard it, or are not waited for any longer; None if there is nobody to wait for.
        """
        self._changed(room, True)
        number = self._number + 1
        waits_for = {server for server, peer in self._peers.items() if not peer.late}
        for peer in self._peers.values():
            if peer.late:
                peer.late[room] = number
        if not waits_for:
            return None
        known = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(HEARD_WITHIN, self._give_up, room)
        self._openings[room] = _Opening(number=number, waits_for=waits_for, known=known, timer=timer)
        return known

    def close_room(self, room: str) -> None:
        """This server no longer has a room."""
        self._is_known(room)
        self._changed(room, False)

    def send(self, event: happened.Event) -> None:
        """Hand an event on to the other servers, if one of them has its room. Never waits."""
        room = event.room
        wanted = any(peer.rooms is None or room in peer.rooms for peer in self._peers.values())
        if not wanted and time.monotonic() > self._unsure_until:
            return
        if len(self._draft.events) >= WAITING_MOST:
            self._draft.events.clear()
            self._draft.gap = True
        if isinstance(event, happened.MessagePosted) and len(event.message.text) > LONG_TEXT:
            event = Stored(room=room, seq=event.message.seq)
        assert isinstance(event, Carried)
        self._draft.events.append(event)
        self._wake()

    def _changed(self, room: str, has: bool) -> None:
        if self._peers:
            self._draft.changes[room] = has
            self._wake()

    def _wake(self) -> None:
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        await asyncio.sleep(0)  # events of the same turn of the loop leave together
        while self._draft != _Draft():
            draft, self._draft = self._draft, _Draft()
            if not await self._post(self._letter(draft)):
                if draft != _Draft(greets=True):
                    self._draft.events = draft.events + self._draft.events
                    self._draft.gap = self._draft.gap or draft.gap
                    self._draft.asks = True  # the others miss a letter: they are told all rooms, and asked to answer
                await asyncio.sleep(RETRY)
        self._sending = None

    def _letter(self, draft: _Draft) -> Letter:
        self._number += 1
        return Letter(
            server=self._server_id,
            number=self._number,
            events=draft.events,
            opened=[room for room, has in draft.changes.items() if has],
            closed=[room for room, has in draft.changes.items() if not has],
            rooms=list(self._fanout.hubs) if draft.rooms or draft.asks else None,
            heard=draft.heard,
            gap=draft.gap,
            asks=draft.asks,
        )

    async def _post(self, letter: Letter) -> bool:
        try:
            await self._bus.publish(_encode(letter))
        except StoreError as error:
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
            self._forget(letter.server)
            return
        self._learn(letter)
        for event in letter.events:
            if isinstance(event, Stored):
                self._fanout.stored(event.room, event.seq)
            elif isinstance(event, happened.UserLeft):
                self._fanout.ended_elsewhere(event)
            else:
                self._fanout.deliver(event)
        if letter.gap:
            self._fanout.catch_up()

    def _learn(self, letter: Letter) -> None:
        """What a letter says of its server."""
        peer = self._peers.get(letter.server)
        if peer is None:
            peer = self._peers[letter.server] = _Peer()
            self._draft.gap = self._draft.asks = True  # it may have missed what was stored before it was known
        elif letter.number > peer.number + 1:
            peer.rooms = None
            self._missed()
        peer.heard_at, peer.number = time.monotonic(), letter.number
        if letter.rooms is not None:
            peer.rooms = set(letter.rooms)
        if peer.rooms is not None:
            peer.rooms.update(letter.opened)
            peer.rooms.difference_update(letter.closed)
        if letter.opened or letter.rooms is not None:
            self._draft.heard[letter.server] = letter.number
        self._draft.rooms = self._draft.rooms or letter.asks
        if self._draft != _Draft():
            self._wake()
        if self._server_id in letter.heard:
            self._heard(letter.server, peer, letter.heard[self._server_id])

    def _missed(self) -> None:
        """Letters of the others may have been lost, and with them rooms that they came to have."""
        if self._peers:
            self._draft.asks = True
            self._wake()
        self._fanout.catch_up()

    def _heard(self, server: str, peer: _Peer, number: int) -> None:
        """Another server knows this one's letters up to ``number``."""
        self._wait_no_longer(server, number)
        for room in [room for room, late in peer.late.items() if late <= number]:
            del peer.late[room]
            self._fanout.deliver(happened.ServerLost(room=room))

    def _wait_no_longer(self, server: str, number: float) -> None:
        for room, opening in list(self._openings.items()):
            if opening.number <= number:
                opening.waits_for.discard(server)
                if not opening.waits_for:
                    self._is_known(room)

    def _is_known(self, room: str) -> None:
        opening = self._openings.pop(room, None)
        if opening is not None:
            opening.timer.cancel()
            opening.known.set()

    def _give_up(self, room: str) -> None:
        opening = self._openings[room]
        for server in opening.waits_for:
            self._peers[server].late[room] = opening.number
        self._is_known(room)

    def _forget(self, server: str) -> None:
        self._peers.pop(server, None)
        self._wait_no_longer(server, math.inf)

    async def greet(self) -> None:
        """Greet now and then, and forget servers that no longer do."""
        while True:
            self._draft.greets = True
            self._wake()
            await asyncio.sleep(self._lease / 3)
            oldest = time.monotonic() - 2 * self._lease
            for server in [server for server, peer in self._peers.items() if peer.heard_at <= oldest]:
                self._forget(server)

    async def close(self) -> None:
        """Send what waits, and say good-bye."""
        sending = self._sending
        if sending is not None:
            await asyncio.wait([sending], timeout=CLOSE_WITHIN)
            sending.cancel()
        await self._post(Letter(server=self._server_id, number=self._number + 1, leaving=True))


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
