"""Delete old rows in batches. No lock is held for longer than one batch, so the server can keep running."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import psycopg

from chatsys.database.connecting import connected, only_row
from chatsys.database.progress import Report, silent

BATCH = 1_000
_LOCK = 0x636C65616E  # "clean": the key of the advisory lock that makes concurrent clean-ups alternate

# A session is dead only if its server is dead. A user who is idle for days still has a session.
_DEAD_SESSIONS = """
SELECT s.session_id, pg_column_size(s.*) AS size FROM active_sessions s
WHERE s.last_activity < now() - %(age)s
  AND NOT EXISTS (SELECT FROM chat_servers c WHERE c.server_id = s.server_id AND c.lease_until > now())
ORDER BY s.session_id
"""

_COUNT_SESSIONS = f"SELECT count(*), coalesce(sum(size), 0) FROM ({_DEAD_SESSIONS}) dead"  # noqa: S608

_END_SESSIONS = f"""
WITH dead AS MATERIALIZED ({_DEAD_SESSIONS} LIMIT %(batch)s),
ended AS (
    SELECT count(*) FROM end_sessions(ARRAY(SELECT session_id FROM dead),
                                      ARRAY(SELECT date_trunc('milliseconds', now()) FROM dead))
)
SELECT (SELECT * FROM ended), (SELECT coalesce(sum(size), 0) FROM dead)
"""  # noqa: S608

_COUNT_MESSAGES = """
WITH old AS (SELECT message_id, pg_column_size(m.*) AS size FROM messages m WHERE created_at < %(before)s)
SELECT count(*), coalesce(sum(size), 0)
           + (SELECT coalesce(sum(pg_column_size(r.*)), 0) FROM message_reads r JOIN old USING (message_id))
           + (SELECT coalesce(sum(pg_column_size(d.*)), 0) FROM message_deliveries d JOIN old USING (message_id))
FROM old
"""

# The rooms of the next batch, and the time of its newest message.
_NEXT_BATCH = """
SELECT array_agg(DISTINCT room_id), max(created_at) FROM (
    SELECT room_id, created_at FROM messages WHERE created_at < %(before)s AND created_at >= %(since)s
    ORDER BY created_at LIMIT %(batch)s
) old
"""

# Lock the rooms first and in order, as the server does before it writes messages or receipts, to avoid deadlocks.
_LOCK_ROOMS = "SELECT FROM rooms WHERE room_id = ANY (%(rooms)s) ORDER BY room_id FOR NO KEY UPDATE"

# The foreign keys' cascade deletes the receipts. Deleting them as sets first was measured, and is slower: the cascade
# still looks for them once for each message and table, which is two thirds of the work. The setting disables the
# triggers that keep marks and counts of these messages.
_BULK = "SET LOCAL chatsys.bulk = on"
_DELETE_MESSAGES = """
DELETE FROM messages WHERE created_at >= %(since)s AND created_at <= %(until)s AND room_id = ANY (%(rooms)s)
"""


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """What a clean-up deleted or would delete.

    ``size`` is the bytes of the rows: sessions, and messages and receipts that were old when it began.
    ``longest_batch`` is the longest time that a lock was held, in seconds.
    """

    sessions: int = 0
    messages: int = 0
    size: int = 0
    seconds: float = 0.0
    longest_batch: float = 0.0


class _Batches:
    """Runs batches in one transaction each, and adds up what they deleted."""

    def __init__(self, connection: psycopg.Connection[Any], report: Report) -> None:
        self.connection = connection
        self.report = report
        self.rows = 0
        self.expected = 0
        self.size = 0
        self.longest = 0.0

    def until_empty(self, batch: Callable[[], tuple[int, int]]) -> int:
        """Repeat ``batch`` until it deletes nothing, and return the number of rows deleted."""
        deleted = 0
        while True:
            begin = time.monotonic()
            with self.connection.transaction():
                self.connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                count, size = batch()
            duration = time.monotonic() - begin
            self.longest = max(self.longest, duration)
            if not count:
                return deleted
            time.sleep(duration)  # leaves the server half of the time
            deleted += count
            self.rows += count
            self.size += size
            self.report(f"{self.rows:,} rows deleted", self.rows, self.expected)


def cleanup(
    url: str, *, sessions_older_than: timedelta | None, messages_older_than: timedelta | None, report: Report = silent
) -> Cleaned:
    """Delete dead sessions and old messages with their receipts, while servers may run. None keeps all of a kind.

    Each batch is one transaction. If the clean-up is killed, deleted rows stay deleted, and the next run continues.
    Finally, the tables are vacuumed, so that new rows reuse the freed space. ``report`` gets the rows deleted so far.
    """
    started = time.monotonic()
    sessions = messages = 0
    with connected(url, autocommit=True) as connection:
        batches = _Batches(connection, report)
        if sessions_older_than is not None:
            parameters = {"age": sessions_older_than, "batch": BATCH}
            batches.expected = _counted(connection, _COUNT_SESSIONS, parameters)[0]
            sessions = batches.until_empty(lambda: _counted(connection, _END_SESSIONS, parameters))
        if messages_older_than is not None:
            old = {"before": _cutoff(connection, messages_older_than)}
            count, size = _counted(connection, _COUNT_MESSAGES, old)
            batches.expected += count
            batches.size += size
            messages = batches.until_empty(_OldMessages(connection, old["before"]))
        if messages:
            connection.execute("VACUUM (ANALYZE) messages, message_reads, message_deliveries")
    return Cleaned(
        sessions=sessions,
        messages=messages,
        size=batches.size,
        seconds=time.monotonic() - started,
        longest_batch=batches.longest,
    )


def preview(url: str, *, sessions_older_than: timedelta | None, messages_older_than: timedelta | None) -> Cleaned:
    """What :func:`cleanup` would delete. Changes nothing."""
    started = time.monotonic()
    sessions = messages = size = 0
    with connected(url) as connection:
        if sessions_older_than is not None:
            sessions, size = _counted(connection, _COUNT_SESSIONS, {"age": sessions_older_than})
        if messages_older_than is not None:
            parameters = {"before": _cutoff(connection, messages_older_than)}
            messages, more = _counted(connection, _COUNT_MESSAGES, parameters)
            size += more
    return Cleaned(sessions=sessions, messages=messages, size=size, seconds=time.monotonic() - started)


class _OldMessages:
    """Deletes one batch of old messages a call, oldest first.

    It remembers where the last batch ended. The index still holds the entries of deleted rows, and reading all of them
    again in each batch would take time quadratic in their number.
    """

    def __init__(self, connection: psycopg.Connection[Any], before: datetime) -> None:
        self.connection = connection
        self.parameters: dict[str, Any] = {"before": before, "since": "-infinity", "batch": BATCH}

    def __call__(self) -> tuple[int, int]:
        """Delete a batch, and return the number of its messages and 0 bytes: their size was counted before."""
        rooms, until = only_row(self.connection, _NEXT_BATCH, **self.parameters)
        if rooms is None:
            return 0, 0
        batch = {"rooms": rooms, "since": self.parameters["since"], "until": until}
        self.connection.execute(_LOCK_ROOMS, batch)
        self.connection.execute(_BULK)
        deleted = self.connection.execute(_DELETE_MESSAGES, batch).rowcount
        self.parameters["since"] = until
        return deleted, 0


def _cutoff(connection: psycopg.Connection[Any], age: timedelta) -> Any:
    return only_row(connection, "SELECT now() - %(age)s", age=age)[0]


def _counted(connection: psycopg.Connection[Any], statement: str, parameters: dict[str, Any]) -> tuple[int, int]:
    count, size = only_row(connection, statement, **parameters)
    return int(count), int(size)
