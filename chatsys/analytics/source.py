"""Turn a caller's URL, engine or connection into an SQLAlchemy engine for the monitor."""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from chatsys.database.connecting import meaning
from chatsys.errors import BadDatabaseUrl, ChatsysError, StatementTimeout
from chatsys.extras import require
from chatsys.store.address import Address, read_url

APPLICATION = "chatsys monitor"
EMBEDDED_DIR = Path(".chatsys/postgres")
CONNECT_SECONDS = 10


@runtime_checkable
class AsyncpgConnection(Protocol):
    """The methods of an asyncpg.Connection that the monitor uses. Only the event loop that opened it can use it."""

    def fetch(self, query: str, /, *, timeout: float | None = None) -> Any:
        """The rows of a query."""

    def fetchrow(self, query: str, /, *, timeout: float | None = None) -> Any:
        """The first row of a query."""

    def transaction(self, *, readonly: bool = False) -> AbstractAsyncContextManager[Any]:
        """A transaction, or a savepoint in the caller's own."""


Source = str | URL | Engine | AsyncEngine | psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
"""What the monitor accepts. It opens its own connections, except that it uses an Engine directly."""


def open_source(source: Source, stack: ExitStack) -> tuple[Engine, Address]:
    """An engine for ``source``, and its address. ``stack`` closes what is opened here.

    A caller's Engine is used and stays open. Of an AsyncEngine or a psycopg connection only the address is used, so
    that the caller's event loop and transaction are not touched. Raises BadDatabaseUrl, EmbeddedFailed.
    """
    if isinstance(source, Engine):
        return source, _address_of(source.url)
    if isinstance(source, psycopg.Connection | psycopg.AsyncConnection):
        return _of_connection(source.info, stack)
    if isinstance(source, AsyncEngine):
        if not (source.url.host or source.url.query or source.url.database):
            raise BadDatabaseUrl(
                "This AsyncEngine does not show its address, because it was made with a creator.",
                hint="Give the monitor the URL of the database.",
            )
        source = source.url
    if isinstance(source, URL):
        source = source.render_as_string(hide_password=False)
    if not isinstance(source, str):
        raise BadDatabaseUrl(
            f"The monitor cannot use a {type(source).__name__}.",
            hint="Give a URL, an SQLAlchemy engine, or a connection of psycopg or asyncpg.",
        )
    return _of_url(source, stack)


def is_local(address: Address) -> bool:
    """Whether the database runs on this machine."""
    return address.host.startswith("/") or address.host in {"localhost", "127.0.0.1", "::1"}


def _of_url(url: str, stack: ExitStack) -> tuple[Engine, Address]:
    """An engine for a URL of chatsys or SQLAlchemy. An embedded server is started, or shared if it already runs."""
    if url == "memory://":
        raise BadDatabaseUrl("The memory store has no database to monitor.", hint="Its /metrics show what it does.")
    if url.startswith("embedded://"):
        require("embedded")
        from chatsys.database.embedded import embedded_server, require_cluster

        path = Path(url.removeprefix("embedded://") or EMBEDDED_DIR)
        require_cluster(path)
        url = stack.enter_context(embedded_server(path))
    address = read_url(_without_driver(url))
    return _engine(address.libpq, stack), address


def _without_driver(url: str) -> str:
    """``postgresql+asyncpg://...?ssl=require`` in libpq's syntax, without what only SQLAlchemy understands."""
    plain = re.sub(r"^postgres(?:ql)?\+\w+://", "postgresql://", url)
    if plain == url:
        return url
    parts = urlsplit(plain)
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | {"pgbouncer"}
    renamed = [("sslmode" if name == "ssl" else name, text) for name, text in parse_qsl(parts.query)]
    query = urlencode([(name, text) for name, text in renamed if name in known], safe="/")
    return urlunsplit(parts._replace(query=query))


def _of_connection(info: psycopg.ConnectionInfo, stack: ExitStack) -> tuple[Engine, Address]:
    given = info.get_parameters()
    address = Address(
        libpq=make_conninfo(**{**given, "application_name": APPLICATION}, password=info.password or None),
        asyncpg="",
        host=info.host or "localhost",
        database=info.dbname,
        user=info.user,
        tls=info.pgconn.ssl_in_use,
        bouncer=False,
        port=info.port,
    )
    return _engine(address.libpq, stack), address


def _engine(libpq: str, stack: ExitStack) -> Engine:
    """An engine that does not prepare statements by name, so that it works through PgBouncer."""

    def connect() -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            libpq, application_name=APPLICATION, connect_timeout=CONNECT_SECONDS, prepare_threshold=None
        )

    engine = create_engine("postgresql+psycopg://", creator=connect, pool_size=2, pool_pre_ping=True)
    stack.callback(engine.dispose)
    return engine


def _address_of(url: URL) -> Address:
    """The address of a caller's engine, for messages."""
    return Address(
        libpq="",
        asyncpg="",
        host=url.host or "the engine's server",
        database=url.database or "",
        user=url.username or "",
        tls=False,
        bouncer=False,
        port=url.port or 5432,
    )


UNKNOWN = _address_of(URL.create("postgresql"))
"""The address of a connection that does not show it."""


def sqlstate(error: DBAPIError) -> str:
    """The error's SQLSTATE, or an empty string."""
    found = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return str(found or "")


def explained(error: DBAPIError, address: Address) -> ChatsysError:
    """The chatsys error that says what went wrong and what to do."""
    if sqlstate(error) == "57014":
        return StatementTimeout(
            "The query took longer than the monitor waits.",
            hint="Ask for less (minutes=, days=, limit=), or raise Monitor(timeout=...).",
        )
    return meaning(error, address)
