"""A version of all profiles, so that servers can cache those of senders."""

from __future__ import annotations

from chatsys.database.admin import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add one row and the trigger that changes it."""
    run_script("versions/0003_profiles_version.sql")
