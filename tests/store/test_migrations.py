"""The schema equals the sum of its migrations, is upgraded once, and is refused if the version does not match."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from chatsys.database import admin
from chatsys.database.embedded import wheel_programs
from chatsys.errors import DatabaseMissing, SchemaTooNew
from chatsys.resources import database_dir
from chatsys.store.address import with_database
from chatsys.store.schema import expected_version


def dump(url: str) -> str:
    """Return the schema as pg_dump writes it, with sorted lines, since a migration adds columns at the end."""
    program = wheel_programs() / "pg_dump"
    options = ["--schema-only", "--no-owner", "--restrict-key=0"]
    done = subprocess.run([program, *options, url], capture_output=True, text=True, check=True)
    # Debian's PostgreSQL 15 notes its own version at columns; only Debian's pg_dump leaves that out.
    lines = (line.strip().rstrip(",") for line in done.stdout.splitlines() if "pg_attver" not in line)
    return "\n".join(sorted(lines))


@pytest.mark.database
@pytest.mark.parametrize("server", ["postgres", "postgres15"])
def test_schema_sql_is_the_sum_of_the_migrations(server: str, request: pytest.FixtureRequest) -> None:
    scratch = request.getfixturevalue(f"{server}_server")
    with scratch.database("template0") as by_migrations, scratch.database("template0") as by_file:
        with psycopg.connect(by_file) as connection:
            for file in ("fold_case.sql", "schema.sql"):
                connection.execute((database_dir() / file).read_bytes())
        assert admin.upgrade(by_migrations) == (None, expected_version())
        assert dump(by_migrations) == dump(by_file)
        with psycopg.connect(by_migrations) as connection:
            rooms = "SELECT room_name, description FROM rooms ORDER BY room_name"
            found = connection.execute(rooms).fetchall()
        with psycopg.connect(by_file) as connection:
            assert connection.execute(rooms).fetchall() == found
        assert admin.current_version(by_file) == expected_version()


def test_upgrading_twice_changes_nothing(empty_postgres_url: str) -> None:
    admin.upgrade(empty_postgres_url)
    before = dump(empty_postgres_url)
    assert admin.upgrade(empty_postgres_url) == (expected_version(), expected_version())
    assert dump(empty_postgres_url) == before


def test_processes_that_upgrade_at_once_wait_for_each_other(empty_postgres_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: admin.upgrade(empty_postgres_url), range(4)))
    assert sorted(before or "" for before, _ in outcomes) == ["", *[expected_version()] * 3]


def test_newer_schema_is_left_alone(empty_postgres_url: str) -> None:
    admin.upgrade(empty_postgres_url)
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew) as refused:
        admin.upgrade(empty_postgres_url)
    assert (refused.value.found, refused.value.expected) == ("9999", expected_version())


def test_missing_database_is_created_once(empty_postgres_url: str) -> None:
    url = with_database(empty_postgres_url, "made é 'here\"")
    with pytest.raises(DatabaseMissing):
        admin.current_version(url)
    try:
        assert admin.create_database(url)
        assert not admin.create_database(url)
        assert admin.current_version(url) is None
    finally:
        with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
            connection.execute('DROP DATABASE "made é \'here"""')


def test_status_counts_rows_and_names_pending_migrations(empty_postgres_url: str) -> None:
    before = admin.status(empty_postgres_url)
    assert (before.version, before.rows) == (None, {})
    assert before.pending[-1] == before.expected
    admin.upgrade(empty_postgres_url)
    after = admin.status(empty_postgres_url)
    assert (after.version, after.pending) == (after.expected, ())
    assert after.rows == dict.fromkeys(admin.TABLES, 0) | {"rooms": 3}
    assert after.size_bytes > before.size_bytes
    assert 1 <= after.connections <= after.max_connections
