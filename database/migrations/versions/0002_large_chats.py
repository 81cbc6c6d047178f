"""Searches by index in any locale, counters of rooms, the order of joining."""

from __future__ import annotations

from chatsys.database.admin import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns, indexes, triggers and functions, and count the existing messages once."""
    run_script("versions/0002_large_chats.sql")
