"""A room as this server sees it: its local members, how far their messages have come, and who is listed.

A room channel exists while a local socket is in the room or on its way in. What it knows of the room comes from events
alone (its own server's or, by the bus, another's), so that a list never shows a session before its ``user-joined``.
"""

from __future__ import annotations

import asyncio
import logging

from chatsys.chat import conversation
from chatsys.chat.bundle import Chat
from chatsys.engine.memory import Memory
from chatsys.engine.scheduler import SendQueue
from chatsys.errors import StoreError
from chatsys.model.values import EndedSession, Message, Session
from chatsys.protocol.packets import Outgoing
from chatsys.realtime.frames import event
from chatsys.realtime.lists import Lists
from chatsys.realtime.member import Member
from chatsys.realtime.receipts import MergedReceipts
from chatsys.realtime.roster import LISTED, Roster
from chatsys.realtime.sequence import Sequence
from chatsys.wire import catalogue, events

logger = logging.getLogger("chatsys.realtime")

RETRY = 1.0
"""Seconds until what the store could not answer is asked again."""

GONE_AT_ONCE = 25
"""Sessions that are told to have gone before the event loop does something else."""


class RoomChannel:
    """One room on this server. ``coming`` counts sockets on their way in."""

    def __init__(self, room: str, send_queue: SendQueue, chat: Chat, reads: asyncio.Semaphore, memory: Memory) -> None:
        self.room = room
        self.send_queue = send_queue
        self.chat = chat
        self.members: dict[str, Member] = {}
        self.sequence = Sequence(room, chat, self.members, reads, memory)
        self.coming = 0
        self.known: asyncio.Event | None = None  # set once the bus carries the room's events here
        self._catching: asyncio.Task[None] | None = None
        self._catch_again = False
        self._left_meanwhile: set[str] = set()
        self.roster = Roster(LISTED)
        self.lists = Lists(room, chat, self.roster, self.members)
        self.receipts = MergedReceipts(self.broadcast)

    # -- members

    async def announced(self) -> None:
        """Wait until the bus carries here what happens in the room, half a second at most."""
        if self.known is not None:
            await self.known.wait()

    def add(self, member: Member) -> None:
        """A local socket is in: from now on it gets everything but live messages.

        Others tell this server of a room once it has a session there, so what was read before the first is too old.
        """
        if not self.members:
            self.roster.begin()
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
        """End what this channel has under way."""
        self.sequence.stop()
        self.lists.stop()
        self.receipts.stop()
        if self._catching is not None:
            self._catching.cancel()

    @property
    def large(self) -> bool:
        """Whether so many are in the room that events about single ones are left out (contract §10.3)."""
        return len(self.roster) > self.chat.limits.large_room

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
            self._catch_again = True
            return False
        self._catching = asyncio.create_task(self._look_who_is_here())
        return True

    # -- who is here

    def joined(self, session: Session) -> None:
        """A session began: ``user-joined`` to the others, the list to all."""
        if self.roster.began(session):
            if not self.large:
                self.broadcast(event(catalogue.USER_JOINED, events.user_joined(session)), skip=session.socket_id)
            self.lists.changed()

    def left(self, ended: EndedSession) -> None:
        """A session ended: its socket is out, then ``user-left``, the status if it was the last, and the list."""
        session = ended.session
        member = self.members.get(session.socket_id)
        if member is not None and member.session.session_id == session.session_id:
            del self.members[session.socket_id]
            member.connection.member = None
        if self._catching is not None:
            self._left_meanwhile.add(session.session_id)
        if self.roster.ended(session):
            if not self.large:
                self._tell_of_leaving(ended)
            self.lists.changed()

    def _tell_of_leaving(self, ended: EndedSession) -> None:
        self.broadcast(event(catalogue.USER_LEFT, events.user_left(ended)))
        if ended.last:
            status = events.user_status_update(ended.session.who, False, ended.at)
            self.broadcast(event(catalogue.USER_STATUS_UPDATE, status))

    async def _look_who_is_here(self) -> None:
        """Tell of the joins and leaves that no event has told of."""
        before = dict.fromkeys(self.roster.ids())
        beginnings = self.roster.beginnings
        self._left_meanwhile.clear()
        try:
            sessions = await conversation.members(self.chat, self.room)
            here = {session.session_id for session in sessions}
            for session in sessions:
                known = session.session_id in before or session.session_id in self._left_meanwhile
                if self.roster.whole and not known:
                    self.joined(session)
            self.lists.read(sessions, beginnings)
            for number, session_id in enumerate(session_id for session_id in before if session_id not in here):
                gone = self.roster.find(session_id)
                if gone is not None:
                    await self._gone(gone)
                if not number % GONE_AT_ONCE:
                    await asyncio.sleep(0)
        except StoreError as error:
            logger.warning("room %r: who is here could not be read: %s", self.room, error)
            asyncio.get_running_loop().call_later(RETRY, self.catch_up)
        finally:
            self._catching = None
            if self._catch_again:
                self._catch_again = False
                self.catch_up()

    async def _gone(self, session: Session) -> None:
        """A session is no longer in the store. If its socket is here, this server was taken for dead: send it away."""
        exists, online = await conversation.standing(self.chat, session.who)
        member = self.members.get(session.socket_id)
        self.left(EndedSession(session=session, last=not online, at=self.chat.clock.now()))
        if member is not None and member.connection.member is None and exists:
            member.connection.end("session lost")

    def release(self, member: Member, last: int) -> None:
        """The member has its history up to ``last``: it goes live, and gets a newer list if there is one."""
        self.sequence.release(member, last)
        self.lists.changed()
