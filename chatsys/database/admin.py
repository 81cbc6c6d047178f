"""Operations on a whole database for the command line: create, upgrade, status. Synchronous, with psycopg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import psycopg
from alembic import command, op
from alembic.config import Config
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from chatsys.database.connecting import connect, connected, explained, meaning
from chatsys.resources import database_dir
from chatsys.store.address import Address, read_url, with_database
from chatsys.store.schema import check_version, expected_version, known_versions

TABLES = (
    "users",
    "rooms",
    "messages",
    "message_reads",
    "message_deliveries",
    "room_members",
    "active_sessions",
    "chat_servers",
)
_MIGRATION_LOCK = 0x63686174737973  # "chatsys"
_HAS_VERSION = "SELECT to_regclass('alembic_version') IS NOT NULL"
_VERSION = "SELECT version_num FROM alembic_version"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a database. ``rows`` are exact counts by table; sizes are in bytes."""

    server: str
    version: str | None
    expected: str
    pending: tuple[str, ...]
    size_bytes: int
    rows: dict[str, int]
    connections: int
    max_connections: int


def create_database(url: str, *, ssl: bool = False, ca_file: Path | None = None) -> bool:
    """Create the database that ``url`` names if it is missing. Returns True if it was.

    Raises PermissionDenied if the role may not create databases, and the error that says what else prevents it.
    """
    address = read_url(url, ssl=ssl, ca_file=ca_file)
    with connected(with_database(url, "postgres"), ssl=ssl, ca_file=ca_file, autocommit=True) as connection:
        known = connection.execute("SELECT FROM pg_database WHERE datname = %s", (address.database,)).fetchone()
        if known is not None:
            return False
        name = sql.Identifier(address.database)
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(name))
        return True


def upgrade(url: str, *, ssl: bool = False, ca_file: Path | None = None) -> tuple[str | None, str]:
    """Upgrade the schema to this program's version. Returns the versions before and after.

    Each migration is one transaction. A lock makes concurrent upgrades wait for each other. Raises SchemaTooNew.
    """
    address = read_url(url, ssl=ssl, ca_file=ca_file)
    with explained(address), connect(address) as guard:
        guard.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        before = _version(guard)
        if before is not None and before not in known_versions():
            check_version(before, address.database)
        if before != expected_version():
            _migrate(address)
        return before, expected_version()


def current_version(url: str, *, ssl: bool = False, ca_file: Path | None = None) -> str | None:
    """The schema's version, or None if there is no schema of chatsys."""
    with connected(url, ssl=ssl, ca_file=ca_file) as connection:
        return _version(connection)


def pending_versions(found: str | None) -> tuple[str, ...]:
    """The versions to which an upgrade from ``found`` migrates, in order."""
    return tuple(version for version in known_versions() if found is None or version > found)


def status(url: str, *, ssl: bool = False, ca_file: Path | None = None) -> Status:
    """The state of the database. ``rows`` is empty if there is no schema."""
    with connected(url, ssl=ssl, ca_file=ca_file) as connection:
        version = _version(connection)
        row = connection.execute(
            "SELECT current_setting('server_version'), pg_database_size(current_database()),"
            " (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),"
            " current_setting('max_connections')::int"
        ).fetchone()
        assert row is not None
        rows = {}
        for table in TABLES if version is not None else ():
            counted = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
            assert counted is not None
            rows[table] = counted[0]
    return Status(
        server=row[0],
        version=version,
        expected=expected_version(),
        pending=pending_versions(version),
        size_bytes=row[1],
        rows=rows,
        connections=row[2],
        max_connections=row[3],
    )


# -- called by the migrations


def run_script(name: str) -> None:
    """Execute a file of ``database/migrations`` in the migration's transaction. Percent signs are literal."""
    _driver().execute((database_dir() / "migrations" / name).read_bytes())


def has_table(name: str) -> bool:
    """True if the search path finds this table."""
    row = _driver().execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
    return row is not None and bool(row[0])


def _driver() -> psycopg.Connection[tuple[Any, ...]]:
    connection = op.get_bind().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection


def _migrate(address: Address) -> None:
    config = Config()
    config.set_main_option("script_location", str(database_dir() / "migrations").replace("%", "%%"))
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(address), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:  # from one of Alembic's own statements
        raise meaning(error, address) from error


def _version(connection: psycopg.Connection[tuple[Any, ...]]) -> str | None:
    known = connection.execute(_HAS_VERSION).fetchone()
    row = connection.execute(_VERSION).fetchone() if known is not None and known[0] else None
    return None if row is None else row[0]
