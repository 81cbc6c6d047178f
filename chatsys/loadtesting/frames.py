"""WebSocket frames of a client (RFC 6455 §5), without a socket: bytes in, messages out.

No extension is offered in the handshake, so a frame with a reserved bit set is an error of the server.
"""

from __future__ import annotations

import random

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_FINAL = 0x80
_MASKED = 0x80
MAX_MESSAGE = 64 * 1024 * 1024


class FrameError(Exception):
    """The server broke the WebSocket protocol."""


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One final frame, masked with a random key as §5.3 asks of a client."""
    size = len(payload)
    if size < 126:
        head = bytes((_FINAL | opcode, _MASKED | size))
    elif size < 65_536:
        head = bytes((_FINAL | opcode, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | opcode, _MASKED | 127)) + size.to_bytes(8, "big")
    key = random.getrandbits(32).to_bytes(4, "big")
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return head + key + (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")


class FrameReader:
    """Cuts a stream of bytes into messages; a fragmented message comes out whole."""

    __slots__ = ("_left", "_opcode", "_parts")

    def __init__(self) -> None:
        self._left = b""
        self._opcode = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that ``data`` completes, each an opcode and its payload. Raises FrameError."""
        if self._left:
            data = self._left + data
        at, end, messages = 0, len(data), []
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
        """Control frames and fragments."""
        if first & 0x70:
            raise FrameError("a reserved bit is set")
        opcode, final = first & 0x0F, first & _FINAL
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
