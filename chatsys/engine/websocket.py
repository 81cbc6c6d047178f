"""An open WebSocket that costs little when idle: it works with callbacks, without a task, a queue or a timer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from chatsys.engine.shared import Shared
from chatsys.protocol import frames

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows does not report what a peer has acknowledged
    ioctl = None  # type: ignore[assignment]

logger = logging.getLogger("chatsys.engine")

_ABORT_AFTER = 5.0
_MORE, _FULL = 1, 2  # reasons to pause reading: whole frames are left over; the receiver has paused it
_PARKED = 4  # frames are left over, and wait until the receiver resumes

ITERATIONS_MOST = 16
"""Event loop iterations in a row in which one connection is handled. Beyond that it is slowed down as a flood."""

PACE = 0.002
"""Seconds between two iterations in which a flood is handled, so that other connections are served in between."""


def _drop(data: bytes) -> None:
    """Replaces ``write`` on a WebSocket that is closing."""


class FrameReceiver(Protocol):
    """The user of a WebSocket. Called on the event loop, never concurrently."""

    def received(self, data: str | bytes) -> None:
        """Handle a whole text or binary message."""

    def stalled(self) -> None:
        """The peer has stopped reading."""

    def writable(self) -> None:
        """The peer reads again."""

    def overflowed(self) -> None:
        """The process is over its memory limit for clients, and this client holds more than its share."""

    def lost(self) -> None:
        """The connection is gone. This is the last call."""


class WebSocket(frames.FrameReader, asyncio.Protocol):
    """The server side of one open WebSocket: whole messages in, frames out.

    =======  =================================  ================================================================
    state    data from the peer                 next states
    =======  =================================  ================================================================
    reading  is handled                         paused (frames left over, receiver is full), refused, closing
    paused   waits in the kernel                reading, in a later iteration of the event loop; closing
    refused  is dropped, up to a packet's size  gone, when the peer closes too, after 5 s, or beyond that size
    closing  is not read                        gone, when everything is sent, or after 5 s
    gone     none                               none
    =======  =================================  ================================================================

    ``stalled`` is true while the transport's buffer is above its high-water mark; the receiver must not write then.
    One iteration of the event loop handles at most ``frames_per_iteration`` frames; the rest waits for the next one.
    After ITERATIONS_MOST in a row, the next ones follow every PACE seconds.
    ``registry`` is the web server's set of connections, which it shuts down when it stops.
    """

    __slots__ = (
        "_cutting_off",
        "_engine",
        "_held",
        "_iterations",
        "_pauses",
        "_registry",
        "_since",
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
        self.write: Callable[[bytes], object] = wire.write  # saves a call for each delivery
        """Write whole frames."""
        self._engine = engine
        self._registry = registry
        self._pauses = 0
        self._iterations = 0
        self._held = 0
        self._since = 0.0
        self._cutting_off: Any = None  # the timer that aborts a slow close
        registry.add(self)

    # -- outgoing

    def unsent(self) -> int:
        """Bytes that the peer's machine has not acknowledged, in the transport and (not on Windows) in the kernel."""
        size = self._wire.get_write_buffer_size()
        pipe = self._wire.get_extra_info("socket")
        if ioctl is not None and pipe is not None and not self._wire.is_closing():
            size += int.from_bytes(ioctl(pipe.fileno(), TIOCOUTQ, bytes(4)), "little")
        return size

    def close(self, code: int = frames.NORMAL, reason: str = "") -> None:
        """Send a close frame after all written data, and close. A peer that does not read is cut off after 5 s."""
        if self.closing:
            return
        self._wire.write(frames.close_frame(code, reason))
        self._stop()
        self._wire.close()
        if self._wire.get_write_buffer_size():
            self._cutting_off = self._engine.loop.call_later(_ABORT_AFTER, self._wire.abort)

    def _refuse(self, code: int, reason: str) -> None:
        """Send a close frame, then read and drop what the peer sends until it closes too.

        The kernel resets a connection that is closed with unread bytes, and the peer would not receive the close frame.
        The peer is cut off after 5 s, or when it has sent more than the size of a packet.
        """
        logger.debug("closed a WebSocket with code %d: %s", code, reason)
        self._wire.write(frames.close_frame(code, reason))
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
        """Close with "service restart", since the web server stops."""
        self.close(frames.RESTART, "server restart")

    # -- incoming

    def pause(self) -> None:
        """Stop reading until :meth:`resume`."""
        self._pause(_FULL)

    def resume(self) -> None:
        """Read again."""
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
        """Handle data from the peer."""
        if not self.closing:
            self._take(self.read(data, self._engine.limits.frames_per_iteration))
        else:  # refused: limit the dropped bytes too, since reading them takes time
            self._held += len(data)
            if self._held > self.max_size:
                self._wire.abort()

    def _read_on(self) -> None:
        """Handle frames that a previous iteration of the event loop left over."""
        if self.closing or not self._pauses & _MORE:
            return
        if self._pauses & _FULL:
            self._pauses |= _PARKED
            return
        self._take(self.read(b"", self._engine.limits.frames_per_iteration))
        if not self.more:
            self._iterations = 0
            self._resume(_MORE)

    def _take(self, items: list[frames.Item]) -> None:
        ping: bytes | None = None
        whole = False
        for item in items:
            if isinstance(item, str | bytes):
                whole = True
                self.receiver.received(item)
            elif isinstance(item, frames.Control):
                if item.opcode == frames.PING:
                    ping = item.payload
                elif item.opcode == frames.CLOSE:
                    self.close(item.code)
            else:
                self._refuse(item.code, item.reason)
            if self.closing:
                return
        if ping is not None and not self.stalled:  # one pong, for the newest ping (RFC 6455 §5.5.3)
            self.write(frames.frame(frames.PONG, ping))
        if self.more:
            self._pause(_MORE)
            self._iterations += 1
            if self._iterations < ITERATIONS_MOST:
                self._engine.loop.call_soon(self._read_on)
            else:
                self._engine.loop.call_later(PACE, self._read_on)
        if self._buffer is not None or self._message is not None or self._held:
            self._account(finished=whole)

    # -- unfinished messages

    def _account(self, *, finished: bool) -> None:
        """Count the bytes of the unfinished frame or message. Its deadline restarts when a message is ``finished``."""
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
        """Refuse a peer whose message did not end in time. Returns whether a message is unfinished."""
        if self._since and now - self._since > self._engine.limits.unfinished_within and not self.closing:
            self._refuse(frames.POLICY, "a message did not end in time")
        return bool(self._since)

    # -- asyncio.Protocol

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone. Many may be lost at once, so their ends are handled in slices."""
        if not self.closing:
            self._stop()
        if self._cutting_off is not None:
            self._cutting_off.cancel()
        self._registry.discard(self)
        self._engine.losses.add(self.receiver.lost)
        del self.receiver  # breaks a reference cycle, so that both are freed without the garbage collector

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.stalled = True
        self.receiver.stalled()

    def resume_writing(self) -> None:
        """The transport's buffer is low again."""
        self.stalled = False
        self.receiver.writable()
