"""Who writes when: connections with something to send wait in send queues, which take turns.

A broadcast is only put into each connection's list, which costs a fraction of a microsecond; the writing, which costs
a system call each, happens here, in slices with the rest of the event loop between. So a message to a big room delays
each step of a small room's (read, stored, written) by one slice at most, several packets for one connection leave in
one write, and what one connection gets stays in order, since it waits in one list.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from chatsys import metrics

logger = logging.getLogger("chatsys.engine")

SLICE = 16
"""How many connections are written to before the event loop does something else."""

SHARE = 4
"""How many of them may belong to one send queue while others wait."""


MOMENT = 0.001
"""Seconds within which few calls need not wait for a turn of their own."""


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


class QueuedWriter(Protocol):
    """A connection that has something to send."""

    def flush(self) -> int:
        """Write what waits; how many packets that were."""


class SendQueue(deque[QueuedWriter]):
    """The writers of one room or the like, in order of their first packet since they last wrote.

    Before the first is appended, the scheduler is told: ``if not queue: queue.enter()``.
    """

    __slots__ = ("_scheduler",)

    def __init__(self, scheduler: FairScheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def enter(self) -> None:
        """The first writer comes."""
        self._scheduler.enter(self)

    def add(self, writer: QueuedWriter) -> None:
        """Let ``writer`` flush when it is this queue's turn."""
        if not self:
            self._scheduler.enter(self)
        self.append(writer)


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
            queue = self._queues[0]
            share = min(len(queue), left if len(self._queues) == 1 else SHARE, left)
            for _ in range(share):
                try:
                    written += queue[0].flush()  # one with more to write comes in behind the others
                except Exception:
                    logger.exception("A connection was not written to")
                queue.popleft()
            left -= share
            self._queues.popleft()
            if queue:
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
        self._since = 0.0
        self._passed = 0

    def passes(self, now: float) -> bool:
        """Whether a call may be made at once: no others wait, and few came in this moment of the loop's clock."""
        if self._scheduled:
            return False
        if now > self._since + MOMENT:
            self._since, self._passed = now, 0
        self._passed += 1
        return self._passed <= self._most

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
