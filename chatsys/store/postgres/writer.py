"""Group commit: writes that arrive while a flush is under way form the next one.

A write adds no wait when the writer is idle: the first one is flushed at once, alone. One flush is one statement, hence
one transaction and one durable commit for all who wait; each gets its own outcome. A waiter that is cancelled changes
nothing for the others, nor for its own write.

A flush that meets a row which somebody else has locked is split: the writes that need that row wait for it in a queue
of its own, and so do later ones; all others go on. It takes a moment to learn that a row is locked. Writes that come in
that moment and need no row of the slow flush are flushed beside it.
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
"""Rows in one flush at most: it bounds the time that a row waits for its neighbours."""

REPEATS = 5
"""How often a flush is tried that met other servers' writes."""

PATIENCE = 4.5
"""Seconds from a write until its outcome, unless the store is told otherwise."""

LOCK_WAIT = 0.5
"""Seconds for which one attempt waits for a locked row."""

SLOW = 0.005
"""Seconds after which a flush may be called slow: those behind it that need no row of it are stored beside it."""

SLOWER = 3.0
"""How many times as long as usual such a flush has taken; the usual time is an average with a weight of 1/16."""

LEAST = 0.25
"""Seconds that a flush gets however long its first write has waited."""

QUEUE = "the queue of writes"
"""What an outage is called in which it was full."""

_LATE = "A write waited for the database for too long."
_AGAIN = "Try again."


class Repeat(Exception):
    """Raised by a flush that met another server's write halfway: nothing was stored, do it again."""

    def __init__(self, reason: ChatsysError) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Locked(Repeat):
    """Raised by a flush that met a row which somebody else has locked: nothing was stored."""


Flush = Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | BaseException]]]


class Locks(NamedTuple, Generic[Item]):
    """What a writer asks about rows that others may have locked.

    ``of`` names the rows that a write needs, those that fewest others need first, and ``blocked`` which of some are
    locked. ``wait`` returns when one is free, and raises ``Locked`` after LOCK_WAIT seconds; it holds nothing itself.
    """

    of: Callable[[Item], Sequence[Hashable]]
    blocked: Callable[[Collection[Any]], Awaitable[Collection[Hashable]]]
    wait: Callable[[Any], Awaitable[None]]


class _Queue(Generic[Item, Outcome]):
    """What waits, each with its future and the time it came; and the task that flushes it.

    Before the next flush, all of ``rows`` must be free.
    """

    def __init__(self, *rows: Hashable) -> None:
        self.rows: Collection[Hashable] = rows
        self.entries: deque[tuple[Item, asyncio.Future[Outcome], float]] = deque()
        self.task: asyncio.Task[None] | None = None


class Writer(Generic[Item, Outcome]):
    """A queue of writes; one beside it while a flush is slow; and one for each row that is locked at the moment.

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
        self._needed: set[Hashable] = set()  # by a slow flush and by what waits behind it
        self._usual = SLOW
        self._aside: dict[Hashable, _Queue[Item, Outcome]] = {}

    def write(self, item: Item) -> asyncio.Future[Outcome]:
        """Store one item with the next flush; its outcome, or what its own write met. Raises WriteQueueFull."""
        queue = self._queue_of(item) if self._aside or self._needed else self._queue
        if len(queue.entries) >= self._limit:
            error = WriteQueueFull(hint="The database is slower than what is written; look with `chatsys monitor`.")
            if self._outages is not None:
                self._outages.failed(QUEUE, error)
            raise error
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        queue.entries.append((item, outcome, loop.time()))
        if queue.task is None:
            queue.task = loop.create_task(self._run(queue))
        return outcome

    async def drain(self) -> None:
        """Wait until everything that was queued is stored or refused."""
        while True:
            queues = [self._queue, self._beside, *self._aside.values()]
            for queue in queues:
                if queue.task is not None and queue.rows and not queue.entries:
                    queue.task.cancel()  # nobody waits for these rows
            tasks = [queue.task for queue in queues if queue.task is not None]
            if not tasks:
                return
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

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
        """Store a batch and notify its waiters, whatever happens; only cancellation of the task itself gets out.

        What met a locked row in a queue that waits for one goes back to the head of that queue.
        """
        loop = asyncio.get_running_loop()
        batch = self._without_late(batch, loop.time())
        if not batch:
            return
        deadline = max(batch[0][2] + self._patience, loop.time() + LEAST)
        slow = None
        if queue is self._queue:
            slow = loop.call_later(max(SLOW, SLOWER * self._usual), self._go_beside, batch)
        token = DEADLINE.set(deadline)  # as ``until``, for what each message costs
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
            if self._beside.task is not None:  # what comes now may need the same rows, and must be stored after it
                await asyncio.wait([self._beside.task])

    def _without_late(self, batch: Any, now: float) -> Any:
        """The batch without the writes whose time is over: they are refused."""
        if batch[0][2] + self._patience > now:
            return batch
        late = [entry for entry in batch if entry[2] + self._patience <= now]
        _notify_all(late, StoreUnavailable(_LATE, hint=_AGAIN))
        return [entry for entry in batch if entry[2] + self._patience > now]

    async def _store(self, queue: _Queue[Item, Outcome], batch: Any, deadline: float) -> Any:
        """Store a batch. Returns those of its writes, in order, that must wait for ``queue.rows`` first."""
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
                if isinstance(failure, StoreError) and type(failure) is not StoreError:  # the database's own state
                    _notify_all(batch, failure)
                    return ()
                error = failure  # one bad row, or a fault: whose it is shows when each is tried alone
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

    # -- a flush that is slow, most likely since a row is locked

    def _go_beside(self, batch: Any) -> None:
        """Let what needs no row of this batch, nor of what waits for such a row, be stored beside it."""
        for entry in batch:
            self._needed.update(self._needs(entry[0]))
        waiting = list(self._queue.entries)
        self._queue.entries.clear()
        for entry in waiting:
            self._queue_of(entry[0]).entries.append(entry)
        if self._beside.entries and self._beside.task is None:
            self._beside.task = asyncio.get_running_loop().create_task(self._run(self._beside))

    def _needs(self, item: Item) -> Sequence[Hashable]:
        return (*self._locks.of(item), *self._keys(item))

    # -- rows that somebody else has locked

    def _queue_of(self, item: Item) -> _Queue[Item, Outcome]:
        needs = self._needs(item)
        for row in needs:
            if row in self._aside:
                return self._aside[row]
        if not self._needed:
            return self._queue
        if self._needed.isdisjoint(needs):
            return self._beside
        self._needed.update(needs)
        return self._queue

    async def _freed(self, queue: _Queue[Item, Outcome]) -> bool:
        """Wait until the queue's rows are free; false if for some time nobody has needed them any more.

        Until then the queue stays, even when everybody in it was refused, so that later writes do not meet the locked
        row in a common flush.
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
                await asyncio.sleep(LOCK_WAIT / 10)  # it may have failed at once
            else:
                queue.rows = ()
                return True

    async def _without_locked(self, queue: _Queue[Item, Outcome], batch: Any) -> Any:
        """What of a batch stays in its queue. The rest goes to the queues of the rows that it waits for.

        Where a queue waits for a row, all that is in it needs that row and stays; ``rows`` tells what it must wait for.
        """
        needed = {row for entry in batch for row in self._locks.of(entry[0])}
        try:
            locked = set(await self._locks.blocked(needed))
        except (Repeat, StoreUnavailable):  # whole tables are locked, or the database is away: the next try shows
            return batch
        if queue is not self._queue and queue is not self._beside:
            queue.rows = needed & locked
            return batch
        loop = asyncio.get_running_loop()
        for row in locked:
            self._aside.setdefault(row, _Queue(row))
        stays = [entry for entry in batch if not self._put_aside(entry)]
        for shared in (self._queue, self._beside):
            behind = [entry for entry in shared.entries if not self._put_aside(entry)]
            shared.entries.clear()
            shared.entries.extend(behind)
        for row in locked:
            place = self._aside[row]
            if place.task is None:
                place.task = loop.create_task(self._run(place))
        return stays

    def _put_aside(self, entry: tuple[Item, asyncio.Future[Outcome], float]) -> bool:
        for row in self._locks.of(entry[0]):
            if row in self._aside:
                self._aside[row].entries.append(entry)
                return True
        return False


def _refuse(entries: Any) -> None:
    _notify_all(entries, StoreUnavailable("The store was closed.", hint=_AGAIN))


def _notify_all(entries: Any, error: BaseException) -> None:
    for _, future, _ in entries:
        _notify(future, error)


def _notify(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # its waiter was cancelled
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
