"""The runner's side of a scenario: clients in a process of their own, which repeat it on request."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from chatsys.errors import OperatorError
from chatsys.lab.provenance.machine import processors
from chatsys.lab.subjects.servers import ServerProcess
from chatsys.lab.subjects.subject import piped

_LINE = 256 * 1024 * 1024  # bytes: the raw latencies of a repetition are on one line


class ScenarioClients:
    """The connected clients of a scenario."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, server: ServerProcess) -> None:
        self.name = name
        self.process = process
        self.server = server

    async def repeat(self, **order: object) -> dict[str, Any]:
        """The measurements of the next repetition, and ``server_cpu``: processor seconds per worker of the server.

        Raises OperatorError if the clients failed.
        """
        before = self.server.cpu_seconds
        await self._send(order)
        found = await self._measurements()
        return {**found, "server_cpu": (self.server.cpu_seconds - before) / self.server.workers}

    async def _send(self, order: dict[str, object]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        await self.process.stdin.drain()

    async def _measurements(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            raise OperatorError(f"The clients of {self.name} failed; see their errors above.")
        found: dict[str, Any] = msgspec.json.decode(line)
        return found


@asynccontextmanager
async def scenario_clients(name: str, server: ServerProcess, **parameters: object) -> AsyncIterator[ScenarioClients]:
    """The connected clients of scenario ``name`` against ``server``. Their process ends with the block."""
    process = await piped("chatsys.lab.clients", _LINE)
    clients = ScenarioClients(name, process, server)
    cpu = processors()[1]
    try:
        if cpu is not None:
            os.sched_setaffinity(process.pid, {cpu})
        await clients._send({"scenario": name, "url": server.url, **parameters})
        await clients._measurements()
        yield clients
    finally:
        if process.returncode is None:
            process.kill()  # it has no state, and the server sees its connections close
        await process.wait()
