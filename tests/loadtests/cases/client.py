"""The promises of the small Socket.IO client, for any server: each case gets the server's address and a transport."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import gevent
import gevent.socket
import msgspec
from gevent.server import StreamServer

from chatsys.client.blocking.client import SocketIOClient
from chatsys.client.errors import AckTimeout, ConnectFailed, ConnectionLost, ConnectRefused


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


@contextmanager
def _proxy(address: str, refuse: Callable[[bytes], bool]) -> Iterator[str]:
    """A proxy in front of a server: it answers 503 to connections whose first request is refused, and passes on the
    others."""
    target = urlsplit(address)

    def serve(sock: Any, _peer: object) -> None:
        request = sock.recv(65_536)
        if refuse(request):
            sock.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            sock.close()
            return
        behind = gevent.socket.create_connection((target.hostname, target.port))
        behind.sendall(request)
        gevent.joinall([gevent.spawn(_pump, sock, behind), gevent.spawn(_pump, behind, sock)])
        behind.close()

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.stop(0)


def _pump(source: Any, target: Any) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(gevent.socket.SHUT_RDWR)


def _error(action: Callable[[], object], kind: type[Exception]) -> str:
    try:
        action()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


def call_returns_the_acknowledgement_and_its_duration(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        answer = client.call("echo", {"text": "é\u2028\n", "list": [1, None]})
        assert answer.args == [{"text": "é\u2028\n", "list": [1, None]}]
        assert answer.ms > 0


def packet_of_any_size_arrives_whole(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        for size in (0, 100, 125, 126, 65_000, 70_000, 300_000):
            assert client.call("echo", "x" * size).args == ["x" * size]


def unanswered_call_times_out_with_its_cause(address: str, transport: str) -> None:
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


def typed_handler_gets_only_the_fields_it_names(address: str, transport: str) -> None:
    class Shouted(msgspec.Struct):
        wanted: int

    with _client(address, transport) as client:
        shouts: list[Shouted] = []
        client.on("shouted", shouts.append, Shouted)
        client.emit("shout", {"other": ["}", '"', "]"], "wanted": 7})
        _eventually(lambda: shouts)
        assert shouts == [Shouted(7)]


def server_may_request_an_acknowledgement(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        questions: list[object] = []
        client.on("question", questions.append)
        assert client.call("ask").args == ["asked and answered"]
        assert questions == [{"why": True}]


def pings_are_answered(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        before = client.packets
        _eventually(lambda: client.packets >= before + 3)  # the next ping comes only after the previous answer
        assert client.call("echo", "still").args == ["still"]


def silent_server_is_noticed(_address: str, transport: str) -> None:
    if transport != "websocket":  # while polling, the HTTP request itself times out
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


def lost_connection_fails_pending_calls_and_reconnects(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        lost: list[str] = []
        back: list[bool] = []
        client.on_disconnect = lost.append
        client.on_reconnect = lambda: back.append(True)
        waiting = gevent.spawn(_error, lambda: client.call("silent", 1), ConnectionLost)
        gevent.sleep(0.1)
        client.emit("drop")
        assert waiting.get(timeout=30).startswith("closed by the server")
        assert _error(lambda: client.emit("echo", 1), ConnectionLost) == "not connected"
        _eventually(lambda: back)
        assert len(lost) == 1
        assert client.disconnected_ms > 400, "the first wait is half a second at least"
        assert client.call("echo", "again").args == ["again"]


def client_disconnected_by_the_server_does_not_reconnect_by_itself(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        lost: list[str] = []
        client.on_disconnect = lost.append
        client.emit("kick")
        _eventually(lambda: lost)
        gevent.sleep(2)  # a reconnection would begin after 1.5 s at most
        assert lost == ["disconnected by the server"]
        assert not client.connected
        client.connect()
        assert client.call("echo", "again").args == ["again"]


def bytes_arrive_as_bytes(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        assert client.call("bytes_of", b"12345").args == [["bytes", 5]]
        assert client.call("bytes_of", bytearray(70_000)).args == [["bytes", 70_000]]
        assert client.call("bytes_of", "12345").args[0][0] != "bytes"
        nested = {"a": [b"\x00\xff", {"b": b"two"}], "c": "text"}
        assert client.call("echo", nested).args == [nested]


def pushed_bytes_replace_their_placeholders_in_order(address: str, transport: str) -> None:
    class Blob(msgspec.Struct):
        first: bytes
        items: list[Any]

    with _client(address, transport) as client:
        came: list[object] = []
        client.on("blob", came.append)
        client.on("number", came.append)
        client.emit("push_bytes")
        _eventually(lambda: len(came) == 2)
        assert came == [{"first": bytes(range(256)), "items": [1, b"second"], "text": "x"}, 7]
        client.on("blob", came.append, Blob)
        client.emit("push_bytes")
        _eventually(lambda: len(came) == 4)
        assert came[2] == Blob(bytes(range(256)), [1, b"second"])


def an_acknowledgement_has_all_its_arguments(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        assert client.call("two").args == [None, {"ok": True}]
        assert client.call("nothing").args == []


def server_gets_the_answer_of_the_handler(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        client.on("one", lambda numbers: numbers["a"] + numbers["b"])
        client.on("several", lambda numbers: (numbers["a"], "and", {"more": numbers["b"]}))
        client.on("blob", lambda numbers: b"\x01\x02")
        assert client.call("ask_for", "one").args == [5]
        assert client.call("ask_for", "several").args == [[2, "and", {"more": 3}]]
        assert client.call("ask_for", "blob").args == [b"\x01\x02"]


def several_namespaces_share_one_connection(address: str, transport: str) -> None:
    client = SocketIOClient(address, transport=transport)
    other = client.of("/other")
    client.connect()
    assert client.call("echo", 1).args == [1]
    assert other.call("echo", 1).args == [["other", 1]]
    assert client.of("/other") is other
    lost: list[str] = []
    other.on_disconnect = lost.append
    other.emit("kick")
    _eventually(lambda: lost)
    assert lost == ["disconnected by the server"]
    assert (client.connected, other.connected) == (True, False)
    assert client.call("echo", 2).args == [2]
    other.connect()
    assert other.call("echo", 3).args == [["other", 3]]
    other.disconnect()
    assert _error(lambda: other.emit("echo", 4), ConnectionLost) == "not connected"
    assert client.call("echo", 5).args == [5]
    client.disconnect()


def all_namespaces_reconnect_after_a_lost_connection(address: str, transport: str) -> None:
    client = SocketIOClient(address, transport=transport)
    other = client.of("/other")
    back: list[bool] = []
    client.on_reconnect = lambda: back.append(other.connected)
    client.connect()
    client.emit("drop")
    _eventually(lambda: back)
    assert back == [True]
    assert other.call("echo", 1).args == [["other", 1]]
    client.disconnect()


def refused_namespace_says_why_and_is_not_retried(address: str, transport: str) -> None:
    with _client(address, transport) as client:
        members = client.of("/refuses")
        assert _error(members.connect, ConnectRefused) == "refused: members only"
        assert client.call("echo", 1).args == [1]


def handshake_sends_headers_cookies_and_origin(address: str, transport: str) -> None:
    headers = {"Origin": "https://shop.example", "X-Tenant": "7", "Authorization": "Bearer x"}
    with _client(address, transport, headers=headers, cookies={"session": "s1"}) as client:
        (seen,) = client.call("handshake").args
        assert (seen["origin"], seen["tenant"], seen["authorization"]) == ("https://shop.example", "7", "Bearer x")
        assert "session=s1" in seen["cookie"]
    with_secret = address.replace("http://", "http://ann:secret@")
    with _client(with_secret, transport) as client:
        (seen,) = client.call("handshake").args
        assert seen["authorization"] == "Basic YW5uOnNlY3JldA=="
        assert seen["host"] == address.removeprefix("http://")


def handshake_sends_the_query_of_the_host(address: str, transport: str) -> None:
    with _client(f"{address}?tenant=7&x=a%20b", transport) as client:
        (seen,) = client.call("handshake").args
        assert "tenant=7" in seen["query"]
        assert "transport=" in seen["query"]


def invalid_address_or_header_is_refused_before_anything_is_sent(_address: str, transport: str) -> None:
    for url in ("", "chat.example", "ftp://chat.example", "http://"):
        assert "is not the address of a server" in _error(lambda url=url: SocketIOClient(url), ValueError)
    broken = {"X": "a\r\nInjected: b"}
    assert "line break" in _error(lambda: SocketIOClient("http://h", transport=transport, headers=broken), ValueError)


def upgrade_to_websocket_loses_nothing(address: str, transport: str) -> None:
    if transport != "upgrade":
        return
    client = SocketIOClient(address, transport=transport)
    upgraded: list[float] = []
    numbers: list[int] = []
    client.on_upgrade = upgraded.append
    client.on("number", numbers.append)
    client.connect()
    client.emit("many", 300)
    answers = [gevent.spawn(client.call, "echo", number) for number in range(100)]
    _eventually(lambda: upgraded)
    assert client.call("transport").args == ["websocket"]
    assert [answer.get(timeout=30).args for answer in answers] == [[number] for number in range(100)]
    _eventually(lambda: len(numbers) == 300)
    assert numbers == list(range(300))
    client.disconnect()


def polling_continues_if_no_websocket_gets_through(address: str, transport: str) -> None:
    """A proxy that passes on no upgrade."""
    if transport != "upgrade":
        return
    failures: list[tuple[str, BaseException]] = []
    with _proxy(address, refuse=lambda request: b"websocket" in request.split(b"\r\n", 1)[0]) as proxy:
        client = SocketIOClient(proxy, transport=transport)
        client.on_failure = lambda what, error: failures.append((what, error))
        client.connect()
        _eventually(lambda: failures)
        assert failures[0][0] == "upgrade"
        assert "503" in str(failures[0][1])
        assert client.call("transport").args == ["polling"]
        client.disconnect()
    assert len(failures) == 1


def _end_of(sid: str, witness: SocketIOClient) -> str:
    """How the server describes the end of a connection."""
    ends: dict[str, str] = {}

    def ended() -> bool:
        ends.update(witness.call("ended").args[0])
        return sid in ends

    _eventually(ended)
    return ends[sid]


def clean_stop_disconnects_properly(address: str, transport: str) -> None:
    with _client(address, transport) as witness:
        with _client(address, transport) as client:
            sid = client.sid
        assert _end_of(sid, witness) == "client disconnect"


def vanishing_client_sends_no_disconnect(address: str, transport: str) -> None:
    with _client(address, transport) as witness:
        client = SocketIOClient(address, transport=transport)
        client.connect()
        sid = client.sid
        client.vanish()
        assert _end_of(sid, witness) != "client disconnect"


def refusal_says_why(address: str, transport: str) -> None:
    client = SocketIOClient(address, transport=transport, auth={"refuse": True})
    assert _error(client.connect, ConnectFailed) == "refused: not today"


def another_namespace_can_be_used(address: str, transport: str) -> None:
    with _client(address, transport, namespace="/other") as client:
        assert client.call("echo", 1).args == [["other", 1]]


def missing_namespace_is_a_failure(address: str, transport: str) -> None:
    client = SocketIOClient(address, transport=transport, namespace="/none")
    assert _error(client.connect, ConnectFailed).startswith("refused: ")


def failing_handler_is_not_swallowed(address: str, transport: str) -> None:
    client = SocketIOClient(address, transport=transport)
    failures: list[tuple[str, BaseException]] = []
    client.on_failure = lambda what, error: failures.append((what, error))
    client.on("shouted", lambda value: 1 / value)
    client.connect()
    client.emit("shout", 0)
    _eventually(lambda: failures)
    assert isinstance(failures[0][1], ZeroDivisionError)
    assert client.call("echo", 1).args == [1]
    client.disconnect()


def address_without_a_server_is_a_failure(_address: str, transport: str) -> None:
    with gevent.Timeout(20):
        client = SocketIOClient("http://127.0.0.1:9", transport=transport)
        assert "refused" in _error(client.connect, ConnectFailed)


def server_that_answers_nothing_is_a_failure(_address: str, transport: str) -> None:
    server = StreamServer(("127.0.0.1", 0), lambda sock, _: gevent.sleep(30))
    server.start()
    client = SocketIOClient(f"http://127.0.0.1:{server.server_port}", transport=transport, timeout=0.3)
    assert _error(client.connect, ConnectFailed).startswith("connect: ")
    server.stop(0)
