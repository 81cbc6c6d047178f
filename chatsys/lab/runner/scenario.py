"""The runner's side of a scenario: clients in a process of their own, which repeat it at each request."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from chatsys.errors import OperatorError
from chatsys.lab.provenance.machine import processors
from chatsys.lab.subjects.servers import ServerProcess

_LINE = 256 * 1024 * 1024  # bytes: a turn's raw latencies come on one line


class ScenarioClients:
    """The clients of a scenario, ready."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, server: ServerProcess) -> None:
        self.name = name
        self.process = process
        self.server = server

    async def repeat(self, **order: object) -> dict[str, Any]:
        """What it measured in its next turn, and ``server_cpu``: processor seconds of each worker of the server.

        Raises OperatorError if it failed.
        """
        before = self.server.cpu_seconds
        await self._say(order)
        found = await self._measurements()
        return {**found, "server_cpu": (self.server.cpu_seconds - before) / self.server.workers}

    async def _say(self, order: dict[str, object]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        await self.process.stdin.drain()

    async def _measurements(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            raise OperatorError(f"The clients of {self.name} failed; its last words stand above.")
        found: dict[str, Any] = msgspec.json.decode(line)
        return found


@asynccontextmanager
async def scenario_clients(name: str, server: ServerProcess, **parameters: object) -> AsyncIterator[ScenarioClients]:
    """Scenario ``name`` of chatsys.lab.clients against ``server``, ready; its process ends with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "chatsys.lab.clients",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE,
        start_new_session=True,
    )
    clients = ScenarioClients(name, process, server)
    cpu = processors()[1]
    try:
        if cpu is not None:
            os.sched_setaffinity(process.pid, {cpu})
        await clients._say({"scenario": name, "url": server.url, **parameters})
        await clients._measurements()
        yield clients
    finally:
        if process.returncode is None:
            process.kill()  # it has nothing to lose, and its server sees the connections close
        await process.wait()
