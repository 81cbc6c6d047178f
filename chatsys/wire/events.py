"""The payloads of outgoing events, built from the chat's events (contract §9, §10 and §14.1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from chatsys.errors import ChatsysError
from chatsys.model.values import EndedSession, Participant, Posted, Session
from chatsys.wire.objects import Wire, timestamp
from chatsys.wire.scalars import Count, Id, Refused, Seq, Success, Timestamp, UserId


class UserJoined(Wire, frozen=True, kw_only=True):
    """``user-joined``, to the others in the room."""

    username: str
    display_name: str
    avatar: str
    user_id: UserId
    message: str
    timestamp: Timestamp


class UserLeft(Wire, frozen=True, kw_only=True):
    """``user-left``, to those who remain."""

    username: str
    display_name: str
    user_id: UserId
    message: str
    timestamp: Timestamp


class UserStatusUpdate(Wire, frozen=True, kw_only=True):
    """``user-status-update``: a participant went offline with its last session, or set its status."""

    user_id: UserId
    username: str
    display_name: str
    online: bool
    last_seen: Timestamp


class UserTyping(Wire, frozen=True, kw_only=True):
    """``user-typing``, to the others in the room."""

    username: str
    display_name: str
    user_id: UserId
    is_typing: bool


class MessageStatusUpdate(Wire, frozen=True, kw_only=True):
    """``message-status-update``: a delivery; ``delivered_to`` is the complete set so far."""

    message_id: Id
    delivered: bool
    delivered_to: Sequence[UserId]
    delivered_by: UserId
    timestamp: Timestamp


class MessageReadUpdate(Wire, frozen=True, kw_only=True):
    """``message-read-update``: a read; ``read_by`` is the complete set so far."""

    message_id: Id
    read: bool
    read_by: Sequence[UserId]
    read_by_user: UserId
    read_by_username: str
    timestamp: Timestamp


class MessagesMarkedRead(Wire, frozen=True, kw_only=True):
    """``messages-marked-read``: exactly the newly marked messages; ``read_by`` is one user id."""

    message_ids: Sequence[Id]
    read_by: UserId
    read_by_username: str
    timestamp: Timestamp


class Error(Wire, frozen=True, kw_only=True):
    """``error``, to the socket that caused it."""

    message: str


class Done(Wire, frozen=True, kw_only=True):
    """The acknowledgement of an event that succeeded, if there is no data to return."""

    success: Success = True


class Failed(Wire, frozen=True, kw_only=True):
    """The acknowledgement of an event that failed; ``code`` is stable."""

    success: Refused = False
    code: str
    message: str


class JoinAnswer(Wire, frozen=True, kw_only=True):
    """The acknowledgement of ``join``; ``complete`` is false if requested messages are missing in the history.

    ``guest`` and ``reason`` are present if the client sent a token that was not accepted.
    """

    success: Success = True
    room: str
    user_id: UserId
    session_id: Id
    last_seq: Count
    replayed: Count
    complete: bool
    epoch: str
    guest: bool | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET


class SendAnswer(Wire, frozen=True, kw_only=True):
    """The acknowledgement of ``send-message``, once the message is durable."""

    success: Success = True
    id: Id
    seq: Seq
    timestamp: Timestamp
    duplicate: bool


def user_joined(session: Session) -> UserJoined:
    """The payload for a new session."""
    who = session.who
    return UserJoined(
        username=who.username,
        display_name=who.display_name,
        avatar=who.avatar,
        user_id=who.user_id,
        message=f"{who.display_name} has joined the chat",
        timestamp=timestamp(session.joined_at),
    )


def user_left(ended: EndedSession) -> UserLeft:
    """The payload for the end of a session."""
    who = ended.session.who
    return UserLeft(
        username=who.username,
        display_name=who.display_name,
        user_id=who.user_id,
        message=f"{who.display_name} has left the chat",
        timestamp=timestamp(ended.at),
    )


def user_status_update(who: Participant, online: bool, last_seen: datetime) -> UserStatusUpdate:
    """The payload for a user's status."""
    return UserStatusUpdate(
        user_id=who.user_id,
        username=who.username,
        display_name=who.display_name,
        online=online,
        last_seen=timestamp(last_seen),
    )


def user_typing(who: Participant, is_typing: bool) -> UserTyping:
    """The payload for a user who is typing, or has stopped."""
    return UserTyping(username=who.username, display_name=who.display_name, user_id=who.user_id, is_typing=is_typing)


def message_status_update(
    message_id: str, delivered_to: Sequence[str], by: Participant, at: datetime
) -> MessageStatusUpdate:
    """The payload for a delivery."""
    return MessageStatusUpdate(
        message_id=message_id,
        delivered=True,
        delivered_to=delivered_to,
        delivered_by=by.user_id,
        timestamp=timestamp(at),
    )


def message_read_update(message_id: str, read_by: Sequence[str], by: Participant, at: datetime) -> MessageReadUpdate:
    """The payload for a read message."""
    return MessageReadUpdate(
        message_id=message_id,
        read=True,
        read_by=read_by,
        read_by_user=by.user_id,
        read_by_username=by.display_name,
        timestamp=timestamp(at),
    )


def messages_marked_read(message_ids: Sequence[str], by: Participant, at: datetime) -> MessagesMarkedRead:
    """The payload for several messages read together."""
    return MessagesMarkedRead(
        message_ids=message_ids, read_by=by.user_id, read_by_username=by.display_name, timestamp=timestamp(at)
    )


def failed(error: ChatsysError) -> Failed:
    """The acknowledgement with an error's stable code and its text."""
    return Failed(code=error.code, message=error.message)


def join_answer(
    session: Session, *, epoch: str, last_seq: int, replayed: int, complete: bool, reason: str | None = None
) -> JoinAnswer:
    """The acknowledgement of a join; ``last_seq`` is the newest sequence number that the history covers.

    ``reason`` says why the client's token was not accepted.
    """
    return JoinAnswer(
        room=session.room,
        user_id=session.who.user_id,
        session_id=session.session_id,
        last_seq=last_seq,
        replayed=replayed,
        complete=complete,
        epoch=epoch,
        guest=msgspec.UNSET if reason is None else True,
        reason=msgspec.UNSET if reason is None else reason,
    )


def send_answer(posted: Posted) -> SendAnswer:
    """The acknowledgement of a stored message, or of an earlier one with the same client message id."""
    stored = posted.message
    return SendAnswer(id=stored.message_id, seq=stored.seq, timestamp=timestamp(stored.at), duplicate=posted.duplicate)
