"""One connection: one write for many packets, order across a stall and an upgrade, a budget for unread data."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest

from chatsys.engine.connection import Connection
from chatsys.engine.engine import Engine
from chatsys.engine.outbound import CHUNK, QUEUE_MOST, SHARED_MOST, State
from chatsys.protocol.frames import POLICY
from chatsys.protocol.packets import Outgoing, encode_payload

from .conftest import BUDGET, LIMITS, Application, FakeLoop, Socket, make_engine, out

ROOMY = msgspec.structs.replace(LIMITS, byte_budget=10**9)


def frames(*texts: str) -> bytes:
    return b"".join(out(text).frame for text in texts)


def test_packets_of_one_loop_iteration_are_sent_in_one_write(socket: Socket, loop: FakeLoop) -> None:
    for number in range(3):
        socket.receiver.push(out(f"{number}"))
    loop.settle()
    assert socket.writes == [frames("0", "1", "2")]


def test_packets_for_a_stalled_socket_are_sent_in_order_after_the_stall(
    socket: Socket, loop: FakeLoop, application: Application
) -> None:
    socket.stalled = True
    socket.receiver.stalled()
    for number in range(5):
        (socket.receiver.push if number % 2 else socket.receiver.send)(out(f"{number}"))
        loop.settle()
    assert socket.writes == []
    assert application.caught_up == 0
    socket.stalled = False
    socket.receiver.writable()
    assert socket.writes == [frames("0", "1", "2", "3", "4")]
    assert (socket.receiver.behind, application.caught_up) == (False, 1)


def test_socket_with_unread_data_beyond_its_budget_is_closed(
    engine: Engine, socket: Socket, loop: FakeLoop, application: Application
) -> None:
    socket.stalled = True
    socket.receiver.stalled()
    highest = 0
    while not socket.receiver.closing:
        highest = socket.receiver.waiting_bytes()
        socket.receiver.send(out("x" * 200))
    assert BUDGET - 1000 < highest <= BUDGET
    assert (socket.receiver.reason, socket.close_code) == ("slow reader", POLICY)
    loop.settle()
    assert application.gone == ["/"]
    assert (engine.connections, engine.memory.held) == ({}, 0)


def test_socket_is_not_closed_because_of_broadcasts(socket: Socket, loop: FakeLoop, engine: Engine) -> None:
    socket.stalled = True
    socket.receiver.stalled()
    shared = out("x" * 900_000)
    for _ in range(10_000):
        socket.receiver.push(shared)
        socket.receiver.push(out("small"))
    assert not socket.receiver.closing
    assert engine.memory.held == 0, "broadcasts exist once, whoever waits for them"
    socket.stalled = False
    socket.receiver.writable()
    loop.settle()
    assert 0 < len(socket.sent()) <= SHARED_MOST


def test_socket_is_closed_if_it_reads_nothing_but_not_if_it_reads_slowly(
    engine: Engine, socket: Socket, loop: FakeLoop
) -> None:
    slow, unread = socket, Socket()
    unread.receiver = engine.open("websocket")
    unread.receiver.adopt(unread)
    for each in (slow, unread):
        each.receiver.received("40")
        each.receiver.ponged = each.stalled = True
        each.held = 100_000
        each.receiver.stalled()
    for _ in range(4 * int(LIMITS.stalled_within)):
        slow.held -= 10
        for each in (slow, unread):
            each.receiver.received("3")
        loop.pass_time(1)
    assert not slow.receiver.closing
    assert (unread.receiver.reason, unread.close_code) == ("slow reader", POLICY)


def test_burst_in_one_iteration_does_not_disconnect_a_good_reader(socket: Socket, loop: FakeLoop) -> None:
    for _ in range(20):
        socket.receiver.send(out("x" * 2000))
    loop.settle()
    assert not socket.receiver.closing
    assert len(socket.sent()) > 20 * 2000


def test_one_packet_may_be_larger_than_the_budget(socket: Socket) -> None:
    socket.stalled = True
    socket.receiver.send(out("x" * 2 * BUDGET))
    assert not socket.receiver.closing
    socket.receiver.send(out("one too many"))
    assert socket.receiver.closing


def test_requested_packet_is_exempt_from_the_budget_once(socket: Socket) -> None:
    socket.stalled = True
    socket.receiver.send(out("x" * 3 * BUDGET), requested=True)
    socket.receiver.send(out("live"))
    assert not socket.receiver.closing
    socket.receiver.send(out("x" * 3 * BUDGET), requested=True)
    assert socket.receiver.closing


def test_requested_packet_is_exempt_until_it_has_been_sent(socket: Socket, loop: FakeLoop) -> None:
    socket.stalled = True
    socket.receiver.send(out("x" * 3 * BUDGET), requested=True)
    socket.receiver.send(out("live"))
    assert not socket.receiver.closing
    socket.stalled = False
    socket.receiver.writable()
    assert socket.receiver.waiting_bytes() == 0
    socket.stalled = True
    socket.receiver.send(out("x" * BUDGET))
    socket.receiver.send(out("one too many"))
    assert socket.receiver.closing


def test_requested_packet_is_exempt_after_an_earlier_one_was_sent(socket: Socket) -> None:
    """A list of users, then a history, and then the acknowledgement of the join."""
    socket.receiver.send(out("a list"), requested=True)
    socket.receiver.send(out("x" * 3 * BUDGET), requested=True)
    socket.stalled = True
    socket.receiver.send(out("acknowledgement"))
    assert not socket.receiver.closing


def test_long_queue_is_written_in_chunks(socket: Socket, loop: FakeLoop) -> None:
    for _ in range(40):
        socket.receiver.push(out("x" * 10_000))
    loop.settle()
    assert max(map(len, socket.writes)) < CHUNK + 10_100
    assert len(socket.sent()) > 400_000


def test_connection_with_too_many_queued_packets_is_behind_until_sent(
    socket: Socket, loop: FakeLoop, application: Application
) -> None:
    for _ in range(QUEUE_MOST + 1):
        socket.receiver.push(out("x"))
    assert socket.receiver.behind
    loop.settle()
    assert (socket.receiver.behind, application.caught_up) == (False, 1)


def test_full_process_closes_a_client_beyond_its_share(application: Application, loop: FakeLoop) -> None:
    engine = make_engine(application, loop, ROOMY)
    sockets = [Socket() for _ in range(4)]
    for socket in sockets:
        socket.receiver = engine.open("websocket")
        socket.receiver.adopt(socket)
        socket.stalled = True
    for socket in sockets[:-1]:
        socket.receiver.send(out("x" * 150_000))
    sockets[-1].receiver.send(out("small"))
    assert not any(socket.receiver.closing for socket in sockets)
    sockets[0].receiver.send(out("x" * 150_000))
    assert [socket.receiver.closing for socket in sockets] == [True, False, False, False]
    assert sockets[0].close_code == 1013


# -- polling


def polled(connection: Connection) -> list[str] | None:
    packets = connection.poll(lambda: None)
    return None if packets is None else encode_payload(packets).decode().split("\x1e")


def test_poll_takes_up_to_sixteen_packets_in_order_or_waits(connection: Connection) -> None:
    for number in range(19):
        connection.push(out(f"{number}"))
    first, second = polled(connection), polled(connection)
    assert first is not None
    assert second is not None
    assert (len(first), first[0][0]) == (16, "0")
    assert first[1:] + second == [f"4{number}" for number in range(19)]
    woken: list[bool] = []
    assert connection.poll(lambda: woken.append(True)) is None
    connection.push(out("late"))
    connection.flush()
    assert woken == [True]
    assert [each.packet.encode() for each in connection.polled()] == ["4late"]


@pytest.mark.parametrize("size", [1, 124, 125, 126, 65_534, 65_535, 65_536])
def test_polling_client_gets_payloads_without_websocket_frames(size: int) -> None:
    text = "4" + "é" + "x" * (size - 2) if size > 1 else "2"
    assert Outgoing(text.encode()).packet.encode() == text


@pytest.mark.parametrize("size", [10, 10_000])
def test_queued_packets_take_no_more_memory_than_is_counted(size: int, socket: Socket, engine: Engine) -> None:
    socket.stalled = True
    engine.limits = ROOMY
    engine.memory.limit = 10**9
    tracemalloc.start()
    try:
        for number in range(200):
            socket.receiver.send(out(f"{number:0{size}}"))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # frames count twice because of memory fragmentation
    assert 200 * size < taken <= socket.receiver.waiting_bytes() - 200 * size


def test_second_concurrent_poll_ends_the_connection(connection: Connection, engine: Engine) -> None:
    polled(connection)
    assert connection.poll(lambda: None) is None
    assert connection.poll(lambda: None) is None
    assert connection.closing
    assert [each.packet.encode() for each in connection.polled()] == ["1"]
    assert engine.connections == {}


def test_pending_poll_gets_a_noop_when_the_client_leaves(connection: Connection) -> None:
    polled(connection)
    assert connection.poll(lambda: None) is None
    connection.received("1")
    assert [each.packet.encode() for each in connection.polled()] == ["6"]


def test_packets_waiting_for_a_poll_use_the_websocket_after_an_upgrade(
    connection: Connection, loop: FakeLoop, socket: Socket
) -> None:
    polled(connection)
    connection.push(out("before"))
    assert connection.probed()
    assert not connection.probed()
    connection.push(out("between"))
    assert polled(connection) == ["6"]
    socket.writes.clear()
    connection.adopt(socket)
    assert connection.state is State.WEBSOCKET
    connection.push(out("after"))
    loop.settle()
    assert socket.sent() == frames("before", "between", "after")


def test_probe_that_is_lost_leaves_the_client_polling(connection: Connection) -> None:
    polled(connection)
    connection.probed()
    connection.probe_lost()
    assert connection.state is State.POLLING
    connection.push(out("on"))
    assert polled(connection) == ["4on"]


# -- deadlines


def test_connection_without_a_connect_packet_is_closed_after_its_deadline(
    engine: Engine, socket: Socket, loop: FakeLoop, application: Application
) -> None:
    silent = Socket()
    silent.receiver = engine.open("websocket")
    silent.receiver.adopt(silent)
    for _ in range(50):
        silent.receiver.received("3")
        socket.receiver.received("3")
        loop.pass_time(1)
        if silent.closing:
            break
    assert LIMITS.connect_within < loop.time() <= LIMITS.connect_within + 2
    assert silent.close_code == POLICY
    assert not socket.receiver.closing
    assert application.gone == []


def test_connection_without_pongs_is_closed(socket: Socket, loop: FakeLoop, application: Application) -> None:
    loop.pass_time(24.5)
    assert socket.texts() == ["2"]
    loop.pass_time(20)
    assert socket.receiver.reason == "ping timeout"
    assert application.gone == ["/"]
    assert socket.receiver.state is State.CLOSED


@pytest.mark.parametrize("packet", ["", "9", "x", "5", "0", "2", "2probe", "3x", "4", "4abc", "42{", "42[]", "43x[]"])
def test_malformed_packet_closes_the_connection(socket: Socket, packet: str) -> None:
    socket.receiver.received(packet)
    assert (socket.receiver.reason, socket.close_code) == ("malformed packet", 1002)


def test_answer_is_written_at_once_or_behind_queued_packets(socket: Socket, loop: FakeLoop, engine: Engine) -> None:
    socket.receiver.answer(out("one"))
    assert socket.texts() == ["4one"]
    socket.receiver.push(out("two"))
    socket.receiver.answer(out("three"))
    assert socket.texts() == ["4one"]
    loop.settle()
    assert socket.texts() == ["4one", "4two", "4three"]
    assert (len(socket.writes), engine.memory.held) == (2, 0)


def test_answer_to_a_stalled_client_waits(socket: Socket, loop: FakeLoop) -> None:
    socket.stalled = True
    socket.receiver.stalled()
    socket.receiver.answer(out("one"))
    loop.settle()
    assert socket.writes == []
    socket.stalled = False
    socket.receiver.writable()
    assert socket.texts() == ["4one"]


def test_answer_beyond_the_budget_ends_and_dequeues_the_connection(
    socket: Socket, loop: FakeLoop, engine: Engine
) -> None:
    socket.stalled = True
    socket.receiver.stalled()
    while not socket.receiver.closing:
        socket.receiver.answer(out("x" * 100))
    loop.settle()
    assert (socket.receiver.reason, engine.memory.held) == ("slow reader", 0)
