"""Databases with synthetic rows: COPY fills a template once, and every run copies the template."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

from chatsys.database.admin import create_database, upgrade
from chatsys.database.connecting import connected
from chatsys.errors import LabBusy
from chatsys.lab.datasets.synthetic import EPOCH, Synthetic
from chatsys.store.address import with_database
from chatsys.store.schema import expected_version

Report = Callable[[str], None]
_CHUNK = 2_000  # rows per write of COPY
_BY_FILE = 50_000  # above this number of messages, copying files is faster than writing all pages as WAL
_RUN_LOCK = 0x636861746C6162  # "chatlab"


@contextmanager
def alone_on(server_url: str) -> Iterator[None]:
    """Lock the server for one run, so that the lab's databases on it belong to this run.

    The lock is a session-level advisory lock in the database ``postgres``, which PostgreSQL releases when the process
    ends. Raises LabBusy if another run holds it.
    """
    with connected(with_database(server_url, "postgres"), autocommit=True) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_RUN_LOCK,)).fetchone()
        if row is None or not row[0]:
            raise LabBusy(hint="Wait until the other `chatsys bench` or `chatsys loadtest` has ended.")
        try:
            yield
        finally:  # closing the connection would release the lock too, but only after some time
            with suppress(psycopg.Error):
                connection.execute("SELECT pg_advisory_unlock(%s)", (_RUN_LOCK,))


def database_with(server_url: str, name: str, rows: Synthetic, report: Report) -> str:
    """The URL of a new database ``name`` with exactly these rows: a copy of a template, which is created if missing.

    ``server_url`` is any database of a server where the role may create databases. An existing database ``name`` is
    dropped.
    """
    template = _template_name(rows)
    with connected(server_url, autocommit=True) as connection:
        if not _is_loaded(connection, template):
            report(f"loading {rows.users:,} users and {rows.messages:,} messages by COPY (kept for later runs)")
            drop_database(connection, template)
            _load(with_database(server_url, template), rows)
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(template), _loaded()))
        drop_database(connection, name)
        by_file = rows.messages > _BY_FILE and connection.info.server_version >= 150000
        strategy = sql.SQL(" STRATEGY file_copy" if by_file else "")
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}{}").format(sql.Identifier(name), sql.Identifier(template), strategy)
        )
    return with_database(server_url, name)


def empty_database(server_url: str, name: str) -> str:
    """The URL of a new database ``name`` that has only the schema and the default rooms."""
    with connected(server_url, autocommit=True) as connection:
        drop_database(connection, name)
    url = with_database(server_url, name)
    create_database(url)
    upgrade(url)
    return url


def tidy(server_url: str) -> None:
    """Drop the lab's databases except templates of this schema. Call it within :func:`alone_on`: no run uses them."""
    with connected(server_url, autocommit=True) as connection:
        names = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, 'chatsys_lab_')"
            " AND shobj_description(oid, 'pg_database') IS DISTINCT FROM %s",
            (_loaded(),),
        ).fetchall()
        for (name,) in names:
            drop_database(connection, name)


def drop_database(connection: psycopg.Connection[Any], name: str) -> None:
    """Drop a database of the lab if it exists, and close all connections to it."""
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def counts_statements(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server counts statements in the view ``pg_stat_statements``."""
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        connection.execute("SELECT count(*) FROM pg_stat_statements")
    except psycopg.Error:
        return False
    return True


def _template_name(rows: Synthetic) -> str:
    """A name that depends on the sizes, the seed, the schema and the version of the rows."""
    known = f"{rows.users} {rows.messages} {rows.seed} {_loaded()}".encode()
    return f"chatsys_lab_{hashlib.sha256(known).hexdigest()[:16]}"


def _loaded() -> str:
    """The comment on a completely loaded template. It depends on the schema and the version of the rows."""
    return f"chatsys lab: loaded, rows {Synthetic.VERSION}, schema {expected_version()}"


def _is_loaded(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (name,)
    ).fetchone()
    return row is not None and row[0] == _loaded()


def _load(url: str, rows: Synthetic) -> None:
    create_database(url)
    upgrade(url)
    with connected(url) as connection:
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute("SET synchronous_commit = off")
        with _bare_tables(connection):
            _copy(
                connection, "users (user_id, username, email, password, display_name, avatar, created_at)", _users(rows)
            )
            connection.execute("DELETE FROM rooms WHERE room_name LIKE 'lab-%'")
            _copy(connection, "rooms (room_id, room_name, created_at, last_seq, read_count)", _rooms(rows))
            _copy(
                connection,
                "messages (message_id, user_id, room_id, message_text, created_at, seq, is_read)",
                _messages(rows),
            )
            _copy(connection, "message_reads (message_id, user_id, read_at)", _receipts(rows))
            connection.execute(
                "INSERT INTO message_deliveries (message_id, user_id, delivered_at, is_read)"
                " SELECT message_id, user_id, read_at, true FROM message_reads"
            )
    with connected(url, autocommit=True) as connection:
        connection.execute("VACUUM (FREEZE, ANALYZE)")
        connection.execute("CHECKPOINT")


@contextmanager
def _bare_tables(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Within the block the tables have no foreign keys, no triggers and no plain indexes, so COPY is fast."""
    tables = ["users", "rooms", "messages", "message_reads", "message_deliveries"]
    keys = connection.execute(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE contype = 'f' AND conrelid::regclass::text = ANY (%s)",
        (tables,),
    ).fetchall()
    indexes = connection.execute(
        "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i"
        " WHERE i.indrelid::regclass::text = ANY (%s)"
        " AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)",
        (tables,),
    ).fetchall()
    for table, name, _ in keys:
        connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    for table in tables:
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    for table in tables:
        connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    for _, definition in indexes:
        connection.execute(definition)
    for table, name, definition in keys:
        connection.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')


def _copy(connection: psycopg.Connection[Any], target: str, lines: Iterable[str]) -> None:
    """COPY lines in PostgreSQL's text format. Synthetic texts contain nothing that needs escaping."""
    with connection.cursor().copy(f"COPY {target} FROM STDIN") as copy:
        chunk: list[str] = []
        for line in lines:
            chunk.append(line)
            if len(chunk) == _CHUNK:
                copy.write("".join(chunk))
                chunk.clear()
        copy.write("".join(chunk))


def _users(rows: Synthetic) -> Iterator[str]:
    for index in range(rows.users):
        user = rows.user(index)
        yield (
            f"{user.user_id}\t{user.username}\t{user.email}\t{user.password_hash}\t{user.display_name}\t{user.avatar}"
            f"\t{user.created_at.isoformat()}\n"
        )


def _rooms(rows: Synthetic) -> Iterator[str]:
    """The rooms, and an empty room for the messages of the baseline."""
    for number, name in enumerate(rows.rooms):
        size = rows.room_sizes[number]
        yield f"{rows.room_id(number)}\t{name}\t{EPOCH.isoformat()}\t{size}\t{size}\n"
    yield f"{rows.room_id(len(rows.rooms))}\tlab baseline\t{EPOCH.isoformat()}\t0\t0\n"


def _messages(rows: Synthetic) -> Iterator[str]:
    rooms = [rows.room_id(number) for number in range(len(rows.rooms))]
    senders = [rows.user_id(index) for index in range(rows.users)]
    for index in range(rows.messages):
        at = rows.at(index).isoformat()
        room, sender = rooms[rows.room(index)], senders[rows.sender(index)]
        yield f"{rows.message_id(index)}\t{sender}\t{room}\t{rows.text(index)}\t{at}\t{rows.seq(index)}\tt\n"


def _receipts(rows: Synthetic) -> Iterator[str]:
    users = [rows.user_id(index) for index in range(rows.users)]
    for index in range(rows.messages):
        message, at = rows.message_id(index), rows.at(index).isoformat()
        for reader in rows.readers(index):
            yield f"{message}\t{users[reader]}\t{at}\n"
