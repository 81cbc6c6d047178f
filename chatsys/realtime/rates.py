"""Rate limits of a socket: its typing and status events (contract §9.6 and §9.8), and the rooms that it creates."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from chatsys.errors import StoreError

logger = logging.getLogger("chatsys.realtime")

MOST = 10
"""Maximum events of one kind that reach the room from one socket in each period."""

PERIOD = 1.0
"""Seconds."""

ROOMS_PERIOD = 60.0
"""Seconds of the period for which the number of new rooms is limited."""

Send = Callable[[bool], Awaitable[None]]


class Rate:
    """Limits the values of one kind from one socket. Times are in seconds, of any clock."""

    __slots__ = ("_newest", "_sent", "_value")

    def __init__(self) -> None:
        self._sent: deque[float] = deque(maxlen=MOST)
        self._value: bool | None = None
        self._newest: bool | None = None

    def offer(self, value: bool, now: float) -> float | None:
        """Seconds until :meth:`due` must be called for this value; None if no call, or no further call, is needed."""
        if self._newest is not None:
            self._newest = value
            return None
        if value == self._value and now - self._sent[-1] < PERIOD:
            return None
        self._newest = value
        return max(0.0, self._sent[0] + PERIOD - now) if len(self._sent) == MOST else 0.0

    def due(self, now: float) -> bool | None:
        """The newest value, to be sent now; None if the same value was sent less than a period ago."""
        value, self._newest = self._newest, None
        if value is None or (value == self._value and now - self._sent[-1] < PERIOD):
            return None
        self._value = value
        self._sent.append(now)
        return value


class Allowance:
    """The rate limits of one socket. Times are in seconds, of any clock."""

    __slots__ = ("_made", "status", "typing")

    def __init__(self) -> None:
        self.typing = Rate()
        self.status = Rate()
        self._made: deque[float] = deque()

    def may_make_room(self, limit: int | None, now: float) -> bool:
        """Whether the socket may create another room."""
        while self._made and self._made[0] <= now - ROOMS_PERIOD:
            self._made.popleft()
        return limit is None or len(self._made) < limit

    def made_room(self, now: float) -> None:
        """Count a room that the socket has created."""
        self._made.append(now)


class Rates:
    """Sends values within their rates, for all sockets of a server."""

    def __init__(self) -> None:
        self._late: set[asyncio.Task[None]] = set()

    async def offer(self, rate: Rate, value: bool, send: Send, wanted: Callable[[], bool]) -> None:
        """Send the value now. Above the rate, send the newest value once the rate allows, if it is still ``wanted``."""
        loop = asyncio.get_running_loop()
        wait = rate.offer(value, loop.time())
        if wait is None:
            return
        if wait:
            loop.call_later(wait, self._send_late, rate, send, wanted)
            return
        due = rate.due(loop.time())
        if due is not None:
            await send(due)

    def _send_late(self, rate: Rate, send: Send, wanted: Callable[[], bool]) -> None:
        value = rate.due(asyncio.get_running_loop().time())
        if value is not None and wanted():
            task = asyncio.create_task(_send(send, value))
            self._late.add(task)
            task.add_done_callback(self._late.discard)


async def _send(send: Send, value: bool) -> None:
    try:
        await send(value)
    except StoreError as error:
        logger.warning("Could not store a status: %s: %s", error.code, error.message)
