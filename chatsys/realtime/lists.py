"""Sends the list of a room's users: immediately to a joining member, to the others after a delay.

Sending the full list to each member on each join would cost the cube of the room's size (contract §10.2). So one list
covers all changes of an interval, which grows with the list: each member gets at most 64 KiB/s of lists.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from chatsys.chat import conversation
from chatsys.chat.bundle import Chat
from chatsys.chat.shared import SharedReads
from chatsys.errors import StoreError
from chatsys.model.values import Session
from chatsys.protocol.packets import Outgoing
from chatsys.realtime.frames import encoded_event
from chatsys.realtime.roster import Roster
from chatsys.realtime.sequence import Member
from chatsys.wire import catalogue

logger = logging.getLogger("chatsys.realtime")

HOLD = 0.2
"""Minimum seconds between two lists to the same member. Contract §10.2 allows 0.25 for a short list."""

RATE = 64 * 1024
"""Maximum bytes of lists sent to one member each second."""

HOLD_MOST = 30.0
"""Maximum seconds between two lists."""

SLICE = 25
"""Members that get a list in one iteration of the event loop."""

RETRY = 1.0
"""Seconds before a failed read of the store is repeated."""


def hold(size: int) -> float:
    """Seconds between two lists of ``size`` bytes to the same member."""
    return max(HOLD, min(size / RATE, HOLD_MOST))


class Lists:
    """Sends the lists of one room to its local members."""

    def __init__(
        self,
        room: str,
        chat: Chat,
        roster: Roster,
        members: Mapping[str, Member],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._room = room
        self._chat = chat
        self._roster = roster
        self._members = members
        self._clock = clock
        self._reads: SharedReads[str, None] = SharedReads()
        self._sending: asyncio.Task[None] | None = None
        self._sent_at = -HOLD_MOST
        self._shared: tuple[bytes, Outgoing] | None = None

    async def send(self, member: Member) -> None:
        """Send the current list to one member immediately. Raises StoreError if the room could never be read."""
        await self._compare()
        member.connection.send(self._list_of(member), requested=True)
        member.listed = self._roster.version

    def changed(self) -> None:
        """Send the current list to all members soon. Called when the list or the set of live members has changed."""
        if self._sending is None and self._members:
            self._sending = asyncio.create_task(self._send_all())

    def stop(self) -> None:
        """Cancel all tasks."""
        self._reads.stop()
        if self._sending is not None:
            self._sending.cancel()

    async def _send_all(self) -> None:
        try:
            while any(self._outdated(member) for member in self._members.values()):
                wait = hold(self._roster.size()) if self._roster.whole else HOLD
                await asyncio.sleep(max(0.0, self._sent_at + wait - self._clock()))
                self._sent_at = self._clock()
                await self._compare()
                await self._send_slices(wait / 2 if self._roster.cut else 0.0)
        except StoreError as error:
            logger.warning("room %r: could not read the list of users: %s", self._room, error)
            asyncio.get_running_loop().call_later(RETRY, self.changed)
        finally:
            self._sending = None

    async def _send_slices(self, seconds: float) -> None:
        """Send the list to all members with an older one, in slices spread over ``seconds``.

        A member that is behind is skipped. It gets the current list once it has caught up.
        """
        waiting = [member for member in self._members.values() if self._outdated(member)]
        for start in range(0, len(waiting), SLICE):
            for member in waiting[start : start + SLICE]:
                here = self._members.get(member.session.socket_id) is member
                if here and self._outdated(member) and not member.connection.behind:
                    member.connection.push(self._list_of(member))
                    member.listed = self._roster.version
            await asyncio.sleep(seconds * SLICE / len(waiting))

    def _outdated(self, member: Member) -> bool:
        return member.live and member.listed < self._roster.version

    def _list_of(self, member: Member) -> Outgoing:
        """The list for one member. All members that are among the listed sessions share one frame."""
        json = self._roster.json(member.session.session_id)
        if self._shared is None or self._shared[0] is not json:
            out = encoded_event(catalogue.ROOM_USERS, json)
            if not self._roster.is_listed(member.session.session_id):
                return out
            self._shared = json, out
        return self._shared[1]

    # -- the store

    async def _compare(self) -> None:
        """Read the room if the roster is stale. If the store is unavailable, a complete roster is used as it is."""
        if self._roster.stale(self._clock()):
            try:
                await self._reads.read(self._room, self._read)
            except StoreError:
                if not self._roster.whole:
                    raise

    async def _read(self) -> None:
        beginnings = self._roster.beginnings
        self.read(await conversation.members(self._chat, self._room), beginnings)

    def read(self, sessions: list[Session], beginnings: int) -> None:
        """Update the roster with sessions read from the store, unless it was reset since the read began.

        ``beginnings`` is the value of ``Roster.beginnings`` before the read.
        """
        if beginnings == self._roster.beginnings:
            self._roster.compare(sessions, self._clock())
