"""Delete what is old, in batches: no lock is held for longer than one of them, and the server may go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
from psycopg.rows import tuple_row

BATCH = 5_000

# A session counts as dead only when its server is: one that is quiet for days is still somebody's.
_IS_DEAD = """s.last_activity < now() - %(age)s
  AND NOT EXISTS (SELECT FROM chat_servers c WHERE c.server_id = s.server_id AND c.lease_until > now())
"""

_COUNT_SESSIONS = f"SELECT count(*), coalesce(sum(pg_column_size(s.*)), 0) FROM active_sessions s WHERE {_IS_DEAD}"  # noqa: S608

_DELETE_SESSIONS = f"""
WITH dead AS (
    SELECT s.session_id FROM active_sessions s WHERE {_IS_DEAD}
    ORDER BY s.session_id LIMIT %(batch)s FOR UPDATE OF s SKIP LOCKED
), gone AS (
    DELETE FROM active_sessions s USING dead WHERE s.session_id = dead.session_id
    RETURNING s.session_id, s.user_id, pg_column_size(s.*) AS size
), left_alone AS (
    UPDATE users u SET status = 'offline', last_seen = date_trunc('milliseconds', now())
    WHERE u.user_id IN (SELECT user_id FROM gone) AND u.status <> 'offline'
      AND NOT EXISTS (SELECT FROM active_sessions s WHERE s.user_id = u.user_id
                      AND s.session_id NOT IN (SELECT session_id FROM gone))
)
SELECT count(*), coalesce(sum(size), 0) FROM gone
"""  # noqa: S608

_COUNT_MESSAGES = """
WITH old AS (SELECT message_id, pg_column_size(m.*) AS size FROM messages m WHERE created_at < %(before)s)
SELECT count(*), coalesce(sum(size), 0)
           + (SELECT coalesce(sum(pg_column_size(r.*)), 0) FROM message_reads r JOIN old USING (message_id))
           + (SELECT coalesce(sum(pg_column_size(d.*)), 0) FROM message_deliveries d JOIN old USING (message_id))
FROM old
"""

# SKIP LOCKED: never wait for a transaction of the server's, so never take part in a deadlock. Receipts are deleted as
# sets; the foreign keys' cascade, row by row, then finds none. What refers to messages besides is left to the cascade.
_DELETE_MESSAGES = """
WITH old AS (
    SELECT message_id FROM messages WHERE created_at < %(before)s
    ORDER BY created_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
), reads AS (
    DELETE FROM message_reads r USING old WHERE r.message_id = old.message_id RETURNING pg_column_size(r.*) AS size
), deliveries AS (
    DELETE FROM message_deliveries d USING old WHERE d.message_id = old.message_id RETURNING pg_column_size(d.*) AS size
), gone AS (
    DELETE FROM messages m USING old WHERE m.message_id = old.message_id RETURNING pg_column_size(m.*) AS size
)
SELECT count(*), coalesce(sum(size), 0) + (SELECT coalesce(sum(size), 0) FROM reads)
                                        + (SELECT coalesce(sum(size), 0) FROM deliveries)
FROM gone
"""


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """What a clean-up deleted (or would): sessions, messages, and bytes of rows with the messages' receipts.

    ``longest_batch`` is in seconds: the longest time that a lock was held.
    """

    sessions: int
    messages: int
    size: int
    seconds: float
    longest_batch: float


def cleanup(
    conninfo: str,
    *,
    sessions_older_than: timedelta | None,
    messages_older_than: timedelta | None,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Cleaned:
    """Delete dead sessions and old messages with their receipts; None leaves that kind alone. Safe beside the server.

    Each batch is a transaction: killed half way, what is deleted is deleted, and the next run goes on. Afterwards the
    tables are vacuumed, so that new rows take the place of the deleted ones. ``progress`` gets the rows done so far.
    """
    started = time.monotonic()
    with psycopg.connect(conninfo, autocommit=True, row_factory=tuple_row) as connection:
        row = connection.execute("SELECT now()").fetchone()
        assert row is not None
        work = []
        if sessions_older_than is not None:
            count, delete = _COUNT_SESSIONS, _DELETE_SESSIONS
            work.append(("sessions", count, delete, {"age": sessions_older_than}))
        if messages_older_than is not None:
            parameters = {"before": row[0] - messages_older_than}
            work.append(("messages", _COUNT_MESSAGES, _DELETE_MESSAGES, parameters))
        done = {"sessions": 0, "messages": 0, "size": 0}
        longest = 0.0
        for kind, count, delete, parameters in work:
            if dry_run:
                done[kind], size = _once(connection, count, parameters)
                done["size"] += size
                continue
            rows = -1
            while rows:
                begun = time.monotonic()
                rows, size = _once(connection, delete, {**parameters, "batch": BATCH})
                longest = max(longest, time.monotonic() - begun)
                done[kind] += rows
                done["size"] += size
                progress(done["sessions"] + done["messages"])
        if not dry_run and done["messages"]:
            connection.execute("VACUUM (ANALYZE) messages, message_reads, message_deliveries")
    return Cleaned(**done, seconds=time.monotonic() - started, longest_batch=longest)


def _once(connection: psycopg.Connection[Any], statement: str, parameters: dict[str, Any]) -> tuple[int, int]:
    row = connection.execute(statement, parameters).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)
