"""The documentation's promise about costs: a query reads its time window through an index, at any table size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from chatsys.analytics import Monitor, sql

LARGE = {"users", "messages", "message_reads", "message_deliveries"}
WINDOWED: dict[str, dict[str, int]] = {
    "chat_totals": {},
    "active_users": {},
    "room_stats": {},
    "sessions": {},
    "messages_per_minute": {},
    "busiest_rooms": {},
    "read_lag": {"messages": 50},
    "delivery_lag": {"messages": 50},
    "retention_candidates": {"days": 59},
}
FILLED = """
INSERT INTO users (username, email, password, display_name, avatar)
SELECT 'user' || n, 'user' || n || '@example.org', 'x', 'User ' || n, '' FROM generate_series(1, 2000) n;
INSERT INTO rooms (room_name) SELECT 'room' || n FROM generate_series(1, 50) n;
WITH sender AS (SELECT user_id, row_number() OVER () AS n FROM users),
     room AS (SELECT room_id, row_number() OVER () AS n FROM rooms WHERE starts_with(room_name, 'room'))
INSERT INTO messages (user_id, room_id, message_text, seq, created_at)
SELECT sender.user_id, room.room_id, 'message ' || i, i / 50 + 1, now() - interval '60 days' * (1 - i / 30000.0)
FROM generate_series(0, 29999) i JOIN sender ON sender.n = i % 2000 + 1 JOIN room ON room.n = i % 50 + 1;
INSERT INTO message_reads (message_id, guest_id) SELECT message_id, 'guest_1' FROM messages;
"""


@pytest.fixture
def filled(url: str) -> Iterator[Monitor]:
    """A monitor of 30,000 messages, evenly distributed over the last 60 days."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILLED)
        connection.execute("VACUUM (ANALYZE)")
    with Monitor(url) as monitor:
        yield monitor


def plan(monitor: Monitor, name: str, values: dict[str, int]) -> list[dict[str, Any]]:
    """Return every node of a query's plan as PostgreSQL executed it."""
    with monitor.engine.connect() as connection:
        version = connection.execute(text("SELECT current_setting('server_version_num')::int / 10000")).scalar_one()
        query = text("EXPLAIN (ANALYZE, FORMAT JSON) " + sql.statement(name, version))
        (explained,) = connection.execute(query, sql.defaults(name) | values).scalar_one()
    return list(_nodes(explained["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def test_no_query_scans_a_large_table(filled: Monitor) -> None:
    for name, values in WINDOWED.items():
        scanned = {node["Relation Name"] for node in plan(filled, name, values) if node["Node Type"] == "Seq Scan"}
        assert not scanned & LARGE, name


def test_growth_reads_each_message_once_and_only_from_the_index(filled: Monitor) -> None:
    reads = [node for node in plan(filled, "growth", {}) if node.get("Relation Name") == "messages"]
    assert {node["Node Type"] for node in reads} == {"Index Only Scan"}
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in reads) == 30_000
