"""NATS: one subject for each room and each server, on one connection. Verified against nats-py 2.16.

nats-py's own reconnection is off: it would come back without a word, and what was lost meanwhile would never be read.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from chatsys.bus.contract import Broker, Line, OnMessage
from chatsys.errors import BusUnavailable

logging.getLogger("nats").setLevel(logging.CRITICAL)  # what it logs with a traceback the bus says in one line

_RIGHTS = "Let its user publish and subscribe to chatsys.> on the NATS server."
_REFUSED = ("permissions violation", "authorization violation", "authentication")

CLOSE_WAIT, CLOSE_MOST = 0.2, 30.0
"""Seconds that the bus waits for the end of a connection, and after which nobody does."""

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
        """One connection, to the first server of the cluster that takes it; they are tried in random order."""
        try:
            servers = [_server(url) for url in self._url.split(",")]
        except (OSError, ValueError) as error:
            raise BusUnavailable(f"The URL of NATS can't be used: {error}.", hint=self.remedy) from error
        failures: list[Exception] = []
        for server in random.sample(servers, len(servers)):
            line = NatsLine(self._prefix, on_message, patience)
            try:
                await line.connect(server, patience / len(servers))
            except BaseException as error:
                await line.close()
                if not isinstance(error, Exception):
                    raise
                failures.append(error)
            else:
                return line
        raise failures[-1]


class _EncryptionContext(ssl.SSLContext):
    """Checks certificates, and knows whether a handshake was begun with it."""

    used = False

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a handshake."""
        self.used = True
        return super().wrap_bio(*arguments, **options)


class _Server(NamedTuple):
    """``url`` without ``user`` and ``password``, or ``token``; ``tls`` if the connection must be encrypted."""

    url: str
    user: str | None
    password: str | None
    token: str | None
    tls: _EncryptionContext | None

    def require_encryption(self) -> None:
        """Raise SecureConnRequiredError if the server did not begin TLS: it chooses, in its first line."""
        if self.tls is not None and not self.tls.used:
            raise nats.errors.SecureConnRequiredError

    def secret(self, text: str | None) -> Callable[[], str] | None:
        """A text for nats-py, which fetches it when it logs in, and gets it over an encrypted connection alone."""
        if text is None:
            return None

        def fetch() -> str:
            self.require_encryption()
            return text

        return fetch


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
        self._connected = False

    async def connect(self, server: _Server, within: float) -> None:
        """Connect and log in, each step within so many seconds."""
        try:
            await self._client.connect(
                [server.url],
                user=server.secret(server.user),
                password=server.secret(server.password),
                token=server.secret(server.token),
                error_cb=self._failed,
                closed_cb=self._closed,
                allow_reconnect=False,
                connect_timeout=within,  # type: ignore[arg-type]  # seconds, also fractions
                ping_interval=3600,  # the bus has its own
                tls=server.tls,
                name="chatsys",
            )
            self._connected = True
            server.require_encryption()
        except nats.errors.SecureConnRequiredError as error:
            raise BusUnavailable(
                "The NATS server does not use TLS, and its URL asks for it.",
                hint="Let the server use TLS, or write nats:// in CHATSYS_BUS_URL.",
            ) from error
        except (nats.errors.Error, OSError) as error:
            raise _explained(self._last or error) from error

    async def run(self) -> None:
        """nats-py reads by itself; wait until it stops."""
        reason = await self._lost
        raise _explained(reason)

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """All, and wait until the server has taken them."""
        async with asyncio.timeout(self._patience):
            for channel, data in messages:
                await self._client.publish(self._prefix + channel, data)
            await self._processed()

    async def subscribe(self, channels: Sequence[str]) -> None:
        """A subscription for each, and wait until the server knows them."""
        async with asyncio.timeout(self._patience):
            for channel in channels:
                self._subscriptions[channel] = await self._client.subscribe(self._prefix + channel, cb=self._take)
            await self._processed()

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """Nobody waits for an answer."""
        async with asyncio.timeout(self._patience):
            for channel in channels:
                await self._subscriptions.pop(channel).unsubscribe()

    def abort(self) -> None:
        """Nothing that could not be cancelled."""

    async def close(self) -> None:
        """Close it. nats-py waits for the server to take the rest, and for ever after a failed handshake."""
        closing = asyncio.create_task(asyncio.wait_for(self._client.close(), CLOSE_MOST))
        _closing.add(closing)
        closing.add_done_callback(_forget)
        await asyncio.wait([closing], timeout=min(CLOSE_WAIT, self._patience))

    async def _processed(self) -> None:
        """Wait for the pong of a ping that went behind all commands.

        ``flush`` writes its ping at once, commands wait for a task of nats-py (2.16): the first ping overtakes them.
        When its pong is there, that task has written them, and the second ping follows them.
        """
        for _ in range(2):
            await self._client.flush(self._patience)  # type: ignore[arg-type]

    async def _take(self, message: Msg) -> None:
        self._on_message(message.subject.removeprefix(self._prefix), message.data)

    async def _failed(self, error: Exception) -> None:
        """What nats-py reports beside the calls: a slow consumer has lost messages, a right is missing.

        While it connects, raising ends it: else it would try the same server again every two seconds.
        """
        self._last = error
        if not self._connected:
            raise error
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


def _server(url: str) -> _Server:
    """Read one server's URL. Raises ValueError, or OSError for the file of the authorities."""
    parts = urlsplit(url)
    _ = parts.port
    if not parts.hostname:
        raise ValueError("it names no host")
    user, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
    authority = parse_qs(parts.query).get("ca", [None])[0]
    return _Server(
        url=urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")),
        user=None if password is None else user,
        password=password,
        token=user if password is None else None,
        tls=_encryption(authority) if parts.scheme == "tls" or authority else None,
    )


def _encryption(authority: str | None) -> _EncryptionContext:
    context = _EncryptionContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(authority)
    return context


def _is_refusal(error: BaseException) -> bool:
    return any(words in str(error).lower() for words in _REFUSED)


def _explained(error: BaseException) -> BaseException:
    """The error, or what to do where NATS has refused something."""
    if not _is_refusal(error):
        return error
    return BusUnavailable(f"NATS refuses this server: {error}.", hint=f"Check CHATSYS_BUS_URL. {_RIGHTS}")
