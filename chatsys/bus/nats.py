"""NATS: one subject for each room and each server, on one connection. Verified against nats-py 2.16.

nats-py's own reconnection is off: it would come back without a word, and what was lost meanwhile would never be read.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit, urlunsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from chatsys.bus.contract import Broker, Line, OnMessage
from chatsys.errors import BusUnavailable

logging.getLogger("nats").setLevel(logging.CRITICAL)  # what it logs with a traceback the bus says in one line

_RIGHTS = "Let its user publish and subscribe to chatsys.> on the NATS server."
_REFUSED = ("permissions violation", "authorization violation", "authentication")

_closing: set[asyncio.Task[None]] = set()
"""Kept until they are done: the event loop alone would let the collector take them."""


class NatsBroker(Broker):
    """The NATS servers at ``url``, ``nats://`` or ``tls://``, several of one cluster with commas between them.

    User and password, or a token, stand in the URL; ``?ca=FILE`` names who signed the servers' certificates. Subjects
    begin with ``prefix``.
    """

    name = "NATS"
    rooms = True
    message_bytes = 64 * 1024
    remedy = "Check CHATSYS_BUS_URL and start the NATS server, or unset it to use PostgreSQL between servers."

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix

    async def open(self, on_message: OnMessage, patience: float) -> Line:
        """One connection."""
        line = NatsLine(self._prefix, on_message, patience)
        try:
            servers, tls = _servers(self._url)
        except (OSError, ValueError) as error:
            raise BusUnavailable(f"The URL of NATS can't be used: {error}.", hint=self.remedy) from error
        try:
            await line.connect(servers, tls)
        except BaseException:
            await line.close()
            raise
        return line


class NatsLine(Line):
    """The connection of one :class:`NatsBroker`."""

    def __init__(self, prefix: str, on_message: OnMessage, patience: float) -> None:
        self._prefix = prefix
        self._on_message = on_message
        self._patience = patience
        self._client = Client()
        self._subscriptions: dict[str, Subscription] = {}
        self._lost: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._last: BaseException | None = None

    async def connect(self, servers: list[str], tls: ssl.SSLContext | None) -> None:
        """Connect and log in."""
        try:
            await self._client.connect(
                servers,
                error_cb=self._failed,
                closed_cb=self._closed,
                allow_reconnect=False,
                connect_timeout=self._patience,  # type: ignore[arg-type]  # seconds, also fractions
                max_reconnect_attempts=0,
                ping_interval=3600,  # the bus has its own
                tls=tls,
                name="chatsys",
            )
        except (nats.errors.Error, OSError) as error:
            raise _explained(self._last or error) from error

    async def run(self) -> None:
        """nats-py reads by itself; wait until it stops."""
        reason = await self._lost
        raise _explained(reason)

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """All, then a ping: what comes before its pong has been taken."""
        async with asyncio.timeout(self._patience):
            for channel, data in messages:
                await self._client.publish(self._prefix + channel, data)
            await self._client.flush(self._patience)  # type: ignore[arg-type]

    async def subscribe(self, channels: Sequence[str]) -> None:
        """A subscription for each, then a ping."""
        async with asyncio.timeout(self._patience):
            for channel in channels:
                self._subscriptions[channel] = await self._client.subscribe(self._prefix + channel, cb=self._take)
            await self._client.flush(self._patience)  # type: ignore[arg-type]

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """Nobody waits for an answer."""
        async with asyncio.timeout(self._patience):
            for channel in channels:
                await self._subscriptions.pop(channel).unsubscribe()

    def abort(self) -> None:
        """Nothing that could not be cancelled."""

    async def close(self) -> None:
        """Close it. nats-py first waits for the server to take the rest, for as long as TCP does; nobody else need."""
        closing = asyncio.create_task(self._client.close())
        _closing.add(closing)
        closing.add_done_callback(_forget)
        await asyncio.wait([closing], timeout=self._patience)

    async def _take(self, message: Msg) -> None:
        self._on_message(message.subject.removeprefix(self._prefix), message.data)

    async def _failed(self, error: Exception) -> None:
        """What nats-py reports beside the calls: a slow consumer has lost messages, a right is missing."""
        self._last = error
        if isinstance(error, nats.errors.SlowConsumerError) or _is_refusal(error):
            self._end(error)

    async def _closed(self) -> None:
        self._end(self._last or ConnectionError("the connection was closed"))

    def _end(self, error: BaseException) -> None:
        if not self._lost.done():
            self._lost.set_result(error)


def _forget(closing: asyncio.Task[None]) -> None:
    _closing.discard(closing)
    if not closing.cancelled():
        closing.exception()


def _servers(url: str) -> tuple[list[str], ssl.SSLContext | None]:
    """The servers' URLs without what nats-py does not know, and how to check their certificates."""
    servers = []
    tls: ssl.SSLContext | None = None
    for each in url.split(","):
        parts = urlsplit(each)
        _ = parts.port
        if not parts.hostname:
            raise ValueError("it names no host")
        authority = parse_qs(parts.query).get("ca")
        if parts.scheme == "tls" or authority:
            tls = ssl.create_default_context(cafile=authority[0] if authority else None)
        servers.append(urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")))
    return servers, tls


def _is_refusal(error: BaseException) -> bool:
    return any(words in str(error).lower() for words in _REFUSED)


def _explained(error: BaseException) -> BaseException:
    """The error, or what to do where NATS has refused something."""
    if not _is_refusal(error):
        return error
    return BusUnavailable(f"NATS refuses this server: {error}.", hint=f"Check CHATSYS_BUS_URL. {_RIGHTS}")
