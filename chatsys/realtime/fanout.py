"""The fan-out to Socket.IO clients: encodes each event of the chat once and sends it to the room's local members."""

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
from chatsys.engine.scheduler import FairScheduler, SendQueue
from chatsys.engine.shared import Memory
from chatsys.errors import StoreError
from chatsys.realtime.channel import RoomChannel
from chatsys.realtime.frames import event
from chatsys.realtime.peers import Peers
from chatsys.realtime.sequence import Member
from chatsys.wire import catalogue, events

READS = 4
"""Maximum concurrent store reads for members that are far behind."""


class SocketFanout(Fanout):
    """Passes events to the channels of their rooms. Created before the chat; call :meth:`bind` afterwards."""

    def __init__(self) -> None:
        self.channels: dict[str, RoomChannel] = {}
        self._make_channel: Callable[[str], RoomChannel] | None = None
        self._reads = asyncio.Semaphore(READS)
        self._tasks: set[asyncio.Task[None]] = set()
        self.peers = Peers(self)
        """The connection to the other servers."""

    def bind(self, chat: Chat, scheduler: FairScheduler, memory: Memory) -> None:
        """Set the chat, scheduler and memory that the room channels use."""
        self._make_channel = lambda room: RoomChannel(room, SendQueue(scheduler), chat, self._reads, memory)

    def channel(self, room: str) -> RoomChannel:
        """The room's channel, created if necessary. The caller must increment ``joining`` before it awaits anything."""
        channel = self.channels.get(room)
        if channel is None:
            assert self._make_channel is not None
            channel = self.channels[room] = self._make_channel(room)
            channel.subscribed = self.peers.enter(room)
        return channel

    def close_if_empty(self, channel: RoomChannel) -> None:
        """Remove a channel without members and joining sockets."""
        if not channel.members and not channel.joining and self.channels.get(channel.room) is channel:
            channel.stop()
            del self.channels[channel.room]
            self.peers.leave(channel.room)

    def stop(self) -> None:
        """Stop and remove all channels."""
        for channel in self.channels.values():
            channel.stop()
            self.peers.leave(channel.room)
        self.channels.clear()

    @property
    def deaf(self) -> bool:
        """Whether events of other servers do not arrive."""
        return self.peers.deaf

    async def publish(self, event: Event, servers: Sequence[str] | None = None) -> None:
        """Send an event to the local members of its room and to the other servers."""
        if isinstance(event, MessagePosted):
            metrics.messages.inc()
        self.deliver(event)
        self.peers.send(event, servers)

    def stored(self, room: str, seq: int) -> None:
        """Read the store for message ``seq`` of another server, which is too long for the bus."""
        channel = self.channels.get(room)
        if channel is not None:
            channel.sequence.stored(seq)

    def ended_elsewhere(self, happened: SessionClosed) -> None:
        """Another server has ended a session, possibly one whose socket is on this server.

        If the account was deleted, that socket stays open (contract §5.5). Otherwise the other server took this one
        for dead, and the socket is closed so that its client reconnects.
        """
        session = happened.ended.session
        channel = self.channels.get(happened.room)
        member = channel.members.get(session.socket_id) if channel is not None else None
        self.deliver(happened)
        if channel is not None and member is not None and member.connection.member is None:
            task = asyncio.create_task(_make_reconnect(channel.chat, member))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def doubt(self, room: str) -> None:
        """Read the store, here and on the other servers: a failed write may have stored a message nobody received."""
        channel = self.channels.get(room)
        if channel is None or channel.catch_up():
            self.peers.send(ServerLost(room=room), None)

    def catch_up(self) -> None:
        """Read every room from the store, since events of other servers may have been lost."""
        for channel in list(self.channels.values()):
            channel.catch_up()

    def deliver(self, happened: Event) -> None:
        """Send an event to the local members only."""
        channel = self.channels.get(happened.room)
        if channel is not None:
            _DELIVER[type(happened)](self, channel, happened)


async def _make_reconnect(chat: Chat, member: Member) -> None:
    """Close a member's connection, unless its account was deleted."""
    try:
        exists, _ = await conversation.standing(chat, member.session.who)
    except StoreError:
        exists = True
    if exists:
        member.connection.end("session lost")


def _deliver_typing(fanout: SocketFanout, channel: RoomChannel, happened: Typing) -> None:
    if not channel.large:
        typing = events.user_typing(happened.who, happened.is_typing)
        channel.broadcast(event(catalogue.USER_TYPING, typing), skip=happened.socket_id)


def _deliver_receipt(fanout: SocketFanout, channel: RoomChannel, happened: MessageDelivered | MessageRead) -> None:
    channel.receipts.send(happened, merge=channel.large)


def _deliver_marked_read(fanout: SocketFanout, channel: RoomChannel, happened: MessagesRead) -> None:
    marked = events.messages_marked_read(happened.message_ids, happened.by, happened.at)
    channel.broadcast(event(catalogue.MESSAGES_MARKED_READ, marked))


def _deliver_presence(fanout: SocketFanout, channel: RoomChannel, happened: PresenceChanged) -> None:
    channel.roster.status(happened.who.user_id, happened.online, happened.last_seen)
    if not channel.large:
        presence = events.user_status_update(happened.who, happened.online, happened.last_seen)
        channel.broadcast(event(catalogue.USER_STATUS_UPDATE, presence))


def _deliver_leave(fanout: SocketFanout, channel: RoomChannel, happened: SessionClosed) -> None:
    channel.left(happened.ended)
    fanout.close_if_empty(channel)


_DELIVER: dict[type[Event], Callable[[SocketFanout, RoomChannel, Any], object]] = {
    MessagePosted: lambda fanout, channel, happened: channel.sequence.post(happened.message),
    Typing: _deliver_typing,
    MessageDelivered: _deliver_receipt,
    MessageRead: _deliver_receipt,
    MessagesRead: _deliver_marked_read,
    PresenceChanged: _deliver_presence,
    SessionOpened: lambda fanout, channel, happened: channel.joined(happened.session),
    SessionClosed: _deliver_leave,
    ServerLost: lambda fanout, channel, happened: channel.catch_up(),
}
"""How each event is delivered to a room of this server."""
