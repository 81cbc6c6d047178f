"""An open WebSocket that costs little when idle: frames by callbacks alone, no task, no queue and no timer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from chatsys.engine.shared import Shared
from chatsys.protocol.frames import (
    CLOSE,
    NORMAL,
    PING,
    POLICY,
    PONG,
    RESTART,
    Control,
    FrameReader,
    Item,
    Violation,
    close_frame,
    frame,
)

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows does not tell what a peer has acknowledged
    ioctl = None  # type: ignore[assignment]

logger = logging.getLogger("chatsys.engine")

_ABORT_AFTER = 5.0
_MORE, _FULL = 1, 2  # why it does not read: whole frames are left over; its owner takes no more
_PARKED = 4  # frames are left over, and wait until the owner takes more

HURRIED = 16
"""Turns of the event loop that a connection may take one after the other; then it is a flood, and is slowed."""

PACE = 0.002
"""Seconds between two turns of a connection that floods: the processor is the others' in between."""


def _drop(data: bytes) -> None:
    """What is written to a WebSocket that closes."""


class FrameReceiver(Protocol):
    """What a WebSocket tells its owner, always from the event loop and never concurrently."""

    def received(self, data: str | bytes) -> None:
        """A whole message: a text or a binary one."""

    def stalled(self) -> None:
        """The peer does not take what was written."""

    def writable(self) -> None:
        """The peer takes again."""

    def overflowed(self) -> None:
        """The process holds too much for its clients, and this one more than its share."""

    def lost(self) -> None:
        """The connection is gone; nothing follows."""


class WebSocket(FrameReader, asyncio.Protocol):
    """The server's side of one open WebSocket: whole messages in, frames out.

    =======  =================================  ================================================================
    state    what the peer sends                goes on to
    =======  =================================  ================================================================
    reading  is handled                         paused (frames left over, its owner is full), refused, closing
    paused   waits in the system                reading, in a later turn of the event loop; closing
    refused  is dropped, up to a packet's size  gone, when the peer closes too, after 5 s, or past that size
    closing  is not read                        gone, when what is written has left, or after 5 s
    gone     is nothing                         nothing
    =======  =================================  ================================================================

    ``stalled`` is true while the transport's buffer is above its high-water mark; its owner must not write then. It
    handles as many frames in one turn of the event loop as its engine's limits say, and reads nothing until then. After
    HURRIED turns it has one every PACE seconds.
    ``registry`` is the web server's set of connections, which are told when it stops.
    """

    __slots__ = (
        "_cutting_off",
        "_engine",
        "_held",
        "_pauses",
        "_registry",
        "_since",
        "_turns",
        "_wire",
        "closing",
        "receiver",
        "stalled",
        "write",
    )

    def __init__(self, wire: asyncio.Transport, receiver: FrameReceiver, engine: Shared, registry: set[Any]) -> None:
        super().__init__(engine.limits.max_packet, engine.limits.fragments)
        self.receiver = receiver
        self.stalled = False
        self.closing = False
        self._wire = wire
        self.write: Callable[[bytes], object] = wire.write  # one call less for each delivery
        """Write whole frames."""
        self._engine = engine
        self._registry = registry
        self._pauses = 0
        self._turns = 0
        self._held = 0
        self._since = 0.0
        self._cutting_off: Any = None  # the timer that aborts it
        registry.add(self)

    # -- outwards

    def unsent(self) -> int:
        """Bytes that the peer's machine has not acknowledged: the transport's, and the kernel's where it tells."""
        size = self._wire.get_write_buffer_size()
        pipe = self._wire.get_extra_info("socket")
        if ioctl is not None and pipe is not None and not self._wire.is_closing():
            size += int.from_bytes(ioctl(pipe.fileno(), TIOCOUTQ, bytes(4)), "little")
        return size

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Send a close frame behind what is written and close; a peer that reads nothing is cut off after 5 s."""
        if self.closing:
            return
        self._wire.write(close_frame(code, reason))
        self._stop()
        self._wire.close()
        if self._wire.get_write_buffer_size():
            self._cutting_off = self._engine.loop.call_later(_ABORT_AFTER, self._wire.abort)

    def _refuse(self, code: int, reason: str) -> None:
        """Close, and drop what the peer still sends until it closes too: for 5 s, and of the size of a packet at most.

        The system resets a connection that is closed with unread bytes, and the peer would not be told why.
        """
        logger.debug("closed a WebSocket with code %d: %s", code, reason)
        self._wire.write(close_frame(code, reason))
        self._stop()
        if self._pauses:
            self._pauses = 0
            self._wire.resume_reading()
        self._wire.write_eof()
        self._cutting_off = self._engine.loop.call_later(_ABORT_AFTER, self._wire.abort)

    def _stop(self) -> None:
        self.closing = True
        self.write = _drop
        self._buffer = self._message = None
        self._account(finished=True)

    def shutdown(self) -> None:
        """The web server stops: tell the peer to come back."""
        self.close(RESTART, "server restart")

    # -- inwards

    def pause(self) -> None:
        """Read nothing more until :meth:`resume`."""
        self._pause(_FULL)

    def resume(self) -> None:
        """Read on."""
        if self._pauses & _PARKED:
            self._pauses &= ~_PARKED
            self._engine.loop.call_soon(self._read_on)
        if self._pauses & _FULL:
            self._resume(_FULL)

    def _pause(self, why: int) -> None:
        if not self._pauses and not self.closing:
            self._wire.pause_reading()
        self._pauses |= why

    def _resume(self, why: int) -> None:
        self._pauses &= ~why
        if not self._pauses and not self.closing:
            self._wire.resume_reading()

    def data_received(self, data: bytes) -> None:
        """What the peer sent."""
        if not self.closing:
            self._take(self.read(data, self._engine.limits.frames_per_turn))
        else:  # refused: what is dropped has a bound too, since reading it takes time from the others
            self._held += len(data)
            if self._held > self.max_size:
                self._wire.abort()

    def _read_on(self) -> None:
        """A later turn of the event loop: handle the frames that were left over."""
        if self.closing or not self._pauses & _MORE:
            return
        if self._pauses & _FULL:
            self._pauses |= _PARKED
            return
        self._take(self.read(b"", self._engine.limits.frames_per_turn))
        if not self.more:
            self._turns = 0
            self._resume(_MORE)

    def _take(self, items: list[Item]) -> None:
        ping: bytes | None = None
        whole = False
        for item in items:
            if isinstance(item, str | bytes):
                whole = True
                self.receiver.received(item)
            elif isinstance(item, Control):
                if item.opcode == PING:
                    ping = item.payload
                elif item.opcode == CLOSE:
                    self.close(item.code)
            else:
                self._violated(item)
            if self.closing:
                return
        if ping is not None and not self.stalled:  # one pong for the newest of several pings (RFC 6455 §5.5.3)
            self.write(frame(PONG, ping))
        if self.more:
            self._pause(_MORE)
            self._turns += 1
            if self._turns < HURRIED:
                self._engine.loop.call_soon(self._read_on)
            else:
                self._engine.loop.call_later(PACE, self._read_on)
        if self._buffer is not None or self._message is not None or self._held:
            self._account(finished=whole)

    def _violated(self, violation: Violation) -> None:
        self._refuse(violation.code, violation.reason)

    # -- what is not finished

    def _account(self, *, finished: bool) -> None:
        """Count what waits for the rest of its frame or message; its time begins anew when a message is whole."""
        size = self.unfinished
        self._engine.memory.take(size - self._held)
        grown, self._held = size > self._held, size
        if not size:
            self._since = 0.0
        elif finished or not self._since:
            self._since = self._engine.loop.time()
            self._engine.wheel.watch(self)
        if grown and self._engine.memory.refuses(size):
            self.receiver.overflowed()

    def check(self, now: float) -> bool:
        """Refuse a peer that does not finish what it has begun in time; whether it still has begun something."""
        if self._since and now - self._since > self._engine.limits.unfinished_within and not self.closing:
            self._refuse(POLICY, "a message did not end in time")
        return bool(self._since)

    # -- asyncio.Protocol

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone, and perhaps many others are with it."""
        if not self.closing:
            self._stop()
        if self._cutting_off is not None:
            self._cutting_off.cancel()
        self._registry.discard(self)
        self._engine.losses.add(self.receiver.lost)
        del self.receiver  # it refers to this: both go at once, and not when garbage is collected

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.stalled = True
        self.receiver.stalled()

    def resume_writing(self) -> None:
        """The transport's buffer is low again."""
        self.stalled = False
        self.receiver.writable()
