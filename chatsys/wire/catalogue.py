"""Every event of both directions: its name, its payload and its purpose.

Each event has a golden sample in tests/wire/golden. A test compares the two, and fails for undeclared fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from chatsys.wire import events, inbound, objects, requests


class OutgoingEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to clients. ``to``: S for the socket itself, O for the others in the room, R for all in the room."""

    name: str
    payload: Any
    to: str
    about: str


class IncomingEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event from clients: the payload's type, the function that reads it, and the acknowledgement's type."""

    name: str
    payload: Any
    reads: Callable[[object], Any] | None
    answer: Any
    about: str


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
    OutgoingEvent(
        name=ROOM_USERS,
        payload=list[objects.RoomUser],
        to="R",
        about="The sessions in the room, in order of joining. Sent again after changes; one list may cover several.",
    ),
    OutgoingEvent(
        name=MESSAGE_HISTORY,
        payload=list[objects.MessageObject],
        to="S",
        about="After a join: the newest messages, or those after `since`, oldest first.",
    ),
    OutgoingEvent(name=RECEIVE_MESSAGE, payload=objects.MessageObject, to="R", about="A new message, which is stored."),
    OutgoingEvent(name=USER_JOINED, payload=events.UserJoined, to="O", about="A new session in the room."),
    OutgoingEvent(name=USER_LEFT, payload=events.UserLeft, to="O", about="A session has ended."),
    OutgoingEvent(
        name=USER_STATUS_UPDATE,
        payload=events.UserStatusUpdate,
        to="O on leaving, R on request",
        about="A user went offline when the last session ended, or set the status.",
    ),
    OutgoingEvent(name=USER_TYPING, payload=events.UserTyping, to="O", about="A user is typing, or has stopped."),
    OutgoingEvent(
        name=MESSAGE_STATUS_UPDATE,
        payload=events.MessageStatusUpdate,
        to="R",
        about="A message was delivered to another user; `deliveredTo` is the complete set so far.",
    ),
    OutgoingEvent(
        name=MESSAGE_READ_UPDATE,
        payload=events.MessageReadUpdate,
        to="R",
        about="Another user has read a message; `readBy` is the complete set so far.",
    ),
    OutgoingEvent(
        name=MESSAGES_MARKED_READ,
        payload=events.MessagesMarkedRead,
        to="R",
        about="A user has read all messages; the ids of those that were unread, at most 1,000 in each event.",
    ),
    OutgoingEvent(
        name=ERROR, payload=events.Error, to="S", about="A `join` or a `send-message` of this socket failed."
    ),
)

INCOMING = (
    IncomingEvent(
        name=JOIN,
        payload=requests.JoinPayload,
        reads=inbound.join,
        answer=events.JoinAnswer,
        about="Join a room and leave the previous one. The list of users and the history follow.",
    ),
    IncomingEvent(
        name=SEND_MESSAGE,
        payload=requests.MessagePayload,
        reads=inbound.send_message,
        answer=events.SendAnswer,
        about="Store a message and send it to the room. It is acknowledged once it is durable.",
    ),
    IncomingEvent(
        name=MESSAGE_DELIVERED,
        payload=requests.ReceiptPayload,
        reads=inbound.receipt,
        answer=events.Done,
        about="This user's client has received a message.",
    ),
    IncomingEvent(
        name=MESSAGE_READ,
        payload=requests.ReceiptPayload,
        reads=inbound.receipt,
        answer=events.Done,
        about="This user has read a message.",
    ),
    IncomingEvent(
        name=MARK_ALL_READ,
        payload=requests.RoomPayload,
        reads=inbound.mark_all_read,
        answer=events.Done,
        about="This user has read all messages of the room.",
    ),
    IncomingEvent(
        name=TYPING,
        payload=bool,
        reads=inbound.typing,
        answer=events.Done,
        about="This user is typing, or has stopped.",
    ),
    IncomingEvent(
        name=UPDATE_ONLINE_STATUS,
        payload=requests.StatusPayload,
        reads=inbound.online_status,
        answer=events.Done,
        about="Set the status that other users see.",
    ),
    IncomingEvent(
        name=LEAVE_ROOM,
        payload=None,
        reads=None,
        answer=events.Done,
        about="Leave the room; the connection stays open.",
    ),
)
