"""Who writes when: connections with something to send wait in send queues, which take turns.

A broadcast is only put into each connection's list, which costs a fraction of a microsecond; the writing, which costs
a system call each, happens here, in slices with the rest of the event loop between. So a message to a big room delays
each step of a small room's (read, stored, written) by one slice at most, several packets for one connection leave in
one write, and what one connection gets stays in order, since it waits in one list.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from chatsys import metrics

SLICE = 16
"""How many connections are written to before the event loop does something else."""

SHARE = 4
"""How many of them may belong to one send queue while others wait."""


class Loop(Protocol):
    """What the engine needs of an event loop; asyncio's has it."""

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> Any:
        """Call after what is ready now."""

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> Any:
        """Call in so many seconds; the handle has ``cancel``."""

    def time(self) -> float:
        """Seconds of a clock that never goes back."""

    def create_task(self, coro: Any, /) -> Any:
        """Run a coroutine."""


class Writer(Protocol):
    """A connection that has something to send."""

    def flush(self) -> int:
        """Write what waits; how many packets that were."""


class SendQueue:
    """The writers of one room or the like, in order of their first packet since they last wrote."""

    __slots__ = ("_scheduler", "writers")

    def __init__(self, scheduler: FairScheduler) -> None:
        self._scheduler = scheduler
        self.writers: deque[Writer] = deque()

    def add(self, writer: Writer) -> None:
        """Let ``writer`` flush when it is this queue's turn."""
        if not self.writers:
            self._scheduler.enter(self)
        self.writers.append(writer)


class FairScheduler:
    """The send queues that have writers, taking turns."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._queues: deque[SendQueue] = deque()
        self._scheduled = False

    def enter(self, queue: SendQueue) -> None:
        """A send queue has got its first writer."""
        self._queues.append(queue)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        left, written = SLICE, 0
        while self._queues and left > 0:
            queue = self._queues.popleft()
            writers = queue.writers
            share = min(len(writers), SHARE, left)
            for _ in range(share):
                written += writers.popleft().flush()
            left -= share
            if writers:
                self._queues.append(queue)
        metrics.deliveries.inc(written)
        if self._queues:
            self._loop.call_soon(self._turn)
        else:
            self._scheduled = False


class Slices:
    """Calls that may be many at once: at most ``most`` of them in one turn of the event loop, in order."""

    def __init__(self, loop: Loop, most: int) -> None:
        self._loop = loop
        self._most = most
        self._calls: deque[Callable[[], object]] = deque()
        self._scheduled = False

    def add(self, call: Callable[[], object]) -> None:
        """Call it once those before it are done."""
        self._calls.append(call)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        try:
            for _ in range(min(self._most, len(self._calls))):
                self._calls.popleft()()
        finally:
            self._scheduled = bool(self._calls)
            if self._scheduled:
                self._loop.call_soon(self._turn)
