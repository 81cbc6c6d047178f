"""Return to the original backend: copy what was written since the cut-over into the original's database.

That database must be as it was at the cut-over, restored from the backup that was made then. Adoption keeps every id,
so rows are matched by their primary keys, and a second run adds nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from psycopg import sql

from chatsys.database.admin import current_version
from chatsys.database.connecting import Connection, connected, only_row
from chatsys.database.setup import is_original, require_schema
from chatsys.errors import OperatorError
from chatsys.store.address import read_url

Report = Callable[[str], None]

_SINCE = "SELECT coalesce(max(created_at) - interval '1 hour', '-infinity')::text FROM messages"
"""Rows after this time may be new: a little before the newest message, since the clocks of two servers may differ."""

_OF_GUESTS = "SELECT array_agg(message_id::text) FROM messages WHERE user_id IS NULL AND created_at >= %(since)s"
_NOT_THERE = (
    "SELECT count(*) FROM unnest(%(ids)s::uuid[]) id WHERE NOT EXISTS (SELECT FROM messages WHERE message_id = id)"
)


class Part(NamedTuple):
    """A table to copy: the rows of chatsys that may be ``new``, and the condition for those that the original can keep.

    ``{since}`` is a little before the cut-over. ``leaves_out`` is a column that the original fills itself.
    """

    table: str
    new: str
    kept: str = "true"
    conflict: str = "DO NOTHING"
    leaves_out: str = ""


_OF_A_MESSAGE = "EXISTS (SELECT FROM messages m WHERE m.message_id = i.message_id)"
_PARTS = (
    Part("users", "removed_at IS NULL", leaves_out="status"),
    Part("rooms", "true"),
    Part("messages", "user_id IS NOT NULL AND created_at >= {since}"),
    Part("message_deliveries", "user_id IS NOT NULL AND delivered_at >= {since}", _OF_A_MESSAGE),
    Part("message_reads", "user_id IS NOT NULL AND read_at >= {since}", _OF_A_MESSAGE),
    Part(
        "room_members",
        "true",
        conflict="(room_id, user_id) DO UPDATE SET is_active = excluded.is_active, left_at = excluded.left_at"
        " WHERE (room_members.is_active, room_members.left_at) IS DISTINCT FROM (excluded.is_active, excluded.left_at)",
    ),
)
_PROFILE = ("password", "display_name", "avatar", "bio", "last_seen", "last_login")


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    """What was copied. ``rows`` counts new rows by table, ``guests`` the messages of guests, which the original can't
    keep."""

    rows: dict[str, int]
    changed_accounts: int
    deleted_accounts: int
    guests: int
    seconds: float


def roll_back(url: str, target: str, report: Report, *, dry_run: bool = False) -> Returned:
    """Copy what was written to the database ``url`` since the cut-over into the original's database ``target``.

    It is one transaction in ``target``, which a ``dry_run`` does not commit; ``url`` is not changed. Raises
    OperatorError if the two are not the same chat before and after its adoption.
    """
    begun = time.monotonic()
    require_schema(url)
    _require_original(target)
    with connected(url) as source, connected(target) as original:
        source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        (since,) = only_row(original, _SINCE)
        rows, changed, deleted = {}, 0, 0
        for part in _PARTS:
            report(part.table)
            _transfer(source, original, part, since)
            if part.table == "users":
                _require_the_same_chat(original, target)
                changed, deleted = _update_accounts(original)
            rows[part.table] = _add(original, part)
        (ids,) = only_row(source, _OF_GUESTS, since=since)
        (guests,) = only_row(original, _NOT_THERE, ids=ids or [])
        if dry_run:
            original.rollback()
    return Returned(
        rows=rows, changed_accounts=changed, deleted_accounts=deleted, guests=guests, seconds=time.monotonic() - begun
    )


def _require_original(target: str) -> None:
    if current_version(target) is None and is_original(target):
        return
    raise OperatorError(
        f"{read_url(target).database} is not the original backend's database as it was at the cut-over.",
        hint="Restore the backup that was made then into a database of its own: pg_restore, or `chatsys db restore`.",
    )


def _require_the_same_chat(original: Connection, target: str) -> None:
    (known,) = only_row(original, "SELECT count(*) FROM users")
    (common,) = only_row(original, "SELECT count(*) FROM users JOIN incoming_users USING (user_id)")
    if known and not common:
        raise OperatorError(
            f"{read_url(target).database} has no account in common with the database that was adopted.",
            hint="Name the backup of the same chat with --to.",
        )


def _transfer(source: Connection, original: Connection, part: Part, since: str) -> None:
    """Copy the rows that may be new into a temporary table in the original's database."""
    table, incoming = sql.Identifier(part.table), sql.Identifier(f"incoming_{part.table}")
    columns = _list(_columns(source, original, part))
    create = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA")
    original.execute(create.format(incoming, columns, table))
    new = sql.SQL(part.new).format(since=since)
    query = sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT").format(columns, table, new)
    with (
        source.cursor() as reading,
        original.cursor() as writing,
        reading.copy(query) as out,
        writing.copy(sql.SQL("COPY {} FROM STDIN").format(incoming)) as into,
    ):
        for block in out:
            into.write(block)


def _add(original: Connection, part: Part) -> int:
    """Insert the rows that the original lacks. Returns their number."""
    table, incoming = sql.Identifier(part.table), sql.Identifier(f"incoming_{part.table}")
    columns = _list(_columns(original, original, part, f"incoming_{part.table}"))
    insert = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} i WHERE {} ON CONFLICT {}")
    conditions = sql.SQL(part.kept), sql.SQL(part.conflict)
    return original.execute(insert.format(table, columns, columns, incoming, *conditions)).rowcount


def _update_accounts(original: Connection) -> tuple[int, int]:
    """Change and delete the accounts that were changed and deleted since. Returns the number of each."""
    ours, theirs = (sql.SQL(", ").join(sql.Identifier(side, name) for name in _PROFILE) for side in ("u", "i"))
    update = sql.SQL(
        "UPDATE users u SET ({}) = ROW({}) FROM incoming_users i"
        " WHERE u.user_id = i.user_id AND ({}) IS DISTINCT FROM ({})"
    )
    changed = original.execute(update.format(_list(_PROFILE), theirs, ours, theirs))
    deleted = original.execute(
        "DELETE FROM users u WHERE NOT EXISTS (SELECT FROM incoming_users i WHERE i.user_id = u.user_id)"
    )
    return changed.rowcount, deleted.rowcount


def _columns(source: Connection, original: Connection, part: Part, table: str = "") -> list[str]:
    """The columns that both sides have, without the one that is left out."""
    query = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
    theirs = {row[0] for row in source.execute(query, (table or part.table,)).fetchall()}
    ours = [row[0] for row in original.execute(query, (part.table,)).fetchall()]
    return [name for name in ours if name in theirs and name != part.leaves_out]


def _list(names: tuple[str, ...] | list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
