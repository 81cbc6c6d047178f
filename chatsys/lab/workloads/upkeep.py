"""Commands that an operator waits for, and the bare statements that move the same rows: import, adoption, clean-up.

Each function creates its own databases on the server and drops them. In each round it times the command and the bare
statement.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import psycopg

from chatsys.database import snapshot
from chatsys.database.backup import scratch_database
from chatsys.database.cleanup import cleanup
from chatsys.database.opening import open_prepared_store
from chatsys.database.setup import initialise
from chatsys.errors import OperatorError
from chatsys.lab.datasets.filling import write_here
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.resources import database_dir

_SNAPSHOT_USERS = 1_000
_IMPORTED = ("users", "rooms", "messages", "message_deliveries", "message_reads")
# The rows of message_reads include their deliveries.
_FILL = """
INSERT INTO users (username, email, password, display_name, avatar) VALUES ('ann', 'ann@example.org', '', 'Ann', '');
INSERT INTO messages (guest_id, guest_name, room_id, message_text, created_at, seq)
SELECT 'guest', 'guest', room_id, 'a message of a usual length, number ' || i,
       now() - i * interval '60 days' / {rows}, {rows} - i
FROM rooms, generate_series(0, {rows} - 1) i WHERE room_name = 'general';
UPDATE rooms SET last_seq = {rows} WHERE room_name = 'general';
INSERT INTO message_reads (message_id, user_id) SELECT m.message_id, u.user_id FROM messages m, users u;
"""


class UpkeepRound(msgspec.Struct, frozen=True, kw_only=True):
    """One round: the seconds of the command and of the bare statement, for the same number of rows."""

    seconds: float
    baseline_seconds: float
    rows: int


def adoption(server_url: str, *, messages: int, rounds: int) -> Iterator[UpkeepRound]:
    """Adopt the database of the original backend. The baseline is a COPY of its messages into a bare table.

    Raises OperatorError if a message is missing afterwards.
    """
    text = (database_dir() / "original.sql").read_text(encoding="utf-8").replace(":messages", str(messages))
    for _ in range(rounds):
        with scratch_database(server_url) as url:
            _run(url, text)
            before = _count(url)
            seconds = _seconds(initialise, url)
            _expect(_count(url), before)
            yield UpkeepRound(seconds=seconds, baseline_seconds=_copy_seconds(url), rows=before)


def importing(server_url: str, *, messages: int, rounds: int) -> Iterator[UpkeepRound]:
    """Import a snapshot into an empty database. The baseline is a COPY of the same rows into the same empty tables.

    The snapshot is from a memory store with ``messages`` messages, each with a receipt. Raises OperatorError if a
    message is missing afterwards.
    """
    with TemporaryDirectory(prefix="chatsys-lab-") as folder:
        file = Path(folder, "snapshot")
        asyncio.run(write_here(Synthetic(_SNAPSHOT_USERS, messages, seed=1), file))
        for _ in range(rounds):
            with scratch_database(server_url) as url:
                initialise(url)
                seconds = _seconds(lambda url: asyncio.run(_load(url, file)), url)
                _expect(_count(url), messages)
                with scratch_database(server_url) as bare:
                    initialise(bare)
                    yield UpkeepRound(seconds=seconds, baseline_seconds=_copied_seconds(url, bare), rows=messages)


def clean_up(server_url: str, *, messages: int, rounds: int) -> Iterator[UpkeepRound]:
    """Clean up the older half of the messages with receipts. The baseline is one DELETE and VACUUM of the same rows."""
    text = _FILL.format(rows=messages)
    for _ in range(rounds):
        with _filled(server_url, text) as ours, _filled(server_url, text) as bare:
            seconds, baseline = _seconds(_clean, ours), _seconds(_delete, bare)
            _expect(_count(ours), _count(bare))
            yield UpkeepRound(seconds=seconds, baseline_seconds=baseline, rows=messages - _count(bare))


async def _load(url: str, file: Path) -> None:
    """Check the snapshot and load it, as ``chatsys import`` does."""
    snapshot.check(file)
    async with open_prepared_store(url) as store:
        await snapshot.load(store, file)


@contextmanager
def _filled(server_url: str, text: str) -> Iterator[str]:
    with scratch_database(server_url) as url:
        initialise(url)
        _run(url, text)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
        yield url


def _clean(url: str) -> None:
    cleanup(url, sessions_older_than=None, messages_older_than=timedelta(days=30))


def _delete(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM messages WHERE created_at < now() - interval '30 days'")
        connection.execute("VACUUM (ANALYZE) messages, message_reads, message_deliveries")


def _copy_seconds(url: str) -> float:
    """The seconds of a COPY of the messages into a table without keys and indexes."""
    with psycopg.connect(url) as connection:
        rows = _binary(connection, "messages")
        connection.execute("CREATE TABLE bare_messages (LIKE messages)")
        connection.commit()
        started = time.monotonic()
        _copy(connection, "bare_messages", rows)
        connection.commit()
        return time.monotonic() - started


def _copied_seconds(source: str, target: str) -> float:
    """The seconds of a COPY of all imported rows into the same tables, as one transaction."""
    with psycopg.connect(source) as connection:
        rows = {table: _binary(connection, table) for table in _IMPORTED}
    with psycopg.connect(target) as connection:
        connection.execute("DELETE FROM rooms")
        connection.execute("SET chatsys.bulk = on")  # as in an import: the rows include their counts
        started = time.monotonic()
        for table, content in rows.items():
            _copy(connection, table, content)
        connection.commit()
        return time.monotonic() - started


def _binary(connection: psycopg.Connection[Any], table: str) -> bytes:
    with connection.cursor().copy(f"COPY {table} TO STDOUT (FORMAT binary)") as copy:
        return b"".join(copy)


def _copy(connection: psycopg.Connection[Any], table: str, content: bytes) -> None:
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(content)


def _run(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(text.encode())


def _count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM messages").fetchone()
        return int(row[0]) if row else 0


def _seconds(work: Callable[[str], object], url: str) -> float:
    started = time.monotonic()
    work(url)
    return time.monotonic() - started


def _expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise OperatorError(f"There are {found} messages where {wanted} were expected.")
