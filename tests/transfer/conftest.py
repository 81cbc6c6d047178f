"""A memory store with some chat in it, and its snapshot file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uuid_utils

from chatsys.database import snapshot
from chatsys.model.rules import default_avatar
from chatsys.model.values import NewMessage, Participant, User
from chatsys.store.contract import Store
from chatsys.store.opening import open_store

NOW = datetime(2031, 5, 6, 7, 8, 9, 123_000, tzinfo=UTC)


async def fill(store: Store, messages: int) -> None:
    """Let ten users and a guest talk in five rooms. Every tenth message is read by somebody, every fifth is
    delivered."""
    people = [await _user(store, f"user{number}") for number in range(10)]
    people.append(
        Participant(user_id="guest-1", username="Gus", display_name="Gus", avatar=default_avatar("Gus"), guest=True)
    )
    for number in range(messages):
        sender, reader = people[number % 11], people[(number + 1) % 11]
        at = NOW + timedelta(milliseconds=number)
        posted = await store.post_message(
            NewMessage(
                message_id=str(uuid_utils.uuid7()),
                room=f"room {number % 5}",
                who=sender,
                text=f"message {number} \U0001f600 'quoted' \\ and \"quoted\"",
                at=at,
                client_message_id=f"id-{number}" if number % 3 else None,
            )
        )
        if number % 10 == 0:
            await store.mark_read(posted.message.room, posted.message.message_id, reader, at)
        elif number % 5 == 0:
            await store.mark_delivered(posted.message.room, posted.message.message_id, reader, at)


async def _user(store: Store, name: str) -> Participant:
    user = User(
        user_id=str(uuid_utils.uuid7()),
        username=name,
        email=f"{name}@example.org",
        password_hash="$2b$10$" + "x" * 53,
        display_name=name.title(),
        avatar=default_avatar(name),
        bio="",
        online=False,
        last_seen=NOW,
        created_at=NOW,
        last_login=None,
    )
    await store.create_user(user)
    return Participant(user_id=user.user_id, username=name, display_name=user.display_name, avatar=user.avatar)


@pytest.fixture
async def filled() -> AsyncIterator[Store]:
    """A memory store with 500 messages."""
    async with open_store("memory://") as store:
        await fill(store, 500)
        yield store


@pytest.fixture
async def snapshot_file(filled: Store, tmp_path: Path) -> Path:
    """The snapshot of ``filled``."""
    await snapshot.write(filled, tmp_path / "chat.snapshot", NOW)
    return tmp_path / "chat.snapshot"
