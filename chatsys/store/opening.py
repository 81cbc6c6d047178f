"""Open a store by its URL. Only this module names the implementations; each is imported when it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatsys.errors import BadDatabaseUrl
from chatsys.store.contract import Store
from chatsys.store.options import StoreOptions, Upgrade


@asynccontextmanager
async def open_store(
    url: str, options: StoreOptions | None = None, *, upgrade: Upgrade | None = None
) -> AsyncIterator[Store]:
    """Open the store at ``url`` and close it at the end.

    ``memory://`` is the in-memory store; ``postgresql://`` and ``postgres://`` are PostgreSQL servers. If the schema is
    missing or older, ``upgrade`` is called first; without ``upgrade``, the database is refused.

    Raises BadDatabaseUrl for any other scheme, and the StoreError that says why a database can't be used.
    """
    if url == "memory://":
        from chatsys.store.memory import MemoryStore

        yield MemoryStore()
    elif url.startswith(("postgresql://", "postgres://")):
        from chatsys.store.postgres import open_postgres

        async with open_postgres(url, options or StoreOptions(), upgrade) as store:
            yield store
    else:
        raise BadDatabaseUrl(
            "DATABASE_URL must begin with postgresql://, postgres://, embedded:// or memory://.",
            hint="Leave it unset for a private PostgreSQL.",
        )
