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
    SessionClosed,
    SessionOpened,
    Typing,
)
from chatsys.engine.memory import Memory
from chatsys.engine.scheduler import FairScheduler, SendQueue
from chatsys.errors import StoreError
from chatsys.realtime.channel import RoomChannel
from chatsys.realtime.frames import event
from chatsys.realtime.member import Member
from chatsys.realtime.peers import Peers
from chatsys.wire import catalogue, events

READS = 4
"""How many members that are far behind may read the store at once."""


class SocketFanout(Fanout):
    """Hands events to the channels of their rooms. Made before the chat, which it is bound to afterwards."""

    def __init__(self) -> None:
        self.channels: dict[str, RoomChannel] = {}
        self._chat: Chat | None = None
        self._scheduler: FairScheduler | None = None
        self._memory: Memory | None = None
        self._reads = asyncio.Semaphore(READS)
        self._tasks: set[asyncio.Task[None]] = set()
        self.peers = Peers(self)
        """The other servers, if there may be any."""

    def bind(self, chat: Chat, scheduler: FairScheduler, memory: Memory) -> None:
        """From now on channels read what they need from ``chat``, and their members write when ``scheduler`` says."""
        self._chat = chat
        self._scheduler = scheduler
        self._memory = memory

    def channel(self, room: str) -> RoomChannel:
        """The room's channel, made if need be. The caller raises its ``coming`` before it waits for anything."""
        channel = self.channels.get(room)
        if channel is None:
            assert self._chat is not None
            assert self._scheduler is not None
            assert self._memory is not None
            channel = RoomChannel(room, SendQueue(self._scheduler), self._chat, self._reads, self._memory)
            self.channels[room] = channel
            channel.known = self.peers.enter(room)
        return channel

    def close_if_empty(self, channel: RoomChannel) -> None:
        """Forget a channel that nobody is in or on the way to."""
        if not channel.members and not channel.coming and self.channels.get(channel.room) is channel:
            channel.stop()
            del self.channels[channel.room]
            self.peers.leave(channel.room)

    def stop(self) -> None:
        """End what the channels have under way, and forget them."""
        for channel in self.channels.values():
            channel.stop()
            self.peers.leave(channel.room)
        self.channels.clear()

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
        channel = self.channels.get(room)
        if channel is not None:
            channel.stored(seq)

    def ended_elsewhere(self, happened: SessionClosed) -> None:
        """Another server has ended a session.

        If it is one of this server's sockets, its account was deleted, and the socket stays as contract §5.5 wants
        it; or this server was taken for dead, and the socket is closed so that its client comes back.
        """
        session = happened.ended.session
        channel = self.channels.get(happened.room)
        member = channel.members.get(session.socket_id) if channel is not None else None
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
        channel = self.channels.get(room)
        if channel is None or channel.catch_up():
            self.peers.send(ServerLost(room=room), None)

    def catch_up(self) -> None:
        """Events of other servers may have been lost: every channel reads what it missed."""
        for channel in list(self.channels.values()):
            channel.catch_up()

    def deliver(self, happened: Event) -> None:
        """Tell the local members, and nobody else."""
        channel = self.channels.get(happened.room)
        if channel is not None:
            _TELL[type(happened)](self, channel, happened)


def _tell_of_typing(fanout: SocketFanout, channel: RoomChannel, happened: Typing) -> None:
    if not channel.large:
        typing = events.user_typing(happened.who, happened.is_typing)
        channel.broadcast(event(catalogue.USER_TYPING, typing), skip=happened.socket_id)


def _tell_of_receipt(fanout: SocketFanout, channel: RoomChannel, happened: MessageDelivered | MessageRead) -> None:
    channel.receipts.tell(happened, merge=channel.large)


def _tell_of_reading(fanout: SocketFanout, channel: RoomChannel, happened: MessagesRead) -> None:
    marked = events.messages_marked_read(happened.message_ids, happened.by, happened.at)
    channel.broadcast(event(catalogue.MESSAGES_MARKED_READ, marked))


def _tell_of_presence(fanout: SocketFanout, channel: RoomChannel, happened: PresenceChanged) -> None:
    channel.roster.status(happened.who.user_id, happened.online, happened.last_seen)
    if not channel.large:
        presence = events.user_status_update(happened.who, happened.online, happened.last_seen)
        channel.broadcast(event(catalogue.USER_STATUS_UPDATE, presence))


def _tell_of_leaving(fanout: SocketFanout, channel: RoomChannel, happened: SessionClosed) -> None:
    channel.left(happened.ended)
    fanout.close_if_empty(channel)


_TELL: dict[type[Event], Callable[[SocketFanout, RoomChannel, Any], object]] = {
    MessagePosted: lambda fanout, channel, happened: channel.post(happened.message),
    Typing: _tell_of_typing,
    MessageDelivered: _tell_of_receipt,
    MessageRead: _tell_of_receipt,
    MessagesRead: _tell_of_reading,
    PresenceChanged: _tell_of_presence,
    SessionOpened: lambda fanout, channel, happened: channel.joined(happened.session),
    SessionClosed: _tell_of_leaving,
    ServerLost: lambda fanout, channel, happened: channel.catch_up(),
}
"""What each event does in a room of this server."""
