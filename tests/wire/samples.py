"""One fixed value of the model for each thing on the wire, and the payloads that the wire package makes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from chatsys.errors import JoinRefused
from chatsys.model.values import EndedSession, Message, Participant, Posted, Room, RoomStats, Session, User
from chatsys.wire import catalogue, events, objects

AT = datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 3, 4, 6, 789_000, tzinfo=UTC)
ALICE_ID = "0190a5b0-0000-7000-8000-00000000000a"
MESSAGE_ID = "0190a5b0-0000-7000-8000-00000000000b"
SESSION_ID = "0190a5b0-0000-7000-8000-00000000000c"

ALICE = Participant(
    user_id=ALICE_ID, username="alice", display_name="Alice Ångström", avatar="https://example.org/alice.png"
)
GUEST = Participant(
    user_id="guest-k3j2h1g0f",
    username="Bob",
    display_name="Bob",
    avatar="https://ui-avatars.com/api/?name=Bob&background=667eea&color=fff",
    guest=True,
)
USER = User(
    user_id=ALICE_ID,
    username="alice",
    email="alice@example.org",
    password_hash="$2b$10$secret",
    display_name="Alice Ångström",
    avatar="https://example.org/alice.png",
    bio='says "hi"',
    online=True,
    last_seen=LATER,
    created_at=AT,
    last_login=LATER,
)
SESSION = Session(
    session_id=SESSION_ID, socket_id="sBf0pGhqQ2nLAAAB", room="general", who=ALICE, joined_at=AT, last_seen=AT
)
ENDED = EndedSession(session=SESSION, last=True, at=LATER)
MESSAGE = Message(
    message_id=MESSAGE_ID,
    seq=7,
    room="general",
    user_id=ALICE_ID,
    username="alice",
    display_name="Alice Ångström",
    avatar="https://example.org/alice.png",
    text=' <b>x</b> "q" \\ \n 日本 🎈 ',
    at=AT,
)
READ_MESSAGE = Message(
    message_id=MESSAGE_ID,
    seq=8,
    room="general",
    user_id=GUEST.user_id,
    username="Bob",
    display_name="Bob",
    avatar=GUEST.avatar,
    text="seen",
    at=LATER,
    delivered_to=(ALICE_ID,),
    read_by=(ALICE_ID,),
)

EVENTS: dict[str, Any] = {
    catalogue.ROOM_USERS: [objects.room_user(SESSION)],
    catalogue.MESSAGE_HISTORY: [objects.message(MESSAGE), objects.message(READ_MESSAGE)],
    catalogue.RECEIVE_MESSAGE: objects.message(MESSAGE),
    catalogue.USER_JOINED: events.user_joined(SESSION),
    catalogue.USER_LEFT: events.user_left(ENDED),
    catalogue.USER_STATUS_UPDATE: events.user_status_update(ALICE, False, LATER),
    catalogue.USER_TYPING: events.user_typing(ALICE, True),
    catalogue.MESSAGE_STATUS_UPDATE: events.message_status_update(MESSAGE_ID, ("guest-k3j2h1g0f",), GUEST, LATER),
    catalogue.MESSAGE_READ_UPDATE: events.message_read_update(MESSAGE_ID, ("guest-k3j2h1g0f",), GUEST, LATER),
    catalogue.MESSAGES_MARKED_READ: events.messages_marked_read([MESSAGE_ID], GUEST, LATER),
    catalogue.ERROR: events.Error(message=JoinRefused().message),
}

ANSWERS: dict[str, Any] = {
    catalogue.JOIN: events.join_answer(SESSION, epoch="5f3a", last_seq=8, replayed=2, complete=True),
    "join-as-guest": events.join_answer(
        SESSION, epoch="5f3a", last_seq=8, replayed=2, complete=False, reason="expired"
    ),
    catalogue.SEND_MESSAGE: events.send_answer(Posted(message=MESSAGE, duplicate=False)),
    "done": events.Done(),
    "failed": events.failed(JoinRefused()),
}

REST: dict[str, Any] = {
    "public-profile": objects.public_profile(USER),
    "own-profile-registered": objects.own_profile(USER, with_login=False),
    "own-profile-logged-in": objects.own_profile(USER, with_login=True),
    "room-entry": objects.room_entry(Room(name="general", user_count=2, last_activity=LATER)),
    "room-counts": objects.room_counts(RoomStats(total_messages=8, unread_count=3, active_users=2)),
    "room-member": objects.room_member(SESSION),
    "room-member-presence": objects.room_member_presence(SESSION),
}
