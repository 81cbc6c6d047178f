"""The records of the memory store. They are mutable and never leave this package."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Container, Iterator
from datetime import datetime
from operator import attrgetter

import msgspec

from chatsys.model.rules import default_avatar, fold, is_uuid
from chatsys.model.snapshot import MessageRecord, Receipts, RoomRecord
from chatsys.model.values import Message, NewMessage, NewSession, Participant, Receipt, User

_seq = attrgetter("seq")

ClientKey = tuple[str, str, str | None]
"""User id, room (empty for a registered user, whose client ids are unique everywhere), client message id."""


def client_key(user_id: str, guest: bool, room: str, client_message_id: str | None) -> ClientKey:
    """The key under which a retry of a message is found."""
    return user_id, room if guest else "", client_message_id


class Account:
    """A user, the folded names that a search compares, and where to find the user's messages and receipts.

    ``posted`` are the rooms that the user wrote in. ``receipts`` are, by room, the sequence numbers of the messages
    that were delivered to the user.
    """

    __slots__ = ("folded_display", "folded_name", "posted", "receipts", "user")

    def __init__(self, user: User) -> None:
        self.posted: set[RoomLog] = set()
        self.receipts: dict[RoomLog, array[int]] = {}
        self.user = user
        self.folded_name = fold(user.username)
        self.folded_display = fold(user.display_name)

    def change(self, user: User) -> User:
        """Replace the profile. The username must stay the same."""
        if user.display_name != self.user.display_name:
            self.folded_display = fold(user.display_name)
        self.user = user
        return user

    def acknowledge(self, stored: StoredMessage) -> None:
        """Remember that the user has a receipt of this message."""
        self.receipts.setdefault(stored.room, array("q")).append(stored.seq)

    def matches(self, folded: str) -> bool:
        """True if the folded text is part of the username or the display name."""
        return folded in self.folded_name or folded in self.folded_display


class StoredMessage(msgspec.Struct, eq=False, kw_only=True):
    """One message. ``deliveries`` and ``reads`` map user ids to times; each is None until there is one."""

    message_id: str
    seq: int
    room: RoomLog
    user_id: str
    guest: Participant | None
    text: str
    at: datetime
    client_message_id: str | None
    edited_at: datetime | None = None
    deliveries: Receipts | None = None
    reads: Receipts | None = None

    @classmethod
    def of(cls, record: MessageRecord, room: RoomLog) -> StoredMessage:
        """The message that a record of a snapshot describes."""
        fields = msgspec.structs.asdict(record)
        name = fields.pop("guest_name")
        if name is None:
            guest = None
        else:
            avatar = default_avatar(name)
            guest = Participant(user_id=record.user_id, username=name, display_name=name, avatar=avatar, guest=True)
        receipts = {"deliveries": dict(record.deliveries) or None, "reads": dict(record.reads) or None}
        return cls(**(fields | receipts | {"room": room, "guest": guest}))

    @property
    def client_key(self) -> ClientKey:
        """The key under which a retry of this message is found."""
        return client_key(self.user_id, self.guest is not None, self.room.name, self.client_message_id)

    def view(self, profile: User | Participant) -> Message:
        """The message as a value of the model, with ``profile`` as its sender."""
        return Message(
            message_id=self.message_id,
            seq=self.seq,
            room=self.room.name,
            user_id=self.user_id,
            username=profile.username,
            display_name=profile.display_name,
            avatar=profile.avatar,
            text=self.text,
            at=self.at,
            delivered_to=tuple(self.deliveries or ()),
            read_by=tuple(self.reads or ()),
            edited_at=self.edited_at,
        )

    def record(self, readers: Container[str]) -> MessageRecord:
        """The message as a record of a snapshot, with the receipts of guests and of the users in ``readers``."""
        return MessageRecord(
            message_id=self.message_id,
            room=self.room.name,
            seq=self.seq,
            user_id=self.user_id,
            guest_name=self.guest.username if self.guest else None,
            text=self.text,
            at=self.at,
            edited_at=self.edited_at,
            client_message_id=self.client_message_id,
            deliveries=_receipts_of(self.deliveries, readers),
            reads=_receipts_of(self.reads, readers),
        )

    def delivered_to(self, user_id: str, at: datetime) -> bool:
        """Record a delivery; False if it was recorded before."""
        if self.deliveries is None:
            self.deliveries = {}
        elif user_id in self.deliveries:
            return False
        self.deliveries[user_id] = at
        return True

    def read_by(self, user_id: str, at: datetime) -> bool:
        """Record a read; False if it was recorded before."""
        if self.reads is None:
            self.reads = {}
            self.room.unread -= 1
        elif user_id in self.reads:
            return False
        self.reads[user_id] = at
        return True

    def forget_reader(self, user_id: str) -> None:
        """Remove the receipts of a user."""
        if self.deliveries is not None and self.deliveries.pop(user_id, None) is not None and not self.deliveries:
            self.deliveries = None
        if self.reads is not None and self.reads.pop(user_id, None) is not None and not self.reads:
            self.reads = None
            self.room.unread += 1

    def receipt(self, receipts: Receipts | None, *, new: bool) -> Receipt:
        """The result of recording a receipt, with all user ids in ``receipts``."""
        return Receipt(message_id=self.message_id, user_ids=tuple(receipts or ()), new=new)


class RoomLog:
    """A room: its messages in order of their sequence numbers, and its sessions in order of joining.

    ``unread`` counts the messages that nobody has read. ``read_to`` maps a user id to a sequence number up to which
    the user has read everything that others wrote.
    """

    __slots__ = ("_longest", "created_at", "last_seq", "messages", "name", "present", "read_to", "sessions", "unread")

    def __init__(self, name: str, created_at: datetime) -> None:
        self.name = name
        self.created_at = created_at
        self.last_seq = 0
        self.messages: list[StoredMessage] = []
        self._longest = 0  # characters of the longest text so far
        self.unread = 0
        self.read_to: dict[str, int] = {}
        self.sessions: dict[str, NewSession] = {}
        self.present: Counter[str] = Counter()

    @property
    def last_activity(self) -> datetime:
        """The time of the newest message, else of the room's creation."""
        return self.messages[-1].at if self.messages else self.created_at

    def record(self) -> RoomRecord:
        """The room as a record of a snapshot."""
        return RoomRecord(name=self.name, created_at=self.created_at, last_seq=self.last_seq)

    def append(self, new: NewMessage) -> StoredMessage:
        """Store a message under the next sequence number."""
        self.last_seq += 1
        self.unread += 1
        stored = StoredMessage(
            message_id=new.message_id,
            seq=self.last_seq,
            room=self,
            user_id=new.who.user_id,
            guest=new.who if new.who.guest else None,
            text=new.text,
            at=new.at,
            client_message_id=new.client_message_id,
        )
        self._longest = max(self._longest, len(new.text))
        self.messages.append(stored)
        return stored

    def insert(self, stored: StoredMessage) -> None:
        """Insert a message that already has a number. Users who had read everything have not read this one."""
        if self.read_to:
            self.read_to = {who: min(to, stored.seq - 1) for who, to in self.read_to.items()}
        self.messages.insert(bisect_right(self.messages, stored.seq, key=_seq), stored)
        self.last_seq = max(self.last_seq, stored.seq)
        self._longest = max(self._longest, len(stored.text))
        self.unread += stored.reads is None

    def page(self, limit: int, offset: int, after: int, before: int, max_bytes: int) -> list[StoredMessage]:
        """The newest ``limit`` messages between two sequence numbers after skipping ``offset``, oldest first.

        Older messages are left out once the newer ones have ``max_bytes`` bytes of text.
        """
        end = max(0, self.position_after(before - 1) - offset)
        page = self.messages[max(self.position_after(after), end - limit, 0) : end]
        if 4 * self._longest * len(page) < max_bytes:  # UTF-8 has at most 4 bytes per character
            return page
        size = 0
        for index in range(len(page) - 1, -1, -1):
            if size >= max_bytes:
                return page[index + 1 :]
            size += len(page[index].text.encode())
        return page

    def after(self, seq: int) -> Iterator[StoredMessage]:
        """The messages with a greater sequence number, oldest first."""
        for position in range(self.position_after(seq), len(self.messages)):
            yield self.messages[position]

    def position_after(self, seq: int) -> int:
        """The position in ``messages`` of the first one with a greater sequence number."""
        if self.last_seq == len(self.messages):  # nothing was deleted, so the position follows from the number
            return min(max(seq, 0), self.last_seq)
        return bisect_right(self.messages, seq, key=_seq)

    def find(self, seq: int) -> StoredMessage | None:
        """The message with this sequence number, or None if it was deleted."""
        position = bisect_left(self.messages, seq, key=_seq)
        if position < len(self.messages) and self.messages[position].seq == seq:
            return self.messages[position]
        return None

    def remove_sender(self, user_id: str) -> list[StoredMessage]:
        """Remove the messages of a registered user and return them."""
        removed = [stored for stored in self.messages if stored.user_id == user_id]
        self.messages = [stored for stored in self.messages if stored.user_id != user_id]
        self.unread -= sum(stored.reads is None for stored in removed)
        return removed

    def enter(self, session: NewSession) -> None:
        """Add a session."""
        self.sessions[session.session_id] = session
        self.present[session.who.user_id] += 1

    def leave(self, session: NewSession) -> None:
        """Remove a session."""
        del self.sessions[session.session_id]
        self.present[session.who.user_id] -= 1
        if not self.present[session.who.user_id]:
            del self.present[session.who.user_id]


def _receipts_of(receipts: Receipts | None, readers: Container[str]) -> Receipts:
    return {who: at for who, at in sorted((receipts or {}).items()) if who in readers or not is_uuid(who)}
