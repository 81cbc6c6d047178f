"""The baselines: the same work without chatsys.

``bare_postgres`` sends prepared statements over one asyncpg connection, one transaction per statement, and decodes rows
only into asyncpg's records. ``plain_python`` reads dicts and lists that hold the same values.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.workloads.operation import NOOP, PAGE, Operation, demand, noop
from chatsys.results.names import FIND_BY_ID, FIND_BY_NAME, MARK_READ, RECENT, SEARCH, SEND

_USER = (
    "SELECT user_id, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login"
    " FROM users WHERE "
)
SQL: Mapping[str, str] = {
    FIND_BY_ID: f"{_USER} user_id = $1",
    FIND_BY_NAME: f"{_USER} username = $1",
    RECENT: "SELECT * FROM messages WHERE room_id = $1 ORDER BY seq DESC LIMIT 100",
    MARK_READ: "WITH delivered AS (INSERT INTO message_deliveries (message_id, user_id, is_read) VALUES ($1, $2, true)"
    " ON CONFLICT DO NOTHING) INSERT INTO message_reads (message_id, user_id) VALUES ($1, $2)",
    SEARCH: f"{_USER} fold_case(username) LIKE $1 OR fold_case(display_name) LIKE $1 ORDER BY username LIMIT 50",
    SEND: "WITH numbered AS (UPDATE rooms SET last_seq = last_seq + 1 WHERE room_id = $3 RETURNING last_seq)"
    " INSERT INTO messages (message_id, user_id, room_id, message_text, seq)"
    " SELECT $1, $2, $3, $4, last_seq FROM numbered",
}
"""The statement of each baseline. RECENT is a bare SELECT of the same 100 rows, without senders and receipts."""


async def bare_postgres(connection: asyncpg.Connection[Any], rows: Synthetic) -> Mapping[str, Operation]:
    """Every operation of the table over one connection to a database that holds ``rows``."""
    prepared = {name: await connection.prepare(text) for name, text in SQL.items()}
    fetch = {name: statement.fetch for name, statement in prepared.items()}
    pairs = _pairs(rows)

    def operation(name: str, draw: Any, expected: int) -> Operation:
        call = fetch[name]

        async def run(arguments: tuple[Any, ...]) -> Any:
            return await call(*arguments)

        def check(_: object, answer: list[Any]) -> None:
            demand(len(answer) == expected if expected != 1 else len(answer) >= 1, f"{expected} rows")

        return Operation(draw, run, check)

    def draw_user(rng: random.Random) -> int:
        return rng.randrange(rows.users)

    rooms = [UUID(rows.room_id(number)) for number in rows.read_rooms]
    mail = UUID(rows.room_id(len(rows.rooms)))
    author = UUID(rows.user_id(0))
    page = min(PAGE, *(int(rows.room_sizes[number]) for number in rows.read_rooms))
    return {
        NOOP: noop(),
        FIND_BY_ID: operation(FIND_BY_ID, lambda rng: (UUID(rows.user_id(draw_user(rng))),), 1),
        FIND_BY_NAME: operation(FIND_BY_NAME, lambda rng: (rows.username(draw_user(rng)),), 1),
        RECENT: operation(RECENT, lambda rng: (rng.choice(rooms),), page),
        MARK_READ: operation(MARK_READ, lambda _: next(pairs), 0),
        SEARCH: operation(SEARCH, lambda rng: (f"%{rows.search_text(draw_user(rng))}%",), 1),
        SEND: operation(SEND, lambda _: (uuid4(), author, mail, "sent by the lab"), 0),
    }


def plain_python(rows: Synthetic) -> Mapping[str, Operation]:
    """Every operation of the table on dicts and lists that hold ``rows``."""
    people = [rows.user(index) for index in range(rows.users)]
    by_id = {user.user_id: user for user in people}
    by_name = {user.username: user for user in people}
    folded = [(user.username.lower(), user.display_name.lower(), user) for user in people]
    rooms = [
        [rows.message(index) for index in reversed(rows.newest(number, int(rows.room_sizes[number])))]
        for number in rows.read_rooms
    ]
    mail: list[Any] = []
    reads: dict[str, set[str]] = {}
    pairs = _pairs(rows)

    async def search(text: str) -> list[Any]:
        return sorted((u for name, shown, u in folded if text in name or text in shown), key=lambda u: u.username)[:50]

    async def find_by_id(user_id: str) -> Any:
        return by_id.get(user_id)

    async def find_by_name(name: str) -> Any:
        return by_name.get(name)

    async def recent(room: list[Any]) -> Any:
        return room[-PAGE:]

    async def mark(pair: tuple[UUID, UUID]) -> Any:
        readers = reads.setdefault(str(pair[0]), set())
        readers.add(str(pair[1]))
        return readers

    async def send(message: object) -> Any:
        mail.append(message)
        return mail[-1]

    def found(_: object, answer: Any) -> None:
        demand(bool(answer), "an answer")

    def some(rng: random.Random) -> int:
        return rng.randrange(rows.users)

    return {
        NOOP: noop(),
        FIND_BY_ID: Operation(lambda rng: rows.user_id(some(rng)), find_by_id, found),
        FIND_BY_NAME: Operation(lambda rng: rows.username(some(rng)), find_by_name, found),
        RECENT: Operation(lambda rng: rng.choice(rooms), recent, found),
        MARK_READ: Operation(lambda _: next(pairs), mark, found),
        SEARCH: Operation(lambda rng: rows.search_text(some(rng)), search, found),
        SEND: Operation(lambda _: rooms[0][0], send, found),
    }


def _pairs(rows: Synthetic) -> Iterator[tuple[UUID, UUID]]:
    """Pairs of a message's id and the id of a user who has not read it."""
    for message, reader in rows.unread(rows.marked_rooms[1]):
        yield UUID(rows.message_id(message)), UUID(rows.user_id(reader))
