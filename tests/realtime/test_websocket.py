"""Frames of RFC 6455, cut anywhere, make whole messages; what breaks the protocol closes with its code."""

from __future__ import annotations

import random
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from chatsys.realtime.frames import frame
from chatsys.realtime.websocket import WebSocket


class Transport:
    """Notes what is written and whether it was closed."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = self.ended = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def write_eof(self) -> None:
        self.ended = True

    def get_write_buffer_size(self) -> int:
        return 0


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.gone = 0

    def received(self, data: str | bytes) -> None:
        self.messages.append(data)

    def writable(self) -> None:
        self.messages.append("writable")

    def lost(self) -> None:
        self.gone += 1


def opened(max_size: int = 1000) -> tuple[WebSocket, Transport, Listener]:
    transport, listener = Transport(), Listener()
    registry: set[Any] = set()
    return WebSocket(transport, listener, registry, max_size), transport, listener  # type: ignore[arg-type]


def masked(opcode: Opcode, payload: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin=fin).serialize(mask=True)


STREAM = (
    masked(Opcode.TEXT, b"one")
    + masked(Opcode.TEXT, "två 🎈".encode())
    + masked(Opcode.TEXT, b"x" * 125)
    + masked(Opcode.TEXT, b"y" * 126)
    + masked(Opcode.PING, b"p")
    + masked(Opcode.TEXT, b"be", fin=False)
    + masked(Opcode.PONG, b"")
    + masked(Opcode.CONT, b"", fin=False)
    + masked(Opcode.CONT, b"gin")
    + masked(Opcode.BINARY, b"\0\xff")
    + masked(Opcode.TEXT, b"")
)
MESSAGES = ["one", "två 🎈", "x" * 125, "y" * 126, "begin", b"\0\xff", ""]


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_cut_anywhere_gives_the_same_messages(seed: int) -> None:
    socket, transport, listener = opened()
    cuts = random.Random(seed)
    rest = STREAM
    while rest:
        size = cuts.choice([1, 2, 3, 7, 50, len(rest)])
        socket.data_received(rest[:size])
        rest = rest[size:]
    assert listener.messages == MESSAGES
    assert transport.written == frame(0xA, b"p")
    assert not socket.closing


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(0x1, b"not masked"), 1002),
        (masked(Opcode.CONT, b"nothing before"), 1002),
        (masked(Opcode.TEXT, b"a", fin=False) + masked(Opcode.TEXT, b"b"), 1002),
        (masked(Opcode.TEXT, b"\xff"), 1007),
        (masked(Opcode.TEXT, b"x" * 1001), 1009),
        (masked(Opcode.TEXT, b"x" * 600, fin=False) + masked(Opcode.CONT, b"x" * 600), 1009),
    ],
    ids=["not masked", "nothing to continue", "two begun", "not UTF-8", "too long", "too long in parts"],
)
async def test_a_violation_closes_with_its_code_and_what_comes_after_is_dropped(data: bytes, code: int) -> None:
    socket, transport, listener = opened()
    socket.data_received(data + masked(Opcode.TEXT, b"after"))
    assert transport.ended
    assert not transport.closed, "the peer would be reset, and never read the code"
    assert transport.written[:1] == b"\x88"
    assert int.from_bytes(transport.written[2:4], "big") == code
    socket.data_received(masked(Opcode.TEXT, b"later"))
    assert listener.messages == []


def test_a_close_is_echoed_and_the_owner_is_told_once() -> None:
    socket, transport, listener = opened()
    socket.data_received(masked(Opcode.CLOSE, (1001).to_bytes(2, "big")))
    assert transport.written == frame(0x8, (1001).to_bytes(2, "big"))
    socket.connection_lost(None)
    assert (transport.closed, listener.gone) == (True, 1)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 70000])
def test_a_frame_is_what_the_websockets_library_makes(size: int) -> None:
    payload = b"z" * size
    assert frame(0x1, payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def test_a_peer_that_does_not_read_gets_no_pongs_to_store() -> None:
    socket, transport, _ = opened()
    socket.pause_writing()
    socket.data_received(masked(Opcode.PING, b"x") * 10)
    assert transport.written == b""
