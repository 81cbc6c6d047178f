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


def store(name: str) -> str:
    """A store's name for people; ``postgres`` is an older record's word for ``postgresql``."""
    return STORES.get("postgresql" if name == "postgres" else name, name)


def title(operation: str) -> str:
    """An operation's title."""
    return TITLES.get(operation, operation.replace("_", " "))
