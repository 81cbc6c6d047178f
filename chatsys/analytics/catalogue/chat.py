"""Queries about the chat itself: users, rooms, messages, receipts, sessions."""

from __future__ import annotations

from functools import partial

from chatsys.analytics.catalogue.kinds import Query, boolean, integer, number, query, text, time

_query = partial(query, needs=("chat",))
_USER_ID = text("user_id", "account's UUID, or the guest's id")
_PERSON = (
    _USER_ID, text("username", "user name, or the guest's name"), boolean("is_guest", "joined without an account"),
)  # fmt: skip
_ROOM = text("room_name", "room")
_ROOM_WITH_ID = text("room_id", "room's UUID"), _ROOM


def _lag(name: str, serves: str, stamp: str, meaning: str) -> Query:
    return _query(
        name,
        serves,
        text("message_id", "message's UUID"),
        _ROOM,
        integer("seq", "the message's number in the room"),
        _USER_ID,
        time("sent_at", "when the message was stored"),
        time(stamp, meaning),
        number("lag_ms", "time between the two"),
        sampling="Reads only the newest `messages` of the last `minutes` and their receipts. In a database of a "
        "million messages: 0.5 s for 10,000 messages with 73,000 receipts, 3 s to 5 s for `messages=100_000` with "
        "384,000.",
    )


QUERIES = (
    _query(
        "chat_totals",
        "Is anybody online? The chat in one row, cheap at any size.",
        integer("messages_total", "messages ever stored, deleted ones included"),
        integer("rooms", "rooms"),
        integer("sessions", "live sessions"),
        integer("active_users", "different users and guests with a session"),
        integer("active_rooms", "rooms with a session"),
        integer("servers", "chat servers with a valid lease"),
    ),
    _query(
        "active_users",
        "Who is here now, and how many devices does one user keep open?",
        *_PERSON,
        text("status", "online or offline, as the account says; missing for a guest"),
        integer("sessions", "live sessions"),
        integer("rooms", "different rooms they are in"),
        time("connected_at", "start of the oldest session"),
        time("last_activity_at", "last activity"),
        number("idle_ms", "time since the last activity"),
    ),
    _query(
        "room_stats",
        "Which rooms are large, and which are unused?",
        *_ROOM_WITH_ID,
        integer("messages", "messages stored now"),
        integer("removed_messages", "messages that were deleted by a clean-up or with their author"),
        integer("members", "members"),
        integer("active_users", "different users and guests with a session in it"),
        time("last_message_at", "newest message; missing without one"),
        time("created_at", "when the room was created"),
    ),
    _query(
        "messages_per_minute",
        "How much traffic is there, and when is its peak? The pool and the flushes must handle the peak.",
        time("minute", "start of the minute"),
        integer("messages", "messages stored in it"),
        integer("senders", "different senders"),
        integer("rooms", "different rooms"),
        number("messages_per_second", "messages divided by the seconds of the minute that have passed"),
        sampling="Reads only the messages of the last `minutes`, through the index on created_at: 0.7 s for a million.",
    ),
    _query(
        "busiest_rooms",
        "Which rooms cause the traffic? Fan-out costs messages times members.",
        *_ROOM_WITH_ID,
        integer("messages", "messages in the last `minutes`"),
        integer("senders", "different senders"),
        number("messages_per_second", "mean over the window"),
        number("share_ratio", "share of all messages of the window"),
        time("last_message_at", "newest message"),
        sampling="Reads only the messages of the last `minutes`, through the index on created_at: 0.9 s for a million.",
    ),
    _lag("read_lag", "How long until people read? One row per receipt.", "read_at", "when this reader marked it read"),
    _lag(
        "delivery_lag",
        "Do messages reach their recipients at once? One row per receipt.",
        "delivered_at",
        "when this recipient acknowledged it",
    ),
    _query(
        "lags",
        "Do deliveries and readers keep up? One row, cheap enough to query every second, as `chatsys top` does.",
        integer("messages", "messages examined"),
        integer("deliveries", "acknowledged deliveries of these messages"),
        number("delivery_p50_ms", "median time from a message to an acknowledged delivery"),
        number("delivery_p99_ms", "99th percentile of that time"),
        integer("reads", "read receipts of these messages"),
        number("read_p50_ms", "median time from a message to a reader's receipt"),
        number("read_p99_ms", "99th percentile of that time"),
        sampling="Reads only the newest `messages` of the last `minutes` and their receipts.",
    ),
    _query(
        "growth",
        "How fast does the chat grow, and when will the disk be full?",
        time("day", "start of the UTC day"),
        integer("new_messages", "messages of that day that are still stored"),
        integer("new_users", "accounts created that day that still exist"),
        integer("messages", "running total of messages"),
        integer("users", "running total of users"),
        sampling="Counts every message once, using only the index on created_at: 0.2 s for a million.",
    ),
    _query(
        "retention_candidates",
        "What would a clean-up of messages older than `days` delete and free?",
        *_ROOM_WITH_ID,
        integer("messages", "messages older than that"),
        integer("estimated_bytes", "their share of the table and its indexes"),
        time("oldest_at", "the oldest of these messages"),
        time("newest_at", "the newest of these messages"),
        sampling="Reads every message older than `days`: 0.2 s for a million.",
    ),
    _query(
        "sessions",
        "Which sessions are open, on which server, and which are idle?",
        text("session_id", "session's UUID"),
        *_PERSON,
        _ROOM,
        text("socket_id", "Socket.IO id of the client"),
        text("server_id", "the server process that holds it"),
        boolean("is_server_alive", "that server has a valid lease"),
        time("connected_at", "start of the session"),
        time("last_activity_at", "last activity"),
        number("age_ms", "time since the start"),
        number("idle_ms", "time since the last activity"),
    ),
    _query(
        "orphans",
        "Did a server die and leave sessions or online users behind? Empty on a healthy system.",
        text("kind", "session without server, server past its lease, or online without session"),
        text("object_id", "id of that session, server or user"),
        text("name", "user or guest; missing for a server"),
        time("since", "last activity; missing if there was none"),
        sampling="Reads every session and every account: 0.02 s for 100,000 accounts.",
    ),
)
