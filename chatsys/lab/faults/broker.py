"""A Redis of the site's own, behind a proxy."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
from pathlib import Path

from chatsys.lab.proxy import Filter, Proxy
from chatsys.lab.servers import free_port


class Redis:
    """A broker on a port of its own, and the proxy through which the servers reach it."""

    def __init__(self) -> None:
        self._port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="chatsys-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self.proxy = Garbling(("127.0.0.1", self._port))

    @property
    def url(self) -> str:
        """Where the servers find it."""
        return f"redis://127.0.0.1:{self.proxy.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running broker."""
        assert self._process is not None
        return self._process

    async def __aenter__(self) -> Redis:
        await self.start()
        await self.proxy.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.proxy.__aexit__()
        self.process.send_signal(signal.SIGCONT)
        self.kill()
        self._folder.cleanup()

    async def start(self) -> None:
        """Start it and wait until it takes connections."""
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        log = Path(self._folder.name, "log")
        command = ["redis-server", *options, "--logfile", str(log), "--dir", self._folder.name]
        self._process = subprocess.Popen(command)  # noqa: ASYNC220 - it starts at once
        for _ in range(500):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


class Garbling(Proxy):
    """A proxy that can put a piece of damaged data into each stream of answers, once."""

    garbage = b""

    def filters(self) -> tuple[Filter, Filter]:
        """Answers carry the garbage first, each connection's once."""
        told: list[bytes] = []

        def answers(data: bytes) -> bytes:
            if not self.garbage or told:
                return data
            told.append(self.garbage)
            return self.garbage + data

        return (lambda data: data), answers
