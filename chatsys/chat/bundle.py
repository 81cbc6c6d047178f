"""The bundle that every verb takes: the store, the fan-out, the clock, the limits and what logins need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import uuid_utils

from chatsys.chat.clock import Clock
from chatsys.chat.endings import Endings
from chatsys.chat.fanout import Fanout, NullFanout
from chatsys.chat.passwords import Passwords
from chatsys.chat.slots import FairSlots
from chatsys.chat.tokens import Tokens
from chatsys.store.contract import Store

PAUSE = 0.1
"""The longest pause between two batches of long work, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatLimits:
    """What a client may request. Counts, bytes as sent, and ``login_window`` and ``patience`` in seconds.

    ``reads`` pages are made at once, and ``waiting`` more may wait (``passwords`` for a processor), each for at most
    ``patience``. ``new_rooms`` is how many rooms a socket may create in a minute; None means no limit. A room with more
    sessions than ``large_room`` gets fewer events about single sessions (contract §10.3).
    """

    history: int = 100
    replay: int = 1000
    page: int = 1000
    join_bytes: int = 2_097_152
    page_bytes: int = 8_388_608
    rooms: int = 1000
    members: int = 1000
    reads: int = 4
    waiting: int = 200
    passwords: int = 200
    patience: float = 10.0
    users: int = 100
    search: int = 50
    large_room: int = 1000
    login_attempts: int = 10
    login_window: float = 900.0
    new_rooms: int | None = None


def new_id() -> str:
    """A new UUID, version 7: increasing within one process."""
    return str(uuid_utils.uuid7())


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """One chat, as the verbs take it."""

    store: Store
    tokens: Tokens
    passwords: Passwords
    endings: Endings
    reads: FairSlots
    fanout: Fanout = field(default_factory=NullFanout)
    clock: Clock = field(default_factory=Clock)
    limits: ChatLimits = field(default_factory=ChatLimits)
    server_id: str = field(default_factory=new_id)


@asynccontextmanager
async def open_chat(
    store: Store,
    *,
    secret: str,
    previous_secret: str | None = None,
    token_lifetime: timedelta = timedelta(days=7),
    fanout: Fanout | None = None,
    limits: ChatLimits | None = None,
) -> AsyncIterator[Chat]:
    """A chat over an open store; without a ``fanout`` its events are dropped.

    ``secret`` signs and verifies tokens, ``previous_secret`` only verifies them.
    """
    limits = limits or ChatLimits()
    fanout = fanout or NullFanout()
    clock = Clock()
    endings = Endings(store, fanout, clock)
    with Passwords(limits.passwords, limits.patience) as passwords:
        try:
            yield Chat(
                store=store,
                tokens=Tokens(secret, token_lifetime, previous_secret),
                passwords=passwords,
                endings=endings,
                reads=FairSlots(limits.reads, limits.waiting, limits.patience),
                fanout=fanout,
                clock=clock,
                limits=limits,
            )
        finally:
            await endings.stop()
