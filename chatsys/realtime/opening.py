"""Open Socket.IO on a chat, and close it.

Create the fan-out first because the chat needs it, then the chat, then Socket.IO on both::

    fanout = SocketFanout()
    async with open_prepared_store(url) as store, open_chat(store, secret=secret, fanout=fanout) as chat:
        async with open_realtime(chat, fanout, options) as realtime:
            ...     # serve realtime.asgi(web_app), and WebSockets by realtime.endpoint
            ...     # on SIGTERM: await realtime.drain()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from chatsys import metrics
from chatsys.chat.bundle import Chat
from chatsys.engine.connection import Connection
from chatsys.engine.engine import POLLING, WEBSOCKET, Engine
from chatsys.engine.polling import Endpoint
from chatsys.engine.shared import ConnectionLimits
from chatsys.engine.sockets import SocketLayer
from chatsys.protocol.events import DEFAULT, ClientEvent
from chatsys.realtime.fanout import SocketFanout
from chatsys.realtime.routes import Routes
from chatsys.realtime.sequence import Member
from chatsys.realtime.welcomes import Welcomes, slots

PATH = "/socket.io"

App = Callable[[Any, Any, Any], Awaitable[None]]


class RealtimeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the Socket.IO endpoint."""

    cors_origin: str
    polling: bool
    """Whether long-polling is served. All polling requests of a client must then reach this process."""
    limits: ConnectionLimits


class Realtime:
    """The chat as an application of the engine. Create it with :func:`open_realtime`."""

    namespaces: Collection[str] = (DEFAULT,)

    def __init__(self, chat: Chat, fanout: SocketFanout, options: RealtimeOptions) -> None:
        self._fanout = fanout
        self._draining = False
        self.routes = Routes(chat, fanout, Welcomes(slots(options.limits.memory)))
        self.engine = Engine(
            SocketLayer(self),
            options.limits,
            asyncio.get_running_loop(),
            transports=(POLLING, WEBSOCKET) if options.polling else (WEBSOCKET,),
        )
        self.endpoint = Endpoint(self.engine, options.cors_origin)
        fanout.bind(chat, self.engine.scheduler, self.engine.memory)
        metrics.connections.set_function(lambda: len(self.engine.connections))
        metrics.waiting_bytes.set_function(lambda: self.engine.memory.held)

    def asgi(self, other: App) -> App:
        """An ASGI application that handles ``/socket.io/`` and passes every other request to ``other``."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "")
            if scope["type"] == "http" and (path == PATH or path.startswith(PATH + "/")):
                await self.endpoint(scope, receive, send)
            else:
                await other(scope, receive, send)

        return app

    async def drain(self) -> None:
        """Close all connections, so that the web server does not wait for pending polls when it stops. Idempotent."""
        self._draining = True
        await self.engine.close_all()
        await asyncio.sleep(0)

    # -- as the engine's application

    def knows(self, event: str) -> bool:
        """Whether the table of routes has an event of that name."""
        return event in self.routes.names

    def connected(self, connection: Connection, namespace: str, auth: Any) -> None:
        """Do nothing: connecting needs no credentials (contract §8.1)."""

    def events(self, connection: Connection, batch: list[ClientEvent]) -> Awaitable[None]:
        """Handle events of one client, in order."""
        return self.routes.dispatch(connection, batch)

    async def left(self, connection: Connection, namespace: str) -> None:
        """End the session of a client that has disconnected."""
        if not self._draining:  # retiring the server ends all its sessions together
            self.routes.ended(connection)

    def drained(self, connection: Connection) -> None:
        """Send a client that was behind the messages that it missed."""
        member: Member | None = connection.member
        channel = self._fanout.channels.get(member.session.room) if member is not None else None
        if channel is not None and member is not None:
            channel.sequence.resume(member)


@asynccontextmanager
async def open_realtime(chat: Chat, fanout: SocketFanout, options: RealtimeOptions) -> AsyncIterator[Realtime]:
    """Socket.IO on ``chat``, which was opened with this ``fanout``. On exit, all connections are closed.

    The caller keeps the server registered with the store and retires it afterwards, which ends its sessions.
    """
    realtime = Realtime(chat, fanout, options)
    realtime.engine.wheel.start()
    try:
        yield realtime
    finally:
        await realtime.drain()
        realtime.engine.wheel.stop()
        fanout.stop()
