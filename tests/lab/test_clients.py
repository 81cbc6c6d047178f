"""The lab's crowd hears what a server sends, and notices what it should not have sent."""

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
    """An unmasked text frame, as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def member_that_heard(*numbers: int) -> RawClient:
    """A member that got messages with these sequence numbers, one a microsecond."""
    member = RawClient(socket.socket())
    member.sock.close()
    member.arrived = [
        (2_000_000 + 1_000 * place, server_frame(b'42["receive-message",{"seq":%d}]' % seq))
        for place, seq in enumerate(numbers)
    ]
    return member


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_every_length_are_read_whole_however_they_are_cut(size: int) -> None:
    payload = b"x" * size
    data = server_frame(payload) * 2
    cut = max(1, len(data) // 3)
    pieces = [(place, data[place : place + cut]) for place in range(0, len(data), cut)]
    assert [text for _, text in frames(pieces)] == [payload, payload]


def test_the_time_of_a_frame_is_that_of_its_last_piece() -> None:
    data = server_frame(b"hello")
    assert list(frames([(1, data[:3]), (2, data[3:])])) == [(2, b"hello")]


@pytest.mark.parametrize("keeping", [True, False], ids=["kept", "dropped at once"])
@pytest.mark.parametrize("size", [5, 200, 70_000])
def test_half_a_frame_that_is_forgotten_takes_its_other_half_along(pinging, size: int, keeping: bool) -> None:
    crowd, server = pinging
    (member,) = crowd.members
    data = server_frame(b"42" + b"x" * size)
    for cut in (*range(1, 12), len(data) // 2, len(data) - 1, len(data)):
        crowd.keeping = keeping
        server.sendall(TALK + data[:cut])
        crowd.pump(1)
        crowd.keeping = True
        member.forget()
        server.sendall(data[cut:] + TALK)
        crowd.pump(1)
        assert [text for _, text in member.texts()] == [TALK[2:]]
        member.forget()


def test_a_binary_frame_is_refused() -> None:
    with pytest.raises(OperatorError, match="not text"):
        list(frames([(1, b"\x82\x01x")]))


def test_an_event_cut_in_two_by_the_network_is_counted_once() -> None:
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
    latencies, audit = deliveries([member_that_heard(7, 8, 9)], [1_000_000, 1_000_000, 1_000_000])
    assert latencies == [1000.0, 1001.0, 1002.0]
    assert audit == {"lost": 0, "doubled": 0, "swapped": 0}


@pytest.mark.parametrize(
    ("heard", "audit"),
    [
        ((1, 2), {"lost": 1, "doubled": 0, "swapped": 0}),
        ((1, 2, 2, 3), {"lost": 0, "doubled": 1, "swapped": 1}),
        ((1, 3, 2), {"lost": 0, "doubled": 0, "swapped": 1}),
    ],
)
def test_a_lost_a_doubled_and_a_swapped_delivery_are_counted(heard: tuple[int, ...], audit: dict[str, int]) -> None:
    assert deliveries([member_that_heard(*heard)], [0, 0, 0])[1] == audit


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
def test_latencies_that_the_generator_bounds_make_the_run_invalid(result, got, said) -> None:
    """A busy generator bounds nothing where the server fills its own processor."""
    believe_latency(result, got, "sends")
    assert result.valid == (said is None)
    assert said is None or said in result.reasons[0]


LATE = {**EASY, "late_starts": 5}


@pytest.mark.parametrize(
    ("turns", "valid"),
    [
        ([EASY], True),
        ([LATE, EASY], True),
        ([LATE, LATE], False),
        ([{**LATE, "lost": 1}, EASY], False),
        ([{**EASY, "lost": 1}], False),
    ],
)
async def test_a_turn_whose_generator_was_stopped_is_taken_once_more_but_what_it_lost_counts(
    result, turns, valid
) -> None:
    limitations = len(result.limitations)
    coming = iter(turns)

    async def turn() -> dict[str, Any]:
        return next(coming)

    got = await believed(result, "arrivals", turn)
    assert got is turns[-1]
    assert next(coming, None) is None
    assert result.valid == valid
    assert len(result.limitations) == limitations + len(turns) - 1


def test_a_rate_from_a_saturated_generator_is_a_lower_bound_of_ours_and_no_baseline(result) -> None:
    """A baseline that could have done more would flatter the ratio."""
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
def test_a_generator_that_is_asked_for_more_than_it_can_is_called_invalid(result) -> None:
    """Its messages leave late, and the response times say so though the service times don't."""
    with reference_server() as server, RawClients(server.url) as crowd:
        turns = scenarios.arrivals(crowd, senders=4)
        next(turns)
        got = turns.send({"rate": 1_000_000, "seconds": 0.005, "seed": 1})
    assert got["lost"] == got["doubled"] == got["swapped"] == 0
    late = [response - service for response, service in zip(got["latency_us"], got["service_us"], strict=True)]
    assert max(late) > 5_000
    believe_latency(result, {**got, "server_cpu": 0.0}, "arrivals")
    assert not result.valid


@pytest.mark.process
def test_a_crowd_takes_the_same_turn_again_and_again() -> None:
    with reference_server() as server, RawClients(server.url) as crowd:
        scene = scenarios.fanout(crowd, members=3)
        next(scene)
        turns = [scene.send({"seconds": 0.05}) for _ in range(2)]
    assert all(turn["deliveries"] >= 3 and turn["deliveries"] % 3 == 0 for turn in turns)
    assert all(turn["lost"] == turn["doubled"] == turn["swapped"] == 0 for turn in turns)
    assert msgspec.json.encode(turns)


@pytest.mark.process
def test_a_big_room_reads_after_the_turn_and_is_checked_all_the_same(monkeypatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("it reads while others are measured")

    with reference_server() as server, RawClients(server.url) as crowd:
        scene = scenarios.burst(crowd, members=3, rate=100)
        next(scene)
        monkeypatch.setattr(crowd, "pump_before", read)
        got = scene.send({"seconds": 0.1})
        monkeypatch.setattr(crowd, "pump_until", lambda *_: False)
        lost = scene.send({"seconds": 0.1})
    assert (got["starts"], got["latency_us"]) == (10, [])
    assert got["lost"] == got["doubled"] == got["swapped"] == 0
    assert lost["lost"] == 30


@pytest.mark.process
async def test_a_turn_says_what_the_server_used_beside_what_the_generator_used() -> None:
    with reference_server() as server:
        async with scenario_clients("fanout", server, members=3) as crowd:
            got = await crowd.repeat(seconds=0.3)
    assert got["deliveries"] > 0
    assert got["generator_cpu"] > 0
    assert 0 <= got["server_cpu"] <= 2 * got["seconds"]


@pytest.fixture
def pinging():
    """A crowd of one at a server that pings, and the server's end of its connection."""
    ours, theirs = socket.socketpair()
    with RawClients("http://127.0.0.1:1") as crowd:
        crowd.members.append(RawClient(ours))
        crowd._selector.register(ours, selectors.EVENT_READ, crowd.members[0])
        yield crowd, theirs
    theirs.close()


PING, PONG = server_frame(b"2"), b"\x81\x81\0\0\0\0003"
WEBSOCKET_PING, WEBSOCKET_PONG = b"\x89\x04abcd", b"\x8a\x84\0\0\0\0abcd"
TALK = server_frame(b'42["receive-message",{"seq":1}]')


@pytest.mark.parametrize(("ping", "pong"), [(PING, PONG), (WEBSOCKET_PING, WEBSOCKET_PONG)])
def test_a_ping_is_answered_once_wherever_it_arrives(pinging, ping, pong) -> None:
    crowd, server = pinging
    cuts = [(ping[:cut], ping[cut:] + TALK) for cut in range(1, len(ping))]
    for pieces in ((ping,), (TALK + ping + TALK,), (TALK + ping,), *cuts):
        for piece in (*pieces, TALK, TALK[:1], TALK[1:]):
            server.send(piece)
            crowd.pump(1)
        assert server.recv(100) == pong


def test_what_arrives_before_a_moment_is_read_and_the_moment_is_waited_for(pinging) -> None:
    crowd, theirs = pinging
    theirs.sendall(TALK)
    heard: list[int] = []
    moment = time.monotonic_ns() + 1_500_000
    crowd.pump_before(moment, b'["receive-message"', lambda _, number: heard.append(number))
    assert heard == [1]
    assert time.monotonic_ns() >= moment


def test_a_crowd_that_waits_for_its_turn_answers_pings_and_keeps_nothing(pinging) -> None:
    crowd, server = pinging
    reading, writing = os.pipe()
    waiting = threading.Thread(target=crowd.idle_until, args=(reading,))
    waiting.start()
    for _ in range(3):
        server.send(TALK + PING)
        assert server.recv(100) == PONG
    os.write(writing, b"{}\n")
    waiting.join()
    os.close(writing)
    os.close(reading)
    assert crowd.members[0].arrived == []
    server.send(TALK)
    crowd.pump(1)
    assert len(crowd.members[0].arrived) == 1


@pytest.mark.process
def test_a_storm_can_be_repeated() -> None:
    with chat_server("memory://") as server, RawClients(server.url) as crowd:
        scene = scenarios.storm(crowd, members=6, seconds=0.05)
        next(scene)
        for _ in range(2):
            assert scene.send({})["complete"] == 6


@pytest.mark.process
def test_a_large_room_fills_hears_a_message_and_empties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.nice", lambda _: 0)  # of this process
    with chat_server("memory://") as server, RawClients(server.url) as crowd:
        scene = scenarios.large_room(crowd, members=10, vanishing=6)
        next(scene)
        assert scene.send({})["seconds"] > 0
        got = scene.send({"seconds": 0.1})
        assert got["starts"] > 0
        assert (got["lost"], got["doubled"], got["swapped"]) == (0, 0, 0)
        assert scene.send({})["left"] == 4


def test_a_connection_that_a_server_does_not_take_is_one_sentence() -> None:
    with (
        RawClients(f"http://127.0.0.1:{free_port()}") as crowd,
        pytest.raises(OperatorError, match="beyond 0 could be made"),
    ):
        crowd.connect()
