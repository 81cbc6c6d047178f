"""One timer wheel for the pings and deadlines of all connections. Stock Engine.IO runs a task for each connection.

The wheel looks at a connection when its ping is due, and again when its pong is due. It advances in ticks, so a ping
may be sent one tick early, and a dead connection is detected at most one tick late. An object with another deadline is
watched: the wheel calls its ``check`` at each tick until the object has no deadline.
"""

from __future__ import annotations

from typing import Any, Protocol

from chatsys.engine.scheduler import Loop


class Pinged(Protocol):
    """A connection that the wheel pings."""

    ponged: bool

    @property
    def closing(self) -> bool:
        """Whether it needs no more pings."""

    def ping(self) -> None:
        """Send a ping and set ``ponged`` to false."""

    def timed_out(self) -> None:
        """The pong did not arrive in time."""


class Watched(Protocol):
    """An object with a deadline."""

    def check(self, now: float) -> bool:
        """Act if the deadline has passed. Returns whether there is still one. ``now`` is the event loop's time."""


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
        """Start ticking."""
        self._due = self._loop.time()
        self._schedule()

    def _schedule(self) -> None:
        """Schedule the next tick. A late tick does not delay the following ones, unless it was later than a tick."""
        now = self._loop.time()
        self._due = max(self._due + self._tick, now)
        self._timer = self._loop.call_later(self._due - now, self._advance)

    def stop(self) -> None:
        """Stop ticking."""
        if self._timer is not None:
            self._timer.cancel()

    def add(self, connection: Pinged) -> None:
        """Ping a connection that has just opened."""
        self._put(self._pings, connection, self._interval)

    def watch(self, watched: Watched) -> None:
        """Call ``check`` at each tick until it returns false."""
        self._watched.add(watched)

    def unwatch(self, watched: Watched) -> None:
        """Stop calling ``check``, and drop the reference."""
        self._watched.discard(watched)

    def _put(self, wheel: list[list[Pinged]], connection: Pinged, ticks: int) -> None:
        wheel[(self._now + ticks) % len(wheel)].append(connection)

    def _advance(self) -> None:
        self._schedule()
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
