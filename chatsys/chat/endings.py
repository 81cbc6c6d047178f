"""Sessions that must be closed: those whose sockets are gone, and those about which the store did not answer.

The store may have committed a join, a leave or the deletion of an account although its answer was lost. This module
keeps each such session, by socket and session id, until the store confirms that it is closed. It closes them in
batches: immediately, or as soon as an unavailable store answers again.
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
"""Sessions that are closed together. It limits the time for which the event loop does nothing else."""

_PUBLISHED_TOGETHER = 25
"""Ended sessions that are published before the event loop does other work."""

RETRY = 0.5
"""Seconds between two attempts while the store is unavailable."""

MOST = 100_000
"""Sessions that may wait. Any more stay open until this server ends."""


class _Ending(msgspec.Struct):
    """A session to close. ``tried``: it may already be closed, without an event."""

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
        """Close a session soon. ``tried``: the store did not answer an earlier request to close it."""
        self._add(_Ending(session.socket_id, session.session_id, session.room, tried))

    def unanswered(self, new: NewSession) -> None:
        """Close this session if it is open: the store did not answer the request to open it."""
        self._add(_Ending(new.socket_id, new.session_id, new.room, tried=False))

    def deletion(self, user_id: str, sessions: Sequence[Session]) -> None:
        """Check whether this account was deleted: the store did not answer. ``sessions`` were its sessions."""
        if len(self._deletions) < MOST:
            self._deletions[user_id] = list(sessions)
            self._wake()

    async def settle(self, socket_id: str) -> None:
        """Close the waiting sessions of this socket, which is about to join again. Raises StoreError."""
        ids = self._by_socket.get(socket_id)
        if ids:
            await self._close([self._waiting[session_id] for session_id in ids])

    async def stop(self) -> None:
        """Stop the task; sessions that still wait end with this server."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _add(self, ending: _Ending) -> None:
        if len(self._waiting) >= MOST:
            logger.error("%s: its session stays open until this server ends: too many wait", ending.socket_id)
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
                await self._check_deletions()
                size = min(2 * size, BATCH)
            except StoreError as error:
                logger.debug("%d ended sessions are closed later (%s)", len(self._waiting), error.code)
                self._put_last(batch)
                size = max(size // 2, 1)
                await asyncio.sleep(RETRY)

    async def _close(self, endings: Sequence[_Ending]) -> None:
        """Close sessions and notify their rooms. For one that was closed without an event, servers check the room."""
        try:
            ended = await self._store.close_sessions([each.session_id for each in endings], self._clock.now())
        except StoreError:
            for each in endings:
                each.tried = True
            raise
        for each in endings:
            self._forget(each)
        await publish_ended(self._fanout, ended)
        open_until_now = {each.session.session_id for each in ended}
        await self._check_rooms({each.room for each in endings if each.tried and each.session_id not in open_until_now})

    async def _check_deletions(self) -> None:
        for user_id, sessions in list(self._deletions.items()):
            if await self._store.user_by_id(user_id) is None:
                await self._check_rooms({session.room for session in sessions})
            del self._deletions[user_id]

    async def _check_rooms(self, rooms: Iterable[str]) -> None:
        """Have each server compare its members of these rooms with the store."""
        for room in sorted(rooms):
            await self._fanout.publish(ServerLost(room=room))
            await asyncio.sleep(0)

    def _put_last(self, endings: Iterable[_Ending]) -> None:
        """Move these behind the others: one session whose row is locked would hold up the whole batch."""
        for each in endings:
            if self._waiting.pop(each.session_id, None) is not None:
                self._waiting[each.session_id] = each

    def _forget(self, ending: _Ending) -> None:
        if self._waiting.pop(ending.session_id, None) is not None:
            of_socket = self._by_socket[ending.socket_id]
            of_socket.discard(ending.session_id)
            if not of_socket:
                del self._by_socket[ending.socket_id]


async def publish_ended(fanout: Fanout, ended: Sequence[EndedSession]) -> None:
    """Notify the rooms of sessions that ended together, with pauses for other work of the event loop."""
    for start in range(0, len(ended), _PUBLISHED_TOGETHER):
        for each in ended[start : start + _PUBLISHED_TOGETHER]:
            await fanout.publish(SessionClosed(room=each.session.room, ended=each), each.servers)
        await asyncio.sleep(0)
