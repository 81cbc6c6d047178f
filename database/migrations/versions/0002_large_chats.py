"""Search by index in any locale, counts of a room without counting, the order of joining."""

from __future__ import annotations

from chatsys.database.admin import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns, indexes, triggers and functions; existing messages are counted once."""
    run_script("versions/0002_large_chats.sql")
