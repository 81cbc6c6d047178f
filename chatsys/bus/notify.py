"""PostgreSQL NOTIFY as a broker: one channel for each server, on one connection that listens and notifies.

The commit of a NOTIFY locks the whole database. So one statement sends all waiting messages, and its commit does not
wait for the disk: notifications do not survive a crash anyway.

A payload must be shorter than 8,000 bytes. A longer message is split into parts, each prefixed with ``+`` (the last
with ``.``) and its number. All parts are sent in one transaction, so other messages of the same sender do not come
between them. The numbers keep equal parts apart: PostgreSQL delivers equal payloads of a transaction only once. See
https://www.postgresql.org/docs/current/sql-notify.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from chatsys.bus.contract import Broker, Line, OnMessage
from chatsys.errors import BusUnavailable, StoreError, TooManyConnections
from chatsys.store.address import Address
from chatsys.store.options import StoreOptions
from chatsys.store.postgres.links import DRIVER_ERRORS, Link, explained
from chatsys.store.postgres.opening import pools_to
from chatsys.store.postgres.statements import statements

PAYLOAD_BYTES = 7_900
"""Maximum bytes of a payload; PostgreSQL allows 7,999."""

PARTS_MOST = 100
"""Maximum parts of one message."""

PART_DIGITS = 3

SENDERS_MOST = 100
"""Maximum senders with an incomplete message at the same time."""


class NotifyBroker(Broker):
    """The PostgreSQL server at ``url``. Unusable as a broker if ``bouncer`` is true."""

    name = "NOTIFY"
    rooms = False
    message_bytes = 7_600
    remedy = "Point DATABASE_URL at PostgreSQL instead of PgBouncer in transaction mode, or set CHATSYS_BUS_URL."

    def __init__(self, url: str, options: StoreOptions) -> None:
        self._pools = pools_to(url, options)

    @property
    def bouncer(self) -> bool:
        """Whether the URL names PgBouncer in transaction mode, which does not support LISTEN."""
        return self._pools.address.bouncer

    async def living_servers(self, server: str) -> dict[str, datetime]:
        """The ids of the other servers of this database, with the times at which their leases end."""
        pool = self._pools.pool(1)
        try:
            return {row[0]: row[1] for row in await pool.fetch("living_servers", server)}
        finally:
            await pool.close()
            self._pools.members.remove(pool)

    async def open(self, on_message: OnMessage, timeout: float) -> Line:
        """Open a connection in addition to the store's pool."""
        try:
            link = await self._pools.connector.connect({"synchronous_commit": "off"})
        except TooManyConnections as error:
            raise BusUnavailable(
                f"PostgreSQL has no connection left for the bus between servers: {error.message}",
                hint="Allow the role more than DB_POOL_SIZE + 3 connections (ALTER ROLE ... CONNECTION LIMIT, "
                "max_connections), or set CHATSYS_BUS_URL.",
            ) from error
        except StoreError as error:
            raise BusUnavailable(error.message, hint=error.hint) from error
        line = NotifyLine(self._pools.address, link, on_message, timeout)
        # Make PostgreSQL drop notifications that every session has read. Without this, a full queue stays full.
        await line.execute("free_notify_queue")
        return line


class NotifyLine(Line):
    """The connection of one :class:`NotifyBroker`. A timeout terminates the connection, which fails pending calls."""

    def __init__(self, address: Address, link: Link, on_message: OnMessage, timeout: float) -> None:
        self._address = address
        self._link = link
        self._on_message = on_message
        self._timeout = timeout
        self._parts: dict[int, list[str]] = {}
        self._lost = asyncio.Event()
        self._lock = asyncio.Lock()
        link.connection.add_termination_listener(lambda _: self._lost.set())

    async def run(self) -> None:
        """Wait until the connection ends; asyncpg reads in the background."""
        await self._lost.wait()
        raise ConnectionError("PostgreSQL ended the connection, or did not answer in time")

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send all messages in one statement."""
        pieces = [(_name(channel), piece) for channel, data in messages for piece in _pieces(data.decode())]
        await self.execute("notify", [name for name, _ in pieces], [piece for _, piece in pieces])

    async def subscribe(self, channels: Sequence[str]) -> None:
        """LISTEN on each channel."""
        for channel in channels:
            await self._with_timeout(partial(self._link.connection.add_listener, _name(channel), self._notified))

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """UNLISTEN each channel."""
        for channel in channels:
            await self._with_timeout(partial(self._link.connection.remove_listener, _name(channel), self._notified))

    def abort(self) -> None:
        """Terminate the connection."""
        self._link.connection.terminate()

    async def close(self) -> None:
        """Do nothing: the connection has ended."""

    async def execute(self, name: str, *arguments: object) -> None:
        """Run a statement of the store."""

        async def work() -> None:
            statement = await self._link.prepared(statements()[name], bouncer=False)
            await statement.fetch(*arguments)

        await self._with_timeout(work)

    async def _with_timeout(self, work: Callable[[], Awaitable[object]]) -> None:
        """Terminate the connection if ``work`` takes longer than the timeout.

        Cancelling ``work`` would make asyncpg open another connection to cancel the statement.
        """
        async with self._lock:
            limit = asyncio.get_running_loop().call_later(self._timeout, self._link.expire)
            try:
                await work()
            except DRIVER_ERRORS as error:
                raise explained(self._link, error, self._address) from error
            finally:
                limit.cancel()

    def _notified(self, _connection: Any, pid: int, name: str, payload: object) -> None:
        channel = _channel(name)
        piece = str(payload)
        if piece[:1] not in ("+", "."):
            self._on_message(channel, piece.encode())
            return
        if pid not in self._parts and len(self._parts) >= SENDERS_MOST:
            self._parts.clear()  # their senders have gone: the parts of a message arrive together
        parts = self._parts.setdefault(pid, [])
        parts.append(piece[1 + PART_DIGITS :])
        if piece[0] == "." or len(parts) >= PARTS_MOST:
            del self._parts[pid]
            self._on_message(channel, "".join(parts).encode())


def _name(channel: str) -> str:
    """The PostgreSQL name of a server's channel, without hyphens: identifiers have at most 63 bytes."""
    return "chatsys_" + channel.replace("-", "")


def _channel(name: str) -> str:
    bare = name.removeprefix("chatsys_")
    return "-".join((bare[:8], bare[8:12], bare[12:16], bare[16:20], bare[20:]))


def _pieces(message: str) -> Iterator[str]:
    data = message.encode()
    if len(data) <= PAYLOAD_BYTES:
        yield message
        return
    start = number = 0
    while start < len(data):
        end = min(start + PAYLOAD_BYTES - 1 - PART_DIGITS, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # do not split a character
            end -= 1
        prefix = "." if end == len(data) else "+"
        yield f"{prefix}{number:0{PART_DIGITS}}{data[start:end].decode()}"
        start, number = end, number + 1
