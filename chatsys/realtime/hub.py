"""A room as this server sees it: its local members, how far their messages have come, and who is listed.

A hub exists while a local socket is in the room or on its way in. What it knows of the room comes from events alone
(its own server's or, by the bus, another's), so that a list never shows a session before its ``user-joined``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from chatsys.chat import conversation
from chatsys.chat.bundle import Chat
from chatsys.engine.memory import Memory
from chatsys.engine.scheduler import SendQueue
from chatsys.errors import StoreError
from chatsys.model.values import EndedSession, Message, Session
from chatsys.protocol.packets import Outgoing
from chatsys.realtime.frames import event
from chatsys.realtime.sequence import Sequence
from chatsys.wire import catalogue, events, objects

if TYPE_CHECKING:
    from chatsys.engine.connection import Connection

logger = logging.getLogger("chatsys.realtime")

LIST_HOLD = 0.2
"""Seconds between two lists of users to those who did not just join; contract §10.2 allows 0.25."""

RETRY = 1.0
"""Seconds until what the store could not answer is asked again."""


class Member:
    """A local socket in a room.

    ``live`` is true once its history is sent, ``current`` while no message is missing in its list; ``position`` is the
    newest that it surely has. ``listed`` is the version of the list that was sent.
    """

    __slots__ = ("connection", "current", "listed", "live", "position", "session")

    def __init__(self, connection: Connection, session: Session) -> None:
        self.connection = connection
        self.session = session
        self.live = self.current = False
        self.position = 0
        self.listed = -1


class Hub:
    """One room on this server. ``coming`` counts sockets on their way in."""

    def __init__(self, room: str, send_queue: SendQueue, chat: Chat, reads: asyncio.Semaphore, memory: Memory) -> None:
        self.room = room
        self.send_queue = send_queue
        self.chat = chat
        self.members: dict[str, Member] = {}
        self.sequence = Sequence(room, chat, self.members, reads, memory)
        self.coming = 0
        self.known: asyncio.Event | None = None  # set once the other servers know of this hub
        self._catching: asyncio.Task[None] | None = None
        self._known: dict[str, Session] | None = None
        self._before_known: list[tuple[bool, Session]] = []
        self._left_meanwhile: set[str] = set()
        self._version = 0
        self._reading: asyncio.Task[tuple[Outgoing, int]] | None = None
        self._queued: asyncio.Task[tuple[Outgoing, int]] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._told = 0.0

    # -- members

    async def announced(self) -> None:
        """Wait until the other servers tell this one what happens in the room."""
        if self.known is not None:
            await self.known.wait()

    def add(self, member: Member) -> None:
        """A local socket is in: from now on it gets everything but live messages."""
        self.members[member.session.socket_id] = member
        member.connection.send_queue = self.send_queue
        member.connection.member = member
        self.sequence.hold(member)

    def broadcast(self, out: Outgoing, skip: str | None = None) -> None:
        """Send to all local members but the socket ``skip``."""
        for socket_id, member in self.members.items():
            if socket_id != skip:
                member.connection.push(out)

    def stop(self) -> None:
        """End what this hub has under way."""
        self.sequence.stop()
        for task in (self._catching, self._reading, self._queued, self._telling):
            if task is not None:
                task.cancel()

    # -- messages, in sequence

    def open_at(self, last_seq: int) -> None:
        """The room stood at ``last_seq`` when the first member came: live messages begin after it."""
        self.sequence.open_at(last_seq)

    def post(self, message: Message) -> None:
        """A message was stored: deliver it once and in sequence."""
        self.sequence.post(message)

    def stored(self, seq: int) -> None:
        """Another server has stored a message that is too long to be carried between servers."""
        self.sequence.stored(seq)

    def catch_up(self) -> bool:
        """Something may have been missed: read the messages after the cursor, and who is here.

        False if that was under way.
        """
        self.sequence.read_soon(0.0)
        if self._catching is not None:
            return False
        self._catching = asyncio.create_task(self._look_who_is_here())
        return True

    # -- who is here

    def joined(self, session: Session) -> None:
        """A session began: ``user-joined`` to the others, the list to all."""
        if self._known is None:
            self._before_known.append((True, session))
        elif session.session_id in self._known:
            return
        else:
            self._known[session.session_id] = session
        self.broadcast(event(catalogue.USER_JOINED, events.user_joined(session)), skip=session.socket_id)
        self._changed()

    def left(self, ended: EndedSession) -> None:
        """A session ended: its socket is out, then ``user-left``, the status if it was the last, and the list."""
        session = ended.session
        member = self.members.get(session.socket_id)
        if member is not None and member.session.session_id == session.session_id:
            del self.members[session.socket_id]
            member.connection.member = None
        if self._catching is not None:
            self._left_meanwhile.add(session.session_id)
        if self._known is None:
            self._before_known.append((False, session))
        elif self._known.pop(session.session_id, None) is None:
            return
        self.broadcast(event(catalogue.USER_LEFT, events.user_left(ended)))
        if ended.last:
            status = events.user_status_update(session.who, False, ended.at)
            self.broadcast(event(catalogue.USER_STATUS_UPDATE, status))
        self._changed()

    async def _look_who_is_here(self) -> None:
        """Tell of the joins and leaves that no event has told of."""
        before = dict(self._known or {})
        self._left_meanwhile.clear()
        try:
            sessions = {session.session_id: session for session in await conversation.members(self.chat, self.room)}
            for session_id, session in sessions.items():
                if self._known is not None and session_id not in before and session_id not in self._left_meanwhile:
                    self.joined(session)
            for session_id, session in before.items():
                if session_id not in sessions and session_id in (self._known or {}):
                    await self._gone(session)
        except StoreError as error:
            logger.warning("room %r: who is here could not be read: %s", self.room, error)
            asyncio.get_running_loop().call_later(RETRY, self.catch_up)
        finally:
            self._catching = None

    async def _gone(self, session: Session) -> None:
        """A session is no longer in the store. If its socket is here, this server was taken for dead: send it away."""
        last = not await conversation.is_online(self.chat, session.who)
        exists = await conversation.exists(self.chat, session.who)
        member = self.members.get(session.socket_id)
        self.left(EndedSession(session=session, last=last, at=self.chat.clock.now()))
        if member is not None and member.connection.member is None and exists:
            member.connection.end("session lost")

    def release(self, member: Member, last: int) -> None:
        """The member has its history up to ``last``: it goes live, and gets a newer list if there is one."""
        self.sequence.release(member, last)
        self._tell_soon()

    async def tell_list(self, member: Member) -> None:
        """Send the current list to one member, now."""
        out, version = await self._list()
        if version >= member.listed:
            member.connection.send(out, asked=True)
            member.listed = version

    def _changed(self) -> None:
        self._version += 1
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._telling is None and self.members:
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        """Send the list to all who have an older one, at most once in ``LIST_HOLD`` seconds.

        One who has not yet taken what was sent before gets the list that is current when it has.
        """
        loop = asyncio.get_running_loop()
        out, version = None, -1
        try:
            while any(member.listed < self._version for member in self.members.values() if member.live):
                await asyncio.sleep(max(0.0, self._told + LIST_HOLD - loop.time()))
                if out is None or version < self._version:
                    out, version = await self._list()
                self._told = loop.time()
                for member in self.members.values():
                    if member.listed < version and member.live and not member.connection.behind:
                        member.connection.push(out)
                        member.listed = version
        except StoreError as error:
            logger.warning("room %r: the list of users could not be read: %s", self.room, error)
            loop.call_later(RETRY, self._changed)
        finally:
            self._telling = None

    async def _list(self) -> tuple[Outgoing, int]:
        """The list and its version, read after this call; askers at the same time share one read."""
        if self._queued is None:
            self._queued = asyncio.create_task(self._read_list(self._reading))
        return await asyncio.shield(self._queued)

    async def _read_list(self, before: asyncio.Task[tuple[Outgoing, int]] | None) -> tuple[Outgoing, int]:
        if before is not None:
            await asyncio.wait([before])
        self._reading, self._queued = self._queued, None
        sessions = await conversation.members(self.chat, self.room)
        if self._known is None:
            self._learn(sessions)
        return event(
            catalogue.ROOM_USERS, [objects.room_user(session) for session in self._merge(sessions)]
        ), self._version

    def _learn(self, sessions: list[Session]) -> None:
        self._known = {session.session_id: session for session in sessions}
        for began, session in self._before_known:
            if began:
                self._known.setdefault(session.session_id, session)
            else:
                self._known.pop(session.session_id, None)
        self._before_known = []

    def _merge(self, sessions: list[Session]) -> list[Session]:
        """What the store says of the sessions that events have told of, in order of joining.

        One that the store no longer has stays until its ``user-left``, which is on its way.
        """
        known = dict(self._known or {})
        fresh = [session for session in sessions if known.pop(session.session_id, None) is not None]
        return sorted(fresh + list(known.values()), key=_order) if known else fresh


def _order(session: Session) -> tuple[object, str]:
    return session.joined_at, session.session_id
