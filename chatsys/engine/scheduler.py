"""Fair writing: connections with packets to send wait in send queues, which are served round-robin.

A broadcast only appends to each connection's list, which takes a fraction of a microsecond. Writing takes a system call
for each connection, so it happens here, in slices between which the event loop does other work. As a result:

- A message to a large room delays each step of a small room's message (read, store, write) by at most one slice.
- Several packets for one connection are sent in one write.
- The packets of one connection stay in order, because they wait in one list.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from chatsys import metrics

logger = logging.getLogger("chatsys.engine")

SLICE = 16
"""Connections written to in one iteration of the event loop."""

SHARE = 4
"""Maximum of them that belong to the same send queue while other queues wait."""

MOMENT = 0.001
"""Seconds within which the first few calls run immediately, see :meth:`Slices.passes`."""


class Loop(Protocol):
    """The part of an event loop that the engine uses; asyncio's loops have it."""

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> Any:
        """Call in the next iteration."""

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> Any:
        """Call after ``delay`` seconds. The returned handle has ``cancel``."""

    def time(self) -> float:
        """Seconds of a monotonic clock."""

    def create_task(self, coro: Any, /) -> Any:
        """Run a coroutine."""


class QueuedWriter(Protocol):
    """A connection with packets to send."""

    def flush(self) -> int:
        """Write waiting packets. Returns how many."""


class SendQueue(deque[QueuedWriter]):
    """The writers of one room (or another group), ordered by when each of them got something to write.

    Call ``enter`` before appending to an empty queue, as :meth:`add` does.
    """

    __slots__ = ("_scheduler",)

    def __init__(self, scheduler: FairScheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def enter(self) -> None:
        """Tell the scheduler that the queue is about to get its first writer."""
        self._scheduler.enter(self)

    def add(self, writer: QueuedWriter) -> None:
        """Have the scheduler call ``writer.flush``."""
        if not self:
            self._scheduler.enter(self)
        self.append(writer)


class FairScheduler:
    """Serves the non-empty send queues round-robin."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._queues: deque[SendQueue] = deque()
        self._scheduled = False

    def enter(self, queue: SendQueue) -> None:
        """Add a send queue that is getting its first writer."""
        self._queues.append(queue)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._write_slice)

    def _write_slice(self) -> None:
        left, written = SLICE, 0
        while self._queues and left > 0:
            queue = self._queues[0]
            share = min(len(queue), left if len(self._queues) == 1 else SHARE, left)
            for _ in range(share):
                try:
                    written += queue[0].flush()  # appends itself again if it has more
                except Exception:
                    logger.exception("Could not write to a connection")
                queue.popleft()
            left -= share
            self._queues.popleft()
            if queue:
                self._queues.append(queue)
        metrics.deliveries.inc(written)
        if self._queues:
            self._loop.call_soon(self._write_slice)
        else:
            self._scheduled = False


class Slices:
    """Runs calls in order, at most ``most`` of them in one iteration of the event loop."""

    def __init__(self, loop: Loop, most: int) -> None:
        self._loop = loop
        self._most = most
        self._calls: deque[Callable[[], object]] = deque()
        self._scheduled = False
        self._since = 0.0
        self._passed = 0

    def passes(self, now: float) -> bool:
        """Whether a call may run immediately: no calls wait, and at most ``most`` have passed within ``MOMENT``."""
        if self._scheduled:
            return False
        if now > self._since + MOMENT:
            self._since, self._passed = now, 0
        self._passed += 1
        return self._passed <= self._most

    def add(self, call: Callable[[], object]) -> None:
        """Queue a call."""
        self._calls.append(call)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run_slice)

    def _run_slice(self) -> None:
        try:
            for _ in range(min(self._most, len(self._calls))):
                self._calls.popleft()()
        finally:
            self._scheduled = bool(self._calls)
            if self._scheduled:
                self._loop.call_soon(self._run_slice)
