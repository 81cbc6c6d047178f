"""The lab's clients receive what a server sends, and notice faulty deliveries."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from typing import Any

import msgspec
import pytest

from chatsys.errors import OperatorError
from chatsys.lab.clients import scenarios
from chatsys.lab.clients.sending import deliveries
from chatsys.lab.clients.sockets import RawClient, RawClients, _occurrences, frames
from chatsys.lab.experiments.common import believe_latency, believe_rate, believed
from chatsys.lab.runner.scenario import scenario_clients
from chatsys.lab.subjects.servers import chat_server, free_port, reference_server


def server_frame(payload: bytes) -> bytes:
    """Return an unmasked text frame as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def member_that_received(*numbers: int) -> RawClient:
    """Return a member that got messages with these sequence numbers, one per microsecond."""
    member = RawClient(socket.socket())
    member.sock.close()
    member.arrived = [
        (2_000_000 + 1_000 * offset, server_frame(b'42["receive-message",{"seq":%d}]' % seq))
        for offset, seq in enumerate(numbers)
    ]
    return member


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_every_length_are_read_whole_wherever_they_are_cut(size: int) -> None:
    payload = b"x" * size
    data = server_frame(payload) * 2
    cut = max(1, len(data) // 3)
    pieces = [(offset, data[offset : offset + cut]) for offset in range(0, len(data), cut)]
    assert [text for _, text in frames(pieces)] == [payload, payload]


def test_frame_time_is_that_of_its_last_piece() -> None:
    data = server_frame(b"hello")
    assert list(frames([(1, data[:3]), (2, data[3:])])) == [(2, b"hello")]


@pytest.mark.parametrize("keeping", [True, False], ids=["kept", "dropped at once"])
@pytest.mark.parametrize("size", [5, 200, 70_000])
def test_discarded_first_half_of_a_frame_also_discards_the_second(pinging, size: int, keeping: bool) -> None:
    clients, server = pinging
    (member,) = clients.members
    data = server_frame(b"42" + b"x" * size)
    for cut in (*range(1, 12), len(data) // 2, len(data) - 1, len(data)):
        clients.keeping = keeping
        server.sendall(TALK + data[:cut])
        clients.pump(1)
        clients.keeping = True
        member.forget()
        server.sendall(data[cut:] + TALK)
        clients.pump(1)
        assert [text for _, text in member.texts()] == [TALK[2:]]
        member.forget()


def test_binary_frame_is_refused() -> None:
    with pytest.raises(OperatorError, match="not text"):
        list(frames([(1, b"\x82\x01x")]))


def test_event_cut_in_two_by_the_network_is_counted_once() -> None:
    member = RawClient.__new__(RawClient)
    member.tail = b""
    data = b'42["receive-message",1]42["receive-message",2]'
    for cut in range(len(data)):
        member.tail = b""
        counts = [_occurrences(member, piece, b'["receive-message"') for piece in (data[:cut], data[cut:])]
        assert sum(counts) == 2
    for cut in range(len(data) - 1):
        member.tail = b""
        pieces = (data[:cut], data[cut : cut + 1], data[cut + 1 :])
        assert sum(_occurrences(member, piece, b'["receive-message"') for piece in pieces) == 2


def test_deliveries_in_order_are_clean_and_timed_from_their_send() -> None:
    latencies, audit = deliveries([member_that_received(7, 8, 9)], [1_000_000, 1_000_000, 1_000_000])
    assert latencies == [1000.0, 1001.0, 1002.0]
    assert audit == {"lost": 0, "doubled": 0, "swapped": 0}


@pytest.mark.parametrize(
    ("received", "audit"),
    [
        ((1, 2), {"lost": 1, "doubled": 0, "swapped": 0}),
        ((1, 2, 2, 3), {"lost": 0, "doubled": 1, "swapped": 1}),
        ((1, 3, 2), {"lost": 0, "doubled": 0, "swapped": 1}),
    ],
)
def test_lost_doubled_and_swapped_deliveries_are_counted(received: tuple[int, ...], audit: dict[str, int]) -> None:
    assert deliveries([member_that_received(*received)], [0, 0, 0])[1] == audit


EASY = {"generator_cpu": 0.5, "server_cpu": 0.7, "seconds": 1.0, "starts": 100, "late_starts": 0}
SATURATED = {**EASY, "generator_cpu": 0.95}


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (EASY, None),
        (SATURATED, "was saturated"),
        ({**SATURATED, "server_cpu": 0.99}, None),
        ({**EASY, "late_starts": 5}, "missed more than"),
        ({**EASY, "starts": 18, "late_starts": 2}, "missed more than"),
        ({**EASY, "starts": 18, "late_starts": 1}, None),
    ],
)
def test_latencies_limited_by_the_generator_make_the_run_invalid(result, got, said) -> None:
    """A busy generator limits nothing if the server uses its whole processor."""
    believe_latency(result, got, "sends")
    assert result.valid == (said is None)
    assert said is None or said in result.reasons[0]


LATE = {**EASY, "late_starts": 5}


@pytest.mark.parametrize(
    ("repetitions", "valid"),
    [
        ([EASY], True),
        ([LATE, EASY], True),
        ([LATE, LATE], False),
        ([{**LATE, "lost": 1}, EASY], False),
        ([{**EASY, "lost": 1}], False),
    ],
)
async def test_repetition_with_a_stopped_generator_is_repeated_unless_it_lost(result, repetitions, valid) -> None:
    limitations = len(result.limitations)
    coming = iter(repetitions)

    async def repetition() -> dict[str, Any]:
        return next(coming)

    got = await believed(result, "arrivals", repetition)
    assert got is repetitions[-1]
    assert next(coming, None) is None
    assert result.valid == valid
    assert len(result.limitations) == limitations + len(repetitions) - 1


def test_saturated_generator_gives_only_a_lower_bound_and_no_baseline(result) -> None:
    """A baseline that could have done more would make the ratio look too good."""
    limitations = len(result.limitations)
    assert not believe_rate(result, EASY, "fan-out on stock", baseline=True)
    assert believe_rate(result, SATURATED, "fan-out on memory", baseline=False)
    assert result.valid
    assert len(result.limitations) == limitations + 1
    believe_rate(result, SATURATED, "fan-out on stock", baseline=True)
    assert not result.valid


@pytest.mark.parametrize("fault", ["lost", "doubled", "swapped"])
def test_one_message_that_went_wrong_makes_the_run_invalid(result, fault) -> None:
    believe_rate(result, {**EASY, fault: 1}, "fan-out", baseline=False)
    assert not result.valid


@pytest.mark.process
def test_overloaded_generator_makes_the_run_invalid(result) -> None:
    """Its messages are sent late. The response times show it, although the service times do not."""
    with reference_server() as server, RawClients(server.url) as clients:
        repetitions = scenarios.arrivals(clients, senders=4)
        next(repetitions)
        got = repetitions.send({"rate": 1_000_000, "seconds": 0.005, "seed": 1})
    assert got["lost"] == got["doubled"] == got["swapped"] == 0
    late = [response - service for response, service in zip(got["latency_us"], got["service_us"], strict=True)]
    assert max(late) > 5_000
    believe_latency(result, {**got, "server_cpu": 0.0}, "arrivals")
    assert not result.valid


@pytest.mark.process
def test_clients_can_run_the_same_scenario_repeatedly() -> None:
    with reference_server() as server, RawClients(server.url) as clients:
        scenario = scenarios.fanout(clients, members=3)
        next(scenario)
        repetitions = [scenario.send({"seconds": 0.05}) for _ in range(2)]
    assert all(repetition["deliveries"] >= 3 and repetition["deliveries"] % 3 == 0 for repetition in repetitions)
    assert all(repetition["lost"] == repetition["doubled"] == repetition["swapped"] == 0 for repetition in repetitions)
    assert msgspec.json.encode(repetitions)


@pytest.mark.process
def test_big_room_reads_after_the_repetition_and_is_still_checked(monkeypatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("it reads while others are measured")

    with reference_server() as server, RawClients(server.url) as clients:
        scenario = scenarios.burst(clients, members=3, rate=100)
        next(scenario)
        monkeypatch.setattr(clients, "pump_before", read)
        got = scenario.send({"seconds": 0.1})
        monkeypatch.setattr(clients, "pump_until", lambda *_: False)
        lost = scenario.send({"seconds": 0.1})
    assert (got["starts"], got["latency_us"]) == (10, [])
    assert got["lost"] == got["doubled"] == got["swapped"] == 0
    assert lost["lost"] == 30


@pytest.mark.process
async def test_repetition_reports_the_cpu_of_server_and_generator() -> None:
    with reference_server() as server:
        async with scenario_clients("fanout", server, members=3) as clients:
            got = await clients.repeat(seconds=0.3)
    assert got["deliveries"] > 0
    assert got["generator_cpu"] > 0
    assert 0 <= got["server_cpu"] <= 2 * got["seconds"]


@pytest.fixture
def pinging():
    """A single client of a server that pings, and the server's end of its connection."""
    ours, theirs = socket.socketpair()
    with RawClients("http://127.0.0.1:1") as clients:
        clients.members.append(RawClient(ours))
        clients._selector.register(ours, selectors.EVENT_READ, clients.members[0])
        yield clients, theirs
    theirs.close()


PING, PONG = server_frame(b"2"), b"\x81\x81\0\0\0\0003"
WEBSOCKET_PING, WEBSOCKET_PONG = b"\x89\x04abcd", b"\x8a\x84\0\0\0\0abcd"
TALK = server_frame(b'42["receive-message",{"seq":1}]')


@pytest.mark.parametrize(("ping", "pong"), [(PING, PONG), (WEBSOCKET_PING, WEBSOCKET_PONG)])
def test_ping_is_answered_once_wherever_it_arrives(pinging, ping, pong) -> None:
    clients, server = pinging
    cuts = [(ping[:cut], ping[cut:] + TALK) for cut in range(1, len(ping))]
    for pieces in ((ping,), (TALK + ping + TALK,), (TALK + ping,), *cuts):
        for piece in (*pieces, TALK, TALK[:1], TALK[1:]):
            server.send(piece)
            clients.pump(1)
        assert server.recv(100) == pong


def test_pump_before_reads_what_arrives_and_waits_for_the_moment(pinging) -> None:
    clients, theirs = pinging
    theirs.sendall(TALK)
    received: list[int] = []
    moment = time.monotonic_ns() + 1_500_000
    clients.pump_before(moment, b'["receive-message"', lambda _, number: received.append(number))
    assert received == [1]
    assert time.monotonic_ns() >= moment


def test_waiting_clients_answer_pings_and_keep_nothing(pinging) -> None:
    clients, server = pinging
    reading, writing = os.pipe()
    waiting = threading.Thread(target=clients.idle_until, args=(reading,))
    waiting.start()
    for _ in range(3):
        server.send(TALK + PING)
        assert server.recv(100) == PONG
    os.write(writing, b"{}\n")
    waiting.join()
    os.close(writing)
    os.close(reading)
    assert clients.members[0].arrived == []
    server.send(TALK)
    clients.pump(1)
    assert len(clients.members[0].arrived) == 1


@pytest.mark.process
def test_join_storm_can_be_repeated() -> None:
    with chat_server("memory://") as server, RawClients(server.url) as clients:
        scenario = scenarios.storm(clients, members=6, seconds=0.05)
        next(scenario)
        for _ in range(2):
            assert scenario.send({})["complete"] == 6


@pytest.mark.process
def test_large_room_fills_receives_a_message_and_empties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.nice", lambda _: 0)  # the priority of this process
    with chat_server("memory://") as server, RawClients(server.url) as clients:
        scenario = scenarios.large_room(clients, members=10, vanishing=6)
        next(scenario)
        assert scenario.send({})["seconds"] > 0
        got = scenario.send({"seconds": 0.1})
        assert got["starts"] > 0
        assert (got["lost"], got["doubled"], got["swapped"]) == (0, 0, 0)
        assert scenario.send({})["left"] == 4


def test_refused_connection_is_reported_in_one_sentence() -> None:
    with (
        RawClients(f"http://127.0.0.1:{free_port()}") as clients,
        pytest.raises(OperatorError, match="After 0 connections"),
    ):
        clients.connect()
