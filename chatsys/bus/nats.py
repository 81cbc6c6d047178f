"""NATS: one subject for each room and each server, on one connection. Verified against nats-py 2.16.

nats-py's own reconnection is off: the bus would not notice it, and would never read what was lost meanwhile.
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

logging.getLogger("nats").setLevel(logging.CRITICAL)  # the bus logs the same errors in one line

_RIGHTS = "Allow its user to publish and subscribe to chatsys.> on the NATS server."
_REFUSED = ("permissions violation", "authorization violation", "authentication")

CLOSE_WAIT, CLOSE_MOST = 0.2, 30.0
"""Seconds that the bus waits while a connection closes, and seconds after which closing is abandoned."""

_closing: set[asyncio.Task[None]] = set()
"""References to running tasks: the event loop keeps only weak ones."""


class NatsBroker(Broker):
    """The NATS servers at ``url`` (``nats://`` or ``tls://``); commas separate several servers of one cluster.

    The URL may contain user and password, or a token. ``?ca=FILE`` names the certificate authority of the servers.
    Subjects begin with ``prefix``.
    """

    name = "NATS"
    rooms = True
    message_bytes = 64 * 1024
    remedy = "Check CHATSYS_BUS_URL and start the NATS server, or unset it to use PostgreSQL between servers."

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix

    async def open(self, on_message: OnMessage, timeout: float) -> Line:
        """Try the servers in random order, and connect to the first that accepts."""
        try:
            servers = [_server(url) for url in self._url.split(",")]
        except (OSError, ValueError) as error:
            raise BusUnavailable(f"The URL of NATS can't be used: {error}.", hint=self.remedy) from error
        failures: list[Exception] = []
        for server in random.sample(servers, len(servers)):
            line = NatsLine(self._prefix, on_message, timeout)
            try:
                await line.connect(server, timeout / len(servers))
            except BaseException as error:
                await line.close()
                if not isinstance(error, Exception):
                    raise
                failures.append(error)
            else:
                return line
        raise failures[-1]


class _EncryptionContext(ssl.SSLContext):
    """A TLS context; ``used`` tells whether a handshake was begun with it."""

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
        """Raise SecureConnRequiredError if TLS is required but the server did not start it.

        In NATS, the server's first line decides whether the connection uses TLS.
        """
        if self.tls is not None and not self.tls.used:
            raise nats.errors.SecureConnRequiredError

    def secret(self, text: str | None) -> Callable[[], str] | None:
        """A callback that nats-py calls to log in. It refuses to return ``text`` over a connection without TLS."""
        if text is None:
            return None

        def fetch() -> str:
            self.require_encryption()
            return text

        return fetch


class NatsLine(Line):
    """The connection of one :class:`NatsBroker`."""

    def __init__(self, prefix: str, on_message: OnMessage, timeout: float) -> None:
        self._prefix = prefix
        self._on_message = on_message
        self._timeout = timeout
        self._client = Client()
        self._subscriptions: dict[str, Subscription] = {}
        self._lost: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._last: BaseException | None = None
        self._connected = False

    async def connect(self, server: _Server, within: float) -> None:
        """Connect and log in, each step within ``within`` seconds."""
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
                ping_interval=3600,  # the bus sends its own tokens
                tls=server.tls,
                name="chatsys",
            )
            self._connected = True
            server.require_encryption()
        except nats.errors.SecureConnRequiredError as error:
            raise BusUnavailable(
                "The NATS server does not use TLS, but its URL requires it.",
                hint="Enable TLS on the NATS server, or write nats:// in CHATSYS_BUS_URL.",
            ) from error
        except (nats.errors.Error, OSError) as error:
            raise _explained(self._last or error) from error

    async def run(self) -> None:
        """nats-py reads by itself; wait until it stops."""
        raise _explained(await self._lost)

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish all messages and wait until the server has processed them."""
        async with asyncio.timeout(self._timeout):
            for channel, data in messages:
                await self._client.publish(self._prefix + channel, data)
            await self._processed()

    async def subscribe(self, channels: Sequence[str]) -> None:
        """Subscribe to each channel and wait until the server has processed the commands."""
        async with asyncio.timeout(self._timeout):
            for channel in channels:
                self._subscriptions[channel] = await self._client.subscribe(self._prefix + channel, cb=self._take)
            await self._processed()

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """Unsubscribe without waiting for the server."""
        async with asyncio.timeout(self._timeout):
            for channel in channels:
                await self._subscriptions.pop(channel).unsubscribe()

    def abort(self) -> None:
        """Do nothing: cancelling ends every pending call."""

    async def close(self) -> None:
        """Close, and stop waiting after ``CLOSE_WAIT``.

        nats-py waits until the server has read everything; after a failed handshake, it waits forever.
        """
        closing = asyncio.create_task(asyncio.wait_for(self._client.close(), CLOSE_MOST))
        _closing.add(closing)
        closing.add_done_callback(_forget)
        await asyncio.wait([closing], timeout=min(CLOSE_WAIT, self._timeout))

    async def _processed(self) -> None:
        """Wait until the server has processed all commands sent so far.

        In nats-py 2.16 a background task writes commands, but ``flush`` writes its ping immediately, so the first ping
        overtakes them. Once its pong has arrived, the commands are written, and the second ping follows them.
        """
        for _ in range(2):
            await self._client.flush(self._timeout)  # type: ignore[arg-type]

    async def _take(self, message: Msg) -> None:
        self._on_message(message.subject.removeprefix(self._prefix), message.data)

    async def _failed(self, error: Exception) -> None:
        """nats-py reports an error in the background, such as lost messages or a missing permission.

        Raising during ``connect`` makes it fail. Otherwise nats-py would retry the same server every two seconds.
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
    """Parse one server's URL. Raises ValueError, or OSError if the file of the certificate authority can't be read."""
    parts = urlsplit(url)
    _ = parts.port  # raises ValueError if it is not a number
    if not parts.hostname:
        raise ValueError("it has no host name")
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
    """The error itself, or a BusUnavailable with a hint if NATS refused the login or a permission."""
    if not _is_refusal(error):
        return error
    return BusUnavailable(f"NATS refuses this server: {error}.", hint=f"Check CHATSYS_BUS_URL. {_RIGHTS}")
