"""Delivers a room's messages to this server's members: to each exactly once, in order, however slowly it reads.

A member is *current* while all messages up to the room's cursor are sent to it or queued for it. A member that is
behind gets no new messages until it has read everything queued. Then it gets what it missed: from the messages that the
room keeps while any member is behind, or from the store.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right

import msgspec

from chatsys.chat import conversation
from chatsys.chat.bundle import Chat
from chatsys.engine.connection import Connection
from chatsys.engine.shared import Memory
from chatsys.errors import StoreError
from chatsys.model.values import Message, Session
from chatsys.protocol.packets import Outgoing
from chatsys.realtime.frames import event
from chatsys.wire import catalogue, objects

logger = logging.getLogger("chatsys.realtime")

GAP_WAIT = 0.05
"""Seconds that an early message waits for the missing ones before it. Then they are read from the store."""

RETRY = 1.0
"""Seconds before a failed read of the store is repeated."""

GAP_MOST = 10_000
"""Maximum missed messages read once for all members. If more were missed, each member reads them separately."""

CHUNK = 65_536
"""Bytes sent to a member that is catching up, before it must have read them."""

KEPT_MOST = 2_097_152
"""Maximum bytes of messages that a room keeps for members that are behind."""

PAGE = 16
"""Sequence numbers read from the store at a time, for a member that is too far behind for the kept messages."""

_PURGE_EVERY = 64  # messages


class Member:
    """A socket of this server in a room.

    ``live`` is true once its history was sent. ``current`` is true while every message up to the room's cursor was sent
    or is queued for it. ``position`` is the sequence number up to which it surely has all messages. ``listed`` is the
    version of the last list sent to it.
    """

    __slots__ = ("connection", "current", "listed", "live", "position", "session")

    def __init__(self, connection: Connection, session: Session) -> None:
        self.connection = connection
        self.session = session
        self.live = self.current = False
        self.position = 0
        self.listed = -1


class Sequence:
    """The messages of one room for ``members``, a dictionary that the room channel maintains.

    ``reads`` limits concurrent store reads over all rooms. ``memory`` counts the bytes of the kept messages.
    """

    def __init__(
        self, room: str, chat: Chat, members: dict[str, Member], reads: asyncio.Semaphore, memory: Memory
    ) -> None:
        self.room = room
        self._chat = chat
        self._members = members
        self._reads = reads
        self._memory = memory
        self._cursor: int | None = None
        self._early: dict[int, Message] = {}
        self._filling: asyncio.Task[None] | None = None
        self._again = False
        self._behind: set[Member] = set()
        self._reading: dict[Member, asyncio.Task[None]] = {}
        # the kept messages after _kept_from, oldest first
        self._kept_from = 0
        self._kept_seqs: list[int] = []
        self._kept: list[Outgoing] = []
        self._kept_bytes = 0

    def stop(self) -> None:
        """Cancel all tasks and drop the kept messages."""
        self._drop_kept()
        for task in (self._filling, *self._reading.values()):
            if task is not None:
                task.cancel()

    # -- in order

    def open_at(self, last_seq: int) -> None:
        """Set the room's newest sequence number when the first member joined. Delivery starts after it."""
        if self._cursor is None:
            self._cursor = last_seq
            self._early = {seq: message for seq, message in self._early.items() if seq > last_seq}
            self._advance()

    def post(self, message: Message) -> None:
        """Deliver a stored message exactly once, in order."""
        if self._cursor is not None and message.seq <= self._cursor:
            return
        self._early[message.seq] = message
        self._advance()

    def stored(self, seq: int) -> None:
        """Read the store for message ``seq`` of another server, which is too long for the bus."""
        if self._cursor is not None and seq > self._cursor:
            self.read_soon(0.0)

    def _advance(self) -> None:
        if self._cursor is None:
            return
        while (message := self._early.pop(self._cursor + 1, None)) is not None:
            self._deliver(message)
        if self._early:
            self.read_soon(GAP_WAIT)

    def _deliver(self, message: Message) -> None:
        before, seq = self._cursor or 0, message.seq
        self._cursor = seq
        out = _event(message)
        for member in self._members.values():
            if member.current and seq > member.position:
                connection = member.connection
                if connection.behind:
                    self._fall_behind(member, before)
                else:
                    connection.push(out)
        if self._behind:
            self._keep(before, seq, out)

    # -- gaps

    def read_soon(self, wait: float) -> None:
        """Read missing messages after ``wait`` seconds."""
        if self._filling is None:
            self._filling = asyncio.create_task(self._fill(wait))
        else:
            self._again = True

    async def _fill(self, wait: float) -> None:
        """Read missing messages. A number that is neither in the store nor early was deleted, and is skipped."""
        try:
            await asyncio.sleep(wait)
            self._again = self._again or bool(self._early) or not wait
            while self._again:
                self._again = False
                await self._read_missed()
        except StoreError as error:
            logger.warning("room %r: could not read missing messages: %s", self.room, error)
            asyncio.get_running_loop().call_later(RETRY, self.read_soon, 0.0)
        finally:
            self._filling = None

    async def _read_missed(self) -> None:
        if self._cursor is None:
            return
        early = set(self._early)
        missed, complete = await conversation.missed(self._chat, self.room, self._cursor, GAP_MOST)
        if not complete and missed[0].seq > self._cursor:
            self._leap(missed[0].seq - 1)
        for message in missed:
            if message.seq > self._cursor:
                self._deliver(message)
        self._cursor = max(self._cursor, max(early, default=0))  # numbers not read by now were deleted
        self._early = {seq: message for seq, message in self._early.items() if seq > self._cursor}
        self._advance()
        for member in list(self._behind):
            self.resume(member)

    def _leap(self, to: int) -> None:
        """Move the cursor over a gap that is too large to read for all members: each reads it separately."""
        for member in self._members.values():
            if member.current:
                self._fall_behind(member, self._cursor or 0)
        self._drop_kept()
        self._cursor = to

    # -- members

    def hold(self, member: Member) -> None:
        """Deliver no messages to a member until :meth:`release`."""
        member.live = member.current = False
        self._behind.add(member)

    def release(self, member: Member, last: int) -> None:
        """Start delivery to a member that has the history up to ``last``, beginning with the messages since then."""
        member.live = True
        member.position = last
        self.resume(member)

    def _fall_behind(self, member: Member, position: int) -> None:
        member.current = False
        member.position = max(member.position, position)
        self._behind.add(member)

    def resume(self, member: Member) -> None:
        """Send a member the next messages that it missed, if it has read everything queued."""
        connection = member.connection
        if member.current or not member.live or connection.behind or member in self._reading:
            return
        if self._cursor is not None and member.position < self._cursor:
            if not self._kept or self._kept_from > member.position:
                self._reading[member] = asyncio.create_task(self._read_for(member))
                return
            size, index = 0, bisect_right(self._kept_seqs, member.position)
            while index < len(self._kept) and size < CHUNK:
                connection.push(self._kept[index])
                size += len(self._kept[index].frame)
                member.position = self._kept_seqs[index]
                index += 1
            if index < len(self._kept):
                connection.hold_back()
                return
        member.current = True
        self._behind.discard(member)
        if not self._behind:
            self._drop_kept()

    async def _read_for(self, member: Member) -> None:
        """Read the next messages after a member's position from the store, and send them."""
        sent = 0
        try:
            async with self._reads:
                messages = await conversation.following(self._chat, self.room, member.position, PAGE)
            for message in messages:
                if sent >= CHUNK:
                    break
                out = _event(message)
                sent += len(out.frame)
                member.connection.send(out, requested=True)
                member.position = message.seq
            if not messages:
                member.position = min(member.position + PAGE, self._cursor or 0)
        except StoreError as error:
            logger.warning("room %r: could not read the messages that a member missed: %s", self.room, error)
            asyncio.get_running_loop().call_later(RETRY, self.resume, member)
            return
        finally:
            del self._reading[member]
        if sent:
            member.connection.hold_back()
        else:
            self.resume(member)

    # -- kept messages

    def _keep(self, before: int, seq: int, out: Outgoing) -> None:
        if len(self._kept) % _PURGE_EVERY == 0:
            self._behind = {each for each in self._behind if self._members.get(each.session.socket_id) is each}
            if not self._behind:
                self._drop_kept()
                return
        if not self._kept:
            self._kept_from = before
        self._kept.append(out)
        self._kept_seqs.append(seq)
        size = len(out.frame)
        self._kept_bytes += size
        self._memory.take(size)
        if self._kept_bytes > KEPT_MOST or self._memory.held > self._memory.limit:
            self._drop_kept((len(self._kept) + 1) // 2)

    def _drop_kept(self, count: int | None = None) -> None:
        """Drop the ``count`` oldest kept messages; None: all."""
        gone = self._kept[:count]
        if gone:
            self._kept_from = self._kept_seqs[len(gone) - 1]
        size = sum(len(out.frame) for out in gone)
        self._kept_bytes -= size
        self._memory.take(-size)
        del self._kept[:count]
        del self._kept_seqs[:count]


def _event(message: Message) -> Outgoing:
    if message.delivered_to:  # read from the store late; the event shows it as new
        message = msgspec.structs.replace(message, delivered_to=(), read_by=())
    return event(catalogue.RECEIVE_MESSAGE, objects.message(message))
