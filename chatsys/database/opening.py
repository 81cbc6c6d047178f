"""Open a store after preparing its database: start the private server, upgrade the schema."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chatsys.extras import require
from chatsys.store.contract import Store
from chatsys.store.opening import open_store
from chatsys.store.options import StoreOptions


@asynccontextmanager
async def open_prepared_store(url: str | None, options: StoreOptions | None = None) -> AsyncIterator[Store]:
    """Open the store at ``url`` and close it at the end; an empty or older database gets this program's schema.

    None or ``embedded://[path]`` is a private PostgreSQL with its data in ``path`` or ``options.data_dir``, which is
    started here. Other URLs are those of :func:`chatsys.store.opening.open_store`. Raises the same errors.
    """
    options = options or StoreOptions()
    async with database_server(url, options) as server_url, open_store(server_url, options, upgrade=_upgrade) as store:
        yield store


@asynccontextmanager
async def database_server(url: str | None, options: StoreOptions) -> AsyncIterator[str]:
    """The URL of a running database: ``url``, or that of the private PostgreSQL, which runs during the block."""
    if url is not None and not url.startswith("embedded://"):
        yield url
        return
    require("embedded")
    from chatsys.database.embedded import embedded_postgres

    path = Path(url.removeprefix("embedded://")) if url and url != "embedded://" else options.data_dir
    async with embedded_postgres(path) as server_url:
        yield server_url


def _upgrade(url: str, options: StoreOptions) -> None:
    from chatsys.database import admin  # Alembic and SQLAlchemy take long to import

    admin.upgrade(url, ssl=options.ssl, ca_file=options.ssl_ca_file)
