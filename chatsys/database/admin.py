"""Operations on a whole database for the command line: create, upgrade, status. Synchronous, with psycopg."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import psycopg
from alembic import command, op
from alembic.config import Config
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from chatsys.database.connecting import Connection, connect, connected, explained, meaning, only_row
from chatsys.resources import database_dir
from chatsys.store.address import Address, read_url, with_database
from chatsys.store.schema import check_version, expected_version, known_versions

TABLES = ("users", "rooms", "messages", "message_reads", "message_deliveries", "room_members", "active_sessions",
          "chat_servers")  # fmt: skip
_MIGRATION_LOCK = 0x63686174737973  # "chatsys"


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


def create_database(url: str) -> bool:
    """Create the database that ``url`` names if it is missing. Returns True if it was.

    Raises PermissionDenied if the role may not create databases, and the error that says what else prevents it.
    """
    database = read_url(url).database
    with connected(with_database(url, "postgres"), autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (database,)).fetchone() is not None:
            return False
        name = sql.Identifier(database)
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


def current_version(url: str) -> str | None:
    """The schema's version, or None if there is no schema of chatsys."""
    with connected(url) as connection:
        return _version(connection)


def pending_versions(found: str | None) -> tuple[str, ...]:
    """The versions to which an upgrade from ``found`` migrates, in order."""
    return tuple(version for version in known_versions() if found is None or version > found)


def count_rows(connection: Connection, tables: Iterable[str]) -> dict[str, int]:
    """The exact number of rows by table."""
    count = sql.SQL("SELECT count(*) FROM {}")
    return {table: only_row(connection, count.format(sql.Identifier(table)))[0] for table in tables}


def status(url: str) -> Status:
    """The state of the database. ``rows`` is empty if there is no schema."""
    with connected(url) as connection:
        version = _version(connection)
        server, size, connections, most = only_row(
            connection,
            "SELECT current_setting('server_version'), pg_database_size(current_database()),"
            " (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),"
            " current_setting('max_connections')::int",
        )
        rows = count_rows(connection, TABLES if version is not None else ())
    return Status(
        server=server,
        version=version,
        expected=expected_version(),
        pending=pending_versions(version),
        size_bytes=size,
        rows=rows,
        connections=connections,
        max_connections=most,
    )


# -- called by the migrations


def run_script(name: str) -> None:
    """Execute a file of ``database/migrations`` in the migration's transaction. Percent signs are literal."""
    _driver().execute((database_dir() / "migrations" / name).read_bytes())


def has_table(name: str) -> bool:
    """True if the search path finds this table."""
    return bool(only_row(_driver(), "SELECT to_regclass(%(name)s) IS NOT NULL", name=name)[0])


def _driver() -> Connection:
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


def _version(connection: Connection) -> str | None:
    if not only_row(connection, "SELECT to_regclass('alembic_version') IS NOT NULL")[0]:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else row[0]
