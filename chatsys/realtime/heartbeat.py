"""One timer wheel for the pings of all connections, where stock Engine.IO has a task for each.

A connection is looked at when its ping is due, and again when its pong is. The wheel turns in steps of ``tick``
seconds, so a ping may leave one tick early, and a dead connection is noticed at most one tick late.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Pinged(Protocol):
    """What the wheel looks after."""

    closing: bool
    ponged: bool

    def ping(self) -> None:
        """Send a ping and set ``ponged`` to false."""

    def timed_out(self) -> None:
        """The pong did not come in time."""


class Heartbeat:
    """Ping each connection ``interval`` seconds after its last ping; give up ``timeout`` seconds after one."""

    def __init__(self, interval: float, timeout: float) -> None:
        self._tick = min(1.0, interval / 20, timeout / 20)
        self._timeout = max(1, round(timeout / self._tick))
        self._interval = max(1, round(interval / self._tick) - 1)
        size = max(self._interval, self._timeout) + 1
        self._pings: list[list[Pinged]] = [[] for _ in range(size)]
        self._pongs: list[list[Pinged]] = [[] for _ in range(size)]
        self._now = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Turn the wheel from now on."""
        self._timer = asyncio.get_running_loop().call_later(self._tick, self._turn)

    def stop(self) -> None:
        """Stand still."""
        if self._timer is not None:
            self._timer.cancel()

    def add(self, connection: Pinged) -> None:
        """Look after a connection that has just opened."""
        self._put(self._pings, connection, self._interval)

    def _put(self, wheel: list[list[Pinged]], connection: Pinged, ticks: int) -> None:
        wheel[(self._now + ticks) % len(wheel)].append(connection)

    def _turn(self) -> None:
        self.start()
        self._now = (self._now + 1) % len(self._pings)
        pings, self._pings[self._now] = self._pings[self._now], []
        pongs, self._pongs[self._now] = self._pongs[self._now], []
        for connection in pongs:
            if connection.closing:
                continue
            if connection.ponged:
                self._put(self._pings, connection, max(1, self._interval - self._timeout))
            else:
                connection.timed_out()
        for connection in pings:
            if not connection.closing:
                connection.ping()
                self._put(self._pongs, connection, self._timeout)
