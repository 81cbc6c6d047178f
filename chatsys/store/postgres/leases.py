"""Which servers are alive: each has a lease in chat_servers and an advisory lock that ends with its process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from chatsys.errors import ChatsysError
from chatsys.model.values import EndedSession
from chatsys.store.contract import HEARTBEATS
from chatsys.store.postgres import rows
from chatsys.store.postgres.connections import DRIVER_ERRORS, Connections, Link
from chatsys.store.postgres.liveness import Dead, Liveness, Other
from chatsys.store.postgres.processes import is_running, this_process

log = logging.getLogger(__name__)

PIECE = 500
"""The most sessions that end in one transaction."""

ENDING_SECONDS = 3.0
"""How long one such transaction may take."""

RETRY = 0.5
"""Seconds until a lock that could not be taken is tried again."""


class Leases:
    """The servers of this process. A connection of its own, outside the pool, holds their locks.

    Behind PgBouncer in transaction mode, a session can't hold a lock, so the lease alone decides. ``lease`` is in
    seconds of ``clock``, and ``is_running`` says whether a process runs.
    """

    def __init__(
        self,
        connections: Connections,
        lease: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        is_running: Callable[[str | None], bool | None] = is_running,
    ) -> None:
        self._connections = connections
        self._lease = lease
        self._clock = clock
        self._liveness = Liveness(lease, is_running)
        self._own: set[str] = set()
        self._changed = asyncio.Event()
        self._holding: asyncio.Task[None] | None = None

    async def renew(self, server_id: str, at: datetime) -> list[EndedSession]:
        """Renew the lease of a server of this process, and end the sessions of dead servers."""
        self._own.add(server_id)
        self._changed.set()
        if self._holding is None and not self._connections.address.bouncer:
            self._holding = asyncio.create_task(self._hold())
        try:
            await self._connections.fetch("renew_lease", server_id, timedelta(seconds=self._lease), this_process())
            found = await self._connections.fetch("other_servers", sorted(self._own))
        except ChatsysError:
            self._liveness.missed()
            raise
        now = self._clock()
        self._liveness.renewed(now)
        dead = self._liveness.judge([Other(*row) for row in found], now)
        return await self._end(dead, at) if dead.gone or dead.silent else []

    async def retire(self, server_id: str, at: datetime) -> list[EndedSession]:
        """End a server of this process and release its lock."""
        self._own.discard(server_id)
        self._changed.set()
        ended, _ = await self._end_in_pieces([server_id], [], [], at)
        return ended

    async def close(self) -> None:
        """Close the connection that holds the locks."""
        if self._holding is not None:
            self._holding.cancel()
            await asyncio.wait([self._holding])

    # -- dead servers

    async def _end(self, dead: Dead, at: datetime) -> list[EndedSession]:
        gone = [other.server_id for other in dead.gone]
        silent = [other.server_id for other in dead.silent]
        leases = [other.lease_until for other in dead.silent]
        ended, claimed = await self._end_in_pieces(gone, silent, leases, at)
        for server_id in sorted(claimed):
            why = "its process is gone" if server_id in gone else f"silent for {self._lease:g} s, its lock free"
            log.warning("Server %s is dead (%s); %d sessions of dead servers ended", server_id, why, len(ended))
        return ended

    async def _end_in_pieces(
        self, gone: list[str], silent: list[str], leases: list[datetime], at: datetime
    ) -> tuple[list[EndedSession], set[str]]:
        """End the sessions of servers, then remove the servers.

        Returns the ended sessions in order of joining, and the ids of the servers. If the database fails halfway, these
        are the sessions that ended until then, and the next heartbeat continues.
        """
        ended: list[EndedSession] = []
        claimed: set[str] = set()
        more = True
        while more:
            try:
                async with self._connections.transaction(ENDING_SECONDS) as execute:
                    servers = [row[0] for row in await execute("claim_dead_servers", gone, silent, leases)]
                    ids = [row[0] for row in await execute("sessions_of_servers", servers, PIECE)] if servers else []
                    found = await execute("close_sessions", ids, [at] * len(ids)) if ids else []
                    more = len(ids) == PIECE
                    if servers and not more:
                        await execute("forget_servers", servers)
            except ChatsysError:
                if not ended:
                    raise
                break
            claimed.update(servers)
            ended += [rows.ended(row, at) for row in found]
        return ended, claimed

    # -- the locks

    async def _hold(self) -> None:
        """Hold the locks of this process's servers. If their connection ends, take them on a new one at once."""
        while True:
            try:
                await self._hold_on(await self._connections.dedicated())
            except (ChatsysError, *DRIVER_ERRORS):
                await asyncio.sleep(RETRY)

    async def _hold_on(self, link: Link) -> None:
        """Hold the locks on one connection until it closes, and ping it regularly."""
        link.connection.add_termination_listener(lambda _: self._changed.set())
        held: set[str] = set()
        try:
            await self._value(link, "prepare_lock_connection", max(1, round(self._lease)))
            while not link.connection.is_closed():
                self._changed.clear()
                for server_id in self._own - held:
                    if await self._value(link, "lock_server", server_id):
                        held.add(server_id)
                for server_id in held - self._own:
                    await self._value(link, "unlock_server", server_id)
                held &= self._own
                try:
                    async with asyncio.timeout(RETRY if held != self._own else self._lease / HEARTBEATS):
                        await self._changed.wait()
                except TimeoutError:
                    await self._value(link, "ping")
        finally:
            await link.close()

    async def _value(self, link: Link, name: str, *arguments: object) -> object:
        """Run a statement and return its first value. A connection that does not answer in time is closed."""
        ((value, *_),) = await self._connections.run(link, name, arguments)
        return value
