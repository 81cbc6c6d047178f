"""What waits for one client, and when that client is behind.

=======  ========================  ==================================  =================================================
state    a broadcast (push)        a packet of its own (send)          goes on to
=======  ========================  ==================================  =================================================
current  waits                     waits, counted against the budget   behind, if much waits or the client takes nothing
behind   waits, up to SHARED_MOST  waits, counted against the budget   current, once all is taken; ended
ended    is dropped                is dropped                          nothing
=======  ========================  ==================================  =================================================

A broadcast exists once, whoever waits for it. One that finds the client behind may be dropped; the layer above is told
when the client has caught up, and sends what must not be missed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import Protocol

from chatsys import metrics
from chatsys.engine.scheduler import SendQueue
from chatsys.engine.shared import Shared
from chatsys.protocol.packets import Outgoing

CHUNK = 65_536
"""Bytes, give or take a packet, that are written to one connection before others have their turn."""

QUEUE_MOST = 1024
"""Packets that may wait for a connection before it counts as behind."""

SHARED_MOST = 262_144
"""Bytes of broadcasts that are kept for a connection that is behind."""

_UNKNOWN = 1 << 62


class State(Enum):
    """Where a connection is in its life."""

    OPEN = "open"
    POLLING = "polling"
    PROBING = "probing"
    WEBSOCKET = "websocket"
    CLOSING = "closing"
    CLOSED = "closed"


ENDED = (State.CLOSING, State.CLOSED)


class Transport(Protocol):
    """An open WebSocket as a connection sees it."""

    stalled: bool

    def write(self, data: bytes, /) -> object:
        """Write whole frames. Not to be called while ``stalled``."""

    def unsent(self) -> int:
        """Bytes written that the client's machine has not acknowledged."""

    def close(self, code: int, reason: str) -> None:
        """Close behind what is written."""

    def pause(self) -> None:
        """Read nothing more from the client."""

    def resume(self) -> None:
        """Read again."""


class Outbound(ABC):
    """The outward half of a connection. ``behind``: its client does not take what was written."""

    __slots__ = (
        "_exempt",
        "_private",
        "_progress",
        "_queued",
        "_shared",
        "_waiting",
        "behind",
        "engine",
        "send_queue",
        "state",
        "transport",
    )

    def __init__(self, engine: Shared) -> None:
        self.engine = engine
        self.state = State.OPEN
        self.transport: Transport | None = None
        self.send_queue: SendQueue = engine.lobby
        self.behind = False
        self._waiting: list[Outgoing] | None = None
        self._queued = False
        self._private = self._shared = self._exempt = 0
        self._progress: tuple[float, int] | None = None  # when a client that is behind last read, and what was left

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
            queue = self.send_queue  # as ``add``, for what each delivery costs
            if not queue:
                queue.enter()
            queue.append(self)

    def _push_behind(self, out: Outgoing) -> None:
        size = len(out.frame)
        if self.state in ENDED or self._shared + size > SHARED_MOST:
            return
        self._shared += size
        self._append(out)

    def send(self, out: Outgoing, *, asked: bool = False) -> None:
        """Send a packet of this connection alone; close it if more than its byte budget would wait for it.

        What the client ``asked`` for itself (a history) does not count against the budget, once, until it has left.
        """
        if self.state in ENDED:
            return
        budget = self.engine.limits.byte_budget
        if self._private + out.cost > budget:
            self._write_out()  # where all leaves, what was exempt before is no longer
        if asked:
            self._exempt = max(self._exempt, out.cost)
        if self._private and self._private + out.cost > budget + self._exempt:
            self._too_slow("its byte budget is spent")
            return
        self._private += out.cost
        self.engine.memory.take(out.cost)
        self._append(out)
        if self.engine.memory.refuses(self._private):
            self.overflowed()

    def answer(self, out: Outgoing) -> None:
        """As :meth:`send`, and written at once if nothing else waits: a turn of the event loop earlier."""
        if self._queued or self._waiting or self.transport is None:
            self.send(out)
            return
        self._queued = True  # it needs no turn of the scheduler
        self.send(out)
        metrics.deliveries.inc(self.flush())

    def _append(self, out: Outgoing) -> None:
        if self._waiting is None:
            self._waiting = [out]
        else:
            self._waiting.append(out)
        self._queue()

    def _queue(self) -> None:
        if not self._queued:
            self._queued = True
            self.send_queue.add(self)

    # -- writing

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
        if len(waiting) == 1:
            self._waiting = None
            transport.write(waiting[0].frame)
            if (self._private or self.behind) and not transport.stalled:
                self._drained()
            return 1
        count, data = self._chunk(waiting)
        transport.write(data)
        if not transport.stalled:
            if self._waiting is not None:
                self._queue()
            elif self._private or self.behind:
                self._drained()
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

    @abstractmethod
    def _flush_polling(self, waiting: list[Outgoing]) -> None:
        """Something waits for a client without a WebSocket."""

    def _write_out(self) -> None:
        """Write until the client takes no more."""
        while self._waiting and self.transport is not None and not self.transport.stalled:
            metrics.deliveries.inc(self.flush())

    # -- behind

    def hold_back(self) -> None:
        """The connection is behind until all that waits now has left."""
        self.behind = True
        self._progress = (self.engine.loop.time(), _UNKNOWN)
        self.engine.wheel.watch(self)

    def _drained(self) -> None:
        """All that waited was taken."""
        if self._private:
            self.engine.memory.take(-self._private)
            self._private = self._exempt = 0
        if self.behind and self.state not in ENDED:
            self.behind = False
            self._progress = None
            self._shared = 0
            self._caught_up()

    def _check_progress(self, now: float) -> None:
        """Close the connection if its client has read nothing for too long."""
        unsent = self.transport.unsent() if self.transport is not None else 0
        since, seen = self._progress or (now, _UNKNOWN)
        limit = self.engine.limits.stalled_within
        if unsent < seen:
            self._progress = (now, unsent)
        elif now - since > limit:
            self._too_slow(f"it read nothing for {limit:g} s")

    def _forget_waiting(self) -> None:
        self._waiting = None
        self.engine.memory.take(-self._private)
        self._private = self._shared = 0

    def waiting_bytes(self) -> int:
        """What waits for this connection alone costs, in bytes."""
        return self._private + self._shared

    @abstractmethod
    def _caught_up(self) -> None:
        """Its client was behind, and has taken all that waited."""

    @abstractmethod
    def _too_slow(self, why: str) -> None:
        """End it: its client does not read."""

    @abstractmethod
    def overflowed(self) -> None:
        """End it: the process holds too much, and this client more than its share."""

    @abstractmethod
    def check(self, now: float) -> bool:
        """Close the connection if it has passed a deadline; whether it has one still."""
