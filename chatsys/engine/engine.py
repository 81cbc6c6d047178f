"""All connections of a server: their limits, the memory that they may take together, their timers and turns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from chatsys.engine.connection import Connection, Home, Layer, Polling, random_id
from chatsys.engine.outbound import State
from chatsys.engine.scheduler import Loop
from chatsys.engine.shared import ENDED_AT_ONCE, ConnectionLimits
from chatsys.protocol.frames import POLICY, RESTART
from chatsys.protocol.packets import Data, Outgoing, opening

logger = logging.getLogger("chatsys.engine")

POLLING, WEBSOCKET = "polling", "websocket"
UPGRADE_WITHIN = 10.0
"""Seconds that a polling client has to finish its upgrade."""


class Engine(Home):
    """The connections, by their session ids. ``transports`` are those that are served."""

    def __init__(
        self,
        layer: Layer,
        limits: ConnectionLimits,
        loop: Loop,
        new_id: Callable[[], str] = random_id,
        transports: tuple[str, ...] = (POLLING, WEBSOCKET),
    ) -> None:
        self.connections: dict[str, Connection] = {}
        super().__init__(layer, limits, loop, lambda: len(self.connections), new_id)
        self.transports = transports

    def open(self, transport: str) -> Connection:
        """A new connection, whose handshake waits for its transport."""
        connection = Connection(self, self.new_id(), self.loop.time())
        self.connections[connection.sid] = connection
        if transport == POLLING:
            connection.state = State.POLLING
            connection.polling = Polling()
        connection.send(opening(self._handshake(connection.sid, transport)))
        self.wheel.add(connection)
        self.wheel.watch(connection)
        return connection

    def _handshake(self, sid: str, transport: str) -> dict[str, Any]:
        return {
            "sid": sid,
            "upgrades": [WEBSOCKET] if transport == POLLING and WEBSOCKET in self.transports else [],
            "pingInterval": int(self.limits.ping_interval * 1000),
            "pingTimeout": int(self.limits.ping_timeout * 1000),
            "maxPayload": self.limits.max_packet,
        }

    def forget(self, connection: Connection) -> None:
        """The connection's id is no longer valid."""
        self.connections.pop(connection.sid, None)

    async def close_all(self) -> None:
        """Send every client away, to come back; a slice of them in each turn of the event loop."""
        connections = list(self.connections.values())
        for start in range(0, len(connections), ENDED_AT_ONCE):
            for connection in connections[start : start + ENDED_AT_ONCE]:
                connection.end("server disconnect", RESTART)
            await asyncio.sleep(0)


class Probe:
    """A WebSocket that a polling client tries to upgrade to: a ping and its pong, then the upgrade (Engine.IO 4).

    ========  ==========  ========  ===================  ====================================================
    state     ``2probe``  ``5``     any other packet     goes on to
    ========  ==========  ========  ===================  ====================================================
    opened    is probed   fails     fails                probed, failed (also after 10 s, or if it is closed)
    probed    fails       upgrades  fails                upgraded, failed (the same)
    upgraded  is none     is none   is the connection's  nothing: the WebSocket is the connection's
    failed    is none     is none   is none              nothing: the client polls on
    ========  ==========  ========  ===================  ====================================================
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._socket: Any = None
        self._timer = connection.engine.loop.call_later(UPGRADE_WITHIN, self._fail)

    def adopt(self, socket: Any) -> None:
        """The probe's own WebSocket."""
        self._socket = socket

    def received(self, data: Data) -> None:
        """``2probe`` is answered and ends the open poll; ``5`` upgrades; anything else fails."""
        if data == "2probe" and self._connection.probed():
            self._socket.write(_PROBED.frame)
        elif data == "5" and self._connection.state is State.PROBING:
            self._timer.cancel()
            self._socket.receiver = self._connection
            self._connection.adopt(self._socket)
        else:
            self._fail()

    def stalled(self) -> None:
        """Nothing waits on a probe."""

    def writable(self) -> None:
        """Nothing waits on a probe."""

    def overflowed(self) -> None:
        """The process holds too much."""
        self._fail()

    def lost(self) -> None:
        """The client has given up the upgrade, and polls on."""
        self._timer.cancel()
        self._connection.probe_lost()

    def _fail(self) -> None:
        self._socket.close(POLICY, "not an upgrade")


_PROBED = Outgoing(b"3probe")
