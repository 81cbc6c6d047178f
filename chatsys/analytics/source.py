"""A PostgreSQL to look at: the server's own URLs -> an SQLAlchemy engine that only reads."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError

from chatsys.errors import (
    AuthenticationFailed,
    BadDatabaseUrl,
    ConnectionRefused,
    DatabaseMissing,
    HostNotFound,
    PermissionDenied,
    ServerShuttingDown,
    StatementTimeout,
    StoreError,
    TlsFailed,
    TooManyConnections,
)
from chatsys.store.embedded import embedded_server

APPLICATION = "chatsys monitor"
EMBEDDED_DIR = Path(".chatsys/postgres")
CONNECT_SECONDS = 10

_BY_SQLSTATE: dict[str, type[StoreError]] = {
    "28P01": AuthenticationFailed,
    "28000": AuthenticationFailed,
    "3D000": DatabaseMissing,
    "42501": PermissionDenied,
    "53300": TooManyConnections,
    "57014": StatementTimeout,
    "57P01": ServerShuttingDown,
    "57P02": ServerShuttingDown,
    "57P03": ServerShuttingDown,
}
# libpq gives no SQLSTATE for a connection that was never made; these are its own words.
_BY_WORDS: tuple[tuple[str, type[StoreError]], ...] = (
    ("permission denied", PermissionDenied),
    ("does not exist", DatabaseMissing),
    ("password", AuthenticationFailed),
    ("too many clients", TooManyConnections),
    ("remaining connection slots", TooManyConnections),
    ("starting up", ServerShuttingDown),
    ("shutting down", ServerShuttingDown),
    ("translate host name", HostNotFound),
    ("resolve host", HostNotFound),
    ("SSL", TlsFailed),
    ("certificate", TlsFailed),
)
_HINTS: dict[type[StoreError], str] = {
    AuthenticationFailed: "Check the user name and password in the URL.",
    DatabaseMissing: "Make it with `chatsys db init`, or correct the name in the URL.",
    ConnectionRefused: "Start the server, or correct host and port in the URL.",
    HostNotFound: "Correct the host in the URL.",
    PermissionDenied: "Ask for the role pg_monitor and for SELECT on the chat's tables.",
    StatementTimeout: "Ask for less (minutes=, limit=), or raise Monitor(timeout=...).",
    TooManyConnections: "Close connections, or raise max_connections.",
    ServerShuttingDown: "Try again in a moment.",
    TlsFailed: "Check sslmode and sslrootcert in the URL.",
}


def open_engine(url: str, stack: ExitStack) -> Engine:
    """An engine for ``url``, closed by ``stack``; an embedded server is started, or shared if it runs.

    The URL goes to libpq as it is, so that all it knows (sslmode, several hosts, Unix sockets) works. Statements are
    not prepared by name, so that PgBouncer may stand between. Raises BadDatabaseUrl, or EmbeddedFailed.
    """
    if url == "memory://":
        raise BadDatabaseUrl(
            "The memory store has no database to monitor.", hint="Its /metrics page tells what it does."
        )
    if url.startswith("embedded://"):
        path = Path(url.removeprefix("embedded://") or EMBEDDED_DIR)
        url = stack.enter_context(embedded_server(path))
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise BadDatabaseUrl(
            "A database URL must begin with postgresql://, postgres:// or embedded://.",
            hint="Example: postgresql://user:password@localhost/chatdb",
        )

    def connect() -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            f"postgresql://{rest}",
            application_name=APPLICATION,
            connect_timeout=CONNECT_SECONDS,
            prepare_threshold=None,
        )

    engine = create_engine("postgresql+psycopg://", creator=connect, pool_size=2, pool_pre_ping=True)
    stack.callback(engine.dispose)
    return engine


def sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's five characters for what went wrong, or an empty string."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""


def explained(error: DBAPIError) -> StoreError:
    """The error of chatsys that says what went wrong and what to do."""
    said = str(error.orig).strip().splitlines()
    kind = _BY_SQLSTATE.get(sqlstate(error))
    if kind is None and not sqlstate(error):
        kind = next((kind for words, kind in _BY_WORDS if words in str(error.orig)), ConnectionRefused)
    if kind is None:
        return StoreError(f"The database refused the query: {said[0] if said else 'no reason given'}")
    return kind((kind.__doc__ or "") + ".", hint=_HINTS.get(kind, ""))
