"""Snapshots of the PostgreSQL store: read through cursors in one transaction, written by COPY in one per batch.

Existing records are looked up by key and skipped. The rest is copied straight into the tables, without a staging table.
An interrupted batch leaves nothing behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import chain, groupby
from operator import attrgetter
from typing import TypeAlias

import asyncpg
import msgspec

from chatsys.errors import SnapshotConflict
from chatsys.model.rules import is_uuid
from chatsys.model.snapshot import Batch, MessageRecord, Receipts, RoomRecord, UserRecord
from chatsys.store.postgres.connections import DRIVER_ERRORS, Connections
from chatsys.store.postgres.mapping import translated
from chatsys.store.postgres.statements import statements

STATEMENT_TIMEOUT = "10min"
"""A batch may be large and the database slow."""

BATCH = 500
"""Records in a batch that is read. Each text may have a megabyte."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_USER = [name.removesuffix("_hash") for name in UserRecord.__struct_fields__]
_MESSAGE = ["message_id", "room_id", "seq", "user_id", "guest_id", "guest_name", "message_text", "created_at",
            "edited_at", "client_message_id", "is_read"]  # fmt: skip
_READ = ["message_id", "user_id", "guest_id", "read_at"]
_DELIVERY = ["message_id", "user_id", "guest_id", "delivered_at", "is_read"]
_SELECTED = [name for name in MessageRecord.__struct_fields__ if name not in ("room", "deliveries", "reads")]
"""The fields that the columns of ``snapshot_messages`` hold, in their order."""
_written = attrgetter("guest_name", "text", "at", "edited_at", "client_message_id")


async def read_all(connections: Connections) -> AsyncGenerator[Batch, None]:
    """All records as of one moment."""
    async with (
        _dedicated(connections) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        async for rows in _pages(connection, _sql("snapshot_users")):
            yield [UserRecord(**row) for row in rows]
        rooms = await connection.fetch(_sql("snapshot_rooms"))
        yield [RoomRecord(name=name, created_at=at, last_seq=last_seq) for _, name, at, last_seq in rooms]
        for room_id, name, _, _ in rooms:
            async for rows in _pages(connection, _sql("snapshot_messages"), room_id):
                yield await _messages(connection, name, rows)


async def _pages(connection: Connection, sql: str, *arguments: object) -> AsyncGenerator[list[asyncpg.Record], None]:
    statement = await connection.prepare(sql, name="")  # a name would stay on PgBouncer's server connection
    cursor = await statement.cursor(*arguments)
    while rows := await cursor.fetch(BATCH):
        yield rows


async def _messages(connection: Connection, room: str, rows: list[asyncpg.Record]) -> list[MessageRecord]:
    ids = [row[0] for row in rows]
    deliveries = await _receipts(connection, _sql("snapshot_deliveries"), ids)
    reads = await _receipts(connection, _sql("snapshot_reads"), ids)
    records = []
    for row in rows:
        fields = dict(zip(_SELECTED, row, strict=True), room=room)
        records.append(MessageRecord(**fields, deliveries=deliveries.get(row[0], {}), reads=reads.get(row[0], {})))
    return records


async def _receipts(connection: Connection, sql: str, ids: list[str]) -> dict[str, Receipts]:
    found: dict[str, Receipts] = defaultdict(dict)
    for message_id, user_id, at in await connection.fetch(sql, ids):
        found[message_id][user_id] = at
    return found


async def write_batch(connections: Connections, batch: Batch) -> int:
    """Store the records that do not exist yet, in one transaction. Returns how many."""
    users = [record for record in batch if isinstance(record, UserRecord)]
    rooms = [record for record in batch if isinstance(record, RoomRecord)]
    messages = [record for record in batch if isinstance(record, MessageRecord)]
    async with _dedicated(connections) as connection, connection.transaction():
        await connection.execute("SET LOCAL chatsys.bulk = on")  # this module sets marks and counts, not triggers
        added = await _write_users(connection, users)
        added += await _write_rooms(connection, rooms)
        added += await _write_messages(connection, messages)
        if added:
            await connection.execute(_sql("change_epoch"))
        return added


async def _write_users(connection: Connection, records: list[UserRecord]) -> int:
    present = await _present(connection, _sql("present_users"), [record.user_id for record in records])
    fresh = [record for record in records if record.user_id not in present]
    await connection.copy_records_to_table("users", columns=_USER, records=map(msgspec.structs.astuple, fresh))
    return len(fresh)


async def _write_rooms(connection: Connection, records: list[RoomRecord]) -> int:
    if not records:
        return 0
    columns = zip(*map(msgspec.structs.astuple, records), strict=True)
    return sum(row["added"] for row in await connection.fetch(_sql("restore_rooms"), *columns))


async def _write_messages(connection: Connection, records: list[MessageRecord]) -> int:
    if not records:
        return 0
    names = list({record.room for record in records})
    rooms = {row[0]: row[1] for row in await connection.fetch(_sql("lock_rooms"), names)}
    present = await _present(connection, _sql("present_messages"), [record.message_id for record in records])
    fresh = [record for record in records if record.message_id not in present]
    for record in fresh:
        if record.room not in rooms:
            raise SnapshotConflict(f"Message {record.message_id} belongs to a room that is missing.")
    copy = connection.copy_records_to_table
    await copy("messages", columns=_MESSAGE, records=[_message_row(record, rooms[record.room]) for record in fresh])
    await copy("message_deliveries", columns=_DELIVERY, records=chain.from_iterable(map(_delivery_rows, fresh)))
    await copy("message_reads", columns=_READ, records=chain.from_iterable(map(_read_rows, fresh)))
    await _count(connection, rooms, fresh)
    return len(fresh)


def _message_row(record: MessageRecord, room_id: object) -> tuple[object, ...]:
    sender = (record.user_id, None) if record.guest_name is None else (None, record.user_id)
    return (record.message_id, room_id, record.seq, *sender, *_written(record), bool(record.reads))


def _delivery_rows(record: MessageRecord) -> Iterator[tuple[object, ...]]:
    for reader, at in (record.reads | record.deliveries).items():
        yield record.message_id, *_reader_columns(reader), at, reader in record.reads


def _read_rows(record: MessageRecord) -> Iterator[tuple[object, ...]]:
    for reader, at in record.reads.items():
        yield record.message_id, *_reader_columns(reader), at


def _reader_columns(reader: str) -> tuple[str | None, str | None]:
    return (reader, None) if is_uuid(reader) else (None, reader)


async def _count(connection: Connection, rooms: dict[str, object], fresh: list[MessageRecord]) -> None:
    """Update the rooms' counters and the members' read positions for the added messages."""
    room_of = attrgetter("room")
    for name, group in groupby(sorted(fresh, key=room_of), key=room_of):
        added = list(group)
        numbers = [record.seq for record in added]
        reads = sum(bool(record.reads) for record in added)
        await connection.execute(_sql("count_restored"), rooms[name], len(added), reads, max(numbers))
        await connection.execute(_sql("unread_restored"), rooms[name], min(numbers))


async def _present(connection: Connection, sql: str, ids: list[str]) -> set[str]:
    return {row[0] for row in await connection.fetch(sql, ids)} if ids else set()


@asynccontextmanager
async def _dedicated(connections: Connections) -> AsyncIterator[Connection]:
    """A connection outside the pool, which runs only single statements: no COPY and no cursors."""
    link = await connections.dedicated(statement_timeout=STATEMENT_TIMEOUT, lock_timeout=STATEMENT_TIMEOUT)
    try:
        yield link.connection
    except asyncpg.IntegrityConstraintViolationError as error:
        raise SnapshotConflict(
            f"The database holds something else in the place of a record of the snapshot: {error.detail or error}",
            hint="Import into an empty database.",
        ) from error
    except DRIVER_ERRORS as error:
        raise translated(error, connections.address) from error
    finally:
        link.connection.terminate()


def _sql(name: str) -> str:
    return statements()[name].text
