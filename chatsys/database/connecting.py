"""psycopg connections to a database, and the translation of their errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from chatsys.errors import ChatsysError
from chatsys.store.address import Address, read_url
from chatsys.store.postgres.mapping import translated

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_NETWORK = {"connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
            "tcp_user_timeout": 30_000}  # fmt: skip
"""Limits of the wait for a vanished server, unless the URL sets them. In seconds; tcp_user_timeout in ms."""


@contextmanager
def connected(url: str, *, autocommit: bool = False) -> Iterator[Connection]:
    """A connection for the block. Database errors in the block become errors of chatsys."""
    address = read_url(url)
    with explained(address), connect(address, autocommit=autocommit) as connection:
        yield connection


def connect(address: Address, *, autocommit: bool = False) -> Connection:
    """A connection that does not wait long for a server that has vanished."""
    named = conninfo_to_dict(address.libpq)
    options: dict[str, Any] = {name: value for name, value in _NETWORK.items() if name not in named}
    return psycopg.connect(address.libpq, autocommit=autocommit, **options)


def only_row(connection: psycopg.Connection[Any], query: str | sql.Composed, **parameters: Any) -> tuple[Any, ...]:
    """The row of a query that always returns one. Without parameters, percent signs in the query are literal."""
    row: tuple[Any, ...] | None = connection.execute(query, parameters or None).fetchone()
    assert row is not None
    return row


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """Errors of psycopg in the block become errors of chatsys."""
    try:
        yield
    except psycopg.Error as error:
        raise meaning(error, address) from error


def meaning(error: BaseException, address: Address) -> ChatsysError:
    """The error of chatsys for a driver's error, or for SQLAlchemy's wrapper of one. It says what to do."""
    return translated(getattr(error, "orig", None) or error, address)
