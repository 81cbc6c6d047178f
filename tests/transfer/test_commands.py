"""``chatsys export``, ``import`` and ``migrate`` as an operator types them, on PostgreSQL 18 and 15."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from chatsys.database import snapshot
from chatsys.database.invariants import broken_invariants
from chatsys.store.opening import open_store

from ..flow.serving import clean_environment
from .conftest import NOW, fill

LARGE = 30_000
"""Messages in the snapshot whose import is interrupted: several batches."""


def chatsys(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Return a command's exit status and output."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, env=environment())


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "chatsys", *map(str, arguments)]


def environment() -> dict[str, str]:
    return clean_environment(NO_COLOR="1", COLUMNS="200")


def counts(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        tables = ("users", "rooms", "messages", "message_deliveries", "message_reads")
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


@pytest.fixture(
    params=[
        pytest.param("postgres_url", marks=pytest.mark.database),
        pytest.param("postgres15_url", marks=pytest.mark.database),
    ]
)
def database(request: pytest.FixtureRequest) -> str:
    """An empty database with the schema, on each PostgreSQL."""
    return request.getfixturevalue(request.param)


def test_migration_is_verified_record_by_record(snapshot_file, database):
    done = chatsys("migrate", "--from", snapshot_file, "--to", database, "--verify")
    assert done.returncode == 0, done.stderr
    assert "515 records were new" in done.stdout
    assert done.stdout.count("equal") == 6
    assert "different" not in done.stdout
    assert counts(database) == {
        "users": 10,
        "rooms": 8,
        "messages": 500,
        "message_deliveries": 100,
        "message_reads": 50,
    }


def test_importing_twice_equals_importing_once(snapshot_file, database):
    assert chatsys("import", snapshot_file, "--to", database).returncode == 0
    before = counts(database)
    again = chatsys("import", snapshot_file, "--to", database)
    assert again.returncode == 0
    assert ": 0 records were new" in again.stdout
    assert counts(database) == before


def test_export_of_an_imported_database_equals_the_snapshot(snapshot_file, database, tmp_path):
    assert chatsys("import", snapshot_file, "--to", database).returncode == 0
    done = chatsys("export", "--from", database, tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert "10 users, 8 rooms, 500 messages, 100 deliveries and 50 reads" in done.stdout
    assert snapshot.check(tmp_path / "again") == snapshot.check(snapshot_file)


def test_room_counters_are_correct_after_a_migration(snapshot_file, postgres_url):
    assert chatsys("import", snapshot_file, "--to", postgres_url).returncode == 0
    with psycopg.connect(postgres_url) as connection:
        assert broken_invariants(connection) == []

    async def stats() -> list[object]:
        async with open_store("memory://") as memory, open_store(postgres_url) as postgres:
            await snapshot.load(memory, snapshot_file)
            return [[await store.room_stats(f"room {number}") for number in range(5)] for store in (memory, postgres)]

    here, there = asyncio.run(stats())
    assert here == there


def test_difference_is_named_and_fails_the_command(snapshot_file, postgres_url):
    assert chatsys("import", snapshot_file, "--to", postgres_url).returncode == 0
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE messages SET message_text = 'other' WHERE seq = 7 AND guest_id IS NULL")
        connection.execute("DELETE FROM message_deliveries")
    done = chatsys("migrate", "--from", snapshot_file, "--to", postgres_url, "--verify")
    assert done.returncode == 1
    assert "different" in done.stdout
    assert "differs in deliveries" in done.stderr
    assert "Traceback" not in done.stderr


def test_database_with_other_accounts_of_the_same_names_is_refused(snapshot_file, postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "INSERT INTO users (username, email, password, display_name, avatar) VALUES ('user3', 'x', '', '', '')"
        )
    done = chatsys("import", snapshot_file, "--to", postgres_url)
    assert done.returncode == 1
    assert "something else in the place of a record" in done.stderr
    assert "Import into an empty database" in done.stderr
    assert counts(postgres_url)["users"] == 1


def test_damaged_file_is_refused_before_the_database_is_touched(snapshot_file, postgres_url):
    data = bytearray(snapshot_file.read_bytes())
    data[len(data) // 2] ^= 1
    snapshot_file.write_bytes(data)
    for arguments in (("import", snapshot_file), ("migrate", "--from", snapshot_file)):
        done = chatsys(*arguments, "--to", postgres_url)
        assert done.returncode == 1
        assert "damaged" in done.stderr
        assert "Traceback" not in done.stderr
    assert counts(postgres_url)["users"] == 0


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("export", "--from", "memory://", "file"), "kill -USR1"),
        (("import", "file", "--to", "memory://"), "chatsys serve --snapshot FILE"),
        (("migrate", "--from", "missing", "--to", "postgresql://127.0.0.1:1/x"), "missing can't be read"),
        (("import", "missing", "--to", "mysql://x"), "must be a URL that begins with postgresql://"),
    ],
)
def test_impossible_transfer_is_refused_with_a_remedy(arguments, says):
    done = chatsys(*arguments)
    assert done.returncode == 1
    assert says in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The snapshot of a store with enough messages for an interruption to happen between them."""
    path = tmp_path_factory.mktemp("large") / "chat.snapshot"

    async def write() -> None:
        async with open_store("memory://") as store:
            await fill(store, LARGE)
            await snapshot.write(store, path, NOW)

    asyncio.run(write())
    return path


@pytest.mark.parametrize("seed", range(4))
def test_killed_import_loses_and_repeats_nothing_when_run_again(large_file, postgres_url, seed):
    killed = subprocess.Popen(
        command("import", large_file, "--to", postgres_url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    while counts(postgres_url)["users"] == 0 and killed.poll() is None:
        time.sleep(0.005)
    time.sleep(random.Random(seed).uniform(0, 1.0))
    killed.kill()
    killed.wait()
    assert counts(postgres_url)["messages"] <= LARGE
    done = chatsys("migrate", "--from", large_file, "--to", postgres_url, "--verify")
    assert done.returncode == 0, done.stderr
    expected = snapshot.check(large_file).counts
    assert counts(postgres_url) == {
        "users": expected.users,
        "rooms": expected.rooms,
        "messages": LARGE,
        "message_deliveries": expected.deliveries,
        "message_reads": expected.reads,
    }
