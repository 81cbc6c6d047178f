"""What one client may cost: unfinished requests, malformed packets, floods, and partial upgrade requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import websockets

from chatsys.lab.clients.scenarios import join_all
from chatsys.lab.clients.sockets import RawClients
from chatsys.protocol.frames import BINARY, CONTINUATION, PING, TEXT, frame

from .clients import WAIT, Client, event, fresh, http_client
from .conftest import Server, running_server

MASK = b"\1\2\3\4"
UPGRADE = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with short deadlines, and its log."""
    folder = tmp_path_factory.mktemp("strict")
    settings = {"CHATSYS_UNFINISHED_WITHIN": "1", "CHATSYS_CONNECT_WITHIN": "1"}
    with running_server("memory://", folder, **settings) as running:
        yield running
    (log,) = folder.glob("server-*.log")
    assert "Traceback" not in log.read_text()
    assert "uvicorn" not in log.read_text()  # uvicorn would warn of each request that is not HTTP
    assert len(log.read_text().splitlines()) < 1000


class Stream:
    """Exchanges bytes with the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: str | bytes) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def rest(self) -> bytes:
        """Return everything that comes until the server closes."""
        async with asyncio.timeout(WAIT):
            with contextlib.suppress(ConnectionResetError):
                return await self.reader.read()
        return b""


@contextlib.asynccontextmanager
async def stream(server: Server) -> AsyncIterator[Stream]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Stream(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def raw(server: Server, *, connect: bool = True, room: str | None = None) -> AsyncIterator[Stream]:
    """Open a WebSocket whose frames the test writes itself."""
    async with stream(server) as opened:
        opened.write(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\n{UPGRADE}\r\n"
        )
        async with asyncio.timeout(WAIT):
            assert b"101" in await opened.reader.readuntil(b"\r\n\r\n")
            if connect:
                opened.write(frame(TEXT, b"40", MASK))
                await opened.reader.readuntil(b"40{")
            if room is not None:
                opened.write(frame(TEXT, event("join", {"room": room, "username": fresh()}, ack=1).encode(), MASK))
                await opened.reader.readuntil(b"431[")
        yield opened


# -- requests


@pytest.mark.parametrize("query", ["EIO=4", "EIO=4&transport=foo", "EIO=4&transport="])
async def test_request_without_a_known_transport_is_refused(strict: Server, query: str) -> None:
    async with http_client(strict.url) as http:
        answer = await http.get(f"/socket.io/?{query}")
        assert (answer.status_code, answer.json()) == (400, {"code": 0, "message": "Transport unknown"})


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("\x16\x03\x01 no HTTP\r\n\r\n", 400),
        ("GET /api/health HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n", 200),
    ],
    ids=["not HTTP", "another upgrade"],
)
async def test_unsupported_request_is_answered_without_a_log_line(strict: Server, request_: str, status: int) -> None:
    for _ in range(5):
        async with stream(strict) as opened:
            opened.write(request_)
            assert (await opened.rest()).startswith(f"HTTP/1.1 {status}".encode())


@pytest.mark.parametrize("connection", ["Connection: close\r\n", ""])
@pytest.mark.parametrize("upgrading", [False, True])
async def test_incomplete_upgrade_is_refused_and_polling_continues(
    strict: Server, connection: str, upgrading: bool
) -> None:
    async with http_client(strict.url) as http:
        params = {"EIO": "4", "transport": "polling"}
        sid = json.loads((await http.get("/socket.io/", params=params)).text[1:])["sid"]
        query = "EIO=4&transport=websocket" + (f"&sid={sid}" if upgrading else "")
        async with stream(strict) as opened:
            opened.write(
                f"GET /socket.io/?{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n{connection}{UPGRADE}\r\n"
            )
            assert (await opened.reader.readline()).startswith(b"HTTP/1.1 400 ")
        params["sid"] = sid
        assert (await http.post("/socket.io/", params=params, content="40")).text == "ok"
        assert (await http.get("/socket.io/", params=params)).text.startswith("40{")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
async def test_client_that_disconnects_at_once_leaves_no_log_line(strict: Server, method: str) -> None:
    for _ in range(5):
        pipe = socket.create_connection(("127.0.0.1", strict.port))
        pipe.sendall(
            f"{method} /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n".encode()
        )
        pipe.close()
    async with http_client(strict.url) as http:
        assert (await http.get("/api/health")).status_code == 200


@pytest.mark.parametrize(
    "begun",
    [
        "",
        "GET /api/health HTTP/1.1\r\nHost: x\r\nX-Half: ",
        "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
        "POST /socket.io/?EIO=4&transport=polling&sid=SID HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n4",
    ],
    ids=["nothing", "half a head", "half a body", "half a POST of a polling client"],
)
async def test_request_that_is_not_finished_in_time_gets_408_and_is_closed(strict: Server, begun: str) -> None:
    async with http_client(strict.url) as http, stream(strict) as opened:
        sid = json.loads((await http.get("/socket.io/?EIO=4&transport=polling")).text[1:])["sid"]
        opened.write(begun.replace("SID", sid))
        answer = await opened.rest()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"success": False, "message": "Request Timeout"}


# -- forbidden on a WebSocket


async def test_websocket_that_never_connects_to_the_namespace_is_closed(strict: Server) -> None:
    async with raw(strict, connect=False) as silent:
        silent.write(frame(TEXT, b"3", MASK))
        assert b"no CONNECT in time" in await silent.rest()


async def test_missing_attachments_close_the_connection(strict: Server) -> None:
    async with raw(strict) as one:
        one.write(frame(TEXT, b'4510-["x",{"_placeholder":true,"num":0}]', MASK))
        for _ in range(9):
            one.write(frame(BINARY, bytes(100_000), MASK))
        assert b"attachments did not come in time" in await one.rest()


async def test_endless_fragments_close_the_connection(strict: Server) -> None:
    async with raw(strict) as one:
        one.write(frame(TEXT, b"42", MASK, final=False))
        assert b"a message did not end in time" in await one.rest()


async def test_text_instead_of_an_attachment_closes_and_stores_nothing(strict: Server, room: str) -> None:
    async with Client(strict.url, ["websocket"]) as watcher, raw(strict, room=room) as one:
        await watcher.join(room)
        message = b'451-["send-message",{"message":{"_placeholder":true,"num":0}}]'
        one.write(frame(TEXT, message, MASK) + frame(TEXT, b"4hello", MASK))
        assert b"malformed packet" in await one.rest()
        await watcher.want("user-left")
        assert watcher.texts() == []


# -- floods

FLOODS = {
    "empty continuations": frame(TEXT, b"42", MASK, final=False) + frame(CONTINUATION, b"", MASK, final=False) * 4000,
    "pings": frame(PING, b"", MASK) * 5000,
    "pongs": frame(TEXT, b"3", MASK) * 5000,
    "unknown events": frame(TEXT, b'42["x"]', MASK) * 5000,
    "malformed packets": frame(TEXT, b"4abc", MASK) * 5000,
    "typing": (frame(TEXT, b'42["typing",true]', MASK) + frame(TEXT, b'42["typing",false]', MASK)) * 2500,
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_flood_from_one_socket_does_not_stop_the_others(strict: Server, room: str, kind: str) -> None:
    """The lab measures what the other clients notice. Here it may take fifty times as long."""
    async with Client(strict.url, ["websocket"]) as other:
        await other.join(room)
        async with raw(strict, room=room) as flooding:

            async def flood() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        flooding.write(FLOODS[kind])
                        await flooding.writer.drain()
                        await asyncio.sleep(0)

            under_way = asyncio.create_task(flood())
            times = []
            for number in range(10):
                start = time.perf_counter()
                await other.send(f"{number}")
                times.append(time.perf_counter() - start)
            under_way.cancel()
            await asyncio.gather(under_way, return_exceptions=True)
            flooding.writer.transport.abort()
        assert statistics.median(times) < 0.25
        assert not other.lost.is_set()


async def test_first_malformed_packet_closes_the_connection(strict: Server) -> None:
    address = strict.websocket_url
    async with websockets.connect(address) as one:
        await one.recv()
        await one.send("4abc")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await one.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1002, "malformed packet")


def test_members_that_join_at_once_are_not_closed_because_of_their_lists(tmp_path: Path) -> None:
    """Four hundred lists of four hundred users are twice as much as the process may hold."""
    with (
        running_server("memory://", tmp_path, CHATSYS_CLIENT_MEMORY="16777216") as server,
        RawClients(server.url) as clients,
    ):
        for _ in range(400):
            clients.connect()
        join_all(clients, ["big"] * 400)
        assert len(clients.members) == 400
