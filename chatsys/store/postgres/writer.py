"""Group commit: writes that arrive while a flush is under way form the next one.

No timer and no added wait when idle: the first write is flushed at once, alone. One flush is one statement, hence one
transaction and one durable commit for all who wait; each is told its own outcome. A waiter that is cancelled changes
nothing for the others, nor for its own write.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from chatsys.errors import ChatsysError, StoreUnavailable, WriteQueueFull

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

BATCH = 512
"""Rows in one flush at most: it bounds the time that a row waits for its neighbours."""

REPEATS = 5
"""How often a flush is tried that met other servers' writes."""


class Repeat(Exception):
    """Raised by a flush that met another server's write halfway: nothing was stored, do it again."""

    def __init__(self, reason: ChatsysError) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Writer(Generic[Item, Outcome]):
    """One queue of writes and the task that flushes it.

    ``flush`` stores a batch and gives the outcomes in its order, an exception for a write that failed alone. When it
    raises, nothing of the batch was stored: after ``Repeat`` the batch is tried again, after an error that one of the
    rows may be to blame for, each row is tried alone. ``keys`` names what a batch must not hold twice; a further
    write with such a key waits for the next flush.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | BaseException]]],
        *,
        keys: Callable[[Item], Sequence[Hashable]],
        limit: int,
        observe: Callable[[str, float], None],
    ) -> None:
        self._flush = flush
        self._keys = keys
        self._limit = limit
        self._observe = observe
        self._queue: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def write(self, item: Item) -> asyncio.Future[Outcome]:
        """Store one item with the next flush; its outcome, or what its own write met. Raises WriteQueueFull."""
        if len(self._queue) >= self._limit:
            raise WriteQueueFull(hint="The database is slower than what is written; look with `chatsys monitor`.")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        self._queue.append((item, outcome))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return outcome

    async def drain(self) -> None:
        """Wait until everything that was queued is stored or refused."""
        while self._task is not None:
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        try:
            while self._queue:
                batch = self._next_batch()
                started = time.perf_counter()
                outcomes = await self._stored([item for item, _ in batch])
                self._observe("flush", time.perf_counter() - started)
                self._observe("flush_rows", len(batch))
                for (_, future), outcome in zip(batch, outcomes, strict=True):
                    _tell(future, outcome)
        finally:
            self._task = None
            for _, future in self._queue:
                _tell(future, StoreUnavailable("The store was closed.", hint="Try again."))
            self._queue.clear()

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        batch: list[tuple[Item, asyncio.Future[Outcome]]] = []
        later: list[tuple[Item, asyncio.Future[Outcome]]] = []
        taken: set[Hashable] = set()
        while self._queue and len(batch) < BATCH:
            entry = self._queue.popleft()
            keys = self._keys(entry[0])
            if keys:
                (later if taken.intersection(keys) else batch).append(entry)
                taken.update(keys)
            else:
                batch.append(entry)
        self._queue.extendleft(reversed(later))
        return batch

    async def _stored(self, items: Sequence[Item]) -> Sequence[Outcome | BaseException]:
        """The outcomes of a batch, whatever happens; only cancellation of the task itself gets out."""
        error: BaseException
        for _ in range(REPEATS):
            try:
                return await self._flush(items)
            except Repeat as repeat:
                error = repeat.reason
            except StoreUnavailable as unavailable:
                return [unavailable] * len(items)
            except Exception as failure:  # one bad row, or a fault: whose it is shows when each is tried alone
                error = failure
                break
        if len(items) == 1:
            return [error]
        return [outcome for item in items for outcome in await self._stored([item])]


def _tell(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # its waiter was cancelled
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
