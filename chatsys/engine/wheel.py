"""One timer wheel for the pings and deadlines of all connections, where stock Engine.IO has a task for each.

A connection is looked at when its ping is due, and again when its pong is. The wheel turns in steps of ``tick``
seconds, so a ping may leave one tick early, and a dead connection is noticed at most one tick late. Whoever has a
deadline of another kind is watched: asked at each tick, until it has none.
"""

from __future__ import annotations

from typing import Any, Protocol

from chatsys.engine.scheduler import Loop


class Pinged(Protocol):
    """What the wheel pings."""

    ponged: bool

    @property
    def closing(self) -> bool:
        """Whether it needs no more pings."""

    def ping(self) -> None:
        """Send a ping and set ``ponged`` to false."""

    def timed_out(self) -> None:
        """The pong did not come in time."""


class Watched(Protocol):
    """What has a deadline."""

    def check(self, now: float) -> bool:
        """Act on a deadline that has passed; whether there is still one. ``now`` is the event loop's time."""


class TimerWheel:
    """Ping each connection ``interval`` seconds after its last ping; give up ``timeout`` seconds after one."""

    def __init__(self, interval: float, timeout: float, loop: Loop) -> None:
        self._loop = loop
        self._tick = min(1.0, interval / 20, timeout / 20)
        self._timeout = max(1, round(timeout / self._tick))
        self._interval = max(1, round(interval / self._tick) - 1)
        size = max(self._interval, self._timeout) + 1
        self._pings: list[list[Pinged]] = [[] for _ in range(size)]
        self._pongs: list[list[Pinged]] = [[] for _ in range(size)]
        self._watched: set[Watched] = set()
        self._now = 0
        self._due = 0.0
        self._timer: Any = None

    def start(self) -> None:
        """Turn the wheel from now on."""
        self._due = self._loop.time()
        self._wind()

    def _wind(self) -> None:
        """Wait for the next tick; one that came late does not delay those after it, unless it was very late."""
        now = self._loop.time()
        self._due = max(self._due + self._tick, now)
        self._timer = self._loop.call_later(self._due - now, self._turn)

    def stop(self) -> None:
        """Stand still."""
        if self._timer is not None:
            self._timer.cancel()

    def add(self, connection: Pinged) -> None:
        """Ping a connection that has just opened."""
        self._put(self._pings, connection, self._interval)

    def watch(self, watched: Watched) -> None:
        """Ask it at each tick, until it has no deadline."""
        self._watched.add(watched)

    def unwatch(self, watched: Watched) -> None:
        """Ask it no more, and keep it no longer."""
        self._watched.discard(watched)

    def _put(self, wheel: list[list[Pinged]], connection: Pinged, ticks: int) -> None:
        wheel[(self._now + ticks) % len(wheel)].append(connection)

    def _turn(self) -> None:
        self._wind()
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
        if self._watched:
            now = self._loop.time()
            for watched in list(self._watched):
                if not watched.check(now):
                    self._watched.discard(watched)
