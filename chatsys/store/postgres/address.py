"""Database URLs: what they may hold, and what the two drivers make of them.

asyncpg (the server) and libpq through psycopg (migrations, command line) get the same address and the same TLS rules.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import msgspec

from chatsys.errors import BadDatabaseUrl

_log = logging.getLogger(__name__)

_LIBPQ_ONLY = {"channel_binding", "connect_timeout", "gssencmode", "keepalives", "keepalives_idle",
               "keepalives_interval", "keepalives_count", "load_balance_hosts", "require_auth", "sslcompression",
               "tcp_user_timeout"}  # fmt: skip
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a database is. ``libpq`` and ``asyncpg`` are URLs with the password; the other fields have none."""

    libpq: str
    asyncpg: str
    host: str
    database: str
    user: str
    tls: bool
    bouncer: bool
    port: int = 5432

    @property
    def where(self) -> str:
        """Host and port as messages name them; a socket's folder is told from its port by a comma."""
        if self.host.startswith("/"):
            return f"{self.host}, port {self.port}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def server_settings(self) -> bool:
        """True if session settings last: not behind PgBouncer in transaction mode."""
        return not self.bouncer


def read_url(url: str, *, ssl: bool = False, ca_file: Path | None = None) -> Address:
    """Read a ``postgresql://`` or ``postgres://`` URL. Raises BadDatabaseUrl.

    ``sslmode`` and ``sslrootcert`` in the URL win over ``ssl`` (DB_SSL) and ``ca_file`` (DB_SSL_CA_CERT_PATH).
    ``pgbouncer=true`` in the URL says that PgBouncer in transaction mode answers there.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise _bad(f"The database URL can't be read: {_without_password(str(error), url)}.") from error
    if parts.scheme not in ("postgresql", "postgres"):
        raise _bad("The database URL must begin with postgresql:// or postgres://.")
    if parts.fragment or "/" in parts.path[1:] or "@" in parts.path:
        raise _bad("The database URL has a #, / or @ in its user name, password or database name.")
    bouncer = query.pop("pgbouncer", "false").lower() in ("true", "1", "yes", "on")
    host = parts.hostname or query.get("host") or os.environ.get("PGHOST") or "localhost"
    host = unquote(host)
    _tls(query, ssl and not host.startswith("/"), ca_file)
    asyncpg_query = {name: value for name, value in query.items() if name not in _LIBPQ_ONLY}
    return Address(
        libpq=urlunsplit(("postgresql", parts.netloc, parts.path, _encoded(query), "")),
        asyncpg=urlunsplit(("postgresql", parts.netloc, parts.path, _encoded(asyncpg_query), "")),
        host=host,
        database=unquote(parts.path[1:]) or query.get("dbname") or unquote(parts.username or "") or "",
        user=unquote(parts.username or "") or query.get("user") or os.environ.get("PGUSER", ""),
        tls=query.get("sslmode", "prefer") in _SSL_MODES[3:],
        bouncer=bouncer,
        port=_port(parts.port, query),
    )


def _port(given: int | None, query: dict[str, str]) -> int:
    text = str(given or query.get("port") or os.environ.get("PGPORT") or "5432")
    return int(text) if text.isascii() and text.isdigit() else 5432


def with_database(url: str, database: str) -> str:
    """``url`` with another database's name."""
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(database, safe="")))


def _tls(query: dict[str, str], ssl: bool, ca_file: Path | None) -> None:
    mode = query.get("sslmode")
    if mode is not None and mode not in _SSL_MODES:
        raise _bad(f"sslmode={mode} in the database URL is none of {', '.join(_SSL_MODES)}.")
    if ssl and mode is None:
        query["sslmode"] = "require"
    if not ssl or ca_file is None or "sslrootcert" in query:
        return
    if os.access(ca_file, os.R_OK) and ca_file.is_file():
        query["sslrootcert"] = str(ca_file)
        if mode is None:
            query["sslmode"] = "verify-full"
    else:
        _log.warning("%s can't be read: TLS to the database without verifying its certificate.", ca_file)


def _encoded(query: dict[str, str]) -> str:
    return urlencode(query, quote_via=quote, safe="/")


def _bad(message: str) -> BadDatabaseUrl:
    return BadDatabaseUrl(
        message,
        hint="Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, special characters percent-encoded "
        "(# as %23, / as %2F, @ as %40).",
    )


def _without_password(text: str, url: str) -> str:
    return "its port is not a number from 0 to 65535" if "ort" in text else "bad query or host" if url else text


def connect_arguments(address: Address, settings: dict[str, str], timeout: float) -> dict[str, Any]:
    """What ``asyncpg.connect`` takes. The statement cache is off: the pool keeps its own statements."""
    return {
        "dsn": address.asyncpg,
        "timeout": timeout,
        "statement_cache_size": 0,
        "server_settings": settings if address.server_settings else None,
    }
