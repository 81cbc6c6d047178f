"""A Socket.IO client on asyncio, over a WebSocket: for programs that use a server or measure it, not for load."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import cast

from chatsys.client.address import ServerAddress
from chatsys.client.errors import AckTimeout, ConnectFailed, ConnectionLost, SocketIOError
from chatsys.client.namespace import Acknowledged, nothing
from chatsys.client.session import ClientSession
from chatsys.client.transport import ClientWebSocket, Hooks, TransportError, handshaken
from chatsys.protocol.frames import CLOSE, FrameError
from chatsys.protocol.handshake import ClientHandshake

UNSENT_LIMIT = 16 * 1024 * 1024
"""Bytes that may wait for a server that does not read."""
_CLOSING = 2.0  # seconds for the server's answer to a closing frame


class _AsyncioWebSocket(ClientWebSocket, asyncio.Protocol):
    """A WebSocket on asyncio. ``first`` resolves to the server's first packet, or fails with the cause."""

    __slots__ = ("_carrier", "_gone", "_handshake", "_opened", "first")

    def __init__(self, address: ServerAddress, hooks: Hooks) -> None:
        super().__init__(hooks)
        self._handshake = ClientHandshake(address.target("websocket"), address.headers())
        self._opened = False
        self._carrier: asyncio.Transport | None = None
        self._receive = self._first
        self.first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Request a WebSocket."""
        self._carrier = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._carrier.write(self._handshake.request)

    def data_received(self, data: bytes) -> None:
        """Deliver the messages in the received bytes."""
        try:
            if not self._opened:
                rest = self._handshake.read(data)
                if rest is None:
                    return
                self._opened, data = True, rest
            messages = self.reader.feed(data)
            if not self._closed:
                self._deliver(messages)
            elif self._carrier is not None and any(opcode == CLOSE for opcode, _ in messages):
                self._carrier.close()
        except FrameError as error:
            self._fail(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by either side."""
        self._gone.set()
        self._fail(str(exc) if exc else "closed by the server")

    def _first(self, packet: bytes) -> None:
        self._receive = self.hooks.received
        self.first.set_result(packet)

    def _write(self, data: bytes) -> None:
        if self._closed or self._carrier is None:
            return
        self._carrier.write(data)
        if self._carrier.get_write_buffer_size() > UNSENT_LIMIT:
            self._carrier.abort()
            self._fail("the server does not read what is sent")

    def close(self, farewell: bytes = b"") -> None:
        """Close the socket; with ``farewell``, send it and a closing frame, and :meth:`answered` closes the socket."""
        if self._closed:
            return
        if farewell:
            self._goodbye(farewell)
        self._closed = True
        if self._carrier is not None and not farewell:
            self._carrier.abort()

    async def answered(self) -> None:
        """Wait briefly for the server's answer to the closing frame, then close the socket."""
        if self._carrier is None:
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await self._gone.wait()
        finally:
            self._carrier.abort()

    def _fail(self, cause: str) -> None:
        if not self.first.done():
            self.first.set_exception(TransportError(f"connect: {cause}"))
            self.first.exception()  # the task that waits for it may be gone: keep asyncio from logging the error
        super()._fail(cause)


class AsyncClient(ClientSession):
    """One Socket.IO connection and its namespace. ``ended`` is set when the connection is lost or closed.

    It does not reconnect by itself. An exception in a handler, or a packet that can't be read, ends the connection and
    goes to the event loop's exception handler, unless ``on_failure`` is set.
    """

    __slots__ = ("_socket", "ended")

    def __init__(self, url: str, *, namespace: str = "/", auth: object = None, timeout: float = 10.0) -> None:
        """``url`` is as for :class:`ServerAddress`; ``timeout`` (seconds) applies to connecting and to each
        :meth:`call`. Raises ValueError for an invalid address."""
        super().__init__(ServerAddress(url), namespace, auth, timeout)
        self._socket: _AsyncioWebSocket | None = None
        self.on_failure = _raised
        self.ended = asyncio.Event()

    async def connect(self) -> None:
        """Connect. Raises ConnectRefused if the server refuses, or ConnectFailed."""
        self.wanted = True
        self._begin()
        self.ended.clear()
        try:
            async with asyncio.timeout(self.timeout):
                await self._opened_session()
        except (OSError, TransportError, ConnectionLost) as error:
            raise ConnectFailed(str(error) or f"connect: no answer in {self.timeout:g} s") from error
        finally:
            if not self.connected:
                self._finish()

    async def _opened_session(self) -> None:
        loop = asyncio.get_running_loop()
        address = self.address
        consent: asyncio.Future[str | SocketIOError] = loop.create_future()
        self.expect(consent.set_result)
        self._transport = self._socket = socket = _AsyncioWebSocket(address, self.hooks)
        try:
            tls, name = (address.context(), address.server_name) if address.secure else (None, None)
            await loop.create_connection(lambda: socket, address.host, address.port, ssl=tls, server_hostname=name)
            handshaken(await socket.first)
            self.enter()
            answer = await consent
        finally:
            self.expect(nothing)
        if isinstance(answer, SocketIOError):
            raise answer

    async def call(self, event: str, *args: object, timeout: float | None = None) -> Acknowledged:
        """Send an event and wait for its acknowledgement. Raises AckTimeout or ConnectionLost."""
        waiting: asyncio.Future[Acknowledged | SocketIOError] = asyncio.get_running_loop().create_future()
        self.emit(event, *args, then=waiting.set_result)
        number = self.last_ack
        patience = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(patience):
                answer = await waiting
        except TimeoutError as error:
            raise AckTimeout(f"{event}: no acknowledgement in {patience:g} s") from error
        finally:
            self.acks.pop(number, None)
        if isinstance(answer, SocketIOError):
            raise answer
        return answer

    async def close(self) -> None:
        """Leave, and wait briefly for the server's answer; does nothing if the connection has ended."""
        socket = self._socket
        self._finish(self._leave())
        if socket is not None:
            await socket.answered()

    def abort(self) -> None:
        """Drop the connection without notice; does nothing if it has ended."""
        self._leave()
        self._finish()

    # -- when the connection ends

    def _finish(self, farewell: bytes = b"") -> None:
        super()._finish(farewell)
        self.ended.set()

    def _lost(self, cause: str) -> None:
        super()._lost(cause)
        self.ended.set()


async def connected(url: str, *, timeout: float = 10.0) -> AsyncClient:
    """A client that is connected to the default namespace. Raises ConnectFailed."""
    client = AsyncClient(url, timeout=timeout)
    await client.connect()
    return client


def _raised(_what: str, error: BaseException) -> None:
    raise error
