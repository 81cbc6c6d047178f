"""How many members may have the list and the history of their join on the way at once.

Both are large, and each member has its own. When thousands join together, the server makes them faster than anybody
reads: without a bound it would hold more than its limit for clients, and close those who only wanted to join.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatsys.engine.connection import Connection

PLACE_BYTES = 8 * 1024 * 1024
"""Of what the process may hold for clients: a list and a history take up to half of it."""

PATIENCE = 0.5
"""Seconds after which a member that does not read makes room for the next one."""

_LOOK = 0.01


def places(memory: int) -> int:
    """How many members may be served at once by a process that may hold ``memory`` bytes for its clients."""
    return max(1, memory // PLACE_BYTES)


class Welcomes:
    """Places for members that are joining, for all rooms of a process; those who wait are served in order."""

    def __init__(self, at_once: int, patience: float = PATIENCE) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._patience = patience

    @asynccontextmanager
    async def place(self, connection: Connection) -> AsyncIterator[None]:
        """Wait for a place. It is free again once the connection has taken what was sent to it within the block."""
        await self._free.acquire()
        try:
            yield
        finally:
            self._leave(connection, asyncio.get_running_loop().time() + self._patience)

    def _leave(self, connection: Connection, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        if connection.waiting_bytes() and loop.time() < deadline:
            loop.call_later(_LOOK, self._leave, connection, deadline)
        else:
            self._free.release()
