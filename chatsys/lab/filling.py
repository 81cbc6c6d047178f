"""Fill a store with synthetic rows through its own verbs, as a store in memory must be."""

from __future__ import annotations

from chatsys.lab.synthetic import Synthetic
from chatsys.store.contract import Store


async def fill_users(store: Store, rows: Synthetic) -> None:
    """Make every account."""
    for index in range(rows.users):
        await store.create_user(rows.user(index))


async def fill_messages(store: Store, rows: Synthetic) -> None:
    """Post every message and record every receipt."""
    people = [rows.participant(index) for index in range(rows.users)]
    for index in range(rows.messages):
        new = rows.message(index, people[rows.sender(index)])
        await store.post_message(new)
        for reader in rows.readers(index):
            await store.mark_read(new.room, new.message_id, people[reader], new.at)
