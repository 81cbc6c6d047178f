"""The chat servers that use a database now. Replacing the database would disrupt them."""

from __future__ import annotations

import msgspec

from chatsys.database.connecting import connected, only_row

_ALIVE = """
SELECT count(*), (SELECT count(*) FROM active_sessions s JOIN chat_servers c USING (server_id)
                  WHERE c.lease_until > now())
FROM chat_servers WHERE lease_until > now()
"""


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    """The number of servers whose lease is valid, and of their clients' sessions."""

    servers: int
    sessions: int

    def __str__(self) -> str:
        """Both in words."""
        return f"{_counted(self.servers, 'chat server')} with {_counted(self.sessions, 'session')}"


def alive(url: str) -> Alive:
    """The servers that use the database; none if it has no schema of chatsys."""
    with connected(url) as connection:
        if None in only_row(connection, "SELECT to_regclass('chat_servers'), to_regclass('active_sessions')"):
            return Alive(servers=0, sessions=0)
        servers, sessions = only_row(connection, _ALIVE)
        return Alive(servers=servers, sessions=sessions)


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
