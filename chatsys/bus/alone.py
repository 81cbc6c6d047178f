"""No bus, for a single server behind PgBouncer in transaction mode, where LISTEN does not work.

A second server must not start: clients of one server would not see messages from clients of the other.
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

REMEDY = "Set CHATSYS_BUS_URL to a Redis or NATS server, or point DATABASE_URL at PostgreSQL instead of PgBouncer."


class Alone(Bus):
    """The bus of the only server. Create it with :func:`open_alone`."""

    def __init__(self, broker: NotifyBroker, server: str) -> None:
        self._broker = broker
        self._server = server
        self._others_seen = False

    @property
    def deaf(self) -> bool:
        """Whether another server uses the database."""
        return self._others_seen

    def enter(self, room: str) -> None:
        """Do nothing: there are no other servers."""

    def leave(self, room: str) -> None:
        """Do nothing: there are no other servers."""

    def others(self, room: str, servers: Sequence[str] | None) -> Sequence[str]:
        """No other servers."""
        return ()

    def send(self, room: str, event: bytes, others: Sequence[str]) -> None:
        """Do nothing: there are no other servers."""

    async def refuse_second_server(self, lease: float) -> None:
        """Raise BusUnavailable if another server is running: a running server renews its lease, a killed one does not.

        Takes up to 0.4 leases.
        """
        before = await self._broker.living_servers(self._server)
        if before:
            await asyncio.sleep(0.4 * lease)
            after = await self._broker.living_servers(self._server)
            if any(server not in before or until > before[server] for server, until in after.items()):
                raise BusUnavailable(
                    "Another server uses this database. Behind PgBouncer in transaction mode, neither server receives "
                    "events from the other.",
                    hint=REMEDY,
                )
        logger.warning(
            "PgBouncer in transaction mode: a second server or worker would receive nothing from this one. %s", REMEDY
        )

    async def watch_for_others(self, lease: float) -> None:
        """Check regularly, until cancelled, whether another server has started anyway."""
        while True:
            await asyncio.sleep(lease / 3)
            try:
                seen = bool(await self._broker.living_servers(self._server))
            except StoreError as error:
                logger.info("Could not check whether there are other servers: %s", error)
                continue
            if seen and not self._others_seen:
                logger.error("Another server uses this database, but this server receives nothing from it. %s", REMEDY)
            self._others_seen = seen


@asynccontextmanager
async def open_alone(broker: NotifyBroker, server: str, *, lease: float, workers: int) -> AsyncIterator[Alone]:
    """The bus of the only server. Raises BusUnavailable if there are others, on this machine or elsewhere."""
    if workers > 1:
        raise BusUnavailable(
            f"{workers} workers can't exchange events behind PgBouncer in transaction mode.",
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
