"""The displayed names of stores, operations, experiments and verdicts."""

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
"""The operations of the guide's table, in the guide's order."""

HOLDS, PARTLY, FAILS, UNKNOWN = "holds", "holds in part", "does not hold", "not measured"
VERDICTS = (FAILS, PARTLY, HOLDS, UNKNOWN)
"""The verdicts on a promise, in the order in which a report shows them."""
FLOOD = "flood"
"""The experiment of the floods in a record; x is 0 while calm and 1 during the flood."""
DISCONNECTED, GROWTH, SENT, CONNECTIONS, SERVER_SHARE = (
    "others disconnected", "memory growth", "sent", "connections of the flood", "server's processor",
)  # fmt: skip
REACHED, MISSED = "reached", "not reached"
"""Whether a ratio reached its target."""
IMPORT, ADOPTION, CLEAN_UP = (
    "import of a snapshot", "adoption of the original's database", "clean-up of the older half",
)  # fmt: skip
UPKEEP = {
    IMPORT: "a COPY of the same rows into the same tables",
    ADOPTION: "a COPY of its messages into a table without keys and indexes",
    CLEAN_UP: "one DELETE and VACUUM of the same rows",
}
"""The work that an operator waits for, and the bare statement that each is compared with."""


def store(name: str) -> str:
    """The displayed name of a store."""
    return STORES.get(name, name)


def title(operation: str) -> str:
    """The title of an operation, with the number of concurrent calls if the name has one."""
    name, _, many = operation.partition(" x")
    found = TITLES.get(name, name.replace("_", " "))
    return f"{found}, {many} at a time" if many else found
