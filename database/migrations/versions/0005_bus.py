"""What the bus between servers needs: its key, and which servers have a room."""

from __future__ import annotations

from chatsys.store.postgres.admin import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add a table with one row, a function, and the index that it reads."""
    run_script("versions/0005_bus.sql")
