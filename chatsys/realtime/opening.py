"""Open the Socket.IO door on a chat, and close it.

The order of the wiring: the fan-out comes first since the chat needs it, then the chat, then the door over both::

    fanout = SocketFanout()
    async with open_store(url) as store, open_chat(store, secret=secret, fanout=fanout) as chat:
        async with open_realtime(chat, fanout, options) as realtime:
            config = uvicorn.Config(realtime.asgi(web_app), **realtime.uvicorn_options())
            server = uvicorn.Server(config)
            ...                      # on SIGTERM: await realtime.drain(), then server.should_exit = True
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from chatsys.chat.bundle import Chat
from chatsys.realtime.fanout import SocketFanout
from chatsys.realtime.routes import Routes
from chatsys.realtime.server import SocketServer
from chatsys.realtime.websocket import RESTART, Doorway

PATH = "/socket.io"

App = Callable[[Any, Any, Any], Awaitable[None]]


class RealtimeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the door behaves. Times in seconds, sizes in bytes; ``byte_budget`` is for what waits for one client."""

    cors_origin: str
    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    max_packet: int = 1_000_000
    byte_budget: int
    polling: bool
    """Whether long-polling is served; its requests must all come to this process."""


class Realtime:
    """The open door. Made by :func:`open_realtime`."""

    def __init__(self, chat: Chat, fanout: SocketFanout, options: RealtimeOptions) -> None:
        self._chat = chat
        self._options = options
        self._fanout = fanout
        self._draining = False
        self.routes = Routes(chat, fanout)
        self.server = SocketServer(
            self.routes.dispatch,
            self._ended,
            byte_budget=options.byte_budget,
            ping_interval=options.ping_interval,
            ping_timeout=options.ping_timeout,
            max_http_buffer_size=options.max_packet,
            cors_allowed_origins=options.cors_origin,
            transports=["polling", "websocket"] if options.polling else ["websocket"],
        )
        fanout.bind(chat, self.server.eio.rounds)

    def asgi(self, other: App) -> App:
        """The ASGI application: ``/socket.io/`` is answered here, everything else by ``other``."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "")
            if scope["type"] != "lifespan" and (path == PATH or path.startswith(PATH + "/")):
                await self.server.handle_request(scope, receive, send)
            else:
                await other(scope, receive, send)

        return app

    def uvicorn_options(self) -> dict[str, Any]:
        """What ``uvicorn.Config`` needs for the WebSockets: the class that gives its transport away, no compression."""
        return {
            "ws": Doorway,
            "ws_max_size": self._options.max_packet,
            "ws_per_message_deflate": False,
            "ws_ping_interval": None,
        }

    async def drain(self) -> None:
        """Close all connections, so that the web server's stop need not wait for open polls. Idempotent."""
        self._draining = True
        for connection in list(self.server.eio.sockets.values()):
            connection.end(self.server.reason.SERVER_DISCONNECT, RESTART)
        await asyncio.sleep(0)

    async def _ended(self, connection: Any) -> None:
        if not self._draining:  # else the server's sessions end all at once
            self.routes.ended(connection)


@asynccontextmanager
async def open_realtime(chat: Chat, fanout: SocketFanout, options: RealtimeOptions) -> AsyncIterator[Realtime]:
    """The Socket.IO door on ``chat``, which was opened with this ``fanout``; at the end all connections are closed.

    The caller keeps the server registered with the store, and retires it afterwards, which ends its sessions.
    """
    realtime = Realtime(chat, fanout, options)
    realtime.server.eio.heartbeat.start()
    try:
        yield realtime
    finally:
        await realtime.drain()
        realtime.server.eio.heartbeat.stop()
        fanout.stop()
