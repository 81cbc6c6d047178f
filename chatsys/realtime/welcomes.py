"""Limits how many joining members are sent their list and history at the same time.

Both are large, and each member gets its own. When thousands join together, the server produces them faster than clients
read. Without this limit, it would exceed its memory limit for clients and disconnect the joining clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatsys.engine.connection import Connection

SLOT_BYTES = 8 * 1024 * 1024
"""Bytes of the process's memory limit for each slot. A list and a history take up to half of them."""

TIMEOUT = 0.5
"""Seconds after which a member that does not read loses its slot."""

_POLL = 0.01


def slots(memory: int) -> int:
    """The number of slots for a process with a limit of ``memory`` bytes for its clients."""
    return max(1, memory // SLOT_BYTES)


class Welcomes:
    """Slots for joining members, shared by all rooms of a process and assigned in order of arrival."""

    def __init__(self, at_once: int, timeout: float = TIMEOUT) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._timeout = timeout

    @asynccontextmanager
    async def slot(self, connection: Connection) -> AsyncIterator[None]:
        """Wait for a slot. It becomes free once the connection has sent everything queued within the block."""
        await self._free.acquire()
        try:
            yield
        finally:
            self._leave(connection, asyncio.get_running_loop().time() + self._timeout)

    def _leave(self, connection: Connection, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        if connection.waiting_bytes() and loop.time() < deadline:
            loop.call_later(_POLL, self._leave, connection, deadline)
        else:
            self._free.release()
