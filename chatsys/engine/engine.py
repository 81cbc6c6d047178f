"""All connections of a server: their limits, the memory that they may take together, their timers and turns."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from chatsys.engine.connection import Connection, Polling
from chatsys.engine.memory import Memory
from chatsys.engine.outbound import State
from chatsys.engine.scheduler import FairScheduler, Loop, SendQueue, Slices
from chatsys.engine.wheel import TimerWheel
from chatsys.protocol.frames import POLICY, RESTART
from chatsys.protocol.packets import Data, Outgoing, opening

logger = logging.getLogger("chatsys.engine")

POLLING, WEBSOCKET = "polling", "websocket"
UPGRADE_WITHIN = 10.0
"""Seconds that a polling client has to finish its upgrade."""


ENDED_AT_ONCE = 50
"""Connections that end before the event loop does something else, however many are lost at once."""

STARTED_AT_ONCE = 64
"""Connections whose events begin to be handled in a turn of the event loop, however many speak at once."""


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection may cost, and all together. Times in seconds, sizes in bytes.

    ``byte_budget`` is for what waits for one client alone, ``memory`` for all clients of the process.
    """

    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    connect_within: float = 45.0
    unfinished_within: float = 30.0
    stalled_within: float = 30.0
    max_packet: int = 1_000_000
    frames_per_turn: int = 32
    fragments: int = 4096
    attachments: int = 10
    byte_budget: int = 2_097_152
    memory: int = 536_870_912


class Layer(Protocol):
    """What stands on the engine: Socket.IO, or what speaks Engine.IO alone. Called by the event loop, never at once."""

    def message(self, connection: Connection, data: Data) -> None:
        """A client has sent a message. Raises Malformed for one that ends its connection."""

    def drained(self, connection: Connection) -> None:
        """A client that was behind has taken all that waited."""

    def ended(self, connection: Connection) -> None:
        """A connection has ended; called once."""


def random_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_urlsafe(15)


class Engine:
    """The connections, by their session ids. ``transports`` are those that are served."""

    def __init__(
        self,
        layer: Layer,
        limits: ConnectionLimits,
        loop: Loop,
        new_id: Callable[[], str] = random_id,
        transports: tuple[str, ...] = (POLLING, WEBSOCKET),
    ) -> None:
        self.layer = layer
        self.limits = limits
        self.loop = loop
        self.new_id = new_id
        self.transports = transports
        self.connections: dict[str, Connection] = {}
        self.memory = Memory(limits.memory, lambda: len(self.connections))
        self.wheel = TimerWheel(limits.ping_interval, limits.ping_timeout, loop)
        self.scheduler = FairScheduler(loop)
        self.lobby = SendQueue(self.scheduler)
        self.losses = Slices(loop, ENDED_AT_ONCE)
        self.starts = Slices(loop, STARTED_AT_ONCE)

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
