"""The bus between servers: its key, and a function for the servers that have sessions in a room."""

from __future__ import annotations

from chatsys.database.admin import run_script

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add a table with one row, a function, and the index that it reads."""
    run_script("versions/0006_bus.sql")
