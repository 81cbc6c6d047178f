"""Socket.IO over the engine: namespaces, events in order, attachments, and what a client may not send."""

from __future__ import annotations

import asyncio
import json
import logging
import tracemalloc
from typing import Any

import pytest

from chatsys.engine.connection import Connection
from chatsys.engine.engine import Engine
from chatsys.engine.outbound import State
from chatsys.engine.shared import STARTED_AT_ONCE
from chatsys.engine.sockets import BATCH, INBOX_MOST
from chatsys.protocol.events import ClientEvent

from .conftest import BUDGET, LIMITS, Application, FakeLoop, Socket


class Gate:
    """A handler waits for this gate until the test opens it."""

    def __init__(self) -> None:
        self._then: Any = None

    def add_done_callback(self, then: Any) -> None:
        self._then = then

    def __await__(self) -> Any:
        yield self

    def open(self) -> None:
        self._then(None)


def test_connect_is_answered_with_an_id_and_passes_on_the_auth_data(engine: Engine, application: Application) -> None:
    socket = Socket()
    socket.receiver = engine.open("websocket")
    socket.receiver.adopt(socket)
    socket.receiver.received('40{"token":"123"}')
    socket.receiver.received("40/custom,")
    socket.receiver.flush()
    sid, one, two = (json.loads(text[text.index("{") :])["sid"] for text in socket.texts())
    assert len({sid, one, two}) == 3
    assert application.auths == [("/", {"token": "123"}), ("/custom", None)]
    assert socket.receiver.socket_id == one


@pytest.mark.parametrize("connect", ["40/nope,", "40/nope", '40/nope,{"a":1}', "40/nope?token=1,"])
def test_unknown_namespace_is_refused_with_an_error_object(socket: Socket, connect: str) -> None:
    socket.receiver.received(connect)
    socket.receiver.flush()
    assert socket.texts() == ['44/nope,{"message":"Invalid namespace"}']
    assert not socket.receiver.closing


def test_events_are_handled_in_order_and_before_the_disconnect(
    socket: Socket, loop: FakeLoop, application: Application
) -> None:
    application.gate = gate = Gate()
    socket.receiver.received('42["one"]')
    loop.settle()
    for text in ('42["two"]', '427["three",1,2]', "3"):
        socket.receiver.received(text)
    socket.receiver.received("1")
    socket.receiver.received('42["after the end"]')
    loop.settle()
    assert application.gone == []
    application.gate = None
    gate.open()
    loop.settle()
    assert application.names == ["one", "two", "three"]
    assert application.batches[1][1] == ClientEvent("three", 1, 7, "/", ["three", 1, 2])
    assert (application.gone, socket.receiver.state) == (["/"], State.CLOSED)


def test_many_events_of_one_connection_are_handled_in_batches(
    socket: Socket, loop: FakeLoop, application: Application, engine: Engine
) -> None:
    for number in range(3 * BATCH):
        socket.receiver.received(f'42["{number}"]')
    counts = []
    while len(application.names) < 3 * BATCH:
        loop.run_once()
        counts.append(len(application.names))
    assert counts == [BATCH, 2 * BATCH, 3 * BATCH]
    loop.settle()
    assert application.names == [f"{number}" for number in range(3 * BATCH)]
    assert engine.memory.held == 0


def test_unknown_event_is_dropped_on_arrival(
    socket: Socket, loop: FakeLoop, application: Application, engine: Engine
) -> None:
    for text in ('42["nobody knows",1]', '427["nobody knows"]'):
        socket.receiver.received(text)
        assert (socket.receiver.inbox, engine.memory.held) == (None, 0)
    loop.settle()
    assert (application.names, socket.texts(), socket.receiver.closing) == ([], [], False)


def test_client_that_sends_faster_than_it_is_served_is_paused(
    socket: Socket, loop: FakeLoop, application: Application
) -> None:
    application.gate = gate = Gate()
    socket.receiver.received('42["first"]')
    loop.settle()
    for _ in range(INBOX_MOST + 1):
        assert not socket.paused
        socket.receiver.received('42["more"]')
    assert socket.paused
    application.gate = None
    gate.open()
    loop.settle()
    assert (socket.paused, len(application.names)) == (False, INBOX_MOST + 2)


def test_event_that_fails_does_not_stop_the_next(
    socket: Socket, loop: FakeLoop, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(connection: Connection, event: ClientEvent) -> None:
        raise RuntimeError("the handler's own fault")

    application.answer = fails
    for name in ("one", "two"):
        socket.receiver.received(f'42["{name}"]')
        loop.settle()
    assert application.names == ["one", "two"]
    assert len(caplog.records) == 2


def test_leaving_and_rejoining_stay_in_order_with_events(
    socket: Socket, loop: FakeLoop, application: Application
) -> None:
    first = socket.receiver.socket_id
    for packet in ('42["a"]', "41", '42["lost"]', "40", '42["b"]'):
        socket.receiver.received(packet)
    loop.settle()
    assert application.names == ["a", "b"]
    assert application.gone == ["/"]
    assert socket.receiver.socket_id not in (None, first)


def test_packet_of_a_namespace_without_a_connect_is_ignored(
    socket: Socket, loop: FakeLoop, application: Application
) -> None:
    for packet in ('42/custom,["x"]', "41/custom,", '42/nope,["x"]', '4312["an acknowledgement"]', "40"):
        socket.receiver.received(packet)
    loop.settle()
    assert (application.names, socket.receiver.closing) == ([], False)


# -- attachments

BINARY = '452-["bin",{"_placeholder":true,"num":0},{"k":{"_placeholder":true,"num":1}}]'


def test_attachments_replace_their_placeholders(
    socket: Socket, loop: FakeLoop, application: Application, engine: Engine
) -> None:
    for data in (BINARY, b"\x00", b"\xff", '42["next"]'):
        socket.receiver.received(data)
    loop.settle()
    assert application.batches[0][0].data == ["bin", b"\x00", {"k": b"\xff"}]
    assert application.names == ["bin", "next"]
    assert engine.memory.held == 0


def test_missing_attachments_are_counted_and_have_a_deadline(socket: Socket, loop: FakeLoop, engine: Engine) -> None:
    socket.receiver.received(BINARY)
    socket.receiver.received(bytes(5000))
    assert engine.memory.held == 5000
    for _ in range(int(LIMITS.unfinished_within) + 2):
        socket.receiver.received("3")
        loop.pass_time(1)
    assert socket.receiver.reason == "attachments did not come in time"
    assert engine.memory.held == 0


def test_attachments_may_not_be_larger_than_the_budget(socket: Socket, engine: Engine) -> None:
    socket.receiver.received(BINARY)
    socket.receiver.received(bytes(BUDGET + 1))
    assert socket.receiver.reason == "malformed packet"
    assert engine.memory.held == 0


@pytest.mark.parametrize(
    "packets",
    [
        [BINARY, "4hello"],
        [BINARY, '42["x"]'],
        [b"\x00"],
        ['4511-["x"]'],
        ['451-["x",{"_placeholder":true,"num":5}]', b"\x00"],
        ['451-["x",{"_placeholder":true,"num":"a"}]', b"\x00"],
        ['421-["x"]'],
        ['42["connect"]'],
        ['42["disconnecting"]'],
        ["42[null]"],
        ["42[true]"],
        ['42"x"'],
        ['42["x",NaN]'],
        ['42["x"'],
        ["42" + "[" * 100_000],
        ['42abc["x"]'],
        ["42" + "9" * 30 + '["x"]'],
        ['43["no id"]'],
        ["4312{}"],
        ['44{"message":"x"}'],
        ['40"x"'],
        ["41{}"],
        ["46"],
        ["47"],
        ["4²"],
    ],
    ids=str,
)
def test_malformed_packet_closes_with_one_log_line(
    socket: Socket, packets: list[Any], loop: FakeLoop, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "chatsys.engine"):
        for packet in packets:
            assert not socket.receiver.closing
            socket.receiver.received(packet)
        socket.receiver.received('42["after"]')
        loop.settle()
    assert (socket.receiver.reason, socket.close_code) == ("malformed packet", 1002)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert application.names == []


async def test_packet_is_freed_while_its_event_is_handled(
    application: Application, engine: Engine, socket: Socket, loop: FakeLoop
) -> None:
    application.gate = Gate()
    engine.memory.limit = 10**9
    text = "ж" * 10_000  # two bytes each, also in memory
    tracemalloc.start()
    try:
        for _ in range(50):
            socket.receiver.received(f'42["send-message","{text}"]')
        await asyncio.sleep(0)
        loop.settle()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 50 * 20_000 < taken < 50 * 22_000


def test_thousands_of_senders_are_handled_in_slices_of_the_event_loop(
    engine: Engine, loop: FakeLoop, application: Application
) -> None:
    sockets = []
    for _ in range(20 * STARTED_AT_ONCE):
        socket = Socket()
        socket.receiver = engine.open("websocket")
        socket.receiver.adopt(socket)
        socket.receiver.received("40")
        sockets.append(socket)
    loop.settle()
    for socket in sockets:
        socket.receiver.received('42["say",1]')
    handled = []
    while len(application.names) < len(sockets):
        before = len(application.names)
        loop.run_once()
        handled.append(len(application.names) - before)
    assert max(handled) == STARTED_AT_ONCE
    loop.settle()
    assert len(application.names) == len(sockets)


def test_single_sender_is_handled_without_an_extra_iteration(
    engine: Engine, loop: FakeLoop, application: Application
) -> None:
    socket = Socket()
    socket.receiver = engine.open("websocket")
    socket.receiver.adopt(socket)
    socket.receiver.received("40")
    loop.settle()
    socket.receiver.received('42["say",1]')
    loop.run_once()
    assert len(application.names) == 1
