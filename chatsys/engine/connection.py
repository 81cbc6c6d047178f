"""One client of Engine.IO 4 as a state machine without I/O, without a task and without a timer.

===========  ===========================  ==============================  =========================================
state        a poll (GET)                 a packet (POST or WebSocket)    goes on to
===========  ===========================  ==============================  =========================================
OPEN         the first gets the handshake none                            POLLING, or WEBSOCKET once that is adopted
POLLING      waits until there is a       handled                         PROBING at ``2probe`` of a WebSocket;
             packet; a second one ends                                    CLOSING at ``1``, a malformed packet, a
             the connection                                               missing pong, a limit, the server's stop
PROBING      is answered with ``6``       handled                         WEBSOCKET at ``5``; POLLING if the probe is
                                                                          lost or takes too long; CLOSING as above
WEBSOCKET    refused                      handled (WebSocket alone)       CLOSING as above, or if the WebSocket ends
CLOSING      refused; the one under way   dropped                         CLOSED once what was sent before is handled
             gets ``1`` or ``6``
CLOSED       refused                      dropped
===========  ===========================  ==============================  =========================================

Outwards, :meth:`Connection.push` is for packets of a broadcast, which exist once whoever waits for them, and
:meth:`Connection.send` for packets of this connection alone, which count against its byte budget. A connection is
``behind`` while its client does not take what was written: then little more is queued, and what is pushed beyond it is
dropped. The layer above is told when the client has caught up, and sends what must not be missed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from chatsys import metrics
from chatsys.engine.scheduler import SendQueue
from chatsys.protocol import packets
from chatsys.protocol.events import Partial
from chatsys.protocol.frames import NORMAL, POLICY, PROTOCOL_ERROR, TRY_LATER
from chatsys.protocol.packets import Data, Malformed, Outgoing

if TYPE_CHECKING:
    from chatsys.engine.engine import Engine

logger = logging.getLogger("chatsys.engine")

CHUNK = 65_536
"""Bytes, give or take a packet, that are written to one connection before others have their turn."""

QUEUE_MOST = 1024
"""Packets that may wait for a connection before it counts as behind."""

SHARED_MOST = 262_144
"""Bytes of broadcasts that are kept for a connection that is behind."""

_POLL_BEHIND = 64  # packets that may wait for a poll
_UNKNOWN = 1 << 62
_PING = Outgoing(packets.PING.encode())
_CLOSE = Outgoing(packets.CLOSE.encode())
_NOOP = Outgoing(packets.NOOP.encode())

MALFORMED = "malformed packet"
CLIENT_LEFT = "client disconnect"
TOO_MUCH = "the server holds too much for its clients"


class State(Enum):
    """Where a connection is in its life."""

    OPEN = "open"
    POLLING = "polling"
    PROBING = "probing"
    WEBSOCKET = "websocket"
    CLOSING = "closing"
    CLOSED = "closed"


_ENDED = (State.CLOSING, State.CLOSED)


class Transport(Protocol):
    """An open WebSocket as a connection sees it."""

    stalled: bool

    def write(self, data: bytes) -> None:
        """Write whole frames. Not to be called while ``stalled``."""

    def unsent(self) -> int:
        """Bytes written that the client's machine has not acknowledged."""

    def close(self, code: int, reason: str) -> None:
        """Close behind what is written."""

    def pause(self) -> None:
        """Read nothing more from the client."""

    def resume(self) -> None:
        """Read again."""


class Inbox(deque[Any]):
    """What has come and waits; ``since`` is the loop's time at which the first of it came."""

    __slots__ = ("since",)
    since: float


class Connection:
    """One client. ``member`` belongs to the application; ``socket_id`` is its id in the default namespace.

    ``came`` is the loop's time at which the oldest of the events that are handled now had come.
    """

    __slots__ = (
        "_exempt",
        "_private",
        "_queued",
        "_seen",
        "_shared",
        "_since",
        "_waiting",
        "_wake",
        "behind",
        "came",
        "engine",
        "inbox",
        "inbox_bytes",
        "member",
        "namespaces",
        "opened",
        "partial",
        "paused",
        "ponged",
        "posting",
        "reason",
        "resumed",
        "send_queue",
        "sid",
        "socket_id",
        "state",
        "transport",
    )

    def __init__(self, engine: Engine, sid: str, opened: float) -> None:
        self.engine = engine
        self.sid = sid
        self.state = State.OPEN
        self.transport: Transport | None = None
        self.send_queue: SendQueue = engine.lobby
        self.opened = opened
        self.reason = ""
        self.ponged = True
        self.posting = False
        # the layer above
        self.member: Any = None
        self.socket_id: str | None = None
        self.namespaces: dict[str, str] | None = None
        self.partial: Partial | None = None
        self.inbox: Inbox | None = None
        self.came = 0.0
        self.inbox_bytes = 0
        self.paused = False
        self.resumed: Callable[[], None] | None = None
        # outwards
        self.behind = False
        self._waiting: list[Outgoing] | None = None
        self._queued = False
        self._private = self._shared = self._exempt = 0
        self._wake: Callable[[], None] | None = None
        self._since = 0.0
        self._seen = 0

    @property
    def closing(self) -> bool:
        """Whether the connection has ended: nothing is sent or taken any more."""
        return self.state in _ENDED

    # -- outwards

    def push(self, out: Outgoing) -> None:
        """Send a packet of a broadcast, after what was sent before; while the client is behind it may be dropped."""
        if self.behind:
            self._push_behind(out)
            return
        waiting = self._waiting
        if waiting is None:
            self._waiting = [out]
        else:
            waiting.append(out)
            if len(waiting) > QUEUE_MOST:
                self.hold_back()
        if not self._queued:
            self._queued = True
            self.send_queue.add(self)

    def _push_behind(self, out: Outgoing) -> None:
        size = len(out.frame)
        if self.state in _ENDED or self._shared + size > SHARED_MOST:
            return
        self._shared += size
        self._append(out)

    def send(self, out: Outgoing, *, asked: bool = False) -> None:
        """Send a packet of this connection alone; close it if more than its byte budget would wait for it.

        What the client ``asked`` for itself (a history) does not count against the budget, once, until it has left.
        """
        if self.state in _ENDED:
            return
        if asked:
            self._exempt = max(self._exempt, out.cost)
        budget = self.engine.limits.byte_budget
        if self._private + out.cost > budget:
            self._write_out()
            if self._private and self._private + out.cost > budget + self._exempt:
                self.engine.too_slow(self, "its byte budget is spent")
                return
        self._private += out.cost
        self.engine.memory.take(out.cost)
        self._append(out)
        if self.engine.memory.refuses(self._private):
            self.overflowed()

    def _append(self, out: Outgoing) -> None:
        if self._waiting is None:
            self._waiting = [out]
        else:
            self._waiting.append(out)
        if not self._queued:
            self._queued = True
            self.send_queue.add(self)

    def hold_back(self) -> None:
        """The connection is behind until all that waits now has left."""
        self.behind = True
        self._since, self._seen = self.engine.loop.time(), _UNKNOWN
        self.engine.wheel.watch(self)

    def flush(self) -> int:
        """Write some of what waits, unless the client reads nothing; wake a poll. How many packets were written."""
        self._queued = False
        transport, waiting = self.transport, self._waiting
        if not waiting:
            return 0
        if transport is None:
            self._flush_polling(waiting)
            return 0
        if transport.stalled:
            return 0
        count = len(waiting)
        if count == 1:
            data = waiting[0].frame
            self._waiting = None
        else:
            count, data = self._chunk(waiting)
        transport.write(data)
        if not transport.stalled:
            if self._waiting is None:
                if self._private or self.behind:
                    self._drained()
            elif not self._queued:
                self._queued = True
                self.send_queue.add(self)
        return count

    def _chunk(self, waiting: list[Outgoing]) -> tuple[int, bytes]:
        """Take the next packets out of the list: their number, and their frames in one."""
        count = size = 0
        for out in waiting:
            size += len(out.frame)
            count += 1
            if size >= CHUNK:
                break
        if count == len(waiting):
            self._waiting = None
        else:
            self._waiting = waiting[count:]
        return count, b"".join([out.frame for out in waiting[:count]])

    def _flush_polling(self, waiting: list[Outgoing]) -> None:
        if self._wake is not None:
            self._awake()
        elif not self.behind and (len(waiting) > _POLL_BEHIND or sum(len(out.frame) for out in waiting) > SHARED_MOST):
            self.hold_back()

    def _write_out(self) -> None:
        """Write until the client takes no more."""
        while self._waiting and self.transport is not None and not self.transport.stalled:
            metrics.deliveries.inc(self.flush())

    def _drained(self) -> None:
        """All that waited was taken."""
        if self._private:
            self.engine.memory.take(-self._private)
            self._private = self._exempt = 0
        if self.behind and self.state not in _ENDED:
            self.behind = False
            self._shared = 0
            self.engine.layer.drained(self)

    def waiting_bytes(self) -> int:
        """What waits for this connection alone costs, in bytes."""
        return self._private + self._shared

    def _forget_waiting(self) -> None:
        self._waiting = None
        self.engine.memory.take(-self._private)
        self._private = self._shared = 0

    # -- polling

    def poll(self, wake: Callable[[], None]) -> list[Outgoing] | None:
        """What waits for a poll; None if nothing does: then ``wake`` is called once there may be something.

        A second poll ends the connection.
        """
        if self._wake is not None:
            self.end("overlapping polls")
            return None
        if self.state is State.PROBING:
            return [_NOOP]
        taken = self._take_polled()
        if not taken:
            self._wake = wake
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
        self._since = self.engine.loop.time()
        if not rest:
            self._drained()
        return taken

    def _awake(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    # -- inwards

    def received(self, data: Data) -> None:
        """A whole packet. One that is malformed ends the connection."""
        if self.state in _ENDED:
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
        resumed, self.resumed = self.resumed, None
        if resumed is not None:
            resumed()

    # -- alive or not

    def ping(self) -> None:
        """Send a ping; the pong sets ``ponged``."""
        self.ponged = False
        self._append(_PING)

    def timed_out(self) -> None:
        """No pong came: the client is gone."""
        self.end("ping timeout")

    def check(self, now: float) -> bool:
        """Close the connection if it has passed a deadline; whether it has one still."""
        limits = self.engine.limits
        if self.state in _ENDED:
            return False
        if self.socket_id is None and self.namespaces is None and now - self.opened > limits.connect_within:
            self.end("no CONNECT in time", POLICY)
        elif self.partial is not None and now - self.partial.since > limits.unfinished_within:
            self.end("attachments did not come in time", POLICY)
        elif self.behind:
            unsent = self.transport.unsent() if self.transport is not None else 0
            if unsent < self._seen:
                self._since, self._seen = now, unsent
            elif now - self._since > limits.stalled_within:
                self.engine.too_slow(self, f"it read nothing for {limits.stalled_within:g} s")
        return self.behind or self.partial is not None or (self.socket_id is None and self.namespaces is None)

    def end(self, reason: str, code: int = NORMAL) -> None:
        """Close the connection; the layer above is told once what was sent before is handled."""
        if self.state in _ENDED:
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
        if self.state in _ENDED:
            transport.close(NORMAL, self.reason)
            return
        self.state = State.WEBSOCKET
        self._awake()
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
        if self.state not in _ENDED:
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

    def overflowed(self) -> None:
        """The process holds too much, and this client more than its share."""
        logger.warning(
            "%s: closed, since the process holds %d bytes for its clients", self.sid, self.engine.memory.held
        )
        self.end(TOO_MUCH, TRY_LATER)
