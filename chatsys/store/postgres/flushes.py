"""The flushes of the writers: each stores a batch of writes of one kind in one statement."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from chatsys.errors import ChatsysError, StoreUnavailable, TooManyRooms, UserNotFound
from chatsys.model.rules import default_avatar
from chatsys.model.values import (
    EndedSession,
    Joined,
    Marked,
    Message,
    NewMessage,
    NewSession,
    Participant,
    Posted,
    Receipt,
    User,
)
from chatsys.store.postgres import rows
from chatsys.store.postgres.connections import Connections
from chatsys.store.postgres.mapping import constraint_of
from chatsys.store.postgres.parts import PartSize
from chatsys.store.postgres.writer import REPEATS, Locked, Repeat

InRoom = TypeVar("InRoom", NewMessage, NewSession)
Outcome = TypeVar("Outcome")

_OVERTAKEN = {
    "messages_user_client_key",
    "messages_guest_client_key",
    "messages_user_id_fkey",
    "message_reads_message_id_fkey",
    "message_reads_user_id_fkey",
    "message_deliveries_message_id_fkey",
    "message_deliveries_user_id_fkey",
}
"""Constraints that fail if another server stored or deleted something after the statement took its snapshot."""

LOOKED_AT = 10
"""How many messages a statement looks at, without locks, for each message that it may mark as read."""

PURGES = ("purge_messages", "purge_reads", "purge_deliveries")
"""The statements that delete what an account left, in this order."""

_SIZES = {
    "mark_some_read": (10, 50, 500),
    "mark_some_read_by_guest": (10, 50, 500),
    "purge_messages": (5, 25, 500),
    "purge_reads": (10, 50, 1000),
    "purge_deliveries": (10, 50, 1000),
}
"""Statements that do a long task in parts: the least, first and greatest number of rows of a part."""

_TRANSIENT = {"40001", "40P01"}  # serialization failure, deadlock
_LOCKED = "55P03"

LOCK_KINDS = ("room", "user", "message", "session")
Lock = tuple[str, str]
"""A row that a write locks: ``room``, ``user``, ``message`` or ``session``, and its name or id."""


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt to record."""

    room: str
    message_id: str
    reader: Participant
    at: datetime
    read: bool


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """A session to end."""

    session_id: str
    at: datetime


class PresenceWrite(msgspec.Struct, frozen=True, kw_only=True):
    """A status to set."""

    user_id: str
    online: bool
    at: datetime


class Flushes:
    """The flushes on one pool. ``lease`` is in seconds."""

    def __init__(self, connections: Connections, lease: float) -> None:
        self._connections = connections
        self._lease = timedelta(seconds=lease)
        self._parts = {name: PartSize(*sizes) for name, sizes in _SIZES.items()}

    async def post(self, batch: Sequence[NewMessage]) -> Sequence[Posted | BaseException]:
        """Store messages. A retry with the same client id gives the message that was stored first."""
        new = all(each.client_message_id is None for each in batch)
        return await self._with_rooms(batch, self._post_new if new else self._post)

    async def _post_new(self, batch: Sequence[NewMessage]) -> list[Posted | BaseException | None]:
        """Store messages without client ids, none of which can have been stored before."""
        counts: dict[str, int] = {}
        numbers = []
        for new in batch:
            number = counts[new.room] = counts.get(new.room, 0) + 1
            numbers.append(number)
        room_numbers = {room: number for number, room in enumerate(counts, 1)}
        accounts = {new.who.user_id for new in batch if not new.who.guest}
        guests = len(accounts) < len(batch) and any(new.who.guest for new in batch)
        try:
            found = await self._write(
                "post_new_messages",
                _plain(new.message_id for new in batch),
                _plain(room_numbers[new.room] for new in batch),
                _plain(numbers),
                _plain("NULL" if new.who.guest else new.who.user_id for new in batch) if accounts else "{}",
                [new.who.user_id if new.who.guest else None for new in batch] if guests else [],
                [new.who.username if new.who.guest else None for new in batch] if guests else [],
                [new.text for new in batch],
                list(room_numbers),
                _plain(counts.values()),
                _plain(new.at.timestamp() for new in batch),
                _plain(accounts),
            )
        except Locked:
            raise
        except Repeat:
            return await self._post(batch)
        before = {row[0]: (row[1], tuple(row[6] or ())) for row in found}
        profiles = {row[2]: row[3:6] for row in found}
        if accounts - profiles.keys():
            return await self._post(batch)
        outcomes: list[Posted | BaseException | None] = []
        for new, number in zip(batch, numbers, strict=True):
            last, servers = before.get(room_numbers[new.room], (None, ()))
            profile = None if new.who.guest else profiles.get(new.who.user_id.lower())
            outcomes.append(None if last is None else _stored(new, last + number, profile, servers))
        return outcomes

    async def _post(self, batch: Sequence[NewMessage]) -> list[Posted | BaseException | None]:
        senders = [rows.sender_columns(new.who) for new in batch]
        found = await self._write(
            "post_messages",
            [new.message_id for new in batch],
            [new.room for new in batch],
            *_columns(senders, 3),
            [new.text for new in batch],
            [new.at for new in batch],
            [new.client_message_id for new in batch],
            sorted({new.room for new in batch}),
            sorted({sender[0] for sender in senders if sender[0] is not None}),
        )
        first = await self._stored_before([row["first_id"] for row in found if row["first_id"] is not None])
        return [_posted(new, row, first) for new, row in zip(batch, found, strict=True)]

    async def acknowledge(self, batch: Sequence[Ack]) -> Sequence[Receipt | None]:
        """Record receipts. Each result has all readers of its message and kind."""
        guests = any(ack.reader.guest for ack in batch)
        found = await self._write(
            "record_receipts",
            [ack.room for ack in batch],
            _plain(ack.message_id for ack in batch),
            _plain("NULL" if ack.reader.guest else ack.reader.user_id for ack in batch),
            [ack.reader.user_id if ack.reader.guest else None for ack in batch] if guests else [],
            _plain(ack.at.timestamp() for ack in batch),
            _plain(ack.read for ack in batch),
            sorted({ack.room for ack in batch if ack.read}),
        )
        outcomes: list[Receipt | None] = [None] * len(batch)
        for positions, readers, new_readers, servers in found:
            user_ids = tuple({*readers, *new_readers})
            new = set(new_readers)
            for position in positions:
                ack = batch[position - 1]
                who = ack.reader.user_id
                # The reader's own row may have come from another server after this statement took its snapshot.
                whole = user_ids if who in user_ids else (*user_ids, who)
                outcomes[position - 1] = Receipt(
                    message_id=ack.message_id.lower(), user_ids=whole, new=who in new, servers=tuple(servers or ())
                )
                new.discard(who)
        return outcomes

    async def mark_some_read(self, room: str, reader: Participant, at: datetime, after: int) -> Marked:
        """Mark a part of a room as read."""
        name = "mark_some_read_by_guest" if reader.guest else "mark_some_read"
        found = await self._part(name, lambda size: (room, reader.user_id, at, after, size, size * LOOKED_AT))
        if not found:
            return Marked(message_ids=(), reached=None)
        ((ids, reached, more, servers),) = found
        return Marked(message_ids=tuple(ids), reached=reached if more else None, servers=tuple(servers or ()))

    async def purge(self, user_id: str) -> bool:
        """Delete a part of what a retired account left; False if nothing was left."""
        for name in PURGES:
            ((count,),) = await self._part(name, lambda size: (user_id, size))
            if count:
                return True
        return False

    async def _part(self, name: str, arguments: Callable[[int], tuple[Any, ...]]) -> list[Any]:
        """Run a statement that does a part. It is repeated if another server wrote to the same rows meanwhile."""
        for repeat in range(REPEATS):
            try:
                with self._parts[name].timed() as size:
                    return await self._write(name, *arguments(size))
            except Repeat as error:
                if repeat == REPEATS - 1:
                    raise error.reason from error
        raise AssertionError

    async def open(self, batch: Sequence[NewSession]) -> Sequence[Joined | BaseException]:
        """Open sessions."""
        return await self._with_rooms(batch, self._open)

    async def _open(self, batch: Sequence[NewSession]) -> list[Joined | BaseException | None]:
        found = await self._write(
            "open_sessions",
            [new.session_id for new in batch],
            [new.socket_id for new in batch],
            [new.room for new in batch],
            *_columns([rows.sender_columns(new.who) for new in batch], 3),
            [new.at for new in batch],
            [new.server_id for new in batch],
            self._lease,
        )
        outcomes: list[Joined | BaseException | None] = [UserNotFound() for _ in batch]
        for row in found:
            opened = row["session_id"] is not None
            outcomes[row["place"] - 1] = (
                Joined(
                    session=rows.session(row), last_seq=row["last_seq"], epoch=row["epoch"], servers=rows.servers(row)
                )
                if opened
                else None
            )
        return outcomes

    async def close(self, batch: Sequence[Ending]) -> Sequence[EndedSession | None]:
        """End sessions, each at its own time."""
        times = {ending.session_id.lower(): ending.at for ending in batch}
        found = await self._write("close_sessions", list(times), list(times.values()))
        ended = {row["session_id"]: rows.ended(row, times[row["session_id"]]) for row in found}
        return [ended.get(ending.session_id.lower()) for ending in batch]

    async def set_online(self, batch: Sequence[PresenceWrite]) -> Sequence[User | None]:
        """Set the status of users."""
        found = await self._write(
            "set_online",
            [presence.user_id for presence in batch],
            ["online" if presence.online else "offline" for presence in batch],
            [presence.at for presence in batch],
        )
        users = {row[0]: rows.user(row) for row in found}
        return [users.get(presence.user_id.lower()) for presence in batch]

    async def _write(self, name: str, *arguments: Any) -> list[Any]:
        try:
            return await self._connections.write(name, *arguments)
        except ChatsysError as error:
            cause = error.__cause__
            sqlstate = getattr(cause, "sqlstate", None)
            if sqlstate == _LOCKED:
                raise Locked(error) from error
            constraint, rebuilt = constraint_of(cause)
            if sqlstate in _TRANSIENT or constraint in _OVERTAKEN or rebuilt:
                raise Repeat(error) from error
            raise

    async def blocked(self, needed: Collection[Lock]) -> Collection[Lock]:
        """Those of these rows that another transaction has locked."""
        of_kind = {kind: [name for each, name in needed if each == kind] for kind in LOCK_KINDS}
        found = await self._write("locked_rows", *(of_kind[kind] for kind in LOCK_KINDS))
        return [(row[0], row[1]) for row in found]

    async def wait(self, lock: Lock) -> None:
        """Wait until no other transaction has this row locked. Raises Locked if that takes too long."""
        await self._write(f"wait_for_{lock[0]}", lock[1])

    async def _with_rooms(
        self, batch: Sequence[InRoom], write: Callable[[Sequence[InRoom]], Awaitable[list[Outcome | None]]]
    ) -> list[Outcome]:
        """Write a batch. Where the room is missing (None), create it and write again, in the same order.

        Nearly every room exists, so rooms are not looked up first.
        """
        outcomes = await write(batch)
        lacking = [index for index, outcome in enumerate(outcomes) if outcome is None]
        for index in lacking:
            new = batch[index]
            if isinstance(new, NewSession) and not new.may_make_room:
                outcomes[index] = TooManyRooms()  # type: ignore[assignment]
        lacking = [index for index in lacking if outcomes[index] is None]
        if lacking:
            again = [batch[index] for index in lacking]
            wanted = [(new.room, None if new.who.guest else new.who.user_id, new.at) for new in again]
            for index, outcome in zip(lacking, await self._in_new_rooms(wanted, again, write), strict=True):
                made = isinstance(outcome, Joined)
                outcomes[index] = msgspec.structs.replace(outcome, made_room=True) if made else outcome
        return [outcome if outcome is not None else _room_is_gone() for outcome in outcomes]  # type: ignore[misc]

    async def _in_new_rooms(
        self,
        wanted: Sequence[tuple[Any, ...]],
        batch: Sequence[InRoom],
        write: Callable[[Sequence[InRoom]], Awaitable[list[Outcome | None]]],
    ) -> list[Any]:
        """Create rooms and write a batch into them. Only these are repeated: the other writes are stored already."""
        error: ChatsysError
        for _ in range(REPEATS):
            try:
                await self._write("make_rooms", *_columns(wanted, 3))
                return await write(batch)
            except Repeat as repeat:
                error = repeat.reason
            except ChatsysError as failure:
                error = failure
                break
        return [error] * len(batch)

    async def _stored_before(self, ids: Sequence[str]) -> dict[str, Message]:
        if not ids:
            return {}
        found = rows.messages(await self._connections.fetch("messages_by_id", ids))
        return {message.message_id: message for message in found}


def _posted(new: NewMessage, row: Any, first: dict[str, Message]) -> Posted | BaseException | None:
    if row["seq"] is not None:
        profile = None if new.who.guest else (row["username"], row["display_name"], row["avatar"])
        return _stored(new, row["seq"], profile, rows.servers(row))
    if row["first_id"] is not None:
        known = first.get(row["first_id"])
        if known is None:
            return StoreUnavailable("The message was just deleted.", hint="Try again.")
        return Posted(message=known, duplicate=True)
    if not new.who.guest and row["username"] is None:
        return UserNotFound()
    return None


def _room_is_gone() -> StoreUnavailable:
    return StoreUnavailable("The room was just removed from the database.", hint="Try again.")


def _stored(new: NewMessage, seq: int, profile: Sequence[Any] | None, servers: tuple[str, ...]) -> Posted:
    """The outcome of a new message; ``profile`` is an account's username, display name and avatar, None for a guest."""
    who = new.who
    name, display_name, avatar = profile or (who.username, who.username, default_avatar(who.username))
    message = Message(
        message_id=new.message_id,
        seq=seq,
        room=new.room,
        user_id=who.user_id,
        username=name,
        display_name=display_name,
        avatar=avatar,
        text=new.text,
        at=new.at,
    )
    return Posted(message=message, duplicate=False, servers=servers)


def _plain(values: Iterable[float | str]) -> str:
    """An array of numbers, ids or booleans in PostgreSQL's text form. None of them needs quoting."""
    return f"{{{','.join(map(str, values))}}}"


def _columns(table: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows as columns, for array parameters."""
    return [[row[column] for row in table] for column in range(width)]
