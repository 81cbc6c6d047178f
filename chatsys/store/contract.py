"""The store contract: chat verbs, each one transaction, stated once for both stores.

Both stores obey each sentence here, and one suite (tests/contract) runs on both. A verb takes and gives frozen values;
ids are strings (an unknown or malformed id is a miss, never an error); times come from the caller, cut to milliseconds.
Each verb may raise :class:`chatsys.errors.StoreUnavailable`; other errors are named where they occur. When a verb
raises, nothing of it was stored. When a write returns, it is durable as far as the store can be. ``servers`` in an
answer is empty in a store that one process has for itself.
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
"""How often a server calls ``register_server`` within a lease."""


class Store(ABC):
    """Everything a chat remembers: users, rooms, messages with receipts, and who is where."""

    # -- the store itself

    @abstractmethod
    async def ping(self) -> StoreInfo:
        """Say who answers. Raises StoreUnavailable if nobody does."""

    @abstractmethod
    async def epoch(self) -> str:
        """The name of this life of the store's sequence numbers.

        It changes whenever numbers may be given out a second time: when a memory store starts, when a restore stores
        something, and when a database is restored, recovered or led by what was a standby.
        """

    @abstractmethod
    async def check_writing(self, server_id: str) -> None:
        """Commit something tiny for this server, which must be registered.

        Raises the StoreError that keeps messages from being stored, as far as one can tell without storing one.
        """

    # -- servers: whose sessions are alive

    @abstractmethod
    async def register_server(self, server_id: str, at: datetime) -> list[EndedSession]:
        """Announce a server process, and end the sessions of all servers that are dead.

        A server is dead once its process is known to be gone (which others on its machine see). Elsewhere it is dead
        once its lock is free and it has been silent for a lease, as seen by a server that has itself missed no
        heartbeat in that time. Called at the start and then as a heartbeat, ``HEARTBEATS`` times in a lease;
        idempotent. The list is in order of joining; users without a session left are offline from ``at`` on. Sessions
        of one server may end in several transactions: where the store fails in between, the list holds the ended, and
        the next heartbeat goes on.
        """

    @abstractmethod
    async def retire_server(self, server_id: str, at: datetime) -> list[EndedSession]:
        """End all sessions of this server, in order of joining, and forget it. Idempotent."""

    @abstractmethod
    async def bus_key(self) -> bytes:
        """The random secret, 32 bytes, by which the servers of this store know each other's messages."""

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
        """The newest accounts, newest first (ties: greater user id first)."""

    @abstractmethod
    async def search_users(self, text: str, limit: int) -> list[User]:
        """Accounts whose username or display name contains ``text`` literally, in any letter case.

        Letter case is folded with ``str.lower`` on ASCII and simple Unicode lower-casing elsewhere. By username
        in code-point order.
        """

    @abstractmethod
    async def update_user(self, user_id: str, changes: UserChanges) -> User | None:
        """Set what ``changes`` names; the account after it, or None if there is none."""

    @abstractmethod
    async def find_login(self, attempt: LoginAttempt) -> tuple[User | None, tuple[datetime, ...]]:
        """The account whose username (exactly) or email was typed, and the failures so far, oldest first."""

    @abstractmethod
    async def record_failure(self, attempt: LoginAttempt, at: datetime) -> tuple[datetime, ...]:
        """Count a failed login; the newest ``limit`` failures before it, and this one. Old ones are forgotten."""

    @abstractmethod
    async def record_login(self, user_id: str, at: datetime, attempt: LoginAttempt | None = None) -> User | None:
        """Set ``last_login`` and forget the attempt's failures; the account after it.

        None, and nothing is changed, if there is no such account, or if the attempt is refused by now.
        """

    @abstractmethod
    async def set_online(self, user_id: str, online: bool, at: datetime) -> User | None:
        """Set status and ``last_seen``; the account after it, or None if there is none."""

    @abstractmethod
    async def retire_user(self, user_id: str, at: datetime) -> list[EndedSession] | None:
        """Begin to delete an account: its sessions end, nobody sees it any more, its name and email are free.

        The ended sessions in order of joining; None if there is no such account. For one that was retired before,
        nothing is left to end.
        """

    @abstractmethod
    async def purge_user(self, user_id: str) -> bool:
        """Delete a part of what a retired account left: its messages, then its receipts, at last the account itself.

        True while there may be more. Sequence numbers of other messages stay, and those of deleted ones are not given
        out again.
        """

    @abstractmethod
    async def removed_users(self, before: datetime) -> list[str]:
        """Some of the accounts that were retired before this moment and are not deleted yet, the oldest first."""

    async def delete_user(self, user_id: str, at: datetime) -> list[EndedSession] | None:
        """:meth:`retire_user`, then :meth:`purge_user` to the end."""
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
        """Let a participant into a room, made if need be. A registered one becomes online, last seen now.

        A socket has one session: one in the same room is kept (same session id and place), one in another
        room must have been ended by the caller. Raises UserNotFound if a registered participant's account is gone,
        TooManyRooms if the room is not there and may not be made.
        """

    @abstractmethod
    async def close_session(self, session_id: str, at: datetime) -> EndedSession | None:
        """End a session; None if it is not open. A registered participant's last one makes the user offline."""

    @abstractmethod
    async def close_sessions(self, session_ids: Sequence[str], at: datetime) -> list[EndedSession]:
        """End those of these sessions that are open, together, as ``close_session`` does; in order of joining."""

    @abstractmethod
    async def user_sessions(self, user_id: str) -> list[Session]:
        """An account's sessions in all rooms, in order of joining."""

    @abstractmethod
    async def sessions(self, room: str) -> list[Session]:
        """The room's sessions in order of joining, with current profiles and presence; empty for an unknown room."""

    @abstractmethod
    async def newest_sessions(self, room: str, limit: int) -> tuple[list[Session], int]:
        """The room's newest ``limit`` sessions as :meth:`sessions` gives them, and how many there are."""

    @abstractmethod
    async def activity(self) -> tuple[int, int]:
        """How many sessions there are, and in how many rooms."""

    # -- messages

    @abstractmethod
    async def post_message(self, new: NewMessage) -> Posted:
        """Store a message with the room's next sequence number, the room made if need be.

        A ``client_message_id`` seen before from the same user (for a guest: the same guest id in the same room)
        stores nothing and gives the first message with ``duplicate=True``. Messages that one task posts one after
        another are numbered in that order. Raises UserNotFound if a registered sender's account is gone.
        """

    @abstractmethod
    async def history(
        self,
        room: str,
        limit: int,
        offset: int = 0,
        *,
        after: int = 0,
        before: int = SEQ_MAX,
        max_bytes: int = SEQ_MAX,
    ) -> list[Message]:
        """``limit`` messages after skipping the ``offset`` newest, oldest first; empty for an unknown room.

        Only messages whose sequence number is greater than ``after`` and less than ``before`` are looked at. Of those
        to be given, older ones are left out once the texts of the newer ones have ``max_bytes`` bytes together.
        """

    async def messages_since(self, room: str, seq: int, limit: int, max_bytes: int = SEQ_MAX) -> list[Message]:
        """The newest ``limit`` messages with a greater sequence number than ``seq``, oldest first."""
        return await self.history(room, limit, after=seq, max_bytes=max_bytes)

    @abstractmethod
    async def mark_delivered(self, room: str, message_id: str, reader: Participant, at: datetime) -> Receipt | None:
        """Record a delivery. Idempotent: of several that are the same, at most one is ``new``.

        None if the message is not in this room, the reader sent it, or the reader's account is gone.
        """

    @abstractmethod
    async def mark_read(self, room: str, message_id: str, reader: Participant, at: datetime) -> Receipt | None:
        """Record a read, and the delivery with it. Idempotent, and None where ``mark_delivered`` gives None."""

    @abstractmethod
    async def mark_some_read(self, room: str, reader: Participant, at: datetime, after: int = 0) -> Marked:
        """Record a read (and delivery) of the oldest messages of others after number ``after`` that were not read.

        A few hundred at most, so that nobody else waits for long. Exactly the newly marked ones are given, in order of
        their numbers; none if the reader's account is gone. Idempotent.
        """

    async def mark_all_read(self, room: str, reader: Participant, at: datetime) -> Sequence[str]:
        """:meth:`mark_some_read` until the end: the ids of all that were newly marked."""
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

        Receipts that are recorded meanwhile may be among them. Batches are small: memory does not grow with the store.
        Whoever stops early closes the generator (``contextlib.aclosing``).
        """

    @abstractmethod
    async def restore(self, batch: Batch) -> int:
        """Store the records of a batch that are not there yet, in one transaction; how many these were. Idempotent.

        Records are known by user id, room name and message id; what is there stays as it is, but a room takes the
        record's creation time and the greater sequence number. A batch of which something was stored changes the epoch.
        Batches come in the order of ``snapshot``.
        Raises SnapshotConflict if something else is in the place of a record: another account of that name or
        email, another message of that number.
        """
