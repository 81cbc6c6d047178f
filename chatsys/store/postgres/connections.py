"""A lean pool of asyncpg connections, each with its own prepared statements.

asyncpg's own pool sends a reset query at each release, a second round trip for a verb that should cost one, and wraps
each call in a proxy. Nothing here changes a session's state, so there is nothing to reset. Read: asyncpg 0.32.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from chatsys.errors import ChatsysError, StoreUnavailable
from chatsys.store.postgres.address import Address, connect_arguments
from chatsys.store.postgres.mapping import translated
from chatsys.store.postgres.statements import Statement, statements

DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    asyncio.TimeoutError,
)
Observe = Callable[[str, float], None]
"""Told a measure's name and value: ``statement`` 1, ``pool_wait`` seconds, ``flush_rows`` rows, ``flush`` seconds."""

_STALE_PLAN = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}


class Link:
    """One connection and the statements that were prepared on it."""

    __slots__ = ("_number", "_prepared", "connection")

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self.connection = connection
        self._number = 0
        self._prepared: dict[str, PreparedStatement[asyncpg.Record]] = {}

    async def prepared(self, statement: Statement, bouncer: bool) -> PreparedStatement[asyncpg.Record]:
        """The statement on this connection.

        One without a name is parsed, bound and executed in a single round trip each time: for PgBouncer, where the
        next transaction may run on another server connection, and for plans made with the arguments in view.
        """
        found = self._prepared.get(statement.name)
        if found is None:
            # Numbered: when a caller is cancelled while it prepares, the server may have taken the name all the same.
            self._number += 1
            name = "" if bouncer or statement.custom_plan else f"chatsys_{self._number}_{statement.name}"
            found = self._prepared[statement.name] = await self.connection.prepare(statement.text, name=name)
        return found


class Connections:
    """At most ``size`` connections, made when they are needed; the one that was used last is used first."""

    def __init__(
        self, address: Address, *, size: int, settings: dict[str, str], timeout: float, observe: Observe
    ) -> None:
        self.address = address
        self._size = size
        self._arguments = connect_arguments(address, settings, timeout)
        self._timeout = timeout
        self._observe = observe
        self._open = 0
        self._idle: list[Link] = []
        self._waiting: deque[asyncio.Future[Link | None]] = deque()
        self._closed = False

    async def fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement that reads. A connection that turns out to be dead is replaced once."""
        try:
            return await self.write(name, *arguments)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, _LOST):
                raise
        self._drop_idle()  # what ended one connection has most likely ended the others
        return await self.write(name, *arguments)

    async def write(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement that is executed at most once."""
        link = await self._checkout() if not self._idle or self._idle[-1].connection.is_closed() else self._idle.pop()
        try:
            return await self._run(link, name, arguments)
        finally:
            self._checkin(link)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Callable[..., Any]]:
        """Several statements as one transaction: yields a function like :meth:`write`."""
        link = await self._checkout() if not self._idle or self._idle[-1].connection.is_closed() else self._idle.pop()
        try:
            async with self._explained(link), link.connection.transaction():
                yield lambda name, *arguments: self._run(link, name, arguments)
        finally:
            self._checkin(link)

    async def dedicated(self) -> Link:
        """A connection beyond the pool, for what lasts as long as a session: locks and LISTEN. The caller closes it."""
        return await self._connect()

    async def close(self) -> None:
        """Close the idle connections; one that is in use is closed when it comes back."""
        self._closed = True
        while self._idle:
            await self._discard(self._idle.pop())

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().connection.terminate()
            self._open -= 1

    async def _run(self, link: Link, name: str, arguments: tuple[Any, ...]) -> list[asyncpg.Record]:
        self._observe("statement", 1)
        statement = statements()[name]
        try:
            prepared = await link.prepared(statement, self.address.bouncer)
            return await prepared.fetch(*arguments)
        except _STALE_PLAN as error:
            link.connection.terminate()  # a migration changed a table: the next connection plans anew
            raise StoreUnavailable("The database's schema changed just now.", hint="Try again.") from error
        except DRIVER_ERRORS as error:
            raise explained(link, error, self.address) from error

    async def _checkout(self) -> Link:
        """An open connection, a new one, or the next that is given back."""
        started = time.perf_counter()
        while True:
            while self._idle:
                link = self._idle.pop()
                if not link.connection.is_closed():
                    return link
                self._open -= 1
            if self._open < self._size:
                self._open += 1
                try:
                    return await self._connect()
                except BaseException:
                    self._open -= 1
                    self._wake(None)
                    raise
            waiter: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                given = await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._pass_on(waiter.result())
                raise
            finally:
                self._observe("pool_wait", time.perf_counter() - started)
            if given is not None:
                return given

    def _checkin(self, link: Link) -> None:
        if self._closed:
            link.connection.terminate()
        if link.connection.is_closed():
            self._open -= 1
            self._wake(None)
        else:
            self._pass_on(link)

    def _pass_on(self, link: Link | None) -> None:
        if not self._wake(link) and link is not None:
            self._idle.append(link)

    def _wake(self, link: Link | None) -> bool:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(link)
                return True
        return False

    async def _connect(self) -> Link:
        try:
            connection = await asyncpg.connect(**self._arguments, connection_class=_KeptAlive)
        except asyncpg.ProtocolViolationError as error:
            if "unsupported startup parameter" not in str(error):
                raise translated(error, self.address) from error
            raise _behind_a_bouncer() from error
        except DRIVER_ERRORS as error:
            raise translated(error, self.address) from error
        except ValueError as error:
            raise translated(asyncpg.InterfaceError(str(error)), self.address) from error
        return Link(connection)

    async def _discard(self, link: Link) -> None:
        try:
            await link.connection.close(timeout=self._timeout)
        except DRIVER_ERRORS:
            link.connection.terminate()

    @asynccontextmanager
    async def _explained(self, link: Link) -> AsyncIterator[None]:
        try:
            yield
        except DRIVER_ERRORS as error:
            raise explained(link, error, self.address) from error


_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    OSError,
)


def explained(link: Link, error: BaseException, address: Address) -> ChatsysError:
    """What a driver's error on ``link`` means; a connection whose state the driver has lost is ended.

    That happens when the server ends a connection and asyncpg, which has not seen it yet, begins something on it.
    """
    if isinstance(error, asyncpg.InternalClientError):
        link.connection.terminate()
    return translated(error, address)


def _behind_a_bouncer() -> ChatsysError:
    return StoreUnavailable(
        "PgBouncer answers at the database's address and refuses session settings.",
        hint="Add pgbouncer=true to DATABASE_URL.",
    )


class _KeptAlive(asyncpg.Connection):  # type: ignore[type-arg]  # generic in its stubs alone
    """Notices a peer that vanished without a word; asyncpg leaves this to the operating system's two hours."""

    __slots__ = ()

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        _keep_alive(transport)


def _keep_alive(transport: asyncio.Transport) -> None:
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):  # Linux has all of them
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
