"""Open a store by its URL. The only module that names an implementation; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chatsys.errors import BadDatabaseUrl
from chatsys.extras import require
from chatsys.store.contract import Store
from chatsys.store.options import StoreOptions

__all__ = ["StoreOptions", "database_server", "open_store"]


@asynccontextmanager
async def open_store(url: str | None, options: StoreOptions | None = None) -> AsyncIterator[Store]:
    """Open the store at ``url`` and close it at the end.

    ``memory://`` is the in-memory store; ``postgresql://`` or ``postgres://`` a server; None or ``embedded://[path]``
    a private PostgreSQL started here, its data in ``path`` or ``options.data_dir``.

    Raises BadDatabaseUrl for any other scheme, and the StoreError that says why a database can't be used.
    """
    options = options or StoreOptions()
    if url == "memory://":
        from chatsys.store.memory import MemoryStore

        yield MemoryStore()
        return
    from chatsys.store.postgres import open_postgres

    async with database_server(url, options) as server_url, open_postgres(server_url, options) as store:
        yield store


@asynccontextmanager
async def database_server(url: str | None, options: StoreOptions) -> AsyncIterator[str]:
    """The URL of a PostgreSQL that runs, started here if it is the private one."""
    if url is None or url.startswith("embedded://"):
        require("embedded")
        from chatsys.store.embedded import embedded_postgres

        path = Path(url.removeprefix("embedded://")) if url and url != "embedded://" else options.data_dir
        async with embedded_postgres(path) as server_url:
            yield server_url
    elif url.startswith(("postgresql://", "postgres://")):
        yield url
    else:
        raise BadDatabaseUrl(
            "DATABASE_URL must begin with postgresql://, postgres://, embedded:// or memory://.",
            hint="Leave it unset for a private PostgreSQL.",
        )
