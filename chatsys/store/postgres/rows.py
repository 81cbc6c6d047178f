"""Rows of the statements -> values of the model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asyncpg import Record

from chatsys.model.rules import default_avatar
from chatsys.model.values import EndedSession, Message, Participant, Session, User

_UUID = 36  # characters of an account's id


def user(row: Record) -> User:
    """An account, from the eleven columns that every statement on users gives."""
    return User(
        user_id=row[0],
        username=row[1],
        email=row[2],
        password_hash=row[3],
        display_name=row[4],
        avatar=row[5],
        bio=row[6],
        online=row[7] == "online",
        last_seen=row[8],
        created_at=row[9],
        last_login=row[10],
    )


def messages(found: Sequence[Record]) -> list[Message]:
    """Messages with their receipts, from twelve columns. A guest's avatar is the generated one."""
    return [
        Message(
            message_id=row[0],
            seq=row[1],
            room=row[2],
            user_id=row[3],
            username=row[4],
            display_name=row[5],
            avatar=default_avatar(row[4]) if row[6] is None else row[6],
            text=row[7],
            at=row[8],
            edited_at=row[9],
            delivered_to=readers(row[10]),
            read_by=readers(row[11]),
        )
        for row in found
    ]


def readers(packed: str | None) -> tuple[str, ...]:
    """The user ids of packed receipts (see messages.sql)."""
    if not packed:
        return ()
    if "~" not in packed:
        return tuple([packed[start : start + _UUID] for start in range(0, len(packed), _UUID)])
    found = []
    start = 0
    while start < len(packed):
        length = _UUID
        if packed[start] == "~":
            length = int(packed[start + 1 : start + 3])
            start += 3
        found.append(packed[start : start + length])
        start += length
    return tuple(found)


def participant(row: Record) -> Participant:
    """Who a session belongs to, with the current profile."""
    if row["user_id"] is None:
        name = row["guest_name"]
        return Participant(
            user_id=row["guest_id"], username=name, display_name=name, avatar=default_avatar(name), guest=True
        )
    return Participant(
        user_id=row["user_id"],
        username=row["username"],
        display_name=row["display_name"],
        avatar=row["avatar"],
    )


def session(row: Record) -> Session:
    """A session with its participant's presence."""
    return Session(
        session_id=row["session_id"],
        socket_id=row["socket_id"],
        room=row["room_name"],
        who=participant(row),
        joined_at=row["connected_at"],
        online=row["online"],
        last_seen=row["last_seen"],
    )


def ended(row: Record, at: datetime) -> EndedSession:
    """A session that ended at ``at``."""
    return EndedSession(session=session(row), last=row["last"], at=at)


def sender_columns(who: Participant) -> tuple[Any, Any, Any]:
    """A participant as ``user_id``, ``guest_id``, ``guest_name``: the first, or the other two."""
    return (None, who.user_id, who.username) if who.guest else (who.user_id, None, None)
