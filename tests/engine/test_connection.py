"""One connection: one write for many packets, order across a stall and an upgrade, and a budget for what is unread."""

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


def test_packets_of_one_turn_of_the_loop_leave_in_one_write(socket: Socket, loop: FakeLoop) -> None:
    for number in range(3):
        socket.receiver.push(out(f"{number}"))
    loop.settle()
    assert socket.writes == [frames("0", "1", "2")]


def test_what_waits_for_a_stalled_socket_leaves_in_order_when_it_reads_again(
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


def test_a_socket_with_more_than_its_budget_unread_is_closed_with_a_reason(
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


def test_a_socket_is_not_closed_for_what_others_send(socket: Socket, loop: FakeLoop, engine: Engine) -> None:
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


def test_a_socket_that_reads_nothing_is_closed_in_time_and_one_that_reads_slowly_is_not(
    engine: Engine, socket: Socket, loop: FakeLoop
) -> None:
    slow, deaf = socket, Socket()
    deaf.receiver = engine.open("websocket")
    deaf.receiver.adopt(deaf)
    for each in (slow, deaf):
        each.receiver.received("40")
        each.receiver.ponged = each.stalled = True
        each.held = 100_000
        each.receiver.stalled()
    for _ in range(4 * int(LIMITS.stalled_within)):
        slow.held -= 10
        for each in (slow, deaf):
            each.receiver.received("3")
        loop.pass_time(1)
    assert not slow.receiver.closing
    assert (deaf.receiver.reason, deaf.close_code) == ("slow reader", POLICY)


def test_a_burst_in_one_turn_does_not_cost_a_good_reader_its_connection(socket: Socket, loop: FakeLoop) -> None:
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


def test_what_was_asked_for_does_not_count_once(socket: Socket) -> None:
    socket.stalled = True
    socket.receiver.send(out("x" * 3 * BUDGET), requested=True)
    socket.receiver.send(out("live"))
    assert not socket.receiver.closing
    socket.receiver.send(out("x" * 3 * BUDGET), requested=True)
    assert socket.receiver.closing


def test_what_was_asked_for_does_not_count_until_it_has_left(socket: Socket, loop: FakeLoop) -> None:
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


def test_what_was_asked_for_does_not_count_though_what_was_before_it_has_left(socket: Socket) -> None:
    """A list of users, then a history, and then the acknowledgement of the join."""
    socket.receiver.send(out("a list"), requested=True)
    socket.receiver.send(out("x" * 3 * BUDGET), requested=True)
    socket.stalled = True
    socket.receiver.send(out("acknowledgement"))
    assert not socket.receiver.closing


def test_a_long_queue_is_written_in_chunks(socket: Socket, loop: FakeLoop) -> None:
    for _ in range(40):
        socket.receiver.push(out("x" * 10_000))
    loop.settle()
    assert max(map(len, socket.writes)) < CHUNK + 10_100
    assert len(socket.sent()) > 400_000


def test_a_connection_with_too_many_packets_in_its_queue_is_behind_until_they_have_left(
    socket: Socket, loop: FakeLoop, application: Application
) -> None:
    for _ in range(QUEUE_MOST + 1):
        socket.receiver.push(out("x"))
    assert socket.receiver.behind
    loop.settle()
    assert (socket.receiver.behind, application.caught_up) == (False, 1)


def test_a_process_that_holds_too_much_closes_a_client_that_wants_more_than_its_share(
    application: Application, loop: FakeLoop
) -> None:
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


def test_a_poll_takes_at_most_sixteen_packets_in_order_and_waits_when_there_are_none(connection: Connection) -> None:
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
def test_a_polling_client_gets_the_payload_without_the_frame_around_it(size: int) -> None:
    text = "4" + "é" + "x" * (size - 2) if size > 1 else "2"
    assert Outgoing(text.encode()).packet.encode() == text


@pytest.mark.parametrize("size", [10, 10_000])
def test_what_waits_takes_no_more_memory_than_counts(size: int, socket: Socket, engine: Engine) -> None:
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
    assert 200 * size < taken <= socket.receiver.waiting_bytes() - 200 * size  # where frames count twice, for holes


def test_a_second_poll_ends_the_connection(connection: Connection, engine: Engine) -> None:
    polled(connection)
    assert connection.poll(lambda: None) is None
    assert connection.poll(lambda: None) is None
    assert connection.closing
    assert [each.packet.encode() for each in connection.polled()] == ["1"]
    assert engine.connections == {}


def test_a_poll_under_way_when_the_client_leaves_gets_a_noop(connection: Connection) -> None:
    polled(connection)
    assert connection.poll(lambda: None) is None
    connection.received("1")
    assert [each.packet.encode() for each in connection.polled()] == ["6"]


def test_what_waits_for_a_poll_leaves_by_the_websocket_after_an_upgrade(
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


def test_a_probe_that_is_lost_leaves_the_client_polling(connection: Connection) -> None:
    polled(connection)
    connection.probed()
    connection.probe_lost()
    assert connection.state is State.POLLING
    connection.push(out("on"))
    assert polled(connection) == ["4on"]


# -- deadlines


def test_a_connection_without_connect_is_closed_after_its_time(
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


def test_a_connection_without_pongs_is_closed(socket: Socket, loop: FakeLoop, application: Application) -> None:
    loop.pass_time(24.5)
    assert socket.texts() == ["2"]
    loop.pass_time(20)
    assert socket.receiver.reason == "ping timeout"
    assert application.gone == ["/"]
    assert socket.receiver.state is State.CLOSED


@pytest.mark.parametrize("packet", ["", "9", "x", "5", "0", "2", "2probe", "3x", "4", "4abc", "42{", "42[]", "43x[]"])
def test_a_malformed_packet_closes_the_connection(socket: Socket, packet: str) -> None:
    socket.receiver.received(packet)
    assert (socket.receiver.reason, socket.close_code) == ("malformed packet", 1002)


def test_an_answer_is_written_at_once_and_behind_what_waits(socket: Socket, loop: FakeLoop, engine: Engine) -> None:
    socket.receiver.answer(out("one"))
    assert socket.texts() == ["4one"]
    socket.receiver.push(out("two"))
    socket.receiver.answer(out("three"))
    assert socket.texts() == ["4one"]
    loop.settle()
    assert socket.texts() == ["4one", "4two", "4three"]
    assert (len(socket.writes), engine.memory.held) == (2, 0)


def test_an_answer_to_a_client_that_takes_nothing_waits(socket: Socket, loop: FakeLoop) -> None:
    socket.stalled = True
    socket.receiver.stalled()
    socket.receiver.answer(out("one"))
    loop.settle()
    assert socket.writes == []
    socket.stalled = False
    socket.receiver.writable()
    assert socket.texts() == ["4one"]


def test_an_answer_beyond_the_budget_ends_the_connection_and_leaves_it_out_of_every_queue(
    socket: Socket, loop: FakeLoop, engine: Engine
) -> None:
    socket.stalled = True
    socket.receiver.stalled()
    while not socket.receiver.closing:
        socket.receiver.answer(out("x" * 100))
    loop.settle()
    assert (socket.receiver.reason, engine.memory.held) == ("slow reader", 0)
