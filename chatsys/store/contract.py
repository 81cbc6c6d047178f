"""The store contract: the chat verbs, defined once for both stores. Each verb is one transaction.

Both stores follow every sentence here, and one test suite (tests/contract) runs on both. Verbs take and return frozen
values. Ids are strings; an unknown or malformed id finds nothing and is never an error. Times come from the caller, in
whole milliseconds. Each verb may raise :class:`chatsys.errors.StoreUnavailable`; other errors are named where they
occur. A verb that raises has stored nothing. A write that returns is as durable as the store can make it. ``servers``
in a result is empty if only one process uses the store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime

from chatsys.model.rules import SEQ_MAX
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

HEARTBEATS = 4
"""How many times per lease a server calls ``register_server``."""


class Store(ABC):
    """Everything that a chat stores: users, rooms, messages with receipts, and sessions."""

    # -- the store itself

    @abstractmethod
    async def ping(self) -> StoreInfo:
        """Describe the database server. Raises StoreUnavailable if it does not answer."""

    @abstractmethod
    async def epoch(self) -> str:
        """The id of the current series of sequence numbers.

        It changes whenever numbers may be assigned a second time: when a memory store starts, when a restore stores
        something, when a database is restored or recovered, and when a standby is promoted.
        """

    @abstractmethod
    async def check_writing(self, server_id: str) -> None:
        """Commit a tiny write for this server, which must be registered.

        Raises the StoreError that keeps messages from being stored, as far as a write without a message shows.
        """

    # -- servers: whose sessions are alive

    @abstractmethod
    async def register_server(self, server_id: str, at: datetime) -> list[EndedSession]:
        """Register a server process or renew its lease, and end the sessions of all dead servers. Idempotent.

        A server calls it at start-up and then as a heartbeat, ``HEARTBEATS`` times per lease. Servers on the same
        machine see that a process is gone; its server is then dead. For other machines, a server is dead once its lock
        is free and it has been silent for a lease, as seen by a server that itself missed no heartbeat in that time.

        Returns the ended sessions in order of joining. Users without a remaining session are offline from ``at`` on.
        The sessions of one server may end in several transactions. If the store fails in between, the list has the
        sessions that ended, and the next heartbeat continues.
        """

    @abstractmethod
    async def retire_server(self, server_id: str, at: datetime) -> list[EndedSession]:
        """End all sessions of this server, in order of joining, and remove the server. Idempotent."""

    @abstractmethod
    async def bus_key(self) -> bytes:
        """The random 32-byte secret with which the servers of this store authenticate each other's messages."""

    # -- users

    @abstractmethod
    async def create_user(self, user: User) -> User:
        """Store a new account. Raises UserExists if the username or the email is taken (email in lower case)."""

    @abstractmethod
    async def user_by_id(self, user_id: str) -> User | None:
        """The account, or None."""

    @abstractmethod
    async def user_by_name(self, username: str) -> User | None:
        """The account with exactly this username, or None."""

    @abstractmethod
    async def user_by_email(self, email: str) -> User | None:
        """The account with this email in any letter case, or None."""

    @abstractmethod
    async def list_users(self, limit: int) -> list[User]:
        """The ``limit`` newest accounts, newest first (ties: greater user id first)."""

    @abstractmethod
    async def search_users(self, text: str, limit: int) -> list[User]:
        """Accounts whose username or display name contains ``text`` literally, in any letter case.

        Letter case is folded with ``str.lower`` on ASCII and simple Unicode lower-casing elsewhere. Results are in
        code-point order of usernames.
        """

    @abstractmethod
    async def update_user(self, user_id: str, changes: UserChanges) -> User | None:
        """Set the fields named in ``changes``. Returns the updated account, or None if it does not exist."""

    @abstractmethod
    async def find_login(self, attempt: LoginAttempt) -> tuple[User | None, tuple[datetime, ...]]:
        """The account with the typed username (exact) or email, and the failures so far, oldest first."""

    @abstractmethod
    async def record_failure(self, attempt: LoginAttempt, at: datetime) -> tuple[datetime, ...]:
        """Record a failed login. Returns the newest ``limit`` failures before it, and this one; drops older ones."""

    @abstractmethod
    async def record_login(self, user_id: str, at: datetime, attempt: LoginAttempt | None = None) -> User | None:
        """Set ``last_login`` and delete the attempt's failures. Returns the updated account.

        Returns None and changes nothing if there is no such account, or if the attempt is refused by now.
        """

    @abstractmethod
    async def set_online(self, user_id: str, online: bool, at: datetime) -> User | None:
        """Set the status and ``last_seen``. Returns the updated account, or None if it does not exist."""

    @abstractmethod
    async def retire_user(self, user_id: str, at: datetime) -> list[EndedSession] | None:
        """Begin to delete an account: end its sessions, hide it, and free its name and email.

        Returns the ended sessions in order of joining, or None if there is no such account. An account that was
        retired before has no sessions left to end.
        """

    @abstractmethod
    async def purge_user(self, user_id: str) -> bool:
        """Delete a part of a retired account: first its messages, then its receipts, finally the account itself.

        Returns True while there may be more. Other messages keep their sequence numbers, and the numbers of deleted
        messages are not reused.
        """

    @abstractmethod
    async def removed_users(self, before: datetime) -> list[str]:
        """Some accounts that were retired before this moment and are not deleted yet, the first retired first."""

    async def delete_user(self, user_id: str, at: datetime) -> list[EndedSession] | None:
        """:meth:`retire_user`, then :meth:`purge_user` until nothing is left."""
        ended = await self.retire_user(user_id, at)
        while ended is not None and await self.purge_user(user_id):
            pass
        return ended

    # -- rooms

    @abstractmethod
    async def rooms(self, limit: int = 1000, after: str = "") -> list[Room]:
        """The first ``limit`` rooms whose names are greater than ``after``, by name in code-point order."""

    @abstractmethod
    async def room_stats(self, room: str) -> RoomStats:
        """Counts of a room; zeros for an unknown one."""

    # -- sessions

    @abstractmethod
    async def open_session(self, new: NewSession) -> Joined:
        """Open a session in a room, which is created if missing. A registered user becomes online, last seen now.

        A socket has one session. If it already has one in this room, that session is kept, with the same id and
        position. The caller must first end one in another room. Raises UserNotFound if a registered participant's
        account is gone, and TooManyRooms if the room is missing and may not be created.
        """

    @abstractmethod
    async def close_session(self, session_id: str, at: datetime) -> EndedSession | None:
        """End a session; None if it is not open. A registered user without another session becomes offline."""

    @abstractmethod
    async def close_sessions(self, session_ids: Sequence[str], at: datetime) -> list[EndedSession]:
        """End all of these sessions that are open, as ``close_session`` does. Returns them in order of joining."""

    @abstractmethod
    async def user_sessions(self, user_id: str) -> list[Session]:
        """An account's sessions in all rooms, in order of joining."""

    @abstractmethod
    async def sessions(self, room: str) -> list[Session]:
        """The room's sessions in order of joining, with current profiles and presence; empty for an unknown room."""

    @abstractmethod
    async def newest_sessions(self, room: str, limit: int) -> tuple[list[Session], int]:
        """The room's newest ``limit`` sessions as :meth:`sessions` returns them, and the number of all."""

    @abstractmethod
    async def activity(self) -> tuple[int, int]:
        """The number of sessions, and the number of rooms that have one."""

    # -- messages

    @abstractmethod
    async def post_message(self, new: NewMessage) -> Posted:
        """Store a message with the room's next sequence number. The room is created if missing.

        If the same user (for a guest: the same guest id in the same room) has used the ``client_message_id`` before,
        the call stores nothing and returns the first message with ``duplicate=True``. Messages that one task posts one
        after another are numbered in that order. Raises UserNotFound if a registered sender's account is gone.
        """

    @abstractmethod
    async def history(
        self, room: str, limit: int, offset: int = 0, *, after: int = 0, before: int = SEQ_MAX, max_bytes: int = SEQ_MAX
    ) -> list[Message]:
        """The newest ``limit`` messages after skipping ``offset``, oldest first; empty for an unknown room.

        Only messages with a sequence number greater than ``after`` and less than ``before`` count. Older messages are
        left out once the texts of the newer ones have ``max_bytes`` bytes in total.
        """

    async def messages_since(self, room: str, seq: int, limit: int, max_bytes: int = SEQ_MAX) -> list[Message]:
        """The newest ``limit`` messages with a greater sequence number than ``seq``, oldest first."""
        return await self.history(room, limit, after=seq, max_bytes=max_bytes)

    @abstractmethod
    async def mark_delivered(self, room: str, message_id: str, reader: Participant, at: datetime) -> Receipt | None:
        """Record a delivery. Idempotent: if it is recorded several times, at most one result is ``new``.

        Returns None if the message is not in this room, the reader sent it, or the reader's account is gone.
        """

    @abstractmethod
    async def mark_read(self, room: str, message_id: str, reader: Participant, at: datetime) -> Receipt | None:
        """Record a read and the delivery with it. Idempotent. Returns None where ``mark_delivered`` does."""

    @abstractmethod
    async def mark_some_read(self, room: str, reader: Participant, at: datetime, after: int = 0) -> Marked:
        """Mark as read and delivered the oldest unread messages of others with sequence numbers after ``after``.

        One call marks a few hundred at most, so that other writers do not wait long. It returns exactly the newly
        marked messages in order of their numbers, and none if the reader's account is gone. Idempotent.
        """

    async def mark_all_read(self, room: str, reader: Participant, at: datetime) -> Sequence[str]:
        """Call :meth:`mark_some_read` until everything is read. Returns the ids of all newly marked messages."""
        marked: list[str] = []
        reached: int | None = 0
        while reached is not None:
            part = await self.mark_some_read(room, reader, at, reached)
            marked += part.message_ids
            reached = part.reached
        return marked

    # -- moving to another store

    @abstractmethod
    def snapshot(self) -> AsyncGenerator[Batch, None]:
        """All accounts, rooms and messages as of one moment, in the order of :mod:`chatsys.model.snapshot`.

        Receipts that are recorded meanwhile may be included. Batches are small, so memory use does not grow with the
        store. A caller that stops early must close the generator (``contextlib.aclosing``).
        """

    @abstractmethod
    async def restore(self, batch: Batch) -> int:
        """Store the records of a batch that do not exist yet, in one transaction. Returns how many. Idempotent.

        Records are identified by user id, room name and message id. Existing ones stay as they are, except that a room
        takes the record's creation time and the greater sequence number. Storing a record changes the epoch. Batches
        must come in the order of ``snapshot``. Raises SnapshotConflict if something else is in the place of a record:
        another account with that name or email, or another message with that number.
        """
