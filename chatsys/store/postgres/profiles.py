"""Senders' profiles, kept from page to page for as long as nobody changes one.

Each change of a profile gives the database a new version in the same transaction (``profiles_version``), and a page
tells the version of its own snapshot. Profiles that were read with that version are what the page would have shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Record

from chatsys.store.postgres.rows import Profile

MOST_CHARACTERS = 4_000_000
"""Of all profiles that are kept, avatars included: some 25,000 profiles, or a few with pictures in their avatars."""


class Profiles(dict[str, Profile]):
    """The profiles of one version, by user id. ``version`` is empty before the first."""

    def __init__(self, version: str = "") -> None:
        self.version = version
        self._characters = 0

    def joined(self, found: Sequence[Record]) -> Profiles:
        """These and those that rows of ``history`` show, or those alone if they are of another version or too many."""
        version = found[0][0] if found else None
        if version is None:  # an empty page, or nothing that would tell of changes
            return self
        all_of_it = self if version == self.version and self._characters < MOST_CHARACTERS else Profiles(version)
        for row in found:
            user_id, profile = row[3], row[4:7]
            if profile[2] is not None and user_id not in all_of_it:  # a guest's row has no avatar
                all_of_it[user_id] = profile
                all_of_it._characters += sum(map(len, profile))
        return all_of_it
