"""Databases for the operator's commands, each on PostgreSQL 18 (embedded) and on the system's (Debian: 15)."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest

from chatsys.store.postgres.operations.fingerprint import TableFingerprint, fingerprint

ORIGINAL = Path(__file__).with_name("original.sql")


class Server(Protocol):
    """What the shared fixtures give: a server on which databases can be made."""

    url: str

    def database(self, template: str = ...) -> AbstractContextManager[str]:
        """The URL of a new database."""


@pytest.fixture(params=["postgres_server", "postgres15_server"], ids=["postgresql18", "system"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each test that asks for this runs once on either server."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def empty(server: Server) -> Iterator[str]:
    """A database with nothing in it."""
    with server.database("template0") as url:
        yield url


@pytest.fixture
def fresh(server: Server) -> Iterator[str]:
    """A database with the schema and the default rooms."""
    with server.database() as url:
        yield url


@pytest.fixture
def original(server: Server) -> Iterator[Callable[[int], str]]:
    """Makes the original backend's database with that many messages."""
    with server.database("template0") as url:

        def fill(messages: int) -> str:
            with psycopg.connect(url) as connection:
                connection.execute(ORIGINAL.read_text(encoding="utf-8").replace(":messages", str(messages)))
            return url

        yield fill


def content(url: str) -> tuple[TableFingerprint, ...]:
    """Every table's count and checksum."""
    with psycopg.connect(url) as connection:
        return fingerprint(connection)


def rows(url: str, query: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query, parameters or None).fetchall()


def run(url: str, statements: str) -> None:
    """Run statements in one transaction."""
    with psycopg.connect(url) as connection:
        connection.execute(statements)


def fill_chat(url: str, messages: int, *, days: float = 60) -> None:
    """Ten users who wrote ``messages`` messages evenly over the last ``days`` days, each read by two of them."""
    run(
        url,
        f"""
        INSERT INTO users (username, email, password, display_name, avatar)
        SELECT 'u' || n, 'u' || n || '@example.org', 'x', 'U' || n, '' FROM generate_series(1, 10) n;
        INSERT INTO messages (user_id, room_id, message_text, created_at, seq)
        SELECT u.user_id, r.room_id, 'message ' || i,
               now() - (interval '{days} days') * (({messages} - i) / {messages}.0), i
        FROM generate_series(1, {messages}) i JOIN users u ON u.username = 'u' || (i % 10 + 1), rooms r
        WHERE r.room_name = 'general';
        UPDATE rooms SET last_seq = {messages} WHERE room_name = 'general';
        INSERT INTO message_deliveries (message_id, user_id) SELECT m.message_id, u.user_id
        FROM messages m JOIN users u ON u.username IN ('u1', 'u2') AND u.user_id <> m.user_id;
        INSERT INTO message_reads (message_id, user_id) SELECT message_id, user_id FROM message_deliveries;
        """,
    )


def chatsys(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a chatsys command to its end, with the variables of the test's own environment that chatsys reads removed."""
    clean = {
        name: value for name, value in os.environ.items() if name != "DATABASE_URL" and not name.startswith("CHATSYS_")
    }
    return subprocess.run(
        [sys.executable, "-m", "chatsys", *arguments],
        input=stdin,
        env={**clean, "NO_COLOR": "1", "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def started(*arguments: str) -> subprocess.Popen[bytes]:
    """A chatsys command as its own process."""
    return subprocess.Popen(
        [sys.executable, "-m", "chatsys", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def kill_at_random_moments(
    command: Callable[[], subprocess.Popen[bytes]], url: str, times: int, seed: int
) -> Iterator[bool]:
    """Start ``command`` again and again and end it with SIGKILL; true where it was killed before it had finished.

    The first start runs to its end, to learn how long it takes; the moments are spread over that time.
    """
    begun = time.monotonic()
    process = command()
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()
    whole = time.monotonic() - begun
    yield False
    moments = random.Random(seed)
    for place in range(times):
        process = command()
        time.sleep(whole * (place + moments.random()) / times)
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert process.returncode in {0, -signal.SIGKILL}, said.decode()
        wait_until_alone(url)
        yield process.returncode != 0


def wait_until_alone(url: str) -> None:
    """Until the server has noticed that the client is gone and has rolled back."""
    for _ in itertools.repeat(None, 6_000):
        others = rows(
            url,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'",
        )
        if not others:
            return
        time.sleep(0.01)
    raise AssertionError("a session of the killed process is still there")


def as_role(url: str, name: str) -> str:
    """``url`` with another role's name."""
    return url.replace("//chatsys@", f"//{name}@")


@contextmanager
def role(server: Server, attributes: str = "LOGIN") -> Iterator[str]:
    """The name of a role that owns nothing."""
    name = f"role_{uuid.uuid4().hex}"
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} {attributes}")
        try:
            yield name
        finally:
            admin.execute(f"DROP ROLE {name}")
