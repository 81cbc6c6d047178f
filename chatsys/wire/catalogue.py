"""Every event of both directions, once: its name, its payload, and what it is for.

Each row has a golden sample in tests/wire/golden; a test holds the two equal, and refuses fields that no row names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from chatsys.wire import events, inbound, objects


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """An event to clients. ``to``: S the socket itself, O the others in the room, R all in the room."""

    name: str
    payload: Any
    to: str


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """An event from clients: what reads its payload, and the acknowledgement's type when it succeeds."""

    name: str
    reads: Callable[[object], Any] | None
    answer: Any


ROOM_USERS = "room-users"
MESSAGE_HISTORY = "message-history"
RECEIVE_MESSAGE = "receive-message"
USER_JOINED = "user-joined"
USER_LEFT = "user-left"
USER_STATUS_UPDATE = "user-status-update"
USER_TYPING = "user-typing"
MESSAGE_STATUS_UPDATE = "message-status-update"
MESSAGE_READ_UPDATE = "message-read-update"
MESSAGES_MARKED_READ = "messages-marked-read"
ERROR = "error"

JOIN = "join"
SEND_MESSAGE = "send-message"
MESSAGE_DELIVERED = "message-delivered"
MESSAGE_READ = "message-read"
MARK_ALL_READ = "mark-all-read"
TYPING = "typing"
UPDATE_ONLINE_STATUS = "update-online-status"
LEAVE_ROOM = "leave-room"

OUTGOING = (
    Outgoing(name=ROOM_USERS, payload=list[objects.RoomUser], to="R"),
    Outgoing(name=MESSAGE_HISTORY, payload=list[objects.MessageObject], to="S"),
    Outgoing(name=RECEIVE_MESSAGE, payload=objects.MessageObject, to="R"),
    Outgoing(name=USER_JOINED, payload=events.UserJoined, to="O"),
    Outgoing(name=USER_LEFT, payload=events.UserLeft, to="O"),
    Outgoing(name=USER_STATUS_UPDATE, payload=events.UserStatusUpdate, to="O on leaving, R on request"),
    Outgoing(name=USER_TYPING, payload=events.UserTyping, to="O"),
    Outgoing(name=MESSAGE_STATUS_UPDATE, payload=events.MessageStatusUpdate, to="R"),
    Outgoing(name=MESSAGE_READ_UPDATE, payload=events.MessageReadUpdate, to="R"),
    Outgoing(name=MESSAGES_MARKED_READ, payload=events.MessagesMarkedRead, to="R"),
    Outgoing(name=ERROR, payload=events.Error, to="S"),
)

INCOMING = (
    Incoming(name=JOIN, reads=inbound.join, answer=events.JoinAnswer),
    Incoming(name=SEND_MESSAGE, reads=inbound.send_message, answer=events.SendAnswer),
    Incoming(name=MESSAGE_DELIVERED, reads=inbound.receipt, answer=events.Done),
    Incoming(name=MESSAGE_READ, reads=inbound.receipt, answer=events.Done),
    Incoming(name=MARK_ALL_READ, reads=inbound.mark_all_read, answer=events.Done),
    Incoming(name=TYPING, reads=inbound.typing, answer=events.Done),
    Incoming(name=UPDATE_ONLINE_STATUS, reads=inbound.online_status, answer=events.Done),
    Incoming(name=LEAVE_ROOM, reads=None, answer=events.Done),
)
