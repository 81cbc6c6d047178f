"""What things are called wherever they are shown: stores, operations, experiments, verdicts."""

from __future__ import annotations

FIND_BY_ID = "find_user_by_id"
FIND_BY_NAME = "find_user_by_name"
RECENT = "recent_messages"
MARK_READ = "mark_read"
SEARCH = "search_users"
SEND = "send_message"

STORES = {"memory": "memory", "postgresql": "PostgreSQL"}
TITLES = {
    FIND_BY_ID: "Find a user by id",
    FIND_BY_NAME: "Find a user by name",
    RECENT: "Get 100 messages",
    MARK_READ: "Mark a message read",
    SEARCH: "Search users",
    SEND: "Send a message",
}
"""The operations of the guide's table, in its order."""

HOLDS, PARTLY, FAILS, UNKNOWN = "holds", "holds in part", "does not hold", "not measured"
VERDICTS = (FAILS, PARTLY, HOLDS, UNKNOWN)
"""What becomes of a promise, in the order in which they are shown."""
FLOOD = "flood"
"""The name of the floods in the record; x is 0 for calm turns and 1 during the flood."""
DISCONNECTED, GROWTH, SENT, CONNECTIONS, SERVER_SHARE = (
    "others disconnected", "memory growth", "sent", "connections of the flood", "server's processor",
)  # fmt: skip
REACHED, MISSED = "reached", "not reached"
"""Whether a ratio is where it should be."""
IMPORT, ADOPTION, CLEAN_UP = (
    "import of a snapshot", "adoption of the original's database", "clean-up of the older half",
)  # fmt: skip
UPKEEP = {
    IMPORT: "a COPY of the same rows into the same tables",
    ADOPTION: "a COPY of its messages into a table without keys and indexes",
    CLEAN_UP: "one DELETE and VACUUM of the same rows",
}
"""What an operator waits for, and the bare statement that each is compared with."""


def store(name: str) -> str:
    """A store's name for people; ``postgres`` is an older record's word for ``postgresql``."""
    return STORES.get("postgresql" if name == "postgres" else name, name)


def title(operation: str) -> str:
    """An operation's title; of one that many do at a time, with their number."""
    name, _, many = operation.partition(" x")
    found = TITLES.get(name, name.replace("_", " "))
    return f"{found}, {many} at a time" if many else found
