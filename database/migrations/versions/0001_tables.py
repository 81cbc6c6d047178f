"""The tables, views and default rooms, or the adoption of the original backend's tables in place."""

from __future__ import annotations

from chatsys.database.admin import has_table, run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything in an empty database, or adopt the tables of the original backend."""
    run_script("adopt_original.sql" if has_table("users") else "versions/0001_tables.sql")
