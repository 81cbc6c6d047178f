"""A slow, full or absent bus delays nothing else: local delivery, acknowledgements, /metrics, the server's end.

A server would wait for the bus twice as long as these tests wait.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from tests.brokers import nats_server, redis_server
from tests.conftest import ScratchServer, free_port
from tests.flow.clients import Client, get
from tests.flow.serving import Served

LIMIT = 5.0
"""Seconds."""
LONGEST = "\U0001f600" * 2000
"""The longest text that the bus carries whole, eight kilobytes; two thousand such texts fill the queue."""
SETTINGS = {"PORT": "0", "CHATSYS_LEASE": "60", "CHATSYS_CONNECT_TIMEOUT": "10"}
_BUS_BACKENDS = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^LISTEN|pg_notify'
AND pid <> pg_backend_pid()
"""


class StoppedBackends:
    """Stops PostgreSQL's processes that serve the bus, including those of new connections."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopped: set[int] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()
        while not self._stopped:
            self._end.wait(0.01)

    def stop(self) -> None:
        self._end.set()
        self._thread.join()
        for pid in self._stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._end.wait(0.02):
                for (pid,) in connection.execute(_BUS_BACKENDS).fetchall():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP)
                    self._stopped.add(pid)


class Pair(NamedTuple):
    """Two servers on one database, whose bus has a fault."""

    one: Served
    two: Served


class Room(NamedTuple):
    """A room with two members on the first server and one on the second."""

    name: str
    ann: Client
    ben: Client


TROUBLES = ["notify slow", "notify full", "redis slow", "redis full", "nats absent"]


@pytest.fixture(scope="module", params=TROUBLES)
def pair(
    request: pytest.FixtureRequest, postgres_server: ScratchServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    kind, trouble = request.param.split()
    folder = tmp_path_factory.mktemp("isolation")
    with ExitStack() as stack:
        url = stack.enter_context(postgres_server.database())
        environ = {"DATABASE_URL": url, **SETTINGS}
        begin = begin_of(kind, trouble, url, folder, stack, environ)
        servers = [Served(folder, **environ) for _ in range(2)]
        for served in servers:
            stack.callback(served.kill)
            assert served.url, served.stderr
        begin()
        if trouble == "full":
            asyncio.run(fill(*servers))
        yield Pair(*servers)


def begin_of(
    kind: str, trouble: str, url: str, folder: Path, stack: ExitStack, environ: dict[str, str]
) -> Callable[[], None]:
    """Start the broker, and return the function that begins the fault."""
    if kind == "notify":
        backends = StoppedBackends(url)
        stack.callback(backends.stop)
        return backends.start
    port = free_port()
    broker = redis_server(port, folder) if kind == "redis" else nats_server(port)
    environ["CHATSYS_BUS_URL"] = f"{kind}://127.0.0.1:{port}"
    stack.callback(broker.process.communicate)
    stack.callback(broker.process.kill)
    return broker.process.kill if trouble == "absent" else broker.suspend


async def fill(one: Served, two: Served) -> None:
    """Send until the queue has overflowed once."""
    async with Client(one.url, ["websocket"]) as ann, Client(two.url, ["websocket"]) as ben:
        await ann.join("full", name="Ann")
        await ben.join("full", name="Ben")
        while counted(one, 'chatsys_bus_dropped_total{reason="overflow"}') == 0:
            for _ in range(200):
                await ann.emit("send-message", {"message": LONGEST})
            await ann.send("that was all")


def counted(served: Served, name: str) -> float:
    """Return a number of /metrics."""
    answer = get(f"{served.url}/metrics", timeout=LIMIT)
    assert answer.status_code == 200
    return float(re.findall(rf"^{re.escape(name)} (\S+)$", answer.text, re.MULTILINE)[0])


@pytest.fixture
async def room(pair: Pair) -> AsyncIterator[Room]:
    """Create a new room whose events also go to the second server."""
    name = uuid.uuid4().hex
    async with AsyncExitStack() as stack:
        made = []
        for served in (pair.one, pair.one, pair.two):
            client = await stack.enter_async_context(Client(served.url, ["websocket"]))
            await client.join(name)
            made.append(client)
        yield Room(name, made[0], made[1])


async def test_local_delivery_does_not_wait_for_the_bus(room: Room) -> None:
    _, ann, ben = room
    async with asyncio.timeout(LIMIT):
        await ann.emit("send-message", {"message": "hello"})
        assert (await ben.want("receive-message"))["message"] == "hello"
        await ann.emit("typing", True)
        assert (await ben.want("user-typing"))["isTyping"] is True


async def test_acknowledgement_does_not_wait_for_the_bus(room: Room) -> None:
    name, ann, ben = room
    async with asyncio.timeout(LIMIT):
        sent = await ann.send("hello")
        assert (await ben.call("message-read", {"messageId": sent["id"], "room": name}))["success"]
        assert (await ben.call("mark-all-read", {"room": name}))["success"]


async def test_metrics_do_not_wait_for_the_bus(pair: Pair, room: Room) -> None:
    before = counted(pair.one, 'chatsys_bus_events_total{direction="sent"}')
    for number in range(20):
        await room.ann.send(f"{number}")
    assert counted(pair.one, 'chatsys_bus_events_total{direction="sent"}') >= before + 20


async def test_server_stop_does_not_wait_for_the_bus(pair: Pair, room: Room) -> None:
    for number in range(20):
        await room.ann.send(f"{number}")
    assert await asyncio.to_thread(pair.one.stop) == 0
    assert "Traceback" not in pair.one.stderr
