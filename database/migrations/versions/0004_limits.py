"""The epoch of sequence numbers, failed logins, accounts under deletion, and an index of room names."""

from __future__ import annotations

from chatsys.database.admin import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add two small tables, one column and two indexes."""
    run_script("versions/0004_limits.sql")
