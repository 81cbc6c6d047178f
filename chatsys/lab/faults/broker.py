"""A broker of the site's own, Redis or NATS, behind a proxy for each server."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from chatsys.errors import OperatorError
from chatsys.lab.network.proxy import Filter, Proxy
from chatsys.lab.subjects.servers import free_port

START_TIMEOUT = 10.0
_PIECE = b"x" * 400_000
"""What is published to fill the queues: a few of them are more than may wait for one subscriber."""
Fill = Callable[[int, float], Awaitable[None]]


class ProxiedBroker:
    """A broker on a port of its own, and the proxies through which the servers reach it.

    ``garbage`` is what its protocol does not have; ``fill`` publishes to all channels of the broker on a port, for so
    many seconds, more than may wait for a subscriber.
    """

    def __init__(
        self, scheme: str, options: Sequence[str], port_option: str, garbage: bytes, *, fill: Fill, conf: str = ""
    ) -> None:
        self._scheme = scheme
        self._port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="chatsys-broker-")
        Path(self._folder.name, "conf").write_text(conf, encoding="ascii")
        self._command = [*options, port_option, str(self._port)]
        self._process: subprocess.Popen[bytes] | None = None
        self._fill = fill
        self._stack = AsyncExitStack()
        self.garbage = garbage
        self.proxies: list[Garbling] = []

    async def add(self) -> str:
        """Where one more server finds it: through a proxy of its own."""
        proxy = await self._stack.enter_async_context(Garbling(("127.0.0.1", self._port)))
        self.proxies.append(proxy)
        return f"{self._scheme}://127.0.0.1:{proxy.port}"

    async def fill(self, seconds: float) -> None:
        """Publish more than may wait for the servers. Raises OperatorError if none of them lost its connection."""
        before = sum(proxy.connections for proxy in self.proxies)
        for proxy in self.proxies:
            proxy.stall()
        try:
            await self._fill(self._port, seconds)
        finally:
            for proxy in self.proxies:
                proxy.flow()
        await asyncio.sleep(1)  # the servers connect again
        if sum(proxy.connections for proxy in self.proxies) == before:
            raise OperatorError(f"The queues of {self._command[0]} could not be filled.")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running broker."""
        assert self._process is not None
        return self._process

    async def __aenter__(self) -> ProxiedBroker:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        self.process.send_signal(signal.SIGCONT)
        self.kill()
        self._folder.cleanup()

    async def start(self) -> None:
        """Start it and wait until it takes connections. Raises OperatorError."""
        self._process = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
            self._command, cwd=self._folder.name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT
        while asyncio.get_running_loop().time() < deadline:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
        raise OperatorError(f"{self._command[0]} did not start.", hint=f"Try `{self._command[0]}` yourself.")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


def redis() -> ProxiedBroker:
    """A Redis that keeps nothing; its garbage is a broken RESP stream."""
    options = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    limit = ["--client-output-buffer-limit", "pubsub", "256kb", "0", "0"]
    return ProxiedBroker("redis", [*options, *limit], "--port", b"*3x\r\n", fill=_fill_redis)


async def _fill_redis(port: int, seconds: float) -> None:
    from redis.asyncio import Redis

    async with Redis(host="127.0.0.1", port=port) as client, asyncio.timeout(seconds + START_TIMEOUT):
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            pipeline = client.pipeline(transaction=False)
            for channel in await client.pubsub_channels("chatsys.*"):
                for _ in range(4):
                    pipeline.publish(channel, _PIECE)
            await pipeline.execute()
            await asyncio.sleep(0.05)


def nats() -> ProxiedBroker:
    """A NATS server; its garbage is an operation that the protocol does not have."""
    options = ["nats-server", "-a", "127.0.0.1", "-c", "conf"]
    conf = "max_pending: 1MB\nmax_payload: 512KB\n"
    return ProxiedBroker("nats", options, "-p", b"\x00\xffMSG nonsense\r\n", fill=_fill_nats, conf=conf)


async def _fill_nats(port: int, seconds: float) -> None:
    import nats
    from nats.aio.msg import Msg

    channels: set[str] = set()

    async def received(message: Msg) -> None:
        channels.add(message.subject)

    async with asyncio.timeout(seconds + START_TIMEOUT):
        client = await nats.connect(f"nats://127.0.0.1:{port}")
        listening = await client.subscribe("chatsys.>", cb=received)
        await asyncio.sleep(1)  # each room has several messages in it
        await listening.unsubscribe()
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            for channel in channels:
                for _ in range(20):
                    await client.publish(channel, _PIECE)
            await client.flush()
            await asyncio.sleep(0.05)
        await client.close()


class Garbling(Proxy):
    """A proxy that can put a piece of damaged data into each stream of answers, once, and can make Redis's subscribers
    deaf; it counts its connections."""

    garbage = b""
    connections = 0
    _deaf_to = 0

    def deafen(self) -> None:
        """Forward nothing more that is pushed to subscribers. The other connections, and those to come, work."""
        self._deaf_to = self.connections

    def filters(self) -> tuple[Filter, Filter]:
        """Answers carry the garbage first, each connection's once."""
        sent: list[bytes] = []
        subscribes = False
        self.connections += 1
        number = self.connections

        def requests(data: bytes) -> bytes:
            nonlocal subscribes
            subscribes = subscribes or b"SUBSCRIBE" in data
            return data

        def answers(data: bytes) -> bytes:
            if subscribes and number <= self._deaf_to:
                return b""
            if not self.garbage or sent:
                return data
            sent.append(self.garbage)
            return self.garbage + data

        return requests, answers
