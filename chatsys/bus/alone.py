"""No bus: nobody can LISTEN behind PgBouncer in transaction mode. One server can do without, and a second one must not
start: half of a room would not see the other half.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chatsys.bus.contract import Bus
from chatsys.bus.notify import NotifyBroker
from chatsys.errors import BusUnavailable, StoreError

logger = logging.getLogger("chatsys.bus")

REMEDY = "Set CHATSYS_BUS_URL to a Redis or NATS server, or let DATABASE_URL lead to PostgreSQL without PgBouncer."


class Alone(Bus):
    """The bus of the only server. Made by :func:`open_alone`."""

    def __init__(self, broker: NotifyBroker, server: str) -> None:
        self._broker = broker
        self._server = server
        self._others_seen = False

    @property
    def deaf(self) -> bool:
        """Whether another server has been seen."""
        return self._others_seen

    def enter(self, room: str) -> None:
        """There are no other servers."""

    def leave(self, room: str) -> None:
        """There are no other servers."""

    def others(self, room: str, servers: Sequence[str] | None) -> Sequence[str]:
        """Nobody."""
        return ()

    def send(self, room: str, event: bytes, others: Sequence[str]) -> None:
        """There are no other servers."""

    async def refuse_second_server(self, lease: float) -> None:
        """Raise BusUnavailable if another server lives: it renews its lease, unlike one that was killed."""
        before = await self._broker.living_servers(self._server)
        if before:
            await asyncio.sleep(0.4 * lease)
            after = await self._broker.living_servers(self._server)
            if any(server not in before or until > before[server] for server, until in after.items()):
                raise BusUnavailable(
                    "Another server uses this database, and behind PgBouncer in transaction mode neither receives "
                    "anything from the other.",
                    hint=REMEDY,
                )
        logger.warning(
            "PgBouncer in transaction mode: a second server or worker would receive nothing from this one. %s", REMEDY
        )

    async def watch_for_others(self, lease: float) -> None:
        """Notice, for ever, whether another server has come all the same."""
        while True:
            await asyncio.sleep(lease / 3)
            try:
                seen = bool(await self._broker.living_servers(self._server))
            except StoreError as error:
                logger.info("Whether there are other servers could not be read: %s", error)
                continue
            if seen and not self._others_seen:
                logger.error("Another server uses this database, and this one receives nothing from it. %s", REMEDY)
            self._others_seen = seen


@asynccontextmanager
async def open_alone(broker: NotifyBroker, server: str, *, lease: float, workers: int) -> AsyncIterator[Alone]:
    """The bus of the only server. Raises BusUnavailable if there are others, on this machine or elsewhere."""
    if workers > 1:
        raise BusUnavailable(
            f"{workers} workers can't reach each other behind PgBouncer in transaction mode.",
            hint=f"{REMEDY} Or use --workers 1.",
        )
    bus = Alone(broker, server)
    await bus.refuse_second_server(lease)
    watching = asyncio.create_task(bus.watch_for_others(lease))
    try:
        yield bus
    finally:
        watching.cancel()
        await asyncio.wait([watching])
