"""Database URLs: how they are read, and the address that each of the two drivers gets.

asyncpg (the server) and libpq through psycopg (migrations, command line) get the same address and the same TLS rules.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec

from chatsys.errors import BadDatabaseUrl

_log = logging.getLogger(__name__)

_LIBPQ_ONLY = {"channel_binding", "connect_timeout", "gssencmode", "keepalives", "keepalives_idle",
               "keepalives_interval", "keepalives_count", "load_balance_hosts", "require_auth", "sslcompression",
               "tcp_user_timeout"}  # fmt: skip
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class HostAndPort(msgspec.Struct, frozen=True):
    """One host of an address. A host that begins with a slash is the folder of a Unix socket."""

    host: str
    port: int


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a database is. ``libpq`` and ``asyncpg`` are URLs with the password; the other fields have none.

    ``endpoints`` are tried in order until one accepts writes; ``host`` names all of them. An endpoint of None stands
    for the only one of the URL, or for the driver's default.
    """

    libpq: str
    asyncpg: str
    host: str
    database: str
    user: str
    tls: bool
    bouncer: bool
    endpoints: tuple[HostAndPort | None, ...] = (None,)
    port: int = 5432

    @property
    def where(self) -> str:
        """Host and port as messages show them."""
        return ", ".join(_named(each or HostAndPort(self.host, self.port)) for each in self.endpoints)


def read_url(url: str, *, ssl: bool = False, ca_file: Path | None = None) -> Address:
    """Read a ``postgresql://`` or ``postgres://`` URL. Raises BadDatabaseUrl.

    ``sslmode`` and ``sslrootcert`` in the URL override ``ssl`` (DB_SSL) and ``ca_file`` (DB_SSL_CA_CERT_PATH).
    ``pgbouncer=true`` in the URL says that the address is a PgBouncer in transaction mode. Of several hosts
    (``HOST:PORT,HOST:PORT``) the first that accepts writes is used, as with ``target_session_attrs=read-write``.
    """
    try:
        parts = urlsplit(url)
        endpoints = _endpoints(parts.netloc.rpartition("@")[2])
        if len(endpoints) == 1:
            _ = parts.port
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:  # whose text may show the password
        why = "its port is not a number from 0 to 65535" if "ort" in str(error) else "bad query or host"
        raise _bad(f"The database URL can't be read: {why}.") from error
    if parts.scheme not in ("postgresql", "postgres"):
        raise _bad("The database URL must begin with postgresql:// or postgres://.")
    if parts.fragment or "/" in parts.path[1:] or "@" in parts.path:
        raise _bad("The database URL has a #, / or @ in its user name, password or database name.")
    bouncer = query.pop("pgbouncer", "false").lower() in ("true", "1", "yes", "on")
    endpoints = endpoints if len(endpoints) > 1 else _endpoints(query.get("host", ""), query.get("port", ""))
    if len(endpoints) > 1:
        host = ", ".join(endpoint.host for endpoint in endpoints)
    else:
        host = unquote(parts.hostname or query.get("host") or os.environ.get("PGHOST") or "localhost")
    _refuse_standbys(query, several=len(endpoints) > 1)
    _tls(query, ssl and not host.startswith("/"), ca_file)
    asyncpg_query = {name: value for name, value in query.items() if name not in _LIBPQ_ONLY}
    asyncpg_query.pop("target_session_attrs", None)  # the store checks each new connection itself
    return Address(
        libpq=_joined(parts.netloc, parts.path, _encoded(query)),
        asyncpg=_joined(parts.netloc, parts.path, _encoded(asyncpg_query)),
        endpoints=endpoints if len(endpoints) > 1 else (None,),
        host=host,
        database=unquote(parts.path[1:]) or query.get("dbname") or unquote(parts.username or "") or "",
        user=unquote(parts.username or "") or query.get("user") or os.environ.get("PGUSER", ""),
        tls=query.get("sslmode", "prefer") in _SSL_MODES[3:],
        bouncer=bouncer,
        port=_port(parts.port if len(endpoints) == 1 else None, query),
    )


def _port(given: int | None, query: dict[str, str]) -> int:
    text = str(given or query.get("port") or os.environ.get("PGPORT") or "5432")
    return int(text) if text.isascii() and text.isdigit() else 5432


def _named(endpoint: HostAndPort) -> str:
    """Host and port as text. A comma separates the folder of a socket from its port."""
    host, port = endpoint.host, endpoint.port
    if host.startswith("/"):
        return f"{host}, port {port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def with_database(url: str, database: str) -> str:
    """``url`` with the name of another database."""
    parts = urlsplit(url)
    return _joined(parts.netloc, "/" + quote(database, safe=""), parts.query)


def _joined(netloc: str, path: str, query: str) -> str:
    """A URL for both drivers. urlunsplit would drop the slashes before an empty host, which libpq needs."""
    return f"postgresql://{netloc}{path}{'?' if query else ''}{query}"


def _endpoints(hosts: str, ports: str = "") -> tuple[HostAndPort, ...]:
    """The hosts of ``HOST:PORT,HOST:PORT``, or of ``host=`` and ``port=`` of a query. Raises ValueError."""
    names = hosts.split(",")
    given = ports.split(",") if ports else [""]
    given = given * len(names) if len(given) == 1 else given
    found = []
    for name, port in zip(names, given, strict=True):
        host, colon, own = (name, "", "") if name.startswith(("/", "[")) else name.partition(":")
        number = int(own if colon else port or "5432") if len(names) > 1 else 0
        if not 0 <= number <= 65_535:
            raise ValueError("port out of range")
        found.append(HostAndPort(unquote(host), number))
    return tuple(found)


def _refuse_standbys(query: dict[str, str], *, several: bool) -> None:
    wanted = query.get("target_session_attrs", "read-write")
    if wanted not in ("any", "primary", "read-write"):
        raise _bad(f"target_session_attrs={wanted} in the database URL: chatsys needs a server that accepts writes.")
    if several:
        query["target_session_attrs"] = "read-write"


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
