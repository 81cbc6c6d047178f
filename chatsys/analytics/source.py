"""A PostgreSQL to look at: the server's own URLs -> an SQLAlchemy engine that only reads."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError

from chatsys.errors import BadDatabaseUrl, ChatsysError, StatementTimeout
from chatsys.store.embedded import embedded_server
from chatsys.store.postgres.address import Address, read_url
from chatsys.store.postgres.mapping import translated

APPLICATION = "chatsys monitor"
EMBEDDED_DIR = Path(".chatsys/postgres")
CONNECT_SECONDS = 10


def open_engine(url: str, stack: ExitStack) -> tuple[Engine, Address]:
    """An engine for ``url``, closed by ``stack``; an embedded server is started, or shared if it runs.

    Statements are not prepared by name, so that PgBouncer may stand between. Raises BadDatabaseUrl, EmbeddedFailed.
    """
    if url == "memory://":
        raise BadDatabaseUrl("The memory store has no database to monitor.", hint="Its /metrics tell what it does.")
    if url.startswith("embedded://"):
        path = Path(url.removeprefix("embedded://") or EMBEDDED_DIR)
        url = stack.enter_context(embedded_server(path))
    address = read_url(url)

    def connect() -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            address.libpq, application_name=APPLICATION, connect_timeout=CONNECT_SECONDS, prepare_threshold=None
        )

    engine = create_engine("postgresql+psycopg://", creator=connect, pool_size=2, pool_pre_ping=True)
    stack.callback(engine.dispose)
    return engine, address


def address_of(engine: Engine) -> Address:
    """Where an engine of the caller's leads, for messages."""
    url = engine.url
    return Address(
        libpq="",
        asyncpg="",
        host=url.host or "the engine's server",
        database=url.database or "",
        user=url.username or "",
        tls=False,
        bouncer=False,
    )


def sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's five characters for what went wrong, or an empty string."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""


def explained(error: DBAPIError, address: Address) -> ChatsysError:
    """The error of chatsys that says what went wrong and what to do."""
    if sqlstate(error) == "57014":
        return StatementTimeout(
            "The query took longer than the monitor waits.",
            hint="Ask for less (minutes=, days=, limit=), or raise Monitor(timeout=...).",
        )
    return translated(error.orig if error.orig is not None else error, address)
