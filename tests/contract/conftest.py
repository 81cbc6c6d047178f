"""Shared parts of the contract tests: people, rooms and a clock that advances on request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import uuid_utils

from chatsys.model.rules import default_avatar
from chatsys.model.values import Message, NewMessage, NewSession, Participant, Session, User
from chatsys.store.contract import Store


def new_id() -> str:
    return str(uuid_utils.uuid7())


class Cast:
    """Acts on one store with generated values; each time that it returns is one millisecond later."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.server_id = new_id()
        self._moment = datetime(2031, 5, 6, 7, 8, 9, 123_000, tzinfo=UTC)

    def now(self) -> datetime:
        self._moment += timedelta(milliseconds=1)
        return self._moment

    def account(self, username: str, **fields: object) -> User:
        """Return an account that is not stored yet."""
        values: dict[str, object] = {
            "user_id": new_id(),
            "username": username,
            "email": f"{username.lower()}@example.org",
            "password_hash": "$2b$10$" + "x" * 53,
            "display_name": username,
            "avatar": default_avatar(username),
            "bio": "",
            "online": False,
            "last_seen": None,
            "created_at": self.now(),
            "last_login": None,
        }
        return User(**(values | fields))

    async def user(self, username: str, **fields: object) -> Participant:
        """Store an account; return it as it appears in a room."""
        user = await self.store.create_user(self.account(username, **fields))
        return Participant(
            user_id=user.user_id, username=user.username, display_name=user.display_name, avatar=user.avatar
        )

    def guest(self, name: str, guest_id: str | None = None) -> Participant:
        return Participant(
            user_id=guest_id or f"guest-{name}",
            username=name,
            display_name=name,
            avatar=default_avatar(name),
            guest=True,
        )

    def entry(self, who: Participant, room: str, socket_id: str = "", server_id: str = "") -> NewSession:
        """Return a session that is not open yet."""
        return NewSession(
            session_id=new_id(),
            socket_id=socket_id or new_id(),
            room=room,
            who=who,
            at=self.now(),
            server_id=server_id or self.server_id,
        )

    async def join(self, who: Participant, room: str, socket_id: str = "", server_id: str = "") -> Session:
        return (await self.store.open_session(self.entry(who, room, socket_id, server_id))).session

    def new_message(self, who: Participant, room: str, text: str = "hello", client_id: str | None = None) -> NewMessage:
        """Return a message that is not stored yet."""
        return NewMessage(
            message_id=new_id(), room=room, who=who, text=text, at=self.now(), client_message_id=client_id
        )

    async def post(self, who: Participant, room: str, text: str = "hello", client_id: str | None = None) -> Message:
        return (await self.store.post_message(self.new_message(who, room, text, client_id))).message

    async def message(self, room: str, message_id: str) -> Message:
        """Return the message as the history currently shows it."""
        (found,) = [each for each in await self.store.history(room, 1000) if each.message_id == message_id]
        return found


@pytest.fixture
async def cast(store: Store) -> AsyncIterator[Cast]:
    """A cast on the store, with one registered server."""
    cast = Cast(store)
    await store.register_server(cast.server_id, cast.now())
    yield cast
    await store.retire_server(cast.server_id, cast.now())
