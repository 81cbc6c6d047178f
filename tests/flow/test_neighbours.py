"""One client or one row costs the others nothing: an echo beside it continues (DESIGN.md, Isolation).

The echo sends 20 messages a second and times its own ``receive-message``. The lab measures how fast that is. The
bound here is far above that time, and far below the delays that were once observed.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil
import psycopg

from chatsys.protocol.frames import TEXT, frame

from .clients import WAIT, Client, event, fresh, http_client, register
from .conftest import Server, running_server

UNMOVED = 0.5
"""The greatest median in seconds; an echo takes milliseconds."""
NEVER = 3.0
"""The greatest time of a single echo in seconds."""
MASK = b"\1\2\3\4"


class Echo:
    """A client in a room, and how long it took until it received each of its own messages."""

    def __init__(self, url: str, room: str) -> None:
        self._client = Client(url, ["websocket"])
        self._room = room
        self.times: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        await self._client.join(self._room, name=fresh())
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._client.__aexit__(kind, error, trace)

    async def _run(self) -> None:
        mine = 0
        while True:
            began = time.perf_counter()
            await self._client.emit("send-message", {"message": f"echo {mine}"})
            while f"echo {mine}" not in self._client.texts():
                await asyncio.sleep(0.001)
            self._client.diary.clear()
            mine += 1
            self.times.append(time.perf_counter() - began)
            await asyncio.sleep(max(0.0, 0.02 - self.times[-1]))

    def check(self, least: int = 10) -> None:
        """Check that nobody delayed it."""
        assert len(self.times) >= least
        assert statistics.median(self.times) < UNMOVED
        assert max(self.times) < NEVER


@contextlib.asynccontextmanager
async def server_on(url: str, folder: Path, **settings: str) -> AsyncIterator[Server]:
    running = running_server(url, folder, **settings)
    server = await asyncio.to_thread(running.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


async def test_room_locked_by_another_program_delays_no_other_room(
    postgres_url: str, tmp_path: Path, room: str
) -> None:
    """For longer than an answer may take: its members get an error, and nobody else notices."""
    rooms = [f"{room}-{letter}" for letter in "ABC"]
    limits = {"CHATSYS_STATEMENT_TIMEOUT": "2", "CHATSYS_CONNECT_TIMEOUT": "2"}
    async with server_on(postgres_url, tmp_path, **limits) as server, Client(server.url, ["websocket"]) as inside:
        await inside.join(rooms[0], name="Ann")
        async with Echo(server.url, rooms[1]) as b, Echo(server.url, rooms[2]) as c:
            async with await psycopg.AsyncConnection.connect(postgres_url) as locking:
                await locking.execute("SELECT FROM rooms WHERE room_name = %s FOR UPDATE", [rooms[0]])
                waiting = [inside.call("send-message", {"message": f"{number}"}) for number in range(20)]
                began = time.monotonic()
                answers = await asyncio.gather(*waiting)
                assert time.monotonic() - began < 5
                assert {answer["code"] for answer in answers} == {"store_unavailable"}
                async with http_client(server.url) as http:
                    assert (await http.get("/api/ready")).status_code == 200
                    assert (await http.get(f"/api/rooms/{rooms[0]}/messages")).status_code == 200
                async with Client(server.url, ["websocket"]) as newcomer:
                    await newcomer.join(rooms[1], name="Cleo")
                    await newcomer.send("hello")
                await locking.rollback()
            assert (await inside.send("after"))["seq"] == 1
        b.check()
        c.check()


MESSAGES = 30_000


async def test_guest_who_marks_a_large_room_as_read_delays_nobody(postgres_url: str, tmp_path: Path, room: str) -> None:
    fill(postgres_url, room)
    async with (
        server_on(postgres_url, tmp_path) as server,
        Echo(server.url, room) as same,
        Echo(server.url, f"{room}-2") as other,
        Client(server.url, ["websocket"]) as guest,
    ):
        process = psutil.Process(server.process.pid)
        memory = process.memory_info().rss
        await guest.join(room, name="Gus")
        same.times.clear()
        other.times.clear()
        await guest.emit("mark-all-read", {"room": room})
        await guest.want("messages-marked-read", 3)
        for payload in guest.all("messages-marked-read"):
            assert 0 < len(payload["messageIds"]) <= 1000
        assert process.memory_info().rss - memory < 100_000_000, "it was 200 MB"
        same.check()
        other.check()


def fill(url: str, room: str) -> None:
    """Create a room with a guest's messages that nobody has read."""
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO rooms (room_name) VALUES (%s)", [room])
        connection.execute(
            "INSERT INTO messages (room_id, guest_id, guest_name, message_text, seq)"
            " SELECT r.room_id, 'guest-writer', 'writer', 'message ' || n, n"
            " FROM (SELECT * FROM rooms WHERE room_name = %s) r, generate_series(1, %s::int) n",
            [room, MESSAGES],
        )
        connection.execute("UPDATE rooms SET last_seq = %s WHERE room_name = %s", [MESSAGES, room])


async def test_guests_who_never_read_huge_messages_delay_nobody(server: Server, room: str) -> None:
    """A hundred messages of 990,000 characters: the history is limited, made once and held once."""
    async with Client(server.url, ["websocket"]) as sender:
        await sender.join(room, name="Ann")
        for number in range(100):
            await sender.send(f"{number:03}" + "x" * 989_997)
            sender.diary.clear()
    process = psutil.Process(server.process.pid)
    memory = process.memory_info().rss
    async with contextlib.AsyncExitStack() as stack:
        echo = await stack.enter_async_context(Echo(server.url, f"{room}-2"))
        writers = []
        for number in range(12):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**10)
            writers.append(writer)
            stack.callback(writer.transport.abort)
            writer.write(
                b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            await reader.readuntil(b"\r\n\r\n")
            writer.write(frame(TEXT, b"40", MASK))
            joining = event("join", {"room": room, "username": f"guest {number}"}, ack=1)
            writer.write(frame(TEXT, joining.encode(), MASK))
        async with http_client(server.url) as http:
            async with asyncio.timeout(WAIT):
                while (await http.get(f"/api/rooms/{room}/users")).json()["count"] < 12:
                    await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        assert process.memory_info().rss - memory < 150_000_000, "it was 95 MB for each"
        echo.check()


async def test_requests_for_lists_of_sixty_thousand_rooms_delay_nobody(
    postgres_url: str, tmp_path: Path, room: str
) -> None:
    async with server_on(postgres_url, tmp_path) as server:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("INSERT INTO rooms (room_name) SELECT 'many ' || n FROM generate_series(1, 60000) n")
        async with Echo(server.url, room) as echo, http_client(server.url) as http:
            while len(echo.times) < 20:
                answers = await asyncio.gather(*(http.get(f"/api/rooms?limit={900 + number}") for number in range(30)))
                assert [answer.json()["total"] for answer in answers] == list(range(900, 930))
            seen, after = 0, ""
            for _ in range(3):
                page = (await http.get("/api/rooms", params={"after": after})).json()
                seen, after = seen + page["total"], page["next"]
            assert seen == 3000
        echo.check()


LOGINS = 560
"""Logins per second."""


async def test_logins_of_clients_that_disconnect_at_once_delay_nobody(
    postgres_url: str, tmp_path: Path, room: str
) -> None:
    async with server_on(postgres_url, tmp_path) as server:
        account = await register(server.url)
        fields = {"username": account["user"]["username"], "password": account["password"]}

        async def try_login(number: int) -> None:
            body = f'{{"username":"nobody{number}","password":"wrong password"}}'.encode()
            head = "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head.encode() + f"{len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            writer.close()

        async def storm() -> None:
            began = time.monotonic()
            for number in range(LOGINS * 5):
                await try_login(number)
                await asyncio.sleep(max(0.0, began + number / LOGINS - time.monotonic()))

        async with Echo(server.url, room) as echo:
            storming = asyncio.create_task(storm())
            took = []
            elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
            async with http_client(server.url, transport=elsewhere) as http:
                while not storming.done():
                    began = time.monotonic()
                    assert (await http.post("/api/auth/login", json=fields)).status_code == 200
                    took.append(time.monotonic() - began)
                    await asyncio.sleep(0.3)
            await storming
            assert max(took) < 3
        echo.check()
