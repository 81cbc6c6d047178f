"""Group commit: the writes that arrive during a flush form the next flush.

If the writer is idle, a write is flushed at once, alone. One flush is one statement, and so one transaction and one
durable commit for all its writes; each write gets its own outcome. Cancelling a waiter affects neither its own write
nor the others.

If a flush meets a row that another transaction has locked, the writer splits it: the writes that need this row, and
later ones that need it, wait in a queue of their own; all others continue. It takes a moment to learn that a row is
locked. Writes that arrive in that moment, and need no row of the slow flush, are flushed beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from chatsys.errors import ChatsysError, StoreError, StoreUnavailable, WriteQueueFull
from chatsys.store.postgres.deadlines import DEADLINE, until
from chatsys.store.postgres.outage import Outages

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

BATCH = 512
"""Maximum rows of a flush. It bounds how long a row waits for the others."""

REPEATS = 5
"""Maximum attempts of a flush that collides with writes of other servers."""

PATIENCE = 4.5
"""Default of the maximum seconds from a write to its outcome."""

LOCK_WAIT = 0.5
"""Seconds for which one attempt waits for a locked row."""

SLOW = 0.005
"""Minimum seconds after which a flush counts as slow."""

SLOWER = 3.0
"""A slow flush takes this many times the usual duration, a moving average with weight 1/16."""

LEAST = 0.25
"""Minimum seconds for a flush, however long its first write has waited."""

QUEUE = "the queue of writes"
"""Name of the outage in which the queue is full."""

_LATE = "A write waited for the database for too long."
_AGAIN = "Try again."


class Repeat(Exception):
    """Raised by a flush that collided with a write of another server. Nothing was stored: repeat it."""

    def __init__(self, reason: ChatsysError) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Locked(Repeat):
    """Raised by a flush that met a row locked by another transaction. Nothing was stored."""


Flush = Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | BaseException]]]


class Locks(NamedTuple, Generic[Item]):
    """How a writer learns which rows other transactions have locked.

    ``of`` returns the rows that a write needs; rows that few other writes need come first. ``blocked`` returns which of
    the given rows are locked. ``wait`` returns when a row is free, without locking it, and raises ``Locked`` after
    LOCK_WAIT seconds.
    """

    of: Callable[[Item], Sequence[Hashable]]
    blocked: Callable[[Collection[Any]], Awaitable[Collection[Hashable]]]
    wait: Callable[[Any], Awaitable[None]]


class _Queue(Generic[Item, Outcome]):
    """The waiting writes, each with its future and its time of arrival, and the task that flushes them.

    The next flush begins when all ``rows`` are free.
    """

    def __init__(self, *rows: Hashable) -> None:
        self.rows: Collection[Hashable] = rows
        self.entries: deque[tuple[Item, asyncio.Future[Outcome], float]] = deque()
        self.task: asyncio.Task[None] | None = None


class Writer(Generic[Item, Outcome]):
    """A queue of writes, a second one beside it while a flush is slow, and one for each locked row.

    ``flush`` stores a batch and returns the outcomes in the same order; the outcome of a write that failed alone is an
    exception. If it raises, nothing of the batch was stored: after ``Repeat`` the writer repeats the batch; after an
    error that one row may have caused, it stores each row alone. ``keys`` returns what a batch must not contain twice:
    a second write with the same key waits for the next flush.

    ``patience`` is the maximum time in seconds from a write to its outcome. ``outages`` records when the queue is full.
    """

    def __init__(
        self,
        flush: Flush[Item, Outcome],
        *,
        keys: Callable[[Item], Sequence[Hashable]],
        limit: int,
        observe: Callable[[str, float], None],
        locks: Locks[Item],
        patience: float = PATIENCE,
        outages: Outages | None = None,
    ) -> None:
        self._keys = keys
        self._limit = limit
        self._observe = observe
        self._locks = locks
        self._patience = patience
        self._outages = outages
        self._flush = flush
        self._queue: _Queue[Item, Outcome] = _Queue()
        self._beside: _Queue[Item, Outcome] = _Queue()
        self._needed: set[Hashable] = set()  # rows of a slow flush and of the writes that wait behind it
        self._usual = SLOW
        self._aside: dict[Hashable, _Queue[Item, Outcome]] = {}

    def write(self, item: Item) -> asyncio.Future[Outcome]:
        """Store an item with the next flush. The future has its outcome or its error. Raises WriteQueueFull."""
        queue = self._queue_of(item) if self._aside or self._needed else self._queue
        if len(queue.entries) >= self._limit:
            error = WriteQueueFull(hint="The database is slower than the writes; look with `chatsys monitor`.")
            if self._outages is not None:
                self._outages.failed(QUEUE, error)
            raise error
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        queue.entries.append((item, outcome, loop.time()))
        if queue.task is None:
            self._start(queue)
        return outcome

    async def drain(self) -> None:
        """Wait until every queued write is stored or refused."""
        while True:
            queues = [self._queue, self._beside, *self._aside.values()]
            for queue in queues:
                if queue.task is not None and queue.rows and not queue.entries:
                    queue.task.cancel()  # no write waits for these rows
            tasks = [queue.task for queue in queues if queue.task is not None]
            if not tasks:
                return
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    def _start(self, queue: _Queue[Item, Outcome]) -> None:
        queue.task = asyncio.get_running_loop().create_task(self._run(queue))

    async def _run(self, queue: _Queue[Item, Outcome]) -> None:
        try:
            while queue.entries or queue.rows:
                if queue.rows and not await self._freed(queue):
                    break
                if batch := self._next_batch(queue):
                    started = time.perf_counter()
                    await self._settle(queue, batch)
                    taken = time.perf_counter() - started
                    self._usual += (min(taken, SLOWER * self._usual) - self._usual) / 16
                    self._observe("flush", taken)
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
        """Store a batch and notify its waiters in any case. Raises only if the task itself is cancelled.

        In the queue of a locked row, writes that meet a locked row again return to the head of the queue.
        """
        loop = asyncio.get_running_loop()
        batch = self._without_late(batch, loop.time())
        if not batch:
            return
        deadline = max(batch[0][2] + self._patience, loop.time() + LEAST)
        slow = None
        if queue is self._queue:
            slow = loop.call_later(max(SLOW, SLOWER * self._usual), self._go_beside, batch)
        token = DEADLINE.set(deadline)  # like ``until``, but cheaper: this runs for each message
        try:
            queue.entries.extendleft(reversed(await self._store(queue, batch, deadline)))
        except asyncio.CancelledError:
            _refuse(batch)
            raise
        finally:
            DEADLINE.reset(token)
            if slow is not None:
                slow.cancel()
        if self._needed and queue is self._queue:
            self._needed.clear()
            if self._beside.task is not None:  # later writes may need the same rows and must be stored after it
                await asyncio.wait([self._beside.task])

    def _without_late(self, batch: Any, now: float) -> Any:
        """Refuse the writes that have waited too long. Returns the others."""
        if batch[0][2] + self._patience > now:
            return batch
        late = [entry for entry in batch if entry[2] + self._patience <= now]
        _notify_all(late, StoreUnavailable(_LATE, hint=_AGAIN))
        return [entry for entry in batch if entry[2] + self._patience > now]

    async def _store(self, queue: _Queue[Item, Outcome], batch: Any, deadline: float) -> Any:
        """Store a batch. Returns, in order, the writes that must first wait for ``queue.rows``."""
        loop = asyncio.get_running_loop()
        error: BaseException | None = None
        repeats = 0
        while repeats < REPEATS:
            try:
                outcomes = await self._flush([entry[0] for entry in batch])
            except Locked as locked:
                batch = await self._without_locked(queue, batch)
                if not batch or queue.rows:
                    return batch
                if loop.time() + LEAST >= deadline:
                    _notify_all(batch, locked.reason)
                    return ()
            except Repeat as repeat:
                error = repeat.reason
                repeats += 1
            except Exception as failure:
                if isinstance(failure, StoreError) and type(failure) is not StoreError:  # not one row
                    _notify_all(batch, failure)
                    return ()
                error = failure  # storing each row alone shows which one caused it
                break
            else:
                for (_, future, _), outcome in zip(batch, outcomes, strict=True):
                    _notify(future, outcome)
                return ()
        if len(batch) == 1:
            _notify(batch[0][1], error)
            return ()
        return await self._store_each(queue, batch, deadline)

    async def _store_each(self, queue: _Queue[Item, Outcome], batch: Any, deadline: float) -> Any:
        for number, entry in enumerate(batch):
            if asyncio.get_running_loop().time() >= deadline:
                _notify_all(batch[number:], StoreUnavailable(_LATE, hint=_AGAIN))
                break
            if await self._store(queue, [entry], deadline):
                return batch[number:]
        return ()

    # -- a flush that is slow, most likely because a row is locked

    def _go_beside(self, batch: Any) -> None:
        """Store writes beside this slow batch if they need none of its rows, directly or behind another write."""
        for entry in batch:
            self._needed.update(self._needs(entry[0]))
        waiting = list(self._queue.entries)
        self._queue.entries.clear()
        for entry in waiting:
            self._queue_of(entry[0]).entries.append(entry)
        if self._beside.entries and self._beside.task is None:
            self._start(self._beside)

    def _needs(self, item: Item) -> Sequence[Hashable]:
        return (*self._locks.of(item), *self._keys(item))

    # -- rows that other transactions have locked

    def _queue_of(self, item: Item) -> _Queue[Item, Outcome]:
        if (aside := self._aside_of(item)) is not None:
            return aside
        if not self._needed:
            return self._queue
        needs = self._needs(item)
        if self._needed.isdisjoint(needs):
            return self._beside
        self._needed.update(needs)
        return self._queue

    async def _freed(self, queue: _Queue[Item, Outcome]) -> bool:
        """Wait until the queue's rows are free. Returns False once no write has needed them for ``patience`` seconds.

        Until then the queue remains, even if all its writes were refused, so that later writes do not meet the locked
        row in a shared flush.
        """
        loop = asyncio.get_running_loop()
        reason: BaseException = StoreUnavailable(_LATE, hint=_AGAIN)
        given_up = loop.time() + self._patience
        while True:
            now = loop.time()
            while queue.entries and queue.entries[0][2] + self._patience < now + LOCK_WAIT:
                _notify(queue.entries.popleft()[1], reason)
            if queue.entries:
                given_up = now + self._patience
            elif now >= given_up:
                return False
            deadline = queue.entries[0][2] + self._patience if queue.entries else given_up
            try:
                for row in queue.rows:
                    with until(min(deadline, now + 2 * LOCK_WAIT)):
                        await self._locks.wait(row)
            except Locked as locked:
                reason = locked.reason
            except (Repeat, StoreUnavailable) as failure:
                reason = failure.reason if isinstance(failure, Repeat) else failure
                await asyncio.sleep(LOCK_WAIT / 10)  # it may have failed immediately
            else:
                queue.rows = ()
                return True

    async def _without_locked(self, queue: _Queue[Item, Outcome], batch: Any) -> Any:
        """Move the writes that need a locked row to the queue of that row. Returns the others.

        In the queue of a locked row all writes need that row, so they stay, and ``rows`` says what to wait for.
        """
        needed = {row for entry in batch for row in self._locks.of(entry[0])}
        try:
            locked = set(await self._locks.blocked(needed))
        except (
            Repeat,
            StoreUnavailable,
        ):  # a locked table or an outage: the next attempt shows
            return batch
        if queue is not self._queue and queue is not self._beside:
            queue.rows = needed & locked
            return batch
        for row in locked:
            self._aside.setdefault(row, _Queue(row))
        stays = [entry for entry in batch if not self._put_aside(entry)]
        for shared in (self._queue, self._beside):
            behind = [entry for entry in shared.entries if not self._put_aside(entry)]
            shared.entries.clear()
            shared.entries.extend(behind)
        for row in locked:
            if self._aside[row].task is None:
                self._start(self._aside[row])
        return stays

    def _put_aside(self, entry: tuple[Item, asyncio.Future[Outcome], float]) -> bool:
        aside = self._aside_of(entry[0])
        if aside is not None:
            aside.entries.append(entry)
        return aside is not None

    def _aside_of(self, item: Item) -> _Queue[Item, Outcome] | None:
        """The queue of the first locked row that the item needs; None if it needs none."""
        return next((self._aside[row] for row in self._locks.of(item) if row in self._aside), None)


def _refuse(entries: Any) -> None:
    _notify_all(entries, StoreUnavailable("The store was closed.", hint=_AGAIN))


def _notify_all(entries: Any, error: BaseException) -> None:
    for _, future, _ in entries:
        _notify(future, error)


def _notify(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # the waiter was cancelled
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
