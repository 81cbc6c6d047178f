"""The values that packages pass to each other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all values: immutable, slotted, compared by content."""


class User(Value, frozen=True, kw_only=True):
    """An account. ``password_hash`` never leaves ``chat``."""

    user_id: str
    username: str
    email: str
    password_hash: str
    display_name: str
    avatar: str
    bio: str
    online: bool
    last_seen: datetime | None
    created_at: datetime
    last_login: datetime | None


class UserChanges(Value, frozen=True, kw_only=True):
    """The fields that a profile update sets. None leaves a field unchanged."""

    display_name: str | None = None
    avatar: str | None = None
    bio: str | None = None
    password_hash: str | None = None


class LoginAttempt(Value, frozen=True, kw_only=True):
    """A login attempt: the username or email as typed, and the client's address.

    Failures are counted for each pair of the typed text in lower case and the address. After ``limit`` failures within
    ``window``, further attempts are refused until ``window`` after the last failure.
    """

    typed: str
    address: str
    limit: int
    window: timedelta

    def refused_until(self, failures: Sequence[datetime]) -> datetime | None:
        """When attempts are accepted again after these failures, oldest first; None if they are not refused."""
        if len(failures) < self.limit or failures[-1] - failures[-self.limit] >= self.window:
            return None
        return failures[-1] + self.window


class Participant(Value, frozen=True, kw_only=True):
    """A participant of a room: a registered user, or a guest, whose ``user_id`` is never shaped like a UUID."""

    user_id: str
    username: str
    display_name: str
    avatar: str
    guest: bool = False


class Session(Value, frozen=True, kw_only=True):
    """One socket in one room. ``online`` and ``last_seen`` describe the participant at the time of the read."""

    session_id: str
    socket_id: str
    room: str
    who: Participant
    joined_at: datetime
    online: bool = True
    last_seen: datetime | None = None


class NewSession(Value, frozen=True, kw_only=True):
    """The input of ``Store.open_session``. ``server_id`` is the id of the server process that holds the socket.

    If ``may_make_room`` is false, the room must exist.
    """

    session_id: str
    socket_id: str
    room: str
    who: Participant
    at: datetime
    server_id: str
    may_make_room: bool = True


class Joined(Value, frozen=True, kw_only=True):
    """The result of ``Store.open_session``: the session and the room's newest sequence number at that moment.

    ``epoch`` identifies the current series of sequence numbers. ``made_room`` is true if the call created the room.
    ``servers``, here and in other results, are the ids of the servers that had sessions in the room at that moment; it
    is empty if there is only one server. Clients that join later on another server read what was stored.
    """

    session: Session
    last_seq: int
    epoch: str
    made_room: bool = False
    servers: tuple[str, ...] = ()


class EndedSession(Value, frozen=True, kw_only=True):
    """An ended session. It shows the user's status after the end.

    ``last`` is true if the participant has no session left anywhere. If several sessions of a participant end together,
    it is the same for each of them.
    """

    session: Session
    last: bool
    at: datetime
    servers: tuple[str, ...] = ()


class NewMessage(Value, frozen=True, kw_only=True):
    """The input of ``Store.post_message``. A retry with the same ``client_message_id`` stores nothing."""

    message_id: str
    room: str
    who: Participant
    text: str
    at: datetime
    client_message_id: str | None = None


class Message(Value, frozen=True, kw_only=True):
    """A stored message with its receipts. ``seq`` is its number in the room, counted from 1 without gaps.

    ``username``, ``display_name`` and ``avatar`` are the sender's current profile; a guest's are those of the time of
    sending. ``delivered_to`` and ``read_by`` hold distinct user ids in no particular order.
    """

    message_id: str
    seq: int
    room: str
    user_id: str
    username: str
    display_name: str
    avatar: str
    text: str
    at: datetime
    delivered_to: tuple[str, ...] = ()
    read_by: tuple[str, ...] = ()
    edited_at: datetime | None = None


class Posted(Value, frozen=True, kw_only=True):
    """The result of ``Store.post_message``. For a duplicate, ``message`` is the one that was stored first."""

    message: Message
    duplicate: bool
    servers: tuple[str, ...] = ()


class Receipt(Value, frozen=True, kw_only=True):
    """The result of recording one receipt: all user ids so far, and whether this receipt is new."""

    message_id: str
    user_ids: tuple[str, ...]
    new: bool
    servers: tuple[str, ...] = ()


class Marked(Value, frozen=True, kw_only=True):
    """The result of marking a part of a room as read: the ids of the newly marked messages.

    The next call continues after the sequence number ``reached``; None means that everything is read. ``servers`` is
    empty if nothing was marked, because there is nothing to publish.
    """

    message_ids: tuple[str, ...]
    reached: int | None
    servers: tuple[str, ...] = ()


class Room(Value, frozen=True, kw_only=True):
    """A room as ``GET /api/rooms`` lists it. ``user_count`` counts distinct users who are in the room now."""

    name: str
    user_count: int
    last_activity: datetime


class RoomStats(Value, frozen=True, kw_only=True):
    """Counts of one room: messages, messages that nobody has read, and distinct users who are in it now."""

    total_messages: int
    unread_count: int
    active_users: int


class StoreInfo(Value, frozen=True, kw_only=True):
    """What the server logs about its store at start-up. It contains no password."""

    kind: str
    version: str
    host: str
    database: str
