"""How often one member's typing and status are told to others (contract §9.6 and §9.8)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

MOST = 10
"""How many changes are told at once within a second; the newest of more follows when that second is over."""

WINDOW = 1.0

Tell = Callable[[bool], Awaitable[None]]


class Pace:
    """One value of one member. ``tell`` is called for what may be told, ``failed`` with what it raises later."""

    def __init__(self, tell: Tell, failed: Callable[[Exception], None]) -> None:
        self._tell = tell
        self._failed = failed
        self._told: deque[float] = deque(maxlen=MOST)
        self._value: bool | None = None
        self._next = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    async def offer(self, value: bool) -> None:
        """Tell the value now, or later with what comes until then, or not at all if it is told already."""
        self._next = value
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if value == self._value and now - self._told[-1] < WINDOW:
            return
        if len(self._told) == MOST and now - self._told[0] < WINDOW:
            self._timer = loop.call_at(self._told[0] + WINDOW, self._later)
            return
        self._value = value
        self._told.append(now)
        await self._tell(value)

    def stop(self) -> None:
        """Tell nothing more."""
        for each in (self._timer, self._task):
            if each is not None:
                each.cancel()

    def _later(self) -> None:
        self._timer = None
        if self._next != self._value:
            self._task = asyncio.create_task(self._tell_next())

    async def _tell_next(self) -> None:
        try:
            await self.offer(self._next)
        except Exception as error:
            self._failed(error)
