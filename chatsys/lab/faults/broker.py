"""A site's own broker, Redis or NATS, with a proxy in front of it for each server."""

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
_PAYLOAD = b"x" * 400_000
"""A message that fills the queues: a few of them exceed what may wait for one subscriber."""
Fill = Callable[[int, float], Awaitable[None]]


class ProxiedBroker:
    """A broker on its own port, and the proxies through which the servers reach it.

    ``garbage`` is data that breaks its protocol. ``fill``, given a port and seconds, publishes to all of the broker's
    channels, so that more waits for each subscriber than the broker allows.
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
        self.proxies: list[BrokerProxy] = []

    async def add(self) -> str:
        """Start a proxy for one more server, and return the broker's URL through it."""
        proxy = await self._stack.enter_async_context(BrokerProxy(("127.0.0.1", self._port)))
        self.proxies.append(proxy)
        return f"{self._scheme}://127.0.0.1:{proxy.port}"

    async def fill(self, seconds: float) -> None:
        """Publish more than may wait for the servers. Raises OperatorError if none of them loses its connection."""
        before = sum(proxy.connections for proxy in self.proxies)
        for proxy in self.proxies:
            proxy.stall()
        try:
            await self._fill(self._port, seconds)
        finally:
            for proxy in self.proxies:
                proxy.flow()
        await asyncio.sleep(1)  # for the servers to reconnect
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
        """Start the broker and wait until it accepts connections. Raises OperatorError."""
        self._process = subprocess.Popen(  # noqa: ASYNC220 - it does not block for long
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
        raise OperatorError(f"{self._command[0]} did not start.", hint=f"Run `{self._command[0]}` to see why.")

    def kill(self) -> None:
        """Send SIGKILL and wait until the broker has ended."""
        self.process.kill()
        self.process.wait()


def redis() -> ProxiedBroker:
    """A Redis that stores nothing on disk. Its garbage is a broken RESP stream."""
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
                    pipeline.publish(channel, _PAYLOAD)
            await pipeline.execute()
            await asyncio.sleep(0.05)


def nats() -> ProxiedBroker:
    """A NATS server. Its garbage is an operation that the protocol does not define."""
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
        subscription = await client.subscribe("chatsys.>", cb=received)
        await asyncio.sleep(1)  # long enough for several messages in each room
        await subscription.unsubscribe()
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            for channel in channels:
                for _ in range(20):
                    await client.publish(channel, _PAYLOAD)
            await client.flush()
            await asyncio.sleep(0.05)
        await client.close()


class BrokerProxy(Proxy):
    """A proxy that counts its connections, can insert garbage into answers, and can drop what Redis pushes."""

    garbage = b""
    connections = 0
    _drop_pushes_until = 0

    def drop_pushes(self) -> None:
        """Forward nothing to existing subscribers. Other connections, and new ones, work."""
        self._drop_pushes_until = self.connections

    def filters(self) -> tuple[Filter, Filter]:
        """Filters that insert the garbage once, before the next answer of the connection."""
        sent: list[bytes] = []
        subscribes = False
        self.connections += 1
        number = self.connections

        def requests(data: bytes) -> bytes:
            nonlocal subscribes
            subscribes = subscribes or b"SUBSCRIBE" in data
            return data

        def answers(data: bytes) -> bytes:
            if subscribes and number <= self._drop_pushes_until:
                return b""
            if not self.garbage or sent:
                return data
            sent.append(self.garbage)
            return self.garbage + data

        return requests, answers
