"""One connection: one write for many events, order across a stall and an upgrade, and a budget for what is unread."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections import deque
from typing import Any

import pytest

from chatsys.realtime.engine import Connection, EngineServer
from chatsys.realtime.frames import Outgoing, event
from chatsys.realtime.server import ClientEvent, SocketServer
from chatsys.realtime.websocket import POLICY
from chatsys.wire.events import Error

BUDGET = 10_000


class Socket:
    """Stands for a WebSocket: notes each write; ``held`` is what its transport could not send."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.stalled = False
        self.closing = False
        self.held = 0
        self.close_code = 0
        self.receiver: Any = None
        self.wire = self

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def waiting(self) -> int:
        return self.held

    def close(self, code: int, reason: str) -> None:
        self.closing, self.close_code = True, code

    def is_reading(self) -> bool:
        return True


class Handled:
    """What the engine hands on."""

    def __init__(self) -> None:
        self.batches: list[list[str | bytes]] = []
        self.ended = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def messages(self, connection: Connection, batch: deque[str | bytes]) -> None:
        await self.gate.wait()
        self.batches.append(list(batch))

    async def end(self, connection: Connection) -> None:
        self.ended += 1


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def connection(handled: Handled) -> Connection:
    server = EngineServer(byte_budget=BUDGET, handle_messages=handled.messages, handle_end=handled.end)
    connection = Connection(server, "sid")
    server.sockets["sid"] = connection
    connection.connected = True
    return connection


@pytest.fixture
def socket(connection: Connection) -> Socket:
    socket = Socket()
    connection.adopt(socket)  # type: ignore[arg-type]
    return socket


def out(text: str) -> Outgoing:
    return event("error", Error(message=text))


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_events_of_one_turn_of_the_loop_leave_in_one_write(connection: Connection, socket: Socket) -> None:
    events = [out(f"{number}") for number in range(3)]
    for one in events:
        connection.push(one)
    await turn()
    assert socket.writes == [b"".join(one.frame for one in events)]


async def test_what_waits_for_a_stalled_socket_leaves_in_order_when_it_reads_again(
    connection: Connection, socket: Socket
) -> None:
    socket.stalled = True
    events = [out(f"{number}") for number in range(5)]
    for one in events:
        connection.push(one)
        await turn()
    assert socket.writes == []
    socket.stalled = False
    connection.writable()
    assert socket.writes == [b"".join(one.frame for one in events)]
    assert connection.unread() == 0


async def test_a_socket_with_more_than_its_budget_unread_is_closed_with_a_reason(
    connection: Connection, socket: Socket, handled: Handled
) -> None:
    socket.stalled, socket.held = True, BUDGET - 1000
    highest = 0
    while not connection.closing:
        highest = connection.unread()
        connection.push(out("x" * 200))
    assert BUDGET - 1000 < highest <= BUDGET
    assert (connection.reason, socket.close_code) == ("slow reader", POLICY)
    await turn()
    assert handled.ended == 1
    assert "sid" not in connection.server.sockets


async def test_a_burst_in_one_turn_does_not_cost_a_good_reader_its_connection(
    connection: Connection, socket: Socket
) -> None:
    for _ in range(20):
        connection.push(out("x" * 2000))
    await turn()
    assert not connection.closing
    assert sum(map(len, socket.writes)) > 20 * 2000


async def test_one_event_may_be_larger_than_the_budget(connection: Connection, socket: Socket) -> None:
    socket.stalled = True
    connection.push(out("x" * 2 * BUDGET))
    assert not connection.closing
    connection.push(out("one too many"))
    assert connection.closing


async def test_a_history_that_was_asked_for_does_not_count_once(connection: Connection, socket: Socket) -> None:
    socket.stalled = True
    connection.push(out("x" * 3 * BUDGET), asked=True)
    connection.push(out("live"))
    assert not connection.closing
    connection.push(out("x" * 3 * BUDGET), asked=True)
    connection.push(out("asked for too much"))
    assert connection.closing


async def test_a_history_does_not_count_until_it_has_left(connection: Connection, socket: Socket) -> None:
    connection.push(out("x" * 3 * BUDGET), asked=True)
    await turn()
    socket.stalled, socket.held = True, 2 * BUDGET  # the transport learns only now that the peer does not take all
    connection.push(out("live"))
    assert not connection.closing
    socket.stalled, socket.held = False, 0
    connection.writable()
    connection.push(out("later"))
    await turn()
    socket.stalled, socket.held = True, BUDGET
    connection.push(out("one too many"))
    assert connection.closing


async def test_a_poll_takes_at_most_sixteen_packets_in_order_and_waits_when_there_are_none(
    connection: Connection,
) -> None:
    for number in range(20):
        connection.push(out(f"{number}"))
    first, second = await connection.poll(), await connection.poll()
    texts = [json.loads(packet.encode()[2:])[1]["message"] for packet in first + second]
    assert (len(first), texts) == (16, [f"{number}" for number in range(20)])
    waiting = asyncio.create_task(connection.poll())
    await turn()
    assert not waiting.done()
    connection.push(out("late"))
    assert [packet.encode() for packet in await waiting] == ['42["error",{"message":"late"}]']


@pytest.mark.parametrize("size", [1, 124, 125, 126, 65_534, 65_535, 65_536])
def test_a_polling_client_gets_the_payload_without_the_frame_around_it(size: int) -> None:
    text = "4" + "\u00e9" + "x" * (size - 2) if size > 1 else "2"
    assert Outgoing(text.encode()).packet.encode() == text


@pytest.mark.parametrize("size", [10, 10_000])
async def test_what_waits_takes_no_more_memory_than_counts_against_the_budget(
    size: int, connection: Connection, socket: Socket
) -> None:
    socket.stalled = True
    connection.server.byte_budget = 5_000_000
    tracemalloc.start()
    try:
        for number in range(200):
            connection.push(out(f"{number:0{size}}"))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not connection.closing
    assert 200 * size < taken <= connection.backlog - 200 * size  # where frames count twice, for holes


async def test_a_second_poll_ends_the_first(connection: Connection) -> None:
    first = asyncio.create_task(connection.poll())
    await turn()
    second = asyncio.create_task(connection.poll())
    await turn()
    assert [packet.encode() for packet in first.result()] == ["6"]
    connection.push(out("x"))
    assert len(await second) == 1


async def test_what_waits_for_a_poll_leaves_by_the_websocket_after_an_upgrade(connection: Connection) -> None:
    connection.push(out("before"))
    connection.upgrading = True
    connection.push(out("between"))
    assert [packet.encode() for packet in await connection.poll()] == ["6"]
    socket = Socket()
    connection.adopt(socket)  # type: ignore[arg-type]
    connection.push(out("after"))
    await turn()
    assert b"".join(socket.writes) == b"".join(out(text).frame for text in ("before", "between", "after"))


async def test_messages_are_handled_in_order_and_before_the_end(
    connection: Connection, socket: Socket, handled: Handled
) -> None:
    handled.gate.clear()
    connection.received("4one")
    await turn()
    for text in ("4two", "4three", "3"):
        connection.received(text)
    connection.received("1")
    connection.received("4after the end")
    await turn()
    assert handled.ended == 0
    handled.gate.set()
    await turn()
    assert (handled.batches, handled.ended) == ([["one"], ["two", "three"]], 1)


async def test_a_packet_is_let_go_while_what_it_asks_for_is_under_way(handled: Handled) -> None:
    texts: list[Any] = []

    async def dispatch(connection: Connection, events: list[ClientEvent]) -> None:
        texts.extend(event.payload for event in events)
        await asyncio.Event().wait()

    server = SocketServer(dispatch, handled.end, byte_budget=BUDGET)
    connection = Connection(server.eio, "sid")
    connection.socket_id = "socket"
    text = "\u0436" * 10_000  # two bytes each, in memory too
    tracemalloc.start()
    try:
        for _ in range(50):
            connection.received(f'42["send-message","{text}"]')
        await turn()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert texts == [text] * 50
    assert 50 * 20_000 < taken < 50 * 22_000


async def test_a_failing_handler_does_not_stop_the_next_messages(connection: Connection, handled: Handled) -> None:
    async def fails(connection: Connection, batch: deque[str | bytes]) -> None:
        handled.batches.append(list(batch))
        raise RuntimeError("the handler's own fault")

    connection.server.handle_messages = fails
    connection.received("4one")
    await turn()
    connection.received("4two")
    await turn()
    assert handled.batches == [["one"], ["two"]]
