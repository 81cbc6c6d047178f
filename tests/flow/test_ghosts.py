"""The member list of a room stays correct, whatever happens to the database and the servers (§3.3, §9.9, §12.1)."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from chatsys.client.asynchronous import connected
from tests.proxies import proxied, socket_of

from .clients import WAIT, Client, get, http_client, register
from .conftest import Serve, running_server

LEASE = 1.0


class Swallower:
    """A port in front of PostgreSQL that ends a connection instead of passing on the answer to a chosen statement."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.executed = b""
        self.swallowed = asyncio.Event()
        """Set once the answer to ``executed``, a statement's name or COMMIT, has been swallowed."""

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1")
        parts = urlsplit(self._url)
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}?sslmode=disable"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def swallow(self, executed: bytes) -> None:
        """Swallow the next answer to this statement."""
        self.executed = executed
        self.swallowed.clear()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(socket_of(self._url))
        hit = asyncio.Event()

        async def ask() -> None:
            while data := await reader.read(65536):
                if self.executed and data[:1] in b"BQ" and self.executed in data:  # Bind or Query, not Parse
                    self.executed = b""
                    hit.set()
                far_writer.write(data)

        async def answer() -> None:
            while (data := await far_reader.read(65536)) and not hit.is_set():
                writer.write(data)
            if hit.is_set():
                self.swallowed.set()

        tasks = [asyncio.create_task(ask()), asyncio.create_task(answer())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.transport.abort()
        far_writer.transport.abort()


async def users(url: str, room: str) -> list[str]:
    async with http_client(url) as http:
        return [user["username"] for user in (await http.get(f"/api/rooms/{room}/users")).json()["data"]]


async def until_users(url: str, room: str, names: list[str]) -> None:
    async with asyncio.timeout(WAIT):
        while await users(url, room) != names:
            await asyncio.sleep(0.05)


async def test_swallowed_answers_leave_no_ghost_session(postgres_url: str, tmp_path: Path, room: str) -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(proxy := Swallower(postgres_url))
        running = running_server(url, tmp_path, CHATSYS_LEASE="600")
        server = await asyncio.to_thread(running.__enter__)
        stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        watcher, guest, member = [await stack.enter_async_context(Client(server.url, ["websocket"])) for _ in range(3)]
        account = await register(server.url)
        name = account["user"]["username"]
        await watcher.join(room, name="Ann")
        await member.join(room, token=account["token"])
        proxy.swallow(b"open_sessions")
        assert not (await guest.call("join", {"room": room, "username": "Gus"}))["success"]
        assert proxy.swallowed.is_set()
        await until_users(server.url, room, ["Ann", name])
        await guest.join(room, name="Gus")
        left = len(watcher.all("user-left"))
        proxy.swallow(b"close_sessions")
        await guest.call("leave-room")
        assert proxy.swallowed.is_set()
        await watcher.want("user-left", left + 1)
        proxy.swallow(b"COMMIT")
        headers = {"Authorization": f"Bearer {account['token']}"}
        async with http_client(server.url) as http:
            answer = await http.delete(f"/api/users/{account['user']['userId']}", headers=headers)
        assert answer.status_code == 503
        assert proxy.swallowed.is_set()
        await watcher.want("user-left", left + 2)
        await until_users(server.url, room, ["Ann"])
        async with asyncio.timeout(WAIT):
            while [user["username"] for user in watcher.all("room-users")[-1]] != ["Ann"]:
                await asyncio.sleep(0.02)


async def test_network_cut_of_several_leases_ends_only_the_clients_that_left(
    postgres_url: str, tmp_path: Path, room: str
) -> None:
    async with AsyncExitStack() as stack:
        proxy, url = await stack.enter_async_context(proxied(postgres_url))
        servers = []
        for _ in range(2):
            running = running_server(url, tmp_path, CHATSYS_LEASE=str(LEASE), JWT_SECRET="s" * 40)
            servers.append(await asyncio.to_thread(running.__enter__))
            stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        stay = [await stack.enter_async_context(Client(server.url, ["websocket"])) for server in servers]
        go = [Client(servers[0].url, ["websocket"]) for _ in range(20)]
        for number, client in enumerate(stay):
            await client.join(room, name=f"stays-{number}")
        for client in go:
            await client.__aenter__()
            await client.join(room)
        proxy.cut()
        await asyncio.gather(*[client.__aexit__(None, None, None) for client in go])
        await asyncio.sleep(3 * LEASE)
        await proxy.listen()
        async with asyncio.timeout(WAIT):
            while not (await stay[0].call("send-message", {"message": "back"}))["success"]:
                await asyncio.sleep(0.1)
        await until_users(servers[1].url, room, ["stays-0", "stays-1"])
        for client in stay:
            await client.want("user-left", 20)
            await client.want("receive-message")
            assert not client.lost.is_set()
        await asyncio.sleep(2 * LEASE)
        assert await users(servers[1].url, room) == ["stays-0", "stays-1"]


async def several(stack: AsyncExitStack, urls: list[str], tmp_path: Path, **settings: str) -> list[str]:
    """Return the addresses of servers that share a secret, one on each database URL."""
    addresses = []
    for url in urls:
        running = running_server(url, tmp_path, JWT_SECRET="s" * 40, **settings)
        server = await asyncio.to_thread(running.__enter__)
        stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        addresses.append(server.url)
    return addresses


async def check_nobody_was_thrown_out(clients: list[Client], room: str) -> None:
    """Check that all clients are still in the room and receive each other's messages."""
    counts = [len(client.texts()) for client in clients]
    for client in clients:
        async with asyncio.timeout(WAIT):
            while not (await client.call("send-message", {"message": f"from {client.socket_id}"}))["success"]:
                await asyncio.sleep(0.1)
    for client, count in zip(clients, counts, strict=True):
        await client.want("receive-message", count + len(clients))
        assert not client.lost.is_set()
        assert client.all("user-left") == []
        assert len(await users(client.url, room)) == len(clients)


async def test_network_cut_of_a_second_removes_none_of_twelve_clients(
    postgres_url: str, tmp_path: Path, room: str
) -> None:
    """Three servers, each behind a proxy; PostgreSQL itself keeps running."""
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(proxied(postgres_url)) for _ in range(3)]
        addresses = await several(stack, [url for _, url in proxies], tmp_path, CHATSYS_LEASE="2")
        clients = []
        for number in range(12):
            clients.append(await stack.enter_async_context(Client(addresses[number % 3], ["websocket"])))
            await clients[-1].join(room, name=f"guest {number}")
        for seconds in (1.0, 1.0, 3.0):
            for proxy, _ in proxies:
                proxy.cut()
            await asyncio.sleep(seconds)
            for proxy, _ in proxies:
                await proxy.listen()
            await asyncio.sleep(2.5)  # longer than a lease: by then every server taken for dead is ended
            await check_nobody_was_thrown_out(clients, room)


LOCKS = """
SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND d.datname = current_database()
"""


async def test_ending_the_connections_with_the_locks_removes_no_client(
    postgres_url: str, tmp_path: Path, room: str
) -> None:
    async with AsyncExitStack() as stack:
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE \"{admin.info.dbname}\" SET idle_session_timeout = '1500ms'")
            addresses = await several(stack, [postgres_url] * 2, tmp_path, CHATSYS_LEASE="2")
            clients = [await stack.enter_async_context(Client(address, ["websocket"])) for address in addresses * 2]
            for number, client in enumerate(clients):
                await client.join(room, name=f"guest {number}")
            for _ in range(4):
                ended = admin.execute(LOCKS).fetchall()
                assert len(ended) == 2
                await asyncio.sleep(1.2)
            await asyncio.sleep(5)  # meanwhile idle sessions end and leases expire
            await check_nobody_was_thrown_out(clients, room)


async def test_sockets_that_close_in_an_outage_are_gone_soon_after_it(
    postgres_url: str, tmp_path: Path, room: str
) -> None:
    async with AsyncExitStack() as stack:
        proxy, url = await stack.enter_async_context(proxied(postgres_url))
        (address, other) = await several(stack, [url, postgres_url], tmp_path, CHATSYS_LEASE="600")
        watcher = await stack.enter_async_context(Client(other, ["websocket"]))
        await watcher.join(room, name="watches")
        sockets = [await connected(address) for _ in range(300)]
        for socket in sockets:
            stack.callback(socket.abort)
        for start in range(0, 300, 50):
            joining = [
                socket.call("join", {"room": room, "username": "g"}, timeout=WAIT) for socket in sockets[start:][:50]
            ]
            assert all(answer.args[0]["success"] for answer in await asyncio.gather(*joining))
        assert len(await users(other, room)) == 301
        proxy.cut()
        await asyncio.sleep(0.5)
        for socket in sockets:
            socket.abort()
        await asyncio.sleep(1)
        assert len(await users(other, room)) == 301
        await proxy.listen()
        began = time.monotonic()
        await until_users(other, room, ["watches"])
        assert time.monotonic() - began < 5
        await watcher.want("user-left", 300)


async def test_all_rooms_are_empty_after_a_kill_and_restart_on_one_machine(
    serve: Serve, postgres_url: str, room: str
) -> None:
    first = serve(DATABASE_URL=postgres_url, CHATSYS_LEASE="600")
    async with Client(first.url, ["websocket"]) as client:
        await client.join(room, name="Ann")
        first.kill()
    second = serve(DATABASE_URL=postgres_url, CHATSYS_LEASE="600")
    assert get(f"{second.url}/api/rooms/{room}/users").json()["data"] == []
    assert get(f"{second.url}/").json()["stats"] == {"activeUsers": 0, "totalRooms": 0}
    second.stop()
    assert second.stderr.count("is dead (its process is gone)") == 1
