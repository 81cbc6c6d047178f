"""A small server on the engine that answers as the protocol's official test suites expect.

``python tests/engine/echo.py engine.io|socket.io PORT`` serves one of the two protocols, with the suites' intervals.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import msgspec

from chatsys.engine.connection import Connection, Layer
from chatsys.engine.engine import Engine
from chatsys.engine.polling import Endpoint
from chatsys.engine.shared import ConnectionLimits
from chatsys.engine.sockets import SocketLayer
from chatsys.protocol.events import ClientEvent, sent
from chatsys.protocol.frames import BINARY
from chatsys.protocol.packets import Data, Outgoing
from chatsys.server.serving import Server, uvicorn_config

LIMITS = ConnectionLimits(ping_interval=0.3, ping_timeout=0.2)
APART = 0.02


class Echo:
    """Engine.IO alone: each message is sent back."""

    def message(self, connection: Connection, data: Data) -> None:
        connection.send(Outgoing(data, BINARY) if isinstance(data, bytes) else Outgoing(b"4" + data.encode()))

    def drained(self, connection: Connection) -> None:
        pass

    def ended(self, connection: Connection) -> None:
        pass


class Answers:
    """Socket.IO: the client's connect data come back as ``auth``; a message is sent back or acknowledged."""

    namespaces = ("/", "/custom")

    def knows(self, event: str) -> bool:
        return event.startswith("message")

    def connected(self, connection: Connection, namespace: str, auth: Any) -> None:
        later = connection.engine.loop.call_later  # the suite listens for one message at a time and misses the second
        later(APART, self._send, connection, sent(["auth", auth or {}], namespace))  # of two that came in one read

    async def events(self, connection: Connection, batch: list[ClientEvent]) -> None:
        for event in batch:
            if event.name == "message":
                self._send(connection, sent(["message-back", *event.data[1:]], event.namespace))
            elif event.name == "message-with-ack":
                self._send(connection, sent(list(event.data[1:]), event.namespace, event.ack_id))

    async def left(self, connection: Connection, namespace: str) -> None:
        pass

    def drained(self, connection: Connection) -> None:
        pass

    def _send(self, connection: Connection, packets: list[Outgoing]) -> None:
        for out in packets:
            connection.send(out)


async def serve(kind: str, listener: socket.socket, limits: ConnectionLimits = LIMITS) -> None:
    """Serve one of the two on a bound socket until the task is cancelled."""
    layer: Layer = Echo() if kind == "engine.io" else SocketLayer(Answers())
    if kind == "engine.io":
        limits = msgspec.structs.replace(limits, connect_within=3600.0)
    engine = Engine(layer, limits, asyncio.get_running_loop())
    endpoint = Endpoint(engine, "*")
    config = uvicorn_config(endpoint, endpoint, f"/{kind}", forwarded_allow_ips="127.0.0.1")

    engine.wheel.start()
    listener.listen()
    try:
        await Server(config, engine.close_all).serve_on(listener, lambda: print("ready", flush=True))
    finally:
        engine.wheel.stop()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as listening:
        asyncio.run(serve(sys.argv[1], listening))
