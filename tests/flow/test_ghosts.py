"""Who is in a room is there, whatever becomes of the database and of servers (§3.3, §9.9, §12.1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from .clients import WAIT, Client, get, http_client, register
from .conftest import Serve, running_server
from .test_outage import Cable

LEASE = 1.0


class Proxy(Cable):
    """A cable that can swallow one answer of the database, and the connection with it."""

    swallows = False

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._path)
        self._writers += [writer, far_writer]
        await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer, answers=True))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False) -> None:
        try:
            while data := await reader.read(65536):
                if answers and self.swallows:
                    self.swallows = False
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()


@pytest.fixture
async def proxy(postgres_url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(postgres_url)
    await proxy.plug()
    yield proxy
    await proxy.pull()


async def users(url: str, room: str) -> list[str]:
    async with http_client(url) as http:
        return [user["username"] for user in (await http.get(f"/api/rooms/{room}/users")).json()["data"]]


async def until_users(url: str, room: str, names: list[str]) -> None:
    async with asyncio.timeout(WAIT):
        while await users(url, room) != names:
            await asyncio.sleep(0.05)


async def test_answers_that_are_swallowed_leave_no_ghost(proxy: Proxy, tmp_path: Path, room: str) -> None:
    server = await asyncio.to_thread((running := running_server(proxy.url, tmp_path, CHATSYS_LEASE="600")).__enter__)
    try:
        async with (
            Client(server.url, ["websocket"]) as watcher,
            Client(server.url, ["websocket"]) as guest,
            Client(server.url, ["websocket"]) as member,
        ):
            account = await register(server.url)
            await watcher.join(room, name="Ann")
            await member.join(room, token=account["token"])
            proxy.swallows = True
            assert not (await guest.call("join", {"room": room, "username": "Gus"}))["success"]
            await until_users(server.url, room, ["Ann", account["user"]["username"]])
            await guest.join(room, name="Gus")
            left = len(watcher.all("user-left"))
            proxy.swallows = True
            await guest.call("leave-room")
            await watcher.want("user-left", left + 1)
            proxy.swallows = True
            headers = {"Authorization": f"Bearer {account['token']}"}
            async with http_client(server.url) as http:
                await http.delete(f"/api/users/{account['user']['userId']}", headers=headers)
                proxy.swallows = True
                await http.delete(f"/api/users/{account['user']['userId']}", headers=headers)
            await watcher.want("user-left", left + 2)
            await until_users(server.url, room, ["Ann"])
            async with asyncio.timeout(WAIT):
                while [user["username"] for user in watcher.all("room-users")[-1]] != ["Ann"]:
                    await asyncio.sleep(0.02)
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


async def test_a_cut_of_several_leases_disconnects_nobody_and_ends_those_who_left(
    proxy: Proxy, tmp_path: Path, room: str
) -> None:
    async with AsyncExitStack() as stack:
        servers = []
        for _ in range(2):
            running = running_server(proxy.url, tmp_path, CHATSYS_LEASE=str(LEASE), JWT_SECRET="s" * 40)
            servers.append(await asyncio.to_thread(running.__enter__))
            stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        stay = [await stack.enter_async_context(Client(server.url, ["websocket"])) for server in servers]
        go = [Client(servers[0].url, ["websocket"]) for _ in range(20)]
        for number, client in enumerate(stay):
            await client.join(room, name=f"stays-{number}")
        for client in go:
            await client.__aenter__()
            await client.join(room)
        await proxy.pull()
        await asyncio.gather(*[client.__aexit__(None, None, None) for client in go])
        await asyncio.sleep(3 * LEASE)
        await proxy.plug()
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


async def test_after_a_kill_and_a_restart_on_the_same_machine_all_rooms_are_empty(
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
