"""Several servers on one PostgreSQL, connected by LISTEN/NOTIFY, Redis or NATS: one chat, whatever fails (§14.2)."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import socketio.exceptions

from tests.brokers import nats_server, redis_server
from tests.conftest import free_port

from .clients import WAIT, Client, fresh, http_client
from .conftest import Connect, Server, running_server

LEASE = 5
"""Seconds; long enough for a live server on a busy machine."""


class Pair:
    """Two servers on one database, and a way to break their bus."""

    def __init__(self, servers: list[Server], break_bus: Callable[[], None]) -> None:
        self.servers = servers
        self.break_bus = break_bus


@pytest.fixture(
    params=[
        pytest.param("postgresql", marks=pytest.mark.database),
        pytest.param("redis", marks=pytest.mark.database),
        pytest.param("nats", marks=pytest.mark.database),
    ]
)
def pair(request: pytest.FixtureRequest, postgres_url: str, tmp_path: Path) -> Iterator[Pair]:
    settings = {"CHATSYS_LEASE": str(LEASE), "JWT_SECRET": "s" * 40}
    with ExitStack() as stack:
        if request.param != "postgresql":
            port = free_port()
            broker = redis_server(port, tmp_path) if request.param == "redis" else nats_server(port)
            stack.callback(broker.stop)
            name = "REDIS_URL" if request.param == "redis" else "CHATSYS_BUS_URL"
            settings[name] = f"{request.param}://127.0.0.1:{port}"

            def break_bus() -> None:
                broker.stop(kill=True)
                broker.start()
        else:

            def break_bus() -> None:
                with psycopg.connect(postgres_url, autocommit=True) as admin:
                    ended = admin.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                        "AND query ~ '^LISTEN|pg_notify' AND pid <> pg_backend_pid()"
                    ).fetchall()
                    assert len(ended) == 2

        servers = [stack.enter_context(running_server(postgres_url, tmp_path, **settings)) for _ in range(2)]
        yield Pair(servers, break_bus)


@pytest.fixture
async def client_of() -> AsyncIterator[Connect]:
    """Create clients that have joined a room on a given server."""
    async with AsyncExitStack() as stack:

        async def make(server: Server, **joining: Any) -> Client:
            client = await stack.enter_async_context(Client(server.url, ["websocket"]))
            await client.join(**joining)
            return client

        yield make


async def want_users(client: Client, names: list[str]) -> None:
    """Wait until the newest list has exactly these users in this order."""
    async with asyncio.timeout(10 * LEASE):
        while [user["username"] for user in client.all("room-users")[-1]] != names:
            await asyncio.sleep(0.02)


async def talk(client: Client, count: int, acknowledged: list[int]) -> None:
    """Send messages one after another; record the sequence numbers of the acknowledged ones."""
    for number in range(count):
        answer = await client.call("send-message", {"message": f"{number}"})
        if answer["success"]:
            acknowledged.append(answer["seq"])


async def talk_until_lost(client: Client, acknowledged: list[int]) -> None:
    """Talk until the connection ends, without waiting for a pending acknowledgement."""
    talking = asyncio.create_task(talk(client, 10_000, acknowledged))
    lost = asyncio.create_task(client.lost.wait())
    await asyncio.wait([talking, lost], return_when=asyncio.FIRST_COMPLETED)
    assert client.lost.is_set()
    talking.cancel()
    with contextlib.suppress(asyncio.CancelledError, socketio.exceptions.SocketIOError):
        await talking


def seqs(client: Client) -> list[int]:
    return [message["seq"] for message in client.all("receive-message")]


async def test_two_servers_serve_one_room(pair: Pair, client_of: Connect, room: str) -> None:
    one, two = pair.servers
    ann = await client_of(one, room=room, name="Ann")
    ben = await client_of(two, room=room, name="Ben")
    assert (await ann.want("user-joined"))["username"] == "Ben"
    await want_users(ann, ["Ann", "Ben"])
    await want_users(ben, ["Ann", "Ben"])
    sent = await ann.send("hello")
    assert (await ben.want("receive-message"))["id"] == sent["id"]
    await ben.call("message-read", {"messageId": sent["id"], "room": room})
    assert (await ann.want("message-read-update"))["readByUsername"] == "Ben"
    await ben.emit("typing", True)
    await ann.want("user-typing")
    async with http_client(one.url) as http:
        stats = (await http.get(f"/api/rooms/{room}/stats")).json()["data"]
    assert stats["activeUsers"] == 2
    await ben.sio.disconnect()
    await ann.want("user-left")
    await ann.want("user-status-update")
    await want_users(ann, ["Ann"])


async def test_all_members_see_all_messages_in_one_sequence(pair: Pair, client_of: Connect, room: str) -> None:
    clients = [await client_of(server, room=room) for server in pair.servers for _ in range(3)]
    acknowledged: list[int] = []
    await asyncio.gather(*[talk(client, 50, acknowledged) for client in clients])
    assert sorted(acknowledged) == list(range(1, 301))
    for client in clients:
        await client.want("receive-message", 300)
        assert seqs(client) == list(range(1, 301))


async def test_first_member_on_a_server_misses_nothing(pair: Pair, client_of: Connect, room: str) -> None:
    one, two = pair.servers
    ann = await client_of(one, room=f"{room}-", name="Ann")
    ben = await client_of(two, room=f"{room}-", name="Ben")
    for number in range(40):
        here = f"{room}-{number}"
        await ann.join(here, name="Ann")
        before = len(ben.all("message-history"))

        async def speak(after: float = number % 20 / 4000) -> Any:
            await asyncio.sleep(after)
            return await ann.send("now")

        sent, _ = await asyncio.gather(speak(), ben.join(here, name="Ben"))
        async with asyncio.timeout(WAIT):
            while sent["id"] not in [
                message["id"] for message in ben.all("message-history")[before] + ben.all("receive-message")
            ]:
                await asyncio.sleep(0.005)


async def test_deleted_account_is_gone_from_the_rooms_of_all_servers(pair: Pair, client_of: Connect, room: str) -> None:
    one, two = pair.servers
    name = fresh()
    async with http_client(one.url) as http:
        fields = {"username": name, "email": f"{name}@example.org", "password": "correct horse"}
        account = (await http.post("/api/auth/register", json=fields)).json()
        doomed = await client_of(two, room=room, token=account["token"])
        watcher = await client_of(one, room=room, name="Ann")
        headers = {"Authorization": f"Bearer {account['token']}"}
        path = f"/api/users/{account['user']['userId']}"
        assert (await http.delete(path, headers=headers)).status_code == 200
    await watcher.want("user-left")
    async with asyncio.timeout(WAIT):
        while (await doomed.call("send-message", {"message": "ghost"})).get("code") != "no_session":
            await asyncio.sleep(0.05)
    assert watcher.texts() == []


async def test_broken_bus_loses_nothing(pair: Pair, client_of: Connect, room: str) -> None:
    clients = [await client_of(server, room=room) for server in pair.servers for _ in range(2)]
    acknowledged: list[int] = []
    talking = asyncio.gather(*[talk(client, 100, acknowledged) for client in clients])
    await clients[0].want("receive-message", 50)
    await asyncio.to_thread(pair.break_bus)
    await talking
    assert sorted(acknowledged) == list(range(1, 401))
    for client in clients:
        await client.want("receive-message", 400)
        assert seqs(client) == list(range(1, 401))


async def test_server_killed_under_load_loses_nothing_that_it_acknowledged(
    pair: Pair, client_of: Connect, room: str
) -> None:
    one, two = pair.servers
    survivor = await client_of(two, room=room, name="Ann")
    acknowledged: list[int] = []
    async with AsyncExitStack() as stack:
        doomed = [await stack.enter_async_context(Client(one.url, ["websocket"])) for _ in range(4)]
        for client in doomed:
            await client.join(room)
        talking = asyncio.gather(*[talk_until_lost(client, acknowledged) for client in doomed])
        own = asyncio.create_task(talk(survivor, 150, acknowledged))
        await survivor.want("receive-message", 200)
        one.process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        await talking
        await own
        await want_users(survivor, ["Ann"])
        assert time.monotonic() - killed < 10 * LEASE
    last = await survivor.send("last")
    async with asyncio.timeout(WAIT):
        while last["seq"] not in seqs(survivor):
            await asyncio.sleep(0.02)
    assert seqs(survivor) == list(range(1, last["seq"] + 1))
    assert set(acknowledged) <= set(seqs(survivor))
    left = [payload["username"] for payload in survivor.all("user-left")]
    assert len(left) == len(set(left)) == 4


async def test_workers_on_one_port_accept_only_websocket_and_say_so(
    postgres_url: str, tmp_path: Path, room: str, client_of: Connect
) -> None:
    with running_server(postgres_url, tmp_path, CHATSYS_WORKERS="2") as server:
        async with http_client(server.url) as http:
            refused = await http.get("/socket.io/?EIO=4&transport=polling")
        assert refused.status_code == 400
        assert re.search(r"transports: \['websocket'\]", refused.text)
        clients = [await client_of(server, room=room) for _ in range(8)]
        acknowledged: list[int] = []
        await asyncio.gather(*[talk(client, 20, acknowledged) for client in clients])
        for client in clients:
            await client.want("receive-message", 160)
            assert seqs(client) == list(range(1, 161))
