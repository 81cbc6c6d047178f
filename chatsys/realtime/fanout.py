"""The fan-out that Socket.IO clients see: each event the chat publishes, encoded once, to the room's local members."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from chatsys import metrics
from chatsys.chat import conversation
from chatsys.chat.bundle import Chat
from chatsys.chat.fanout import (
    Event,
    Fanout,
    MessageDelivered,
    MessagePosted,
    MessageRead,
    MessagesRead,
    PresenceChanged,
    ServerLost,
    Typing,
    UserJoined,
    UserLeft,
)
from chatsys.engine.memory import Memory
from chatsys.engine.scheduler import FairScheduler, SendQueue
from chatsys.errors import StoreError
from chatsys.realtime.frames import event
from chatsys.realtime.hub import Hub
from chatsys.realtime.member import Member
from chatsys.realtime.peers import Peers
from chatsys.wire import catalogue, events

READS = 4
"""How many members that are far behind may read the store at once."""


class SocketFanout(Fanout):
    """Hands events to the hubs of their rooms. Made before the chat, which it is bound to afterwards."""

    def __init__(self) -> None:
        self.hubs: dict[str, Hub] = {}
        self._chat: Chat | None = None
        self._scheduler: FairScheduler | None = None
        self._memory: Memory | None = None
        self._reads = asyncio.Semaphore(READS)
        self._tasks: set[asyncio.Task[None]] = set()
        self.peers = Peers(self)
        """The other servers, if there may be any."""

    def bind(self, chat: Chat, scheduler: FairScheduler, memory: Memory) -> None:
        """From now on hubs read what they need from ``chat``, and their members write when ``scheduler`` says."""
        self._chat = chat
        self._scheduler = scheduler
        self._memory = memory

    def hub(self, room: str) -> Hub:
        """The room's hub, made if need be. The caller raises its ``coming`` before it waits for anything."""
        hub = self.hubs.get(room)
        if hub is None:
            assert self._chat is not None
            assert self._scheduler is not None
            assert self._memory is not None
            hub = Hub(room, SendQueue(self._scheduler), self._chat, self._reads, self._memory)
            self.hubs[room] = hub
            hub.known = self.peers.enter(room)
        return hub

    def close_if_empty(self, hub: Hub) -> None:
        """Forget a hub that nobody is in or on the way to."""
        if not hub.members and not hub.coming and self.hubs.get(hub.room) is hub:
            hub.stop()
            del self.hubs[hub.room]
            self.peers.leave(hub.room)

    def stop(self) -> None:
        """End what the hubs have under way, and forget them."""
        for hub in self.hubs.values():
            hub.stop()
            self.peers.leave(hub.room)
        self.hubs.clear()

    @property
    def deaf(self) -> bool:
        """Whether what happens on other servers is not told here."""
        return self.peers.deaf

    async def publish(self, event: Event, servers: Sequence[str] | None = None) -> None:
        """Tell the local members of the event's room, and the other servers."""
        if isinstance(event, MessagePosted):
            metrics.messages.inc()
        self.deliver(event)
        self.peers.send(event, servers)

    def stored(self, room: str, seq: int) -> None:
        """Another server has stored this message, which it does not carry here."""
        hub = self.hubs.get(room)
        if hub is not None:
            hub.stored(seq)

    def ended_elsewhere(self, happened: UserLeft) -> None:
        """Another server has ended a session.

        If it is one of this server's sockets, its account was deleted, and the socket stays as contract §5.5 wants
        it; or this server was taken for dead, and the socket is closed so that its client comes back.
        """
        session = happened.ended.session
        hub = self.hubs.get(happened.room)
        member = hub.members.get(session.socket_id) if hub is not None else None
        self.deliver(happened)
        if member is not None and member.connection.member is None:
            task = asyncio.create_task(self._send_back(member))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send_back(self, member: Member) -> None:
        assert self._chat is not None
        try:
            exists, _ = await conversation.standing(self._chat, member.session.who)
        except StoreError:
            exists = True
        if exists:
            member.connection.end("session lost")

    def doubt(self, room: str) -> None:
        """The store failed in a write: it may hold what nobody was told of. Read it, here and on the other servers."""
        hub = self.hubs.get(room)
        if hub is None or hub.catch_up():
            self.peers.send(ServerLost(room=room), None)

    def catch_up(self) -> None:
        """Events of other servers may have been lost: every hub reads what it missed."""
        for hub in list(self.hubs.values()):
            hub.catch_up()

    def deliver(self, happened: Event) -> None:
        """Tell the local members, and nobody else."""
        hub = self.hubs.get(happened.room)
        if hub is not None:
            _TELL[type(happened)](self, hub, happened)


def _tell_of_typing(fanout: SocketFanout, hub: Hub, happened: Typing) -> None:
    if not hub.large:
        typing = events.user_typing(happened.who, happened.is_typing)
        hub.broadcast(event(catalogue.USER_TYPING, typing), skip=happened.socket_id)


def _tell_of_receipt(fanout: SocketFanout, hub: Hub, happened: MessageDelivered | MessageRead) -> None:
    hub.receipts.tell(happened, merge=hub.large)


def _tell_of_reading(fanout: SocketFanout, hub: Hub, happened: MessagesRead) -> None:
    marked = events.messages_marked_read(happened.message_ids, happened.by, happened.at)
    hub.broadcast(event(catalogue.MESSAGES_MARKED_READ, marked))


def _tell_of_presence(fanout: SocketFanout, hub: Hub, happened: PresenceChanged) -> None:
    hub.roster.status(happened.who.user_id, happened.online, happened.last_seen)
    if not hub.large:
        presence = events.user_status_update(happened.who, happened.online, happened.last_seen)
        hub.broadcast(event(catalogue.USER_STATUS_UPDATE, presence))


def _tell_of_leaving(fanout: SocketFanout, hub: Hub, happened: UserLeft) -> None:
    hub.left(happened.ended)
    fanout.close_if_empty(hub)


_TELL: dict[type[Event], Callable[[SocketFanout, Hub, Any], object]] = {
    MessagePosted: lambda fanout, hub, happened: hub.post(happened.message),
    Typing: _tell_of_typing,
    MessageDelivered: _tell_of_receipt,
    MessageRead: _tell_of_receipt,
    MessagesRead: _tell_of_reading,
    PresenceChanged: _tell_of_presence,
    UserJoined: lambda fanout, hub, happened: hub.joined(happened.session),
    UserLeft: _tell_of_leaving,
    ServerLost: lambda fanout, hub, happened: hub.catch_up(),
}
"""What each event does in a room of this server."""
