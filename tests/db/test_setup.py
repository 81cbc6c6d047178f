"""chatsys db init, migrate, status and reset, as an operator runs them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from chatsys.database.setup import _RELATIONS, OWN
from chatsys.resources import database_dir
from chatsys.store.address import with_database
from tests.db.conftest import Server, as_role, chatsys, content, fill_chat, role, rows, run

DEFAULT_ROOMS = [("general",), ("random",), ("tech",)]
SECRET = "a secret of more than thirty-two bytes"


@pytest.fixture
def missing(server: Server) -> Iterator[str]:
    """The URL of a database that does not exist. It is dropped if a test creates it."""
    name = f"missing_{uuid.uuid4().hex}"
    yield with_database(server.url, name)
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def succeeds(*arguments: str, said: str = "", **environment: str) -> str:
    """Run a command that must work; return its output."""
    done = chatsys(*arguments, stdin=said, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*arguments: str, said: str = "", **environment: str) -> str:
    """Run a command that must fail with exit status 1 and no traceback; return its standard error."""
    done = chatsys(*arguments, stdin=said, **environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_init_creates_the_database_and_the_default_rooms(missing: str) -> None:
    said = succeeds("db", "init", "--database-url", missing)
    assert said.startswith("Created the database missing_")
    assert rows(missing, "SELECT room_name FROM rooms ORDER BY 1") == DEFAULT_ROOMS


def test_init_twice_changes_nothing(missing: str) -> None:
    succeeds("db", "init", "--database-url", missing)
    before = content(missing)
    assert succeeds("db", "init", "--database-url", missing).endswith("; nothing to do.\n")
    assert content(missing) == before


def test_init_names_who_can_create_if_its_role_may_not(server: Server, missing: str) -> None:
    with role(server) as name:
        said = fails("db", "init", "--database-url", as_role(missing, name))
    assert f"the role {name} may not create it" in said
    assert f"createdb --owner={name} missing_" in said


def test_init_names_the_grant_that_its_role_lacks_on_the_schema(server: Server, empty: str) -> None:
    run(empty, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with role(server) as name:
        said = fails("db", "init", "--database-url", as_role(empty, name))
    assert "lacks a right: permission denied for schema public" in said
    assert "GRANT" in said


ORDERS = "CREATE TABLE orders (n int); CREATE TABLE customers (n int); INSERT INTO orders VALUES (7)"


def test_init_refuses_a_database_with_foreign_tables_of_the_same_names(empty: str) -> None:
    run(empty, "CREATE TABLE users (id int, email text); INSERT INTO users VALUES (1, 'a@b.c')")
    before = content(empty)
    for command in ("init", "migrate"):
        said = fails("db", command, *(["--yes"] if command == "init" else []), "--database-url", empty)
        assert "chatsys needs the names of 1 of them: users. Nothing was changed. Give chatsys a database of" in said
        assert "createdb --owner=" in said
    assert content(empty) == before


def test_init_refuses_a_database_with_a_foreign_alembic_version(empty: str) -> None:
    run(empty, "CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('5d3bc1f')")
    said = fails("db", "init", "--yes", "--database-url", empty)
    assert "chatsys needs the names of 1 of them: alembic_version." in said


@pytest.mark.parametrize("said", ["", "n\n"])
def test_init_asks_before_it_creates_tables_beside_foreign_ones(empty: str, said: str) -> None:
    run(empty, ORDERS)
    before = content(empty)
    refusal = fails("db", "init", "--database-url", empty, said=said)
    assert "has 2 tables and views of another program (customers, orders). Create the 16 of chatsys" in refusal
    assert "--yes" in refusal
    assert content(empty) == before


def test_dry_run_of_init_says_what_a_run_would_create(missing: str) -> None:
    said = succeeds("db", "init", "--dry-run", "--database-url", missing)
    assert said.startswith("Would create the database missing_")
    assert all(name in said for name in OWN)
    assert "the rooms general, random, tech." in said
    assert "does not exist" in fails("db", "status", "--database-url", missing)
    succeeds("db", "init", "--database-url", missing)
    assert "is at version 00" in succeeds("db", "init", "--dry-run", "--database-url", missing)


def test_dry_run_of_an_adoption_counts_its_rows(original: Callable[[int], str]) -> None:
    url = original(40)
    before = content(url)
    said = succeeds("db", "init", "--dry-run", "--database-url", url)
    (messages,) = rows(url, "SELECT count(*) FROM messages")[0]
    assert re.search(
        rf"Would adopt the original backend's database \w+: \d+ users, \d+ rooms, {messages} messages\.", said
    )
    assert content(url) == before


def test_dry_run_of_migrate_names_the_versions(server: Server) -> None:
    with server.database("template0") as url:
        run(url, (database_dir() / "migrations" / "versions" / "0001_tables.sql").read_text(encoding="utf-8"))
        run(url, "CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('0001')")
        assert "from version 0001 to 0002, 0003" in succeeds("db", "migrate", "--dry-run", "--database-url", url)


def test_dry_run_without_a_database_starts_no_private_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert succeeds("db", "init", "--dry-run").startswith("Would create a private PostgreSQL in .chatsys/postgres")
    assert list(tmp_path.iterdir()) == []


def test_reset_refuses_while_servers_use_the_database(fresh: str) -> None:
    run(fresh, "INSERT INTO chat_servers VALUES (gen_random_uuid(), now(), now() + interval '15 s')")
    said = fails("db", "reset", "--yes", "--database-url", fresh)
    assert "1 chat server with 0 sessions work on" in said
    assert "so nothing was deleted. Stop them first" in said
    assert rows(fresh, "SELECT count(*) FROM rooms") == [(3,)]


def test_init_with_yes_leaves_foreign_tables_alone(empty: str) -> None:
    run(empty, ORDERS)
    succeeds("db", "init", "--database-url", empty, said="y\n")
    assert succeeds("db", "init", "--database-url", empty).endswith("; nothing to do.\n")
    assert rows(empty, "SELECT n, (SELECT count(*) FROM rooms) FROM orders") == [(7, 3)]


def test_names_that_chatsys_reserves_are_those_of_its_schema(fresh: str) -> None:
    assert {name for (name,) in rows(fresh, _RELATIONS)} == OWN


def test_migrate_upgrades_an_older_schema_and_keeps_its_rows(server: Server) -> None:
    with server.database("template0") as url:
        run(url, (database_dir() / "migrations" / "versions" / "0001_tables.sql").read_text(encoding="utf-8"))
        run(url, "CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('0001')")
        fill_chat(url, 20)
        messages = rows(url, "SELECT message_id, seq, message_text, created_at FROM messages ORDER BY seq")
        assert "went from version 0001 to" in succeeds("db", "migrate", "--database-url", url)
        assert rows(url, "SELECT message_id, seq, message_text, created_at FROM messages ORDER BY seq") == messages


def test_migrate_of_an_empty_database_names_init(empty: str) -> None:
    assert "has no chatsys schema. Create it with `chatsys db init`." in fails("db", "migrate", "--database-url", empty)


def test_schema_newer_than_the_program_is_left_alone(fresh: str) -> None:
    run(fresh, "CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32))")
    run(fresh, "DELETE FROM alembic_version; INSERT INTO alembic_version VALUES ('9999')")
    for command in ("init", "migrate"):
        assert "is at version 9999, but this program" in fails("db", command, "--database-url", fresh)


def test_status_shows_version_rows_and_connections(missing: str) -> None:
    succeeds("db", "init", "--database-url", missing)
    fill_chat(missing, 1_234)
    said = succeeds("db", "status", "--database-url", missing)
    assert "1,234" in said
    for word in ("schema version", "pending migrations", "none", "MiB", "connections", "PostgreSQL 1"):
        assert word in said


def test_status_of_an_empty_database_names_what_is_pending(empty: str) -> None:
    said = succeeds("db", "status", "--database-url", empty)
    assert "none: run `chatsys db init`" in said
    assert "0001" in said


def test_status_is_available_as_json(fresh: str) -> None:
    fill_chat(fresh, 7)
    found = json.loads(succeeds("db", "status", "--format", "json", "--database-url", fresh))
    assert (found["version"], found["pending"], found["rows"]["messages"]) == (found["expected"], [], 7)
    assert found["size_bytes"] > 0


@pytest.mark.parametrize("command", [["reset"], ["migrate"]])
def test_dry_run_changes_nothing(fresh: str, command: list[str]) -> None:
    fill_chat(fresh, 7)
    before = content(fresh)
    said = succeeds("db", *command, "--dry-run", "--database-url", fresh)
    assert "Would delete all" in said or "; nothing to do." in said
    assert content(fresh) == before


def test_reset_deletes_everything(fresh: str) -> None:
    fill_chat(fresh, 10)
    run(fresh, "CREATE TABLE of_others (n int)")
    succeeds("db", "reset", "--yes", "--database-url", fresh)
    assert rows(fresh, "SELECT room_name FROM rooms ORDER BY 1") == DEFAULT_ROOMS
    assert rows(fresh, "SELECT to_regclass('of_others'), (SELECT count(*) FROM users)") == [(None, 0)]


@pytest.mark.parametrize("said", ["", "\n", "yes\n", "another\n"])
def test_reset_in_production_requires_the_typed_name(fresh: str, said: str) -> None:
    fill_chat(fresh, 10)
    before = content(fresh)
    done = chatsys(
        "db", "reset", "--yes", "--database-url", fresh, stdin=said, CHATSYS_ENV="production", JWT_SECRET=SECRET
    )
    assert done.returncode == 1
    assert content(fresh) == before


def test_reset_in_production_works_with_the_typed_name(fresh: str) -> None:
    fill_chat(fresh, 10)
    name = rows(fresh, "SELECT current_database()")[0][0]
    arguments = ("db", "reset", "--yes", "--database-url", fresh)
    succeeds(*arguments, said=f"{name}\n", CHATSYS_ENV="production", JWT_SECRET=SECRET)
    assert rows(fresh, "SELECT count(*) FROM users") == [(0,)]


def test_reset_gives_up_on_a_table_in_use(fresh: str) -> None:
    fill_chat(fresh, 3)
    with psycopg.connect(fresh) as other:
        other.execute("SELECT count(*) FROM messages")
        said = fails("db", "reset", "--yes", "--database-url", fresh)
    assert "Stop the programs that use the database" in said
    assert rows(fresh, "SELECT count(*) FROM messages") == [(3,)]


def test_memory_store_has_no_database() -> None:
    assert "The memory store has no database. Name a server" in fails("db", "status", "--database-url", "memory://")
