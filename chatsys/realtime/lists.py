"""The list of a room's users on its way: at once to who joins, to the others with a delay that grows with the list.

A full list to each member at each join costs the cube of the room's size (contract §10.2). So one list covers the
changes of a while, and every member gets 64 KiB/s of lists at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from chatsys.chat import conversation
from chatsys.chat.bundle import Chat
from chatsys.errors import StoreError
from chatsys.model.values import Session
from chatsys.protocol.packets import Outgoing
from chatsys.realtime.frames import encoded_event
from chatsys.realtime.member import Member
from chatsys.realtime.roster import Roster
from chatsys.wire import catalogue

logger = logging.getLogger("chatsys.realtime")

HOLD = 0.2
"""Seconds between two lists to one who did not just join; contract §10.2 allows 0.25 for a short one."""

RATE = 64 * 1024
"""Bytes of lists for one member in a second."""

HOLD_MOST = 30.0
"""Seconds that a list is held back at most."""

SLICE = 25
"""Members that are sent a list before the event loop does something else."""

RETRY = 1.0
"""Seconds until what the store could not answer is asked again."""


def hold(size: int) -> float:
    """Seconds between two lists to one member, for a list of ``size`` bytes."""
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
        self._reading: asyncio.Task[None] | None = None
        self._queued: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._told = -HOLD_MOST
        self._shared: tuple[bytes, Outgoing] | None = None

    async def tell(self, member: Member) -> None:
        """Send the current list to one member, now. Raises StoreError if nothing is known of the room yet."""
        await self._compare()
        member.connection.send(self._list_of(member), requested=True)
        member.listed = self._roster.version

    def changed(self) -> None:
        """Somebody has come, gone or gone live: see that all members get the current list."""
        if self._telling is None and self._members:
            self._telling = asyncio.create_task(self._tell_all())

    def stop(self) -> None:
        """End what is under way."""
        for task in (self._reading, self._queued, self._telling):
            if task is not None:
                task.cancel()

    async def _tell_all(self) -> None:
        try:
            while any(self._waits(member) for member in self._members.values()):
                wait = hold(self._roster.size()) if self._roster.whole else HOLD
                await asyncio.sleep(max(0.0, self._told + wait - self._clock()))
                self._told = self._clock()
                await self._compare()
                await self._pass(wait / 2 if self._roster.cut else 0.0)
        except StoreError as error:
            logger.warning("room %r: the list of users could not be read: %s", self._room, error)
            asyncio.get_running_loop().call_later(RETRY, self.changed)
        finally:
            self._telling = None

    async def _pass(self, seconds: float) -> None:
        """Send the list to all who have an older one, in slices over so many seconds.

        One who has not yet taken what was sent before gets the list that is current when it has.
        """
        waiting = [member for member in self._members.values() if self._waits(member)]
        for start in range(0, len(waiting), SLICE):
            for member in waiting[start : start + SLICE]:
                here = self._members.get(member.session.socket_id) is member
                if here and self._waits(member) and not member.connection.behind:
                    member.connection.push(self._list_of(member))
                    member.listed = self._roster.version
            await asyncio.sleep(seconds * SLICE / len(waiting))

    def _waits(self, member: Member) -> bool:
        return member.live and member.listed < self._roster.version

    def _list_of(self, member: Member) -> Outgoing:
        """The list for one member: the same frame for all whom it lists anyway."""
        json = self._roster.json(member.session.session_id)
        if self._shared is None or self._shared[0] is not json:
            out = encoded_event(catalogue.ROOM_USERS, json)
            if not self._roster.is_listed(member.session.session_id):
                return out
            self._shared = json, out
        return self._shared[1]

    # -- the store

    async def _compare(self) -> None:
        """Read the room if the roster is stale. One that is whole does without a store that is away."""
        if self._roster.stale(self._clock()):
            try:
                await self._read()
            except StoreError:
                if not self._roster.whole:
                    raise

    async def _read(self) -> None:
        """A read that begins after this call; askers at the same time share it."""
        if self._queued is None:
            self._queued = asyncio.create_task(self._read_after(self._reading))
        await asyncio.shield(self._queued)

    async def _read_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._reading, self._queued = self._queued, None
        if before is not None and not before.cancelled() and (failure := before.exception()) is not None:
            raise failure  # the store is away for those who waited as well
        beginnings = self._roster.beginnings
        self.read(await conversation.members(self._chat, self._room), beginnings)

    def read(self, sessions: list[Session], beginnings: int) -> None:
        """The store was read since the roster had begun so often; if it has begun anew since then, that is too old."""
        if beginnings == self._roster.beginnings:
            self._roster.compare(sessions, self._clock())
