"""A cache of senders' profiles, which is valid until somebody changes a profile.

Each transaction that changes a profile also sets a new version in the database (``profiles_version``). A page of
history has the version of its snapshot. Cached profiles of that version are exactly those that the page would have
shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Record

from chatsys.store.postgres.rows import Profile

MOST_CHARACTERS = 4_000_000
"""Characters of all cached profiles: some 25,000 profiles, or a few with pictures in their avatars."""


class Profiles(dict[str, Profile]):
    """The profiles of one version, by user id. ``version`` is empty before the first."""

    def __init__(self, version: str = "") -> None:
        self.version = version
        self._characters = 0

    def joined(self, found: Sequence[Record]) -> Profiles:
        """These profiles and those in rows of ``history``; the latter only if their version differs or this is full."""
        version = found[0][0] if found else None
        if version is None:  # an empty page, or no version to compare
            return self
        merged = self if version == self.version and self._characters < MOST_CHARACTERS else Profiles(version)
        for row in found:
            user_id, profile = row[3], row[4:7]
            if profile[2] is not None and user_id not in merged:  # a guest's row has no avatar
                merged[user_id] = profile
                merged._characters += sum(map(len, profile))
        return merged
