"""Encode and decode WebSocket frames (RFC 6455) without I/O: bytes go in, whole messages come out."""

from __future__ import annotations

import random
from typing import NamedTuple

try:
    from websockets.speedups import apply_mask
except ImportError:  # the wheel for this platform has no compiled part
    from websockets.utils import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

NORMAL, GOING_AWAY, PROTOCOL_ERROR, NOT_UTF8, POLICY, TOO_BIG = 1000, 1001, 1002, 1007, 1008, 1009
RESTART, TRY_LATER = 1012, 1013

_FIN = 0x80
_MASKED = 0x80
_SHORT_TEXT = [bytes((_FIN | TEXT, _MASKED | size)) for size in range(126)]  # headers of a client's short texts
_RESERVED_CODES = (1004, 1005, 1006, 1015)
MAX_MESSAGE = 64 * 1024 * 1024
"""Maximum bytes of a message that a client accepts."""


def frame(opcode: int, payload: bytes, mask: bytes = b"", *, final: bool = True) -> bytes:
    """Encode a server's frame (RFC 6455 §5.2), or with a ``mask`` of 4 bytes a client's frame."""
    first, bit, size = (_FIN if final else 0) | opcode, _MASKED if mask else 0, len(payload)
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head + mask + apply_mask(payload, mask) if mask else head + payload


def masked(payload: bytes, opcode: int = TEXT) -> bytes:
    """Encode a client's frame with a random mask (RFC 6455 §5.3)."""
    return frame(opcode, payload, random.getrandbits(32).to_bytes(4, "big"))


def close_frame(code: int, reason: str) -> bytes:
    """Encode a server's close frame with a code (RFC 6455 §7.4). The reason is cut to 123 bytes of UTF-8."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode()[:123])


class FrameError(Exception):
    """The server broke the WebSocket protocol; the text says how."""


class Control(NamedTuple):
    """A control frame: ``CLOSE``, ``PING`` or ``PONG``."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """The code to send back in reply to a close frame."""
        code = int.from_bytes(self.payload[:2], "big") if len(self.payload) >= 2 else NORMAL
        return code if 1000 <= code < 5000 and code not in _RESERVED_CODES else PROTOCOL_ERROR


class Violation(NamedTuple):
    """The peer violated the protocol or a limit; with the code and the reason for the close frame."""

    code: int
    reason: str


class _Broken(Exception):
    """Ends the decoding of a stream; the arguments are those of the violation."""


Item = str | bytes | Control | Violation
"""A decoded item: a text or binary message, a control frame, or a violation, which is always the last item."""


class _Message:
    """A fragmented message that is not complete yet."""

    __slots__ = ("data", "fragments", "opcode")

    def __init__(self, opcode: int, data: bytes) -> None:
        self.opcode = opcode
        self.data = bytearray(data)
        self.fragments = 1


class FrameReader:
    """Decodes a client's stream into messages.

    =======  =================================  ==================  ===================================================
    state    text or binary frame               continuation frame  next states
    =======  =================================  ==================  ===================================================
    between  is a message, or the start of one  is a violation      within, if the message is not complete
    within   is a violation                     is appended         between, when complete; broken, if over a limit
    broken   is not read                        is not read         none
    =======  =================================  ==================  ===================================================

    Control frames may arrive in every state. A message has at most ``max_size`` bytes and ``max_fragments`` frames.
    ``more`` is true if the last call of :meth:`read` reached its limit of frames, so that whole frames may be left.
    """

    __slots__ = ("_buffer", "_message", "max_fragments", "max_size", "more")

    def __init__(self, max_size: int, max_fragments: int) -> None:
        self.max_size = max_size
        self.max_fragments = max_fragments
        self.more = False
        self._buffer: bytearray | None = None
        self._message: _Message | None = None

    @property
    def unfinished(self) -> int:
        """Bytes of the incomplete frame and message."""
        return len(self._buffer or b"") + (len(self._message.data) if self._message is not None else 0)

    def read(self, data: bytes, most: int) -> list[Item]:
        """Decode at most ``most`` frames and return the completed items. Remaining bytes are kept for the next call."""
        buffer, items = self._buffer, list[Item]()
        size = len(data) - 6
        try:
            if 0 < size < 126 and data[:2] == _SHORT_TEXT[size] and buffer is None and self._message is None and most:
                if size > self.max_size:
                    raise self._too_big()
                items.append(_whole(TEXT, apply_mask(data[6:], data[2:6])))  # the fast path of most reads
            elif buffer is None:
                used = self._frames(data, most, items)
                if used < len(data):
                    self._buffer = bytearray(data[used:])
            else:
                buffer += data
                used = self._frames(buffer, most, items)
                if used == len(buffer):
                    self._buffer = None
                elif used:
                    del buffer[:used]
        except _Broken as broken:
            self._buffer = self._message = None
            self.more = False
            items.append(Violation(*broken.args))
        return items

    def _frames(self, data: bytes | bytearray, most: int, items: list[Item]) -> int:
        """Append the decoded frames to ``items``. Returns how many bytes were used."""
        start, size = 0, len(data)
        while size - start >= 2:
            second = data[start + 1]
            length, head = second & 0x7F, start + 2
            if length >= 126:
                head += 2 if length == 126 else 8
                if size < head:
                    break
                length = int.from_bytes(data[start + 2 : head], "big")
            if not second & _MASKED:
                raise _Broken(PROTOCOL_ERROR, "a client's frame must be masked")
            if length > self.max_size:
                raise self._too_big()
            end = head + 4 + length
            if size < end:
                break
            if not most:
                self.more = True
                return start
            most -= 1
            payload = apply_mask(bytes(data[head + 4 : end]), bytes(data[head : head + 4])) if length else b""
            self._frame(data[start], payload, items)
            start = end
        self.more = False
        return start

    def _frame(self, first: int, payload: bytes, items: list[Item]) -> None:
        opcode, final = first & 0x0F, first & _FIN
        if first & 0x70:
            raise _Broken(PROTOCOL_ERROR, "no extension was agreed on")
        if opcode >= CLOSE:
            if not final or len(payload) > 125 or opcode not in (CLOSE, PING, PONG):
                raise _Broken(PROTOCOL_ERROR, "unexpected control frame")
            items.append(Control(opcode, payload))
        elif opcode == CONTINUATION:
            self._continue(payload, bool(final), items)
        elif opcode not in (TEXT, BINARY) or self._message is not None:
            raise _Broken(PROTOCOL_ERROR, "unexpected frame")
        elif final:
            items.append(_whole(opcode, payload))
        else:
            self._message = _Message(opcode, payload)

    def _continue(self, payload: bytes, final: bool, items: list[Item]) -> None:
        message = self._message
        if message is None:
            raise _Broken(PROTOCOL_ERROR, "nothing to continue")
        message.data += payload
        message.fragments += 1
        if len(message.data) > self.max_size:
            raise self._too_big()
        if message.fragments > self.max_fragments:
            raise _Broken(POLICY, f"a message may have {self.max_fragments} fragments")
        if final:
            self._message = None
            items.append(_whole(message.opcode, bytes(message.data)))

    def _too_big(self) -> _Broken:
        return _Broken(TOO_BIG, f"a packet may have {self.max_size} bytes")


def _whole(opcode: int, payload: bytes) -> str | bytes:
    if opcode == BINARY:
        return payload
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise _Broken(NOT_UTF8, "a text must be UTF-8") from None


def payload_span(data: bytes, position: int) -> tuple[int, int] | None:
    """The start and end of the payload of a server's frame at ``position``; None if its header is incomplete."""
    if len(data) < position + 2:
        return None
    size = data[position + 1]
    start = position + 2
    if size >= 126:
        wide = 2 if size == 126 else 8
        if len(data) < start + wide:
            return None
        size = int.from_bytes(data[start : start + wide], "big")
        start += wide
    return start, start + size


class ServerFrames:
    """Decodes a server's stream into messages for a client. Joins the fragments of a message.

    The handshake offers no extension, so a frame with a reserved bit set is an error of the server.
    """

    __slots__ = ("_left", "_opcode", "_parts")

    def __init__(self) -> None:
        self._left = b""
        self._opcode = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages completed by ``data``, each as opcode and payload. Raises FrameError."""
        if self._left:
            data = self._left + data
        at, end, messages = 0, len(data), list[tuple[int, bytes]]()
        while end - at >= 2:
            first, size = data[at], data[at + 1]
            start = at + 2
            if size >= 126:
                if size > 127:
                    raise FrameError("a frame of the server is masked")
                wide = 2 if size == 126 else 8
                if end - start < wide:
                    break
                size = int.from_bytes(data[start : start + wide], "big")
                start += wide
                if size > MAX_MESSAGE:
                    raise FrameError(f"a frame of {size} bytes is over the limit of {MAX_MESSAGE}")
            if end - start < size:
                break
            at = start + size
            if first in {0x81, 0x82}:
                messages.append((first & 0x0F, data[start:at]))
            else:
                self._uncommon(first, data[start:at], messages)
        self._left = data[at:] if at < end else b""
        return messages

    def _uncommon(self, first: int, payload: bytes, messages: list[tuple[int, bytes]]) -> None:
        """Handle a control frame or a fragment."""
        if first & 0x70:
            raise FrameError("a reserved bit is set")
        opcode, final = first & 0x0F, first & _FIN
        if opcode >= CLOSE:
            messages.append((opcode, payload))
            return
        if opcode:
            self._opcode, self._parts = opcode, []
        elif not self._opcode:
            raise FrameError("a continuation without a beginning")
        self._parts.append(payload)
        if sum(map(len, self._parts)) > MAX_MESSAGE:
            raise FrameError(f"a message is over the limit of {MAX_MESSAGE} bytes")
        if final:
            messages.append((self._opcode, b"".join(self._parts)))
            self._opcode, self._parts = 0, []
