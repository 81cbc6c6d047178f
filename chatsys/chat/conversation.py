"""Verbs in a room: join, send, acknowledge, type, leave (contract §6, §8, §9 and §14)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from chatsys.chat import fanout as events
from chatsys.chat.bundle import PAUSE, Chat, new_id
from chatsys.errors import InvalidInput, JoinRefused, NotFound, StoreError, TokenExpired, TokenInvalid, UserNotFound
from chatsys.model import rules
from chatsys.model.values import (
    EndedSession,
    Joined,
    Message,
    NewMessage,
    NewSession,
    Participant,
    Posted,
    Room,
    RoomStats,
    Session,
    User,
)

READ_TOGETHER = 1000
"""The most messages in one ``MessagesRead`` event; contract §9.5 allows to split more."""


async def identify(
    chat: Chat, *, token: object, username: object, user_id: object, socket_id: str
) -> tuple[Participant, str | None]:
    """Who joins (contract §8.3): the token's account, else a guest; and why the token was not accepted.

    The reason is ``expired``, ``invalid`` or ``unknown``, and None for an accepted or missing token. Raises JoinRefused
    for a guest without a name.
    """
    reason = None
    if token is not None and token != "":
        try:
            user = await chat.store.user_by_id(chat.tokens.verify(token)["userId"]) if isinstance(token, str) else None
            reason = "unknown" if isinstance(token, str) else "invalid"
        except TokenInvalid as error:
            user, reason = None, "expired" if isinstance(error, TokenExpired) else "invalid"
        if user is not None:
            return participant(user), None
    name = rules.guest_name(username)
    if name is None:
        raise JoinRefused
    guest = Participant(
        user_id=rules.guest_id(user_id, socket_id),
        username=name,
        display_name=name,
        avatar=rules.default_avatar(name),
        guest=True,
    )
    return guest, reason


def participant(user: User) -> Participant:
    """How an account appears in a room."""
    return Participant(user_id=user.user_id, username=user.username, display_name=user.display_name, avatar=user.avatar)


async def join(chat: Chat, room: str, who: Participant, socket_id: str, *, may_make_room: bool = True) -> Joined:
    """Open a session of ``who`` in ``room``, and notify the others. The caller has left any other room before.

    Raises JoinRefused if the account no longer exists, TooManyRooms if the room does not exist and may not be created.
    If the store's answer is lost, the session that it may have opened is closed later.
    """
    await chat.endings.settle(socket_id)
    new = NewSession(
        session_id=new_id(),
        socket_id=socket_id,
        room=room,
        who=who,
        at=chat.clock.now(),
        server_id=chat.server_id,
        may_make_room=may_make_room,
    )
    try:
        joined = await chat.store.open_session(new)
    except UserNotFound as error:
        raise JoinRefused from error
    except StoreError:
        chat.endings.unanswered(new)
        raise
    if joined.session.session_id == new.session_id:
        await chat.fanout.publish(events.SessionOpened(room=room, session=joined.session), joined.servers)
    return joined


async def leave(chat: Chat, session: Session) -> EndedSession | None:
    """End a session and notify the room; return None, and notify nobody, if it had ended.

    A session that the store could not close is closed later.
    """
    try:
        ended = await chat.store.close_session(session.session_id, chat.clock.now())
    except StoreError:
        chat.endings.end(session, tried=True)
        raise
    if ended is not None:
        await chat.fanout.publish(events.SessionClosed(room=ended.session.room, ended=ended), ended.servers)
    return ended


async def send(chat: Chat, session: Session, text: object, client_message_id: object = None) -> Posted:
    """Store a message and publish it to the room, unless it is a duplicate.

    Raises InvalidInput for an invalid text or ``client_message_id``.
    """
    stored = rules.message_text(text)
    if stored is None:
        raise InvalidInput(message="Message must be a text that is not blank")
    client_id = _client_message_id(client_message_id)
    posted = await chat.store.post_message(
        NewMessage(
            message_id=new_id(),
            room=session.room,
            who=session.who,
            text=stored,
            at=chat.clock.now(),
            client_message_id=client_id,
        )
    )
    if not posted.duplicate:
        await chat.fanout.publish(events.MessagePosted(room=session.room, message=posted.message), posted.servers)
    return posted


def delivered(chat: Chat, session: Session, room: str, message_id: str) -> Coroutine[Any, Any, bool]:
    """Record that the session's user received a message; return false if there is nothing to record.

    Only the first such receipt is published. Raises NotFound if ``room`` is not the session's.
    """
    return _record(chat, session, room, message_id, read=False)


def read(chat: Chat, session: Session, room: str, message_id: str) -> Coroutine[Any, Any, bool]:
    """Record that the session's user read a message; return false if there is nothing to record.

    Only the first such receipt is published. Raises NotFound if ``room`` is not the session's.
    """
    return _record(chat, session, room, message_id, read=True)


async def _record(chat: Chat, session: Session, room: str, message_id: str, *, read: bool) -> bool:
    if room != session.room:
        raise NotFound
    who, at = session.who, chat.clock.now()
    mark = chat.store.mark_read if read else chat.store.mark_delivered
    receipt = await mark(room, message_id, who, at)
    if receipt is None:
        return False
    if receipt.new:
        found, ids = receipt.message_id, receipt.user_ids
        event = (
            events.MessageRead(room=room, message_id=found, read_by=ids, by=who, at=at)
            if read
            else events.MessageDelivered(room=room, message_id=found, delivered_to=ids, by=who, at=at)
        )
        await chat.fanout.publish(event, receipt.servers)
    return True


async def read_all(chat: Chat, session: Session, room: str | None) -> int:
    """Mark all messages of others in the session's room as read, in batches; return how many were newly marked.

    Each event has up to ``READ_TOGETHER`` messages, and is published after they are stored. After each batch follows
    a pause as long as it took, for other work. Raises NotFound if ``room`` is not the session's.
    """
    if room != session.room:
        raise NotFound
    at, count = chat.clock.now(), 0
    marked: list[str] = []
    servers: Sequence[str] = ()
    reached: int | None = 0

    async def publish() -> None:
        if marked:
            ids = tuple(marked)
            marked.clear()
            happened = events.MessagesRead(room=session.room, message_ids=ids, by=session.who, at=at)
            await chat.fanout.publish(happened, servers)

    try:
        while reached is not None:
            started = time.monotonic()
            part = await chat.store.mark_some_read(session.room, session.who, at, reached)
            reached, count = part.reached, count + len(part.message_ids)
            if len(marked) + len(part.message_ids) > READ_TOGETHER:
                await publish()
            marked += part.message_ids
            servers = part.servers
            if reached is not None:
                await asyncio.sleep(min(PAUSE, time.monotonic() - started))
    finally:
        await publish()
    return count


async def typing(chat: Chat, session: Session, is_typing: bool) -> None:
    """Notify the others; nothing is stored."""
    await chat.fanout.publish(
        events.Typing(room=session.room, who=session.who, socket_id=session.socket_id, is_typing=is_typing)
    )


async def set_online(chat: Chat, session: Session, online: bool) -> None:
    """Set the user's status and publish it to the room. A guest's status is not stored."""
    at = chat.clock.now()
    if not session.who.guest:
        await chat.store.set_online(session.who.user_id, online, at)
    await chat.fanout.publish(events.PresenceChanged(room=session.room, who=session.who, online=online, last_seen=at))


async def missed(chat: Chat, room: str, since: int, limit: int) -> tuple[list[Message], bool]:
    """The newest ``limit`` messages after ``since``, oldest first, and whether these are all.

    If they have more than ``limits.page_bytes`` bytes, only the newest that fit are returned.
    """
    messages = await chat.store.messages_since(room, since, limit + 1, chat.limits.page_bytes)
    size = sum(len(message.text.encode()) for message in messages)
    whole = not messages or messages[0].seq == since + 1 or size < chat.limits.page_bytes
    return messages[-limit:], whole and len(messages) <= limit


async def following(chat: Chat, room: str, since: int, span: int) -> list[Message]:
    """The messages with the ``span`` sequence numbers after ``since``, oldest first."""
    return await chat.store.history(room, span, after=since, before=since + span + 1)


async def rooms(chat: Chat, limit: int, after: str) -> tuple[list[Room], str | None]:
    """A page of the rooms by name, at most ``limits.rooms``, and the name after which the next page starts, if any."""
    limit = min(limit, chat.limits.rooms)
    found = await chat.store.rooms(limit + 1, after) if limit else []
    return found[:limit], found[limit - 1].name if len(found) > limit else None


async def stats(chat: Chat, room: str) -> RoomStats:
    """Counts of one room."""
    return await chat.store.room_stats(room)


async def members(chat: Chat, room: str) -> list[Session]:
    """The room's sessions in order of joining."""
    return await chat.store.sessions(room)


async def newest_members(chat: Chat, room: str) -> tuple[list[Session], int]:
    """The room's newest sessions, at most ``limits.members``, in order of joining, and how many there are."""
    return await chat.store.newest_sessions(room, chat.limits.members)


async def standing(chat: Chat, who: Participant) -> tuple[bool, bool]:
    """Whether a participant may still be in a room, and whether its account is online; a guest is not."""
    if who.guest:
        return True, False
    user = await chat.store.user_by_id(who.user_id)
    return user is not None, user is not None and user.online


def _client_message_id(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and 1 <= len(value) <= rules.CLIENT_MESSAGE_ID_MAX and "\0" not in value:
        return rules.clean_surrogates(value)
    raise InvalidInput(message=f"clientMessageId must be a string of 1 to {rules.CLIENT_MESSAGE_ID_MAX} characters")
