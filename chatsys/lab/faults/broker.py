"""A broker of the site's own, Redis or NATS, behind a proxy."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
from collections.abc import Sequence

from chatsys.errors import OperatorError
from chatsys.lab.proxy import Filter, Proxy
from chatsys.lab.servers import free_port

START_TIMEOUT = 10.0


class Broker:
    """A broker on a port of its own, and the proxy through which the servers reach it. Made by :func:`broker`."""

    def __init__(self, scheme: str, options: Sequence[str], port_option: str, garbage: bytes) -> None:
        self._scheme = scheme
        self._port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="chatsys-broker-")
        self._command = [*options, port_option, str(self._port)]
        self._process: subprocess.Popen[bytes] | None = None
        self.garbage = garbage
        self.proxy = Garbling(("127.0.0.1", self._port))

    @property
    def url(self) -> str:
        """Where the servers find it."""
        return f"{self._scheme}://127.0.0.1:{self.proxy.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running broker."""
        assert self._process is not None
        return self._process

    async def __aenter__(self) -> Broker:
        await self.start()
        await self.proxy.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.proxy.__aexit__()
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


def redis() -> Broker:
    """A Redis that keeps nothing; its garbage is a broken RESP stream."""
    options = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return Broker("redis", options, "--port", b"*3x\r\n")


def nats() -> Broker:
    """A NATS server; its garbage is an operation that the protocol does not have."""
    return Broker("nats", ["nats-server", "-a", "127.0.0.1"], "-p", b"\x00\xffMSG nonsense\r\n")


class Garbling(Proxy):
    """A proxy that can put a piece of damaged data into each stream of answers, once."""

    garbage = b""

    def filters(self) -> tuple[Filter, Filter]:
        """Answers carry the garbage first, each connection's once."""
        sent: list[bytes] = []

        def answers(data: bytes) -> bytes:
            if not self.garbage or sent:
                return data
            sent.append(self.garbage)
            return self.garbage + data

        return (lambda data: data), answers
