"""All connections of a server, with their shared limits, memory, timers and scheduler."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any

from chatsys.engine.connection import Connection, Home, Layer, Polling
from chatsys.engine.outbound import State
from chatsys.engine.scheduler import Loop
from chatsys.engine.shared import ENDED_AT_ONCE, ConnectionLimits
from chatsys.protocol.frames import POLICY, RESTART
from chatsys.protocol.packets import Data, Outgoing, opening

logger = logging.getLogger("chatsys.engine")

POLLING, WEBSOCKET = "polling", "websocket"
UPGRADE_WITHIN = 10.0
"""Seconds within which a polling client must finish its upgrade."""


class Engine(Home):
    """The connections of a server. ``transports`` are the transports that clients may use."""

    def __init__(
        self,
        layer: Layer,
        limits: ConnectionLimits,
        loop: Loop,
        new_id: Callable[[], str] = lambda: secrets.token_urlsafe(15),
        transports: tuple[str, ...] = (POLLING, WEBSOCKET),
    ) -> None:
        super().__init__(layer, limits, loop, new_id)
        self.transports = transports

    def open(self, transport: str) -> Connection:
        """Create a connection. Its handshake is sent once it has a transport."""
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

    async def close_all(self) -> None:
        """Close every connection with "service restart", a few in each iteration of the event loop."""
        connections = list(self.connections.values())
        for start in range(0, len(connections), ENDED_AT_ONCE):
            for connection in connections[start : start + ENDED_AT_ONCE]:
                connection.end("server disconnect", RESTART)
            await asyncio.sleep(0)


class Probe:
    """A WebSocket that a polling client tries to upgrade to: a ping and its pong, then the upgrade (Engine.IO 4).

    ========  ==========  ========  ===================  ====================================================
    state     ``2probe``  ``5``     any other packet     next states
    ========  ==========  ========  ===================  ====================================================
    opened    answered    fails     fails                probed, failed (also after 10 s, or if it is closed)
    probed    fails       upgrades  fails                upgraded, failed (as above)
    upgraded  never       never     for the connection   none: the connection uses the WebSocket
    failed    never       never     never                none: the client continues polling
    ========  ==========  ========  ===================  ====================================================
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._socket: Any = None
        self._timer = connection.engine.loop.call_later(UPGRADE_WITHIN, self._fail)

    def adopt(self, socket: Any) -> None:
        """Set the WebSocket to probe."""
        self._socket = socket

    def received(self, data: Data) -> None:
        """Answer ``2probe`` and end the pending poll, upgrade on ``5``, fail on any other packet."""
        if data == "2probe" and self._connection.probed():
            self._socket.write(_PROBED.frame)
        elif data == "5" and self._connection.state is State.PROBING:
            self._timer.cancel()
            self._socket.receiver = self._connection
            self._connection.adopt(self._socket)
        else:
            self._fail()

    def stalled(self) -> None:
        """Do nothing: a probe has no waiting packets."""

    def writable(self) -> None:
        """Do nothing: a probe has no waiting packets."""

    def overflowed(self) -> None:
        """The process is over its memory limit for clients."""
        self._fail()

    def lost(self) -> None:
        """The client gave up the upgrade and continues polling."""
        self._timer.cancel()
        self._connection.probe_lost()

    def _fail(self) -> None:
        self._socket.close(POLICY, "not an upgrade")


_PROBED = Outgoing(b"3probe")
