"""Subscriptions to room channels, for brokers that have them.

The server subscribes to a room before it reads the room from the store, so that no event is lost in between.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

from chatsys.bus.contract import Line

WAIT = 0.5
"""Seconds to wait for a subscription before reading the room. If it takes longer, the room is read again afterwards."""

AT_ONCE = 500
"""Maximum channels in one command to the broker."""


def channel_of(room: str) -> str:
    """A room's channel. Contains only letters, digits, ``-``, ``_`` and one dot, whatever the room's name."""
    return "room." + base64.urlsafe_b64encode(room.encode("utf-8", "surrogatepass")).rstrip(b"=").decode()


class Interest:
    """The rooms to subscribe to, and the subscriptions that the broker has confirmed.

    ``on_late`` is called with each room whose subscription was confirmed only after ``WAIT``.
    """

    def __init__(self, on_late: Callable[[str], None]) -> None:
        self._on_late = on_late
        self._rooms: dict[str, str] = {}
        self._known: set[str] = set()
        self._new: dict[str, None] = {}
        self._old: dict[str, None] = {}
        self._waiting: dict[str, asyncio.Event] = {}
        self._late: set[str] = set()
        self._live = False
        self._changed = asyncio.Event()

    def room_of(self, channel: str) -> str | None:
        """The room of a channel, or None if this server has left the room."""
        return self._rooms.get(channel)

    def enter(self, room: str) -> asyncio.Event | None:
        """Subscribe to a room. The returned event is set once the subscription is confirmed or ``WAIT`` is over.

        Returns None if waiting is useless: the room is subscribed already, or it will be read again after an outage.
        """
        channel = channel_of(room)
        self._rooms[channel] = room
        self._old.pop(channel, None)
        if channel in self._known:
            return None
        self._new[channel] = None
        self._changed.set()
        if not self._live:
            return None
        if self._late:
            self._late.add(channel)
            return None
        known = self._waiting.setdefault(channel, asyncio.Event())
        asyncio.get_running_loop().call_later(WAIT, self._give_up, channel, known)
        return known

    def leave(self, room: str) -> None:
        """Unsubscribe from a room."""
        channel = channel_of(room)
        if self._rooms.pop(channel, None) is not None:
            self._new.pop(channel, None)
            self._late.discard(channel)
            self._release(channel)
            if channel in self._known:
                self._old[channel] = None
                self._changed.set()

    def down(self) -> None:
        """The connection is lost: release every waiter and forget all subscriptions."""
        self._live = False
        self._known.clear()
        self._late.clear()
        self._old.clear()
        self._new = dict.fromkeys(self._rooms)
        for channel in list(self._waiting):
            self._release(channel)

    async def up(self, line: Line) -> None:
        """Subscribe to all rooms on a new connection."""
        self._live = True
        await self._settle(line)

    async def follow(self, line: Line) -> None:
        """Subscribe and unsubscribe as rooms change, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._settle(line)

    async def _settle(self, line: Line) -> None:
        while self._new:
            channels = _some(self._new)
            await line.subscribe(channels)
            for channel in channels:
                self._subscribed(channel)
        while self._old:
            channels = _some(self._old)
            self._known.difference_update(channels)
            await line.unsubscribe(channels)

    def _subscribed(self, channel: str) -> None:
        self._known.add(channel)
        self._new.pop(channel, None)  # the room was left and entered again meanwhile
        self._release(channel)
        room = self._rooms.get(channel)
        if room is None:
            self._old[channel] = None
        elif channel in self._late:
            self._late.discard(channel)
            self._on_late(room)

    def _release(self, channel: str) -> None:
        known = self._waiting.pop(channel, None)
        if known is not None:
            known.set()

    def _give_up(self, channel: str, known: asyncio.Event) -> None:
        if not known.is_set():
            self._waiting.pop(channel, None)
            self._late.add(channel)
            known.set()


def _some(channels: dict[str, None]) -> list[str]:
    """Remove and return as many channels as one command may hold."""
    return [channels.popitem()[0] for _ in range(min(AT_ONCE, len(channels)))]
