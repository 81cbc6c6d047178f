"""PostgreSQL's NOTIFY: one channel for each server, on one connection that listens and notifies.

NOTIFY takes a lock of the whole database from its commit on, so one statement carries all that waits, and its
commit does not wait for the disk: a notification does not outlive a crash anyway. A payload is shorter than 8,000
bytes; a longer message goes in parts, each with its number after ``+``, or after ``.`` if it is the last. They come in
one transaction, so nothing of the same sender comes between them; of equal payloads in it only one would come. See https://www.postgresql.org/docs/current/sql-notify.html
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
"""Of a notification; PostgreSQL takes 7,999."""

PARTS_MOST = 100
"""Parts of one message that are put together."""

PART_DIGITS = 3

SENDERS_MOST = 100
"""Connections of others whose messages are put together at the same time."""


class NotifyBroker(Broker):
    """The PostgreSQL at ``url``, which is not PgBouncer in transaction mode."""

    name = "NOTIFY"
    rooms = False
    message_bytes = 7_600
    remedy = "Let DATABASE_URL lead to PostgreSQL without PgBouncer in transaction mode, or set CHATSYS_BUS_URL."

    def __init__(self, url: str, options: StoreOptions) -> None:
        self._pools = pools_to(url, options)

    @property
    def bouncer(self) -> bool:
        """Whether the URL names PgBouncer in transaction mode: nobody can listen through it."""
        return self._pools.address.bouncer

    async def living_servers(self, server: str) -> dict[str, datetime]:
        """The servers of this database other than ``server``, and until when they are taken to live."""
        pool = self._pools.pool(1)
        try:
            return {row[0]: row[1] for row in await pool.fetch("living_servers", server)}
        finally:
            await pool.close()
            self._pools.members.remove(pool)

    async def open(self, on_message: OnMessage, patience: float) -> Line:
        """A connection beyond the store's pool."""
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
        line = NotifyLine(self._pools.address, link, on_message, patience)
        await line.free_queue()
        return line


class NotifyLine(Line):
    """The connection of one :class:`NotifyBroker`. All waits are ended by ending the connection."""

    def __init__(self, address: Address, link: Link, on_message: OnMessage, patience: float) -> None:
        self._address = address
        self._link = link
        self._on_message = on_message
        self._patience = patience
        self._parts: dict[int, list[str]] = {}
        self._lost = asyncio.Event()
        self._turn = asyncio.Lock()
        link.connection.add_termination_listener(lambda _: self._lost.set())

    async def run(self) -> None:
        """asyncpg reads by itself; wait until the connection ends."""
        await self._lost.wait()
        raise ConnectionError("PostgreSQL ended the connection, or did not answer in time")

    async def free_queue(self) -> None:
        """Let PostgreSQL drop what every session has read: a queue that was full once stays so otherwise."""
        statement = await self._link.prepared(statements()["free_notify_queue"], bouncer=False)
        await self._within_patience(statement.fetch)

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """One statement."""
        pieces = [(_name(channel), piece) for channel, data in messages for piece in _pieces(data.decode())]
        await self._within_patience(lambda: self._notify([name for name, _ in pieces], [piece for _, piece in pieces]))

    async def subscribe(self, channels: Sequence[str]) -> None:
        """LISTEN."""
        for channel in channels:
            await self._within_patience(partial(self._link.connection.add_listener, _name(channel), self._notified))

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """UNLISTEN."""
        for channel in channels:
            await self._within_patience(partial(self._link.connection.remove_listener, _name(channel), self._notified))

    def abort(self) -> None:
        """End the connection."""
        self._link.connection.terminate()

    async def close(self) -> None:
        """It has ended."""

    async def _notify(self, names: list[str], pieces: list[str]) -> None:
        statement = await self._link.prepared(statements()["notify"], bouncer=False)
        await statement.fetch(names, pieces)

    async def _within_patience(self, work: Callable[[], Awaitable[object]]) -> None:
        """Cancelling would have asyncpg request the statement's end over yet another connection."""
        async with self._turn:
            limit = asyncio.get_running_loop().call_later(self._patience, self._link.expire)
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
            self._parts.clear()  # messages that are whole come at once
        parts = self._parts.setdefault(pid, [])
        parts.append(piece[1 + PART_DIGITS :])
        if piece[0] == "." or len(parts) >= PARTS_MOST:
            del self._parts[pid]
            self._on_message(channel, "".join(parts).encode())


def _name(channel: str) -> str:
    """A server's channel; an identifier of PostgreSQL has at most 63 bytes."""
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
        while end < len(data) and data[end] & 0xC0 == 0x80:  # not within a character
            end -= 1
        mark = "." if end == len(data) else "+"
        yield f"{mark}{number:0{PART_DIGITS}}{data[start:end].decode()}"
        start, number = end, number + 1
