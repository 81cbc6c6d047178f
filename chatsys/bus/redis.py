"""Redis: one channel for each room and each server, on two connections, one to publish and one to subscribe.

Verified against redis-py 8.1: from 8.0 on a client has timeouts of its own, so each one is given here.
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

_RIGHTS = "Give its user the channels: ACL SETUSER name &chatsys.*, and +publish +subscribe +unsubscribe."


class RedisBroker(Broker):
    """The Redis at ``url`` (``redis://``, ``rediss://`` or ``unix://``); its channels begin with ``prefix``."""

    name = "Redis"
    rooms = True
    message_bytes = 64 * 1024
    remedy = "Check CHATSYS_BUS_URL (or REDIS_URL) and start it, or unset it to use PostgreSQL between servers."

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix

    async def open(self, on_message: OnMessage, patience: float) -> Line:
        """Two connections."""
        try:
            options = _options(self._url, patience)
            named = {"ssl_check_hostname": True} if self._url.startswith("rediss:") else {}  # before 6.0 it was not
            pool = ConnectionPool.from_url(self._url, **named, **options)
            pool.connection_kwargs.update(options)  # over what the URL says
        except ValueError as error:
            raise BusUnavailable(f"The URL of Redis can't be read: {error}.", hint=self.remedy) from error
        line = RedisLine(_made(pool), _made(pool), self._prefix, on_message, patience)
        try:
            await line.connect()
        except BaseException:
            await line.close()
            raise
        return line


class RedisLine(Line):
    """The connections of one :class:`RedisBroker`."""

    def __init__(
        self, publisher: Connection, subscriber: Connection, prefix: str, on_message: OnMessage, patience: float
    ) -> None:
        self._publisher = publisher
        self._subscriber = subscriber
        self._prefix = prefix
        self._on_message = on_message
        self._patience = patience
        self._expected: dict[bytes, asyncio.Event] = {}

    async def connect(self) -> None:
        """Connect and log in, both."""
        try:
            await self._publisher.connect()  # type: ignore[no-untyped-call]
            await self._subscriber.connect()  # type: ignore[no-untyped-call]
        except exceptions.AuthenticationError as error:
            raise BusUnavailable(
                f"Redis refuses the user or the password of its URL: {error}.", hint="Check CHATSYS_BUS_URL."
            ) from error

    async def run(self) -> None:
        """Read what Redis pushes. Broken RESP raises whatever redis-py makes of it."""
        while True:
            try:
                reply = await self._subscriber.read_response()
            except exceptions.NoPermissionError as error:
                raise BusUnavailable(f"Redis does not let this server subscribe: {error}.", hint=_RIGHTS) from error
            kind, channel, data = reply
            if kind == b"message":
                self._on_message(channel.decode("ascii", "replace").removeprefix(self._prefix), data)
            elif kind == b"subscribe" and channel in self._expected:
                self._expected.pop(channel).set()

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """One pipeline."""
        commands = [("PUBLISH", self._prefix + channel, data) for channel, data in messages]
        async with asyncio.timeout(self._patience):
            await self._publisher.send_packed_command(self._publisher.pack_commands(commands))
            for _ in commands:
                try:
                    await self._publisher.read_response()
                except exceptions.NoPermissionError as error:
                    raise BusUnavailable(f"Redis does not let this server publish: {error}.", hint=_RIGHTS) from error

    async def subscribe(self, channels: Sequence[str]) -> None:
        """One command, and the answer for each channel, which ``run`` reads."""
        names = [self._prefix + channel for channel in channels]
        answers = [self._expected.setdefault(name.encode(), asyncio.Event()) for name in names]
        async with asyncio.timeout(self._patience):
            await self._subscriber.send_command("SUBSCRIBE", *names)
            for answer in answers:
                await answer.wait()

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """One command; nobody waits for its answer."""
        async with asyncio.timeout(self._patience):
            await self._subscriber.send_command("UNSUBSCRIBE", *[self._prefix + channel for channel in channels])

    def abort(self) -> None:
        """Nothing that could not be cancelled."""

    async def close(self) -> None:
        """Close both without waiting for what was not sent."""
        await self._publisher.disconnect(nowait=True)
        await self._subscriber.disconnect(nowait=True)


def _made(pool: ConnectionPool) -> Connection:
    connection: Connection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection


def _options(url: str, patience: float) -> dict[str, Any]:
    """How redis-py connects. ``socket_timeout`` None: reading waits for ever, and each wait has a limit of its own."""
    options: dict[str, Any] = {
        "socket_timeout": None,
        "socket_connect_timeout": patience,
        "health_check_interval": 0,
        "retry_on_timeout": False,
        "protocol": 2,
        "decode_responses": False,
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # what could not be sent must not keep a closed connection
            options["socket_keepalive_options"] = {socket.TCP_USER_TIMEOUT: round(3000 * patience)}
    return options
