"""Redis as a broker: one channel for each room and each server; one connection publishes, another one subscribes.

Verified against redis-py 8.1. Since 8.0 its timeouts have defaults, so this module sets each of them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from redis import exceptions
from redis.asyncio import Connection, ConnectionPool

from chatsys.bus.contract import Broker, Line, OnMessage
from chatsys.errors import BusUnavailable

_RIGHTS = "Grant its user the permissions: ACL SETUSER name &chatsys.* +publish +subscribe +unsubscribe."


class RedisBroker(Broker):
    """The Redis server at ``url`` (``redis://``, ``rediss://`` or ``unix://``). Channels begin with ``prefix``."""

    name = "Redis"
    rooms = True
    message_bytes = 64 * 1024
    remedy = "Check CHATSYS_BUS_URL (or REDIS_URL) and start Redis, or unset it to use PostgreSQL between servers."

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix

    async def open(self, on_message: OnMessage, timeout: float) -> Line:
        """Open two connections."""
        try:
            options = _options(self._url, timeout)
            named = {"ssl_check_hostname": True} if self._url.startswith("rediss:") else {}  # off before 6.0
            pool = ConnectionPool.from_url(self._url, **named, **options)
            pool.connection_kwargs.update(options)  # override what the URL says
        except ValueError as error:
            raise BusUnavailable(f"The URL of Redis is invalid: {error}.", hint=self.remedy) from error
        line = RedisLine(_made(pool), _made(pool), self._prefix, on_message, timeout)
        try:
            await line.connect()
        except BaseException:
            await line.close()
            raise
        return line


class RedisLine(Line):
    """The connections of one :class:`RedisBroker`."""

    def __init__(
        self, publisher: Connection, subscriber: Connection, prefix: str, on_message: OnMessage, timeout: float
    ) -> None:
        self._publisher = publisher
        self._subscriber = subscriber
        self._prefix = prefix
        self._on_message = on_message
        self._timeout = timeout
        self._expected: dict[bytes, asyncio.Event] = {}

    async def connect(self) -> None:
        """Open and authenticate both connections."""
        try:
            await self._publisher.connect()  # type: ignore[no-untyped-call]
            await self._subscriber.connect()  # type: ignore[no-untyped-call]
        except exceptions.AuthenticationError as error:
            raise BusUnavailable(
                f"Redis refuses the user or the password of its URL: {error}.", hint="Check CHATSYS_BUS_URL."
            ) from error

    async def run(self) -> None:
        """Read what Redis pushes. Malformed RESP raises an error of redis-py."""
        while True:
            kind, channel, data = await _answer(self._subscriber, "subscribing")
            if kind == b"message":
                self._on_message(channel.decode("ascii", "replace").removeprefix(self._prefix), data)
            elif kind == b"subscribe" and channel in self._expected:
                self._expected.pop(channel).set()

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish all messages in one pipeline."""
        commands = [("PUBLISH", self._prefix + channel, data) for channel, data in messages]
        async with asyncio.timeout(self._timeout):
            await self._publisher.send_packed_command(self._publisher.pack_commands(commands))
            for _ in commands:
                await _answer(self._publisher, "publishing")

    async def subscribe(self, channels: Sequence[str]) -> None:
        """Send one command and wait for the reply for each channel, which ``run`` reads."""
        names = [self._prefix + channel for channel in channels]
        answers = [self._expected.setdefault(name.encode(), asyncio.Event()) for name in names]
        async with asyncio.timeout(self._timeout):
            await self._subscriber.send_command("SUBSCRIBE", *names)
            for answer in answers:
                await answer.wait()

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """Send one command without waiting for its replies."""
        async with asyncio.timeout(self._timeout):
            await self._subscriber.send_command("UNSUBSCRIBE", *[self._prefix + channel for channel in channels])

    def abort(self) -> None:
        """Do nothing: cancelling ends every pending call."""

    async def close(self) -> None:
        """Close both connections without sending what is still buffered."""
        await self._publisher.disconnect(nowait=True)
        await self._subscriber.disconnect(nowait=True)


def _made(pool: ConnectionPool) -> Connection:
    connection: Connection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection


async def _answer(connection: Connection, doing: str) -> Any:
    try:
        return await connection.read_response()
    except exceptions.NoPermissionError as error:
        raise BusUnavailable(f"Redis does not permit {doing}: {error}.", hint=_RIGHTS) from error


def _options(url: str, timeout: float) -> dict[str, Any]:
    """Options for redis-py. No ``socket_timeout``, as ``run`` waits forever; other calls have their own timeout."""
    options: dict[str, Any] = {
        "socket_timeout": None,
        "socket_connect_timeout": timeout,
        "health_check_interval": 0,
        "retry_on_timeout": False,
        "protocol": 2,
        "decode_responses": False,
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # unacknowledged data must not keep a dead connection
            options["socket_keepalive_options"] = {socket.TCP_USER_TIMEOUT: round(3000 * timeout)}
    return options
