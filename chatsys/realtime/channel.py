"""A room on this server: its local members, the messages delivered to them, and the list of its sessions.

A room channel exists while a local socket is in the room or joining it. It updates the list from events only (from this
server or, over the bus, from another one), so that a list never shows a session before its ``user-joined``.
"""

from __future__ import annotations

import asyncio
import logging

from chatsys.chat import conversation
from chatsys.chat.bundle import Chat
from chatsys.engine.scheduler import SendQueue
from chatsys.engine.shared import Memory
from chatsys.errors import StoreError
from chatsys.model.values import EndedSession, Session
from chatsys.protocol.packets import Outgoing
from chatsys.realtime.frames import event
from chatsys.realtime.lists import Lists
from chatsys.realtime.receipts import MergedReceipts
from chatsys.realtime.roster import LISTED, Roster
from chatsys.realtime.sequence import Member, Sequence
from chatsys.wire import catalogue, events

logger = logging.getLogger("chatsys.realtime")

RETRY = 1.0
"""Seconds before a failed read of the store is repeated."""

GONE_AT_ONCE = 25
"""Maximum ended sessions announced in one iteration of the event loop."""


class RoomChannel:
    """One room on this server. ``joining`` counts the sockets that are joining."""

    def __init__(self, room: str, send_queue: SendQueue, chat: Chat, reads: asyncio.Semaphore, memory: Memory) -> None:
        self.room = room
        self.send_queue = send_queue
        self.chat = chat
        self.members: dict[str, Member] = {}
        self.sequence = Sequence(room, chat, self.members, reads, memory)
        self.joining = 0
        # set once the bus delivers the room's events to this server, or after half a second
        self.subscribed: asyncio.Event | None = None
        self._reading: asyncio.Task[None] | None = None
        self._read_again = False
        self._left_during_read: set[str] = set()
        self.roster = Roster(LISTED)
        self.lists = Lists(room, chat, self.roster, self.members)
        self.receipts = MergedReceipts(self.broadcast)

    # -- members

    def add(self, member: Member) -> None:
        """Add a local socket. It receives every event except new messages, which follow after :meth:`release`."""
        if not self.members:
            # Other servers send events only once a session exists here, so what was read before is outdated.
            self.roster.begin()
        self.members[member.session.socket_id] = member
        member.connection.send_queue = self.send_queue
        member.connection.member = member
        self.sequence.hold(member)

    def broadcast(self, out: Outgoing, skip: str | None = None) -> None:
        """Send to all local members except the socket ``skip``."""
        for socket_id, member in self.members.items():
            if socket_id != skip:
                member.connection.push(out)

    def stop(self) -> None:
        """Cancel the channel's tasks and timers."""
        self.sequence.stop()
        self.lists.stop()
        self.receipts.stop()
        if self._reading is not None:
            self._reading.cancel()

    @property
    def large(self) -> bool:
        """Whether the room has so many sessions that events about single sessions are left out (contract §10.3)."""
        return len(self.roster) > self.chat.limits.large_room

    def catch_up(self) -> bool:
        """Read new messages and the room's sessions from the store, since events may have been missed.

        Returns False if the sessions are being read already; they are then read once more.
        """
        self.sequence.read_soon(0.0)
        if self._reading is not None:
            self._read_again = True
            return False
        self._reading = asyncio.create_task(self._read_sessions())
        return True

    # -- sessions

    def joined(self, session: Session) -> None:
        """A session began: send ``user-joined`` to the others, and the list to all."""
        if self.roster.began(session):
            if not self.large:
                self.broadcast(event(catalogue.USER_JOINED, events.user_joined(session)), skip=session.socket_id)
            self.lists.changed()

    def left(self, ended: EndedSession) -> None:
        """A session ended: remove its socket, send ``user-left``, the status (if it was the last), and the list."""
        session = ended.session
        member = self.members.get(session.socket_id)
        if member is not None and member.session.session_id == session.session_id:
            del self.members[session.socket_id]
            member.connection.member = None
        if self._reading is not None:
            self._left_during_read.add(session.session_id)
        if self.roster.ended(session):
            if not self.large:
                self._announce_leave(ended)
            self.lists.changed()

    def _announce_leave(self, ended: EndedSession) -> None:
        self.broadcast(event(catalogue.USER_LEFT, events.user_left(ended)))
        if ended.last:
            status = events.user_status_update(ended.session.who, False, ended.at)
            self.broadcast(event(catalogue.USER_STATUS_UPDATE, status))

    async def _read_sessions(self) -> None:
        """Read the room's sessions, and announce joins and leaves for which no event arrived."""
        before = dict.fromkeys(self.roster.ids())
        beginnings = self.roster.beginnings
        self._left_during_read.clear()
        try:
            sessions = await conversation.members(self.chat, self.room)
            here = {session.session_id for session in sessions}
            for session in sessions:
                known = session.session_id in before or session.session_id in self._left_during_read
                if self.roster.whole and not known:
                    self.joined(session)
            self.lists.read(sessions, beginnings)
            for number, session_id in enumerate(session_id for session_id in before if session_id not in here):
                gone = self.roster.find(session_id)
                if gone is not None:
                    await self._remove_stale(gone)
                if not number % GONE_AT_ONCE:
                    await asyncio.sleep(0)
        except StoreError as error:
            logger.warning("room %r: could not read the sessions: %s", self.room, error)
            asyncio.get_running_loop().call_later(RETRY, self.catch_up)
        finally:
            self._reading = None
            if self._read_again:
                self._read_again = False
                self.catch_up()

    async def _remove_stale(self, session: Session) -> None:
        """Remove a session that is no longer in the store.

        If its socket is on this server, the other servers took this one for dead. Its client must reconnect.
        """
        exists, online = await conversation.standing(self.chat, session.who)
        member = self.members.get(session.socket_id)
        self.left(EndedSession(session=session, last=not online, at=self.chat.clock.now()))
        if member is not None and member.connection.member is None and exists:
            member.connection.end("session lost")

    def release(self, member: Member, last: int) -> None:
        """Start live delivery to a member that has the history up to ``last``. Also send it a newer list, if any."""
        self.sequence.release(member, last)
        self.lists.changed()
