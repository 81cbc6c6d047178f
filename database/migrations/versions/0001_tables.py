"""The tables, views and default rooms; or, where the original backend's tables are, their adoption in place."""

from __future__ import annotations

from chatsys.database.admin import has_table, run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything in an empty database, or take over what the original backend made."""
    run_script("adopt_original.sql" if has_table("users") else "versions/0001_tables.sql")
