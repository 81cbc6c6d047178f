"""Group commit: writes that arrive while a flush is under way form the next one.

No timer and no added wait when idle: the first write is flushed at once, alone. One flush is one statement, hence one
transaction and one durable commit for all who wait; each is told its own outcome. A waiter that is cancelled changes
nothing for the others, nor for its own write.

A flush that meets a row which somebody else has locked is split: who needs that row waits for it in a queue of its own,
and so do later writes that need it; all others go on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import Any, Generic, TypeVar

from chatsys.errors import ChatsysError, StoreError, StoreUnavailable, WriteQueueFull
from chatsys.store.postgres.deadlines import DEADLINE, until
from chatsys.store.postgres.outage import Outages

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

BATCH = 512
"""Rows in one flush at most: it bounds the time that a row waits for its neighbours."""

REPEATS = 5
"""How often a flush is tried that met other servers' writes."""

PATIENCE = 4.5
"""Seconds from a write until its outcome, unless the store is told otherwise."""

LOCK_WAIT = 0.5
"""Seconds that one turn of waiting for a locked row takes at most."""

LEAST = 0.25
"""Seconds that a flush gets however long its first write has waited."""

QUEUE = "the queue of writes"
"""What an outage is called in which it was full."""

_LATE = "A write waited for the database for too long."


class Repeat(Exception):
    """Raised by a flush that met another server's write halfway: nothing was stored, do it again."""

    def __init__(self, reason: ChatsysError) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Locked(Repeat):
    """Raised by a flush that met a row which somebody else has locked: nothing was stored."""


Flush = Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | BaseException]]]


class Locks(Generic[Item]):
    """What a writer asks about rows that others may have locked.

    ``of`` names the rows that a write needs, those that fewest others need first, and ``blocked`` which of some are
    locked. ``wait`` returns when one is free, and raises ``Locked`` after LOCK_WAIT seconds; it holds nothing itself.
    """

    def __init__(
        self,
        of: Callable[[Item], Sequence[Hashable]],
        blocked: Callable[[Collection[Any]], Awaitable[Collection[Hashable]]],
        wait: Callable[[Any], Awaitable[None]],
    ) -> None:
        self.of = of
        self.blocked = blocked
        self.wait = wait


class _Queue(Generic[Item, Outcome]):
    """What waits, each with its future and the time it came; and the task that flushes it.

    ``rows`` is what they have to wait for first.
    """

    def __init__(self, *rows: Hashable) -> None:
        self.rows: Collection[Hashable] = rows
        self.entries: deque[tuple[Item, asyncio.Future[Outcome], float]] = deque()
        self.task: asyncio.Task[None] | None = None


class Writer(Generic[Item, Outcome]):
    """A queue of writes, and one for each row that is locked at the moment.

    ``flush`` stores a batch and gives the outcomes in its order, an exception for a write that failed alone. When it
    raises, nothing of the batch was stored: after ``Repeat`` the batch is tried again, after an error that one of the
    rows may be to blame for, each row is tried alone. ``keys`` names what a batch must not hold twice; a further
    write with such a key waits for the next flush.

    ``patience`` is the time in seconds from a write to its outcome. ``outages`` notes when the queue is full.
    """

    def __init__(
        self,
        flush: Flush[Item, Outcome],
        *,
        keys: Callable[[Item], Sequence[Hashable]],
        limit: int,
        observe: Callable[[str, float], None],
        locks: Locks[Item] | None = None,
        patience: float = PATIENCE,
        outages: Outages | None = None,
    ) -> None:
        self._keys = keys
        self._limit = limit
        self._observe = observe
        self._locks = locks
        self._patience = patience
        self._outages = outages
        self._queue: _Queue[Item, Outcome] = _Queue()
        self._flush = flush
        self._aside: dict[Hashable, _Queue[Item, Outcome]] = {}

    def write(self, item: Item) -> asyncio.Future[Outcome]:
        """Store one item with the next flush; its outcome, or what its own write met. Raises WriteQueueFull."""
        queue = self._queue_of(item) if self._aside else self._queue
        if len(queue.entries) >= self._limit:
            raise self._full()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        queue.entries.append((item, outcome, loop.time()))
        if queue.task is None:
            queue.task = loop.create_task(self._run(queue))
        return outcome

    def _full(self) -> WriteQueueFull:
        error = WriteQueueFull(hint="The database is slower than what is written; look with `chatsys monitor`.")
        if self._outages is not None:
            self._outages.failed(QUEUE, error)
        return error

    async def drain(self) -> None:
        """Wait until everything that was queued is stored or refused."""
        while tasks := [queue.task for queue in (self._queue, *self._aside.values()) if queue.task is not None]:
            await asyncio.wait(tasks)

    async def _run(self, queue: _Queue[Item, Outcome]) -> None:
        try:
            while queue.entries:
                batch = self._next_batch(queue)
                started = time.perf_counter()
                await self._settle(queue, batch)
                self._observe("flush", time.perf_counter() - started)
                self._observe("flush_rows", len(batch))
                if self._outages is not None and self._outages.going_on:
                    self._outages.succeeded(QUEUE)
        finally:
            queue.task = None
            if self._aside:
                self._aside = {key: each for key, each in self._aside.items() if each is not queue}
            if queue.entries:
                _refuse(queue.entries)
                queue.entries.clear()

    def _next_batch(self, queue: _Queue[Item, Outcome]) -> list[tuple[Item, asyncio.Future[Outcome], float]]:
        batch: list[tuple[Item, asyncio.Future[Outcome], float]] = []
        later: list[tuple[Item, asyncio.Future[Outcome], float]] = []
        taken: set[Hashable] = set()
        entries = queue.entries
        while entries and len(batch) < BATCH:
            entry = entries.popleft()
            keys = self._keys(entry[0])
            if keys:
                (later if taken.intersection(keys) else batch).append(entry)
                taken.update(keys)
            else:
                batch.append(entry)
        entries.extendleft(reversed(later))
        return batch

    async def _settle(self, queue: _Queue[Item, Outcome], batch: Any) -> None:
        """Store a batch and tell its outcomes, whatever happens; only cancellation of the task itself gets out."""
        now = asyncio.get_running_loop().time()
        deadline = batch[0][2] + self._patience
        if deadline <= now:
            error = StoreUnavailable(_LATE, hint="Try again.")
            late = [entry for entry in batch if entry[2] + self._patience <= now]
            _tell_all(late, error)
            batch = batch[len(late) :]  # in the order in which they came
            if not batch:
                return
            deadline = batch[0][2] + self._patience
        deadline = max(deadline, now + LEAST)
        try:
            if queue.rows and not await self._freed(queue.rows, batch, deadline):
                return
            token = DEADLINE.set(deadline)  # as ``until``, for what each message costs
            try:
                await self._store(queue, batch, deadline)
            finally:
                DEADLINE.reset(token)
        except asyncio.CancelledError:
            _refuse(batch)
            raise

    async def _store(self, queue: _Queue[Item, Outcome], batch: Any, deadline: float) -> None:
        error: BaseException | None = None
        repeats = 0
        while repeats < REPEATS:
            try:
                outcomes = await self._flush([entry[0] for entry in batch])
            except Locked as locked:
                batch, rows = await self._without_locked(queue, batch)
                if not batch or not await self._freed(rows, batch, deadline):
                    return
                if asyncio.get_running_loop().time() >= deadline:
                    _tell_all(batch, locked.reason)
                    return
            except Repeat as repeat:
                error = repeat.reason
                repeats += 1
            except Exception as failure:
                if isinstance(failure, StoreError) and type(failure) is not StoreError:  # the database's own state
                    _tell_all(batch, failure)
                    return
                error = failure  # one bad row, or a fault: whose it is shows when each is tried alone
                break
            else:
                for (_, future, _), outcome in zip(batch, outcomes, strict=True):
                    _tell(future, outcome)
                return
        if len(batch) == 1:
            _tell(batch[0][1], error)
            return
        for number, entry in enumerate(batch):
            if asyncio.get_running_loop().time() >= deadline:
                _tell_all(batch[number:], StoreUnavailable(_LATE, hint="Try again."))
                return
            await self._store(queue, [entry], deadline)

    # -- rows that somebody else has locked

    def _queue_of(self, item: Item) -> _Queue[Item, Outcome]:
        needed = self._locks.of(item) if self._locks is not None else ()
        return next((self._aside[row] for row in needed if row in self._aside), self._queue)

    async def _freed(self, rows: Collection[Hashable], batch: Any, deadline: float) -> bool:
        """Wait until these rows are free; false if that took too long, and the batch has been told."""
        loop = asyncio.get_running_loop()
        for row in rows:
            while True:
                try:
                    assert self._locks is not None
                    with until(min(deadline, loop.time() + 2 * LOCK_WAIT)):
                        await self._locks.wait(row)
                    break
                except (Repeat, StoreUnavailable) as failure:
                    if loop.time() + LOCK_WAIT > deadline:
                        _tell_all(batch, failure.reason if isinstance(failure, Repeat) else failure)
                        return False
        return True

    async def _without_locked(self, queue: _Queue[Item, Outcome], batch: Any) -> tuple[Any, Collection[Hashable]]:
        """What of a batch stays in its queue, and the locked rows that it has to wait for there.

        The rest goes to the queues of the rows that it waits for.
        """
        locks = self._locks
        if locks is None:
            return batch, ()
        try:
            locked = await locks.blocked({row for entry in batch for row in locks.of(entry[0])})
        except (Repeat, StoreUnavailable):  # whole tables are locked, or the database is away: the next try shows
            return batch, ()
        for row in locked:
            self._aside.setdefault(row, _Queue(row))
        stays = [entry for entry in batch if not self._put_aside(entry, queue)]
        behind = [entry for entry in queue.entries if not self._put_aside(entry, queue)]
        queue.entries.clear()
        queue.entries.extend(behind)
        loop = asyncio.get_running_loop()
        for row in locked:
            place = self._aside[row]
            if not place.entries and place.task is None:
                del self._aside[row]  # all who need it wait for another one
            elif place.task is None:
                place.task = loop.create_task(self._run(place))
        if queue is self._queue:
            return stays, ()
        needed = {row for entry in stays for row in locks.of(entry[0])}
        return stays, needed.intersection(locked)

    def _put_aside(self, entry: tuple[Item, asyncio.Future[Outcome], float], queue: _Queue[Item, Outcome]) -> bool:
        place = self._queue_of(entry[0])
        if place is not queue and place is not self._queue:
            place.entries.append(entry)
            return True
        return False


def _refuse(entries: Any) -> None:
    _tell_all(entries, StoreUnavailable("The store was closed.", hint="Try again."))


def _tell_all(entries: Any, error: BaseException) -> None:
    for _, future, _ in entries:
        _tell(future, error)


def _tell(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # its waiter was cancelled
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
