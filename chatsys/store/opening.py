"""Open a store by its URL. The only module that names an implementation; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from chatsys.errors import BadDatabaseUrl
from chatsys.store.contract import Store


class StoreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a PostgreSQL store behaves; the memory store needs none of it.

    Units: sizes in connections and rows, times in seconds.
    """

    pool_size: int = 20
    synchronous_commit: str = "on"
    statement_timeout: float = 30.0
    connect_timeout: float = 10.0
    write_queue: int = 10_000
    lease: float = 15.0
    ssl: bool = False
    ssl_ca_file: Path | None = None
    data_dir: Path = Path(".chatsys/postgres")
    create: bool = True
    """Bring an empty or older database to this program's schema when opening."""


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

    if url is None or url.startswith("embedded://"):
        from chatsys.store.embedded import embedded_postgres

        path = Path(url.removeprefix("embedded://")) if url and url != "embedded://" else options.data_dir
        async with embedded_postgres(path) as server_url, open_postgres(server_url, options) as store:
            yield store
        return
    if url.startswith(("postgresql://", "postgres://")):
        async with open_postgres(url, options) as store:
            yield store
        return
    raise BadDatabaseUrl(
        "DATABASE_URL must begin with postgresql://, postgres://, embedded:// or memory://.",
        hint="Leave it unset for a private PostgreSQL.",
    )
