"""The values that packages hand to one another."""

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
    """What a profile update sets; None leaves a field as it is."""

    display_name: str | None = None
    avatar: str | None = None
    bio: str | None = None
    password_hash: str | None = None


class LoginAttempt(Value, frozen=True, kw_only=True):
    """A login as failures are counted: what was typed, in lower case, and the client's address.

    After ``limit`` failures within ``window`` more are refused until ``window`` after the last one.
    """

    typed: str
    address: str
    limit: int
    window: timedelta

    def refused_until(self, failures: Sequence[datetime]) -> datetime | None:
        """When the refusal ends that these failures, in order, have brought about; None if there is none."""
        if len(failures) < self.limit or failures[-1] - failures[-self.limit] >= self.window:
            return None
        return failures[-1] + self.window


class Participant(Value, frozen=True, kw_only=True):
    """Who speaks in a room: a registered user, or a guest (whose ``user_id`` is never shaped like a UUID)."""

    user_id: str
    username: str
    display_name: str
    avatar: str
    guest: bool = False


class Session(Value, frozen=True, kw_only=True):
    """One socket in one room. ``online`` and ``last_seen`` are the participant's, as of the read."""

    session_id: str
    socket_id: str
    room: str
    who: Participant
    joined_at: datetime
    online: bool = True
    last_seen: datetime | None = None


class NewSession(Value, frozen=True, kw_only=True):
    """What ``Store.open_session`` remembers. ``server_id`` is the server process that holds the socket.

    Without ``may_make_room`` the room must be there.
    """

    session_id: str
    socket_id: str
    room: str
    who: Participant
    at: datetime
    server_id: str
    may_make_room: bool = True


class Joined(Value, frozen=True, kw_only=True):
    """The answer of ``Store.open_session``: the session and the room's newest sequence number at that moment.

    ``epoch`` names the life of the store's sequence numbers; ``made_room`` tells that the room was not there before.
    ``servers``, here and in other answers: if there are several, the ids of those that had the room at that moment;
    whoever of another joins later reads what was stored.
    """

    session: Session
    last_seq: int
    epoch: str
    made_room: bool = False
    servers: tuple[str, ...] = ()


class EndedSession(Value, frozen=True, kw_only=True):
    """A session that ended, as it was seen last: its user's status is that after the end.

    ``last`` is true if the participant has no session left anywhere; of sessions that end together, for each of them.
    """

    session: Session
    last: bool
    at: datetime
    servers: tuple[str, ...] = ()


class NewMessage(Value, frozen=True, kw_only=True):
    """What ``Store.post_message`` stores. ``client_message_id`` makes a repetition harmless."""

    message_id: str
    room: str
    who: Participant
    text: str
    at: datetime
    client_message_id: str | None = None


class Message(Value, frozen=True, kw_only=True):
    """A stored message with its receipts; ``seq`` is its place in the room, from 1 without gaps.

    ``username``, ``display_name`` and ``avatar`` are the sender's current profile (as given at the time for guests).
    ``delivered_to`` and ``read_by`` hold user ids, each once, in no set order.
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
    """The answer of ``Store.post_message``. For a duplicate, ``message`` is the one stored first."""

    message: Message
    duplicate: bool
    servers: tuple[str, ...] = ()


class Receipt(Value, frozen=True, kw_only=True):
    """The answer of recording one receipt: the complete set of user ids so far, and whether it was not known before."""

    message_id: str
    user_ids: tuple[str, ...]
    new: bool
    servers: tuple[str, ...] = ()


class Marked(Value, frozen=True, kw_only=True):
    """The answer of marking a part of a room as read: the newly marked, and the number to go on after (None: done).

    ``servers`` is empty where nothing was marked: there is nothing to publish.
    """

    message_ids: tuple[str, ...]
    reached: int | None
    servers: tuple[str, ...] = ()


class Room(Value, frozen=True, kw_only=True):
    """A room as ``GET /api/rooms`` lists it. ``user_count`` counts different users now in the room."""

    name: str
    user_count: int
    last_activity: datetime


class RoomStats(Value, frozen=True, kw_only=True):
    """Counts of one room: messages, messages nobody has read, different users now in it."""

    total_messages: int
    unread_count: int
    active_users: int


class StoreInfo(Value, frozen=True, kw_only=True):
    """What the server says at its start: never a password."""

    kind: str
    version: str
    host: str
    database: str
