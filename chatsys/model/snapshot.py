"""The records of a snapshot: all that a store remembers but sessions, which end with their server.

A batch holds records of one kind. Batches come in an order in which each record finds what it refers to: accounts by
user id, rooms by name, messages by room name and sequence number, all in code-point order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from chatsys.model.values import User

Receipts = dict[str, datetime]
"""User id (or guest id) to the time of the receipt, by id."""


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of the records; ``kind`` tells them apart in a file."""


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
    """A room. ``last_seq`` is the newest sequence number it gave out, even if that message is deleted."""

    name: str
    created_at: datetime
    last_seq: int


class MessageRecord(Record, frozen=True, kw_only=True, tag="message"):
    """A message with its receipts. ``guest_name`` is set if and only if a guest sent it, whose id is ``user_id``."""

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
