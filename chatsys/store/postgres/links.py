"""One connection to the database: how it is opened, and the statements that are prepared on it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from chatsys.errors import ChatsysError, DatabaseSilent, StoreUnavailable
from chatsys.store.address import Address, HostAndPort
from chatsys.store.postgres.mapping import translated
from chatsys.store.postgres.statements import Statement

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""A TimeoutError is an OSError."""
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}


class Link:
    """One connection. ``due`` is the deadline of its running statement, 0 if none runs."""

    __slots__ = ("_number", "_prepared", "_setting", "connection", "due", "generation", "overdue")

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self.connection = connection
        self.due = 0.0
        self.overdue = False
        self.generation = 0
        # Called directly: a normal attribute look-up fails first, which takes longer than the rest of a check.
        self._setting = connection.get_settings().__getattr__
        self._number = 0
        self._prepared: dict[str, PreparedStatement[asyncpg.Record]] = {}

    @property
    def standby(self) -> bool:
        """True if the server was a standby when it accepted this connection."""
        return self._is_on("in_hot_standby")

    @property
    def read_only(self) -> bool:
        """True once the server has reported that it accepts no writes. Servers send this report with any answer."""
        return self._is_on("default_transaction_read_only")

    def _is_on(self, setting: str) -> bool:
        try:
            return bool(self._setting(setting) == "on")
        except AttributeError:  # PostgreSQL 13 and older, and some poolers, do not report it
            return False

    async def prepared(self, statement: Statement, bouncer: bool) -> PreparedStatement[asyncpg.Record]:
        """The statement, prepared on this connection.

        An unnamed statement is parsed, bound and executed in one round trip each time. It is for PgBouncer, where the
        next transaction may run on another server connection, and for plans that depend on the arguments.
        """
        found = self._prepared.get(statement.name)
        if found is None:
            # Numbered, because a call that was cancelled while preparing may have used the name on the server.
            self._number += 1
            name = "" if bouncer or statement.custom_plan else f"chatsys_{self._number}_{statement.name}"
            found = self._prepared[statement.name] = await self.connection.prepare(statement.text, name=name)
        return found

    def expire(self) -> None:
        """Abandon the running statement. Its caller gets an error now, whatever the server does."""
        self.overdue = True
        self.connection.terminate()

    async def close(self) -> None:
        """Close the connection; end it if that fails, or takes longer than a second."""
        try:
            await self.connection.close(timeout=1)
        except DRIVER_ERRORS:
            self.connection.terminate()


class Connector:
    """Opens connections to the first endpoint of an address that accepts writes, beginning with the last one that did.

    ``timeout`` is in seconds, for all endpoints together.
    """

    def __init__(self, address: Address, settings: dict[str, str], timeout: float) -> None:
        self.address = address
        self.timeout = timeout
        self.settings = settings
        self._first = 0

    async def connect(self, settings: dict[str, str] | None = None) -> Link:
        """Open a connection with additional session settings. Raises the StoreError that says why it failed."""
        endpoints = self.address.endpoints
        error: ChatsysError | None = None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout
        for attempt in range(len(endpoints)):
            index = (self._first + attempt) % len(endpoints)
            seconds = (deadline - loop.time()) / (len(endpoints) - attempt)
            try:
                link = await self._connect(endpoints[index], {**self.settings, **(settings or {})}, seconds)
            except ChatsysError as failure:
                error = failure
                continue
            if not (link.standby or link.read_only):
                self._first = index
                return link
            link.connection.terminate()
            error = translated(asyncpg.ReadOnlySQLTransactionError("read-only"), self.address)
        assert error is not None
        raise error

    async def _connect(self, endpoint: HostAndPort | None, settings: dict[str, str], seconds: float) -> Link:
        try:
            connection = await asyncpg.connect(
                self.address.asyncpg,
                host=endpoint.host if endpoint is not None else None,
                port=endpoint.port if endpoint is not None else None,
                timeout=seconds,
                statement_cache_size=0,  # each Link has its own
                server_settings=None if self.address.bouncer else settings,  # behind PgBouncer, none stays in effect
                connection_class=_KeptAlive,
            )
        except DRIVER_ERRORS as error:
            if isinstance(error, asyncpg.ProtocolViolationError) and "unsupported startup parameter" in str(error):
                raise StoreUnavailable(
                    "PgBouncer answers at the database's address and refuses session settings.",
                    hint="Add pgbouncer=true to DATABASE_URL.",
                ) from error
            raise translated(error, self.address) from error
        except ValueError as error:
            raise translated(asyncpg.InterfaceError(str(error)), self.address) from error
        return Link(connection)


def explained(link: Link, error: BaseException, address: Address) -> ChatsysError:
    """The chatsys error for a driver's error on ``link``. Closes the connection if the driver has lost its state.

    That happens if the server closes a connection, and asyncpg starts something on it before it notices.
    """
    if link.overdue:
        return DatabaseSilent(
            f"The database on {address.host} did not answer in time.",
            hint="Check the server and the network; CHATSYS_STATEMENT_TIMEOUT raises the limit.",
        )
    if isinstance(error, asyncpg.InternalClientError):
        link.connection.terminate()
    return translated(error, address)


def lost(meaning: ChatsysError, error: BaseException | None) -> bool:
    """True if the driver's ``error`` means that a connection ended, and not that the database is slow or busy."""
    return isinstance(error, _LOST) and not isinstance(meaning, DatabaseSilent)


_LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError,
         asyncpg.AdminShutdownError, OSError)  # fmt: skip


class _KeptAlive(asyncpg.Connection):
    """A connection with TCP keepalive. Without it, a vanished peer is noticed after two hours, the system's default."""

    __slots__ = ()

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        peer: Any = transport.get_extra_info("socket")
        if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
            return
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):  # Linux has all of them
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
