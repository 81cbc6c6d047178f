"""A simulated chat on a private PostgreSQL, for notebooks with LIVE and for recordings."""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
        with embedded_server(home / "postgres") as url, ThreadPoolExecutor(1, "living chat") as pool:
            ready, done = threading.Event(), threading.Event()
            settings = Settings(database_url=url, data_dir=home)
            talk = pool.submit(asyncio.run, _talk(settings, random.Random(seed), ready, done))  # noqa: S311 - a simulation
            talk.add_done_callback(lambda _: ready.set())
            try:
                ready.wait()
                if not talk.done():
                    yield url
            finally:
                done.set()
                talk.result()  # raises what ended the chat


async def _talk(settings: Settings, rng: random.Random, ready: threading.Event, done: threading.Event) -> None:
    """Let the members talk until ``done``; ``ready`` says that all are in their rooms."""
    async with open_server(settings, lambda _line: None) as chat:
        rooms = [f"room {number}" for number in range(1, ROOMS + 1)]
        weights = [1 / number for number in range(1, ROOMS + 1)]
        sessions: dict[str, list[Session]] = {room: [] for room in rooms}
        for number in range(MEMBERS):
            room = rng.choices(rooms, weights)[0]
            socket_id = f"living-{number}"
            who, _ = await conversation.identify(
                chat, token=None, username=f"member_{number}", user_id=None, socket_id=socket_id
            )
            sessions[room].append((await conversation.join(chat, room, who, socket_id)).session)
        async with asyncio.TaskGroup() as group:
            members = [
                group.create_task(_member(chat, rng, session, everybody))
                for everybody in sessions.values()
                for session in everybody
            ]
            ready.set()
            await asyncio.to_thread(done.wait)
            for member in members:
                member.cancel()


async def _member(chat: Chat, rng: random.Random, session: Session, room: list[Session]) -> None:
    async with asyncio.TaskGroup() as receipts:
        while True:
            await asyncio.sleep(rng.expovariate(1 / THINK_SECONDS))
            posted = await conversation.send(chat, session, "What a living chat says is of no importance.")
            for other in room:
                if other is not session and rng.random() < READERS:
                    receipts.create_task(_reads(chat, rng, other, posted.message.message_id))


async def _reads(chat: Chat, rng: random.Random, session: Session, message_id: str) -> None:
    await conversation.delivered(chat, session, session.room, message_id)
    await asyncio.sleep(READ_SECONDS * rng.lognormvariate(0, 1))
    await conversation.read(chat, session, session.room, message_id)
