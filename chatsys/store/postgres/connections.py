"""A lean pool of asyncpg connections with prepared statements, and a deadline for each wait.

asyncpg's own pool sends a reset query at each release, which is a second round trip for each verb, and wraps each call
in a proxy. Nothing here changes a session's state, so there is nothing to reset. asyncpg's own timeouts create a timer
for each statement; here one timer checks all connections of a pool ten times a second. Verified against asyncpg 0.32.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from chatsys.errors import ChatsysError, ReadOnlyDatabase, StoreError, StoreUnavailable, TooManyConnections
from chatsys.store.postgres.deadlines import DEADLINE
from chatsys.store.postgres.links import DRIVER_ERRORS, Connector, Link, explained, lost
from chatsys.store.postgres.outage import Outages
from chatsys.store.postgres.statements import statements

__all__ = ["DRIVER_ERRORS", "Connections", "Link", "Observe", "Pools", "explained"]

Observe = Callable[[str, float], None]
"""Called with a metric and its value: ``statement`` 1, ``flush_rows`` rows, ``pool_wait`` or ``flush`` in seconds."""

GRACE = 0.5
"""Seconds that the server's own statement timeout gets before the connection is closed."""

LOOK = 0.1
"""Seconds between two checks for overdue statements."""

PROBE = 1.0
"""Seconds that an idle connection has to answer a test."""

FULL = 1.0
"""Seconds without new connections after the server refused one because all its slots were in use."""

_STALE_PLAN = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)


class Pools:
    """The address, limits and failures that the pools of one store share.

    ``statement`` is the statement timeout in the server; the attribute is GRACE longer. A call waits at most ``wait``
    for a connection, and takes at most ``whole``. All in seconds.
    """

    def __init__(self, connector: Connector, *, statement: float, observe: Observe) -> None:
        self.connector = connector
        self.address = connector.address
        self.statement = statement + GRACE
        self.wait = max(statement, connector.timeout) + LOOK
        self.whole = self.wait + GRACE
        self.observe = observe
        self.outages = Outages()
        self.generation = 0
        self.lost_at = 0.0
        self.members: list[Connections] = []
        self._probed = 0.0

    def pool(self, size: int, **settings: str) -> Connections:
        """A new pool of at most ``size`` connections with these additional session settings."""
        pool = Connections(self, size, settings)
        self.members.append(pool)
        return pool

    async def warm(self) -> None:
        """Open a connection in each pool, so that each has one even if the server runs out of slots."""
        await asyncio.gather(*(pool.warm() for pool in self.members))

    def suspect(self) -> None:
        """Test the idle connections after one missed its deadline, at most once a second."""
        if time.monotonic() - self._probed >= PROBE:
            self._probe()

    def lose(self) -> None:
        """Test the idle connections after one was lost: others may be about to end, too."""
        self.lost_at = time.monotonic()
        self._probe()

    def _probe(self) -> None:
        self._probed = time.monotonic()
        for pool in self.members:
            pool.probe()

    def renounce(self) -> None:
        """Replace all present connections, because the server accepts no writes any more."""
        self.generation += 1
        self.lost_at = time.monotonic()
        for pool in self.members:
            pool.drop_idle()

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(pool.close() for pool in self.members))


class Connections:
    """At most ``size`` connections, opened on demand. The most recently used one is used next."""

    def __init__(self, pools: Pools, size: int, settings: dict[str, str]) -> None:
        self.pools = pools
        self.address = pools.address
        self._loop = asyncio.get_running_loop()
        self._size = size
        self._settings = settings
        self._begin = _begin({**pools.connector.settings, **settings}) if pools.address.bouncer else ""
        self._open = 0
        self._connecting = 0
        self._full_until = 0.0
        self._links: set[Link] = set()
        self._apart: set[Link] = set()
        self._idle: list[Link] = []
        self._waiting: deque[tuple[asyncio.Future[Link], float]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._look: asyncio.TimerHandle | None = None
        self._closed = False

    async def fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement that reads. If its connection is dead, it runs once more on another one."""
        now = self._loop.time()
        limit = DEADLINE.get() or now + self.pools.whole
        try:
            return await self._once(name, arguments, limit, now, reads=True)
        except StoreUnavailable as error:
            if not lost(error, error.__cause__):
                raise
        except ReadOnlyDatabase:
            pass
        return await self._once(name, arguments, limit, reads=True)

    async def write(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement that runs at most once. It is repeated only if a read-only server refused it."""
        now = self._loop.time()
        limit = DEADLINE.get() or now + self.pools.whole
        try:
            return await self._once(name, arguments, limit, now)
        except ReadOnlyDatabase:
            return await self._once(name, arguments, limit)

    @asynccontextmanager
    async def transaction(self, seconds: float) -> AsyncIterator[Callable[..., Any]]:
        """Run statements as one transaction of at most ``seconds``. Yields a function like :meth:`write`."""
        limit = self._loop.time() + seconds
        link = await self._checkout(limit)
        try:
            async with self._explained(link, limit), link.connection.transaction():
                await self.run(link, "set_limits", (f"{seconds}s",), limit)
                yield lambda name, *arguments: self.run(link, name, arguments, limit)
                self._start(link, limit)
        finally:
            self._checkin(link)

    async def warm(self) -> None:
        """Open a connection."""
        self._checkin(await self._checkout(self._limit()))

    async def dedicated(self, **settings: str) -> Link:
        """A connection outside the pool, for session-long work: locks and LISTEN. The caller closes it."""
        link = await self.pools.connector.connect(settings)
        self._apart.add(link)
        return link

    async def close(self) -> None:
        """Close the idle connections and terminate those in use."""
        self._closed = True
        for link in self._links.difference(self._idle):
            link.connection.terminate()
        for task in self._tasks:
            task.cancel()
        idle, self._idle = self._idle, []
        await asyncio.gather(*map(self._discard, idle))
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(StoreUnavailable("The store was closed.", hint="Try again."))
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def drop_idle(self) -> None:
        """Terminate the idle connections."""
        while self._idle:
            link = self._idle.pop()
            link.connection.terminate()
            self._forget(link)

    def probe(self) -> None:
        """Test the idle connections. Those that do not answer in time are closed."""
        idle, self._idle = self._idle, []
        for link in idle:
            self._start(link, self._loop.time() + PROBE)
            self._spawn(self._probed(link))

    # -- one statement

    async def run(
        self,
        link: Link,
        name: str,
        arguments: tuple[Any, ...],
        limit: float | None = None,
        *,
        now: float | None = None,
        reads: bool = False,
    ) -> list[asyncpg.Record]:
        """The rows of a statement on a connection that the caller holds, in or outside the pool.

        ``now`` is the loop's time, if the caller has just read it.
        """
        pools = self.pools
        pools.observe("statement", 1)
        self._start(link, self._limit() if limit is None else limit, now)
        statement = statements()[name]
        try:
            prepared = await link.prepared(statement, self.address.bouncer)
            rows = await prepared.fetch(*arguments)
        except _STALE_PLAN as error:
            link.connection.terminate()  # a migration changed a table: a new connection makes new plans
            raise StoreUnavailable("The database's schema changed just now.", hint="Try again.") from error
        except DRIVER_ERRORS as error:
            raise self._failed(link, name, error) from error
        link.due = 0.0
        if pools.outages.going_on:
            pools.outages.succeeded(name)
        if reads and link.read_only:  # a write would have been refused
            pools.renounce()
            link.connection.terminate()
            raise ReadOnlyDatabase
        return rows

    async def _once(
        self, name: str, arguments: tuple[Any, ...], limit: float, now: float | None = None, *, reads: bool = False
    ) -> list[asyncpg.Record]:
        idle = self._idle
        if idle and not idle[-1].connection.is_closed():
            link = idle.pop()
        else:
            link, now = await self._checkout(limit), None
        try:
            if self._begin and not reads:
                return await self._run_within_limits(link, name, arguments, limit)
            return await self.run(link, name, arguments, limit, now=now, reads=reads)
        finally:
            self._checkin(link)

    async def _run_within_limits(
        self, link: Link, name: str, arguments: tuple[Any, ...], limit: float
    ) -> list[asyncpg.Record]:
        """Run a write as a transaction with the pool's settings, because sessions have none behind PgBouncer."""
        async with self._explained(link, limit):
            await link.connection.execute(self._begin)
            try:
                rows = await self.run(link, name, arguments, limit)
            except BaseException:
                self._start(link, self._loop.time() + PROBE)
                with suppress(*DRIVER_ERRORS):
                    await link.connection.execute("ROLLBACK")
                raise
            self._start(link, limit)
            await link.connection.execute("COMMIT")
        return rows

    def _failed(self, link: Link, name: str, error: BaseException) -> ChatsysError:
        """Translate the failure of a statement, and apply its consequences to the other connections."""
        meaning = explained(link, error, self.address)
        if isinstance(meaning, ReadOnlyDatabase):
            self.pools.renounce()
            link.connection.terminate()
        elif lost(meaning, error) and link.generation == self.pools.generation:
            self.pools.lose()
        if isinstance(meaning, StoreError) and type(meaning) is not StoreError and not _own_fault(error):
            whole = isinstance(meaning, ReadOnlyDatabase | StoreUnavailable)
            self.pools.outages.failed("" if whole else name, meaning)
        return meaning

    def _limit(self) -> float:
        """The deadline of a call."""
        return DEADLINE.get() or self._loop.time() + self.pools.whole

    def _start(self, link: Link, limit: float, now: float | None = None) -> None:
        """Set the deadline of a statement: the usual limit or the call's limit, whichever is earlier.

        A call with an unusually late limit gives its statements all of that time.
        """
        if now is None:
            now = self._loop.time()
        usual = now + self.pools.statement
        link.due = limit if limit < usual or limit > now + self.pools.whole else usual
        if self._look is None:
            self._look = self._loop.call_later(LOOK, self._look_at_all)

    def _look_at_all(self) -> None:
        """End overdue statements and waits."""
        now = self._loop.time()
        busy = overdue = False
        self._apart = {link for link in self._apart if not link.connection.is_closed()}
        for link in self._links | self._apart:
            if link.due:
                busy = True
                if link.due <= now and not link.overdue:
                    overdue = True
                    link.expire()
        for waiter, limit in self._waiting:
            if limit <= now and not waiter.done():
                waiter.set_exception(self._too_late())
        while self._waiting and self._waiting[0][0].done():
            self._waiting.popleft()
        self._look = self._loop.call_later(LOOK, self._look_at_all) if busy or self._waiting else None
        if overdue:
            self.pools.suspect()

    def _too_late(self) -> StoreUnavailable:
        error = StoreUnavailable(
            f"No connection to the database on {self.address.host} was free in time.",
            hint="The database is slow or away, or DB_POOL_SIZE is too small.",
        )
        if not self._links:
            self.pools.outages.failed("", error)
        return error

    # -- lending connections

    async def _checkout(self, limit: float) -> Link:
        """An idle connection, a new one, or the next one that is returned."""
        while self._idle:
            link = self._idle.pop()
            if not link.connection.is_closed():
                return link
            self._forget(link)
        started = self._loop.time()
        waiter: asyncio.Future[Link] = self._loop.create_future()
        self._waiting.append((waiter, min(limit, started + self.pools.wait)))
        self._grow()
        if self._look is None:
            self._look = self._loop.call_later(LOOK, self._look_at_all)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._checkin(waiter.result())
            raise
        finally:
            self.pools.observe("pool_wait", self._loop.time() - started)

    def _checkin(self, link: Link) -> None:
        link.due = 0.0
        if self._closed or link.generation != self.pools.generation:
            link.connection.terminate()
        if link.connection.is_closed():
            self._forget(link)
            self._grow()
        elif self._waiting and (waiter := self._next_waiter()) is not None:
            waiter.set_result(link)
        else:
            self._idle.append(link)

    def _next_waiter(self) -> asyncio.Future[Link] | None:
        """Take the longest waiter from the queue; None if nobody waits."""
        while self._waiting:
            waiter, _ = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _forget(self, link: Link) -> None:
        self._links.discard(link)
        self._open -= 1

    def _grow(self) -> None:
        """Start opening a connection for each waiter, within ``size``."""
        while self._open < self._size and self._connecting < len(self._waiting) and not self._closed:
            if self._links and self._loop.time() < self._full_until:
                return  # the server has no slot left: waiters get the connections that are returned
            self._open += 1
            self._connecting += 1
            self._spawn(self._add())

    async def _add(self) -> None:
        """Open a connection for the longest waiter. If that fails, one waiter gets the error.

        An attempt from before the server ended connections says nothing about the server now, and is repeated.
        """
        generation, begun = self.pools.generation, time.monotonic()
        try:
            link = await self.pools.connector.connect(self._settings)
        except BaseException as error:
            self._connecting -= 1
            self._open -= 1
            if not isinstance(error, Exception):
                raise
            if begun > self.pools.lost_at:
                self._refused(error)
            else:
                self._grow()
            return
        self._connecting -= 1
        link.generation = generation
        self._links.add(link)
        self._checkin(link)

    def _refused(self, error: Exception) -> None:
        if isinstance(error, StoreError):
            self.pools.outages.failed("", error)
        if self._links and isinstance(error, TooManyConnections):
            self._full_until = self._loop.time() + FULL
            return
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_exception(error)
        self._grow()

    async def _probed(self, link: Link) -> None:
        try:
            with suppress(*DRIVER_ERRORS):
                await link.connection.execute("SELECT 1")
        finally:
            self._checkin(link)

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _discard(self, link: Link) -> None:
        await link.close()
        self._forget(link)

    @asynccontextmanager
    async def _explained(self, link: Link, limit: float) -> AsyncIterator[None]:
        self._start(link, limit)
        try:
            yield
        except DRIVER_ERRORS as error:
            raise self._failed(link, "transaction", error) from error


_LIMITS = ("statement_timeout", "lock_timeout", "synchronous_commit")


def _begin(settings: dict[str, str]) -> str:
    """The text that begins a transaction with these limits, in one round trip."""
    return "; ".join(["BEGIN", *(f"SET LOCAL {name} = '{settings[name]}'" for name in _LIMITS if name in settings)])


def _own_fault(error: BaseException) -> bool:
    """Whether the statement caused the error, not the database: it met a lock or ran too long."""
    return getattr(error, "sqlstate", None) in ("55P03", "57014", "40001", "40P01")
