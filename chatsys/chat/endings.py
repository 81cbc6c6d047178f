"""Sessions that must not stay: those whose sockets have gone, and those of which the store gave no answer.

A join, a leave or a deletion of an account may have been committed although its answer was lost. Each such session is
kept here by socket and session until the store has said that it is closed. What waits is closed in batches, at once,
and where the store is away as soon as it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from chatsys.chat.clock import Clock
from chatsys.chat.fanout import Fanout, ServerLost, SessionClosed
from chatsys.errors import StoreError
from chatsys.model.values import EndedSession, NewSession, Session
from chatsys.store.contract import Store

logger = logging.getLogger(__name__)

BATCH = 250
"""Sessions that are closed together: it bounds the time for which the event loop does nothing else."""

TOLD_AT_ONCE = 25
"""Ended sessions of which rooms are told before the event loop does something else."""

RETRY = 0.5
"""Seconds between two tries while the store is away."""

MOST = 100_000
"""Sessions that may wait. Past it they are left to the end of this server."""


class _Ending(msgspec.Struct):
    """A session to close. ``tried``: it may have been closed already, and nobody was told."""

    socket_id: str
    session_id: str
    room: str
    tried: bool


class Endings:
    """The sessions of one server that are to be closed, and the task that closes them."""

    def __init__(self, store: Store, fanout: Fanout, clock: Clock) -> None:
        self._store = store
        self._fanout = fanout
        self._clock = clock
        self._waiting: dict[str, _Ending] = {}
        self._by_socket: dict[str, set[str]] = {}
        self._deletions: dict[str, list[Session]] = {}
        self._task: asyncio.Task[None] | None = None

    def end(self, session: Session, *, tried: bool = False) -> None:
        """Close a session soon. ``tried``: the store was asked to, and gave no answer."""
        self._add(_Ending(session.socket_id, session.session_id, session.room, tried))

    def unanswered(self, new: NewSession) -> None:
        """The store gave no answer when this session was to be opened: close it if it is."""
        self._add(_Ending(new.socket_id, new.session_id, new.room, tried=False))

    def deletion(self, user_id: str, sessions: Sequence[Session]) -> None:
        """The store gave no answer when this account was to be deleted; these were its sessions."""
        if len(self._deletions) < MOST:
            self._deletions[user_id] = list(sessions)
            self._wake()

    async def settle(self, socket_id: str) -> None:
        """Close what waits of this socket, which is about to join again. Raises StoreError."""
        ids = self._by_socket.get(socket_id)
        if ids:
            await self._close([self._waiting[session_id] for session_id in ids])

    async def stop(self) -> None:
        """Leave what still waits to the end of this server."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _add(self, ending: _Ending) -> None:
        if len(self._waiting) >= MOST:
            logger.error("%s: its session ends with this server: too many wait", ending.socket_id)
            return
        self._waiting[ending.session_id] = ending
        self._by_socket.setdefault(ending.socket_id, set()).add(ending.session_id)
        self._wake()

    def _wake(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._close_all()
        finally:
            self._task = None

    async def _close_all(self) -> None:
        size = BATCH
        while self._waiting or self._deletions:
            batch = list(islice(self._waiting.values(), size))
            try:
                await self._close(batch)
                await self._look_for_deleted()
                size = min(2 * size, BATCH)
            except StoreError as error:
                logger.debug("%d sessions that have ended are closed later (%s)", len(self._waiting), error.code)
                self._put_last(batch)
                size = max(size // 2, 1)
                await asyncio.sleep(RETRY)

    async def _close(self, endings: Sequence[_Ending]) -> None:
        """Close sessions, and tell their rooms. One that was closed before without a word has its room looked at."""
        try:
            ended = await self._store.close_sessions([each.session_id for each in endings], self._clock.now())
        except StoreError:
            for each in endings:
                each.tried = True
            raise
        for each in endings:
            self._forget(each)
        await tell_ended(self._fanout, ended)
        open_until_now = {each.session.session_id for each in ended}
        await self._doubt({each.room for each in endings if each.tried and each.session_id not in open_until_now})

    async def _look_for_deleted(self) -> None:
        for user_id, sessions in list(self._deletions.items()):
            if await self._store.user_by_id(user_id) is None:
                await self._doubt({session.room for session in sessions})
            del self._deletions[user_id]

    async def _doubt(self, rooms: Iterable[str]) -> None:
        for room in sorted(rooms):
            await self._fanout.publish(ServerLost(room=room))
            await asyncio.sleep(0)

    def _put_last(self, endings: Iterable[_Ending]) -> None:
        """Let the others go first: one session whose row somebody else has locked holds up a whole batch."""
        for each in endings:
            if self._waiting.pop(each.session_id, None) is not None:
                self._waiting[each.session_id] = each

    def _forget(self, ending: _Ending) -> None:
        if self._waiting.pop(ending.session_id, None) is not None:
            of_socket = self._by_socket[ending.socket_id]
            of_socket.discard(ending.session_id)
            if not of_socket:
                del self._by_socket[ending.socket_id]


async def tell_ended(fanout: Fanout, ended: Sequence[EndedSession]) -> None:
    """Tell the rooms of sessions that ended together, however many, with pauses for the event loop."""
    for start in range(0, len(ended), TOLD_AT_ONCE):
        for each in ended[start : start + TOLD_AT_ONCE]:
            await fanout.publish(SessionClosed(room=each.session.room, ended=each), each.servers)
        await asyncio.sleep(0)
