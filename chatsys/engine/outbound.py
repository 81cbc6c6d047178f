"""The packets that wait for one client, and whether the client is behind.

=======  ========================  ==================================  =================================================
state    broadcast (push)          packet for this client (send)       next states
=======  ========================  ==================================  =================================================
current  waits                     waits, counted against the budget   behind, if too much waits or nothing is read
behind   waits, up to SHARED_MOST  waits, counted against the budget   current, once everything has been read; ended
ended    is dropped                is dropped                          none
=======  ========================  ==================================  =================================================

All recipients of a broadcast share one object. While the client is behind, a broadcast may be dropped. The layer above
is notified when the client has caught up, and sends the client what it must not miss.
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
"""Bytes written to one connection, give or take a packet, before other connections are written to."""

QUEUE_MOST = 1024
"""Maximum packets waiting for a connection before it counts as behind."""

SHARED_MOST = 262_144
"""Maximum bytes of broadcasts kept for a connection that is behind."""

_UNKNOWN = 1 << 62


class State(Enum):
    """The state of a connection."""

    OPEN = "open"
    POLLING = "polling"
    PROBING = "probing"
    WEBSOCKET = "websocket"
    CLOSING = "closing"
    CLOSED = "closed"


ENDED = (State.CLOSING, State.CLOSED)


class Transport(Protocol):
    """An open WebSocket, as a connection uses it."""

    stalled: bool

    def write(self, data: bytes, /) -> object:
        """Write whole frames. Must not be called while ``stalled``."""

    def unsent(self) -> int:
        """Bytes written that the client's machine has not acknowledged."""

    def close(self, code: int, reason: str) -> None:
        """Close after everything written so far."""

    def pause(self) -> None:
        """Stop reading from the client."""

    def resume(self) -> None:
        """Read again."""


class Outbound(ABC):
    """The outgoing half of a connection. ``behind``: the client does not read fast enough."""

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
        self.send_queue: SendQueue = engine.default_queue
        self.behind = False
        self._waiting: list[Outgoing] | None = None
        self._queued = False
        self._private = self._shared = self._exempt = 0
        self._progress: tuple[float, int] | None = None  # when a client that is behind last read, and the bytes left

    def push(self, out: Outgoing) -> None:
        """Queue a broadcast packet. While the client is behind, it may be dropped."""
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
            queue = self.send_queue  # SendQueue.add inlined: this line runs once for each delivery
            if not queue:
                queue.enter()
            queue.append(self)

    def _push_behind(self, out: Outgoing) -> None:
        size = len(out.frame)
        if self.state in ENDED or self._shared + size > SHARED_MOST:
            return
        self._shared += size
        self._append(out)

    def send(self, out: Outgoing, *, requested: bool = False) -> None:
        """Queue a packet for this client alone. Closes the connection if its waiting packets exceed the byte budget.

        One ``requested`` packet at a time, such as a history, may exceed the budget.
        """
        if self.state in ENDED:
            return
        budget = self.engine.limits.byte_budget
        if self._private + out.cost > budget:
            self._write_out()  # if everything is written, this also clears the exemption
        if requested:
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
        """As :meth:`send`, but write immediately if nothing else waits, without waiting for the scheduler."""
        if self._queued or self._waiting or self.transport is None:
            self.send(out)
            return
        self._queued = True  # keeps ``send`` from scheduling the write
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
        """Write some waiting packets unless the client has stopped reading, or wake its poll.

        Returns how many packets were written.
        """
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
        """Remove the next packets from the list. Returns their number and their concatenated frames."""
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
        """Deliver to a client without a WebSocket."""

    def _write_out(self) -> None:
        """Write until nothing waits or the transport stalls."""
        while self._waiting and self.transport is not None and not self.transport.stalled:
            metrics.deliveries.inc(self.flush())

    # -- behind

    def hold_back(self) -> None:
        """Mark the connection as behind, until the client has read everything that waits now."""
        self.behind = True
        self._progress = (self.engine.loop.time(), _UNKNOWN)
        self.engine.wheel.watch(self)

    def _drained(self) -> None:
        """Everything that waited was written."""
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
        """The memory cost in bytes of what waits for this connection."""
        return self._private + self._shared

    @abstractmethod
    def _caught_up(self) -> None:
        """The client was behind, and has now received everything that was waiting."""

    @abstractmethod
    def _too_slow(self, why: str) -> None:
        """End the connection: its client does not read."""

    @abstractmethod
    def overflowed(self) -> None:
        """End the connection: the process is over its memory limit, and this client holds more than its share."""

    @abstractmethod
    def check(self, now: float) -> bool:
        """Close the connection if a deadline has passed. Returns whether it still has a deadline."""
