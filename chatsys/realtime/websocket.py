"""A WebSocket that costs little when idle: uvicorn makes the handshake, then a small protocol takes the transport over.

uvicorn's own WebSocket class keeps, for each connection, a task, a queue, an event, the parser's buffers and the ASGI
scope. :class:`Doorway` is that class up to the accepted handshake; then the transport belongs to :class:`WebSocket`,
which reads and writes frames of RFC 6455 by callbacks alone, and everything else is garbage.

Read: uvicorn 0.54 (``WebSocketsSansIOProtocol``), websockets 17. tests/realtime/test_seams.py fails when the names and
the behaviour used here change.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from chatsys.realtime.frames import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame

try:
    from websockets.speedups import apply_mask
except ImportError:  # the wheel for this platform has no compiled part
    from websockets.utils import apply_mask

TAKE_OVER = "chatsys.take_over"
"""The ASGI extension under which :class:`Doorway` offers its transport."""

GOING_AWAY, PROTOCOL_ERROR, NOT_UTF8, POLICY, TOO_BIG, RESTART = 1001, 1002, 1007, 1008, 1009, 1012

_CONTINUATION = 0x0
_ABORT_AFTER = 5.0


class Receiver(Protocol):
    """What a WebSocket tells its owner, always from the event loop and never concurrently."""

    def received(self, data: str | bytes) -> None:
        """A whole message: a text or a binary one."""

    def writable(self) -> None:
        """The peer reads again after :attr:`WebSocket.stalled` was true."""

    def lost(self) -> None:
        """The connection is gone; nothing follows."""


class _Violation(Exception):
    """The peer broke the protocol; the code is the close frame's."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Released:
    """Stands for a transport that belongs to somebody else: uvicorn closes its own when the ASGI call returns."""

    def close(self) -> None:
        """Leave the transport open."""

    def is_closing(self) -> bool:
        """True, so that uvicorn writes nothing more."""
        return True


class Doorway(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket class, whose transport the application may take over once it has accepted."""

    def handle_connect(self, event: Any) -> None:
        """Offer the take-over in the scope of a request that uvicorn found correct."""
        super().handle_connect(event)
        if not self.handshake_complete:
            cast("dict[str, Any]", self.scope["extensions"])[TAKE_OVER] = self.take_over

    def take_over(self, receiver: Receiver, max_size: int) -> WebSocket:
        """Give the transport to a new :class:`WebSocket`. To be called right after ``websocket.accept``."""
        transport = self.transport
        socket = WebSocket(transport, receiver, self.connections, max_size)
        self.stop_keepalive()
        self.connections.discard(self)
        self.transport = cast("asyncio.Transport", _Released())
        transport.set_protocol(socket)
        return socket


class WebSocket(asyncio.Protocol):
    """The server's side of one open WebSocket: whole messages in, frames out, no task and no timer.

    ``stalled`` is true while the transport's buffer is above its high-water mark; its owner must not write then.
    """

    __slots__ = ("_buffer", "_max_size", "_opcode", "_partial", "_registry", "closing", "receiver", "stalled", "wire")

    def __init__(self, wire: asyncio.Transport, receiver: Receiver, registry: set[Any], max_size: int) -> None:
        self.wire = wire
        self.receiver = receiver
        self.stalled = False
        self.closing = False
        self._buffer: bytearray | None = None
        self._partial: bytearray | None = None
        self._opcode = 0
        self._max_size = max_size
        self._registry = registry
        registry.add(self)

    def write(self, data: bytes) -> None:
        """Write whole frames."""
        if not self.closing:
            self.wire.write(data)

    def waiting(self) -> int:
        """Bytes that the transport holds because the peer has not read them."""
        return self.wire.get_write_buffer_size()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame behind what is written and close; a peer that reads nothing is cut off after 5 s."""
        if self.closing:
            return
        self.wire.write(close_frame(code, reason))
        self.closing = True
        self.wire.close()
        if self.wire.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_ABORT_AFTER, self.wire.abort)

    def _refuse(self, violation: _Violation) -> None:
        """Close, and drop what the peer still sends until it closes too, for 5 s at most.

        The system resets a connection that is closed with unread bytes, and the peer would not be told why.
        """
        self.wire.write(close_frame(violation.code, violation.reason))
        self.closing = True
        self.wire.write_eof()
        asyncio.get_running_loop().call_later(_ABORT_AFTER, self.wire.abort)

    def shutdown(self) -> None:
        """uvicorn stops: tell the peer to come back."""
        self.close(RESTART, "server restart")

    # -- asyncio.Protocol

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self.closing = True
        self._registry.discard(self)
        self.receiver.lost()

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.stalled = True

    def resume_writing(self) -> None:
        """The transport's buffer is low again."""
        self.stalled = False
        self.receiver.writable()

    def data_received(self, data: bytes) -> None:
        """Cut the stream into frames."""
        if self.closing:
            return
        try:
            if self._buffer is None:
                used = self._frames(data)
                if used < len(data):
                    self._buffer = bytearray(data[used:])
            else:
                self._buffer += data
                used = self._frames(self._buffer)
                if used == len(self._buffer):
                    self._buffer = None
                elif used:
                    del self._buffer[:used]
        except _Violation as violation:
            self._buffer = None
            self._refuse(violation)

    def _frames(self, data: bytes | bytearray) -> int:
        """Handle each whole frame in ``data`` (RFC 6455 §5.2); how many bytes they took."""
        start, size = 0, len(data)
        while size - start >= 2:
            second = data[start + 1]
            length, head = second & 0x7F, start + 2
            if length >= 126:
                head += 2 if length == 126 else 8
                if size < head:
                    break
                length = int.from_bytes(data[start + 2 : head], "big")
            if not second & 0x80:
                raise _Violation(PROTOCOL_ERROR, "a client's frame must be masked")
            if length > self._max_size:
                raise _Violation(TOO_BIG, f"a packet may have {self._max_size} bytes")
            end = head + 4 + length
            if size < end:
                break
            payload = apply_mask(bytes(data[head + 4 : end]), bytes(data[head : head + 4]))
            self._frame(data[start], payload)
            start = end
            if self.closing:
                return size
        return start

    def _frame(self, first: int, payload: bytes) -> None:
        opcode, final = first & 0x0F, first & 0x80
        if first & 0x70:
            raise _Violation(PROTOCOL_ERROR, "no extension was agreed on")
        if opcode >= CLOSE:
            self._control(opcode, payload, bool(final))
            return
        if opcode == _CONTINUATION:
            if self._partial is None:
                raise _Violation(PROTOCOL_ERROR, "nothing to continue")
            self._partial += payload
            if len(self._partial) > self._max_size:
                raise _Violation(TOO_BIG, f"a packet may have {self._max_size} bytes")
            if final:
                payload, self._partial = bytes(self._partial), None
                self._message(self._opcode, payload)
        elif opcode not in (TEXT, BINARY) or self._partial is not None:
            raise _Violation(PROTOCOL_ERROR, "unexpected frame")
        elif final:
            self._message(opcode, payload)
        else:
            self._opcode, self._partial = opcode, bytearray(payload)

    def _message(self, opcode: int, payload: bytes) -> None:
        if opcode == BINARY:
            self.receiver.received(payload)
            return
        try:
            text = payload.decode()
        except UnicodeDecodeError as error:
            raise _Violation(NOT_UTF8, "a text must be UTF-8") from error
        self.receiver.received(text)

    def _control(self, opcode: int, payload: bytes, final: bool) -> None:
        if not final or len(payload) > 125 or opcode not in (CLOSE, PING, PONG):
            raise _Violation(PROTOCOL_ERROR, "unexpected control frame")
        if opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1000
            self.close(code if 1000 <= code < 5000 and code not in (1004, 1005, 1006, 1015) else PROTOCOL_ERROR)
        elif opcode == PING and not self.stalled:  # a peer that reads nothing gets no pong to store
            self.write(frame(PONG, payload))
