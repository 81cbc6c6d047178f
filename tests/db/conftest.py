"""Databases for the operator's commands, each on PostgreSQL 18 (embedded) and on the system's (Debian: 15)."""

from __future__ import annotations

import io
import itertools
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple, Protocol
from unittest import mock

import psycopg
import pytest

from chatsys.cli import main
from chatsys.database.fingerprint import TableFingerprint, fingerprint
from chatsys.resources import database_dir

KILLS = int(os.environ.get("KILLS", "2"))
"""How often each killed command is killed; a greater number makes the search longer."""

ORIGINAL = database_dir() / "original.sql"


class Server(Protocol):
    """The type of the shared fixtures: a server on which databases can be created."""

    url: str

    def database(self, template: str = ...) -> AbstractContextManager[str]:
        """Create a database, a copy of the named one; return its URL."""


@pytest.fixture(
    params=[
        pytest.param("postgres_server", marks=pytest.mark.database),
        pytest.param("postgres15_server", marks=pytest.mark.database),
    ],
    ids=["postgresql18", "system"],
)
def server(request: pytest.FixtureRequest) -> Server:
    """Each test that uses this fixture runs once on either server."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def empty(server: Server) -> Iterator[str]:
    """The URL of an empty database."""
    with server.database("template0") as url:
        yield url


@pytest.fixture
def fresh(server: Server) -> Iterator[str]:
    """The URL of a database with the schema and the default rooms."""
    with server.database() as url:
        yield url


@pytest.fixture
def original(server: Server) -> Iterator[Callable[[int], str]]:
    """Create the original backend's database with that many messages."""
    with server.database("template0") as url:

        def fill(messages: int) -> str:
            run(url, ORIGINAL.read_text(encoding="utf-8").replace(":messages", str(messages)))
            return url

        yield fill


def content(url: str) -> tuple[TableFingerprint, ...]:
    """Return every table's row count and checksum."""
    with psycopg.connect(url) as connection:
        return fingerprint(connection)


def rows(url: str, query: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query, parameters or None).fetchall()


def run(url: str, statements: str) -> None:
    """Run statements in one transaction."""
    with psycopg.connect(url) as connection:
        connection.execute(statements)


def fill_chat(url: str, messages: int, *, days: float = 60) -> None:
    """Create ten users who wrote ``messages`` messages evenly over the last ``days`` days, each read by two of them."""
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


class Outcome(NamedTuple):
    """The result of a command: its exit status and its output."""

    returncode: int
    stdout: str
    stderr: str


def chatsys(*arguments: str, stdin: str = "", **environment: str) -> Outcome:
    """Run a chatsys command in this process. Of all settings of chatsys, its environment has only ``environment``."""
    out, err = io.StringIO(), io.StringIO()
    clean = {
        name: text for name, text in os.environ.items() if not name.startswith(("DATABASE_URL", "CHATSYS_", "DB_"))
    }
    with (
        mock.patch.dict(os.environ, {**clean, "NO_COLOR": "1", "COLUMNS": "200", **environment}, clear=True),
        mock.patch.object(sys, "argv", ["chatsys", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return Outcome(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def started(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a chatsys command as a separate process."""
    return subprocess.Popen(
        [sys.executable, "-m", "chatsys", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def seconds_of(*arguments: str) -> float:
    """Run a command to its end; return how long it took, so that moments can be spread over it."""
    begun = time.monotonic()
    process = started(*arguments)
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()
    return time.monotonic() - begun


def moments(whole: float, times: int, seed: int) -> list[float]:
    """Return one random moment in each of ``times`` equal parts of ``whole`` seconds."""
    chance = random.Random(seed)
    return [whole * (part + chance.random()) / times for part in range(times)]


def killed(process: subprocess.Popen[bytes], after: float, url: str) -> bool:
    """SIGKILL the process after ``after`` seconds and wait until the server has noticed. False if it had finished."""
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode in {0, -signal.SIGKILL}, said.decode()
    wait_until_alone(url)
    return process.returncode != 0


def wait_until_alone(url: str) -> None:
    """Wait until the server has noticed that the client is gone and has rolled back."""
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
    """Return ``url`` with another role's name."""
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
