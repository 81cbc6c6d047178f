"""The PostgreSQL store. Only this folder knows asyncpg, the store's SQL and SQLSTATEs.

``opening`` opens a store by its URL, ``store`` has the verbs, ``writer`` and ``flushes`` are the group commit,
``connections`` the pool, ``sql/`` the statements, ``mapping`` the errors. ``leases`` decides which servers are alive.
"""

from chatsys.store.postgres.opening import open_postgres
from chatsys.store.postgres.store import PostgresStore

__all__ = ["PostgresStore", "open_postgres"]
