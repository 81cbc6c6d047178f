"""Bring a database to this program's schema from whatever it is: missing, empty, older, or the original backend's."""

from __future__ import annotations

import msgspec
from psycopg import sql

from chatsys.errors import DatabaseMissing, PermissionDenied, SchemaMissing
from chatsys.store.postgres.address import read_url
from chatsys.store.postgres.admin import connected, create_database, current_version, upgrade
from chatsys.store.postgres.operations.restore import EMPTY_PUBLIC

_IS_ORIGINAL = """
SELECT count(*) = 2 FROM information_schema.columns
WHERE table_schema = current_schema()
  AND (table_name, column_name) IN (('users', 'password'), ('messages', 'message_text'))
"""
_ADOPTED = ("users", "rooms", "messages")


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: the database created or not, rows by table if the original's were adopted, schema versions."""

    created: bool
    adopted: dict[str, int]
    before: str | None
    after: str


def initialise(url: str) -> Prepared:
    """Create the database if it is missing and bring its schema up to date. Running it again changes nothing.

    Raises PermissionDenied with the command for a superuser if the role may not create the database.
    """
    try:
        current_version(url)
    except DatabaseMissing:
        create(url)
        return _upgraded(url, created=True)
    return _upgraded(url, created=False)


def migrate(url: str) -> Prepared:
    """Bring an existing schema up to date. Raises SchemaMissing if there is neither one of chatsys nor the original."""
    if current_version(url) is None and not _is_original(url):
        raise SchemaMissing(
            f"The database {read_url(url).database} has no chatsys schema.", hint="Create it with `chatsys db init`."
        )
    return _upgraded(url, created=False)


def count_tables(url: str) -> int:
    """How many tables the schema ``public`` holds. Raises DatabaseMissing."""
    with connected(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        return row[0] if row else 0


def reset(url: str) -> Prepared:
    """Drop everything in the schema ``public``, in one transaction, and create the schema anew."""
    with connected(url) as connection:
        connection.execute("SET LOCAL lock_timeout = '5s'")
        connection.execute(EMPTY_PUBLIC)
    return _upgraded(url, created=False)


def create(url: str) -> None:
    """Create the database. Raises PermissionDenied with the command for a superuser if the role may not."""
    try:
        create_database(url)
    except PermissionDenied as error:
        address = read_url(url)
        raise PermissionDenied(
            f"The database {address.database} does not exist, and the role {address.user or '?'} may not create it.",
            hint=f"As a superuser: createdb --owner={address.user or 'ROLE'} {address.database}",
        ) from error


def _upgraded(url: str, *, created: bool) -> Prepared:
    original = current_version(url) is None and _is_original(url)
    before, after = upgrade(url)
    return Prepared(created=created, adopted=_settle(url) if original else {}, before=before, after=after)


def _is_original(url: str) -> bool:
    with connected(url) as connection:
        row = connection.execute(_IS_ORIGINAL).fetchone()
        return row is not None and bool(row[0])


def _settle(url: str) -> dict[str, int]:
    """Clear away the row versions that the adoption left behind; the rows now in the tables that it took over."""
    with connected(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        rows = {}
        for table in _ADOPTED:
            row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
            rows[table] = row[0] if row else 0
    return rows
