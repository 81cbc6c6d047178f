"""The process of each server."""

from __future__ import annotations

from chatsys.database.admin import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Replace the time of the lock with the process."""
    run_script("versions/0005_server_processes.sql")
