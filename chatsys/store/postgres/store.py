"""PostgresStore: each verb of the contract is one named statement. Writes are group-committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from chatsys.errors import PermissionDenied, StoreUnavailable, UserNotFound
from chatsys.model.rules import SEQ_MAX, fold, is_uuid
from chatsys.model.snapshot import Batch
from chatsys.model.values import (
    EndedSession,
    Joined,
    LoginAttempt,
    Marked,
    Message,
    NewMessage,
    NewSession,
    Participant,
    Posted,
    Receipt,
    Room,
    RoomStats,
    Session,
    StoreInfo,
    User,
    UserChanges,
)
from chatsys.store.contract import Store
from chatsys.store.postgres import rows, snapshot
from chatsys.store.postgres.connections import Connections, Pools
from chatsys.store.postgres.flushes import Ack, Ending, Flushes, Lock, PresenceWrite
from chatsys.store.postgres.leases import Leases
from chatsys.store.postgres.profiles import Profiles
from chatsys.store.postgres.writer import Locks, Writer

DRAIN_SECONDS = 1.0
"""How long closing a store waits for queued writes, and then for the release of its lock."""

DELETION_SECONDS = 30.0
"""How long each transaction that deletes an account may take."""

_AT_ONCE = 500  # rows to convert before yielding to other tasks
_MANY_RECEIPTS = 4000  # characters of one message's receipts, packed: about a hundred
_A_FEW = 8  # messages with many receipts to convert before yielding to other tasks
_USUAL_PAGE = 100  # as in sql/messages.sql
_TYPED_MAX = 255  # characters, as in login_failures
_WILDCARDS = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


class PostgresStore(Store):
    """A store in PostgreSQL. ``open_postgres`` opens and closes it.

    Each kind of write has a queue of its own, so that a burst of receipts does not delay messages.
    """

    def __init__(
        self,
        pools: Pools,
        *,
        sends: Connections,
        locked: Connections,
        housekeeping: Connections,
        reads: Connections,
        lease: float,
        write_queue: int,
    ) -> None:
        self._pools = pools
        self._connections = reads
        self._housekeeping = housekeeping
        self._profiles = Profiles()
        self._leases = Leases(housekeeping, lease)
        flushes, upkeep = Flushes(sends, lease), Flushes(housekeeping, lease)
        self._marks = Flushes(reads, lease)

        def writer(of: Flushes, name: str, keys: Callable[[Any], Any], locks: Callable[[Any], Any]) -> Writer[Any, Any]:
            return Writer(
                getattr(of, name),
                keys=keys,
                limit=write_queue,
                observe=pools.observe,
                locks=Locks(locks, of.blocked, Flushes(locked, lease).wait),
                patience=pools.whole,
                outages=pools.outages,
            )

        self._posts: Writer[NewMessage, Posted] = writer(flushes, "post", _client_key, _sender_and_room)
        self._acks: Writer[Ack, Receipt | None] = writer(flushes, "acknowledge", lambda _: (), _message_and_reader)
        self._opens: Writer[NewSession, Joined] = writer(upkeep, "open", _who_and_socket, _sender_and_room)
        self._closes: Writer[Ending, EndedSession | None] = writer(upkeep, "close", _session, _session)
        self._presence: Writer[PresenceWrite, User | None] = writer(upkeep, "set_online", _user, _user)

    async def _end(self) -> None:
        """Store the queued writes as far as time allows, then release the servers' locks."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                for writer in (self._posts, self._acks, self._opens, self._closes, self._presence):
                    await writer.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._leases.close()

    # -- the store itself

    async def ping(self) -> StoreInfo:
        """Ask the server for its version."""
        ((version, database),) = await self._housekeeping.fetch("ping")
        return StoreInfo(kind="postgresql", version=version, host=self._connections.address.host, database=database)

    async def epoch(self) -> str:
        """One look-up."""
        ((epoch,),) = await self._connections.fetch("epoch")
        return str(epoch)

    async def check_writing(self, server_id: str) -> None:
        """Update the server's row without changing it."""
        refused = self._pools.outages.failing("post_new_messages", "post_messages", "make_rooms")
        if refused is not None:
            raise refused
        ((touched, allowed),) = await self._housekeeping.write("check_writing", server_id)
        if not allowed:
            raise PermissionDenied("The role may not store messages.", hint="GRANT INSERT ON messages TO the role.")
        if not touched:
            raise StoreUnavailable("This server is not registered at the moment.", hint="Wait for its next heartbeat.")

    # -- servers

    async def register_server(self, server_id: str, at: datetime) -> list[EndedSession]:
        """Renew the lease, and end the sessions of dead servers."""
        return await self._leases.renew(server_id, at)

    async def retire_server(self, server_id: str, at: datetime) -> list[EndedSession]:
        """End the server's sessions and release its lock."""
        return await self._leases.retire(server_id, at)

    async def bus_key(self) -> bytes:
        """One row, which the migration created."""
        ((key,),) = await self._connections.fetch("bus_key")
        return bytes(key)

    # -- users

    async def create_user(self, user: User) -> User:
        """One INSERT. The unique constraints reject a taken name or email."""
        differing = {"email": user.email.lower(), "online": "online" if user.online else "offline"}
        await self._connections.write("create_user", *(msgspec.structs.asdict(user) | differing).values())
        return user

    async def user_by_id(self, user_id: str) -> User | None:
        """One look-up by primary key."""
        return _only(await self._connections.fetch("user_by_id", user_id)) if is_uuid(user_id) else None

    async def user_by_name(self, username: str) -> User | None:
        """One look-up by unique key."""
        return _only(await self._connections.fetch("user_by_name", username)) if _storable(username) else None

    async def user_by_email(self, email: str) -> User | None:
        """One look-up by unique key."""
        return _only(await self._connections.fetch("user_by_email", email.lower())) if _storable(email) else None

    async def list_users(self, limit: int) -> list[User]:
        """The end of an index."""
        return [rows.user(row) for row in await self._connections.fetch("list_users", limit)]

    async def search_users(self, text: str, limit: int) -> list[User]:
        """Find a literal substring: by trigram indexes if it is rare, along the names if it is common."""
        if not _storable(text):
            return []
        pattern = f"%{fold(text).translate(_WILDCARDS)}%"
        return [rows.user(row) for row in await self._connections.fetch("search_users", pattern, limit)]

    async def update_user(self, user_id: str, changes: UserChanges) -> User | None:
        """One UPDATE."""
        return await self._changed(
            "update_user", user_id, changes.display_name, changes.avatar, changes.bio, changes.password_hash
        )

    async def find_login(self, attempt: LoginAttempt) -> tuple[User | None, tuple[datetime, ...]]:
        """One statement."""
        ((failures, *row),) = await self._connections.fetch("find_login", attempt.typed, *_pair(attempt))
        return rows.user(row) if row[0] is not None else None, tuple(failures or ())

    async def record_failure(self, attempt: LoginAttempt, at: datetime) -> tuple[datetime, ...]:
        """One statement."""
        ((failures,),) = await self._connections.write(
            "record_failure", *_pair(attempt), at, attempt.limit + 1, attempt.window
        )
        return tuple(failures)

    async def record_login(self, user_id: str, at: datetime, attempt: LoginAttempt | None = None) -> User | None:
        """One statement."""
        pair = (None, None, None, None) if attempt is None else (*_pair(attempt), attempt.limit, attempt.window)
        return await self._changed("record_login", user_id, at, *pair)

    async def set_online(self, user_id: str, online: bool, at: datetime) -> User | None:
        """With the next flush of statuses."""
        if not is_uuid(user_id):
            return None
        return await self._presence.write(PresenceWrite(user_id=user_id, online=online, at=at))

    async def retire_user(self, user_id: str, at: datetime) -> list[EndedSession] | None:
        """One transaction: lock the rooms, lock the user, end the sessions, hide the account."""
        if not is_uuid(user_id):
            return None
        async with self._connections.transaction(DELETION_SECONDS) as execute:
            await execute("lock_rooms_of_sessions", user_id)
            found = await execute("lock_user", user_id)
            if not found:
                return None
            ids = [row[0] for row in await execute("sessions_of_user", user_id)]
            ended = await execute("close_sessions", ids, [at] * len(ids))
            if not found[0][0]:
                await execute("retire_user", user_id, at)
        return [rows.ended(row, at) for row in ended]

    async def purge_user(self, user_id: str) -> bool:
        """Delete one part. The last call deletes the account, and by cascade what was written while it was retired."""
        if not is_uuid(user_id):
            return False
        if await self._marks.purge(user_id):
            return True
        async with self._connections.transaction(DELETION_SECONDS) as execute:
            await execute("lock_rooms_of_user", user_id)
            await execute("delete_user", user_id)
        return False

    async def removed_users(self, before: datetime) -> list[str]:
        """One statement, along an index that is nearly always empty."""
        return [row[0] for row in await self._connections.fetch("removed_users", before)]

    # -- rooms

    async def rooms(self, limit: int = 1000, after: str = "") -> list[Room]:
        """One statement. Each room's newest message is the end of an index."""
        found = await self._connections.fetch("rooms", limit, after) if _storable(after) else []
        return [Room(name=name, user_count=count, last_activity=last) for name, count, last in found]

    async def room_stats(self, room: str) -> RoomStats:
        """The room's counters."""
        found = await self._connections.fetch("room_stats", room) if _storable(room) else []
        total, unread, active = found[0] if found else (0, 0, 0)
        return RoomStats(total_messages=total, unread_count=unread, active_users=active)

    # -- sessions

    async def open_session(self, new: NewSession) -> Joined:
        """With the next flush of sessions."""
        _refuse_malformed(new.who)
        return await self._opens.write(new)

    async def close_session(self, session_id: str, at: datetime) -> EndedSession | None:
        """With the next flush of endings."""
        if not is_uuid(session_id):
            return None
        return await self._closes.write(Ending(session_id=session_id, at=at))

    async def close_sessions(self, session_ids: Sequence[str], at: datetime) -> list[EndedSession]:
        """One statement."""
        ids = [session_id for session_id in session_ids if is_uuid(session_id)]
        found = await self._housekeeping.write("close_sessions", ids, [at] * len(ids)) if ids else []
        return [rows.ended(row, at) for row in found]

    async def user_sessions(self, user_id: str) -> list[Session]:
        """One statement."""
        found = await self._connections.fetch("user_sessions", user_id) if is_uuid(user_id) else []
        return [rows.session(row) for row in found]

    async def sessions(self, room: str) -> list[Session]:
        """One statement."""
        found = await self._connections.fetch("sessions", room) if _storable(room) else []
        sessions: list[Session] = []
        for start in range(0, len(found), _AT_ONCE):
            sessions += [rows.session(row) for row in found[start : start + _AT_ONCE]]
            if len(found) > _AT_ONCE:
                await asyncio.sleep(0)
        return sessions

    async def newest_sessions(self, room: str, limit: int) -> tuple[list[Session], int]:
        """One statement."""
        found = await self._connections.fetch("newest_sessions", room, limit) if _storable(room) else []
        return [rows.session(row) for row in found], found[0]["all_sessions"] if found else 0

    async def activity(self) -> tuple[int, int]:
        """One count over the sessions."""
        ((sessions, rooms),) = await self._connections.fetch("activity")
        return sessions, rooms

    # -- messages

    async def post_message(self, new: NewMessage) -> Posted:
        """With the next flush of messages."""
        _refuse_malformed(new.who)
        return await self._posts.write(new)

    async def history(
        self, room: str, limit: int, offset: int = 0, *, after: int = 0, before: int = SEQ_MAX, max_bytes: int = SEQ_MAX
    ) -> list[Message]:
        """One statement. The usual page has its own statement, which skips the profiles of cached senders."""
        if not _storable(room):
            return []
        if (limit, offset, after, before) == (_USUAL_PAGE, 0, 0, SEQ_MAX):
            return await self._newest_page(room, max_bytes)
        found = await self._connections.fetch("long_history", room, offset, limit, after, before, max_bytes)
        return await _messages(found)

    async def mark_delivered(self, room: str, message_id: str, reader: Participant, at: datetime) -> Receipt | None:
        """With the next flush of receipts."""
        return await self._acknowledge(room, message_id, reader, at, read=False)

    async def mark_read(self, room: str, message_id: str, reader: Participant, at: datetime) -> Receipt | None:
        """With the next flush of receipts."""
        return await self._acknowledge(room, message_id, reader, at, read=True)

    async def mark_some_read(self, room: str, reader: Participant, at: datetime, after: int = 0) -> Marked:
        """One statement."""
        if not _storable(room) or not (reader.guest or is_uuid(reader.user_id)):
            return Marked(message_ids=(), reached=None)
        return await self._marks.mark_some_read(room, reader, at, after)

    # -- shared

    async def _newest_page(self, room: str, max_bytes: int) -> list[Message]:
        kept = self._profiles
        found = await self._connections.fetch("history", room, kept.version, max_bytes)
        if found and found[0][0] == kept.version:
            with suppress(KeyError):  # a sender is not cached
                return await _messages(found, room, kept)
            found = await self._connections.fetch("history", room, "", max_bytes)
        self._profiles = self._profiles.joined(found)
        return await _messages(found, room)

    async def _acknowledge(
        self, room: str, message_id: str, reader: Participant, at: datetime, *, read: bool
    ) -> Receipt | None:
        if not is_uuid(message_id) or not _storable(room) or not (reader.guest or is_uuid(reader.user_id)):
            return None
        return await self._acks.write(Ack(room=room, message_id=message_id, reader=reader, at=at, read=read))

    async def _changed(self, name: str, user_id: str, *arguments: Any) -> User | None:
        return _only(await self._connections.write(name, user_id, *arguments)) if is_uuid(user_id) else None

    # -- moving to another store

    def snapshot(self) -> AsyncGenerator[Batch, None]:
        """Cursors in one transaction, on a connection outside the pool."""
        return snapshot.read_all(self._connections)

    async def restore(self, batch: Batch) -> int:
        """COPY, in one transaction per batch, on a connection outside the pool."""
        return await snapshot.write_batch(self._connections, batch)


async def _messages(found: Sequence[Any], room: str | None = None, kept: Profiles | None = None) -> list[Message]:
    """Convert rows as :func:`rows.messages` does. If messages have many receipts, yield to other tasks in between."""
    profiles: Mapping[str, rows.Profile] = {} if kept is None else kept
    ends = (found[0], found[-1]) if found else ()
    if all(len(row["accounts"] or "") + len(row["marked"] or "") < _MANY_RECEIPTS for row in ends):
        return rows.messages(found, room, profiles)
    values: list[Message] = []
    for start in range(0, len(found), _A_FEW):
        values += rows.messages(found[start : start + _A_FEW], room, profiles)
        await asyncio.sleep(0)
    return sorted(values, key=attrgetter("seq"))


def _only(found: Sequence[Any]) -> User | None:
    """The account in the only row, or None without a row."""
    return rows.user(found[0]) if found else None


def _storable(text: str) -> bool:
    """False for a text that PostgreSQL can't store, so that nothing can have it as its name."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _pair(attempt: LoginAttempt) -> tuple[str, str]:
    return attempt.typed.lower()[:_TYPED_MAX], attempt.address[:_TYPED_MAX]


def _refuse_malformed(who: Participant) -> None:
    if not who.guest and not is_uuid(who.user_id):
        raise UserNotFound


# -- keys that a flush must not hold twice


def _client_key(new: NewMessage) -> Sequence[Any]:
    if new.client_message_id is None:
        return ()
    return ((new.who.user_id, new.client_message_id, new.room if new.who.guest else None),)


def _who_and_socket(new: NewSession) -> Sequence[Any]:
    return ("who", new.who.user_id), ("socket", new.socket_id)


# -- the rows that a write locks, which are also the keys of an ending and of a status


def _sender_and_room(new: NewMessage | NewSession) -> Sequence[Lock]:
    return _user_and_room(new.who, new.room)


def _message_and_reader(ack: Ack) -> Sequence[Lock]:
    return ("message", ack.message_id.lower()), *_user_and_room(ack.reader, ack.room)


def _user_and_room(who: Participant, room: str) -> Sequence[Lock]:
    return (("room", room),) if who.guest else (("user", who.user_id.lower()), ("room", room))


def _session(ending: Ending) -> Sequence[Lock]:
    return (("session", ending.session_id.lower()),)


def _user(presence: PresenceWrite) -> Sequence[Lock]:
    return (("user", presence.user_id.lower()),)
