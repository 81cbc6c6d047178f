"""The routes of client events: a table with one function for each event, which calls the chat (contract §9 and §14)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from chatsys import metrics
from chatsys.chat import conversation
from chatsys.chat.bundle import Chat
from chatsys.chat.history import Replay, replay
from chatsys.chat.shared import SharedReads
from chatsys.engine.connection import Connection
from chatsys.errors import ChatsysError, InvalidInput, JoinRefused, NoSession, NotFound, StoreError, StoreUnavailable
from chatsys.model.values import Joined, Participant, Session
from chatsys.protocol.events import ClientEvent
from chatsys.protocol.packets import Outgoing
from chatsys.realtime.fanout import SocketFanout
from chatsys.realtime.frames import acknowledgement, encoded_event, event
from chatsys.realtime.rates import Allowance, Rate, Rates
from chatsys.realtime.sequence import Member
from chatsys.realtime.welcomes import Welcomes
from chatsys.wire import catalogue, events, inbound, objects

logger = logging.getLogger("chatsys.realtime")

DONE = events.Done()

LONG = 0.5
"""If the store fails after this many seconds, the events that arrived meanwhile from the same socket fail too.

Otherwise they would wait for the store one after another, and the last one would be answered far too late.
"""


Handler = Callable[[Connection, Any, Any], Awaitable[msgspec.Struct]]
"""Takes the connection, its session and the payload, and returns the acknowledgement."""


class Route(NamedTuple):
    """How one event is handled. ``needs_store``: it fails without the store. ``in_room``: it requires a session."""

    handle: Handler
    needs_store: bool = True
    in_room: bool = True


class Routes:
    """Handles client events for the sockets of one server."""

    def __init__(self, chat: Chat, fanout: SocketFanout, welcomes: Welcomes) -> None:
        self._chat = chat
        self._fanout = fanout
        self._reads: SharedReads[tuple[str, int | None], tuple[Outgoing, Replay]] = SharedReads()
        self._welcomes = welcomes
        self._rates = Rates()
        self._allowances: dict[str, Allowance] = {}
        self._failed: dict[str, float] = {}  # by socket: when the store last failed an event after ``LONG``
        self._table = {
            catalogue.JOIN: Route(self._join, in_room=False),
            catalogue.SEND_MESSAGE: Route(self._send),
            catalogue.MESSAGE_DELIVERED: Route(self._receipt(conversation.delivered)),
            catalogue.MESSAGE_READ: Route(self._receipt(conversation.read)),
            catalogue.MARK_ALL_READ: Route(self._mark_all_read),
            catalogue.TYPING: Route(self._typing, needs_store=False),
            catalogue.UPDATE_ONLINE_STATUS: Route(self._status),
            catalogue.LEAVE_ROOM: Route(self._leave, needs_store=False),
        }
        self.names = frozenset(self._table)

    async def dispatch(self, connection: Connection, batch: list[ClientEvent]) -> None:
        """Handle one socket's events in order. Consecutive messages are stored together and acknowledged in order."""
        start = 0
        began = time.perf_counter()
        while start < len(batch):
            end = start
            while end < len(batch) and batch[end].name == catalogue.SEND_MESSAGE:
                end += 1
            if end - start > 1 and connection.member is not None:
                run = batch[start:end]
                answers = await asyncio.gather(*[self._answer(connection, one) for one in run])
                for one, answer in zip(run, answers, strict=True):
                    _acknowledge(connection, one, answer, began)
                start = end
            else:
                _acknowledge(connection, batch[start], await self._answer(connection, batch[start]), began)
                start += 1

    def ended(self, connection: Connection) -> None:
        """End the session of a closed socket in the background."""
        self._allowances.pop(connection.socket_id or "", None)
        self._failed.pop(connection.socket_id or "", None)
        member: Member | None = connection.member
        if member is not None:
            self._remove(member)
            self._chat.endings.end(member.session)

    async def _answer(self, connection: Connection, one: ClientEvent) -> msgspec.Struct | None:
        """Handle an event. Returns its acknowledgement, or None for an unknown event."""
        route = self._table.get(one.name)
        if route is None:
            return None
        began = asyncio.get_running_loop().time()
        try:
            if route.needs_store and self._arrived_before_failure(connection):
                raise StoreUnavailable
            member: Member | None = connection.member
            if member is None and route.in_room:
                raise NoSession
            return await route.handle(connection, member.session if member is not None else None, one.payload)
        except ChatsysError as error:
            if isinstance(error, StoreError):
                self._store_failed(connection, began)
            return _refusal(connection, one.name, error)
        except Exception:
            logger.exception("%s: %s failed", connection.socket_id, one.name)
            return events.failed(ChatsysError("Internal server error"))

    def _store_failed(self, connection: Connection, began: float) -> None:
        now = asyncio.get_running_loop().time()
        if now - began >= LONG and connection.socket_id is not None:
            self._failed[connection.socket_id] = now

    def _arrived_before_failure(self, connection: Connection) -> bool:
        return bool(self._failed) and connection.came <= self._failed.get(connection.socket_id or "", -1.0)

    # -- events

    async def _join(self, connection: Connection, session: Session | None, payload: Any) -> msgspec.Struct:
        request = inbound.join(payload)
        socket_id = connection.socket_id
        assert socket_id is not None
        who, reason = await conversation.identify(
            self._chat, token=request.token, username=request.username, user_id=request.user_id, socket_id=socket_id
        )
        if connection.member is not None and not _repeats_session(connection.member.session, request.room, who):
            await self._end_session(connection, connection.member.session)
        channel = self._fanout.channel(request.room)
        channel.joining += 1
        try:
            if channel.subscribed is not None:
                await channel.subscribed.wait()
            joined = await self._enter(connection, request.room, who, socket_id)
            channel.sequence.open_at(joined.last_seq)
            member: Member | None = connection.member
            if member is None:
                member = Member(connection, joined.session)
                channel.add(member)
            else:
                channel.sequence.hold(member)
            return await self._welcome(member, joined, request, reason)
        except StoreError:  # no half-finished join
            self.ended(connection)
            raise
        finally:
            channel.joining -= 1
            self._fanout.close_if_empty(channel)

    async def _enter(self, connection: Connection, room: str, who: Participant, socket_id: str) -> Joined:
        """Join, and create the room if necessary. The number of new rooms for each socket and minute is limited."""
        allowance, now = self._allowance(connection), asyncio.get_running_loop().time()
        may_make = allowance.may_make_room(self._chat.limits.new_rooms, now)
        joined = await conversation.join(self._chat, room, who, socket_id, may_make_room=may_make)
        if joined.made_room:
            allowance.made_room(now)
        return joined

    async def _welcome(
        self, member: Member, joined: Joined, request: inbound.JoinRequest, reason: str | None
    ) -> msgspec.Struct:
        """Send the list and the history or replay, then the messages that arrived meanwhile."""
        channel, room = self._fanout.channel(member.session.room), member.session.room
        last_seq, since = joined.last_seq, request.since
        lost = since is not None and (since > last_seq or request.epoch not in (None, joined.epoch))
        try:
            async with self._welcomes.slot(member.connection):
                # Read the history while the list is read: if the store fails, both fail together.
                reading = self._history(room, None if lost else since)
                await channel.lists.send(member)
                out, found = await asyncio.shield(reading)
                last_seq = max(last_seq, found.last)
                member.connection.send(out, requested=True)
        finally:
            channel.release(member, last_seq)
        complete = found.complete and not lost
        return events.join_answer(
            member.session,
            epoch=joined.epoch,
            last_seq=last_seq,
            replayed=found.count,
            complete=complete,
            reason=reason,
        )

    def _history(self, room: str, since: int | None) -> asyncio.Task[tuple[Outgoing, Replay]]:
        """Read the newest messages, or those after ``since``. Sockets that join concurrently share one read."""

        async def read() -> tuple[Outgoing, Replay]:
            found = await replay(self._chat, room, objects.encoded_messages, since)
            return encoded_event(catalogue.MESSAGE_HISTORY, found.data), found

        return self._reads.begin((room, since), read)

    async def _send(self, connection: Connection, session: Session, payload: Any) -> msgspec.Struct:
        text, client_message_id = inbound.send_message(payload)
        try:
            posted = await conversation.send(self._chat, session, text, client_message_id)
        except StoreUnavailable:
            self._fanout.doubt(session.room)
            raise
        return events.send_answer(posted)

    def _receipt(self, record: Callable[[Chat, Session, str, str], Awaitable[bool]]) -> Handler:
        async def handle(connection: Connection, session: Session, payload: Any) -> msgspec.Struct:
            receipt = inbound.receipt(payload)
            if receipt is None or not await record(self._chat, session, receipt[0], receipt[1]):
                raise NotFound
            return DONE

        return handle

    async def _mark_all_read(self, connection: Connection, session: Session, payload: Any) -> msgspec.Struct:
        await conversation.read_all(self._chat, session, inbound.mark_all_read(payload))
        return DONE

    async def _typing(self, connection: Connection, session: Session, payload: Any) -> msgspec.Struct:
        rate = self._allowance(connection).typing
        return await self._offer(connection, session, rate, inbound.typing(payload), conversation.typing)

    async def _status(self, connection: Connection, session: Session, payload: Any) -> msgspec.Struct:
        online = inbound.online_status(payload)
        if online is None:
            raise InvalidInput(message="online must be true or false")
        rate = self._allowance(connection).status
        return await self._offer(connection, session, rate, online, conversation.set_online)

    async def _offer(
        self,
        connection: Connection,
        session: Session,
        rate: Rate,
        value: bool,
        send: Callable[[Chat, Session, bool], Awaitable[None]],
    ) -> msgspec.Struct:
        """Send a value within its rate, unless the socket has left the session by then."""

        def in_session() -> bool:
            member: Member | None = connection.member
            return member is not None and member.session.session_id == session.session_id

        await self._rates.offer(rate, value, partial(send, self._chat, session), in_session)
        return DONE

    def _allowance(self, connection: Connection) -> Allowance:
        found = self._allowances.get(connection.socket_id or "")
        if found is None:
            found = self._allowances[connection.socket_id or ""] = Allowance()
        return found

    async def _leave(self, connection: Connection, session: Session, payload: Any) -> msgspec.Struct:
        member: Member | None = connection.member
        if member is not None and self._arrived_before_failure(connection):
            self._remove(member)
            self._chat.endings.end(session)
            return DONE
        began = asyncio.get_running_loop().time()
        try:
            await self._end_session(connection, session)
        except StoreError:  # the session ends as soon as the store answers
            self._store_failed(connection, began)
        return DONE

    async def _end_session(self, connection: Connection, session: Session) -> None:
        """Leave the room. If this raises StoreError, the socket has left, but its session ends later."""
        member: Member | None = connection.member
        try:
            await conversation.leave(self._chat, session)
        finally:
            if member is not None:
                self._remove(member)

    def _remove(self, member: Member) -> None:
        """Remove the socket from its room, so that it receives nothing more from it."""
        channel = self._fanout.channels.get(member.session.room)
        if channel is not None:
            if channel.members.get(member.session.socket_id) is member:
                del channel.members[member.session.socket_id]
            self._fanout.close_if_empty(channel)
        if member.connection.member is member:
            member.connection.member = None


def _repeats_session(session: Session, room: str, who: Participant) -> bool:
    """Whether a join asks for the room and user that the socket's session already has."""
    return session.room == room and (session.who.user_id, session.who.username) == (who.user_id, who.username)


def _acknowledge(connection: Connection, one: ClientEvent, answer: msgspec.Struct | None, began: float) -> None:
    if one.ack_id is not None and answer is not None:
        connection.answer(acknowledgement(one.ack_id, answer))
        metrics.ack_seconds.observe((one.name,), time.perf_counter() - began)  # only names of the table become labels


def _refusal(connection: Connection, name: str, error: ChatsysError) -> msgspec.Struct:
    """The acknowledgement of a failure. Also sends the ``error`` event if the contract has one (§9.1, §9.2, §14.5)."""
    if isinstance(error, StoreError):
        # The store logs an outage once itself; any other error of the store is a fault.
        level = logging.WARNING if type(error) is StoreError else logging.DEBUG
        logger.log(level, "%s: %s failed: %s: %s", connection.socket_id, name, error.code, error.message)
        error = StoreUnavailable()  # clients do not see the store's own message
    if name == catalogue.JOIN:
        _tell_error(connection, JoinRefused().message)
    elif name == catalogue.SEND_MESSAGE and not isinstance(error, NoSession | NotFound):
        _tell_error(connection, error.message)
    return events.failed(error)


def _tell_error(connection: Connection, message: str) -> None:
    connection.send(event(catalogue.ERROR, events.Error(message=message)))
