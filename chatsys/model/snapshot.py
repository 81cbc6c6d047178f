"""The records of a snapshot: everything in a store except sessions, which end with their server.

A batch holds records of one kind. Each record comes after those that it refers to: first accounts by user id, then
rooms by name, then messages by room name and sequence number. Strings are in code-point order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from chatsys.model.values import User

Receipts = dict[str, datetime]
"""Maps user ids and guest ids to the time of the receipt, ordered by id."""


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of the records. In a file, the field ``kind`` says which type a record has."""


class UserRecord(Record, frozen=True, kw_only=True, tag="user"):
    """An account. Nobody is online in a snapshot."""

    user_id: str
    username: str
    email: str
    password_hash: str
    display_name: str
    avatar: str
    bio: str
    last_seen: datetime | None
    created_at: datetime
    last_login: datetime | None

    @classmethod
    def of(cls, user: User) -> UserRecord:
        """The record of an account."""
        return cls(**{name: getattr(user, name) for name in cls.__struct_fields__})

    def user(self) -> User:
        """The account, offline."""
        return User(online=False, **msgspec.structs.asdict(self))


class RoomRecord(Record, frozen=True, kw_only=True, tag="room"):
    """A room. ``last_seq`` is its newest sequence number, even if that message is deleted."""

    name: str
    created_at: datetime
    last_seq: int


class MessageRecord(Record, frozen=True, kw_only=True, tag="message"):
    """A message with its receipts. ``guest_name`` is set if a guest sent it; ``user_id`` is then the guest's id."""

    message_id: str
    room: str
    seq: int
    user_id: str
    guest_name: str | None
    text: str
    at: datetime
    edited_at: datetime | None
    client_message_id: str | None
    deliveries: Receipts
    reads: Receipts


Batch = Sequence[UserRecord] | Sequence[RoomRecord] | Sequence[MessageRecord]
