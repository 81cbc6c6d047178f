"""A simulated chat on a private PostgreSQL, for notebooks with LIVE and for recordings."""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatsys.chat import conversation
from chatsys.chat.bundle import Chat
from chatsys.extras import require
from chatsys.model.values import Session
from chatsys.server.composition import open_server
from chatsys.settings import Settings

MEMBERS = 120
ROOMS = 12
THINK_SECONDS = 1.0
"""Mean pause of a member between two messages; pauses are exponential."""
READ_SECONDS = 0.8
"""Median time until a member reads a message; times are log-normal, as those of people are."""
READERS = 0.3
"""Share of a room that reads a message."""


@contextmanager
def living_chat(seed: int = 1) -> Iterator[str]:
    """The URL of a private PostgreSQL in which ``MEMBERS`` guests talk in ``ROOMS`` rooms until the block ends.

    Messages go through the chat's own functions and the store's group commit; there are no sockets. The sizes of rooms
    follow a power law. Raises EmbeddedFailed.
    """
    require("embedded")
    from chatsys.database.embedded import embedded_server

    with tempfile.TemporaryDirectory(prefix="chatsys-") as folder:
        home = Path(folder)
        with embedded_server(home / "postgres") as url:
            talk = _Talk(Settings(database_url=url, data_dir=home), random.Random(seed))  # noqa: S311 - a simulation
            with talk:
                yield url


class _Talk:
    """Runs the members in a thread with its own event loop."""

    def __init__(self, settings: Settings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        self._ready = threading.Event()
        self._done = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="living chat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._talk())
        except Exception as error:  # raised in the thread that waits
            self._failure = error
        finally:
            self._ready.set()

    async def _talk(self) -> None:
        async with open_server(self._settings, lambda _line: None) as chat:
            rooms = [f"room {number}" for number in range(1, ROOMS + 1)]
            weights = [1 / number for number in range(1, ROOMS + 1)]
            sessions: dict[str, list[Session]] = {room: [] for room in rooms}
            for number in range(MEMBERS):
                room = self._rng.choices(rooms, weights)[0]
                socket_id = f"living-{number}"
                who, _ = await conversation.identify(
                    chat, token=None, username=f"member_{number}", user_id=None, socket_id=socket_id
                )
                sessions[room].append((await conversation.join(chat, room, who, socket_id)).session)
            async with asyncio.TaskGroup() as group:
                members = [
                    group.create_task(self._member(chat, session, everybody))
                    for everybody in sessions.values()
                    for session in everybody
                ]
                self._ready.set()
                await asyncio.to_thread(self._done.wait)
                for member in members:
                    member.cancel()

    async def _member(self, chat: Chat, session: Session, room: list[Session]) -> None:
        async with asyncio.TaskGroup() as receipts:
            while True:
                await asyncio.sleep(self._rng.expovariate(1 / THINK_SECONDS))
                posted = await conversation.send(chat, session, "What a living chat says is of no importance.")
                for other in room:
                    if other is not session and self._rng.random() < READERS:
                        receipts.create_task(self._reads(chat, other, posted.message.message_id))

    async def _reads(self, chat: Chat, session: Session, message_id: str) -> None:
        await conversation.delivered(chat, session, session.room, message_id)
        await asyncio.sleep(READ_SECONDS * self._rng.lognormvariate(0, 1))
        await conversation.read(chat, session, session.room, message_id)
