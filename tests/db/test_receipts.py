"""Receipts that people write and delete with their own SQL: deliveries stay consistent with reads."""

from __future__ import annotations

import psycopg
import pytest

from chatsys.database.invariants import broken_invariants
from chatsys.database.opening import open_prepared_store
from chatsys.store.options import StoreOptions
from tests.db.conftest import rows, run

PEOPLE = """
    INSERT INTO users (username, email, password, display_name, avatar)
    SELECT name, name || '@example.org', 'x', name, '' FROM unnest(ARRAY['ann', 'bob', 'cy']) name;
    INSERT INTO messages (user_id, room_id, message_text, seq)
    SELECT u.user_id, r.room_id, 'message ' || n, n
    FROM users u, rooms r, generate_series(1, 3) n WHERE u.username = 'ann' AND r.room_name = 'general';
    UPDATE rooms SET last_seq = 3 WHERE room_name = 'general';
"""
READ_BY_BOB = """
    INSERT INTO message_reads (message_id, user_id, read_at)
    SELECT m.message_id, u.user_id, '2031-01-01Z' FROM messages m, users u WHERE u.username = 'bob'
"""
READ_BY_GUEST = "INSERT INTO message_reads (message_id, guest_id) SELECT message_id, 'gus' FROM messages"
DELIVERED_TO_ALL = """
    INSERT INTO message_deliveries (message_id, user_id)
    SELECT m.message_id, u.user_id FROM messages m JOIN users u ON u.user_id <> m.user_id;
    INSERT INTO message_deliveries (message_id, guest_id) SELECT message_id, 'gus' FROM messages;
"""
MARKS = """
    SELECT m.seq, coalesce(u.username, d.guest_id), d.is_read FROM message_deliveries d
    JOIN messages m USING (message_id)
    LEFT JOIN users u ON u.user_id = d.user_id ORDER BY 1, 2
"""


@pytest.fixture
def chat(fresh: str) -> str:
    """Three messages of ann's that are not delivered yet."""
    run(fresh, PEOPLE)
    return fresh


def unread(url: str) -> int:
    """Return how many messages of the room are unread, according to its counters."""
    return rows(url, "SELECT last_seq - removed_count - read_count FROM rooms WHERE room_name = 'general'")[0][0]


def check(url: str) -> None:
    """Check that no invariant is broken and that the counters match the rows."""
    with psycopg.connect(url) as connection:
        assert broken_invariants(connection) == []
    counted = "SELECT count(*) FROM messages m WHERE m.message_id NOT IN (SELECT message_id FROM message_reads)"
    assert rows(url, counted) == [(unread(url),)]


def test_read_without_a_delivery_creates_the_delivery(chat: str) -> None:
    run(chat, READ_BY_BOB)
    run(chat, READ_BY_GUEST)
    assert rows(chat, MARKS) == [(seq, who, True) for seq in (1, 2, 3) for who in ("bob", "gus")]
    at = "SELECT DISTINCT delivered_at = '2031-01-01Z' FROM message_deliveries WHERE user_id IS NOT NULL"
    assert rows(chat, at) == [(True,)]
    check(chat)


def test_read_marks_an_existing_delivery(chat: str) -> None:
    run(chat, DELIVERED_TO_ALL)
    run(chat, READ_BY_BOB)
    run(chat, READ_BY_GUEST)
    assert [row[1:] for row in rows(chat, MARKS)] == [("bob", True), ("cy", False), ("gus", True)] * 3
    check(chat)


def test_deleted_read_unmarks_the_delivery_and_keeps_it(chat: str) -> None:
    run(chat, DELIVERED_TO_ALL + READ_BY_BOB)
    run(chat, READ_BY_GUEST)
    run(chat, "DELETE FROM message_reads WHERE message_id IN (SELECT message_id FROM messages WHERE seq < 3)")
    assert [row for row in rows(chat, MARKS) if row[2]] == [(3, "bob", True), (3, "gus", True)]
    assert unread(chat) == 2
    check(chat)


def test_deleted_delivery_also_deletes_the_read(chat: str) -> None:
    run(chat, READ_BY_BOB)
    run(chat, READ_BY_GUEST)
    run(chat, "DELETE FROM message_deliveries WHERE user_id IS NOT NULL")
    assert rows(chat, "SELECT DISTINCT guest_id FROM message_reads") == [("gus",)]
    run(chat, "DELETE FROM message_deliveries")
    assert rows(chat, "SELECT count(*) FROM message_reads") == [(0,)]
    assert unread(chat) == 3
    check(chat)


@pytest.mark.parametrize(
    "deleted",
    ["messages WHERE seq = 2", "users WHERE username = 'bob'", "users WHERE username = 'ann'", "messages", "users"],
)
def test_deleting_a_message_or_an_account_keeps_the_rest_consistent(chat: str, deleted: str) -> None:
    run(chat, DELIVERED_TO_ALL + READ_BY_BOB)
    run(chat, READ_BY_GUEST)
    run(chat, f"DELETE FROM {deleted}")
    check(chat)


async def test_page_shows_receipts_that_were_written_by_sql(chat: str) -> None:
    run(chat, DELIVERED_TO_ALL + READ_BY_BOB)
    ids = dict(rows(chat, "SELECT username, user_id::text FROM users"))
    async with open_prepared_store(chat, StoreOptions(pool_size=5)) as store:
        for message in await store.history("general", 3):
            assert set(message.delivered_to) == {ids["bob"], ids["cy"], "gus"}
            assert message.read_by == (ids["bob"],)
