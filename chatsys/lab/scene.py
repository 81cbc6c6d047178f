"""The runner's side of a scene: start a crowd in a process of its own, wait for it, read its measurements."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from chatsys.errors import OperatorError

_LINE = 256 * 1024 * 1024  # bytes: a scene's raw latencies come on one line


class Scene:
    """A crowd at work."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.finished = False

    async def ready(self) -> None:
        """Wait until it says that it is."""
        if await self._line() != b"ready":
            raise OperatorError(f"The crowd of {self.name} was not ready.")

    async def release(self) -> None:
        """Let a scene that holds go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        await self.process.stdin.drain()

    async def measurements(self) -> dict[str, Any]:
        """What it measured. Raises OperatorError if it failed."""
        while (line := await self._line()) == b"ready":
            continue
        if not line:
            raise OperatorError(f"The crowd of {self.name} failed; its last words stand above.")
        found: dict[str, Any] = msgspec.json.decode(line)
        self.finished = True
        return found

    async def _line(self) -> bytes:
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).strip()


@asynccontextmanager
async def scene(name: str, url: str, **parameters: object) -> AsyncIterator[Scene]:
    """Start scene ``name`` of chatsys.lab.crowd against the server at ``url``; its process ends with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "chatsys.lab.crowd",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE,
        start_new_session=True,
    )
    assert process.stdin is not None
    playing = Scene(name, process)
    try:
        process.stdin.write(msgspec.json.encode({"scene": name, "url": url, **parameters}) + b"\n")
        await process.stdin.drain()
        yield playing
    finally:
        if process.returncode is None and not playing.finished:
            process.kill()
        await process.wait()


async def played(name: str, url: str, **parameters: object) -> dict[str, Any]:
    """Play a scene from its beginning to its end."""
    async with scene(name, url, **parameters) as crowd:
        return await crowd.measurements()
