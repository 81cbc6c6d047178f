"""Every event of both directions: its name, its payload and its purpose.

Each event has a golden sample in tests/wire/golden. A test compares the two, and fails for undeclared fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from chatsys.wire import events, inbound, objects, requests


class OutgoingEvent(msgspec.Struct, frozen=True):
    """An event to clients. ``to``: S for the socket itself, O for the others in the room, R for all in the room."""

    name: str
    payload: Any
    to: str
    about: str


class IncomingEvent(msgspec.Struct, frozen=True):
    """An event from clients: the payload's type, the function that reads it, and the acknowledgement's type."""

    name: str
    payload: Any
    reads: Callable[[object], Any] | None
    about: str
    answer: Any = events.Done


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
        ROOM_USERS,
        list[objects.RoomUser],
        "R",
        "The sessions in the room, in order of joining. Sent again after changes; one list may cover several.",
    ),
    OutgoingEvent(
        MESSAGE_HISTORY,
        list[objects.MessageObject],
        "S",
        "After a join: the newest messages, or those after `since`, oldest first.",
    ),
    OutgoingEvent(RECEIVE_MESSAGE, objects.MessageObject, "R", "A new message, which is stored."),
    OutgoingEvent(USER_JOINED, events.UserJoined, "O", "A new session in the room."),
    OutgoingEvent(USER_LEFT, events.UserLeft, "O", "A session has ended."),
    OutgoingEvent(
        USER_STATUS_UPDATE,
        events.UserStatusUpdate,
        "O on leaving, R on request",
        "A user went offline when the last session ended, or set the status.",
    ),
    OutgoingEvent(USER_TYPING, events.UserTyping, "O", "A user is typing, or has stopped."),
    OutgoingEvent(
        MESSAGE_STATUS_UPDATE,
        events.MessageStatusUpdate,
        "R",
        "A message was delivered to another user; `deliveredTo` is the complete set so far.",
    ),
    OutgoingEvent(
        MESSAGE_READ_UPDATE,
        events.MessageReadUpdate,
        "R",
        "Another user has read a message; `readBy` is the complete set so far.",
    ),
    OutgoingEvent(
        MESSAGES_MARKED_READ,
        events.MessagesMarkedRead,
        "R",
        "A user has read all messages; the ids of those that were unread, at most 1,000 in each event.",
    ),
    OutgoingEvent(ERROR, events.Error, "S", "A `join` or a `send-message` of this socket failed."),
)

INCOMING = (
    IncomingEvent(
        JOIN,
        requests.JoinPayload,
        inbound.join,
        "Join a room and leave the previous one. The list of users and the history follow.",
        events.JoinAnswer,
    ),
    IncomingEvent(
        SEND_MESSAGE,
        requests.MessagePayload,
        inbound.send_message,
        "Store a message and send it to the room. It is acknowledged once it is durable.",
        events.SendAnswer,
    ),
    IncomingEvent(
        MESSAGE_DELIVERED, requests.ReceiptPayload, inbound.receipt, "This user's client has received a message."
    ),
    IncomingEvent(MESSAGE_READ, requests.ReceiptPayload, inbound.receipt, "This user has read a message."),
    IncomingEvent(
        MARK_ALL_READ, requests.RoomPayload, inbound.mark_all_read, "This user has read all messages of the room."
    ),
    IncomingEvent(TYPING, bool, inbound.typing, "This user is typing, or has stopped."),
    IncomingEvent(
        UPDATE_ONLINE_STATUS, requests.StatusPayload, inbound.online_status, "Set the status that other users see."
    ),
    IncomingEvent(LEAVE_ROOM, None, None, "Leave the room; the connection stays open."),
)
