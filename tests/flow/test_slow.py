"""Slow readers and noisy neighbours: each pays only for itself (§14.5)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets

from .clients import WAIT, Client, event, fresh, http_client
from .conftest import Connect, Server, running_server


async def number(server: Server, name: str) -> float:
    """Return a number of /metrics."""
    async with http_client(server.url) as http:
        for line in (await http.get("/metrics")).text.splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
    raise AssertionError(f"/metrics does not show {name}")


async def stalled_client(server: Server, room: str) -> websockets.ClientConnection:
    """Connect a client that joins and then reads nothing."""
    pipe = socket.socket()
    pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    pipe.setblocking(False)
    await asyncio.get_running_loop().sock_connect(pipe, ("127.0.0.1", server.port))
    client = await websockets.connect(
        server.websocket_url, sock=pipe, max_size=None, compression=None, ping_interval=None, max_queue=1
    )
    await client.recv()
    await client.send("40")
    await client.send(event("join", {"room": room, "username": fresh("deaf")}))
    while not str(await client.recv()).startswith('42["message-history"'):
        pass
    client.transport.pause_reading()
    return client


@pytest.fixture
def strict_server(tmp_path: Path) -> Iterator[Server]:
    """A server that closes a client that has read nothing for one second."""
    with running_server("memory://", tmp_path, CHATSYS_STALLED_WITHIN="1") as running:
        yield running


async def test_socket_that_does_not_read_is_closed_and_the_others_miss_nothing(
    strict_server: Server, room: str
) -> None:
    async with Client(strict_server.url, ["websocket"]) as sender, Client(strict_server.url, ["websocket"]) as reader:
        await sender.join(room)
        await reader.join(room)
        client = await stalled_client(strict_server, room)
        await reader.want("user-joined")
        text, sent = "x" * 100_000, 0
        while "user-left" not in reader.names():
            await sender.send(text)
            sent += 1
            assert sent < 3000
            assert await number(strict_server, "chatsys_waiting_bytes") <= 4_194_304
        assert await number(strict_server, "chatsys_slow_disconnects_total") == 1
        await reader.want("receive-message", sent)
        assert [message["seq"] for message in reader.all("receive-message")] == list(range(1, sent + 1))
        client.transport.abort()


async def test_polling_client_that_never_polls_is_closed(strict_server: Server, room: str) -> None:
    async with Client(strict_server.url, ["websocket"]) as sender, http_client(strict_server.url) as http:
        await sender.join(room)
        params = {"EIO": "4", "transport": "polling"}
        opened = await http.get("/socket.io/", params=params)
        params["sid"] = opened.text.split('"sid":"')[1].split('"')[0]
        join = event("join", {"room": room, "username": "Ann"})
        assert (await http.post("/socket.io/", params=params, content="40\x1e" + join)).status_code == 200
        await sender.want("user-joined")
        for _ in range(15):
            await sender.send("x" * 100_000)
        await sender.want("user-left")
        assert (await http.get("/socket.io/", params=params)).status_code == 400


async def test_slow_reader_misses_nothing_and_does_not_delay_others(
    server: Server, connect: Connect, room: str
) -> None:
    """Six messages of 900 kB, then many small ones: more than a server keeps for clients that are behind."""
    sender = await connect(room=room)
    client = await stalled_client(server, room)
    await sender.want("user-joined")
    before = await number(server, "chatsys_slow_disconnects_total")
    for _ in range(6):
        await sender.send("x" * 900_000)
    for size in range(20):
        await sender.emit("typing", size % 2 == 0)
        await sender.send("y" * 1000 * size + "!")
    client.transport.resume_reading()
    seen: list[int] = []
    async with asyncio.timeout(WAIT):
        while len(seen) < 26:
            packet = str(await client.recv())
            if packet == "2":
                await client.send("3")
            if packet.startswith('42["receive-message"'):
                seen.append(json.loads(packet[2:])[1]["seq"])
            await asyncio.sleep(0.002)
    assert seen == list(range(1, 27))
    assert await number(server, "chatsys_slow_disconnects_total") == before
    await client.close()


async def test_history_may_be_larger_than_the_byte_budget(server: Server, connect: Connect, room: str) -> None:
    sender = await connect(room=room)
    text = "x" * 200_000
    for _ in range(10):
        await sender.send(text)
    reader = await connect()
    answer = await reader.join(room)
    assert answer["replayed"] == 10  # 2 MB, of which each byte counts twice
    await sender.send("live")
    assert (await reader.want("receive-message"))["seq"] == 11
