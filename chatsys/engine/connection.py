"""One Engine.IO 4 client as a state machine without I/O, tasks or timers.

=========  ================================  ======================  =================================================
state      on a poll (GET)                   on a packet             next states
=========  ================================  ======================  =================================================
OPEN       the first gets the handshake      none arrives            POLLING, or WEBSOCKET once one is adopted
POLLING    waits for a packet, one at a time handled                 PROBING (``2probe`` of a WebSocket), CLOSING
PROBING    is answered with ``6``            handled                 WEBSOCKET (``5``), POLLING (lost, late), CLOSING
WEBSOCKET  refused                           handled                 CLOSING
CLOSING    refused; a waiting one is ended   dropped                 CLOSED once earlier packets are handled
CLOSED     refused                           dropped                 none
=========  ================================  ======================  =================================================

A connection enters CLOSING on the packet ``1``, a malformed packet, a missing pong or CONNECT, an exceeded limit, two
concurrent polls or POSTs, the end of the WebSocket, or the server's stop. :class:`chatsys.engine.outbound.Outbound`
is the outgoing half: the packets waiting for the client, and whether the client is behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from chatsys import metrics
from chatsys.engine.outbound import ENDED, SHARED_MOST, Outbound, State, Transport
from chatsys.engine.scheduler import Loop
from chatsys.engine.shared import ConnectionLimits, Shared
from chatsys.protocol import packets
from chatsys.protocol.events import Partial
from chatsys.protocol.frames import NORMAL, POLICY, PROTOCOL_ERROR, TRY_LATER
from chatsys.protocol.packets import Data, Malformed, Outgoing

logger = logging.getLogger("chatsys.engine")

_POLL_BEHIND = 64  # maximum packets waiting for a poll before the client counts as behind
_PING = Outgoing(packets.PING.encode())
_CLOSE = Outgoing(packets.CLOSE.encode())
_NOOP = Outgoing(packets.NOOP.encode())

MALFORMED = "malformed packet"
CLIENT_LEFT = "client disconnect"
TOO_MUCH = "the server holds too much for its clients"


class Inbox:
    """Packets of a client that are not handled yet, in order, with their total size in bytes.

    ``since`` is the loop's time when the first waiting packet arrived; ``came`` the same for the batch being handled.
    """

    __slots__ = ("came", "packets", "since", "size")

    def __init__(self, now: float) -> None:
        self.packets: list[Any] = []
        self.size = 0
        self.since = self.came = now

    def add(self, packet: Any, size: int, now: float) -> None:
        """Append a packet."""
        if not self.packets:
            self.since = now
        self.packets.append(packet)
        self.size += size

    def take(self) -> list[Any]:
        """Remove and return all waiting packets."""
        taken, self.packets = self.packets, []
        self.came = self.since
        return taken


class Polling:
    """The pending requests of a polling client. ``wake`` continues its poll, ``resumed`` its POST."""

    __slots__ = ("posting", "resumed", "wake")

    def __init__(self) -> None:
        self.posting = False
        self.resumed: Callable[[], None] | None = None
        self.wake: Callable[[], None] | None = None


class Layer(Protocol):
    """The protocol on top of the engine, such as Socket.IO. Called on the event loop, never concurrently."""

    def message(self, connection: Connection, data: Data) -> None:
        """Handle a message of a client. Raises Malformed to end the connection."""

    def drained(self, connection: Connection) -> None:
        """A client that was behind has received everything that was waiting for it."""

    def ended(self, connection: Connection) -> None:
        """A connection has ended. Called once for each connection."""


class Home(Shared):
    """The connections by session id, the objects that they share, and the layer on top."""

    def __init__(self, layer: Layer, limits: ConnectionLimits, loop: Loop, new_id: Callable[[], str]) -> None:
        self.connections: dict[str, Connection] = {}
        super().__init__(limits, loop, lambda: len(self.connections))
        self.layer = layer
        self.new_id = new_id

    def forget(self, connection: Connection) -> None:
        """The connection's id is no longer valid."""
        self.connections.pop(connection.sid, None)


class Connection(Outbound):
    """One client. ``member`` belongs to the application; ``socket_id`` is its id in the default namespace."""

    __slots__ = (
        "inbox",
        "member",
        "namespaces",
        "opened",
        "partial",
        "paused",
        "polling",
        "ponged",
        "reason",
        "sid",
        "socket_id",
    )

    engine: Home

    def __init__(self, engine: Home, sid: str, opened: float) -> None:
        super().__init__(engine)
        self.sid = sid
        self.opened = opened
        self.reason = ""
        self.ponged = True
        self.paused = False
        self.polling: Polling | None = None
        # the layer above
        self.member: Any = None
        self.socket_id: str | None = None
        self.namespaces: dict[str, str] | None = None
        self.partial: Partial | None = None
        self.inbox: Inbox | None = None

    @property
    def closing(self) -> bool:
        """Whether the connection has ended: it no longer sends or accepts packets."""
        return self.state in ENDED

    @property
    def came(self) -> float:
        """The loop's time at which the oldest event of the batch being handled arrived."""
        return self.inbox.came if self.inbox is not None else 0.0

    # -- polling

    def poll(self, wake: Callable[[], None]) -> list[Outgoing] | None:
        """The packets waiting for a poll. If there are none, returns None and calls ``wake`` later.

        A second concurrent poll ends the connection.
        """
        assert self.polling is not None
        if self.polling.wake is not None:
            self.end("overlapping polls")
            return None
        if self.state is State.PROBING:
            return [_NOOP]
        taken = self._take_polled()
        if not taken:
            self.polling.wake = wake
            return None
        return taken

    def polled(self) -> list[Outgoing]:
        """The packets for a poll whose ``wake`` was called."""
        if self.reason == CLIENT_LEFT or self.state in (State.PROBING, State.WEBSOCKET):
            return [_NOOP]
        return self._take_polled() or [_CLOSE if self.closing else _NOOP]

    def _take_polled(self) -> list[Outgoing]:
        waiting = self._waiting or []
        taken, rest = waiting[: packets.POLL_PACKETS], waiting[packets.POLL_PACKETS :]
        self._waiting = rest or None
        metrics.deliveries.inc(len(taken))
        if self._progress is not None:
            self._progress = (self.engine.loop.time(), 0)
        if not rest:
            self._drained()
        return taken

    def _flush_polling(self, waiting: list[Outgoing]) -> None:
        if self.polling is not None and self.polling.wake is not None:
            self._awake()
        elif not self.behind and (len(waiting) > _POLL_BEHIND or sum(len(out.frame) for out in waiting) > SHARED_MOST):
            self.hold_back()

    def _awake(self) -> None:
        if self.polling is not None:
            wake, self.polling.wake = self.polling.wake, None
            if wake is not None:
                wake()

    # -- incoming

    def received(self, data: Data) -> None:
        """Handle one packet. A malformed packet ends the connection."""
        if self.state in ENDED:
            return
        try:
            if isinstance(data, bytes):
                self.engine.layer.message(self, data)
            elif data[:1] == packets.MESSAGE:
                self.engine.layer.message(self, data[1:])
            elif data == packets.PONG:
                self.ponged = True
            elif data == packets.CLOSE:
                self.end(CLIENT_LEFT)
            elif data != packets.NOOP:
                raise Malformed("not an Engine.IO packet")
        except Malformed as error:
            logger.debug("%s: closed after a malformed packet: %s", self.sid, error)
            self.end(MALFORMED, PROTOCOL_ERROR)

    def forget_partial(self) -> None:
        """Stop waiting for attachments."""
        if self.partial is not None:
            self.engine.memory.take(-self.partial.size)
            self.partial = None

    def pause(self) -> None:
        """Stop reading from the client until :meth:`resume`."""
        self.paused = True
        if self.transport is not None:
            self.transport.pause()

    def resume(self) -> None:
        """Read from the client again."""
        self.paused = False
        if self.transport is not None:
            self.transport.resume()
        if self.polling is not None:
            resumed, self.polling.resumed = self.polling.resumed, None
            if resumed is not None:
                resumed()

    # -- liveness

    def ping(self) -> None:
        """Send a ping; the pong sets ``ponged``."""
        self.ponged = False
        self._append(_PING)

    def timed_out(self) -> None:
        """End the connection: no pong arrived. Many may time out at once, so their ends are handled in slices."""
        self.engine.losses.add(lambda: self.end("ping timeout"))

    def check(self, now: float) -> bool:
        """Close the connection if a deadline has passed. Returns whether it still has a deadline."""
        limits = self.engine.limits
        if self.state in ENDED:
            return False
        if self.socket_id is None and self.namespaces is None and now - self.opened > limits.connect_within:
            self.end("no CONNECT in time", POLICY)
        elif self.partial is not None and now - self.partial.since > limits.unfinished_within:
            self.end("attachments did not come in time", POLICY)
        elif self.behind:
            self._check_progress(now)
        return self.behind or self.partial is not None or (self.socket_id is None and self.namespaces is None)

    def end(self, reason: str, code: int = NORMAL) -> None:
        """Close the connection. The layer handles what the client sent before, then the end."""
        if self.state in ENDED:
            return
        self.reason = reason
        if self.transport is not None:
            if not self.behind:
                self._write_out()
            self._forget_waiting()
        self.state = State.CLOSING
        self.behind = True  # so that nothing is pushed
        self.forget_partial()
        self._awake()
        self._forget_waiting()
        if self.paused:
            self.resume()
        if self.transport is not None:
            self.transport.close(code, reason)
        self.engine.forget(self)
        self.engine.layer.ended(self)

    # -- the WebSocket

    def adopt(self, transport: Transport) -> None:
        """Use the WebSocket as the transport, also for packets that are waiting."""
        self.transport = transport
        if self.state in ENDED:
            transport.close(NORMAL, self.reason)
            return
        self.state = State.WEBSOCKET
        self._awake()
        if self.polling is not None and not self.polling.posting:
            self.polling = None
        if self.paused:
            transport.pause()
        metrics.deliveries.inc(self.flush())

    def probed(self) -> bool:
        """Start an upgrade to a WebSocket. Returns false if the connection's state does not allow it."""
        if self.state is not State.POLLING:
            return False
        self.state = State.PROBING
        self._awake()
        return True

    def probe_lost(self) -> None:
        """The upgrade failed; the client continues polling."""
        if self.state is State.PROBING:
            self.state = State.POLLING

    def stalled(self) -> None:
        """The WebSocket's peer has stopped reading."""
        if self.state not in ENDED:
            self.hold_back()

    def writable(self) -> None:
        """The WebSocket's peer reads again."""
        if self._waiting:
            metrics.deliveries.inc(self.flush())
        else:
            self._drained()

    def lost(self) -> None:
        """The WebSocket is gone."""
        self.end("transport close")
        self.transport = None  # the timer wheel keeps the connection until its ping is due; free the transport now

    def overflowed(self) -> None:
        """The process is over its memory limit for clients, and this client holds more than its share."""
        logger.warning("%s: closed: the process holds %d bytes for its clients", self.sid, self.engine.memory.held)
        self.end(TOO_MUCH, TRY_LATER)

    def _caught_up(self) -> None:
        self.engine.layer.drained(self)

    def _too_slow(self, why: str) -> None:
        """End the connection: its client does not read. A returning client gets replayed what is dropped here."""
        metrics.slow_disconnects.inc()
        logger.warning("%s: closed as a slow reader: %s", self.sid, why)
        self.end("slow reader", POLICY)
