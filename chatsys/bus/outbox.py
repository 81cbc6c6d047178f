"""Events that wait for the broker: bounded, numbered, and kept until the broker has received them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

import msgspec

from chatsys import metrics
from chatsys.bus.messages import Body, Envelope

EVENTS_MOST = 20_000
"""Maximum waiting events. Beyond it, all are dropped and the other servers are sent the rooms to read instead."""

BYTES_MOST = 16 * 1024 * 1024
"""Maximum bytes of waiting events. Beyond it, the same happens."""

EVENT_MOST = 512 * 1024
"""Maximum bytes of one event. Instead of a longer one, the other servers are sent the room to read."""

BATCH_BYTES = 256 * 1024
"""Bytes passed to the broker at once, give or take one event."""

CHANNELS_MOST = 10_000
"""Maximum channels whose numbers are kept."""

Message = tuple[str, bytes]


class Outbox:
    """A queue of events for each channel. ``message_bytes``: see :class:`contract.Broker`."""

    def __init__(self, envelope: Envelope, server: str, message_bytes: int) -> None:
        self._envelope = envelope
        self._server = server
        self._message_bytes = message_bytes
        self._waiting: deque[tuple[str, str, bytes]] = deque()
        self._bytes = 0
        self._missed: dict[str, dict[str, None]] = {}
        self._numbers: dict[str, int] = {}
        self._highest = 0
        self._token: Message | None = None
        self._under_way: list[Message] = []
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    def add(self, channel: str, room: str, event: bytes) -> None:
        """Queue an event. Never blocks."""
        metrics.bus_sent.inc()
        if len(event) > EVENT_MOST:
            self._lose(channel, room)
        else:
            if len(self._waiting) >= EVENTS_MOST or self._bytes + len(event) > BYTES_MOST:
                self._lose_all()
            self._waiting.append((channel, room, event))
            self._bytes += len(event)
        self._filled.set()

    def add_token(self, channel: str, token: str) -> None:
        """Send a token before everything else."""
        self._token = channel, self._envelope.seal(channel, Body(server=self._server, token=token))
        self._filled.set()

    async def filled(self) -> None:
        """Wait until there is something to send."""
        if self._empty and self._token is None:
            self._filled.clear()
            await self._filled.wait()

    async def emptied(self) -> None:
        """Wait until the broker has received everything."""
        if not self._empty:
            self._emptied.clear()
            await self._emptied.wait()

    def take(self) -> list[Message]:
        """The next messages. Until :meth:`taken` is called, they are returned again, with the same numbers."""
        if not self._under_way:
            self._under_way = list(self._batch())
        token, self._token = self._token, None
        return [token, *self._under_way] if token is not None else list(self._under_way)

    def taken(self) -> None:
        """The broker has received the messages that :meth:`take` returned last."""
        self._under_way = []
        if self._empty:
            self._emptied.set()

    @property
    def _empty(self) -> bool:
        return not (self._waiting or self._missed or self._under_way)

    def _batch(self) -> Iterator[Message]:
        lost, self._missed = self._missed, {}
        for channel, rooms in lost.items():
            yield self._message(channel, missed=list(rooms), events=[])
        by_channel: dict[str, list[tuple[str, bytes]]] = {}
        size = 0
        while self._waiting and size < BATCH_BYTES:
            channel, room, event = self._waiting.popleft()
            by_channel.setdefault(channel, []).append((room, event))
            size += len(event)
        self._bytes -= size
        for channel, events in by_channel.items():
            yield from (self._message(channel, missed=[], events=part) for part in self._parts(events))

    def _parts(self, events: list[tuple[str, bytes]]) -> Iterator[list[tuple[str, msgspec.Raw]]]:
        part: list[tuple[str, msgspec.Raw]] = []
        size = 0
        for room, event in events:
            cost = len(event) + 6 * len(room) + 16
            if part and size + cost > self._message_bytes:
                yield part
                part, size = [], 0
            part.append((room, msgspec.Raw(event)))
            size += cost
        yield part

    def _message(self, channel: str, missed: list[str], events: list[tuple[str, msgspec.Raw]]) -> Message:
        before = self._numbers.pop(channel, None)
        number = (self._highest if before is None else before) + 1
        if len(self._numbers) >= CHANNELS_MOST:
            del self._numbers[next(iter(self._numbers))]
        self._numbers[channel] = number
        self._highest = max(self._highest, number)
        body = Body(server=self._server, number=number, first=before is None, missed=missed, events=events)
        return channel, self._envelope.seal(channel, body)

    def _lose(self, channel: str, room: str) -> None:
        self._missed.setdefault(channel, {})[room] = None
        metrics.bus_dropped.labels("overflow").inc()

    def _lose_all(self) -> None:
        for channel, room, _ in self._waiting:
            self._lose(channel, room)
        self._waiting.clear()
        self._bytes = 0
