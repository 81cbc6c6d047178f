"""One client of Engine.IO 4 as a state machine without I/O, without a task and without a timer.

=========  ================================  ======================  =================================================
state      a poll (GET)                      a packet                goes on to
=========  ================================  ======================  =================================================
OPEN       the first gets the handshake      none comes              POLLING, or WEBSOCKET once one is adopted
POLLING    waits for a packet, one at once   handled                 PROBING (``2probe`` of a WebSocket), CLOSING
PROBING    is answered with ``6``            handled                 WEBSOCKET (``5``), POLLING (lost, late), CLOSING
WEBSOCKET  refused                           handled                 CLOSING
CLOSING    refused; a waiting one is ended   dropped                 CLOSED once what was sent before is handled
CLOSED     refused                           dropped                 nothing
=========  ================================  ======================  =================================================

CLOSING follows the packet ``1``, a malformed packet, a pong or a CONNECT that does not come in time, a limit that is
passed, two polls or POSTs at once, the end of the WebSocket, and the server's stop. What waits for the client, and when
it counts as behind, is the outward half: :class:`chatsys.engine.outbound.Outbound`.
"""

from __future__ import annotations

import logging
import secrets
from abc import ABC, abstractmethod
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

_POLL_BEHIND = 64  # packets that may wait for a poll
_PING = Outgoing(packets.PING.encode())
_CLOSE = Outgoing(packets.CLOSE.encode())
_NOOP = Outgoing(packets.NOOP.encode())

MALFORMED = "malformed packet"
CLIENT_LEFT = "client disconnect"
TOO_MUCH = "the server holds too much for its clients"


class Inbox:
    """What a client has sent and what is not handled yet: packets that wait, in order, and the bytes of all.

    ``since`` is the loop's time at which the first that waits came, ``came`` the same of those that are handled now.
    """

    __slots__ = ("came", "packets", "since", "size")

    def __init__(self, now: float) -> None:
        self.packets: list[Any] = []
        self.size = 0
        self.since = self.came = now

    def add(self, packet: Any, size: int, now: float) -> None:
        """One more waits."""
        if not self.packets:
            self.since = now
        self.packets.append(packet)
        self.size += size

    def take(self) -> list[Any]:
        """All that waits, to be handled now."""
        taken, self.packets = self.packets, []
        self.came = self.since
        return taken


class Polling:
    """The requests under way of a client that polls: ``wake`` its poll, ``resumed`` its POST."""

    __slots__ = ("posting", "resumed", "wake")

    def __init__(self) -> None:
        self.posting = False
        self.resumed: Callable[[], None] | None = None
        self.wake: Callable[[], None] | None = None


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


class Home(Shared, ABC):
    """What the connections share, and what stands on them."""

    def __init__(
        self, layer: Layer, limits: ConnectionLimits, loop: Loop, count: Callable[[], int], new_id: Callable[[], str]
    ) -> None:
        super().__init__(limits, loop, count)
        self.layer = layer
        self.new_id = new_id

    @abstractmethod
    def forget(self, connection: Connection) -> None:
        """The connection's id is no longer valid."""


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
        """Whether the connection has ended: nothing is sent or taken any more."""
        return self.state in ENDED

    @property
    def came(self) -> float:
        """The loop's time at which the oldest of the events that are handled now had come."""
        return self.inbox.came if self.inbox is not None else 0.0

    # -- polling

    def poll(self, wake: Callable[[], None]) -> list[Outgoing] | None:
        """What waits for a poll; None if nothing does: then ``wake`` is called once there may be something.

        A second poll ends the connection.
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
        """The answer to a poll that was woken."""
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

    # -- inwards

    def received(self, data: Data) -> None:
        """A whole packet. One that is malformed ends the connection."""
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
                raise Malformed("no Engine.IO packet")
        except Malformed as error:
            logger.debug("%s: closed after a malformed packet: %s", self.sid, error)
            self.end(MALFORMED, PROTOCOL_ERROR)

    def forget_partial(self) -> None:
        """No attachments are awaited any more."""
        if self.partial is not None:
            self.engine.memory.take(-self.partial.size)
            self.partial = None

    def pause(self) -> None:
        """Take nothing more from the client until :meth:`resume`."""
        self.paused = True
        if self.transport is not None:
            self.transport.pause()

    def resume(self) -> None:
        """Take again."""
        self.paused = False
        if self.transport is not None:
            self.transport.resume()
        if self.polling is not None:
            resumed, self.polling.resumed = self.polling.resumed, None
            if resumed is not None:
                resumed()

    # -- alive or not

    def ping(self) -> None:
        """Send a ping; the pong sets ``ponged``."""
        self.ponged = False
        self._append(_PING)

    def timed_out(self) -> None:
        """No pong came: the client is gone, and perhaps many others are with it."""
        self.engine.losses.add(lambda: self.end("ping timeout"))

    def check(self, now: float) -> bool:
        """Close the connection if it has passed a deadline; whether it has one still."""
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
        """Close the connection; the layer above is told once what was sent before is handled."""
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
        """From now on the WebSocket is the transport; what waits leaves by it."""
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
        """A WebSocket probes; false if it may not."""
        if self.state is not State.POLLING:
            return False
        self.state = State.PROBING
        self._awake()
        return True

    def probe_lost(self) -> None:
        """The client has given up the upgrade, and polls on."""
        if self.state is State.PROBING:
            self.state = State.POLLING

    def stalled(self) -> None:
        """The WebSocket's peer does not take what was written."""
        if self.state not in ENDED:
            self.hold_back()

    def writable(self) -> None:
        """The WebSocket's peer reads again."""
        if self._waiting:
            metrics.deliveries.inc(self.flush())
        else:
            self._drained()

    def lost(self) -> None:
        """The WebSocket is gone. The timer wheel keeps this until its ping is due, and nothing of the transport."""
        self.end("transport close")
        self.transport = None

    def overflowed(self) -> None:
        """The process holds too much, and this client more than its share."""
        logger.warning(
            "%s: closed, since the process holds %d bytes for its clients", self.sid, self.engine.memory.held
        )
        self.end(TOO_MUCH, TRY_LATER)

    def _caught_up(self) -> None:
        self.engine.layer.drained(self)

    def _too_slow(self, why: str) -> None:
        """End it: its client does not read. What waits is dropped, and replayed when the client returns."""
        metrics.slow_disconnects.inc()
        logger.warning("%s: closed as a slow reader: %s", self.sid, why)
        self.end("slow reader", POLICY)
