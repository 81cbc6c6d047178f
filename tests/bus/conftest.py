"""Three brokers, each behind a proxy that can fail in every way, and servers that record what they receive."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from chatsys.bus.contract import Broker
from chatsys.bus.interest import channel_of
from chatsys.bus.messages import Envelope
from chatsys.bus.nats import NatsBroker
from chatsys.bus.notify import NotifyBroker
from chatsys.bus.peers import BrokerBus, open_broker_bus
from chatsys.bus.redis import RedisBroker
from chatsys.store.options import StoreOptions
from tests.brokers import Process, nats_server, redis_server
from tests.conftest import free_port

KEY = b"k" * 32
PREFIX = "chatsys.test."
LEASE = 1.5
"""Seconds; a token every half second, which may take half a second."""
CONNECT = 2.0


Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Proxy:
    """A TCP proxy in front of a broker.

    While ``silent`` it reads but passes nothing on. While ``stalled`` it does not even read, which looks to TCP like
    dropped packets. :meth:`refuse` resets all connections and accepts no new ones.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.port = free_port()
        self.silent = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    def stall(self) -> None:
        self._flowing.clear()

    def heal(self) -> None:
        self.silent = False
        self._flowing.set()

    async def accept(self) -> None:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", self.port)

    async def refuse(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._clients:
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._clients.clear()

    def inject(self, data: bytes) -> None:
        """Write into every connection as if the broker had sent it."""
        for writer in self._clients:
            if not writer.is_closing():
                writer.write(data)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.append(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        pumps = [self._pump(reader, there[1]), self._pump(there[0], writer)]
        tasks = [asyncio.create_task(pump) for pump in pumps]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.transport.abort()
            there[1].transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._flowing.wait()
                if not self.silent:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            return


class Site:
    """One kind of broker. ``broker()`` reaches it through the proxy; ``publish`` sends as another client would."""

    def __init__(self, kind: str, proxy: Proxy, broker: Callable[[], Broker], garbage: bytes) -> None:
        self.kind = kind
        self.proxy = proxy
        self.broker = broker
        self.garbage = garbage
        self.process: Process | None = None

    async def publish(self, channel: str, data: bytes) -> None:
        """Publish on a channel over a separate connection."""
        line = await self.broker().open(lambda channel, data: None, CONNECT)
        running = asyncio.create_task(line.run())
        try:
            await line.publish([(channel, data)])
        finally:
            line.abort()
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()
            await line.close()


class Node:
    """A server: its bus, and what it received from it."""

    def __init__(self) -> None:
        self.server = str(uuid.uuid4())
        self.bus: BrokerBus
        self.events: list[tuple[str, bytes]] = []
        self.gaps: list[str | None] = []
        self._changed = asyncio.Event()

    def received(self, room: str, event: bytes) -> None:
        self.events.append((room, event))
        self._changed.set()

    def missed(self, room: str | None) -> None:
        self.gaps.append(room)
        self._changed.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for events from the bus."""
        async with asyncio.timeout(30):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def enter(self, room: str) -> None:
        known = self.bus.enter(room)
        if known is not None:
            await known.wait()

    def send(self, room: str, text: str, *others: Node) -> None:
        """Send an event to the other servers."""
        self.bus.send(room, b'"%s"' % text.encode(), [other.server for other in others])


def texts(node: Node, room: str = "r") -> list[str]:
    return [event.decode().strip('"') for where, event in node.events if where == room]


async def works_again(one: Node, two: Node) -> None:
    """Wait until both have to read their rooms, then check that events arrive in both directions."""
    for node in (one, two):
        await node.until(lambda node=node: None in node.gaps)
    one.send("r", "there", two)
    two.send("r", "back", one)
    await two.until(lambda: "there" in texts(two))
    await one.until(lambda: "back" in texts(one))


@asynccontextmanager
async def running(broker: Broker, key: bytes = KEY, lease: float = LEASE) -> AsyncIterator[Node]:
    """A server on the broker."""
    node = Node()
    async with open_broker_bus(broker, key, node.server, node, lease=lease, connect_timeout=CONNECT) as node.bus:
        yield node


@pytest.fixture(
    params=[
        pytest.param("notify", marks=pytest.mark.database),
        pytest.param("redis", marks=pytest.mark.process),
        pytest.param("nats", marks=pytest.mark.process),
    ]
)
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """Each kind of broker, one after another."""
    process: Process | None = None
    if request.param == "notify":
        url = request.getfixturevalue("postgres_url")
        proxy = Proxy(partial(asyncio.open_unix_connection, socket_of(url)))
        through = f"postgresql://chatsys@127.0.0.1:{proxy.port}{urlsplit(url).path}?sslmode=disable"
        options = StoreOptions(connect_timeout=CONNECT)
        site = Site("notify", proxy, lambda: NotifyBroker(through, options), b"\xff" * 64)
    else:
        port = free_port()
        process = redis_server(port, tmp_path) if request.param == "redis" else nats_server(port)
        proxy = Proxy(partial(asyncio.open_connection, "127.0.0.1", port))
        if request.param == "redis":
            redis = f"redis://127.0.0.1:{proxy.port}/0"
            site = Site("redis", proxy, lambda: RedisBroker(redis, PREFIX), b"*3x\r\n")
        else:
            nats = f"nats://127.0.0.1:{proxy.port}"
            site = Site("nats", proxy, lambda: NatsBroker(nats, PREFIX), b"NONSENSE 3x\r\n")
    site.process = process
    await proxy.accept()
    try:
        yield site
    finally:
        await proxy.refuse()
        await asyncio.sleep(0.05)  # the closed connection drops what it could not send
        if process is not None:
            process.stop(kill=True)


@pytest.fixture
async def pair(site: Site) -> AsyncIterator[tuple[Node, Node]]:
    """Two servers that have the room "r" open."""
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(running(site.broker())) for _ in range(2)]
        await one.enter("r")
        await two.enter("r")
        yield one, two


def sealed(site: Site, node: Node, body: bytes, *, key: bytes = KEY, version: str = "1", room: str = "r") -> bytes:
    """Return a message as another server would send it to ``node``."""
    return Envelope(key).sealed(version, channel(site, node, room), body)


def channel(site: Site, node: Node, room: str = "r") -> str:
    """Return the channel on which events of a room reach a server."""
    return channel_of(room) if site.broker().rooms else node.server


def socket_of(url: str) -> str:
    """Return the Unix socket of the PostgreSQL that the tests share."""
    query = parse_qs(urlsplit(url).query)
    return f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"
