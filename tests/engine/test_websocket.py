"""An open WebSocket: frames cut anywhere give whole messages, limits hold, and a violation closes with its code."""

from __future__ import annotations

import asyncio
import gc
import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from chatsys.engine.engine import WEBSOCKET, Engine
from chatsys.engine.shared import ENDED_AT_ONCE
from chatsys.engine.websocket import ITERATIONS_MOST, PACE, WebSocket
from chatsys.protocol.frames import frame

from .conftest import LIMITS, Application, FakeLoop, make_engine, server_texts


class Transport:
    """Records what is written and whether it was closed."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = self.ended = self.aborted = False
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def write_eof(self) -> None:
        self.ended = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


class Listener:
    """Records the calls that it receives."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.gone = 0

    def received(self, data: str | bytes) -> None:
        self.messages.append(data)

    def stalled(self) -> None:
        self.messages.append("stalled")

    def writable(self) -> None:
        self.messages.append("writable")

    def overflowed(self) -> None:
        self.messages.append("overflowed")

    def lost(self) -> None:
        self.gone += 1


Opened = tuple[WebSocket, Transport, Listener]


@pytest.fixture
def engine(application: Application, loop: FakeLoop) -> Engine:
    limits = msgspec.structs.replace(LIMITS, max_packet=1000, fragments=LIMITS.frames_per_iteration // 2)
    return make_engine(application, loop, limits)


@pytest.fixture
def opened(engine: Engine) -> Opened:
    transport, listener = Transport(), Listener()
    registry: set[Any] = set()
    return WebSocket(transport, listener, engine, registry), transport, listener  # type: ignore[arg-type]


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
def test_stream_cut_anywhere_gives_the_same_messages(opened: Opened, engine: Engine, seed: int) -> None:
    socket, transport, listener = opened
    cuts = random.Random(seed)
    rest = STREAM
    while rest:
        size = cuts.choice([1, 2, 3, 7, 50, len(rest)])
        socket.data_received(rest[:size])
        rest = rest[size:]
    assert listener.messages == MESSAGES
    assert transport.written == frame(0xA, b"p")
    assert not socket.closing
    assert engine.memory.held == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(0x1, b"not masked"), 1002),
        (masked(Opcode.CONT, b"nothing before"), 1002),
        (masked(Opcode.TEXT, b"a", fin=False) + masked(Opcode.TEXT, b"b"), 1002),
        (masked(Opcode.TEXT, b"\xff"), 1007),
        (masked(Opcode.TEXT, b"x" * 1001), 1009),
        (masked(Opcode.TEXT, b"x" * 600, fin=False) + masked(Opcode.CONT, b"x" * 600), 1009),
        (masked(Opcode.TEXT, b"x", fin=False) + masked(Opcode.CONT, b"", fin=False) * 20, 1008),
    ],
    ids=["not masked", "nothing to continue", "two begun", "not UTF-8", "too long", "too long in parts", "too many"],
)
def test_violation_closes_with_its_code_and_later_data_is_dropped(opened: Opened, data: bytes, code: int) -> None:
    socket, transport, listener = opened
    socket.data_received(data + masked(Opcode.TEXT, b"after"))
    assert transport.ended
    assert not transport.closed, "the peer would be reset, and never read the code"
    assert transport.written[:1] == b"\x88"
    assert int.from_bytes(transport.written[2:4], "big") == code
    socket.data_received(masked(Opcode.TEXT, b"later"))
    assert listener.messages == []


def test_close_is_echoed_and_reported_to_the_owner_once(opened: Opened, loop: FakeLoop) -> None:
    socket, transport, listener = opened
    socket.data_received(masked(Opcode.CLOSE, (1001).to_bytes(2, "big")))
    assert transport.written == frame(0x8, (1001).to_bytes(2, "big"))
    socket.connection_lost(None)
    loop.settle()
    assert (transport.closed, listener.gone) == (True, 1)


def test_data_after_a_refusal_is_dropped_up_to_the_size_of_a_packet(opened: Opened) -> None:
    socket, transport, listener = opened
    socket.data_received(masked(Opcode.CONT, b"nothing before"))
    for _ in range(3):
        socket.data_received(bytes(300))
    assert not transport.aborted
    socket.data_received(bytes(300))
    assert transport.aborted
    assert listener.messages == []


def test_two_thousand_lost_connections_end_in_slices(engine: Engine, loop: FakeLoop, application: Application) -> None:
    sockets = []
    for _ in range(2_000):
        connection = engine.open(WEBSOCKET)
        socket = WebSocket(Transport(), connection, engine, set())  # type: ignore[arg-type]
        connection.adopt(socket)
        connection.received("40")
        sockets.append(socket)
    loop.settle()
    for socket in sockets:
        socket.connection_lost(None)
    left, gone_counts = [len(engine.connections)], [0]
    while left[-1] or gone_counts[-1] < 2_000:
        loop.run_once()
        left.append(len(engine.connections))
        gone_counts.append(len(application.gone))
    assert max(before - after for before, after in pairwise(left)) == ENDED_AT_ONCE
    assert max(after - before for before, after in pairwise(gone_counts)) == ENDED_AT_ONCE
    assert engine.memory.held == 0


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 70000])
def test_frame_equals_that_of_the_websockets_library(size: int) -> None:
    payload = b"z" * size
    assert frame(0x1, payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def test_peer_that_does_not_read_gets_no_buffered_pongs(opened: Opened) -> None:
    socket, transport, _ = opened
    socket.pause_writing()
    socket.data_received(masked(Opcode.PING, b"x") * 10)
    assert transport.written == b""


def test_run_of_pings_is_answered_once_with_the_newest(opened: Opened) -> None:
    socket, transport, _ = opened
    socket.data_received(b"".join(masked(Opcode.PING, b"%d" % number) for number in range(10)))
    assert server_texts(transport.written) == ["pong 9"]


def test_frames_per_iteration_are_limited_and_reading_pauses_meanwhile(opened: Opened, loop: FakeLoop) -> None:
    socket, transport, listener = opened
    most = LIMITS.frames_per_iteration
    socket.data_received(b"".join(masked(Opcode.TEXT, b"%d" % number) for number in range(3 * most - 1)))
    assert (len(listener.messages), transport.reading) == (most, False)
    loop.run_once()
    assert (len(listener.messages), transport.reading) == (2 * most, False)
    loop.run_once()
    assert (len(listener.messages), transport.reading) == (3 * most - 1, True)
    assert listener.messages == [f"{number}" for number in range(3 * most - 1)]


def test_remaining_frames_wait_while_the_owner_is_paused(opened: Opened, loop: FakeLoop) -> None:
    socket, transport, listener = opened
    most = LIMITS.frames_per_iteration
    socket.data_received(masked(Opcode.TEXT, b"x") * (most + 1))
    socket.pause()
    for _ in range(3):
        loop.run_once()
    assert len(listener.messages) == most
    assert loop.idle
    socket.resume()
    assert not transport.reading
    loop.settle()
    assert (len(listener.messages), transport.reading) == (most + 1, True)


def test_a_connection_that_always_has_more_is_slowed(opened: Opened, loop: FakeLoop) -> None:
    socket, transport, listener = opened
    most = LIMITS.frames_per_iteration
    socket.data_received(masked(Opcode.TEXT, b"x") * (ITERATIONS_MOST + 2) * most)
    loop.settle()
    assert len(listener.messages) == ITERATIONS_MOST * most
    loop.pass_time(PACE)
    assert (len(listener.messages), transport.reading) == ((ITERATIONS_MOST + 1) * most, False)
    loop.pass_time(PACE)
    assert (len(listener.messages), transport.reading) == ((ITERATIONS_MOST + 2) * most, True)
    socket.data_received(masked(Opcode.TEXT, b"x") * 2 * most)
    loop.settle()
    assert transport.reading


@pytest.mark.parametrize("begun", [masked(Opcode.TEXT, b"x" * 500, fin=False), masked(Opcode.TEXT, b"x" * 500)[:-1]])
def test_unfinished_message_is_counted_and_has_a_deadline(
    opened: Opened, engine: Engine, loop: FakeLoop, begun: bytes
) -> None:
    socket, transport, _ = opened
    socket.data_received(begun)
    assert engine.memory.held >= 500
    for _ in range(int(LIMITS.unfinished_within) + 2):
        socket.data_received(masked(Opcode.PING, b"") if begun[:1] == b"\x01" else b"")
        loop.pass_time(1)
    assert "close 1008" in server_texts(transport.written)
    assert engine.memory.held == 0


def test_continuing_stream_is_not_taken_for_an_unfinished_message(opened: Opened, loop: FakeLoop) -> None:
    socket, _, listener = opened
    whole = masked(Opcode.TEXT, b"x" * 20)
    socket.data_received(whole[:7])
    for _ in range(100):
        socket.data_received(whole[7:] + whole[:7])
        loop.pass_time(1)
    assert (len(listener.messages), socket.closing) == (100, False)


def test_fragments_beyond_the_share_of_a_full_process_are_reported(opened: Opened, engine: Engine) -> None:
    socket, _, listener = opened
    engine.memory.limit = 1600
    engine.memory.take(1600)
    socket.data_received(masked(Opcode.TEXT, b"x" * 90, fin=False))
    assert listener.messages == []
    socket.data_received(masked(Opcode.CONT, b"x" * 90, fin=False))
    assert listener.messages == ["overflowed"]


def kept() -> list[object]:
    return [each for each in gc.get_objects() if isinstance(each, WebSocket)]


async def test_refused_client_is_freed_after_it_disconnects(application: Application) -> None:
    engine = make_engine(application, asyncio.get_running_loop())
    gc.collect()
    gc.disable()
    try:
        before = len(kept())
        connection = engine.open(WEBSOCKET)
        socket = WebSocket(Transport(), connection, engine, set())
        connection.adopt(socket)
        socket.data_received(frame(1, b"a client must mask this"))
        assert socket.closing
        socket.connection_lost(None)
        await asyncio.sleep(0.01)
        del connection, socket
        assert len(kept()) == before
    finally:
        gc.enable()
