"""The chat's verbs over a memory store, with a publisher that records events and a clock that advances on request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from chatsys.chat import accounts, conversation
from chatsys.chat.bundle import Chat, ChatLimits, open_chat
from chatsys.chat.clock import Clock
from chatsys.chat.fanout import Event, Fanout
from chatsys.model.values import Message, RoomStats, Session, User
from chatsys.store.opening import open_store

SECRET = "s" * 32


@dataclass
class Recorder(Fanout):
    """Records each event, and what the store said about its room at that moment."""

    chat: Chat | None = None
    events: list[Event] = field(default_factory=list)
    stored: list[tuple[list[Message], list[Session], RoomStats]] = field(default_factory=list)

    async def publish(self, event: Event, servers: Sequence[str] | None = None) -> None:
        assert self.chat is not None
        store = self.chat.store
        self.events.append(event)
        self.stored.append(
            (
                await store.history(event.room, 100),
                await store.sessions(event.room),
                await store.room_stats(event.room),
            )
        )

    def take(self) -> list[Event]:
        """Return the events since the last call."""
        events, self.events = self.events, []
        return events


class SteppingClock(Clock):
    def __init__(self) -> None:
        self.moment = datetime.now(UTC).replace(microsecond=0)

    def now(self) -> datetime:
        self.moment += timedelta(milliseconds=1)
        return self.moment


@pytest.fixture
def fanout() -> Recorder:
    return Recorder()


@pytest.fixture
async def chat(fanout: Recorder) -> AsyncIterator[Chat]:
    limits = ChatLimits(history=3, replay=4, page=5, login_attempts=3, login_window=60.0)
    async with (
        open_store("memory://") as store,
        open_chat(store, secret=SECRET, fanout=fanout, limits=limits) as opened,
    ):
        fanout.chat = replace(opened, clock=SteppingClock())
        yield fanout.chat


class People:
    """Registers people and opens sessions for them."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def register(self, username: str, password: str = "password", **fields: object) -> tuple[User, str]:
        values = {"username": username, "email": f"{username}@example.org", "password": password}
        return await accounts.register(self._chat, values | fields)

    async def join(self, room: str, *, token: str | None = None, name: str = "Gus", socket_id: str = "") -> Session:
        """Open a session of the token's user, or of a guest."""
        socket_id = socket_id or f"socket-{self._chat.clock.now().timestamp()}"
        who, _ = await conversation.identify(
            self._chat, token=token, username=name, user_id=f"guest-{name}", socket_id=socket_id
        )
        return (await conversation.join(self._chat, room, who, socket_id)).session


@pytest.fixture
def people(chat: Chat) -> People:
    return People(chat)
