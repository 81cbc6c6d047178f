"""The PostgreSQL store: everything that knows asyncpg, SQL and SQLSTATEs is in this folder and nowhere else.

``opening`` makes a store from a URL, ``store`` has the verbs, ``writer`` and ``flushes`` are the group commit,
``connections`` the pool, ``sql/`` the statements, ``mapping`` the errors, ``leases`` tells which servers are alive.
"""

from chatsys.store.postgres.opening import open_postgres
from chatsys.store.postgres.store import PostgresStore

__all__ = ["PostgresStore", "open_postgres"]
