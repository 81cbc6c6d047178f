"""Databases to monitor: empty, with a small chat, under load, and seen by a role that may read almost nothing."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from chatsys.analytics import Monitor
from tests.conftest import ScratchServer

CHAT = """
CREATE EXTENSION pg_stat_statements;
INSERT INTO users (user_id, username, email, password, display_name, avatar, status, created_at)
SELECT md5(n::text)::uuid, 'user' || n, 'user' || n || '@example.org', 'x', 'User ' || n, '', 'offline',
       now() - make_interval(days => n)
FROM generate_series(1, 20) n;
UPDATE users SET status = 'online', last_seen = now() WHERE username IN ('user1', 'user2');
INSERT INTO chat_servers VALUES ('00000000-0000-0000-0000-000000000001', now(), now() + interval '1 hour'),
                                ('00000000-0000-0000-0000-000000000002', now(), now() - interval '1 hour');
INSERT INTO active_sessions (user_id, guest_id, guest_name, socket_id, room_id, server_id)
SELECT CASE WHEN n < 3 THEN md5('1')::uuid END, CASE WHEN n = 3 THEN 'guest_1' END, CASE WHEN n = 3 THEN 'Gast' END,
       'socket' || n, (SELECT room_id FROM rooms WHERE room_name = 'general'),
       ('00000000-0000-0000-0000-00000000000' || CASE WHEN n = 2 THEN 2 ELSE 1 END)::uuid
FROM generate_series(1, 3) n;
INSERT INTO messages (message_id, user_id, room_id, message_text, created_at, seq)
SELECT md5('m' || n)::uuid, md5((n % 5 + 1)::text)::uuid,
       (SELECT room_id FROM rooms WHERE room_name = CASE WHEN n <= 90 THEN 'general' ELSE 'tech' END),
       'message ' || n,
       now() - CASE WHEN n <= 30 THEN interval '40 days' ELSE interval '10 minutes' END + n * interval '1 ms',
       CASE WHEN n <= 90 THEN n ELSE n - 90 END
FROM generate_series(1, 100) n;
UPDATE rooms SET last_seq = CASE room_name WHEN 'general' THEN 90 WHEN 'tech' THEN 10 ELSE 0 END;
INSERT INTO message_reads (message_id, user_id, read_at)
SELECT m.message_id, u.user_id, m.created_at + interval '250 ms'
FROM messages m CROSS JOIN users u WHERE u.username IN ('user2', 'user3') AND m.seq % 2 = 0;
INSERT INTO message_deliveries (message_id, guest_id, delivered_at)
SELECT message_id, 'guest_1', created_at + interval '20 ms' FROM messages;
ANALYZE;
"""


@pytest.fixture(
    params=[
        pytest.param("postgres_server", marks=pytest.mark.database, id="18"),
        pytest.param("postgres15_server", marks=pytest.mark.database, id="15"),
    ]
)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with the schema and the three default rooms, on each of the two servers."""
    server: ScratchServer = request.getfixturevalue(request.param)
    with server.database() as database:
        yield database


@pytest.fixture
def monitor(url: str) -> Iterator[Monitor]:
    """A monitor of an empty chat."""
    with Monitor(url) as monitor:
        yield monitor


@pytest.fixture
def chat(url: str) -> Iterator[Monitor]:
    """A monitor of a small chat: 20 users, 100 messages, three sessions, one dead server."""
    with psycopg.connect(url) as connection:
        connection.execute(CHAT)
    with Monitor(url) as monitor:
        yield monitor


def as_role(url: str, role: str) -> str:
    """Return ``url`` with another role and no password."""
    parts = urlsplit(url)
    _, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{role}@{host}"))


@pytest.fixture
def restricted_url(url: str) -> Iterator[str]:
    """The URL for a role that may only connect."""
    role = f"newcomer_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        yield as_role(url, role)
        admin.execute(f"DROP OWNED BY {role}")
        admin.execute(f"DROP ROLE {role}")


Writers = Callable[..., AbstractContextManager[Callable[[], int]]]


@pytest.fixture
def writers() -> Writers:
    """``with writers(url, count=2) as stored`` runs threads that store messages until the block ends."""
    return _writers


@contextmanager
def _writers(url: str, count: int = 2) -> Iterator[Callable[[], int]]:
    done, ready = threading.Event(), threading.Barrier(count + 1, timeout=60)
    stored = [0] * count

    def write(number: int) -> None:
        with psycopg.connect(url, autocommit=True, application_name=f"writer {number}") as connection:
            ready.wait()  # so a slow one is connected before the others store anything
            while not done.is_set():
                connection.execute(
                    "WITH room AS (UPDATE rooms SET last_seq = last_seq + 1 WHERE room_name = 'random' RETURNING *) "
                    "INSERT INTO messages (guest_id, guest_name, room_id, message_text, seq) "
                    "SELECT 'guest_9', 'Gast', room_id, 'hello', last_seq FROM room"
                )
                stored[number] += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
        yield lambda: sum(stored)
    finally:
        done.set()
        for thread in threads:
            thread.join()
