"""While PostgreSQL hangs or the network drops packets, every request is answered in time; then all recovers (§14.5).

Each client waits for one deadline of the server, whatever it does: a stream of messages, moving between rooms,
pages, logins. The limits here are shorter than the defaults, and the fault lasts longer than them by as much.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from chatsys.database.embedded import embedded_server
from chatsys.lab.network.packets import packets_dropped
from tests.proxies import proxied

from .clients import WAIT, Client, http_client
from .conftest import running_server

LIMITS = {"CHATSYS_STATEMENT_TIMEOUT": "2", "CHATSYS_CONNECT_TIMEOUT": "2"}
ANSWERED = 4.0
"""Seconds: the limits add up to 2.95, and two consecutive waits would take 5.2."""
BACK = 5.0
"""The promised time in seconds."""
FAULT = 8.0

Switch = Callable[[], object]


class Clients:
    """The work of many clients, and how long each answer took: ``slowest`` for each kind of request."""

    def __init__(self, url: str, room: str) -> None:
        self.url = url
        self.room = room
        self.slowest: dict[str, float] = {}
        self.stored: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._sent: list[asyncio.Task[None]] = []

    async def timed(self, what: str, work: Awaitable[Any]) -> Any:
        began = time.monotonic()
        answer = await work
        self.slowest[what] = max(self.slowest.get(what, 0.0), time.monotonic() - began)
        return answer

    async def send(self, client: Client, text: str) -> None:
        answer = await self.timed("send", client.call("send-message", {"message": text, "clientMessageId": text}))
        if answer["success"]:
            self.stored.append(text)
        else:
            assert answer["code"] == "store_unavailable"

    async def stream(self, client: Client) -> None:
        """Send ten messages a second, whether or not earlier ones were answered."""
        number = 0
        while True:
            self._sent.append(asyncio.create_task(self.send(client, f"number {number}")))
            number += 1
            await asyncio.sleep(0.1)

    async def move(self, client: Client) -> None:
        """Move from room to room."""
        number = 0
        while True:
            number += 1
            payload = {"room": f"{self.room}-{number % 2}", "username": "Mo"}
            await self.timed("join", client.call("join", payload))
            await asyncio.sleep(0.1)

    async def ask(self, path: str, login: bool = False) -> None:
        async with http_client(self.url) as http:
            while True:
                fields = {"username": "nobody", "password": "none at all"}
                work = http.post(path, json=fields) if login else http.get(path)
                answer = await self.timed(path, work)
                if answer.status_code == 503:
                    assert int(answer.headers["Retry-After"]) > 0
                else:
                    assert answer.status_code == (401 if login else 200)
                await asyncio.sleep(0.05)

    def start(self, sender: Client, mover: Client) -> None:
        history = f"/api/rooms/{self.room}/messages"
        paths = ["/", "/api/health", "/metrics", "/api/users", "/api/rooms", history, f"{history}?limit=1000"]
        work = [self.stream(sender), self.move(mover), self.ask("/api/auth/login", login=True)]
        work += [self.ask(path) for path in paths for _ in range(2)]
        self._tasks = [asyncio.create_task(each) for each in work]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        async with asyncio.timeout(2 * WAIT):
            for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
                assert isinstance(outcome, asyncio.CancelledError), outcome
            await asyncio.gather(*self._sent)


async def run_through(url: str, tmp_path: Path, room: str, begin: Switch, end: Switch) -> None:
    """Run clients against a server of this database: before, during and after its fault."""
    async with AsyncExitStack() as stack:
        running = running_server(url, tmp_path, CHATSYS_LOGIN_ATTEMPTS="1000000", **LIMITS)
        server = await asyncio.to_thread(running.__enter__)
        stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        sender, mover = [await stack.enter_async_context(Client(server.url, ["websocket"])) for _ in range(2)]
        http = await stack.enter_async_context(http_client(server.url))
        await sender.join(room, name="Ann", userId="guest-ann")
        clients = Clients(server.url, room)
        clients.start(sender, mover)
        await asyncio.sleep(1)
        begin()
        try:
            for _ in range(int(FAULT)):
                await asyncio.sleep(1)
                await clients.timed("ready", http.get("/api/ready"))
            during = dict(clients.slowest)
        finally:
            end()
        healed, known = time.monotonic(), len(clients.stored)
        async with asyncio.timeout(WAIT):
            while len(clients.stored) < known + 5:
                await asyncio.sleep(0.02)
        back = time.monotonic() - healed
        await clients.stop()
        slow = {what: round(seconds, 2) for what, seconds in clients.slowest.items() if seconds > ANSWERED}
        assert not slow, "answered too late"
        assert max(during[what] for what in ("/", "/api/health", "/metrics", "ready")) < 2, "these never wait for it"
        assert back < BACK
        assert not sender.lost.is_set()
        assert not mover.lost.is_set()
        history = (await http.get(f"/api/rooms/{room}/messages?limit=1000")).json()["data"]
        texts = [message["message"] for message in history]
        assert len(set(texts)) == len(texts), "nothing is stored twice"
        assert set(clients.stored) <= set(texts), "what was acknowledged is there"
        async with asyncio.timeout(WAIT):
            while sender.texts() != texts:
                await asyncio.sleep(0.05)
    (log,) = tmp_path.glob("server-*.log")
    said = log.read_text()
    assert "Traceback" not in said
    assert said.count("The database fails") == 1, said


async def test_server_survives_a_black_hole_before_the_database(postgres_url: str, tmp_path: Path, room: str) -> None:
    async with proxied(postgres_url) as (proxy, url):
        await run_through(url, tmp_path, room, lambda: proxy.hush(new=True), lambda: proxy.heal(old=True))


async def test_server_survives_a_database_whose_processes_are_stopped(
    server_folder: Path, tmp_path: Path, room: str
) -> None:
    with embedded_server(server_folder) as url:
        first = psutil.Process(int((server_folder / "data" / "postmaster.pid").read_text().split()[0]))

        def signal_all(number: signal.Signals) -> None:
            for process in (first, *first.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

        await run_through(url, tmp_path, room, lambda: signal_all(signal.SIGSTOP), lambda: signal_all(signal.SIGCONT))


@pytest.mark.usefixtures("packets_can_be_dropped")
async def test_server_survives_dropped_packets(postgres_url: str, tmp_path: Path, room: str) -> None:
    async with proxied(postgres_url) as (proxy, url):
        with ExitStack() as stack:
            dropping = packets_dropped([proxy.port])
            await run_through(url, tmp_path, room, lambda: stack.enter_context(dropping), stack.close)
