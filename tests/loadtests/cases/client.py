"""What the lean Socket.IO client promises, against a stock server: each case gets its address and a transport."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import msgspec
from gevent.server import StreamServer

from chatsys.loadtesting.client import AckTimeout, ConnectFailed, ConnectionLost, SocketIOClient


@contextmanager
def _client(address: str, transport: str, **options: Any) -> Iterator[SocketIOClient]:
    client = SocketIOClient(address, transport=transport, **options)
    failures: list[object] = []
    client.on_failure = lambda what, error: failures.append((what, error))
    client.connect()
    try:
        yield client
    finally:
        client.disconnect()
    assert failures == []


def _eventually(done: Callable[[], object]) -> None:
    with gevent.Timeout(30):
        while not done():
            gevent.sleep(0.02)


def _error(action: Callable[[], object], kind: type[Exception]) -> str:
    try:
        action()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


def a_call_gives_the_acknowledgement_and_how_long_it_took(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        answer = client.call("echo", {"text": "é\u2028\n", "list": [1, None]})
        assert answer.args == [{"text": "é\u2028\n", "list": [1, None]}]
        assert answer.ms > 0


def a_packet_of_any_size_arrives_whole(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        for size in (0, 100, 125, 126, 65_000, 70_000, 300_000):
            assert client.call("echo", "x" * size).args == ["x" * size]


def a_call_that_nobody_answers_times_out_with_its_cause(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        said = _error(lambda: client.call("silent", 1, timeout=0.2), AckTimeout)
        assert said == "silent: no acknowledgement in 0.2 s"
        assert client.call("echo", 1).args == [1]


def events_reach_their_handlers_in_order(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        numbers: list[int] = []
        client.on("number", numbers.append)
        client.emit("many", 200)
        _eventually(lambda: len(numbers) == 200)
        assert numbers == list(range(200))


def a_typed_handler_gets_only_the_fields_it_names(address: str, transport: str) -> None:
    class Heard(msgspec.Struct):
        wanted: int

    with _client(address, transport) as client:
        heard: list[Heard] = []
        client.on("heard", heard.append, Heard)
        client.emit("shout", {"other": ["}", '"', "]"], "wanted": 7})
        _eventually(lambda: heard)
        assert heard == [Heard(7)]


def the_server_may_ask_for_an_acknowledgement(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        asked: list[object] = []
        client.on("question", asked.append)
        assert client.call("ask").args == ["asked and answered"]
        assert asked == [{"why": True}]


def pings_are_answered(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        before = client.packets
        _eventually(lambda: client.packets >= before + 3)  # the next ping comes only after the answer to the last one
        assert client.call("echo", "still").args == ["still"]


def a_server_that_falls_silent_is_noticed(_address: str, transport: str) -> None:
    if transport == "polling":  # there the HTTP request itself times out
        return
    key_end = b"\r\n\r\n"

    def fall_silent(sock: Any, _peer: object) -> None:
        request = b""
        while not request.endswith(key_end):
            request += sock.recv(1000)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", request)[1]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + accept + key_end)
        for packet in (b'0{"sid":"a","pingInterval":200,"pingTimeout":100}', b'40{"sid":"b"}'):
            sock.sendall(bytes((0x81, len(packet))) + packet)
        gevent.sleep(30)

    server = StreamServer(("127.0.0.1", 0), fall_silent)
    server.start()
    client = SocketIOClient(f"http://127.0.0.1:{server.server_port}", reconnect=False)
    lost: list[str] = []
    client.on_disconnect = lost.append
    client.connect()
    _eventually(lambda: lost)
    assert lost == ["no ping for 0.3 s"]
    server.stop(0)


def a_lost_connection_fails_what_waits_and_comes_back(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        lost: list[str] = []
        back: list[bool] = []
        client.on_disconnect = lost.append
        client.on_reconnect = lambda: back.append(True)
        waiting = gevent.spawn(_error, lambda: client.call("silent", 1), ConnectionLost)
        gevent.sleep(0.1)
        client.emit("kick")
        assert waiting.get(timeout=30) == "disconnected by the server"
        assert _error(lambda: client.emit("echo", 1), ConnectionLost) == "not connected"
        _eventually(lambda: back)
        assert lost == ["disconnected by the server"]
        assert client.call("echo", "again").args == ["again"]


def _end_of(sid: str, witness: SocketIOClient) -> str:
    """How the server says that a connection has ended."""
    ends: dict[str, str] = {}

    def ended() -> bool:
        ends.update(witness.call("ended").args[0])
        return sid in ends

    _eventually(ended)
    return ends[sid]


def a_clean_stop_says_goodbye(address: str, transport: str) -> None:
    with _client(address, transport) as witness:
        with _client(address, transport) as client:
            sid = client.sid
        assert _end_of(sid, witness) == "client disconnect"


def vanishing_says_nothing(address: str, transport: str) -> None:
    with _client(address, transport) as witness:
        client = SocketIOClient(address, transport=transport)
        client.connect()
        sid = client.sid
        client.vanish()
        assert _end_of(sid, witness) != "client disconnect"


def a_refusal_says_why(address: str, transport: str) -> None:
    client = SocketIOClient(address, transport=transport, auth={"refuse": True})
    assert _error(client.connect, ConnectFailed) == "refused: not today"


def another_namespace_can_be_used(address: str, transport: str) -> None:
    with _client(address, transport, namespace="/other") as client:
        assert client.call("echo", 1).args == [["other", 1]]


def a_namespace_that_is_not_there_is_a_failure(address: str, transport: str) -> None:
    client = SocketIOClient(address, transport=transport, namespace="/none")
    assert _error(client.connect, ConnectFailed).startswith("refused: ")


def a_handler_that_fails_is_not_swallowed(address: str, transport: str) -> None:
    client = SocketIOClient(address, transport=transport)
    failures: list[tuple[str, BaseException]] = []
    client.on_failure = lambda what, error: failures.append((what, error))
    client.on("heard", lambda value: 1 / value)
    client.connect()
    client.emit("shout", 0)
    _eventually(lambda: failures)
    assert isinstance(failures[0][1], ZeroDivisionError)
    assert client.call("echo", 1).args == [1]
    client.disconnect()


def nobody_at_the_address_is_a_failure(_address: str, transport: str) -> None:
    with gevent.Timeout(20):
        client = SocketIOClient("http://127.0.0.1:9", transport=transport)
        assert "refused" in _error(client.connect, ConnectFailed)


def a_server_that_answers_nothing_is_a_failure(_address: str, transport: str) -> None:
    server = StreamServer(("127.0.0.1", 0), lambda sock, _: gevent.sleep(30))
    server.start()
    client = SocketIOClient(f"http://127.0.0.1:{server.server_port}", transport=transport, timeout=0.3)
    assert _error(client.connect, ConnectFailed).startswith("connect: ")
    server.stop(0)
