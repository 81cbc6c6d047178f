"""The objects in REST responses and outgoing events (contract §3, §6, §7 and §10).

The fields of each struct, renamed to camel case, are exactly the keys on the wire. A function for each struct builds it
from the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from chatsys.model import values
from chatsys.model.rules import clean_surrogates
from chatsys.wire.scalars import Count, Id, Seq, Status, Timestamp, UserId


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of all objects on the wire: keys in camel case, and no unknown keys."""


class PublicProfile(Wire, frozen=True, kw_only=True):
    """The public part of an account (contract §3.1)."""

    user_id: Id
    username: str
    display_name: str
    avatar: str
    bio: str
    status: Status
    last_seen: Timestamp | None
    created_at: Timestamp


class OwnProfile(PublicProfile, frozen=True, kw_only=True):
    """The owner's view after registration and login (contract §3.2); ``last_login`` after login only."""

    email: str
    last_login: Timestamp | msgspec.UnsetType | None = msgspec.UNSET


class MessageObject(Wire, frozen=True, kw_only=True):
    """A message with its receipts (contract §7) and its place in the room (§14.2)."""

    id: Id
    seq: Seq
    username: str
    display_name: str
    avatar: str
    user_id: UserId
    message: str
    room: str
    timestamp: Timestamp
    delivered: bool
    delivered_to: tuple[UserId, ...]
    read: bool
    read_by: tuple[UserId, ...]
    edited_at: Timestamp | None


class Presence(Wire, frozen=True, kw_only=True):
    """Whether a participant is online, and when that was last set."""

    online: bool
    last_seen: Timestamp | None


class RoomUser(Wire, frozen=True, kw_only=True):
    """One session in ``room-users`` (contract §10.1)."""

    session_id: Id
    socket_id: str
    user_id: UserId
    username: str
    display_name: str
    avatar: str
    room: str
    joined_at: Timestamp
    status: Presence


class RoomMember(Wire, frozen=True, kw_only=True):
    """One session in ``data`` of ``GET /api/rooms/:room/users`` (contract §6.2)."""

    id: UserId
    user_id: UserId
    username: str
    display_name: str
    avatar: str
    room: str
    status: Status = "online"


class RoomMemberPresence(Wire, frozen=True, kw_only=True):
    """One session in ``users`` of ``GET /api/rooms/:room/users`` (contract §6.2)."""

    user_id: UserId
    username: str
    display_name: str
    avatar: str
    room: str
    status: Presence


class RoomEntry(Wire, frozen=True, kw_only=True):
    """A room in ``GET /api/rooms`` (contract §6.1)."""

    name: str
    user_count: Count
    last_activity: Timestamp


class RoomCounts(Wire, frozen=True, kw_only=True):
    """``data`` of ``GET /api/rooms/:room/stats`` (contract §6.4)."""

    total_messages: Count
    unread_count: Count
    active_users: Count


Encoded = msgspec.Raw
"""A value encoded as JSON, inside one that is not encoded yet."""

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """``value`` as JSON in UTF-8. A lone surrogate, which UTF-8 can't encode, becomes U+FFFD."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_without_surrogates(msgspec.to_builtins(value)))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return clean_surrogates(value)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value


def timestamp(moment: datetime) -> str:
    """A UTC datetime with three fractional digits and a ``Z`` (contract §1.4)."""
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def optional_timestamp(moment: datetime | None) -> str | None:
    """:func:`timestamp`, or None for None."""
    return None if moment is None else timestamp(moment)


def public_profile(user: values.User) -> PublicProfile:
    """The public profile of a user."""
    return PublicProfile(**_profile(user))


def own_profile(user: values.User, *, with_login: bool) -> OwnProfile:
    """The owner's view. The response to a login has ``lastLogin``, the response to a registration does not."""
    last_login = optional_timestamp(user.last_login) if with_login else msgspec.UNSET
    return OwnProfile(**_profile(user), email=user.email, last_login=last_login)


def _profile(user: values.User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "username": user.username,
        "display_name": user.display_name,
        "avatar": user.avatar,
        "bio": user.bio,
        "status": "online" if user.online else "offline",
        "last_seen": optional_timestamp(user.last_seen),
        "created_at": timestamp(user.created_at),
    }


def message(stored: values.Message) -> MessageObject:
    """A stored message with its receipts so far."""
    return MessageObject(
        id=stored.message_id,
        seq=stored.seq,
        username=stored.username,
        display_name=stored.display_name,
        avatar=stored.avatar,
        user_id=stored.user_id,
        message=stored.text,
        room=stored.room,
        timestamp=timestamp(stored.at),
        delivered=bool(stored.delivered_to),
        delivered_to=stored.delivered_to,
        read=bool(stored.read_by),
        read_by=stored.read_by,
        edited_at=optional_timestamp(stored.edited_at),
    )


def encoded_messages(stored: Sequence[values.Message]) -> bytes:
    """Stored messages as a JSON array."""
    return encode([message(each) for each in stored])


def presence(session: values.Session) -> Presence:
    """The participant's status when the session was read."""
    return Presence(online=session.online, last_seen=optional_timestamp(session.last_seen))


def room_user(session: values.Session) -> RoomUser:
    """The session's entry in ``room-users``."""
    who = session.who
    return RoomUser(
        session_id=session.session_id,
        socket_id=session.socket_id,
        user_id=who.user_id,
        username=who.username,
        display_name=who.display_name,
        avatar=who.avatar,
        room=session.room,
        joined_at=timestamp(session.joined_at),
        status=presence(session),
    )


def room_member(session: values.Session) -> RoomMember:
    """The session's entry in ``data`` of the room's users."""
    who = session.who
    return RoomMember(
        id=who.user_id,
        user_id=who.user_id,
        username=who.username,
        display_name=who.display_name,
        avatar=who.avatar,
        room=session.room,
    )


def room_member_presence(session: values.Session) -> RoomMemberPresence:
    """The session's entry in ``users`` of the room's users."""
    who = session.who
    return RoomMemberPresence(
        user_id=who.user_id,
        username=who.username,
        display_name=who.display_name,
        avatar=who.avatar,
        room=session.room,
        status=presence(session),
    )


def room_entry(room: values.Room) -> RoomEntry:
    """The room's entry in the list of rooms."""
    return RoomEntry(name=room.name, user_count=room.user_count, last_activity=timestamp(room.last_activity))


def room_counts(stats: values.RoomStats) -> RoomCounts:
    """The counts of one room."""
    return RoomCounts(
        total_messages=stats.total_messages, unread_count=stats.unread_count, active_users=stats.active_users
    )
