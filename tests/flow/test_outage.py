"""While the database is away nothing is told that was not stored, and afterwards all goes on (§14.5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from .clients import WAIT, Client, http_client
from .conftest import running_server


class Cable:
    """A TCP port before a PostgreSQL that listens on a Unix socket; it can be pulled out and put back."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._path = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.{parts.port or 5432}"
        self._database = parts.path
        self._user = parts.username
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._port = 0
        self._pulls = 0

    @property
    def url(self) -> str:
        return f"postgresql://{self._user}@127.0.0.1:{self._port}{self._database}"

    async def plug(self) -> None:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def pull(self) -> None:
        assert self._server is not None
        self._server.close()
        self._pulls += 1
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pulls = self._pulls
        far_reader, far_writer = await asyncio.open_unix_connection(self._path)
        self._writers += [writer, far_writer]
        if self._pulls != pulls:  # pulled while this connection was being made
            writer.transport.abort()
            far_writer.transport.abort()
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        return  # the cable was pulled
    finally:
        writer.close()


@pytest.fixture
async def cable(postgres_url: str) -> AsyncIterator[Cable]:
    cable = Cable(postgres_url)
    await cable.plug()
    yield cable
    await cable.pull()


async def test_a_database_that_is_away_and_comes_back(cable: Cable, tmp_path: Path, room: str) -> None:
    server = await asyncio.to_thread((running := running_server(cable.url, tmp_path, CHATSYS_LEASE="60")).__enter__)
    try:
        async with (
            Client(server.url, ["websocket"]) as sender,
            Client(server.url, ["websocket"]) as watcher,
            http_client(server.url) as http,
        ):
            await sender.join(room, name="Ann", userId="guest-ann")
            await watcher.join(room, name="Ben")
            leaver = Client(server.url, ["websocket"])
            await leaver.__aenter__()
            await leaver.join(room, name="Cleo")
            await sender.send("before")
            await watcher.want("receive-message")
            await cable.pull()
            message = {"message": "during", "clientMessageId": "c-1"}
            refused = await sender.call("send-message", message)
            assert (refused["success"], refused["code"]) == (False, "store_unavailable")
            assert (await sender.want("error"))["message"] == "Service temporarily unavailable"
            assert (await http.get("/api/ready")).status_code == 503
            await leaver.__aexit__(None, None, None)
            await watcher.emit("typing", True)
            await sender.want("user-typing")
            assert watcher.texts() == ["before"]
            await cable.plug()
            async with asyncio.timeout(WAIT):
                while not (answer := await sender.call("send-message", message))["success"]:
                    await asyncio.sleep(0.1)
            assert answer["seq"] == 2
            await watcher.want("receive-message", 2)
            assert watcher.texts() == ["before", "during"]
            await watcher.want("user-left")
            async with asyncio.timeout(WAIT):
                while [user["username"] for user in watcher.all("room-users")[-1]] != ["Ann", "Ben"]:
                    await asyncio.sleep(0.02)
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)
