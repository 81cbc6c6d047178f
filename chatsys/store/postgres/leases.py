"""Which servers are alive: a lease in chat_servers, and an advisory lock that falls with the process that holds it."""

from __future__ import annotations

from datetime import timedelta

from chatsys.errors import StoreUnavailable
from chatsys.store.postgres.connections import DRIVER_ERRORS, Connections, Link


class Leases:
    """The servers of this process. Their locks are held on a connection of their own, beyond the pool.

    Behind PgBouncer in transaction mode a session can't hold a lock; there the lease alone tells. ``lease`` in seconds.
    """

    def __init__(self, connections: Connections, lease: float) -> None:
        self._connections = connections
        self._lease = timedelta(seconds=lease)
        self._held: set[str] = set()
        self._own: set[str] = set()
        self._link: Link | None = None

    async def renew(self, server_id: str) -> list[str]:
        """Announce a server of this process; the ids of those that are dead."""
        self._own.add(server_id)
        locked_now = await self._lock(server_id)
        await self._connections.fetch("renew_lease", server_id, self._lease, locked_now)
        return [row[0] for row in await self._connections.fetch("dead_servers", sorted(self._own))]

    async def forget(self, server_id: str) -> None:
        """Give the server's lock back."""
        self._own.discard(server_id)
        if server_id in self._held and self._link is not None and not self._link.connection.is_closed():
            self._held.discard(server_id)
            await self._execute(self._link, "unlock_server", server_id)

    async def close(self) -> None:
        """Close the connection that holds the locks."""
        link, self._link = self._link, None
        self._held.clear()
        if link is not None:
            try:
                await link.connection.close(timeout=5)
            except DRIVER_ERRORS:
                link.connection.terminate()

    async def _lock(self, server_id: str) -> bool:
        """Take the lock unless it is held; true if it was taken now."""
        if self._connections.address.bouncer:
            return False
        if self._link is None or self._link.connection.is_closed():
            self._held.clear()
            self._link = await self._connections.dedicated()
        if server_id in self._held:
            return False
        await self._execute(self._link, "lock_server", server_id)
        self._held.add(server_id)
        return True

    async def _execute(self, link: Link, name: str, server_id: str) -> None:
        try:
            await self._connections.run(link, name, (server_id,))
        except StoreUnavailable:
            self._held.clear()
            raise
