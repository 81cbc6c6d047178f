"""MemoryStore: the verbs of the contract on dictionaries. A verb is atomic: it makes its changes without awaiting."""

from __future__ import annotations

import asyncio
import secrets
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice

import msgspec

from chatsys.errors import SnapshotConflict, TooManyRooms, UserExists, UserNotFound
from chatsys.model.rules import DEFAULT_ROOMS, SEQ_MAX, fold, is_uuid, milliseconds
from chatsys.model.snapshot import Batch, MessageRecord, RoomRecord, UserRecord
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
from chatsys.store.memory.records import Account, ClientKey, RoomLog, StoredMessage, client_key

BATCH = 1000
"""The most records in a batch of a snapshot."""

FAILURES_KEPT = 10_000
"""How many pairs of a typed name and an address keep their failed logins."""

PURGED = 5000
"""The most receipts that one call of ``purge_user`` deletes."""

PART_MARKED, PART_LOOKED_AT = 500, 5000
"""The most messages that one call of ``mark_some_read`` marks, and the most that it looks at."""

PART_SEARCHED = 1000
"""How many accounts a search looks at before it yields to other tasks."""


class MemoryStore(Store):
    """A store in this process's memory.

    Users are indexed by id, username and email; messages by id and by their sender's client id; sessions by id,
    socket, user, room and server. Only a substring search scans. Returned values are frozen.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._by_name: dict[str, Account] = {}
        self._by_email: dict[str, Account] = {}
        self._names: list[str] = []  # sorted
        self._ages: list[tuple[datetime, str]] = []  # (created_at, user_id), sorted
        self._messages: dict[str, StoredMessage] = {}
        self._by_client_id: dict[ClientKey, StoredMessage] = {}
        self._sessions: dict[str, NewSession] = {}
        self._by_socket: dict[str, NewSession] = {}
        self._by_user: dict[str, dict[str, NewSession]] = {}
        self._by_server: dict[str, dict[str, NewSession]] = {}
        self._rooms: dict[str, RoomLog] = {}
        self._room_names: list[str] = []  # sorted
        self._bus_key = secrets.token_bytes(32)
        self._epoch = secrets.token_hex(16)
        self._removed: dict[str, Account] = {}
        self._removed_at: dict[str, datetime] = {}
        self._failures: OrderedDict[tuple[str, str], tuple[datetime, ...]] = OrderedDict()
        now = milliseconds(datetime.now(UTC))
        for name, _ in DEFAULT_ROOMS:
            self._room(name, now)

    # -- the store itself

    async def ping(self) -> StoreInfo:
        """The memory store always answers."""
        return StoreInfo(kind="memory", version="", host="", database="")

    async def epoch(self) -> str:
        """A random id, new for each store and after each restore."""
        return self._epoch

    async def check_writing(self, server_id: str) -> None:
        """Do nothing: the memory store can always write."""

    # -- servers

    async def register_server(self, server_id: str, at: datetime) -> list[EndedSession]:
        """End nothing: all servers of this store are in this process, so none of them is dead."""
        self._by_server.setdefault(server_id, {})
        return []

    async def retire_server(self, server_id: str, at: datetime) -> list[EndedSession]:
        """End all sessions of this server and remove it."""
        return self._end(self._by_server.pop(server_id, {}).values(), at)

    async def bus_key(self) -> bytes:
        """Created with the store."""
        return self._bus_key

    # -- users

    async def create_user(self, user: User) -> User:
        """Store a new account, or raise UserExists."""
        if user.username in self._by_name or user.email.lower() in self._by_email:
            raise UserExists
        self._add_user(user)
        return user

    async def user_by_id(self, user_id: str) -> User | None:
        """One look-up."""
        return _user(self._accounts.get(user_id.lower()))

    async def user_by_name(self, username: str) -> User | None:
        """One look-up."""
        return _user(self._by_name.get(username))

    async def user_by_email(self, email: str) -> User | None:
        """One look-up."""
        return _user(self._by_email.get(email.lower()))

    async def list_users(self, limit: int) -> list[User]:
        """The end of the list that is sorted by age."""
        newest = self._ages[max(0, len(self._ages) - limit) :]
        return [self._accounts[user_id].user for _, user_id in reversed(newest)]

    async def search_users(self, text: str, limit: int) -> list[User]:
        """A scan in order of usernames until ``limit`` are found. It yields to other tasks between its parts."""
        folded = fold(text)
        found: list[User] = []
        part = self._names[:PART_SEARCHED]
        while True:
            accounts = (account for name in part if (account := self._by_name[name]).matches(folded))
            found += [account.user for account in islice(accounts, limit - len(found))]
            if len(found) >= limit or len(part) < PART_SEARCHED:
                return found
            await asyncio.sleep(0)
            after = bisect_right(self._names, part[-1])  # names may have been added or removed meanwhile
            part = self._names[after : after + PART_SEARCHED]

    async def update_user(self, user_id: str, changes: UserChanges) -> User | None:
        """Set the fields that are not None."""
        named = {field: value for field, value in msgspec.structs.asdict(changes).items() if value is not None}
        return self._change(user_id, **named)

    async def find_login(self, attempt: LoginAttempt) -> tuple[User | None, tuple[datetime, ...]]:
        """Two look-ups."""
        found = self._by_name.get(attempt.typed) or self._by_email.get(attempt.typed.lower())
        return _user(found), tuple(self._failures.get(_pair(attempt), ()))

    async def record_failure(self, attempt: LoginAttempt, at: datetime) -> tuple[datetime, ...]:
        """Only the pairs that failed last keep their failures."""
        failures = self._failures.pop(_pair(attempt), ())
        newest = self._failures[_pair(attempt)] = (*failures, at)[-attempt.limit - 1 :]
        if len(self._failures) > FAILURES_KEPT:
            self._failures.popitem(last=False)
        return newest

    async def record_login(self, user_id: str, at: datetime, attempt: LoginAttempt | None = None) -> User | None:
        """Set ``last_login``."""
        if attempt is not None:
            until = attempt.refused_until(self._failures.get(_pair(attempt), ()))
            if until is not None and until > at:
                return None
            self._failures.pop(_pair(attempt), None)
        return self._change(user_id, last_login=at)

    async def set_online(self, user_id: str, online: bool, at: datetime) -> User | None:
        """Set status and ``last_seen``."""
        return self._change(user_id, online=online, last_seen=at)

    async def retire_user(self, user_id: str, at: datetime) -> list[EndedSession] | None:
        """Remove the account from every index. Its messages show its profile until they are purged."""
        account = self._accounts.get(user_id.lower())
        if account is None:
            return [] if user_id.lower() in self._removed else None
        user = account.user
        ended = self._end(self._by_user.get(user.user_id, {}).values(), at)
        del self._accounts[user.user_id], self._by_name[user.username], self._by_email[user.email.lower()]
        del self._names[bisect_left(self._names, user.username)]
        del self._ages[bisect_left(self._ages, (user.created_at, user.user_id))]
        self._removed[user.user_id] = account
        self._removed_at[user.user_id] = at
        return ended

    async def purge_user(self, user_id: str) -> bool:
        """Delete what the user wrote in one room, or some receipts, after yielding to other tasks."""
        account = self._removed.get(user_id.lower())
        if account is None:
            return False
        await asyncio.sleep(0)
        user_id = account.user.user_id
        if account.posted:
            room = account.posted.pop()
            for stored in room.remove_sender(user_id):
                del self._messages[stored.message_id]
                self._by_client_id.pop(stored.client_key, None)
        elif account.receipts:
            room, seqs = account.receipts.popitem()
            room.read_to.pop(user_id, None)
            for stored in filter(None, map(room.find, seqs[-PURGED:])):
                stored.forget_reader(user_id)
            if seqs[:-PURGED]:
                account.receipts[room] = seqs[:-PURGED]
        else:
            self._removed.pop(user_id, None)
            self._removed_at.pop(user_id, None)
        return user_id in self._removed

    async def removed_users(self, before: datetime) -> list[str]:
        """In order of retirement."""
        return [user_id for user_id, at in self._removed_at.items() if at < before][:10]

    # -- rooms

    async def rooms(self, limit: int = 1000, after: str = "") -> list[Room]:
        """A slice of the sorted list of names."""
        start = bisect_right(self._room_names, after)
        logs = [self._rooms[name] for name in self._room_names[start : start + limit]]
        return [Room(name=log.name, user_count=len(log.present), last_activity=log.last_activity) for log in logs]

    async def room_stats(self, room: str) -> RoomStats:
        """Counters that are kept up to date."""
        log = self._rooms.get(room)
        if log is None:
            return RoomStats(total_messages=0, unread_count=0, active_users=0)
        return RoomStats(total_messages=len(log.messages), unread_count=log.unread, active_users=len(log.present))

    # -- sessions

    async def open_session(self, new: NewSession) -> Joined:
        """Add the session to the room and to the indexes."""
        if not new.who.guest and new.who.user_id not in self._accounts:
            raise UserNotFound
        made = new.room not in self._rooms
        if made and not new.may_make_room:
            raise TooManyRooms
        if not new.who.guest:
            self._change(new.who.user_id, online=True, last_seen=new.at)
        room = self._room(new.room, new.at)
        session = self._by_socket.get(new.socket_id)
        if session is None:
            session = new
            room.enter(session)
            self._sessions[session.session_id] = self._by_socket[session.socket_id] = session
            self._by_user.setdefault(session.who.user_id, {})[session.session_id] = session
            self._by_server.setdefault(session.server_id, {})[session.session_id] = session
        return Joined(session=self._view(session), last_seq=room.last_seq, epoch=self._epoch, made_room=made)

    async def close_session(self, session_id: str, at: datetime) -> EndedSession | None:
        """End one session."""
        session = self._sessions.get(session_id.lower())
        return None if session is None else self._end((session,), at)[0]

    async def close_sessions(self, session_ids: Sequence[str], at: datetime) -> list[EndedSession]:
        """End several sessions; the dictionary keeps the order of joining."""
        found = {session_id.lower() for session_id in session_ids} & self._sessions.keys()
        in_order = self._sessions if len(found) > 1 else found
        return self._end([self._sessions[session_id] for session_id in in_order if session_id in found], at)

    async def user_sessions(self, user_id: str) -> list[Session]:
        """An account's sessions. The id of a guest finds none."""
        account = self._accounts.get(user_id.lower())
        mine = self._by_user.get(account.user.user_id, {}) if account is not None else {}
        return [self._view(session) for session in mine.values()]

    async def sessions(self, room: str) -> list[Session]:
        """The room's sessions; a dictionary keeps the order of joining."""
        log = self._rooms.get(room)
        return [] if log is None else [self._view(session) for session in log.sessions.values()]

    async def newest_sessions(self, room: str, limit: int) -> tuple[list[Session], int]:
        """The end of the room's dictionary of sessions."""
        log = self._rooms.get(room)
        if log is None:
            return [], 0
        newest = list(islice(reversed(log.sessions.values()), limit))
        return [self._view(session) for session in reversed(newest)], len(log.sessions)

    async def activity(self) -> tuple[int, int]:
        """Sessions, and rooms that have one."""
        return len(self._sessions), len({session.room for session in self._sessions.values()})

    # -- messages

    async def post_message(self, new: NewMessage) -> Posted:
        """Append to the room, unless the sender's client id is known."""
        account = None if new.who.guest else self._accounts.get(new.who.user_id)
        if account is None and not new.who.guest:
            raise UserNotFound
        key = client_key(new.who.user_id, new.who.guest, new.room, new.client_message_id)
        first = self._by_client_id.get(key)
        if first is not None:
            return Posted(message=self._message(first), duplicate=True)
        room = self._room(new.room, new.at)
        stored = room.append(new)
        self._messages[stored.message_id] = stored
        if new.client_message_id is not None:
            self._by_client_id[key] = stored
        if account is not None:
            account.posted.add(room)
        return Posted(message=self._message(stored), duplicate=False)

    async def history(
        self, room: str, limit: int, offset: int = 0, *, after: int = 0, before: int = SEQ_MAX, max_bytes: int = SEQ_MAX
    ) -> list[Message]:
        """A slice of the room's messages."""
        log = self._rooms.get(room)
        found = [] if log is None else log.page(limit, offset, after, before, max_bytes)
        return [self._message(stored) for stored in found]

    async def mark_delivered(self, room: str, message_id: str, reader: Participant, at: datetime) -> Receipt | None:
        """Record a delivery."""
        stored = self._readable(room, message_id, reader)
        if stored is None:
            return None
        new = self._deliver(stored, reader, at)
        return stored.receipt(stored.deliveries, new=new)

    async def mark_read(self, room: str, message_id: str, reader: Participant, at: datetime) -> Receipt | None:
        """Record a read and the delivery."""
        stored = self._readable(room, message_id, reader)
        if stored is None:
            return None
        self._deliver(stored, reader, at)
        new = stored.read_by(reader.user_id, at)
        return stored.receipt(stored.reads, new=new)

    async def mark_some_read(self, room: str, reader: Participant, at: datetime, after: int = 0) -> Marked:
        """Start after the messages that the reader is known to have read."""
        log = self._rooms.get(room)
        if log is None or not self._known(reader):
            return Marked(message_ids=(), reached=None)
        marked: list[str] = []
        reached = max(after, log.read_to.get(reader.user_id, 0))
        for stored in islice(log.after(reached), PART_LOOKED_AT):
            if stored.user_id != reader.user_id and stored.read_by(reader.user_id, at):
                self._deliver(stored, reader, at)
                marked.append(stored.message_id)
            reached = stored.seq
            if len(marked) == PART_MARKED:
                break
        end = not log.messages or reached >= log.messages[-1].seq
        if after <= log.read_to.get(reader.user_id, 0):
            log.read_to[reader.user_id] = log.last_seq if end else reached
        return Marked(message_ids=tuple(marked), reached=None if end else reached)

    # -- moving to another store

    async def snapshot(self) -> AsyncGenerator[Batch, None]:
        """The first step copies the accounts and lists each room's messages. Texts are not copied."""
        users = [UserRecord.of(self._accounts[user_id].user) for user_id in sorted(self._accounts)]
        rooms = [(log.record(), self._kept(log)) for log in map(self._rooms.__getitem__, self._room_names)]
        readers = {user.user_id for user in users}
        for start in range(0, len(users), BATCH):
            yield users[start : start + BATCH]
        yield [record for record, _ in rooms]
        for _, messages in rooms:
            for start in range(0, len(messages), BATCH):
                yield [stored.record(readers) for stored in messages[start : start + BATCH]]

    def _kept(self, log: RoomLog) -> list[StoredMessage]:
        """The room's messages without those of accounts that are being deleted."""
        if not self._removed:
            return log.messages[:]
        return [stored for stored in log.messages if stored.user_id not in self._removed]

    async def restore(self, batch: Batch) -> int:
        """Check that no record conflicts, then store them."""
        users = [record for record in batch if isinstance(record, UserRecord)]
        rooms = [record for record in batch if isinstance(record, RoomRecord)]
        messages = [record for record in batch if isinstance(record, MessageRecord)]
        added = self._restore_users(users) + self._restore_rooms(rooms) + self._restore_messages(messages)
        if added:
            self._epoch = secrets.token_hex(16)
        return added

    def _restore_users(self, records: list[UserRecord]) -> int:
        fresh = [record for record in records if record.user_id not in self._accounts]
        for record in fresh:
            if record.username in self._by_name or record.email.lower() in self._by_email:
                raise SnapshotConflict(f"Another account has the name {record.username} or its email.")
        for record in fresh:
            self._add_user(record.user())
        return len(fresh)

    def _restore_rooms(self, records: list[RoomRecord]) -> int:
        before = len(self._rooms)
        for record in records:
            log = self._room(record.name, record.created_at)
            log.created_at, log.last_seq = record.created_at, max(log.last_seq, record.last_seq)
        return len(self._rooms) - before

    def _restore_messages(self, records: list[MessageRecord]) -> int:
        fresh = [record for record in records if record.message_id not in self._messages]
        for record in fresh:
            self._refuse_conflict(record)
        for record in fresh:
            self._put(StoredMessage.of(record, self._rooms[record.room]))
        return len(fresh)

    def _refuse_conflict(self, record: MessageRecord) -> None:
        people = {record.user_id, *record.deliveries, *record.reads}
        log = self._rooms.get(record.room)
        if log is None or any(is_uuid(who) and who not in self._accounts for who in people):
            raise SnapshotConflict(f"Message {record.message_id} belongs to a room or an account that is missing.")
        if log.find(record.seq) is not None:
            raise SnapshotConflict(f"The room {record.room!r} holds another message number {record.seq}.")

    def _put(self, stored: StoredMessage) -> None:
        stored.room.insert(stored)
        self._messages[stored.message_id] = stored
        if stored.client_message_id is not None:
            self._by_client_id[stored.client_key] = stored
        if stored.guest is None:
            self._accounts[stored.user_id].posted.add(stored.room)
        for user_id in (stored.deliveries or {}).keys() & self._accounts.keys():
            self._accounts[user_id].acknowledge(stored)

    # -- shared

    def _add_user(self, user: User) -> None:
        account = Account(user)
        self._accounts[user.user_id] = self._by_name[user.username] = self._by_email[user.email.lower()] = account
        insort(self._names, user.username)
        insort(self._ages, (user.created_at, user.user_id))

    def _room(self, name: str, at: datetime) -> RoomLog:
        log = self._rooms.get(name)
        if log is None:
            log = self._rooms[name] = RoomLog(name, at)
            insort(self._room_names, name)
        return log

    def _change(self, user_id: str, **fields: object) -> User | None:
        account = self._accounts.get(user_id.lower())
        return None if account is None else account.change(msgspec.structs.replace(account.user, **fields))

    def _known(self, who: Participant) -> bool:
        return who.guest or who.user_id in self._accounts

    def _message(self, stored: StoredMessage) -> Message:
        return stored.view(stored.guest or (self._accounts.get(stored.user_id) or self._removed[stored.user_id]).user)

    def _view(self, session: NewSession) -> Session:
        who, online, last_seen = session.who, True, None
        if not who.guest:
            user = self._accounts[who.user_id].user
            online, last_seen = user.online, user.last_seen
            who = Participant(
                user_id=user.user_id, username=user.username, display_name=user.display_name, avatar=user.avatar
            )
        return Session(
            session_id=session.session_id,
            socket_id=session.socket_id,
            room=session.room,
            who=who,
            joined_at=session.at,
            online=online,
            last_seen=last_seen,
        )

    def _readable(self, room: str, message_id: str, reader: Participant) -> StoredMessage | None:
        stored = self._messages.get(message_id.lower())
        if stored is None or stored.room.name != room or stored.user_id == reader.user_id or not self._known(reader):
            return None
        return stored

    def _deliver(self, stored: StoredMessage, reader: Participant, at: datetime) -> bool:
        new = stored.delivered_to(reader.user_id, at)
        if new and not reader.guest:
            self._accounts[reader.user_id].acknowledge(stored)
        return new

    def _end(self, sessions: Iterable[NewSession], at: datetime) -> list[EndedSession]:
        """End sessions together. ``last`` is true for participants who have no session left after all of them ended."""
        ending = list(sessions)
        for session in ending:
            self._forget(session)
        gone = {session.who.user_id for session in ending if session.who.user_id not in self._by_user}
        for user_id in gone & self._accounts.keys():
            self._change(user_id, online=False, last_seen=at)
        return [
            EndedSession(session=self._view(session), last=session.who.user_id in gone, at=at) for session in ending
        ]

    def _forget(self, session: NewSession) -> None:
        del self._sessions[session.session_id], self._by_socket[session.socket_id]
        self._rooms[session.room].leave(session)
        self._by_server.get(session.server_id, {}).pop(session.session_id, None)
        of_user = self._by_user[session.who.user_id]
        del of_user[session.session_id]
        if not of_user:
            del self._by_user[session.who.user_id]


def _pair(attempt: LoginAttempt) -> tuple[str, str]:
    return attempt.typed.lower(), attempt.address


def _user(account: Account | None) -> User | None:
    return None if account is None else account.user
