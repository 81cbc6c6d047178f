"""An example of each object on the wire, for the API documents and the reference pages."""

from __future__ import annotations

from typing import Any

import msgspec

from chatsys.wire import answers, catalogue, events, objects, requests

ALICE = "0198d5a0-4c1e-7b51-9d0a-2f6c1f0e8a11"
MESSAGE = "0198d5a0-9f3c-7c02-8a54-5d1e7b2c9f20"
SESSION = "0198d5a0-7d21-7aa3-b1c9-0e4f8d6a3b32"
GUEST = "guest-k3j2h1g0f"
AT = "2026-01-02T03:04:05.006Z"
TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOiIwMTk4In0.c2lnbmF0dXJl"  # noqa: S105 - it signs nothing
AVATAR = "https://ui-avatars.com/api/?name=alice&background=667eea&color=fff"
ONLINE = objects.Presence(online=True, last_seen=AT)

_NAMED = {"user_id": ALICE, "username": "alice", "display_name": "Alice"}
_ALICE = {**_NAMED, "avatar": AVATAR}
_ACCOUNT = {**_ALICE, "bio": "", "created_at": AT}
_EMAIL = "alice@example.org"

PROFILE = objects.PublicProfile(**_ACCOUNT, status="online", last_seen=AT)
REGISTERED = objects.OwnProfile(**_ACCOUNT, status="offline", last_seen=None, email=_EMAIL)
OWN = objects.OwnProfile(**_ACCOUNT, status="online", last_seen=AT, email=_EMAIL, last_login=AT)
POSTED = objects.MessageObject(
    **_ALICE,
    id=MESSAGE,
    seq=8,
    message="Hello!",
    room="general",
    timestamp=AT,
    delivered=False,
    delivered_to=(),
    read=False,
    read_by=(),
    edited_at=None,
)
READ = msgspec.structs.replace(POSTED, delivered=True, delivered_to=(GUEST,), read=True, read_by=(GUEST,))
CLAIMS: answers.Claims = {
    "userId": ALICE,
    "username": "alice",
    "email": _EMAIL,
    "iat": 1767323045,
    "exp": 1767927845,
}
MEMBER = objects.RoomMember(**_ALICE, id=ALICE, room="general")
PRESENT = objects.RoomMemberPresence(**_ALICE, room="general", status=ONLINE)
ROOM = objects.RoomEntry(name="general", user_count=2, last_activity=AT)
COUNTS = objects.RoomCounts(total_messages=8, unread_count=3, active_users=2)
LISTED = objects.RoomUser(
    **_ALICE, session_id=SESSION, socket_id="sBf0pGhqQ2nLAAAB", room="general", joined_at=AT, status=ONLINE
)

OUTGOING: dict[str, Any] = {
    catalogue.ROOM_USERS: [LISTED],
    catalogue.MESSAGE_HISTORY: [READ],
    catalogue.RECEIVE_MESSAGE: POSTED,
    catalogue.USER_JOINED: events.UserJoined(**_ALICE, message="Alice has joined the chat", timestamp=AT),
    catalogue.USER_LEFT: events.UserLeft(**_NAMED, message="Alice has left the chat", timestamp=AT),
    catalogue.USER_STATUS_UPDATE: events.UserStatusUpdate(**_NAMED, online=False, last_seen=AT),
    catalogue.USER_TYPING: events.UserTyping(**_NAMED, is_typing=True),
    catalogue.MESSAGE_STATUS_UPDATE: events.MessageStatusUpdate(
        message_id=MESSAGE, delivered=True, delivered_to=(GUEST,), delivered_by=GUEST, timestamp=AT
    ),
    catalogue.MESSAGE_READ_UPDATE: events.MessageReadUpdate(
        message_id=MESSAGE, read=True, read_by=(GUEST,), read_by_user=GUEST, read_by_username="Bob", timestamp=AT
    ),
    catalogue.MESSAGES_MARKED_READ: events.MessagesMarkedRead(
        message_ids=(MESSAGE,), read_by=GUEST, read_by_username="Bob", timestamp=AT
    ),
    catalogue.ERROR: events.Error(message="Failed to join room"),
}

INCOMING: dict[str, Any] = {
    catalogue.JOIN: requests.JoinPayload(room="general", username="Bob", user_id=GUEST, since=7, epoch="5f3a"),
    catalogue.SEND_MESSAGE: requests.MessagePayload(message="Hello!", client_message_id="c-1"),
    catalogue.MESSAGE_DELIVERED: requests.ReceiptPayload(message_id=MESSAGE, room="general"),
    catalogue.MESSAGE_READ: requests.ReceiptPayload(message_id=MESSAGE, room="general"),
    catalogue.MARK_ALL_READ: requests.RoomPayload(room="general"),
    catalogue.TYPING: True,
    catalogue.UPDATE_ONLINE_STATUS: requests.StatusPayload(online=False),
}
"""By event. Events without a payload are left out."""

ANSWERS: dict[type, Any] = {
    events.JoinAnswer: events.JoinAnswer(
        room="general", user_id=GUEST, session_id=SESSION, last_seq=8, replayed=1, complete=True, epoch="5f3a"
    ),
    events.SendAnswer: events.SendAnswer(id=MESSAGE, seq=8, timestamp=AT, duplicate=False),
    events.Done: events.Done(),
    events.Failed: events.Failed(code="join_refused", message="Failed to join room"),
}
"""Acknowledgements by their type."""
